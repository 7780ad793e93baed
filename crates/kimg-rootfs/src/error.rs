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
    /// A program that writes such file systems is not there.
    #[error("{program} is not installed")]
    NoProgram {
        /// `mkfs.erofs`
        program: &'static str,
        /// The package that has it, in Debian and in Alpine.
        package: &'static str,
    },
    /// A program that writes such file systems could not.
    #[error("{program} failed: {said}")]
    Program {
        /// `mkfs.erofs`
        program: &'static str,
        /// How it ended, and its last words.
        said: String,
    },
    /// The private folder could not be written.
    #[error("laying files out in a private folder")]
    Scratch(#[source] io::Error),
    /// The output takes no more.
    #[error("writing the file system")]
    Output(#[source] io::Error),
}

impl Classified for RootfsError {
    fn class(&self) -> ErrorClass {
        match self {
            Self::Unwritable { .. } => ErrorClass::Malformed,
            Self::Content { source, .. } => source.class(),
            Self::NoProgram { .. } | Self::Program { .. } => ErrorClass::External,
            Self::Compress { .. } | Self::Scratch(_) | Self::Output(_) => ErrorClass::LocalIo,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Content { source, .. } => source.hint(),
            Self::NoProgram { package, .. } => Some(format!("the package `{package}` has it")),
            _ => None,
        }
    }
}
