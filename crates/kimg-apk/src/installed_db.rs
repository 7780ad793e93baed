//! `lib/apk/db/installed` and `etc/apk/world`, by which scanners and apk see what is in an image.
//!
//! The format is that of apk-tools 2 (`apk_db_write_fdb`): the fields of an index, then `r:` and `q:`, then each folder
//! (`F:`, `M:` when it is not 0:0:755) with its files (`R:`, `a:` when not 0:0:644, `Z:` the SHA-1).

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{Display, Write as _};
use std::io::Read;

use kimg_core::{Content, Entry, FileTree, ImagePath, Kind};
use sha1::{Digest as _, Sha1};

use crate::install::Landing;
use crate::package::origin_of;
use crate::{Identity, Package, Record};

/// The text of `lib/apk/db/installed` for what is in `tree`.
///
/// A package is listed with those of its files that are in the tree and carry it as their origin, wherever they were put under their
/// own name, and with those of its folders that are there. One that ships files of which none is in the tree is left out; one that ships none at all (a meta package) is listed.
/// Where a file's bytes are no longer the package's (it was packed smaller), its checksum is computed anew.
pub fn installed_db(packages: &[&Package], tree: &FileTree) -> String {
    installed_db_with(packages, tree, &sha1_of)
}

/// Like [`installed_db`], with a `sha1` that computes or remembers the SHA-1 of a content that is no package's own.
pub fn installed_db_with(
    packages: &[&Package],
    tree: &FileTree,
    sha1: &dyn Fn(&Content) -> Option<[u8; 20]>,
) -> String {
    let mut sorted = packages.to_vec();
    sorted.sort_by(|a, b| a.record.name.cmp(&b.record.name));
    let landing = Landing::in_tree(tree);
    let mut text = String::new();
    for package in sorted {
        let folders = folders(package, tree, &landing, sha1);
        let ships_files = package.entries.iter().any(|(_, entry)| !entry.is_directory());
        if ships_files && folders.values().all(Vec::is_empty) {
            continue;
        }
        fields(&mut text, &package.record);
        paths(&mut text, tree, &folders);
        text.push('\n');
    }
    text
}

/// The text of `etc/apk/world`: one wish a line, sorted, each once.
///
/// ```
/// let wishes = ["kubelet", "iptables", "kubelet"];
/// assert_eq!(kimg_apk::world_file(wishes.into_iter()), "iptables\nkubelet\n");
/// ```
pub fn world_file<'a>(wishes: impl Iterator<Item = &'a str>) -> String {
    let sorted: BTreeSet<&str> = wishes.map(str::trim).filter(|wish| !wish.is_empty()).collect();
    sorted.into_iter().fold(String::new(), |text, wish| text + wish + "\n")
}

/// A file or link of a folder: its name in it, what it is, and its SHA-1 if that could be had.
type File<'a> = (String, &'a Entry, Option<[u8; 20]>);

/// The folders and files of a package that are in the tree, by their place in it.
fn folders<'a>(
    package: &Package,
    tree: &'a FileTree,
    landing: &Landing,
    sha1: &dyn Fn(&Content) -> Option<[u8; 20]>,
) -> BTreeMap<ImagePath, Vec<File<'a>>> {
    let origin = origin_of(&package.record);
    let mut folders: BTreeMap<ImagePath, Vec<File<'a>>> = BTreeMap::new();
    let mut shipped: BTreeMap<ImagePath, (&ImagePath, &Entry)> = BTreeMap::new();
    for (path, entry) in &package.entries {
        let Ok(place) = landing.of(path, entry.is_directory()) else { continue };
        if !entry.is_directory() {
            shipped.insert(place, (path, entry));
        } else if tree.get(&place).is_some_and(Entry::is_directory) {
            folders.entry(place).or_default();
        }
    }
    // An assembler may have put a file elsewhere, under its own name: it is listed where it is.
    let names: BTreeSet<&str> = shipped.values().filter_map(|(path, _)| path.file_name()).collect();
    for (place, entry) in tree.iter() {
        let is_its_own = entry.content().is_some() && entry.origin == origin && !shipped.contains_key(place);
        if let (true, Some(parent), Some(name)) = (is_its_own, place.parent(), place.file_name())
            && names.contains(name)
        {
            // Nobody ships the folders above it, and apk wants to know how each of them is.
            for folder in parent.ancestors().into_iter().filter(|folder| !folder.is_root()) {
                folders.entry(folder).or_default();
            }
            let same = |(path, original): &&(&ImagePath, &Entry)| {
                path.file_name() == Some(name) && original.content() == entry.content()
            };
            let known =
                shipped.values().find(same).and_then(|(path, _)| package.checksums.get(*path)).copied();
            folders.entry(parent).or_default().push((name.to_owned(), entry, checksum(entry, known, sha1)));
        }
    }
    for (place, (shipped_as, original)) in shipped {
        let Some(entry) = tree.get(&place).filter(|entry| entry.origin == origin) else { continue };
        let known =
            package.checksums.get(shipped_as).filter(|_| original.content() == entry.content()).copied();
        let (Some(parent), Some(name)) = (place.parent(), place.file_name()) else { continue };
        folders.entry(parent).or_default().push((name.to_owned(), entry, checksum(entry, known, sha1)));
    }
    folders
}

