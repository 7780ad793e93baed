//! What can go wrong with making an image smaller.

use std::io;

use kimg_core::{Classified, ErrorClass, ImagePath, Platform};
use kimg_layer::NodeKind;

use crate::error::BuildError;
use crate::existing::ReadError;

/// Why there is no smaller image.
#[derive(Debug, thiserror::Error)]
pub enum SlimError {
    /// What was asked for can't be meant.
    #[error("{problem}")]
    Asked {
        /// What is wrong.
        problem: String,
        /// What to say instead.
        hint: String,
    },
    /// Something wanted that is not there: a program, a kept path, a platform.
    #[error("{problem}")]
    Missing {
        /// What is not there, and where.
        problem: String,
        /// What there is.
        hint: Option<String>,
    },
    /// A device or pipe that would be in the smaller image.
    #[error("`{asked}` would keep `{path}`, which is a {kind}: no image that kimg makes holds one")]
    Node {
        /// What asks for it.
        asked: String,
        /// Where it is.
        path: ImagePath,
        /// What it is.
        kind: NodeKind,
    },
    /// Needs that nothing in the image meets.
    #[error(
        "what is wanted does not hold together for {platform}:{}",
        problems.iter().fold(String::new(), |all, problem| format!("{all}\n  {problem}"))
    )]
    Unresolved {
        /// The platform.
        platform: Platform,
        /// Each need with the way that leads to it.
        problems: Vec<String>,
    },
    /// The image it comes from.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The image it becomes.
    #[error(transparent)]
    Write(Box<BuildError>),
    /// The disk.
    #[error("{what}")]
    Disk {
        /// What was being done.
        what: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

impl SlimError {
    pub(super) fn disk(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |source| Self::Disk { what, source }
    }

    pub(super) fn asked(problem: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::Asked { problem: problem.into(), hint: hint.into() }
    }
}

impl From<BuildError> for SlimError {
    fn from(error: BuildError) -> Self {
        Self::Write(Box::new(error))
    }
}

impl Classified for SlimError {
    fn class(&self) -> ErrorClass {
        match self {
            Self::Asked { .. } | Self::Node { .. } => ErrorClass::Usage,
            Self::Missing { .. } | Self::Unresolved { .. } => ErrorClass::Unresolvable,
            Self::Read(source) => source.class(),
            Self::Write(source) => source.class(),
            Self::Disk { .. } => ErrorClass::LocalIo,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Asked { hint, .. } => Some(hint.clone()),
            Self::Missing { hint, .. } => hint.clone(),
            Self::Node { .. } => Some(
                "runtimes make /dev themselves: name what else is to stay, or pass it over: `--allow-unresolved`"
                    .to_owned(),
            ),
            Self::Unresolved { .. } => Some(
                "the image lacks it too: `--allow-unresolved` makes the smaller one nevertheless".to_owned(),
            ),
            Self::Read(source) => source.hint(),
            Self::Write(source) => source.hint(),
            Self::Disk { .. } => None,
        }
    }
}
