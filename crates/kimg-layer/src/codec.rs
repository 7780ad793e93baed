//! The compressors: their names, levels, versions and media types, and their streams in both directions.

use std::fmt;
use std::io::{self, Read, Write};
use std::str::FromStr;

use flate2::write::GzEncoder;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::LayerError;

/// How a layer is compressed. Written `gzip:9` or `zstd:19`; without a level, these two are meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Codec {
    /// gzip (RFC 1952), read by everything.
    Gzip {
        /// 1 (fast) to 9 (small).
        level: u32,
    },
    /// Zstandard (RFC 8878): smaller, but needs containerd 1.5, Docker 23, or podman.
    Zstd {
        /// 1 (fast) to 22 (small; above 19 unpacking takes much memory).
        level: i32,
    },
}

/// A text that names no codec.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a codec: expected gzip, gzip:1 to gzip:9, zstd, or zstd:1 to zstd:22")]
pub struct CodecError {
    text: String,
}

impl kimg_core::Classified for CodecError {
    fn class(&self) -> kimg_core::ErrorClass {
        kimg_core::ErrorClass::Usage
    }
}

impl Codec {
    /// The media type of a layer compressed so (OCI image-spec, layer.md).
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Gzip { .. } => "application/vnd.oci.image.layer.v1.tar+gzip",
            Self::Zstd { .. } => "application/vnd.oci.image.layer.v1.tar+zstd",
        }
    }

    /// The pinned versions of the crates that compress. A test compares them with `Cargo.lock`.
    pub fn version(self) -> &'static str {
        match self {
            Self::Gzip { .. } => "flate2 1.1.11, zlib-rs 0.6.8",
            Self::Zstd { .. } => "zstd 0.14.3, zstd-safe 8.2.0, zstd-sys 2.1.2+zstd.1.5.7",
        }
    }
}

impl Default for Codec {
    fn default() -> Self {
        Self::Gzip { level: 9 }
    }
}

impl fmt::Display for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gzip { level } => f.pad(&format!("gzip:{level}")),
            Self::Zstd { level } => f.pad(&format!("zstd:{level}")),
        }
    }
}

impl FromStr for Codec {
    type Err = CodecError;

    fn from_str(text: &str) -> Result<Self, CodecError> {
        let (name, level) = text.split_once(':').map_or((text, None), |(name, level)| (name, Some(level)));
        let level = match level {
            None => None,
            // Only the way `Display` writes it: `+9` and `09` would be two more names for one codec.
            Some(digits) => match digits.parse::<u8>() {
                Ok(level) if level.to_string() == digits => Some(level),
                _ => return Err(CodecError { text: text.to_owned() }),
            },
        };
        match (name, level) {
            ("gzip", None) => Ok(Self::default()),
            ("gzip", Some(level @ 1..=9)) => Ok(Self::Gzip { level: level.into() }),
            ("zstd", None) => Ok(Self::Zstd { level: 19 }),
            ("zstd", Some(level @ 1..=22)) => Ok(Self::Zstd { level: level.into() }),
            _ => Err(CodecError { text: text.to_owned() }),
        }
    }
}

impl Serialize for Codec {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Codec {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// The compressor gets pieces of this size, whatever came in: what it makes of them must not depend on how
/// the contents happened to be read.
const PIECE: usize = 128 * 1024;

/// A compressing writer.
pub(crate) struct Encoder<W: Write> {
    stream: Stream<W>,
    piece: Vec<u8>,
}

enum Stream<W: Write> {
    Gzip(GzEncoder<W>),
    Zstd(zstd::Encoder<'static, W>),
}

impl<W: Write> Encoder<W> {
    pub(crate) fn new(codec: Codec, out: W) -> io::Result<Self> {
        let stream = match codec {
            Codec::Gzip { level } => Stream::Gzip(
                flate2::GzBuilder::new()
                    .mtime(0)
                    .operating_system(255)
                    .write(out, flate2::Compression::new(level)),
            ),
            Codec::Zstd { level } => {
                let mut encoder = zstd::Encoder::new(out, level)?;
                encoder.include_checksum(true)?;
                encoder.include_contentsize(false)?;
                Stream::Zstd(encoder)
            }
        };
        Ok(Self { stream, piece: Vec::with_capacity(PIECE) })
    }

    fn feed(&mut self) -> io::Result<()> {
        match &mut self.stream {
            Stream::Gzip(encoder) => encoder.write_all(&self.piece)?,
            Stream::Zstd(encoder) => encoder.write_all(&self.piece)?,
        }
        self.piece.clear();
        Ok(())
    }

