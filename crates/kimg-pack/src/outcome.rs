//! What became of a program, in words for the report.

use std::fmt;
use std::time::Duration;

use kimg_core::{Content, Platform};

/// What became of a program. Its `Display` is the sentence for the report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It is packed.
    Packed {
        /// The packed program.
        content: Content,
        /// Its size before, in bytes.
        plain_size: u64,
        /// Its size now, in bytes.
        packed_size: u64,
        /// Whether it was seen to answer as before.
        started: Started,
    },
    /// It stays as it was.
    Plain {
        /// Why.
        why: PlainReason,
    },
}

impl Outcome {
    /// Whether it would come out the same on any other day: nothing was missing, and no limit was hit.
    pub fn may_be_kept(&self) -> bool {
        match self {
            Self::Packed { .. } => true,
            Self::Plain { why } => !why.is_failure() && *why != PlainReason::NotWanted,
        }
    }
}

/// Whether a packed program was started, and answered as the plain one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Started {
    /// On this machine's own processor.
    Natively(Times),
    /// By qemu's user emulation.
    UnderQemu(Times),
    /// It could not be, with the reason. The packed program is shipped all the same.
    NotHere(String),
}

/// How long a program took to answer its probe. Measured, so never the same twice: for people, not for files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Times {
    /// The plain one.
    pub plain: Duration,
    /// The packed one.
    pub packed: Duration,
}

impl Started {
    /// How long the program took to answer, plain and packed, if it was started.
    pub fn times(&self) -> Option<Times> {
        match self {
            Self::Natively(times) | Self::UnderQemu(times) => Some(*times),
            Self::NotHere(_) => None,
        }
    }
}

/// Why a program stays plain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PlainReason {
    /// Packing is switched off.
    NotWanted,
    /// It runs for long.
    Daemon,
    /// It is smaller than the smallest size.
    TooSmall {
        /// The smallest size in bytes.
        minimum: u64,
    },
    /// It is larger than any program that this crate holds in memory.
    TooLarge {
        /// The largest size in bytes.
        maximum: u64,
    },
    /// It has no probe.
    NoProbe,
    /// UPX was not found.
    NoPacker,
    /// A script, or anything else that is no ELF file, or a broken one.
    NotElf(String),
    /// An ELF file for another processor.
    OtherPlatform {
        /// The platform that it should be for.
        expected: Platform,
        /// Its `e_machine`.
        machine: u16,
    },
    /// A shared library, an object file: an ELF file that is no program.
    NotAProgram,
    /// A position-independent program without an interpreter: UPX breaks such ones that are linked against musl.
    StaticPie,
    /// Data follows behind the ELF part: it opens itself and reads them, which it could no longer do.
    DataBehind {
        /// How many bytes.
        bytes: u64,
    },
    /// UPX said that it can't pack it.
    Refused(String),
    /// UPX did not do its work: it could not be started, was stopped by a limit, or gave no program of this kind.
    PackerFailed(String),
    /// Packed it is no smaller.
    NotSmaller,
    /// The packed one's executable segment has whole pages, which may crash on 32-bit ARM.
    WholePages {
        /// The version of UPX that made it.
        upx: String,
    },
    /// The packed one's segments are aligned less than those of the plain one: larger pages could not map it.
    LessAligned {
        /// Alignment of the plain one, in bytes.
        plain: u64,
        /// Alignment of the packed one, in bytes.
        packed: u64,
    },
    /// The packed one answered otherwise.
    OtherAnswer(Difference),
    /// The plain one answered its probe in two ways, so nothing can be compared with it.
    Unsteady,
}

impl PlainReason {
    /// Whether the packer is to blame, not the program: what [`Mode::Require`](crate::Mode::Require) makes an error.
    pub fn is_failure(&self) -> bool {
        matches!(self, Self::NoPacker | Self::PackerFailed(_))
    }
}

/// In what the answers of the plain and the packed program differ.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Difference {
    /// The packed one did not start or did not end well, in words.
    Start(String),
    /// They ended differently, each in words.
    End {
        /// How the plain one ended.
        plain: String,
        /// How the packed one ended.
        packed: String,
    },
    /// They wrote different things to standard output.
    Output,
    /// They wrote different things to standard error.
    ErrorOutput,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Packed { plain_size, packed_size, started, .. } => {
                write!(f, "{} → {} MB, {started}", megabytes(*plain_size), megabytes(*packed_size))
            }
            Self::Plain { why } => write!(f, "plain: {why}"),
        }
    }
}

/// Decimal megabytes with one digit behind the point, as registries show them.
fn megabytes(bytes: u64) -> String {
    let tenths = (bytes + 50_000) / 100_000;
    format!("{}.{}", tenths / 10, tenths % 10)
}

impl fmt::Display for Started {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Natively(_) => f.write_str("answers as before"),
            Self::UnderQemu(_) => f.write_str("answers as before under qemu"),
            Self::NotHere(why) => write!(f, "not started here: {why}"),
        }
    }
}

impl fmt::Display for PlainReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotWanted => f.write_str("packing is switched off"),
            Self::Daemon => f.write_str("a daemon's pages are shared and dropped only when unpacked"),
            Self::TooSmall { minimum } => write!(f, "smaller than {}", binary(*minimum)),
            Self::TooLarge { maximum } => write!(f, "larger than {}", binary(*maximum)),
            Self::NoProbe => f.write_str("no probe says how to see that it starts"),
            Self::NoPacker => f.write_str("upx was not found"),
            Self::NotElf(what) => f.write_str(what),
            Self::OtherPlatform { expected, machine } => {
                write!(
                    f,
                    "not a program for {expected}: ELF machine {machine}, expected {}",
                    expected.elf_machine()
                )
            }
            Self::NotAProgram => f.write_str("a library, not a program"),
            Self::StaticPie => f.write_str("a static PIE does not start when packed"),
            Self::DataBehind { bytes } => {
                write!(f, "{bytes} bytes of its own data follow behind the ELF part")
            }
            Self::Refused(said) => write!(f, "upx refused: {said}"),
            Self::PackerFailed(why) => write!(f, "upx failed: {why}"),
            Self::NotSmaller => f.write_str("packed it is not smaller"),
            Self::WholePages { upx } => write!(
                f,
                "the packed one's executable segment has whole pages, which upx {upx} may let crash on 32-bit ARM"
            ),
            Self::LessAligned { plain, packed } => write!(
                f,
                "the packed one's segments are aligned to {}, the plain one's to {}: larger pages can't map it",
                binary(*packed),
                binary(*plain)
            ),
            Self::OtherAnswer(difference) => difference.fmt(f),
            Self::Unsteady => f.write_str("it answers its probe differently each time"),
        }
    }
}

/// A size that is a power of two, as people say it.
fn binary(bytes: u64) -> String {
    match bytes {
        0 => "0 bytes".into(),
        _ if bytes.is_multiple_of(1 << 20) => format!("{} MiB", bytes >> 20),
        _ if bytes.is_multiple_of(1 << 10) => format!("{} KiB", bytes >> 10),
        _ => format!("{bytes} bytes"),
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Start(why) => write!(f, "packed one did not start: {why}"),
            Self::End { plain, packed } => {
                write!(f, "packed one did not answer as before: {packed} instead of {plain}")
            }
            Self::Output => f.write_str("packed one did not answer as before: its standard output differs"),
            Self::ErrorOutput => {
                f.write_str("packed one did not answer as before: its standard error differs")
            }
        }
    }
}
