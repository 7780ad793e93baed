//! What a build is made small for, and what follows from that where nothing was measured.
//!
//! An image is small in two ways: by what a node *pulls*, and by what it then keeps *on its disk*. A packed program
//! is small on the disk, but compresses no further and shares nothing with its neighbours, and it unpacks itself at each
//! start. So how programs are packed and how layers are compressed and cut is one question, and the answer depends
//! on the [`Objective`], the [`Family`] of the codec and the [`Cut`].
//!
//! | objective | means |
//! | --- | --- |
//! | `pull` | the fewest bytes over the network, whatever that takes on the disk and at each start |
//! | `disk` | the fewest bytes on the node's disk: every program that is no daemon is packed as small as UPX does |
//! | `balanced` | the least [`cost`]: a byte on the disk counts a quarter of a byte pulled, and each millisecond that a packed program takes longer to start counts 10 kB for one that is started often (a CNI plugin: several times for each pod) and 1 kB for another |
//!
//! `kimg tune` computes that from measures of the very programs and pins the result in the lock. Without it these
//! defaults hold. They follow by [`cost`] from what was measured of kubeadm 1.20.2 and the plugin bridge on amd64 (UPX 4.2.2),
//! not from a run over every program:
//!
//! | | started often | started seldom | layers |
//! | --- | --- | --- | --- |
//! | gzip, pull | `upx --best --lzma` | `upx --best --lzma` | `gzip:12` |
//! | gzip, balanced | `upx -9` | `upx --best --lzma` | `gzip:9` |
//! | zstd, pull, shared layers | not packed | `upx --best --lzma` | `zstd:19:window=64MiB` |
//! | zstd, pull, single layer | not packed | not packed | `zstd:19:window=64MiB` |
//! | zstd, balanced | not packed | `upx --best --lzma` | `zstd:19`, of a single layer `zstd:19:window=64MiB` |
//! | disk | `upx --best --lzma` | `upx --best --lzma` | as balanced |
//!
//! Every program loses the sections that nothing maps first (`strip`), and a daemon loses no more: that costs nothing at run
//! time, and takes a seventh off Kubernetes' programs, which Alpine ships with their symbols.

mod cost;
mod decided;

use std::fmt;
use std::str::FromStr;

use kimg_core::Variant;
use kimg_layer::{Codec, Window};
use kimg_pack::{Packing, UpxOptions};

pub use cost::{Cost, Start, cost};
pub use decided::{Decisions, Pinned};

use crate::error::BuildError;

/// `--optimize`: what is to be small.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Objective {
    /// What a node pulls.
    Pull,
    /// What lies on its disk.
    Disk,
    /// Both, and the time that packed programs take to start.
    #[default]
    Balanced,
}

/// `--layers`: where an image is cut into layers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Cut {
    /// By concern, so that images share layers: a node that has one image pulls little for the next.
    #[default]
    Shared,
    /// Everything in one: the fewest bytes for a node that has none of them.
    Single,
}

/// The kind of compression.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Family {
    /// Read by everything.
    #[default]
    Gzip,
    /// Smaller; see [`Codec::Zstd`] for who reads it.
    Zstd,
}

/// Everything that is aimed at.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Aims {
    /// What is to be small.
    pub objective: Objective,
    /// Where layers are cut.
    pub cut: Cut,
    /// How they are compressed in any case.
    pub family: Family,
    /// The codec of every layer, if it was said as a whole (`zstd:3`).
    pub codec: Option<Codec>,
}

/// What is known of a program before anything is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Use {
    /// It runs for long.
    pub daemon: bool,
    /// It is started often.
    pub often: bool,
}

impl Aims {
    /// How a program is packed when nothing was measured.
    pub fn packing(&self, program: Use) -> Packing {
        let quick = Packing { strip: true, upx: UpxOptions::level(9, false) };
        if program.daemon {
            return Packing::STRIP;
        }
        match (self.family, self.objective) {
            (Family::Gzip, Objective::Balanced) if program.often => quick,
            (Family::Zstd, Objective::Pull) if program.often || self.cut == Cut::Single => Packing::STRIP,
            (Family::Zstd, Objective::Balanced) if program.often => Packing::STRIP,
            _ => Packing::STRIP_UPX,
        }
    }

    /// How a layer is compressed when nothing was measured.
    pub fn codec(&self) -> Codec {
        if let Some(codec) = self.codec {
            return codec;
        }
        let long = self.objective == Objective::Pull || self.cut == Cut::Single;
        match self.family {
            Family::Gzip if self.objective == Objective::Pull => Codec::Gzip { level: 12 },
            Family::Gzip => Codec::default(),
            Family::Zstd => Codec::Zstd { level: 19, window: long.then_some(Window::Mib64) },
        }
    }

    /// The name of a variant whose layers are its own, as the lock has it; nothing where variants share theirs.
    pub(crate) fn own_layer(&self, variant: &Variant) -> Option<String> {
        (self.cut == Cut::Single).then(|| variant.name.clone())
    }

