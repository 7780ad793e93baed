//! The files of an image as a tree: by folder, with what each folder holds; or by reason, from roots to what they
//! brought along.

use std::collections::BTreeMap;

use kimg_core::ImagePath;
use serde::Serialize;

use crate::outline::{Branch, Outline};
use crate::size::count;
use crate::table::Column;

/// One path of an image, as it is listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedFile {
    /// Where it is.
    pub path: ImagePath,
    /// `file`, `directory` or `symlink`.
    pub kind: &'static str,
    /// Bytes of a file.
    pub size: u64,
    /// Where a link points to.
    pub target: Option<String>,
    /// What it comes from: `iptables-1.8.9-r2`.
    pub from: String,
    /// The layer that holds it.
    pub layer: String,
    /// The path that this one is there for; `None` for a root, and for what is there without being needed.
    pub because_of: Option<ImagePath>,
    /// Why it is there, in words: `loader`, `rule xtables`; of a root, what it is wanted for.
    pub why: String,
}

/// A tree of files. As JSON a list of its roots, each with its children.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct FileTreeReport {
    roots: Vec<Twig>,
    #[serde(skip)]
    by_reason: bool,
}

/// A path in a tree, or several that are told as one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Twig {
    path: ImagePath,
    kind: &'static str,
    /// Bytes of it and all below it.
    bytes: u64,
    /// Files and links among it and all below it.
    files: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<String>,
    from: String,
    layer: String,
    why: String,
    children: Vec<Twig>,
}

/// How much of a tree is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Depth {
    /// How many levels below the roots are shown; all when not said.
    pub levels: Option<usize>,
    /// Whether each file is shown. Else of many like ones beside each other the largest are, and the rest is counted.
    pub every_file: bool,
}

/// So many like files beside each other are told one by one.
const SHOWN: usize = 12;
/// Of more than that, so many are.
const SHOWN_OF_MANY: usize = 3;

impl FileTreeReport {
    /// As they lie in folders.
    pub fn by_folder(files: &[ListedFile]) -> Self {
        let known: BTreeMap<&ImagePath, &ListedFile> = files.iter().map(|file| (&file.path, file)).collect();
        let mut below: BTreeMap<ImagePath, Vec<&ListedFile>> = BTreeMap::new();
        for file in files {
            // A folder that is not listed itself hangs on the nearest one that is.
            let parent =
                file.path.ancestors().into_iter().rev().find(|p| p.is_root() || known.contains_key(p));
            below.entry(parent.unwrap_or_else(ImagePath::root)).or_default().push(file);
        }
        let root = ListedFile {
            path: ImagePath::root(),
            kind: "directory",
            size: 0,
            target: None,
            from: String::new(),
            layer: String::new(),
            because_of: None,
            why: String::new(),
        };
        Self { roots: vec![twig(&root, &below)], by_reason: false }
    }

    /// As one led to the other, folders left out; `why` says how. What nothing led to stands at the top.
    pub fn by_reason(files: &[ListedFile]) -> Self {
        let files: Vec<&ListedFile> = files.iter().filter(|file| file.kind != "directory").collect();
        let known: BTreeMap<&ImagePath, &ListedFile> = files.iter().map(|file| (&file.path, *file)).collect();
        let mut below: BTreeMap<ImagePath, Vec<&ListedFile>> = BTreeMap::new();
        let mut tops = Vec::new();
        for &file in &files {
            match file.because_of.as_ref().filter(|of| known.contains_key(of)) {
                Some(of) => below.entry(of.clone()).or_default().push(file),
                None => tops.push(file),
            }
        }
        let mut roots: Vec<Twig> = tops.into_iter().map(|file| twig(file, &below)).collect();
        roots.sort_by(|a, b| b.bytes.cmp(&a.bytes).then_with(|| a.path.cmp(&b.path)));
        Self { roots, by_reason: true }
    }

    /// For a terminal so many characters wide.
    pub fn to_terminal(&self, depth: Depth, width: usize, color: bool) -> String {
        let mut columns = vec![Column::right("Size"), Column::left("From"), Column::left("Layer")];
        if self.by_reason {
            columns = vec![Column::right("Size"), Column::left("From"), Column::left("Why")];
        }
        let roots = self.roots.iter().map(|root| self.branch(root, None, depth, 0)).collect();
        Outline { columns, roots }.to_terminal(width, color)
    }

    /// For programs: each node with `path`, `kind`, `bytes` and `files` (with all below it), `target` of a link, `from`,
    /// `layer`, `why`, `children`.
    pub fn to_json(&self) -> serde_json::Value {
        serde_json::json!(self.roots)
    }

