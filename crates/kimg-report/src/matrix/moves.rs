//! What a node pulls when it goes from one image to another. Layers that it has are not pulled again: that is what
//! cutting images into layers is for.

use std::collections::BTreeSet;

use kimg_core::{Digest, Platform};
use serde::Serialize;

use super::{MatrixEntry, MeasuredLayer, SizeMatrix};
use crate::text::wrap;
use crate::{Column, Format, Table, json, size};

/// The programs that are released with Kubernetes.
const KUBERNETES: [&str; 4] = ["kubelet", "kubeadm", "kube-proxy", "kubectl"];
/// The record of what is in an image: it changes with any package.
const RECORDS: [&str; 2] = ["/lib/apk/db/installed", "/usr/lib/apk/db/installed"];

const EXPLAINED: &str = "The bytes of the compressed layers that the node does not have yet.";
const FOLLOWS: &str = "≈ No measure: the layers that hold kubelet, kubeadm, kube-proxy or the record of packages, as big as \
    they are now: what a release pulls that changes nothing else. `--since LAYOUT` of the release before gives its bytes.";

/// What a node has before it pulls.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "kind", content = "image")]
pub enum MovesBefore {
    /// Nothing: a fresh pull.
    Nothing,
    /// Another variant of the same build.
    Variant(String),
    /// The same variant of an earlier release, by its tag; `None`: a release that differs in Kubernetes' own programs only.
    Release(Option<String>),
}

/// How a number of bytes is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Basis {
    /// The digests of both images' layers were compared.
    Exact,
    /// It follows from what lies in which layer.
    KubernetesLayers,
}

/// One pull.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Move {
    /// The layout or archive, as typed.
    pub source: String,
    /// What the node has.
    pub before: MovesBefore,
    /// The variant that it pulls.
    pub variant: String,
    /// The tag that it pulls.
    pub tag: String,
    /// What it runs on.
    pub platform: Platform,
    /// The bytes to pull.
    pub bytes: u64,
    /// How many layers that are.
    pub layers: usize,
    /// How they are known.
    pub basis: Basis,
}

/// Every pull that there is something to say about.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Moves {
    /// What is the same but for its source or platform stands together.
    pub moves: Vec<Move>,
}

impl Moves {
    /// The pulls of the images of each source: fresh ones, from `plain` (or the first variant) to the others, and
    /// from the release before. For that, each source may bring the matrix of the release before; where it does not,
    /// the layers have to be measured.
    pub fn of(sources: &[(String, SizeMatrix, Option<SizeMatrix>)]) -> Self {
        let mut moves = Vec::new();
        for (source, matrix, earlier) in sources {
            for entry in &matrix.entries {
                moves.push(pull(source, entry, MovesBefore::Nothing, &BTreeSet::new()));
                let start = matrix.start(entry.platform).filter(|start| start.variant != entry.variant);
                moves.extend(start.map(|start| {
                    pull(source, entry, MovesBefore::Variant(start.variant.clone()), &digests(start))
                }));
                moves.extend(match earlier {
                    Some(earlier) => earlier.same_image(entry).map(|old| {
                        pull(source, entry, MovesBefore::Release(Some(old.tag.clone())), &digests(old))
                    }),
                    None => matrix.next_release(source, entry),
                });
            }
        }
        // Rows in the order in which they come first; sources and platforms side by side.
        let mut order: Vec<(u8, String, String)> = Vec::new();
        for one in &moves {
            if !order.contains(&one.row()) {
                order.push(one.row());
            }
        }
        order.sort_by_key(|row| row.0);
        let place = |source: &str| sources.iter().position(|(name, _, _)| name == source);
        moves.sort_by_key(|one| {
            (
                order.iter().position(|row| *row == one.row()),
                place(&one.source),
                one.tag.clone(),
                one.platform,
            )
        });
        Self { moves }
    }
}

/// The layers of an image that a node does not have, each once.
fn missing<'a>(entry: &'a MatrixEntry, has: &BTreeSet<Digest>) -> Vec<&'a super::EntryLayer> {
    let mut seen = has.clone();
    entry.layers.iter().filter(|layer| seen.insert(layer.digest)).collect()
}

fn digests(entry: &MatrixEntry) -> BTreeSet<Digest> {
    entry.layers.iter().map(|layer| layer.digest).collect()
}

fn pull(source: &str, entry: &MatrixEntry, before: MovesBefore, has: &BTreeSet<Digest>) -> Move {
    let layers = missing(entry, has);
    Move {
        source: source.to_owned(),
        before,
        variant: entry.variant.clone(),
        tag: entry.tag.clone(),
        platform: entry.platform,
        bytes: layers.iter().map(|layer| layer.compressed).sum(),
        layers: layers.len(),
        basis: Basis::Exact,
    }
}

impl SizeMatrix {
    /// The image that a node has before it goes to another one.
    fn start(&self, platform: Platform) -> Option<&MatrixEntry> {
        let mut here = self.entries.iter().filter(|entry| entry.platform == platform);
        here.clone().find(|entry| entry.variant == "plain").or_else(|| here.next())
    }

