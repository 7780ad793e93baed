//! Why a file system could not be written.

use std::io;

use kimg_core::{Classified, ContentError, ErrorClass, ImagePath};

/// Why a file system could not be written.
#[derive(Debug, thiserror::Error)]
pub enum RootfsError {
    /// An entry that the file system can't hold, or that would not be what it is meant to be.
    #[error("`{path}` can't be put into a {format} file system: {problem}")]
    Unwritable {
        /// `squashfs`
        format: &'static str,
        /// The entry.
        path: ImagePath,
        /// What is wrong with it.
        problem: String,
    },
    /// The bytes of a file could not be had.
    #[error("reading `{path}`")]
    Content {
        /// The file.
        path: ImagePath,
        /// What was wrong.
        #[source]
        source: ContentError,
    },
    /// The compressor failed.
    #[error("compressing with {codec}")]
    Compress {
        /// `xz`
        codec: &'static str,
        /// What it said.
        #[source]
        source: io::Error,
    },
    /// The output takes no more.
    #[error("writing the file system")]
    Output(#[source] io::Error),
}

impl Classified for RootfsError {
    fn class(&self) -> ErrorClass {
        match self {
            Self::Unwritable { .. } => ErrorClass::Malformed,
            Self::Content { source, .. } => source.class(),
            Self::Compress { .. } | Self::Output(_) => ErrorClass::LocalIo,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Content { source, .. } => source.hint(),
            _ => None,
        }
    }
}
