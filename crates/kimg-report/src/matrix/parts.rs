//! What each package adds to what a node pulls: the account behind a cell of the matrix.

use std::collections::BTreeMap;

use kimg_core::Platform;
use serde::Serialize;

use super::SizeMatrix;
use crate::size::percent;
use crate::text::{Paint, clean, wrap};
use crate::{Column, Format, Table, json, size};

/// How many parts of an image a table shows by themselves.
const SHOWN: usize = 8;

const COLUMNS: [&str; 7] = ["Package", "Layer", "Files", "On disk", "Pull", "of all", "Per byte"];

/// What is said below the table of parts.
const EXPLAINED: &str = "Pull: the bytes of the compressed layers that the part's files are unpacked from, measured by \
    unpacking them; the parts of an image add up to its pull. A file that repeats what stands before it in its layer \
    costs little, and what comes first bears the cost: leaving a part out saves about its pull, not exactly. \
    Per byte: what the next byte of such files would add to the pull.";

/// What a package has in a layer of an image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Part {
    /// The variant's name.
    pub variant: String,
    /// The tag of the image.
    pub tag: String,
    /// What it runs on.
    pub platform: Platform,
    /// The package with its version; `None`: files that no package owns.
    pub package: Option<String>,
    /// The layer: its name, or its place from the bottom, from 1 on. Empty for what all layers have beside files.
    pub layer: String,
    /// How many files; 0: names of folders and links, and the ends of the archives.
    pub files: u64,
    /// Their bytes.
    pub size: u64,
    /// The bytes of the compressed layer that they are unpacked from.
    pub pull: u64,
}

/// The parts of all images, in the order of the images, the most to pull first.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Parts {
    /// One for each package of each layer.
    pub parts: Vec<Part>,
}

impl SizeMatrix {
    /// What each package adds to each image whose layers were measured.
    pub fn parts(&self) -> Parts {
        let mut parts = Vec::new();
        for entry in &self.entries {
            let (mut own, mut rest) = (Vec::new(), 0);
            for (place, layer) in entry.layers.iter().enumerate() {
                let Some(measured) = self.layers.get(&layer.digest) else { continue };
                let mut by_package: BTreeMap<Option<&String>, (u64, u64, u64)> = BTreeMap::new();
                for file in measured.files.values() {
                    let sum = by_package.entry(file.package.as_ref()).or_default();
                    *sum = (sum.0 + 1, sum.1 + file.size, sum.2 + file.pull);
                }
                let part = |package: Option<&String>, (files, size, pull)| Part {
                    variant: entry.variant.clone(),
                    tag: entry.tag.clone(),
                    platform: entry.platform,
                    package: package.cloned(),
                    layer: layer.name.clone().unwrap_or_else(|| (place + 1).to_string()),
                    files,
                    size,
                    pull,
                };
                own.extend(by_package.into_iter().map(|(package, sums)| part(package, sums)));
                rest += measured.rest;
            }
            if rest > 0 {
                own.push(Part {
                    variant: entry.variant.clone(),
                    tag: entry.tag.clone(),
                    platform: entry.platform,
                    package: None,
                    layer: String::new(),
                    files: 0,
                    size: 0,
                    pull: rest,
                });
            }
            own.sort_by(|a: &Part, b| b.pull.cmp(&a.pull).then_with(|| a.package.cmp(&b.package)));
            parts.extend(own);
        }
        Parts { parts }
    }
}

impl Part {
    fn name(&self) -> &str {
        match &self.package {
            Some(package) => package,
            None if self.files == 0 => "(folders and links)",
            None => "(no package)",
        }
    }

    fn short_name(&self) -> &str {
        without_version(self.name())
    }

    /// The pull per byte of its files, `0.28`.
    fn per_byte(&self) -> String {
        let hundredths = (self.pull * 100 + self.size / 2).checked_div(self.size);
        hundredths.map_or_else(String::new, |all| format!("{}.{:02}", all / 100, all % 100))
    }
}

