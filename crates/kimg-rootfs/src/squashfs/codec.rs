//! The compressors of squashfs images.

use std::fmt;
use std::io;
use std::str::FromStr;

use kimg_core::Platform;
use liblzma::stream::{Action, Check, Filters, LzmaOptions, Status, Stream};

use crate::RootfsError;

/// How blocks are compressed. Written `xz` or `zstd`, with a level behind a colon: `zstd:19`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Codec {
    /// XZ with a filter for machine code, where the kernel has one for the platform. Linux reads it from 2.6.38 on.
    Xz {
        /// 0 (fast) to 9 (small).
        level: u32,
    },
    /// Zstandard: larger, unpacked several times as fast. Linux reads it from 4.14 on.
    Zstd {
        /// 1 (fast) to 22 (small).
        level: i32,
    },
}

impl Default for Codec {
    fn default() -> Self {
        Self::Xz { level: 6 }
    }
}

/// A text that is no codec of squashfs images.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a compression of squashfs images: xz or xz:0 to xz:9, zstd or zstd:1 to zstd:22")]
pub struct CodecError(pub String);

impl FromStr for Codec {
    type Err = CodecError;

    fn from_str(text: &str) -> Result<Self, CodecError> {
        let (name, level) = text.split_once(':').map_or((text, None), |(name, level)| (name, Some(level)));
        let level = level.map(str::parse::<u32>).transpose().map_err(|_| CodecError(text.into()))?;
        match (name, level) {
            ("xz", None) => Ok(Self::default()),
            ("xz", Some(level)) if level <= 9 => Ok(Self::Xz { level }),
            ("zstd", None) => Ok(Self::Zstd { level: 22 }),
            ("zstd", Some(level @ 1..=22)) => Ok(Self::Zstd { level: level.cast_signed() }),
            _ => Err(CodecError(text.into())),
        }
    }
}

impl fmt::Display for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Xz { level } => write!(f, "xz:{level}"),
            Self::Zstd { level } => write!(f, "zstd:{level}"),
        }
    }
}

impl Codec {
    /// Its number in the superblock (`fs/squashfs/squashfs_fs.h`, `XZ_COMPRESSION`, `ZSTD_COMPRESSION`).
    pub(super) fn id(self) -> u16 {
        match self {
            Self::Xz { .. } => 4,
            Self::Zstd { .. } => 6,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Xz { .. } => "xz",
            Self::Zstd { .. } => "zstd",
        }
    }

    /// Compresses a block. `code` names the platform whose machine code it holds, if it holds any.
    pub(super) fn compress(self, block: &[u8], code: Option<Platform>) -> Result<Vec<u8>, RootfsError> {
        match self {
            Self::Xz { level } => xz(block, level, code),
            Self::Zstd { level } => zstd::bulk::compress(block, level),
        }
        .map_err(|source| RootfsError::Compress { codec: self.name(), source })
    }
}

/// One XZ stream with a CRC32, the check that the kernel's decoder knows, and a window no larger than a block
/// (`fs/squashfs/xz_wrapper.c`: the decoder's window has the size of a block).
fn xz(block: &[u8], level: u32, code: Option<Platform>) -> io::Result<Vec<u8>> {
    let mut options = LzmaOptions::new_preset(level)?;
    let window = u32::try_from(block.len()).unwrap_or(super::BLOCK).next_power_of_two();
    options.dict_size(window.clamp(8192, super::BLOCK));
    let mut filters = Filters::new();
    match code {
        Some(Platform::Amd64) => drop(filters.x86()),
        Some(Platform::ArmV6 | Platform::ArmV7) => drop(filters.arm()),
        // The kernel's decoder has a filter for arm64 only from 6.12 on.
        Some(Platform::Arm64) | None => {}
    }
    filters.lzma2(&options);
    let mut stream = Stream::new_stream_encoder(&filters, Check::Crc32)?;
    let mut out = Vec::with_capacity(block.len() + block.len() / 2 + 1024);
    match stream.process_vec(block, &mut out, Action::Finish)? {
        Status::StreamEnd => Ok(out),
        _ => Err(io::Error::other("the stream did not come to its end")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codecs_are_read_as_they_are_written() {
        for (text, written) in [("xz", "xz:6"), ("xz:9", "xz:9"), ("zstd", "zstd:22"), ("zstd:3", "zstd:3")] {
            assert_eq!(text.parse::<Codec>().unwrap().to_string(), written);
        }
        for text in ["", "gzip", "xz:", "xz:10", "zstd:0", "zstd:23", "zstd:-1", "xz:6:7"] {
            assert_eq!(text.parse::<Codec>(), Err(CodecError(text.into())));
        }
    }
}
