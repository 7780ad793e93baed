//! What there is to tell about an image that was made smaller.

use std::collections::{BTreeMap, BTreeSet};

use kimg_core::{Digest, Entry, FileTree, ImagePath, Kind, Platform};
use serde::Serialize;

use super::unknown::Unknown;

/// How deep a folder is named where bytes are summed up: `/usr/share/doc`.
const NAMED_DEPTH: usize = 3;

/// What was made.
#[derive(Debug, Clone, Serialize)]
pub struct SlimReport {
    /// Where it comes from, as it was written.
    pub from: String,
    /// The names it has.
    pub tags: Vec<String>,
    /// The digest of its index.
    pub digest: Digest,
    /// One for each platform.
    pub images: Vec<SlimmedImage>,
    /// Platforms that kimg has no word for, or that were not asked for.
    pub left_out: Vec<String>,
}

/// One platform's image.
#[derive(Debug, Clone, Serialize)]
pub struct SlimmedImage {
    /// What it runs on.
    pub platform: Platform,
    /// The digest of the image it comes from; a folder has none.
    pub from: Option<Digest>,
    /// The digest of its manifest.
    pub digest: Digest,
    /// Bytes that are pulled.
    pub pull: u64,
    /// What there was.
    pub before: Amount,
    /// What there is now.
    pub after: Amount,
    /// What went.
    pub gone: Amount,
    /// What went, by folder, the largest first.
    pub gone_by_folder: Vec<Folder>,
    /// What it was made for, and what stayed for another reason than need.
    pub roots: Vec<WantedPath>,
    /// Everything that stayed but folders, in the order of the paths.
    pub kept: Vec<KeptPath>,
    /// Needs that nothing meets, where that was allowed.
    pub unresolved: Vec<String>,
    /// What could not be known from the files.
    pub unknown: Vec<Unknown>,
    /// What no image can hold or this process could not see, each with the reason.
    pub passed_over: Vec<PassedOver>,
    /// What else a person should know.
    pub notes: Vec<String>,
}

/// Files, without folders, and their bytes. Hard links count as files, and their bytes once.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Amount {
    /// Regular files and links.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// How much of a folder went.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Folder {
    /// The folder.
    pub folder: ImagePath,
    /// How much.
    #[serde(flatten)]
    pub amount: Amount,
}

/// A path that was wanted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct WantedPath {
    /// The path.
    pub path: ImagePath,
    /// Why.
    pub reason: String,
}

/// A path that stayed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct KeptPath {
    /// The path.
    pub path: ImagePath,
    /// Its bytes.
    pub size: u64,
    /// Why it stayed.
    pub why: String,
}

/// A path that was passed over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PassedOver {
    /// The path.
    pub path: String,
    /// Why.
    pub why: String,
}

/// Adds entries up.
#[derive(Default)]
pub(super) struct Sum {
    amount: Amount,
    inodes: BTreeSet<ImagePath>,
}

impl Sum {
    fn add(&mut self, entry: &Entry) {
        if entry.is_directory() {
            return;
        }
        self.amount.files += 1;
        let again = match &entry.kind {
            Kind::File { inode: Some(inode), .. } => !self.inodes.insert(inode.clone()),
            _ => false,
        };
        if !again {
            self.amount.bytes += entry.size();
        }
    }

    pub(super) fn of<'a>(entries: impl Iterator<Item = &'a Entry>) -> Amount {
        let mut sum = Self::default();
        entries.for_each(|entry| sum.add(entry));
        sum.amount
    }
}

/// What of a tree is not among the paths that stayed: in all and by folder.
pub(super) fn gone(tree: &FileTree, stayed: impl Fn(&ImagePath) -> bool) -> (Amount, Vec<Folder>) {
    let mut all = Sum::default();
    let mut folders: BTreeMap<ImagePath, Sum> = BTreeMap::new();
    let gone = tree.iter().filter(|(path, entry)| !entry.is_directory() && !stayed(path));
    for (path, entry) in gone {
        all.add(entry);
        let named = path.ancestors().into_iter().take(NAMED_DEPTH + 1).last();
        folders.entry(named.unwrap_or_else(ImagePath::root)).or_default().add(entry);
    }
    let mut folders: Vec<Folder> =
        folders.into_iter().map(|(folder, sum)| Folder { folder, amount: sum.amount }).collect();
    folders.sort_by(|a, b| b.amount.bytes.cmp(&a.amount.bytes).then_with(|| a.folder.cmp(&b.folder)));
    (all.amount, folders)
}

#[cfg(test)]
mod tests {
    use kimg_core::{Content, Origin};

    use super::*;

    #[test]
    fn what_went_is_told_by_folder_and_a_file_with_two_names_counts_its_bytes_once() {
        let path = |text: &str| ImagePath::new(text).unwrap();
        let made = || Origin::generated("test");
        let file = |bytes: usize| Entry::file(Content::from_bytes(vec![0; bytes]), 0o644, made());
        let mut twice = file(100);
        if let Kind::File { inode, .. } = &mut twice.kind {
            *inode = Some(path("/usr/share/doc/a/x"));
        }
        let mut tree = FileTree::new();
        for (at, entry) in [
            ("/usr/share/doc/a/x", twice.clone()),
            ("/usr/share/doc/b/x", twice),
            ("/usr/bin/ls", file(10)),
            ("/usr/bin/rm", file(20)),
            ("/init", file(1)),
        ] {
            tree.insert(path(at), entry);
        }
        tree.add_parents(&made());
        let (all, folders) = gone(&tree, |path| path.as_str() == "/usr/bin/ls");
        assert_eq!(all, Amount { files: 4, bytes: 121 });
        let told: Vec<_> =
            folders.iter().map(|f| (f.folder.as_str(), f.amount.files, f.amount.bytes)).collect();
        assert_eq!(told, [("/usr/share/doc", 2, 100), ("/usr/bin", 1, 20), ("/", 1, 1)]);
        assert_eq!(Sum::of(tree.iter().map(|(_, entry)| entry)), Amount { files: 5, bytes: 131 });
    }
}
