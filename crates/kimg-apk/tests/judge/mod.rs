//! The real apk 2.12 in a root of its own, and a tree of its making beside one of ours.
#![allow(dead_code, unreachable_pub, reason = "each test program uses its own part of this")]
#![allow(clippy::unwrap_used, clippy::missing_panics_doc, reason = "a test that can't be set up has failed")]

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use kimg_core::{Digest, Entry, FileTree, Kind};
use tempfile::TempDir;

use crate::real::{self, skipped};

/// A root with the real apk in it.
pub struct Judge {
    root: TempDir,
}

impl Judge {
    /// `None`, visibly: the input is not there, or this is not root.
    pub fn new() -> Option<Self> {
        let input = real::input()?;
        if !fs_err::read_to_string("/proc/self/status").unwrap().contains("\nUid:\t0\t0\t") {
            skipped("chroot wants root");
            return None;
        }
        // Beside the repository, where the disk allows hard links to it.
        let root = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let minirootfs = input.join("minirootfs/alpine-minirootfs-3.15.11-x86_64.tar.gz");
        let unpacked =
            Command::new("tar").arg("xzf").arg(minirootfs).arg("-C").arg(root.path()).status().unwrap();
        assert!(unpacked.success());
        Some(Self { root })
    }

    /// A place below the root.
    pub fn path(&self, below: &str) -> PathBuf {
        self.root.path().join(below)
    }

    /// Puts the files of a folder below the root that `wanted` holds for.
    pub fn share(&self, folder: &Path, at: &str, wanted: impl Fn(&str) -> bool) {
        let below = self.path(at);
        fs_err::create_dir_all(&below).unwrap();
        for file in fs_err::read_dir(folder).unwrap() {
            let file = file.unwrap();
            if !wanted(file.file_name().to_str().unwrap()) {
                continue;
            }
            let to = below.join(file.file_name());
            if fs_err::hard_link(file.path(), &to).is_err() {
                fs_err::copy(file.path(), &to).unwrap();
            }
        }
    }

    /// Runs apk on the root `/<target>`; gives what it printed.
    pub fn apk(&self, target: &str, arguments: &[&str]) -> String {
        let mut command = Command::new("chroot");
        command
            .stdin(Stdio::null())
            .arg(self.root.path())
            .args(["/sbin/apk", "--root", &format!("/{target}"), "--no-network"])
            .args(arguments);
        let output = command.output().unwrap();
        let printed = String::from_utf8_lossy(&output.stdout).into_owned();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "apk {arguments:?}: {printed}{errors}");
        printed
    }

    /// Makes `/<target>` a root without packages; gives what apk itself needs in it.
    pub fn empty_root(&self, target: &str, arch: &str) -> BTreeMap<String, String> {
        self.apk(target, &["add", "--initdb", "--arch", arch]);
        on_disk(&self.path(target))
    }
}

/// Each path as text: kind, mode, owner, time, target or digest, the first path that shares its inode, and extended
/// attributes.
pub fn on_disk(root: &Path) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut inodes: BTreeMap<u64, String> = BTreeMap::new();
    let mut folders = vec![root.to_owned()];
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs_err::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let meta = fs_err::symlink_metadata(&path).unwrap();
            let name = format!("/{}", path.strip_prefix(root).unwrap().display());
            if meta.is_dir() {
                folders.push(path.clone());
            }
            files.push((name, path, meta));
        }
    }
    files.sort_by(|a, b| a.0.cmp(&b.0));
    for (name, path, meta) in files {
        let owner = format!("{:04o} {}:{}", meta.mode() & 0o7777, meta.uid(), meta.gid());
        let mut text = if meta.is_dir() {
            format!("d{owner}")
        } else if meta.is_symlink() {
            format!("l{owner} -> {}", fs_err::read_link(&path).unwrap().display())
        } else if meta.is_file() {
            let digest = Digest::of(fs_err::read(&path).unwrap());
            let link = if meta.nlink() > 1 {
                format!(" inode={}", inodes.entry(meta.ino()).or_insert_with(|| name.clone()))
            } else {
                String::new()
            };
            format!("f{owner} {} {digest}{link}", meta.mtime())
        } else {
            format!("device {owner}")
        };
        text += &attributes(&xattrs(&path));
        found.insert(name, text);
    }
    found
}

