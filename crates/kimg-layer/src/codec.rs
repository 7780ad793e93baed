//! The compressors: their names, levels, windows, versions and media types.
//!
//! The sixteen CNI plugins 1.1.1 for amd64 as one layer, an archive of 45.5 MB, in the order [`alike`](crate::Order); seconds
//! of processor time. The plain programs get the archive in the order of the paths. `examples/codec_bench.rs` prints more.
//!
//! | | bytes | s | | | bytes | s |
//! | --- | --- | --- | --- | --- | --- | --- |
//! | `gzip -6` | 19,376,829 | 2.3 | | `zstd -3` | 19,376,302 | 0.3 |
//! | `gzip -9` | 19,265,897 | 7.0 | | `zstd -19` | 6,710,988 | 34 |
//! | gzip:1 | 20,588,479 | 0.6 | | `zstd -19 --long=26` | 6,038,291 | 31 |
//! | gzip:6 | 19,214,279 | 0.9 | | zstd:3 | 19,428,415 | 0.8 |
//! | **gzip:9** | 19,082,078 | 2.0 | | zstd:9 | 8,731,280 | 1.1 |
//! | gzip:10 | 18,562,875 | 4.7 | | zstd:17 | 6,516,305 | 22 |
//! | gzip:12 | 18,530,762 | 7.3 | | | | |
//!
//! What level 19 makes of each order and window stands in the table of the orders. Level 9 of gzip is smaller than
//! `gzip -9`, in less time than `gzip -6` takes; what is above it takes two to four times as long for 3 %. Hence the
//! default; whoever is pulled from more often than he builds takes `gzip:max`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// How a layer is compressed. Written `gzip:9`, `zstd:19` or `zstd:19:window=64MiB`; `gzip` and `zstd` alone mean
/// the first two.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Codec {
    /// gzip (RFC 1952), read by everything.
    Gzip {
        /// 1 (fast) to 12 (small), libdeflate's levels.
        level: u32,
    },
    /// Zstandard (RFC 8878): smaller, but needs containerd 1.5, Docker 23, or podman.
    Zstd {
        /// 1 (fast) to 22 (small; above 19 both sides take much memory).
        level: i32,
        /// How far back a match may lie. Without it, as far as the level has it: 8 MiB from level 17 to 19.
        window: Option<Window>,
    },
}

/// How far back in a zstd frame a match may lie: the memory, in the main, that a node needs to unpack the layer.
///
/// A decoder must take 8 MiB (RFC 8878, 3.1.1.1.2: "recommended" for all). More than 128 MiB is refused by
/// libzstd unless it is told otherwise (zstd.h, `ZSTD_WINDOWLOG_LIMIT_DEFAULT` 27); the decoder of containerd,
/// Docker, podman and CRI-O stops at 512 MiB (klauspost/compress, `zstd/decoder_options.go`, `WithDecoderMaxWindow`,
/// which none of them sets), its successor for Go's own library at 128 MiB. So there is none above that here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Window {
    /// 8 MiB, which every decoder takes.
    Mib8,
    /// 16 MiB.
    Mib16,
    /// 32 MiB.
    Mib32,
    /// 64 MiB.
    Mib64,
    /// 128 MiB.
    Mib128,
}

impl Window {
    /// All of them, the smallest first.
    pub const ALL: [Self; 5] = [Self::Mib8, Self::Mib16, Self::Mib32, Self::Mib64, Self::Mib128];

    /// Bytes.
    pub fn bytes(self) -> u64 {
        1 << self.log()
    }

    /// The power of two.
    pub(crate) fn log(self) -> u32 {
        match self {
            Self::Mib8 => 23,
            Self::Mib16 => 24,
            Self::Mib32 => 25,
            Self::Mib64 => 26,
            Self::Mib128 => 27,
        }
    }
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{}MiB", self.bytes() >> 20))
    }
}

/// The window that a level of zstd has by itself, as a power of two (zstd 1.5.7, `lib/compress/clevels.h`).
pub(crate) fn own_window(level: i32) -> u32 {
    match level {
        ..=1 => 19,
        2 => 20,
        3..=8 => 21,
        9..=16 => 22,
        17..=19 => 23,
        20 => 25,
        21 => 26,
        22.. => 27,
    }
}

