//! The bytes of an ELF file, by their place in the file or by their address in memory: always within bounds.

use kimg_core::ReadSeek;
use object::read::{ReadCache, ReadRef as _};

use super::ElfError;

/// Some 65,000 entries; real ones have some tens.
pub(super) const MAX_TABLE: u64 = 1 << 20;
/// The longest string that is read out of a string table.
const MAX_STRING: u64 = 4096;

/// The bytes of the file, in pieces.
#[derive(Clone, Copy)]
pub(super) struct File<'c> {
    pub(super) cache: &'c ReadCache<Box<dyn ReadSeek>>,
    pub(super) size: u64,
    /// Whether tables are those of 64-bit files.
    pub(super) is_64: bool,
}

/// What one segment maps from where.
pub(super) struct Load {
    pub(super) address: u64,
    pub(super) offset: u64,
    pub(super) size: u64,
}

impl<'c> File<'c> {
    pub(super) fn new(cache: &'c ReadCache<Box<dyn ReadSeek>>) -> Result<Self, ElfError> {
        let size = cache
            .len()
            .map_err(|()| ElfError::Read { part: "size", source: std::io::ErrorKind::Unsupported.into() })?;
        Ok(Self { cache, size, is_64: false })
    }

    pub(super) fn bytes(
        &self,
        part: &'static str,
        offset: u64,
        size: u64,
        limit: u64,
    ) -> Result<&'c [u8], ElfError> {
        if size > limit {
            return Err(ElfError::TooLarge { part, found: size, limit });
        }
        if offset.checked_add(size).is_none_or(|end| end > self.size) {
            let problem = format!("({size} bytes at {offset}) lies outside the file of {} bytes", self.size);
            return Err(ElfError::malformed(part, problem));
        }
        self.cache
            .read_bytes_at(offset, size)
            .map_err(|()| ElfError::Read { part, source: std::io::ErrorKind::UnexpectedEof.into() })
    }

    /// The bytes at an address, as the segments lie in memory: tables may reach from one into the next.
    pub(super) fn memory(
        &self,
        part: &'static str,
        loads: &[Load],
        address: u64,
        size: u64,
    ) -> Result<Vec<u8>, ElfError> {
        self.memory_up_to(part, loads, (address, size), MAX_TABLE)
    }

    /// The same for a table that may be larger.
    pub(super) fn memory_up_to(
        &self,
        part: &'static str,
        loads: &[Load],
        (address, size): (u64, u64),
        limit: u64,
    ) -> Result<Vec<u8>, ElfError> {
        // What is larger than the file is outside of it, however large it claims to be.
        if size > limit.min(self.size.max(MAX_TABLE)) {
            return Err(ElfError::TooLarge { part, found: size, limit });
        }
        let mut bytes = Vec::new();
        while (bytes.len() as u64) < size {
            let done = bytes.len() as u64;
            let (offset, available) = in_file(loads, address.saturating_add(done))
                .ok_or_else(|| ElfError::malformed(part, "lies in no loaded segment, or only in part"))?;
            let piece = available.min(size - done);
            bytes.extend(self.bytes(part, offset, piece, limit)?);
        }
        Ok(bytes)
    }

    /// The zero-terminated string at an address.
    pub(super) fn string(
        &self,
        part: &'static str,
        loads: &[Load],
        address: u64,
    ) -> Result<String, ElfError> {
        let mut bytes = Vec::new();
        loop {
            let done = bytes.len() as u64;
            let (offset, available) = in_file(loads, address.saturating_add(done)).ok_or_else(|| {
                ElfError::malformed(part, "points outside the loaded segments, or has no end there")
            })?;
            if done >= MAX_STRING {
                return Err(ElfError::malformed(part, format!("is longer than {MAX_STRING} bytes")));
            }
            let piece = self.bytes(part, offset, available.min(128), MAX_STRING)?;
            match piece.iter().position(|b| *b == 0) {
                Some(end) => {
                    bytes.extend(&piece[..end]);
                    return String::from_utf8(bytes).map_err(|_| ElfError::malformed(part, "is not UTF-8"));
                }
                None => bytes.extend(piece),
            }
        }
    }
}

/// Where an address lies in the file, and how many bytes of its segment follow there.
fn in_file(loads: &[Load], address: u64) -> Option<(u64, u64)> {
    loads.iter().find_map(|load| {
        let into = address.checked_sub(load.address).filter(|into| *into < load.size)?;
        Some((load.offset.checked_add(into)?, load.size - into))
    })
}