    pub(crate) fn finish(mut self) -> io::Result<W> {
        self.feed()?;
        match self.stream {
            Stream::Gzip(encoder) => encoder.finish(),
            Stream::Zstd(encoder) => encoder.finish(),
        }
    }
}

impl<W: Write> Write for Encoder<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = bytes.len().min(PIECE - self.piece.len());
        self.piece.extend_from_slice(&bytes[..taken]);
        if self.piece.len() == PIECE {
            self.feed()?;
        }
        Ok(taken)
    }

    /// Does nothing: a flush in the middle would change the compressed bytes.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The largest zstd window that is unpacked: 128 MiB of memory, zstd's own default bound.
const MAX_WINDOW_LOG: u32 = 27;

/// The archive inside a layer blob, as a stream. Nothing is bounded here: a small blob can give any number of bytes.
///
/// # Errors
/// [`LayerError::MediaType`] for anything but tar, plain or with gzip or zstd, in OCI's and Docker's names.
pub fn decode<'a, R: Read + 'a>(blob: R, media_type: &str) -> Result<Box<dyn Read + 'a>, LayerError> {
    match media_type {
        "application/vnd.oci.image.layer.v1.tar" | "application/vnd.docker.image.rootfs.diff.tar" => {
            Ok(Box::new(io::BufReader::new(blob)))
        }
        "application/vnd.oci.image.layer.v1.tar+gzip"
        | "application/vnd.docker.image.rootfs.diff.tar.gzip" => {
            // Several members are one stream (RFC 1952, 2.2): parallel compressors write them so.
            Ok(Box::new(flate2::read::MultiGzDecoder::new(blob)))
        }
        "application/vnd.oci.image.layer.v1.tar+zstd" => {
            let mut decoder = zstd::Decoder::new(blob).map_err(LayerError::Read)?;
            decoder.window_log_max(MAX_WINDOW_LOG).map_err(LayerError::Read)?;
            Ok(Box::new(decoder))
        }
        _ => Err(LayerError::MediaType(media_type.chars().take(200).collect())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_codec_is_read_as_it_is_written() {
        for (text, canonical) in
            [("gzip", "gzip:9"), ("gzip:1", "gzip:1"), ("zstd", "zstd:19"), ("zstd:3", "zstd:3")]
        {
            let codec: Codec = text.parse().unwrap();
            assert_eq!(codec.to_string(), canonical);
            assert_eq!(canonical.parse(), Ok(codec));
        }
        assert_eq!("gzip".parse(), Ok(Codec::default()));
    }

    #[test]
    fn levels_that_do_not_exist_and_second_spellings_are_refused() {
        for text in [
            "", "gzip:", "gzip:0", "gzip:10", "gzip:09", "gzip:+9", "zstd:0", "zstd:23", "zstd:-3", "xz",
            "GZIP",
        ] {
            assert!(text.parse::<Codec>().is_err(), "{text}");
        }
    }

    #[test]
    fn the_versions_in_the_cache_key_are_the_ones_that_are_compiled_in() {
        let lock = fs_err::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../Cargo.lock")).unwrap();
        for codec in [Codec::default(), Codec::Zstd { level: 19 }] {
            for pinned in codec.version().split(", ") {
                let (name, version) = pinned.split_once(' ').unwrap();
                let line = format!("name = \"{name}\"\nversion = \"{version}\"\n");
                assert!(lock.contains(&line), "Cargo.lock holds another version of {name} than {version}");
                assert_eq!(lock.matches(&format!("name = \"{name}\"\n")).count(), 1, "{name} is there twice");
            }
        }
    }

    #[test]
    fn the_compressed_bytes_do_not_depend_on_how_the_input_was_cut() {
        let input: Vec<u8> =
            (0..700_000_u32).flat_map(|n| (n.wrapping_mul(2_654_435_761) >> 20).to_le_bytes()).collect();
        for codec in [Codec::Gzip { level: 1 }, Codec::Gzip { level: 9 }, Codec::Zstd { level: 3 }] {
            let compress = |cut: usize| {
                let mut encoder = Encoder::new(codec, Vec::new()).unwrap();
                for piece in input.chunks(cut) {
                    encoder.write_all(piece).unwrap();
                    encoder.flush().unwrap();
                }
                encoder.finish().unwrap()
            };
            let whole = compress(input.len());
            assert!(whole.len() < input.len());
            for cut in [511, 65_536, PIECE + 1] {
                assert!(compress(cut) == whole, "{codec} cut at {cut}");
            }
        }
    }
}
