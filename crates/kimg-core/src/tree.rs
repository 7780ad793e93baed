//! A root file system on paper: every path with mode, owner, content and origin. Nothing is ever unpacked.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};

use serde::Serialize;

use crate::{Content, ImagePath};

/// Where an entry of a tree came from.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Origin {
    /// A package, by name and version.
    Package {
        /// `iptables`
        name: String,
        /// `1.8.9-r0`
        version: String,
    },
    /// A program of one's own, by the name its settings give it.
    Program(String),
    /// Made by kimg, with the reason.
    Generated(String),
}

impl Origin {
    /// An entry made by kimg itself.
    pub fn generated(why: impl Into<String>) -> Self {
        Self::Generated(why.into())
    }

    /// The package's name, if it is one.
    pub fn package(&self) -> Option<&str> {
        match self {
            Self::Package { name, .. } => Some(name),
            _ => None,
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Package { name, version } => write!(f, "{name}-{version}"),
            Self::Program(name) => write!(f, "program {name}"),
            Self::Generated(why) => write!(f, "kimg: {why}"),
        }
    }
}

/// What an entry is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// A folder.
    Directory,
    /// A regular file.
    File {
        /// Its bytes.
        content: Content,
        /// Files that share an inode carry the same path here: the one under which the archive had the bytes first.
        inode: Option<ImagePath>,
    },
    /// A symbolic link; the target is kept as written, relative or absolute.
    Symlink {
        /// Where it points to.
        target: String,
    },
}

/// One path of a tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// What it is.
    pub kind: Kind,
    /// Permission bits with setuid, setgid and sticky: at most `0o7777`.
    pub mode: u32,
    /// Numeric owner.
    pub uid: u32,
    /// Numeric group.
    pub gid: u32,
    /// Time of the last change, in seconds since 1970.
    pub mtime: u64,
    /// Extended attributes, for example `security.capability`.
    pub xattrs: BTreeMap<String, Vec<u8>>,
    /// Where it came from.
    pub origin: Origin,
}

impl Entry {
    fn new(kind: Kind, mode: u32, origin: Origin) -> Self {
        Self { kind, mode, uid: 0, gid: 0, mtime: 0, xattrs: BTreeMap::new(), origin }
    }

    /// A folder of root with mode 0755.
    pub fn directory(origin: Origin) -> Self {
        Self::new(Kind::Directory, 0o755, origin)
    }

    /// A regular file of root.
    pub fn file(content: Content, mode: u32, origin: Origin) -> Self {
        Self::new(Kind::File { content, inode: None }, mode, origin)
    }

    /// A symbolic link.
    pub fn symlink(target: impl Into<String>, origin: Origin) -> Self {
        Self::new(Kind::Symlink { target: target.into() }, 0o777, origin)
    }

    /// The bytes, if it is a regular file.
    pub fn content(&self) -> Option<&Content> {
        match &self.kind {
            Kind::File { content, .. } => Some(content),
            _ => None,
        }
    }

    /// Where it points to, if it is a symbolic link.
    pub fn target(&self) -> Option<&str> {
        match &self.kind {
            Kind::Symlink { target } => Some(target),
            _ => None,
        }
    }

    /// Whether it is a folder.
    pub fn is_directory(&self) -> bool {
        matches!(self.kind, Kind::Directory)
    }

    /// Bytes of content: the size of a regular file, 0 for anything else.
    pub fn size(&self) -> u64 {
        self.content().map_or(0, Content::size)
    }
}

/// Where a path leads when its symbolic links are followed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolved {
    /// The entry it ends at: a file or a folder, never a link.
    pub path: ImagePath,
    /// Every symbolic link on the way, in the order it was followed, each by its own real path.
    pub links: Vec<ImagePath>,
}

/// Why a path leads nowhere.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ResolveError {
    /// There is no such entry.
    #[error("{}", missing_text(wanted, missing, links))]
    Missing {
        /// What was asked for.
        wanted: ImagePath,
        /// The first path on the way that is not there.
        missing: ImagePath,
        /// The links that were followed before.
        links: Vec<ImagePath>,
    },
    /// A file stands where a folder would have to be.
    #[error("`{wanted}` leads through `{file}`, which is not a folder")]
    NotADirectory {
        /// What was asked for.
        wanted: ImagePath,
        /// The file.
        file: ImagePath,
    },
    /// Links that lead to each other. Linux gives up after 40.
    #[error("`{wanted}` leads into a loop of symbolic links: {}", chain(links))]
    Loop {
        /// What was asked for.
        wanted: ImagePath,
        /// The links of the loop.
        links: Vec<ImagePath>,
    },
    /// A link whose target is no path.
    #[error("the symbolic link `{link}` points to {target:?}, which is no path")]
    BadTarget {
        /// The link.
        link: ImagePath,
        /// Its target as written.
        target: String,
    },
}

