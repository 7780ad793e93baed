//! What can go wrong between a source and the cache.

use std::io;

use kimg_core::{Classified, ErrorClass};

/// An error of a source, the cache or the network.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The local disk.
    #[error("{what}")]
    Disk {
        /// What was being done, with the path.
        what: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A host could not be reached, or the connection broke, each time it was tried.
    #[error("fetching {url} failed {attempts} times")]
    Network {
        /// The address.
        url: String,
        /// How often it was tried.
        attempts: u32,
        /// The last failure.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The server answered, but not with the file.
    #[error("{url} answered {status}")]
    Status {
        /// The address.
        url: String,
        /// The HTTP status.
        status: u16,
    },
    /// Only the cache may be used, and it is not there.
    #[error("{what} is not in the cache, and nothing may be fetched")]
    Offline {
        /// What was wanted.
        what: String,
    },
    /// A file that has to be there is not.
    #[error("{what} does not exist: {path}")]
    Missing {
        /// What it is.
        what: String,
        /// Where it was looked for.
        path: String,
    },
    /// Larger than it may be.
    #[error("{what} has more than {limit} bytes")]
    TooLarge {
        /// What it is.
        what: String,
        /// The limit in bytes.
        limit: u64,
    },
    /// The bytes are not the ones that were asked for.
    #[error("{what}: expected {expected}, found {found}")]
    Mismatch {
        /// What it is.
        what: String,
        /// The digest or size it should have.
        expected: String,
        /// The one it has.
        found: String,
    },
    /// An archive that can't be read.
    #[error("{what} can't be read as a gzipped tar archive: {why}")]
    Archive {
        /// Which archive.
        what: String,
        /// Why.
        why: String,
    },
    /// A package or index that fails verification or can't be read.
    #[error("{what}")]
    Apk {
        /// Which file.
        what: String,
        /// What is wrong with it.
        #[source]
        source: kimg_apk::ApkError,
    },
    /// A key file.
    #[error("{what}")]
    Key {
        /// Which file.
        what: String,
        /// What is wrong with it.
        #[source]
        source: kimg_apk::KeyError,
    },
}

impl SourceError {
    pub(crate) fn disk(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |source| Self::Disk { what, source }
    }
}

impl Classified for SourceError {
    fn class(&self) -> ErrorClass {
        match self {
            Self::Disk { .. } | Self::Missing { .. } => ErrorClass::LocalIo,
            Self::Network { .. } | Self::Status { .. } | Self::Offline { .. } => ErrorClass::Network,
            Self::TooLarge { .. } => ErrorClass::Limit,
            Self::Mismatch { .. } => ErrorClass::Verification,
            Self::Archive { .. } => ErrorClass::Malformed,
            Self::Apk { source, .. } => source.class(),
            Self::Key { source, .. } => source.class(),
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Network { .. } => Some(
                "is there a network here? a folder works too: `--repository DIR --keys DIR`, and `--sample` needs none"
                    .into(),
            ),
            Self::Status { status: 404, .. } => {
                Some("the repository's address ends before the architecture: …/v3.22/main".into())
            }
            Self::Offline { .. } => Some("run once without `--offline` to fill the cache".into()),
            Self::Apk { source, .. } => source.hint().map(|hint| match source.problem {
                kimg_apk::Problem::UnknownKey { .. } => format!("{hint} (`--keys` names a folder of keys)"),
                _ => hint,
            }),
            Self::Key { source, .. } => source.hint(),
            _ => None,
        }
    }
}
