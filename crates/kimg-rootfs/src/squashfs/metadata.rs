//! Metadata: a stream of values in compressed blocks of 8 KiB, and tables with an index of such blocks.

use super::codec::Codec;
use crate::RootfsError;

/// Bytes of a block before compression (`SQUASHFS_METADATA_SIZE`).
const SIZE: usize = 8192;
/// Set in a block's header when it is stored as it is (`SQUASHFS_COMPRESSED_BIT`).
const AS_IT_IS: u16 = 1 << 15;

/// Where a value lies: the block's first byte from the start of the stream, and the value's place in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) block: u32,
    pub(super) offset: u16,
}

impl Place {
    /// As inodes and xattrs are named: 48 bits of block, 16 of offset.
    pub(super) fn reference(self) -> u64 {
        u64::from(self.block) << 16 | u64::from(self.offset)
    }
}

/// A stream that is being written.
pub(super) struct Metadata {
    codec: Codec,
    /// Whole blocks, as they will lie in the file.
    pub(super) blocks: Vec<u8>,
    /// Where each block begins.
    starts: Vec<u64>,
    pending: Vec<u8>,
}

impl Metadata {
    pub(super) fn new(codec: Codec) -> Self {
        Self { codec, blocks: Vec::new(), starts: Vec::new(), pending: Vec::new() }
    }

    /// Where the next value will lie.
    pub(super) fn place(&self) -> Place {
        Place {
            block: u32::try_from(self.blocks.len()).unwrap_or(u32::MAX),
            offset: u16::try_from(self.pending.len()).unwrap_or(u16::MAX),
        }
    }

    pub(super) fn write(&mut self, mut bytes: &[u8]) -> Result<(), RootfsError> {
        while !bytes.is_empty() {
            let room = (SIZE - self.pending.len()).min(bytes.len());
            self.pending.extend_from_slice(&bytes[..room]);
            bytes = &bytes[room..];
            if self.pending.len() == SIZE {
                self.flush()?;
            }
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), RootfsError> {
        if self.pending.is_empty() {
            return Ok(());
        }
        self.starts.push(self.blocks.len() as u64);
        let packed = self.codec.compress(&self.pending, None)?;
        let (bytes, flag) =
            if packed.len() < self.pending.len() { (&packed, 0) } else { (&self.pending, AS_IT_IS) };
        let length = u16::try_from(bytes.len()).unwrap_or_default();
        self.blocks.extend((length | flag).to_le_bytes());
        self.blocks.extend_from_slice(bytes);
        self.pending.clear();
        Ok(())
    }

    /// The bytes of the whole stream.
    pub(super) fn finish(mut self) -> Result<Vec<u8>, RootfsError> {
        self.flush()?;
        Ok(self.blocks)
    }

    /// The stream, and behind it the index that says where each of its blocks begins in the file, if the stream stands
    /// at `start`. Gives the bytes and where the index begins.
    pub(super) fn finish_table(mut self, start: u64) -> Result<(Vec<u8>, u64), RootfsError> {
        self.flush()?;
        let index = start + self.blocks.len() as u64;
        for block in &self.starts {
            self.blocks.extend((start + block).to_le_bytes());
        }
        Ok((self.blocks, index))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_that_cross_blocks_are_found_where_they_were_said_to_lie() {
        let mut stream = Metadata::new(Codec::Zstd { level: 1 });
        stream.write(&[7; SIZE - 3]).unwrap();
        let place = stream.place();
        assert_eq!((place.block, place.offset), (0, 8189));
        assert_eq!(place.reference(), 8189);
        stream.write(&[1, 2, 3, 4, 5]).unwrap();
        assert!(stream.place().block > 0 && stream.place().offset == 2);
        let (bytes, index) = stream.finish_table(1000).unwrap();
        let index = usize::try_from(index).unwrap() - 1000;
        assert_eq!(bytes.len(), index + 16, "two blocks, two places");
        assert_eq!(bytes[index..index + 8], 1000_u64.to_le_bytes());
        // Two bytes don't become less by compression: they lie there as they are.
        assert_eq!(bytes[index - 4..index], [2, 0x80, 4, 5]);
    }
}