fn xattrs(path: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut names = vec![0; 4096];
    let length = rustix::fs::llistxattr(path, &mut names[..]).unwrap();
    let names = std::str::from_utf8(&names[..length]).unwrap();
    let value = |name: &str| {
        let mut value = vec![0; 4096];
        let length = rustix::fs::lgetxattr(path, name, &mut value[..]).unwrap();
        value.truncate(length);
        value
    };
    names.split_terminator('\0').map(|name| (name.to_owned(), value(name))).collect()
}

fn attributes(xattrs: &BTreeMap<String, Vec<u8>>) -> String {
    let mut text = String::new();
    for (name, value) in xattrs {
        write!(text, " {name}={}", hex::encode(value)).unwrap();
    }
    text
}

/// The same for a tree.
pub fn on_paper(tree: &FileTree) -> BTreeMap<String, String> {
    let mut groups = BTreeMap::new();
    for (path, entry) in tree.iter() {
        if let Kind::File { inode: Some(first), .. } = &entry.kind {
            groups.entry(first).or_insert(path);
        }
    }
    let text = |entry: &Entry| {
        let owner = format!("{:04o} {}:{}", entry.mode, entry.uid, entry.gid);
        let text = match &entry.kind {
            Kind::Directory => format!("d{owner}"),
            Kind::Symlink { target } => format!("l{owner} -> {target}"),
            Kind::File { content, inode } => {
                let link = inode.as_ref().map(|i| format!(" inode={}", groups[i])).unwrap_or_default();
                format!("f{owner} {} {}{link}", entry.mtime, content.digest())
            }
        };
        text + &attributes(&entry.xattrs)
    };
    tree.iter().map(|(path, entry)| (path.to_string(), text(entry))).collect()
}

/// Compares a root of apk's with a tree. What apk itself had put there before any package (`apks_own`) need not be in
/// the tree. What a package ships has to be, and be the same; only a folder that apk had made may differ in its mode,
/// because 2.12 does not touch it again (`/proc`).
pub fn same(
    expected: &BTreeMap<String, String>,
    found: &BTreeMap<String, String>,
    apks_own: &BTreeMap<String, String>,
) {
    let paths: BTreeSet<_> = expected.keys().chain(found.keys()).collect();
    let differs = |path: &str| match (expected.get(path), found.get(path)) {
        (Some(theirs), Some(ours)) if theirs.starts_with('d') && ours.starts_with('d') => {
            theirs != ours && apks_own.get(path) != Some(theirs)
        }
        (Some(_), None) => !apks_own.contains_key(path),
        (theirs, ours) => theirs != ours,
    };
    let differences: Vec<_> = paths
        .into_iter()
        .filter(|path| differs(path))
        .map(|path| format!("{path}\n  apk:  {:?}\n  kimg: {:?}\n", expected.get(path), found.get(path)))
        .collect();
    assert!(differences.is_empty(), "{} differences\n{}", differences.len(), differences.concat());
}

/// A database as apk writes it: the fields and paths of each package, in an order that does not matter.
pub fn blocks(text: &str) -> BTreeMap<String, BTreeSet<String>> {
    let mut all = BTreeMap::new();
    for block in text.split("\n\n").filter(|block| !block.trim().is_empty()) {
        let name = block.lines().find_map(|line| line.strip_prefix("P:")).unwrap().to_owned();
        let mut lines = BTreeSet::new();
        let (mut folder, mut file) = ("", "");
        for line in block.lines() {
            match line.split_once(':').unwrap() {
                ("F", value) => (folder, file) = (value, ""),
                ("R", value) => file = value,
                _ => {}
            }
            lines.insert(format!("{folder}|{file}|{line}"));
        }
        all.insert(name, lines);
    }
    all
}
