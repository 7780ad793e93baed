//! What can go wrong: only writing to the disk; everything else happens in memory.

use kimg_core::{Classified, ErrorClass};

/// Why a repository or the sample could not be laid out.
#[derive(Debug, thiserror::Error)]
pub enum SampleError {
    /// A folder or file could not be written; the source names it.
    #[error("writing the files of a repository")]
    Write(#[source] std::io::Error),
}

impl Classified for SampleError {
    fn class(&self) -> ErrorClass {
        match self {
            Self::Write(_) => ErrorClass::LocalIo,
        }
    }
}
