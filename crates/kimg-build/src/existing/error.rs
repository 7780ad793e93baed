//! What can go wrong with reading images that exist already.

use std::io;

use kimg_core::{Classified, Digest, ErrorClass, ImagePath};
use kimg_image::ImageError;
use kimg_layer::LayerError;

/// Why an image could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// A way of writing where an image is that is not known.
    #[error("`{typed}` is no place that images are read from")]
    Place {
        /// As typed.
        typed: String,
        /// What to write instead.
        hint: String,
    },
    /// A file that is no archive of images.
    #[error("`{archive}` is not {expected}: {problem}")]
    NotAnArchive {
        /// The file.
        archive: String,
        /// What it should be.
        expected: &'static str,
        /// What is wrong.
        problem: String,
        /// What to do.
        hint: Option<String>,
    },
    /// A blob that an index or manifest names, and that is not there.
    #[error("`{place}` has no blob {digest}, which its {by} names")]
    NoBlob {
        /// The layout or archive.
        place: String,
        /// The blob.
        digest: Digest,
        /// What names it.
        by: &'static str,
    },
    /// Bytes that are not what their digest says.
    #[error("`{place}`: the {what} {expected} is damaged: its bytes hash to {found}")]
    Damaged {
        /// The layout or archive.
        place: String,
        /// What kind of blob.
        what: &'static str,
        /// The digest by which it is named.
        expected: Digest,
        /// The digest of what was read.
        found: Digest,
    },
    /// Bytes that are not the JSON they should be.
    #[error("`{place}`: the {what} is malformed: {problem}")]
    Malformed {
        /// The layout or archive.
        place: String,
        /// What kind of blob.
        what: &'static str,
        /// Where and why.
        problem: String,
    },
    /// More than is read.
    #[error("`{place}` has more than {limit} {what}")]
    Limit {
        /// The layout or archive.
        place: String,
        /// What there is too much of.
        what: &'static str,
        /// The limit.
        limit: u64,
    },
    /// A tag that is not there, or an image for none of the platforms asked for.
    #[error("{problem}")]
    NoImage {
        /// What is not there, and where.
        problem: String,
        /// What there is.
        hint: Option<String>,
    },
    /// A place with several images where one is meant.
    #[error("`{place}` has several images, and one is looked at at a time")]
    Several {
        /// The layout or archive.
        place: String,
        /// Their tags.
        tags: Vec<String>,
    },
    /// A layer that can't be read.
    #[error("`{place}`: the layer {layer} can't be read")]
    Layer {
        /// The layout or archive.
        place: String,
        /// The layer, by its digest.
        layer: Digest,
        /// Why.
        #[source]
        source: Box<LayerError>,
    },
    /// A hard link to a file that is nowhere.
    #[error(
        "`{place}`: in the layer {layer}, `{path}` is a hard link to `{target}`, which no layer has as a file"
    )]
    LinkToNothing {
        /// The layout or archive.
        place: String,
        /// The layer, by its digest.
        layer: Digest,
        /// The link.
        path: ImagePath,
        /// What it is to.
        target: ImagePath,
    },
    /// A layout that can't be read.
    #[error(transparent)]
    Layout(Box<ImageError>),
    /// The disk. The message names the path.
    #[error(transparent)]
    Disk(#[from] io::Error),
}

impl Classified for ReadError {
    fn class(&self) -> ErrorClass {
        match self {
            Self::Place { .. } | Self::Several { .. } => ErrorClass::Usage,
            Self::NotAnArchive { .. } | Self::Malformed { .. } | Self::LinkToNothing { .. } => {
                ErrorClass::Malformed
            }
            Self::NoBlob { .. } | Self::Disk(_) => ErrorClass::LocalIo,
            Self::Damaged { .. } => ErrorClass::Verification,
            Self::Limit { .. } => ErrorClass::Limit,
            Self::NoImage { .. } => ErrorClass::Unresolvable,
            Self::Layer { source, .. } => source.class(),
            Self::Layout(source) => source.class(),
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Place { hint, .. } => Some(hint.clone()),
            Self::NotAnArchive { hint, .. } | Self::NoImage { hint, .. } => hint.clone(),
            Self::Several { tags, .. } => Some(format!("name one behind the path: {}", tags.join(", "))),
            Self::Damaged { .. } | Self::NoBlob { .. } => {
                Some("build or copy the image again: the copy is incomplete or was changed".into())
            }
            Self::Layout(source) => match &**source {
                ImageError::NotALayout { .. } => {
                    Some("`kimg build` writes a layout; an archive is named `oci-archive:PATH`".into())
                }
                other => other.hint(),
            },
            _ => None,
        }
    }
}

impl From<ImageError> for ReadError {
    fn from(error: ImageError) -> Self {
        Self::Layout(Box::new(error))
    }
}
