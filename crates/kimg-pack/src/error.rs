//! What stops a build while it packs.

use std::io;
use std::path::PathBuf;

use kimg_core::{Classified, ContentError, ErrorClass, ImagePath};

use crate::PlainReason;

/// Why packing could not be carried out or, under [`Mode::Require`](crate::Mode::Require), why it had to be.
///
/// A program that stays plain for a reason of its own is no error: see [`PlainReason`].
#[derive(Debug, thiserror::Error)]
pub enum PackError {
    /// The bytes of the program or of one of its libraries could not be had.
    #[error("packing `{path}`")]
    Content {
        /// The program.
        path: ImagePath,
        /// What was wrong.
        #[source]
        source: ContentError,
    },
    /// The private folder, or a file in it, could not be written or read.
    #[error("packing `{path}`: the private folder for it")]
    Scratch {
        /// The program.
        path: ImagePath,
        /// What the system said; it names the file.
        #[source]
        source: io::Error,
    },
    /// The packed program could not be stored.
    #[error("storing the packed `{path}`")]
    Store {
        /// The program.
        path: ImagePath,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A program named `upx` that does not answer `upx --version` as UPX does.
    #[error("`{}` does not say which UPX it is: expected a first line like `upx 4.2.4`, found {found}", path.display())]
    Version {
        /// Where it lies.
        path: PathBuf,
        /// Its first line, or how it ended.
        found: String,
    },
    /// Packing was required, and the packer is missing or broken.
    #[error("`{path}` has to be packed, but {why}")]
    Required {
        /// The program.
        path: ImagePath,
        /// Why it was not.
        why: PlainReason,
    },
}

impl Classified for PackError {
    fn class(&self) -> ErrorClass {
        match self {
            Self::Content { source, .. } => source.class(),
            Self::Scratch { .. } | Self::Store { .. } => ErrorClass::LocalIo,
            Self::Version { .. } | Self::Required { .. } => ErrorClass::External,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Content { source, .. } => source.hint(),
            Self::Version { .. } => Some("install UPX 4, or build with `--pack=never`".into()),
            Self::Required { why: PlainReason::NoPacker, .. } => Some(
                "install UPX (in Debian it is `upx-ucl`, in Alpine `upx`), or build with `--pack=auto`"
                    .into(),
            ),
            Self::Required { .. } => Some("build with `--pack=auto` to ship it plain".into()),
            Self::Scratch { .. } | Self::Store { .. } => None,
        }
    }
}
