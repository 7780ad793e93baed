//! A compressed archive → entries. Everything is bounded, and nothing touches the disk.

use std::collections::BTreeMap;
use std::fmt;
use std::io::Read;

use kimg_core::{ContentSink, Digest, ImagePath};

use crate::{Entries, LayerError, decode};
use reader::Reader;
use stream::Stream;

mod fields;
mod reader;
mod sparse;
mod stream;

/// How much a layer may hold before reading it is given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Entries.
    pub entries: u64,
    /// Bytes of the uncompressed archive, and of what sparse files in it come to beside it.
    pub tar_size: u64,
    /// Bytes of one file.
    pub file_size: u64,
    /// Bytes of one PAX header, GNU long name or list of a sparse file's pieces.
    pub header_size: u64,
}

impl Default for Limits {
    /// A million entries, 16 GiB in all, 4 GiB a file, 1 MiB a header.
    fn default() -> Self {
        Self { entries: 1_000_000, tar_size: 16 << 30, file_size: 4 << 30, header_size: 1 << 20 }
    }
}

/// What a layer holds that may lie over others.
#[derive(Debug)]
pub struct UpperLayer {
    /// What stands by itself.
    pub entries: Entries,
    /// Further names of files that only the layers below have: the name, and the path of the file.
    pub links: BTreeMap<ImagePath, ImagePath>,
    /// What no tree of kimg's holds.
    pub nodes: BTreeMap<ImagePath, Node>,
    /// The digest of its archive.
    pub diff_id: Digest,
}

/// A device or pipe of a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Node {
    /// What it is.
    pub kind: NodeKind,
    /// Its permissions.
    pub mode: u32,
    /// Its owner.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
}

/// What a node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NodeKind {
    /// A device of characters, by its numbers.
    Character(u32, u32),
    /// A device of blocks, by its numbers.
    Block(u32, u32),
    /// A named pipe.
    Pipe,
}

impl fmt::Display for NodeKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Character(..) | Self::Block(..) => "device",
            Self::Pipe => "named pipe",
        })
    }
}

/// Reads a layer: its entries, contents given to `sink`, and the digest of its archive (the diff ID).
///
/// Takes tar with PAX or GNU long names, plain or compressed, as [`decode`] does; sparse files, in each of GNU tar's
/// forms, are read as the files they stand for. A name said twice counts as said last. Times lose their fractions; times
/// before 1970 become 0. Whiteouts (`.wh.` names) are entries like others.
///
/// # Errors
/// Bytes that are no archive, an archive without its end, names that climb out, hard links to what isn't there,
/// devices and pipes, and anything beyond `limits`.
pub fn read<R: Read>(
    blob: R,
    media_type: &str,
    limits: &Limits,
    sink: &mut dyn ContentSink,
) -> Result<(Entries, Digest), LayerError> {
    let mut reader = Reader::new(Stream::new(decode(blob, media_type)?, limits.tar_size), limits);
    while reader.entry(sink)? {
        reader.stands_alone()?;
    }
    let layer = reader.finish()?;
    Ok((layer.entries, layer.diff_id))
}

/// Reads a layer as others make them, one that may lie over others: a hard link may be to a file that only a layer below
/// has, and devices and pipes are told.
///
/// # Errors
/// As [`read`], but for these.
pub fn read_upper<R: Read>(
    blob: R,
    media_type: &str,
    limits: &Limits,
    sink: &mut dyn ContentSink,
) -> Result<UpperLayer, LayerError> {
    let mut reader = Reader::new(Stream::new(decode(blob, media_type)?, limits.tar_size), limits);
    while reader.entry(sink)? {}
    reader.finish()
}

#[cfg(test)]
mod tests;