fn checksum(
    entry: &Entry,
    known: Option<[u8; 20]>,
    sha1: &dyn Fn(&Content) -> Option<[u8; 20]>,
) -> Option<[u8; 20]> {
    match &entry.kind {
        Kind::Directory => None,
        Kind::Symlink { target } => Some(Sha1::digest(target.as_bytes()).into()),
        Kind::File { content, .. } => known.or_else(|| sha1(content)),
    }
}

/// The SHA-1 of a content, by reading it; `None` if it can't be read.
pub fn sha1_of(content: &Content) -> Option<[u8; 20]> {
    let mut reader = content.open().ok()?;
    let mut sha1 = Sha1::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        match reader.read(&mut buffer).ok()? {
            0 => return Some(sha1.finalize().into()),
            read => sha1.update(&buffer[..read]),
        }
    }
}

/// The fields of a package in the order in which apk writes them.
pub(crate) fn fields(text: &mut String, record: &Record) {
    let mut field = |letter: char, value: &dyn Display| {
        let _ = writeln!(text, "{letter}:{value}");
    };
    if let Some(identity) = &record.identity {
        field('C', identity);
    }
    field('P', &record.name);
    field('V', &record.version);
    if !record.arch.is_empty() {
        field('A', &record.arch);
    }
    field('S', &record.size);
    field('I', &record.installed_size);
    field('T', &record.description);
    field('U', &record.url);
    field('L', &record.license);
    for (letter, value) in [('o', &record.origin), ('m', &record.maintainer)] {
        if let Some(value) = value {
            field(letter, value);
        }
    }
    if let Some(time) = record.build_time {
        field('t', &time);
    }
    if let Some(commit) = &record.commit {
        field('c', commit);
    }
    if record.provider_priority != 0 {
        field('k', &record.provider_priority);
    }
    for (letter, list) in [
        ('D', joined(&record.depends)),
        ('p', joined(&record.provides)),
        ('i', joined(&record.install_if)),
        ('r', joined(&record.replaces)),
    ] {
        if !list.is_empty() {
            field(letter, &list);
        }
    }
    if record.replaces_priority != 0 {
        field('q', &record.replaces_priority);
    }
}

fn joined(items: &[impl Display]) -> String {
    items.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}

fn paths(text: &mut String, tree: &FileTree, folders: &BTreeMap<ImagePath, Vec<File<'_>>>) {
    for (folder, files) in folders {
        let _ = writeln!(text, "F:{}", folder.relative());
        if let Some(entry) = tree.get(folder) {
            owner_and_mode(text, 'M', entry, 0o755);
        }
        for (name, entry, sha1) in files {
            let _ = writeln!(text, "R:{name}");
            owner_and_mode(text, 'a', entry, 0o644);
            if let Some(sha1) = sha1 {
                let _ = writeln!(text, "Z:{}", Identity::from_raw(*sha1));
            }
        }
    }
}

/// Left out where it is what apk takes for granted.
fn owner_and_mode(text: &mut String, letter: char, entry: &Entry, usual: u32) {
    if (entry.uid, entry.gid, entry.mode) != (0, 0, usual) {
        let _ = writeln!(text, "{letter}:{}:{}:{:o}", entry.uid, entry.gid, entry.mode);
    }
}