    fn branch(&self, twig: &Twig, above: Option<&Twig>, depth: Depth, level: usize) -> Branch {
        // A link and the one file it brought are one line: what hangs on the file hangs on that.
        let brought = twig.children.first().filter(|_| self.by_reason && twig.children.len() == 1);
        let end = brought.filter(|_| twig.target.is_some()).unwrap_or(twig);
        let told_by_name = !self.by_reason && above.is_some();
        let mut name = match twig.path.file_name() {
            Some(name) if told_by_name => name.to_owned(),
            _ => twig.path.to_string(),
        };
        if let Some(target) = &twig.target {
            name.push_str(" → ");
            name.push_str(target);
        }
        let is_last_level = depth.levels.is_some_and(|levels| level >= levels);
        let beside = if self.by_reason { &twig.why } else { &twig.layer };
        // Of a folder, that it lies in its layer says little, and that a package made it less.
        let (from, beside) = match twig.kind {
            "directory" if is_last_level || !twig.children.is_empty() => {
                (count(twig.files, "file", "files"), String::new())
            }
            _ => (self.from(twig), beside.clone()),
        };
        let size =
            if twig.target.is_some() && twig.bytes == 0 { String::new() } else { crate::size(twig.bytes) };
        let children = if is_last_level { Vec::new() } else { self.children(end, depth, level) };
        Branch { name, cells: vec![size, from, beside], loud: None, children }
    }

    /// The branches below one: like ones beyond the first few as one line, behind those they are like.
    fn children(&self, twig: &Twig, depth: Depth, level: usize) -> Vec<Branch> {
        let mut like: BTreeMap<_, Vec<&Twig>> = BTreeMap::new();
        for child in &twig.children {
            like.entry(self.likeness(child)).or_default().push(child);
        }
        let mut branches = Vec::new();
        for child in &twig.children {
            let group = &like[&self.likeness(child)];
            if depth.every_file || !child.children.is_empty() || group.len() <= SHOWN {
                branches.push(self.branch(child, Some(twig), depth, level + 1));
                continue;
            }
            let mut by_size = group.clone();
            by_size.sort_by(|a, b| b.bytes.cmp(&a.bytes).then_with(|| a.path.cmp(&b.path)));
            let (shown, rest) = by_size.split_at(SHOWN_OF_MANY);
            if shown.contains(&child) {
                branches.push(self.branch(child, Some(twig), depth, level + 1));
            }
            if group.last() == Some(&child) {
                branches.push(self.many(child, rest));
            }
        }
        branches
    }

    /// The package; its version too, where there is room for it.
    fn from(&self, twig: &Twig) -> String {
        if self.by_reason { name_of(&twig.from).to_owned() } else { twig.from.clone() }
    }

    /// What makes files alike enough to be told as one.
    fn likeness(&self, twig: &Twig) -> (Option<ImagePath>, bool, String, String) {
        let beside = if self.by_reason { String::new() } else { twig.layer.clone() };
        (twig.path.parent(), twig.children.is_empty(), twig.from.clone(), beside)
    }

    fn many(&self, like: &Twig, rest: &[&Twig]) -> Branch {
        let number = count(rest.len() as u64, "more", "more");
        let name = match like.path.parent() {
            Some(folder) if self.by_reason => format!("… {number} in {folder}"),
            _ => format!("… {number}"),
        };
        let beside = match self.by_reason {
            true if rest.iter().any(|twig| twig.why != like.why) => "for several reasons",
            true => &like.why,
            false => &like.layer,
        };
        let bytes = rest.iter().map(|twig| twig.bytes).sum();
        let cells = vec![crate::size(bytes), self.from(like), beside.to_owned()];
        Branch { name, cells, loud: None, children: Vec::new() }
    }
}

/// `ca-certificates-bundle` of `ca-certificates-bundle-20230506-r0`: a version has two dashes' worth.
fn name_of(package: &str) -> &str {
    let mut dashes = package.rmatch_indices('-').map(|(at, _)| at);
    match (dashes.next(), dashes.next()) {
        (Some(_), Some(name)) => &package[..name],
        _ => package,
    }
}

/// A file with all below it. Nothing is below itself: a path's reason speaks of one that was reached before it.
fn twig(file: &ListedFile, below: &BTreeMap<ImagePath, Vec<&ListedFile>>) -> Twig {
    let children: Vec<Twig> =
        below.get(&file.path).into_iter().flatten().map(|child| twig(child, below)).collect();
    Twig {
        path: file.path.clone(),
        kind: file.kind,
        bytes: file.size + children.iter().map(|child| child.bytes).sum::<u64>(),
        files: u64::from(file.kind != "directory") + children.iter().map(|child| child.files).sum::<u64>(),
        target: file.target.clone(),
        from: file.from.clone(),
        layer: file.layer.clone(),
        why: file.why.clone(),
        children,
    }
}