fn chain(links: &[ImagePath]) -> String {
    links.iter().map(|l| format!("`{l}`")).collect::<Vec<_>>().join(" → ")
}

fn missing_text(wanted: &ImagePath, missing: &ImagePath, links: &[ImagePath]) -> String {
    let mut text = format!("`{wanted}` does not exist");
    if missing != wanted {
        let _ = write!(text, ": `{missing}` is missing");
    }
    if !links.is_empty() {
        let _ = write!(text, " (by way of the link {})", chain(links));
    }
    text
}

/// Linux follows at most 40 links for one path (`MAXSYMLINKS`, `path_resolution(7)`).
const MAX_LINKS: usize = 40;

/// Every path of a root file system, sorted. The root itself has no entry.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FileTree {
    entries: BTreeMap<ImagePath, Entry>,
}

impl FileTree {
    /// An empty tree.
    pub fn new() -> Self {
        Self::default()
    }

    /// Puts an entry at exactly this path; gives back what stood there before. Parent folders are not added.
    pub fn insert(&mut self, path: ImagePath, entry: Entry) -> Option<Entry> {
        if path.is_root() {
            return None;
        }
        self.entries.insert(path, entry)
    }

    /// Takes the entry at exactly this path away.
    pub fn remove(&mut self, path: &ImagePath) -> Option<Entry> {
        self.entries.remove(path)
    }

    /// The entry at exactly this path: no links are followed.
    pub fn get(&self, path: &ImagePath) -> Option<&Entry> {
        self.entries.get(path)
    }

    /// The entry at exactly this path, to change it.
    pub fn get_mut(&mut self, path: &ImagePath) -> Option<&mut Entry> {
        self.entries.get_mut(path)
    }

    /// All entries in the order of their paths.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (&ImagePath, &Entry)> {
        self.entries.iter()
    }

    /// The entries below a folder, at any depth, without the folder itself.
    pub fn below<'a>(&'a self, folder: &'a ImagePath) -> impl Iterator<Item = (&'a ImagePath, &'a Entry)> {
        self.entries
            .range(folder.clone()..)
            .take_while(move |(p, _)| p.as_str().starts_with(folder.as_str()))
            .filter(move |(p, _)| *p != folder && p.is_below(folder))
    }

    /// The number of entries.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is no entry at all.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Adds every parent folder that is missing, 0755 root, as apk does.
    pub fn add_parents(&mut self, origin: &Origin) {
        let mut missing = BTreeMap::new();
        for path in self.entries.keys() {
            for parent in path.ancestors().into_iter().skip(1) {
                if !self.entries.contains_key(&parent) {
                    missing.insert(parent, Entry::directory(origin.clone()));
                }
            }
        }
        self.entries.append(&mut missing);
    }

    /// Follows every symbolic link of a path, in each of its folders and at its end, as the kernel does
    /// for a process whose root this tree is: absolute targets start at the tree's root and `..` stops there.
    pub fn resolve(&self, path: &ImagePath) -> Result<Resolved, ResolveError> {
        self.follow(path, true)
    }

    /// Like [`FileTree::resolve`], but the last name is left as it is: where the entry itself lies.
    /// The last name need not exist.
    pub fn locate(&self, path: &ImagePath) -> Result<Resolved, ResolveError> {
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            return Ok(Resolved { path: path.clone(), links: Vec::new() });
        };
        let mut folder = self.follow(&parent, true)?;
        folder.path = folder
            .path
            .join(name)
            .map_err(|_| ResolveError::BadTarget { link: path.clone(), target: name.to_owned() })?;
        Ok(folder)
    }

    fn follow(&self, wanted: &ImagePath, last: bool) -> Result<Resolved, ResolveError> {
        let mut todo: Vec<String> = wanted.names().map(str::to_owned).collect();
        todo.reverse();
        let mut here = ImagePath::root();
        let mut links: Vec<ImagePath> = Vec::new();
        while let Some(name) = todo.pop() {
            if name == ".." {
                here = here.parent().unwrap_or(here);
                continue;
            }
            let bad = |link: &ImagePath, target: &str| ResolveError::BadTarget {
                link: link.clone(),
                target: target.to_owned(),
            };
            let next = here.join(&name).map_err(|_| bad(&here, &name))?;
            let Some(entry) = self.entries.get(&next) else {
                return Err(ResolveError::Missing { wanted: wanted.clone(), missing: next, links });
            };
            match &entry.kind {
                Kind::Symlink { target } if last || !todo.is_empty() => {
                    if links.len() >= MAX_LINKS {
                        let start = links.iter().position(|l| *l == next).unwrap_or(0);
                        return Err(ResolveError::Loop {
                            wanted: wanted.clone(),
                            links: links.split_off(start),
                        });
                    }
                    if target.is_empty() || target.len() > 4095 {
                        return Err(bad(&next, target));
                    }
                    if target.starts_with('/') {
                        here = ImagePath::root();
                    }
                    todo.extend(
                        target.split('/').filter(|n| !n.is_empty() && *n != ".").rev().map(str::to_owned),
                    );
                    links.push(next);
                }
                Kind::File { .. } if !todo.is_empty() => {
                    return Err(ResolveError::NotADirectory { wanted: wanted.clone(), file: next });
                }
                _ => here = next,
            }
        }
        Ok(Resolved { path: here, links })
    }

    /// The tree as text, one line a path, to compare and to read: mode, owner, size or target, digest, path.
    pub fn dump(&self) -> String {
        let mut text = String::new();
        for (path, entry) in &self.entries {
            let (letter, rest) = match &entry.kind {
                Kind::Directory => ('d', String::new()),
                Kind::File { content, inode } => {
                    let link = inode.as_ref().map(|i| format!(" inode={i}")).unwrap_or_default();
                    ('f', format!(" {} {}{link}", content.size(), content.digest().short()))
                }
                Kind::Symlink { target } => ('l', format!(" -> {target}")),
            };
            let xattrs: String = entry.xattrs.iter().fold(String::new(), |mut all, (k, v)| {
                let _ = write!(all, " {k}={}", hex::encode(v));
                all
            });
            let _ =
                writeln!(text, "{letter}{:04o} {}:{} {path}{rest}{xattrs}", entry.mode, entry.uid, entry.gid);
        }
        text
    }
}

