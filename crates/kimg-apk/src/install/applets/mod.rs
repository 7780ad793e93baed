//! The links by which busybox answers to the names of its applets. Its post-install script would make them.

mod table;

use std::collections::BTreeSet;

use kimg_core::{Content, Entry, FileTree, ImagePath, Origin};

use super::{InstallError, Landing};

/// Which applets get a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Applets<'a> {
    /// All that the binary has.
    All,
    /// Only those with these names.
    Named(&'a BTreeSet<String>),
}

impl Applets<'_> {
    fn wants(self, name: &str) -> bool {
        match self {
            Self::All => true,
            Self::Named(names) => names.contains(name),
        }
    }
}

/// Alpine from 3.17 on: a list of paths for each busybox-like binary, named after it. One path a line, no leading slash.
const LISTS: &str = "/etc/busybox-paths.d";
/// Where programs are looked for.
const SEARCHED: [&str; 6] = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];
/// Bytes of a list, at most.
const LARGEST_LIST: u64 = 1 << 20;
/// Bytes of a busybox binary, at most. Alpine's have less than one million.
const LARGEST_BINARY: u64 = 32 << 20;

/// Makes the links to busybox, and gives their paths in the order of the list.
///
/// Each applet stands where `/etc/busybox-paths.d/busybox` says, and `busybox-extras` with its own list likewise. A busybox without a
/// list is asked for the names it holds, and a table of Alpine's usual places is used. No link is made where a program of that name
/// stands anywhere on the usual `PATH`: whatever was installed on purpose is fuller than an applet. A name that no busybox of the tree has
/// gets no link. Without busybox in the tree nothing happens.
///
/// # Errors
/// A list or a binary that can't be read, or a list that names what is no path.
///
/// ```
/// use kimg_apk::{Applets, link_applets};
/// use kimg_core::{Content, Entry, FileTree, ImagePath, Origin};
///
/// let made = || Origin::generated("doc");
/// let mut tree = FileTree::new();
/// tree.insert(ImagePath::new("bin/busybox")?, Entry::file(Content::from_bytes("ELF"), 0o755, made()));
/// tree.insert(ImagePath::new("etc/busybox-paths.d/busybox")?, Entry::file(Content::from_bytes("bin/ls\nsbin/ip\n"), 0o644, made()));
/// tree.insert(ImagePath::new("usr/sbin/ip")?, Entry::file(Content::from_bytes("ELF"), 0o755, made()));
/// tree.add_parents(&made());
///
/// let links = link_applets(&mut tree, Applets::All)?;
/// assert_eq!(links, [ImagePath::new("/bin/ls")?], "a fuller `ip` is there already");
/// assert_eq!(tree.get(&links[0]).and_then(Entry::target), Some("/bin/busybox"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn link_applets(tree: &mut FileTree, which: Applets<'_>) -> Result<Vec<ImagePath>, InstallError> {
    let mut made = Vec::new();
    for (binary, mtime, paths) in binaries(tree)? {
        let landing = Landing::in_tree(tree);
        let standing = programs(tree, &landing)?;
        let mut new = Vec::new();
        for path in paths {
            let name = path.file_name().unwrap_or_default();
            if which.wants(name) && !standing.contains(name) {
                let place = landing.of(&path, false)?;
                if tree.get(&place).is_none() {
                    new.push(place);
                }
            }
        }
        let origin =
            Origin::generated(format!("a link that the script of {} would have made", name_of(&binary)));
        for place in new {
            let link = Entry { mtime, ..Entry::symlink(binary.as_str(), origin.clone()) };
            if tree.insert(place.clone(), link).is_none() {
                made.push(place);
            }
        }
        tree.add_parents(&origin);
    }
    Ok(made)
}

fn name_of(path: &ImagePath) -> &str {
    path.file_name().unwrap_or_default()
}

/// The busybox binaries of the tree by their real paths, each with its time and the paths of its applets.
fn binaries(tree: &FileTree) -> Result<Vec<(ImagePath, u64, Vec<ImagePath>)>, InstallError> {
    let fixed = |text: &str| ImagePath::new(text).expect("a constant path is valid");
    let mut lists: Vec<(ImagePath, Content)> = Vec::new();
    if let Ok(folder) = tree.resolve(&fixed(LISTS)) {
        let inside =
            tree.below(&folder.path).filter(|(path, _)| path.parent().as_ref() == Some(&folder.path));
        lists.extend(inside.filter_map(|(path, entry)| Some((path.clone(), entry.content()?.clone()))));
    }
    let mut found = Vec::new();
    for (path, content) in &lists {
        let Some((binary, entry)) = binary(tree, name_of(path)) else { continue };
        let text = read(path, content, LARGEST_LIST)?;
        let text = String::from_utf8_lossy(&text).into_owned();
        let mut paths = Vec::new();
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let applet = ImagePath::new(line).ok().filter(|path| !path.is_root());
            let error =
                || InstallError::AppletPath { list: path.clone(), line: line.chars().take(200).collect() };
            paths.push(applet.ok_or_else(error)?);
        }
        found.push((binary, entry.mtime, paths));
    }
    if !lists.iter().any(|(path, _)| name_of(path) == "busybox")
        && let Some((path, entry)) = binary(tree, "busybox")
        && let Some(content) = entry.content()
    {
        let bytes = read(&path, content, LARGEST_BINARY)?;
        let paths = table::paths(&table::names(&bytes));
        found.push((path, entry.mtime, paths.iter().map(|text| fixed(text)).collect()));
    }
    Ok(found)
}

fn read(path: &ImagePath, content: &Content, limit: u64) -> Result<Vec<u8>, InstallError> {
    content.read(limit).map_err(|source| InstallError::Content { path: path.clone(), source })
}

/// The binary of this name where Alpine has it, by its real path: what `--install` makes the links point to.
fn binary<'a>(tree: &'a FileTree, name: &str) -> Option<(ImagePath, &'a Entry)> {
    ["/bin", "/usr/bin"].iter().find_map(|folder| {
        let path = tree.resolve(&ImagePath::new(&format!("{folder}/{name}")).ok()?).ok()?.path;
        let entry = tree.get(&path).filter(|entry| entry.content().is_some())?;
        Some((path, entry))
    })
}

/// The names of all programs on the usual `PATH`.
fn programs(tree: &FileTree, landing: &Landing) -> Result<BTreeSet<String>, InstallError> {
    let mut names = BTreeSet::new();
    for folder in SEARCHED {
        let folder = landing.of(&ImagePath::new(folder).expect("a constant path is valid"), true)?;
        let inside = tree
            .below(&folder)
            .filter(|(path, entry)| path.parent().as_ref() == Some(&folder) && !entry.is_directory());
        names.extend(inside.map(|(path, _)| name_of(path).to_owned()));
    }
    Ok(names)
}