    /// What a release pulls that changes Kubernetes' own programs and nothing else; `None` where it is not known what
    /// is in the layers, or none of them holds such a program.
    fn next_release(&self, source: &str, entry: &MatrixEntry) -> Option<Move> {
        let measured = |digest: &Digest| self.layers.get(digest);
        if !entry.layers.iter().all(|layer| measured(&layer.digest).is_some()) {
            return None;
        }
        let holds = |layer: &MeasuredLayer, wanted: &dyn Fn(&str) -> bool| {
            layer.files.keys().any(|path| wanted(path))
        };
        let program = |path: &str| KUBERNETES.contains(&path.rsplit('/').next().unwrap_or_default());
        let changes =
            |layer: &MeasuredLayer| holds(layer, &program) || holds(layer, &|path| RECORDS.contains(&path));
        if !entry
            .layers
            .iter()
            .filter_map(|layer| measured(&layer.digest))
            .any(|layer| holds(layer, &program))
        {
            return None;
        }
        let stay = entry.layers.iter().filter(|layer| measured(&layer.digest).is_some_and(|l| !changes(l)));
        let has = stay.map(|layer| layer.digest).collect();
        let basis = Basis::KubernetesLayers;
        Some(Move { basis, ..pull(source, entry, MovesBefore::Release(None), &has) })
    }
}

impl Move {
    /// What the node has, in words.
    fn has(&self) -> String {
        match &self.before {
            MovesBefore::Nothing => "nothing".into(),
            MovesBefore::Variant(variant) => variant.clone(),
            MovesBefore::Release(Some(tag)) => tag.clone(),
            MovesBefore::Release(None) => format!("{}, release before", self.variant),
        }
    }

    /// What stands in one row, but for its source.
    fn row(&self) -> (u8, String, String) {
        let kind = match &self.before {
            MovesBefore::Nothing => 0,
            MovesBefore::Variant(_) => 1,
            MovesBefore::Release(_) => 2,
        };
        let before = if kind == 2 { String::new() } else { self.has() };
        (kind, before, self.variant.clone())
    }
}

impl Moves {
    /// The moves in a format. Table and Markdown have a row for each move, JSON and CSV a record for each platform too.
    pub fn render(&self, format: Format, width: usize, color: bool) -> String {
        let follows = self.moves.iter().any(|one| one.basis == Basis::KubernetesLayers);
        let notes = [EXPLAINED, FOLLOWS].into_iter().take(1 + usize::from(follows));
        match format {
            Format::Json => json(self),
            Format::Csv => self.to_csv(),
            Format::Markdown => {
                notes.fold(self.table().to_markdown(), |text, note| text + "\n" + note + "\n")
            }
            Format::Table => {
                let mut text = self.table().to_terminal(width, color) + "\n";
                for line in notes.flat_map(|note| wrap(note, width.saturating_sub(1))) {
                    text.extend([" ", &line, "\n"]);
                }
                text
            }
        }
    }

    fn table(&self) -> Table {
        let platforms: BTreeSet<Platform> = self.moves.iter().map(|one| one.platform).collect();
        let several = self.moves.iter().any(|one| one.source != self.moves[0].source);
        let mut columns = vec![Column::left("Node has"), Column::left("Pulls")];
        columns.extend(several.then(|| Column::left("From")));
        columns.extend(platforms.iter().map(|platform| Column::right(platform.to_string())));
        let mut table = Table::new(columns);
        let key = |one: &Move| (one.row(), one.has(), one.source.clone(), one.tag.clone());
        for row in self.moves.chunk_by(|a, b| key(a) == key(b)) {
            let cells = platforms.iter().map(|platform| {
                let one = row.iter().find(|one| one.platform == *platform);
                one.map_or_else(|| "–".to_owned(), Move::cell)
            });
            let mut words = vec![row[0].has(), row[0].variant.clone()];
            words.extend(several.then(|| row[0].source.clone()));
            table.row(words.into_iter().chain(cells));
        }
        table
    }

    fn to_csv(&self) -> String {
        let heads = ["source", "kind", "before", "variant", "tag", "platform", "bytes", "layers", "basis"];
        let mut table = Table::new(heads.map(Column::left));
        for one in &self.moves {
            let (kind, before) = match &one.before {
                MovesBefore::Nothing => ("nothing", String::new()),
                MovesBefore::Variant(variant) => ("variant", variant.clone()),
                MovesBefore::Release(tag) => ("release", tag.clone().unwrap_or_default()),
            };
            table.row([
                one.source.clone(),
                kind.into(),
                before,
                one.variant.clone(),
                one.tag.clone(),
                one.platform.to_string(),
                one.bytes.to_string(),
                one.layers.to_string(),
                match one.basis {
                    Basis::Exact => "exact".into(),
                    Basis::KubernetesLayers => "kubernetes-layers".into(),
                },
            ]);
        }
        table.to_csv()
    }
}

impl Move {
    fn cell(&self) -> String {
        let mark = if self.basis == Basis::Exact { "" } else { "≈ " };
        format!("{mark}{}", size(self.bytes))
    }
}