impl FromIterator<(ImagePath, Entry)> for FileTree {
    fn from_iter<I: IntoIterator<Item = (ImagePath, Entry)>>(entries: I) -> Self {
        let mut tree = Self::new();
        for (path, entry) in entries {
            tree.insert(path, entry);
        }
        tree
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> ImagePath {
        ImagePath::new(text).unwrap()
    }

    fn tree() -> FileTree {
        let made = || Origin::generated("test");
        let mut tree: FileTree = [
            ("/usr/lib/libx.so.1.2", Entry::file(Content::from_bytes("x"), 0o755, made())),
            ("/usr/lib/libx.so.1", Entry::symlink("libx.so.1.2", made())),
            ("/lib", Entry::symlink("usr/lib", made())),
            ("/up", Entry::symlink("../../usr/../lib", made())),
            ("/a", Entry::symlink("/b", made())),
            ("/b", Entry::symlink("a", made())),
            ("/gone", Entry::symlink("/nowhere/at/all", made())),
        ]
        .into_iter()
        .map(|(p, e)| (path(p), e))
        .collect();
        tree.add_parents(&made());
        tree
    }

    #[test]
    fn every_link_on_the_way_is_named_in_order() {
        let found = tree().resolve(&path("/up/libx.so.1")).unwrap();
        assert_eq!(found.path, path("/usr/lib/libx.so.1.2"));
        assert_eq!(found.links, [path("/up"), path("/lib"), path("/usr/lib/libx.so.1")]);
    }

    #[test]
    fn locate_leaves_the_last_link_alone() {
        assert_eq!(tree().locate(&path("/lib/libx.so.1")).unwrap().path, path("/usr/lib/libx.so.1"));
        assert_eq!(tree().locate(&path("/lib/new")).unwrap().path, path("/usr/lib/new"));
    }

    #[test]
    fn a_loop_ends_and_shows_itself() {
        let error = tree().resolve(&path("/a")).unwrap_err();
        assert!(matches!(&error, ResolveError::Loop { .. }), "{error}");
        assert!(error.to_string().contains("`/a` → `/b`"), "{error}");
    }

    #[test]
    fn what_is_missing_says_by_which_link_it_was_wanted() {
        let error = tree().resolve(&path("/gone")).unwrap_err().to_string();
        assert_eq!(error, "`/gone` does not exist: `/nowhere` is missing (by way of the link `/gone`)");
        assert!(matches!(
            tree().resolve(&path("/usr/lib/libx.so.1.2/y")),
            Err(ResolveError::NotADirectory { .. })
        ));
    }

    #[test]
    fn below_does_not_take_neighbours_with_the_same_beginning() {
        let tree = tree();
        let usr = path("/u");
        assert_eq!(tree.below(&usr).count(), 0);
        let lib = path("/usr/lib");
        assert_eq!(tree.below(&lib).count(), 2);
    }

    #[test]
    fn the_dump_reads_like_a_listing() {
        insta::assert_snapshot!(tree().dump());
    }
}
