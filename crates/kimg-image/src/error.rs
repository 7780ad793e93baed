//! What can go wrong with images, layouts and archives.

use std::io;
use std::path::PathBuf;

use kimg_core::{Classified, Digest, ErrorClass, Platform};
use kimg_layer::LayerError;

/// Why an image could not be assembled, written or read.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// A setting of the image that can't be meant.
    #[error("the image for {platform}: {problem}")]
    Spec {
        /// The image's platform.
        platform: Platform,
        /// What is wrong.
        problem: String,
    },
    /// Images that can't be joined or written together.
    #[error("{0}")]
    Together(String),
    /// A tag or image name that is none.
    #[error("`{text}` is not {expected}")]
    Name {
        /// What was given.
        text: String,
        /// What it should be.
        expected: &'static str,
    },
    /// A blob that is not what its descriptor says.
    #[error("the {what} {expected} is damaged: found {found}")]
    Damaged {
        /// What kind of blob.
        what: &'static str,
        /// Digest or size expected.
        expected: String,
        /// Digest or size found.
        found: String,
    },
    /// A folder that is no OCI image layout.
    #[error("`{}` is not an OCI image layout: {problem}", dir.display())]
    NotALayout {
        /// The folder.
        dir: PathBuf,
        /// What is missing or wrong.
        problem: String,
    },
    /// Bytes that are not the JSON they should be.
    #[error("the {what} {digest} is malformed")]
    Malformed {
        /// What kind of blob.
        what: &'static str,
        /// The blob.
        digest: Digest,
        /// Where and why.
        #[source]
        source: serde_json::Error,
    },
    /// Parts of an image that contradict each other.
    #[error("the image {digest} contradicts itself: {problem}")]
    Contradiction {
        /// Its manifest.
        digest: Digest,
        /// What was found and expected.
        problem: String,
    },
    /// A blob larger than what is read into memory.
    #[error("the blob {digest} has {size} bytes, more than the limit of {limit}")]
    TooLarge {
        /// The blob.
        digest: Digest,
        /// Its size in bytes.
        size: u64,
        /// The limit in bytes.
        limit: u64,
    },
    /// A tag that the layout doesn't hold.
    #[error("there is no tag `{tag}` in `{}`", dir.display())]
    NoTag {
        /// The tag.
        tag: String,
        /// The layout's folder.
        dir: PathBuf,
        /// The tags there are.
        known: Vec<String>,
    },
    /// A platform that an image isn't built for.
    #[error("`{tag}` has no image for {platform}")]
    NoPlatform {
        /// The tag.
        tag: String,
        /// The platform asked for.
        platform: Platform,
        /// The platforms there are.
        known: Vec<String>,
    },
    /// A blob that could not be had or stored.
    #[error(transparent)]
    Layer(#[from] LayerError),
    /// The disk. The message names the path.
    #[error(transparent)]
    Disk(io::Error),
}

impl Classified for ImageError {
    fn class(&self) -> ErrorClass {
        match self {
            Self::Spec { .. } | Self::Together(_) | Self::Name { .. } => ErrorClass::Usage,
            Self::Damaged { .. } => ErrorClass::Verification,
            Self::NotALayout { .. } | Self::Malformed { .. } | Self::Contradiction { .. } => {
                ErrorClass::Malformed
            }
            Self::TooLarge { .. } => ErrorClass::Limit,
            Self::NoTag { .. } | Self::NoPlatform { .. } => ErrorClass::Unresolvable,
            Self::Layer(source) => source.class(),
            Self::Disk(_) => ErrorClass::LocalIo,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::NoTag { known, .. } if !known.is_empty() => {
                Some(format!("its tags are {}", known.join(", ")))
            }
            Self::NoPlatform { known, .. } if !known.is_empty() => {
                Some(format!("it has {}", known.join(", ")))
            }
            Self::NotALayout { .. } => Some("choose an empty or a new folder".to_owned()),
            Self::Layer(source) => source.hint(),
            _ => None,
        }
    }
}
