//! squashfs 4.0 (Linux: `fs/squashfs/squashfs_fs.h`, `Documentation/filesystems/squashfs.rst`).

mod codec;
mod data;
mod inodes;
mod metadata;
mod xattrs;

use std::collections::BTreeMap;
use std::io::{Seek, SeekFrom, Write};

use kimg_core::{Entry, ImagePath, Origin, Platform};

use crate::{Entries, RootfsError};
use data::Data;
use metadata::Metadata;

pub use codec::{Codec, CodecError};

/// Changes whenever other bytes are made of the same entries and options: for the keys of caches. The compressors' versions
/// are pinned in the workspace's `Cargo.toml`.
pub const FORMAT: &str = "squashfs 1, liblzma 0.4.9, zstd 0.14.3";

/// Bytes of a block: the largest that squashfs has, and with the best compression.
const BLOCK: u32 = 1 << 20;
/// Bytes of the superblock.
const SUPERBLOCK: usize = 96;
/// Instead of the place of a table that is not there (`SQUASHFS_INVALID_BLK`).
const NOWHERE: u64 = u64::MAX;
/// Loop devices have sectors: the file is filled up to a multiple of this.
const PADDING: u64 = 4096;
/// Every unique content lies there once (`SQUASHFS_DUPLICATE`). Readers need not know it.
const DUPLICATES: u16 = 1 << 6;
/// There are no extended attributes (`SQUASHFS_NO_XATTR`).
const NO_XATTRS: u16 = 1 << 9;

/// How an image is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// The compressor.
    pub codec: Codec,
    /// What its programs are for: their machine code is compressed as such.
    pub platform: Platform,
    /// When it was made, in seconds since 1970.
    pub made: u64,
    /// Seconds since 1970: times later than this are set to it (`SOURCE_DATE_EPOCH`).
    pub epoch: Option<u64>,
}

#[derive(Debug, Clone, Copy)]
struct Times {
    latest: u64,
}

/// Writes an image. `entries` need every folder above what they hold; the root may be left out, and is then root's, 0755.
///
/// Blocks are compressed on the threads of the rayon pool that this is called in. On an error, `out` holds a useless
/// beginning.
///
/// # Errors
/// An entry that squashfs can't hold, a content that can't be read or has changed, an output that takes no more.
pub fn write<W: Write + Seek>(entries: &Entries, options: &Options, out: W) -> Result<W, RootfsError> {
    let mut whole;
    let entries = if entries.contains_key(&ImagePath::root()) {
        entries
    } else {
        whole = entries.clone();
        whole.insert(ImagePath::root(), Entry::directory(Origin::generated("the root")));
        &whole
    };
    check(entries)?;
    let codec = options.codec;
    let mut out = Output { out, at: 0 };
    out.write(&[0; SUPERBLOCK])?;

    let mut data = Data::new(&mut out, codec, options.platform);
    let mut stored = BTreeMap::new();
    for (path, entry) in entries {
        if let Some(content) = entry.content() {
            stored.insert(path, data.add(path, content)?);
        }
    }
    data.finish()?;
    let fragments = data.fragments;

    let times = Times { latest: options.epoch.unwrap_or(u64::MAX) };
    let tables = inodes::write(entries, &stored, codec, times)?;
    let inode_table = out.at;
    out.write(&tables.inodes.finish()?)?;
    let directory_table = out.at;
    out.write(&tables.folders.finish()?)?;
    let mut table = Metadata::new(codec);
    for (start, size) in &fragments {
        table.write(&start.to_le_bytes())?;
        table.write(&size.to_le_bytes())?;
        table.write(&[0; 4])?;
    }
    let fragment_table = if fragments.is_empty() { NOWHERE } else { out.table(table)? };
    let mut table = Metadata::new(codec);
    for id in &tables.owners {
        table.write(&id.to_le_bytes())?;
    }
    let id_table = out.table(table)?;
    let (xattr_table, flags) = if let Some((bytes, header)) = tables.xattrs.finish(out.at)? {
        out.write(&bytes)?;
        (header, DUPLICATES)
    } else {
        (NOWHERE, DUPLICATES | NO_XATTRS)
    };

    let used = out.at;
    let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
    let mut superblock = Vec::with_capacity(SUPERBLOCK);
    superblock.extend(b"hsqs");
    superblock.extend(tables.count.to_le_bytes());
    superblock.extend(u32::try_from(options.made).unwrap_or(u32::MAX).to_le_bytes());
    superblock.extend(BLOCK.to_le_bytes());
    superblock.extend(count(fragments.len()).to_le_bytes());
    let owners = u16::try_from(tables.owners.len()).unwrap_or(u16::MAX);
    let log = u16::try_from(BLOCK.ilog2()).unwrap_or_default();
    for value in [codec.id(), log, flags, owners, 4, 0] {
        superblock.extend(value.to_le_bytes());
    }
    for value in [
        tables.root.reference(),
        used,
        id_table,
        xattr_table,
        inode_table,
        directory_table,
        fragment_table,
        NOWHERE,
    ] {
        superblock.extend(value.to_le_bytes());
    }
    out.write(&vec![0; usize::try_from(used.next_multiple_of(PADDING) - used).unwrap_or_default()])?;
    let mut out = out.out;
    out.seek(SeekFrom::Start(0)).map_err(RootfsError::Output)?;
    out.write_all(&superblock).map_err(RootfsError::Output)?;
    out.flush().map_err(RootfsError::Output)?;
    Ok(out)
}

fn unwritable(path: &ImagePath, problem: String) -> RootfsError {
    RootfsError::Unwritable { format: "squashfs", path: path.clone(), problem }
}

fn check(entries: &Entries) -> Result<(), RootfsError> {
    for path in entries.keys() {
        let Some(parent) = path.parent() else { continue };
        if !entries.get(&parent).is_some_and(Entry::is_directory) {
            return Err(unwritable(path, format!("`{parent}`, which it lies in, is no folder")));
        }
    }
    Ok(())
}

/// What is written to, and how far.
struct Output<W> {
    out: W,
    at: u64,
}

impl<W: Write> Output<W> {
    fn write(&mut self, bytes: &[u8]) -> Result<(), RootfsError> {
        self.out.write_all(bytes).map_err(RootfsError::Output)?;
        self.at += bytes.len() as u64;
        Ok(())
    }

    /// Writes a table; gives where its index begins.
    fn table(&mut self, table: Metadata) -> Result<u64, RootfsError> {
        let (bytes, index) = table.finish_table(self.at)?;
        self.write(&bytes)?;
        Ok(index)
    }
}