/// A text that names no codec.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{text}` is not a codec: expected gzip, gzip:1 to gzip:12, zstd, zstd:1 to zstd:22, or zstd with a level \
     and a window of 8, 16, 32, 64 or 128 MiB, like zstd:19:window=64MiB"
)]
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
            Self::Gzip { .. } => "libdeflater 1.26.1, libdeflate-sys 1.26.1",
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
            Self::Zstd { level, window: None } => f.pad(&format!("zstd:{level}")),
            Self::Zstd { level, window: Some(window) } => f.pad(&format!("zstd:{level}:window={window}")),
        }
    }
}

impl FromStr for Codec {
    type Err = CodecError;

    fn from_str(text: &str) -> Result<Self, CodecError> {
        let parts: Vec<&str> = text.split(':').collect();
        let codec = match parts[..] {
            ["gzip"] => Some(Self::default()),
            ["gzip", "max"] => Some(Self::Gzip { level: 12 }),
            ["gzip", level] => number(level, 12).map(|level| Self::Gzip { level: level.into() }),
            ["zstd"] => Some(Self::Zstd { level: 19, window: None }),
            ["zstd", level] => {
                number(level, 22).map(|level| Self::Zstd { level: level.into(), window: None })
            }
            ["zstd", level, window] => {
                number(level, 22).zip(self::window(window)).map(|(level, window)| {
                    let level = level.into();
                    // The level's own is said by saying nothing.
                    let window = Some(window).filter(|window| window.log() != own_window(level));
                    Self::Zstd { level, window }
                })
            }
            _ => None,
        };
        codec.ok_or_else(|| CodecError { text: text.to_owned() })
    }
}

/// A level from 1 to `max`, only the way `Display` writes it: `+9` and `09` would be two more names for one codec.
fn number(digits: &str, max: u8) -> Option<u8> {
    digits.parse().ok().filter(|level: &u8| (1..=max).contains(level) && level.to_string() == digits)
}

fn window(text: &str) -> Option<Window> {
    let size = text.strip_prefix("window=")?;
    Window::ALL.into_iter().find(|window| window.to_string() == size)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_codec_is_read_as_it_is_written() {
        for (text, canonical) in [
            ("gzip", "gzip:9"),
            ("gzip:1", "gzip:1"),
            ("gzip:max", "gzip:12"),
            ("zstd", "zstd:19"),
            ("zstd:3", "zstd:3"),
            ("zstd:3:window=8MiB", "zstd:3:window=8MiB"),
            ("zstd:19:window=8MiB", "zstd:19"),
            ("zstd:19:window=64MiB", "zstd:19:window=64MiB"),
            ("zstd:22:window=64MiB", "zstd:22:window=64MiB"),
            ("zstd:22:window=128MiB", "zstd:22"),
        ] {
            let codec: Codec = text.parse().unwrap();
            assert_eq!(codec.to_string(), canonical);
            assert_eq!(canonical.parse(), Ok(codec));
        }
        assert_eq!("gzip".parse(), Ok(Codec::default()));
    }

    #[test]
    fn levels_and_windows_that_do_not_exist_and_second_spellings_are_refused() {
        for text in [
            "",
            "gzip:",
            "gzip:0",
            "gzip:13",
            "gzip:09",
            "gzip:+9",
            "gzip:Max",
            "zstd:0",
            "zstd:23",
            "zstd:-3",
            "zstd:max",
            "xz",
            "GZIP",
            "gzip:9:window=8MiB",
            "zstd:window=64MiB",
            "zstd:19:",
            "zstd:19:64MiB",
            "zstd:19:window=",
            "zstd:19:window=4MiB",
            "zstd:19:window=48MiB",
            "zstd:19:window=256MiB",
            "zstd:19:window=64",
            "zstd:19:window=64mib",
            "zstd:19:window=64MiB:",
            "zstd:19:window=064MiB",
        ] {
            assert!(text.parse::<Codec>().is_err(), "{text}");
        }
    }

    #[test]
    fn the_versions_in_the_cache_key_are_the_ones_that_are_compiled_in() {
        let lock = fs_err::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../Cargo.lock")).unwrap();
        for codec in [Codec::default(), "zstd".parse().unwrap()] {
            for pinned in codec.version().split(", ") {
                let (name, version) = pinned.split_once(' ').unwrap();
                let line = format!("name = \"{name}\"\nversion = \"{version}\"\n");
                assert!(lock.contains(&line), "Cargo.lock holds another version of {name} than {version}");
                assert_eq!(lock.matches(&format!("name = \"{name}\"\n")).count(), 1, "{name} is there twice");
            }
        }
    }
}