impl Parts {
    /// The parts in a format. Table and Markdown name the largest of each image, JSON and CSV all.
    pub fn render(&self, format: Format, width: usize, color: bool) -> String {
        match format {
            Format::Json => json(self),
            Format::Csv => self.to_csv(),
            Format::Markdown => format!("{}\n{EXPLAINED}\n", self.to_markdown()),
            Format::Table => {
                let mut text = String::new();
                for image in self.images() {
                    let (variant, platform) = (clean(&image[0].variant), image[0].platform);
                    let head = format!("{variant} for {platform}: {}", size(pull(image)));
                    text.extend([" ", &Paint(color).bold(&head), "\n"]);
                    let mut table = Table::new(COLUMNS.map(column));
                    for row in rows(image, Part::short_name) {
                        table.row(row);
                    }
                    text.extend([&*table.to_terminal(width, false), "\n"]);
                }
                for line in wrap(EXPLAINED, width.saturating_sub(1)) {
                    text.extend([" ", &line, "\n"]);
                }
                text
            }
        }
    }

    /// The parts of one image each.
    fn images(&self) -> impl Iterator<Item = &[Part]> {
        self.parts.chunk_by(|a, b| (&a.variant, &a.tag, a.platform) == (&b.variant, &b.tag, b.platform))
    }

    fn to_markdown(&self) -> String {
        let mut table =
            Table::new(["Image", "Platform"].map(Column::left).into_iter().chain(COLUMNS.map(column)));
        for image in self.images() {
            for row in rows(image, Part::name) {
                table.row([image[0].variant.clone(), image[0].platform.to_string()].into_iter().chain(row));
            }
        }
        table.to_markdown()
    }

    fn to_csv(&self) -> String {
        let heads = ["variant", "platform", "tag", "layer", "package", "files", "size", "pull"];
        let mut table = Table::new(heads.map(Column::left));
        for part in &self.parts {
            table.row([
                part.variant.clone(),
                part.platform.to_string(),
                part.tag.clone(),
                part.layer.clone(),
                part.package.clone().unwrap_or_default(),
                part.files.to_string(),
                part.size.to_string(),
                part.pull.to_string(),
            ]);
        }
        table.to_csv()
    }
}

/// The name alone, where it has the form of an apk package's with its version: `NAME-VERSION-rN`.
pub(super) fn without_version(package: &str) -> &str {
    let mut pieces = package.rsplitn(3, '-');
    let release = pieces.next().is_some_and(|piece| piece.starts_with('r'));
    match (pieces.next(), pieces.next()) {
        (Some(_), Some(name)) if release => name,
        _ => package,
    }
}

fn column(head: &str) -> Column {
    if ["Package", "Layer"].contains(&head) { Column::left(head) } else { Column::right(head) }
}

/// What a node pulls of these parts.
fn pull(parts: &[Part]) -> u64 {
    parts.iter().map(|part| part.pull).sum()
}

/// The rows of an image: its largest parts, and one for the others.
fn rows(image: &[Part], name: fn(&Part) -> &str) -> Vec<[String; 7]> {
    let all = pull(image);
    let shown = if image.len() <= SHOWN + 1 { image.len() } else { SHOWN };
    let (named, others) = image.split_at(shown);
    let row = |name: &str, layer: &str, files: u64, bytes: u64, pull: u64, per_byte: String| {
        [name.into(), layer.into(), files.to_string(), size(bytes), size(pull), percent(pull, all), per_byte]
    };
    let mut rows: Vec<_> = named
        .iter()
        .map(|part| row(name(part), &part.layer, part.files, part.size, part.pull, part.per_byte()))
        .collect();
    if !others.is_empty() {
        let sum = |of: fn(&Part) -> u64| others.iter().map(of).sum::<u64>();
        let more = format!("{} more", others.len());
        rows.push(row(&more, "", sum(|part| part.files), sum(|part| part.size), pull(others), String::new()));
    }
    rows
}
