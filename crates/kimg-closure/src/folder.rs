//! A root file system that lies unpacked in a folder of this machine, looked at one name at a time.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kimg_core::{ImagePath, ReadSeek};
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags};

use crate::{Files, Found, Inode};

/// How deep folders are looked into for the patterns of rules.
const MAX_DEPTH: usize = 64;

/// A root file system in a folder.
///
/// Nothing outside the folder is ever reached: each name is opened in the folder above it with `O_NOFOLLOW`, so
/// that a symbolic link, even one put there meanwhile, is never followed by the system, only by the walk, which
/// starts absolute targets at this root and stops `..` there. Only what is asked for is looked at, and
/// remembered: the folder should not change while it is walked.
pub struct FolderRoot {
    root: Arc<OwnedFd>,
    seen: Mutex<Seen>,
}

/// What was looked at already.
#[derive(Default)]
struct Seen {
    folders: HashMap<ImagePath, Arc<OwnedFd>>,
    found: HashMap<ImagePath, Option<Found>>,
    /// What lies below folders that were listed: several patterns of rules look into the same ones.
    listed: HashMap<ImagePath, Arc<[(ImagePath, Found)]>>,
}

impl FolderRoot {
    /// The root in a folder. The path to the folder itself may lead through links.
    ///
    /// # Errors
    /// When there is no such folder.
    pub fn open(folder: impl AsRef<Path>) -> io::Result<Self> {
        let root = rustix::fs::open(
            folder.as_ref(),
            OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
            Mode::empty(),
        )?;
        Ok(Self { root: Arc::new(root), seen: Mutex::default() })
    }

    /// The paths that were looked at so far: no more than what was searched for.
    pub fn looked_at(&self) -> usize {
        self.seen().found.len()
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The folder at exactly this path.
    fn folder(&self, path: &ImagePath) -> io::Result<Arc<OwnedFd>> {
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            return Ok(self.root.clone());
        };
        if let Some(known) = self.seen().folders.get(path) {
            return Ok(known.clone());
        }
        let parent = self.folder(&parent)?;
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let opened = Arc::new(rustix::fs::openat(&*parent, name, flags, Mode::empty())?);
        self.seen().folders.insert(path.clone(), opened.clone());
        Ok(opened)
    }

    fn look_at(&self, path: &ImagePath) -> Option<Found> {
        let name = path.file_name()?;
        let parent = self.folder(&path.parent()?).ok()?;
        found(&parent, name)
    }

    fn list(folder: &OwnedFd, at: &ImagePath, depth: usize, all: &mut Vec<(ImagePath, Found)>) {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let Ok(readable) = rustix::fs::openat(folder, ".", flags, Mode::empty()) else { return };
        let Ok(entries) = Dir::read_from(&readable) else { return };
        for entry in entries.flatten() {
            // What is not UTF-8 has no path in an image.
            let Ok(name) = entry.file_name().to_str() else { continue };
            let Ok(path) = at.join(name) else { continue };
            if matches!(name, "." | "..") {
                continue;
            }
            let Some(kind) = found(folder, name) else { continue };
            if kind == Found::Folder && depth < MAX_DEPTH {
                let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                if let Ok(inner) = rustix::fs::openat(folder, name, flags, Mode::empty()) {
                    Self::list(&inner, &path, depth + 1, all);
                }
            }
            all.push((path, kind));
        }
    }
}

fn found(folder: &OwnedFd, name: &str) -> Option<Found> {
    let stat = rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW).ok()?;
    Some(match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => Found::Folder,
        FileType::Symlink => {
            let target = rustix::fs::readlinkat(folder, name, Vec::new()).ok()?;
            Found::Link { target: target.to_string_lossy().into_owned() }
        }
        FileType::RegularFile => Found::File {
            executable: stat.st_mode & 0o111 != 0,
            inode: Inode::Number(stat.st_dev, stat.st_ino),
            digest: None,
        },
        _ => Found::Special,
    })
}

impl Files for FolderRoot {
    fn look(&self, path: &ImagePath) -> Option<Found> {
        if path.is_root() {
            return Some(Found::Folder);
        }
        if let Some(known) = self.seen().found.get(path) {
            return known.clone();
        }
        let found = self.look_at(path);
        self.seen().found.insert(path.clone(), found.clone());
        found
    }

    fn open(&self, path: &ImagePath) -> io::Result<Box<dyn ReadSeek>> {
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(io::ErrorKind::IsADirectory.into());
        };
        // A pipe put there meanwhile must not make the open wait.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&*self.folder(&parent)?, name, flags, Mode::empty())?;
        if FileType::from_raw_mode(rustix::fs::fstat(&file)?.st_mode) != FileType::RegularFile {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        Ok(Box::new(std::fs::File::from(file)))
    }

    fn below<'a>(&'a self, folder: &'a ImagePath) -> Box<dyn Iterator<Item = (ImagePath, Found)> + 'a> {
        let known = self.seen().listed.get(folder).cloned();
        let all = known.unwrap_or_else(|| {
            let mut all = Vec::new();
            if let Ok(opened) = self.folder(folder) {
                Self::list(&opened, folder, 0, &mut all);
            }
            all.sort_by(|a, b| a.0.cmp(&b.0));
            let all: Arc<[_]> = all.into();
            self.seen().listed.insert(folder.clone(), all.clone());
            all
        });
        Box::new((0..all.len()).map(move |place| all[place].clone()))
    }
}

impl fmt::Debug for FolderRoot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FolderRoot").field("looked_at", &self.looked_at()).finish_non_exhaustive()
    }
}