    /// What tags carry behind everything else: images whose layers not every client reads are never found under the names
    /// of those that every client reads.
    pub fn tag_suffix(&self) -> Option<&'static str> {
        (self.family == Family::Zstd).then_some("zstd")
    }

    /// Reads `--compression`, `--level` and `--window` together.
    pub fn set_compression(
        &mut self,
        compression: &str,
        level: Option<&str>,
        window: Option<&str>,
    ) -> Result<(), BuildError> {
        self.family = match compression.split(':').next() {
            Some("zstd") => Family::Zstd,
            _ => Family::Gzip,
        };
        let mut text = compression.to_owned();
        if let Some(level) = level {
            if compression.contains(':') {
                return Err(BuildError::settings_hint(
                    format!("`{compression}` has a level already, and `{level}` is another"),
                    "say it once",
                ));
            }
            let level = if level == "max" && self.family == Family::Zstd { "22" } else { level };
            text = format!("{text}:{level}");
        }
        if let Some(window) = window {
            if !text.contains(':') {
                text.push_str(":19");
            }
            text = format!("{text}:window={window}");
        }
        let codec: Codec = text.parse().map_err(|e| BuildError::settings(format!("{e}")))?;
        self.codec = text.contains(':').then_some(codec);
        Ok(())
    }
}

impl fmt::Display for Aims {
    /// `balanced gzip shared`: what a decision in the lock was made for.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let family = match self.family {
            Family::Gzip => "gzip",
            Family::Zstd => "zstd",
        };
        write!(f, "{} {family} {}", self.objective, self.cut)
    }
}

/// The words of settings and flags for each value of an enumeration.
macro_rules! words {
    ($type:ty, $what:literal, $($value:path => $word:literal),+ $(,)?) => {
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(match self { $($value => $word),+ })
            }
        }

        impl FromStr for $type {
            type Err = BuildError;

            fn from_str(text: &str) -> Result<Self, BuildError> {
                match text {
                    $($word => Ok($value),)+
                    other => Err(BuildError::settings(format!(
                        concat!($what, " `{}` is not one of ", "{}"),
                        other,
                        [$($word),+].join(", "),
                    ))),
                }
            }
        }
    };
}

words!(Objective, "optimize", Objective::Pull => "pull", Objective::Disk => "disk", Objective::Balanced => "balanced");
words!(Cut, "layers", Cut::Shared => "shared", Cut::Single => "single");

#[cfg(test)]
mod tests {
    use super::*;

    const OFTEN: Use = Use { daemon: false, often: true };
    const SELDOM: Use = Use { daemon: false, often: false };

    fn aims(text: &str) -> Aims {
        let words: Vec<&str> = text.split(' ').collect();
        let mut aims =
            Aims { objective: words[0].parse().unwrap(), cut: words[2].parse().unwrap(), ..Aims::default() };
        aims.set_compression(words[1], None, None).unwrap();
        assert_eq!(aims.to_string(), text);
        aims
    }

    #[test]
    fn the_defaults_are_those_of_the_page() {
        for (text, often, seldom, codec) in [
            ("pull gzip shared", "strip + upx --best --lzma", "strip + upx --best --lzma", "gzip:12"),
            ("balanced gzip shared", "strip + upx -9", "strip + upx --best --lzma", "gzip:9"),
            ("balanced gzip single", "strip + upx -9", "strip + upx --best --lzma", "gzip:9"),
            ("disk gzip shared", "strip + upx --best --lzma", "strip + upx --best --lzma", "gzip:9"),
            ("pull zstd shared", "strip", "strip + upx --best --lzma", "zstd:19:window=64MiB"),
            ("pull zstd single", "strip", "strip", "zstd:19:window=64MiB"),
            ("balanced zstd shared", "strip", "strip + upx --best --lzma", "zstd:19"),
            ("balanced zstd single", "strip", "strip + upx --best --lzma", "zstd:19:window=64MiB"),
            ("disk zstd shared", "strip + upx --best --lzma", "strip + upx --best --lzma", "zstd:19"),
        ] {
            let aims = aims(text);
            assert_eq!(aims.packing(OFTEN).to_string(), often, "{text}, often");
            assert_eq!(aims.packing(SELDOM).to_string(), seldom, "{text}, seldom");
            assert_eq!(aims.packing(Use { daemon: true, often: false }), Packing::STRIP, "{text}, daemon");
            assert_eq!(aims.codec().to_string(), codec, "{text}");
        }
    }

    #[test]
    fn a_codec_that_was_said_holds_for_every_layer() {
        let codec = |compression, level, window| {
            let mut aims = Aims { objective: Objective::Pull, ..Aims::default() };
            aims.set_compression(compression, level, window).map(|()| aims.codec().to_string())
        };
        assert_eq!(codec("zstd:3", None, None).unwrap(), "zstd:3");
        assert_eq!(codec("gzip", Some("6"), None).unwrap(), "gzip:6");
        assert_eq!(codec("gzip", Some("max"), None).unwrap(), "gzip:12");
        assert_eq!(codec("zstd", Some("max"), Some("64MiB")).unwrap(), "zstd:22:window=64MiB");
        assert_eq!(codec("zstd", None, Some("32MiB")).unwrap(), "zstd:19:window=32MiB");
        for (compression, level, window) in [
            ("gzip", None, Some("64MiB")),
            ("gzip:9", Some("9"), None),
            ("xz", None, None),
            ("zstd", Some("23"), None),
        ] {
            assert!(codec(compression, level, window).is_err(), "{compression} {level:?} {window:?}");
        }
    }
}
