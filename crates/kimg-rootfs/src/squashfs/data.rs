//! The contents of files: blocks of their own, and fragments in which the ends of many lie together.

use std::collections::BTreeMap;
use std::io::{self, Write};

use kimg_core::{Content, Digest, ImagePath, Platform};
use rayon::prelude::*;

use super::codec::Codec;
use super::{BLOCK, Output};
use crate::RootfsError;

/// Set in a block's size when it is stored as it is (`SQUASHFS_COMPRESSED_BIT_BLOCK`).
const AS_IT_IS: u32 = 1 << 24;
/// Instead of a fragment's number (`SQUASHFS_INVALID_FRAG`).
const NO_FRAGMENT: u32 = u32::MAX;
/// How many blocks are compressed at once: enough for many threads, and still few in memory.
const AT_ONCE: usize = 16;

/// Where the bytes of a file lie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stored {
    /// Where its first block begins.
    pub(super) start: u64,
    /// The stored size of each whole block.
    pub(super) blocks: Vec<u32>,
    /// The fragment that its end lies in.
    pub(super) fragment: u32,
    /// Where in the fragment.
    pub(super) offset: u32,
}

/// Writes contents one after the other; each unique one once.
pub(super) struct Data<'a, W> {
    out: &'a mut Output<W>,
    codec: Codec,
    platform: Platform,
    known: BTreeMap<Digest, Stored>,
    ends: Vec<u8>,
    /// Where each fragment begins, and its stored size.
    pub(super) fragments: Vec<(u64, u32)>,
}

impl<'a, W: Write> Data<'a, W> {
    pub(super) fn new(out: &'a mut Output<W>, codec: Codec, platform: Platform) -> Self {
        Self { out, codec, platform, known: BTreeMap::new(), ends: Vec::new(), fragments: Vec::new() }
    }

    pub(super) fn add(&mut self, path: &ImagePath, content: &Content) -> Result<Stored, RootfsError> {
        if let Some(known) = self.known.get(&content.digest()) {
            return Ok(known.clone());
        }
        let start = self.out.at;
        let mut file = Blocks {
            out: self.out,
            codec: self.codec,
            platform: self.platform,
            code: None,
            pending: Vec::new(),
            stored: Vec::new(),
            failed: None,
        };
        let copied = content.copy_to(&mut file);
        if let Some(error) = file.failed.take() {
            return Err(error);
        }
        copied.map_err(|source| RootfsError::Content { path: path.clone(), source })?;
        let end = file.finish()?;
        let blocks = file.stored;
        let (fragment, offset) = if end.is_empty() { (NO_FRAGMENT, 0) } else { self.end(&end)? };
        let stored = Stored { start, blocks, fragment, offset };
        self.known.insert(content.digest(), stored.clone());
        Ok(stored)
    }

    /// Puts the end of a file into the fragment that is being filled, or into the next one.
    fn end(&mut self, end: &[u8]) -> Result<(u32, u32), RootfsError> {
        if self.ends.len() + end.len() > BLOCK as usize {
            self.finish()?;
        }
        let offset = u32::try_from(self.ends.len()).unwrap_or(BLOCK);
        self.ends.extend_from_slice(end);
        Ok((u32::try_from(self.fragments.len()).unwrap_or(NO_FRAGMENT), offset))
    }

    /// Writes the fragment that is being filled.
    pub(super) fn finish(&mut self) -> Result<(), RootfsError> {
        if !self.ends.is_empty() {
            let start = self.out.at;
            let packed = self.codec.compress(&self.ends, None)?;
            let size = self.out.block(&packed, &self.ends)?;
            self.fragments.push((start, size));
            self.ends.clear();
        }
        Ok(())
    }
}

impl<W: Write> Output<W> {
    /// Writes a block packed, or as it is where that is no larger. Gives the size as tables have it.
    fn block(&mut self, packed: &[u8], plain: &[u8]) -> Result<u32, RootfsError> {
        let (bytes, flag) = if packed.len() < plain.len() { (packed, 0) } else { (plain, AS_IT_IS) };
        self.write(bytes)?;
        Ok(u32::try_from(bytes.len()).unwrap_or(BLOCK) | flag)
    }
}

/// Takes the bytes of one file, and writes its whole blocks.
struct Blocks<'a, W> {
    out: &'a mut Output<W>,
    codec: Codec,
    platform: Platform,
    /// The platform, if the file is a program.
    code: Option<Platform>,
    pending: Vec<u8>,
    stored: Vec<u32>,
    failed: Option<RootfsError>,
}

impl<W: Write> Blocks<'_, W> {
    fn write_blocks(&mut self) -> Result<(), RootfsError> {
        if self.stored.is_empty() && self.pending.starts_with(b"\x7fELF") {
            self.code = Some(self.platform);
        }
        let whole = self.pending.len() - self.pending.len() % BLOCK as usize;
        let blocks: Vec<&[u8]> = self.pending[..whole].chunks(BLOCK as usize).collect();
        let packed: Result<Vec<_>, _> =
            blocks.par_iter().with_max_len(1).map(|block| self.codec.compress(block, self.code)).collect();
        for (packed, plain) in packed?.iter().zip(blocks) {
            self.stored.push(self.out.block(packed, plain)?);
        }
        self.pending.drain(..whole);
        Ok(())
    }

    /// Writes the last whole blocks; gives what is left.
    fn finish(&mut self) -> Result<Vec<u8>, RootfsError> {
        self.write_blocks()?;
        Ok(std::mem::take(&mut self.pending))
    }
}

impl<W: Write> Write for Blocks<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.pending.extend_from_slice(bytes);
        if self.pending.len() >= AT_ONCE * BLOCK as usize
            && let Err(error) = self.write_blocks()
        {
            self.failed = Some(error);
            return Err(io::ErrorKind::Other.into());
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
