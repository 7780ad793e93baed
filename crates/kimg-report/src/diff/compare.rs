//! Two images, path by path and package by package.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use kimg_core::{Digest, Entry, ImagePath, Kind, Platform};

use super::{
    Aspect, Change, FileChange, FileState, ImageContents, ImageDiff, Measured, PackageChange, PackageFate,
    SettingChange,
};

impl ImageDiff {
    /// Compares two images. `order` says which of two versions of a package is the later one.
    pub fn between(
        image: String,
        platform: Platform,
        a: &ImageContents,
        b: &ImageContents,
        order: impl Fn(&str, &str) -> Ordering,
    ) -> Self {
        let (files, times) = files(a, b);
        let known: BTreeSet<Digest> = a.layers.iter().map(|(digest, _)| *digest).collect();
        let new: BTreeMap<Digest, u64> =
            b.layers.iter().copied().filter(|(d, _)| !known.contains(d)).collect();
        Self {
            image,
            platform,
            a: a.measured(),
            b: b.measured(),
            to_pull: new.values().sum(),
            packages: packages(a, b, &files, order),
            files,
            settings: settings(&a.settings, &b.settings),
            times,
        }
    }
}

impl ImageContents {
    fn measured(&self) -> Measured {
        Measured {
            digest: self.digest,
            pull: self.layers.iter().map(|(_, size)| size).sum(),
            on_disk: self.tree.iter().map(|(path, entry)| own_size(path, entry)).sum(),
            files: self.tree.iter().filter(|(_, entry)| !entry.is_directory()).count() as u64,
        }
    }

    fn bytes_of(&self, package: &str) -> u64 {
        let own = self.tree.iter().filter(|(_, entry)| entry.origin.package() == Some(package));
        own.map(|(path, entry)| own_size(path, entry)).sum()
    }
}

/// A file's bytes; 0 for a further name of one that is counted already.
fn own_size(path: &ImagePath, entry: &Entry) -> u64 {
    match &entry.kind {
        Kind::File { inode: Some(first), .. } if first != path => 0,
        _ => entry.size(),
    }
}

fn files(a: &ImageContents, b: &ImageContents) -> (Vec<FileChange>, u64) {
    let paths: BTreeSet<&ImagePath> = a.tree.iter().chain(b.tree.iter()).map(|(path, _)| path).collect();
    let mut times = 0;
    let mut changes = Vec::new();
    for path in paths {
        let (before, after) = (a.tree.get(path), b.tree.get(path));
        let (change, differs) = match (before, after) {
            (Some(before), Some(after)) => {
                let differs = aspects(before, after);
                if differs.is_empty() {
                    times += u64::from(before.mtime != after.mtime);
                    continue;
                }
                (Change::Changed, differs)
            }
            (Some(_), None) => (Change::Removed, Vec::new()),
            _ => (Change::Added, Vec::new()),
        };
        let package = after.or(before).and_then(|entry| entry.origin.package()).map(str::to_owned);
        let (before, after) = (before.map(state), after.map(state));
        changes.push(FileChange { path: path.clone(), change, differs, package, before, after });
    }
    (changes, times)
}

fn aspects(a: &Entry, b: &Entry) -> Vec<Aspect> {
    let mut differs = Vec::new();
    match (&a.kind, &b.kind) {
        (Kind::Directory, Kind::Directory) => {}
        (Kind::File { content: one, .. }, Kind::File { content: other, .. }) => {
            if one != other {
                differs.push(Aspect::Content);
            }
        }
        (Kind::Symlink { target: one }, Kind::Symlink { target: other }) => {
            if one != other {
                differs.push(Aspect::Target);
            }
        }
        _ => differs.push(Aspect::Type),
    }
    // The bits of a link mean nothing to Linux, and writers disagree on them.
    let both_links = a.target().is_some() && b.target().is_some();
    if a.mode != b.mode && !both_links {
        differs.push(Aspect::Mode);
    }
    if (a.uid, a.gid) != (b.uid, b.gid) {
        differs.push(Aspect::Owner);
    }
    if a.xattrs != b.xattrs {
        differs.push(Aspect::Attributes);
    }
    differs
}

fn state(entry: &Entry) -> FileState {
    FileState {
        kind: match entry.kind {
            Kind::Directory => "directory",
            Kind::File { .. } => "file",
            Kind::Symlink { .. } => "symlink",
        },
        size: entry.size(),
        mode: format!("{:04o}", entry.mode),
        owner: format!("{}:{}", entry.uid, entry.gid),
        target: entry.target().map(str::to_owned),
        digest: entry.content().map(kimg_core::Content::digest),
        attributes: entry.xattrs.iter().map(|(name, value)| (name.clone(), hexadecimal(value))).collect(),
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn packages(
    a: &ImageContents,
    b: &ImageContents,
    files: &[FileChange],
    order: impl Fn(&str, &str) -> Ordering,
) -> Vec<PackageChange> {
    let names: BTreeSet<&String> = a.packages.keys().chain(b.packages.keys()).collect();
    let mut changes = Vec::new();
    for name in names {
        let of = |change: Change| {
            let own = files.iter().filter(|f| f.change == change && f.package.as_ref() == Some(name));
            own.count() as u64
        };
        let (added, removed, changed) = (of(Change::Added), of(Change::Removed), of(Change::Changed));
        let change = match (a.packages.get(name), b.packages.get(name)) {
            (None, _) => PackageFate::Added,
            (_, None) => PackageFate::Removed,
            (Some(one), Some(other)) => match order(&one.version, &other.version) {
                Ordering::Less => PackageFate::Upgraded,
                Ordering::Greater => PackageFate::Downgraded,
                Ordering::Equal if one != other => PackageFate::Rebuilt,
                Ordering::Equal if added + removed + changed > 0 => PackageFate::OtherFiles,
                Ordering::Equal => continue,
            },
        };
        changes.push(PackageChange {
            name: name.clone(),
            change,
            from: a.packages.get(name).map(|p| p.version.clone()),
            to: b.packages.get(name).map(|p| p.version.clone()),
            bytes_before: a.bytes_of(name),
            bytes_after: b.bytes_of(name),
            added,
            removed,
            changed,
        });
    }
    changes
}

fn settings(a: &BTreeMap<String, String>, b: &BTreeMap<String, String>) -> Vec<SettingChange> {
    let names: BTreeSet<&String> = a.keys().chain(b.keys()).collect();
    let both = names.into_iter().map(|name| (name, a.get(name), b.get(name)));
    both.filter(|(_, before, after)| before != after)
        .map(|(name, before, after)| SettingChange {
            name: name.clone(),
            before: before.cloned(),
            after: after.cloned(),
        })
        .collect()
}
