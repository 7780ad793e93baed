//! Where the walk looks: a tree in memory, a folder on a disk ([`FolderRoot`](crate::FolderRoot)), or anything else
//! that answers the same three questions. None of them follows a symbolic link: that is the walk's own business.

use std::io;

use kimg_core::{Digest, FileTree, ImagePath, Kind, ReadSeek};

/// The files of a root file system, each by its own path inside that root.
pub trait Files {
    /// What lies at exactly this path, if anything does. The root itself is a folder.
    fn look(&self, path: &ImagePath) -> Option<Found>;

    /// Opens the regular file at exactly this path.
    ///
    /// # Errors
    /// When there is none, or when it can't be read.
    fn open(&self, path: &ImagePath) -> io::Result<Box<dyn ReadSeek>>;

    /// Everything below a folder, at any depth, in the order of the paths.
    fn below<'a>(&'a self, folder: &'a ImagePath) -> Box<dyn Iterator<Item = (ImagePath, Found)> + 'a>;
}

/// What lies at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// A folder.
    Folder,
    /// A symbolic link.
    Link {
        /// Its target as written.
        target: String,
    },
    /// A regular file.
    File {
        /// Whether anybody may start it.
        executable: bool,
        /// The same for all hard links of one file.
        inode: Inode,
        /// The digest of its bytes, where it is known without reading them.
        digest: Option<Digest>,
    },
    /// A device, a socket or a pipe: nothing that is ever opened here.
    Special,
}

/// Tells files from hard links of the same file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Inode {
    /// In a tree: one path for all of them.
    Path(ImagePath),
    /// On a disk: the device and the number on it.
    Number(u64, u64),
}

impl Files for FileTree {
    fn look(&self, path: &ImagePath) -> Option<Found> {
        if path.is_root() {
            return Some(Found::Folder);
        }
        let entry = self.get(path)?;
        Some(match &entry.kind {
            Kind::Directory => Found::Folder,
            Kind::Symlink { target } => Found::Link { target: target.clone() },
            Kind::File { content, inode } => Found::File {
                executable: entry.mode & 0o111 != 0,
                inode: Inode::Path(inode.as_ref().unwrap_or(path).clone()),
                digest: Some(content.digest()),
            },
        })
    }

    fn open(&self, path: &ImagePath) -> io::Result<Box<dyn ReadSeek>> {
        let content = self.get(path).and_then(|entry| entry.content()).ok_or(io::ErrorKind::NotFound)?;
        content.open().map_err(io::Error::other)
    }

    fn below<'a>(&'a self, folder: &'a ImagePath) -> Box<dyn Iterator<Item = (ImagePath, Found)> + 'a> {
        let paths = FileTree::below(self, folder).map(|(path, _)| path.clone());
        Box::new(paths.filter_map(|path| Some((path.clone(), self.look(&path)?))))
    }
}
