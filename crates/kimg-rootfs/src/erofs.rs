//! EROFS, by `mkfs.erofs` of erofs-utils, compressed with LZ4.
//!
//! `mkfs.erofs` reads archives only from 1.7 on, and with compression from 1.8 on; before, it takes a folder. So the tree is
//! laid out in a private folder first. Nothing there decides what the image has but names, kinds, modes and contents:
//! every owner is root, and every time the one that was asked for. A tree that needs more is refused.
//!
//! The bytes follow from the tree and from the versions of erofs-utils and of its LZ4.

use std::ffi::OsStr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use kimg_core::{Digest, Entry, ImagePath, Kind};

use crate::{Entries, RootfsError};

/// The program's name.
const PROGRAM: &str = "mkfs.erofs";
/// The best that LZ4 does, in clusters that the kernel reads as one (`mkfs.erofs(1)`).
const COMPRESSION: [&str; 2] = ["-zlz4hc,12", "-C65536"];

/// How an image is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// The time of everything in it, in seconds since 1970.
    pub made: u64,
    /// What its UUID is taken from, so that the same tree has the same one.
    pub name: Digest,
}

/// Looks for `mkfs.erofs` in the folders of a search path, and where systems keep such programs.
///
/// # Errors
/// It is in none of them.
pub fn find(search_path: &OsStr) -> Result<PathBuf, RootfsError> {
    let folders = std::env::split_paths(search_path).chain(["/usr/sbin".into(), "/sbin".into()]);
    folders
        .map(|folder| folder.join(PROGRAM))
        .find(|file| {
            file.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
        })
        .ok_or(RootfsError::NoProgram { program: PROGRAM, package: "erofs-utils" })
}

/// Writes an image to `out`, which must not be there, by this `mkfs.erofs`. `scratch` is a folder on a disk with room for
/// every file.
///
/// # Errors
/// An entry that would not be in the image as it is in the tree, a content that can't be read, the disk, and a program
/// that fails.
pub fn write(
    entries: &Entries,
    options: &Options,
    program: &Path,
    scratch: &Path,
    out: &Path,
) -> Result<(), RootfsError> {
    check(entries)?;
    let private = tempfile::tempdir_in(scratch).map_err(RootfsError::Scratch)?;
    let root = private.path().join("root");
    lay_out(entries, &root)?;
    let mut command = Command::new(program);
    command.env_clear().env("LC_ALL", "C").args(COMPRESSION).arg("--all-root").arg("-x-1");
    command.arg(format!("-T{}", options.made)).arg(format!("-U{}", uuid(&options.name)));
    let run = command.arg(out).arg(&root).output();
    let run = run.map_err(|error| RootfsError::Program { program: PROGRAM, said: error.to_string() })?;
    if run.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&run.stderr);
    let last = said.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("it said nothing");
    Err(RootfsError::Program { program: PROGRAM, said: format!("{}: {last}", run.status) })
}

/// Refuses what would come out other than it went in.
fn check(entries: &Entries) -> Result<(), RootfsError> {
    for (path, entry) in entries {
        let unwritable =
            |problem: String| Err(RootfsError::Unwritable { format: "erofs", path: path.clone(), problem });
        if (entry.uid, entry.gid) != (0, 0) {
            return unwritable(format!("its owner is {}:{}, and only root can be", entry.uid, entry.gid));
        }
        if let Some(name) = entry.xattrs.keys().next() {
            return unwritable(format!("it has the extended attribute {name:?}"));
        }
        if let Some(parent) = path.parent()
            && !parent.is_root()
            && !entries.get(&parent).is_some_and(Entry::is_directory)
        {
            return unwritable(format!("`{parent}`, which it lies in, is no folder"));
        }
    }
    Ok(())
}

/// Every folder above an entry was made here and is no link, so nothing is written outside of `root`.
fn lay_out(entries: &Entries, root: &Path) -> Result<(), RootfsError> {
    let disk = RootfsError::Scratch;
    fs_err::create_dir(root).map_err(disk)?;
    let here = |path: &ImagePath| root.join(path.relative());
    for (path, entry) in entries.iter().filter(|(path, _)| !path.is_root()) {
        match &entry.kind {
            Kind::Directory => fs_err::create_dir(here(path)).map_err(disk)?,
            Kind::Symlink { target } => std::os::unix::fs::symlink(target, here(path)).map_err(disk)?,
            Kind::File { content, .. } => {
                let file = fs_err::File::create_new(here(path)).map_err(disk)?;
                let copied = content.copy_to(file);
                copied.map_err(|source| RootfsError::Content { path: path.clone(), source })?;
            }
        }
    }
    // Folders last, and the lowest first: one may forbid to write into it.
    for (path, entry) in entries.iter().rev().filter(|(_, entry)| entry.target().is_none()) {
        let mode = std::fs::Permissions::from_mode(entry.mode);
        fs_err::set_permissions(here(path), mode).map_err(disk)?;
    }
    Ok(())
}

/// A UUID of version 8 (RFC 9562): made from what it names.
fn uuid(name: &Digest) -> String {
    let mut hex = name.hex();
    hex.truncate(32);
    let parts = [&hex[..8], &hex[8..12], &hex[13..16], &hex[17..20], &hex[20..32]];
    format!("{}-{}-8{}-8{}-{}", parts[0], parts[1], parts[2], parts[3], parts[4])
}

#[cfg(test)]
mod tests {
    use kimg_core::{Content, Origin};
    use std::collections::BTreeMap;

    use super::*;

    fn refused(entry: Entry) -> String {
        let entries = BTreeMap::from([(ImagePath::new("/a").unwrap(), entry)]);
        let options = Options { made: 0, name: Digest::of(b"") };
        let nowhere = Path::new("/nonexistent");
        write(&entries, &options, nowhere, nowhere, nowhere).unwrap_err().to_string()
    }

    #[test]
    fn what_would_come_out_otherwise_is_refused() {
        let file = || Entry::file(Content::from_bytes("x"), 0o644, Origin::generated("test"));
        let mut owned = file();
        owned.gid = 42;
        assert!(refused(owned).contains("its owner is 0:42"));
        let mut capable = file();
        capable.xattrs.insert("security.capability".into(), vec![1]);
        assert!(refused(capable).contains("security.capability"));
    }

    #[test]
    fn a_missing_program_is_said_with_its_package() {
        use kimg_core::Classified;
        if Path::new("/usr/sbin/mkfs.erofs").exists() || Path::new("/sbin/mkfs.erofs").exists() {
            assert!(find(OsStr::new("")).is_ok());
        }
        let error = RootfsError::NoProgram { program: PROGRAM, package: "erofs-utils" };
        assert_eq!(error.class().exit_code(), 31);
        assert_eq!(error.to_string(), "mkfs.erofs is not installed");
        assert!(error.hint().unwrap().contains("erofs-utils"));
    }

    #[test]
    fn the_uuid_follows_from_the_name() {
        let first = uuid(&Digest::of(b"a"));
        assert_eq!((first.len(), &first[14..15], &first[19..20]), (36, "8", "8"));
        assert_ne!(first, uuid(&Digest::of(b"b")));
    }
}
