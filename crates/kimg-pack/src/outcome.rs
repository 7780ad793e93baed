//! What became of a program, in words for the report.

use std::fmt;
use std::time::Duration;

use kimg_core::Content;

use crate::{Packing, PlainReason};

/// What became of a program. Its `Display` is the sentence for the report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It is packed, stripped or both, as was decided.
    Packed {
        /// The packed program.
        content: Content,
        /// What was done.
        packing: Packing,
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

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Packed { packing, plain_size, packed_size, started, .. } => {
                let how = match (packing.strip, packing.upx) {
                    (false, _) => "",
                    (true, None) => ", stripped",
                    (true, Some(_)) => ", stripped and packed",
                };
                write!(f, "{} → {} MB{how}, {started}", megabytes(*plain_size), megabytes(*packed_size))
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
