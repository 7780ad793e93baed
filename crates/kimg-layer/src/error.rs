//! What can go wrong with layers and blobs.

use std::io;

use kimg_core::{Classified, ContentError, Digest, ErrorClass, ImagePath, ImagePathError};

/// Why a layer could not be written or read, or a blob not be stored or had.
#[derive(Debug, thiserror::Error)]
pub enum LayerError {
    /// The bytes of a file could not be had.
    #[error("`{path}` can't be put into the layer")]
    Content {
        /// The file.
        path: ImagePath,
        /// Why.
        #[source]
        source: ContentError,
    },
    /// A content that is not as long as it says.
    #[error("`{path}`: its content was announced with {expected} bytes and has {found}")]
    ContentSize {
        /// The file.
        path: ImagePath,
        /// Bytes announced.
        expected: u64,
        /// Bytes that came.
        found: u64,
    },
    /// An entry that no archive can hold.
    #[error("`{path}` can't be put into the layer: {problem}")]
    Unwritable {
        /// The entry.
        path: ImagePath,
        /// What is wrong with it.
        problem: String,
    },
    /// The output took no more.
    #[error("writing the layer")]
    Output(#[source] io::Error),
    /// The layer's bytes could not be read or unpacked.
    #[error("reading the layer")]
    Read(#[source] io::Error),
    /// Bytes that are no tar archive.
    #[error("the layer is malformed at byte {offset} of its archive: {problem}")]
    Malformed {
        /// Where, in bytes of the uncompressed archive.
        offset: u64,
        /// What was found and expected.
        problem: String,
    },
    /// An entry whose name is no path inside an image.
    #[error("the layer holds an entry that no image may have")]
    Path(#[from] ImagePathError),
    /// An entry that kimg's trees can't hold: a device, a pipe.
    #[error("`{path}` is a {what}, which is not supported")]
    Unsupported {
        /// The entry.
        path: ImagePath,
        /// What it is.
        what: String,
    },
    /// More than the caller allows.
    #[error("the layer has more than {limit} {what}")]
    Limit {
        /// What there is too much of.
        what: &'static str,
        /// The limit.
        limit: u64,
    },
    /// A media type that is no layer's.
    #[error("`{0}` is not the media type of a layer that can be read")]
    MediaType(String),
    /// A blob that does not hold the archive that it should.
    #[error("the blob is not this layer's: {problem}")]
    OtherBlob {
        /// What was found and expected.
        problem: String,
    },
    /// A blob that is not in the store.
    #[error("the blob {digest} is missing in {}", store.display())]
    NoBlob {
        /// The blob.
        digest: Digest,
        /// The store's folder.
        store: std::path::PathBuf,
    },
    /// A stored blob whose bytes are no longer what its name says.
    #[error("the stored blob {digest} is damaged: expected {expected}, found {found}")]
    DamagedBlob {
        /// The blob.
        digest: Digest,
        /// The size or digest expected.
        expected: String,
        /// The size or digest found.
        found: String,
    },
    /// The disk, while storing or reading a blob. The message names the path.
    #[error(transparent)]
    Disk(io::Error),
}

impl Classified for LayerError {
    fn class(&self) -> ErrorClass {
        match self {
            Self::Content { source, .. } => source.class(),
            Self::ContentSize { .. } | Self::OtherBlob { .. } | Self::DamagedBlob { .. } => {
                ErrorClass::Verification
            }
            Self::Unwritable { .. } => ErrorClass::Usage,
            Self::Output(_) | Self::NoBlob { .. } | Self::Disk(_) => ErrorClass::LocalIo,
            Self::Read(source) => match source.kind() {
                // What decompressors say of bytes they don't understand.
                io::ErrorKind::Other
                | io::ErrorKind::InvalidData
                | io::ErrorKind::InvalidInput
                | io::ErrorKind::UnexpectedEof => ErrorClass::Malformed,
                _ => ErrorClass::LocalIo,
            },
            Self::Malformed { .. } | Self::Path(_) | Self::Unsupported { .. } | Self::MediaType(_) => {
                ErrorClass::Malformed
            }
            Self::Limit { .. } => ErrorClass::Limit,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::DamagedBlob { digest, .. } => {
                Some(format!("delete the file named {} and build again", digest.hex()))
            }
            Self::Content { source, .. } => source.hint(),
            _ => None,
        }
    }
}
