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
    #[error("fetching {url} failed{}", times(*attempts))]
    Network {
        /// The address, without a password.
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
        /// The address, without a password.
        url: String,
        /// The HTTP status.
        status: u16,
    },
    /// A host that failed before in this run is not asked again.
    #[error("{origin} was given up before: {why}")]
    GivenUp {
        /// The host.
        origin: String,
        /// How it failed.
        why: String,
    },
    /// None of several mirrors has what is wanted.
    #[error("no mirror has {what}:{}", list(failures))]
    Mirrors {
        /// What was wanted.
        what: String,
        /// Each mirror's failure, in their order.
        failures: Vec<MirrorFailure>,
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
    /// A folder that `kimg vendor` wrote can't be read or written as one.
    #[error("{path} can't be used as a vendored folder: {why}")]
    Vendored {
        /// The folder or a file in it.
        path: String,
        /// Why.
        why: String,
    },
    /// A folder that would be written has something else in it.
    #[error("{path} is not empty, and nothing that kimg wrote")]
    InTheWay {
        /// The folder.
        path: String,
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

/// Why one mirror of several was passed over.
#[derive(Debug)]
pub struct MirrorFailure {
    /// The mirror, as it may be shown.
    pub mirror: String,
    /// What went wrong there.
    pub error: SourceError,
}

fn list(failures: &[MirrorFailure]) -> String {
    failures.iter().fold(String::new(), |all, failure| {
        // An error that begins with the address need not name the mirror once more.
        let why = failure.error.whole();
        if why.contains(&failure.mirror) {
            format!("{all}\n  {why}")
        } else {
            format!("{all}\n  {}: {why}", failure.mirror)
        }
    })
}

fn times(attempts: u32) -> String {
    if attempts > 1 { format!(" {attempts} times") } else { String::new() }
}

impl SourceError {
    /// This error and what caused it, as one line.
    pub(crate) fn whole(&self) -> String {
        let mut text = self.to_string();
        let mut cause = std::error::Error::source(self);
        while let Some(why) = cause {
            let why_text = why.to_string();
            if !text.ends_with(&why_text) {
                text = format!("{text}: {why_text}");
            }
            cause = why.source();
        }
        text
    }

    /// Of the mirrors' failures, the one that says most: wrong bytes before a host that is not there.
    fn telling(&self) -> Option<&Self> {
        let Self::Mirrors { failures, .. } = self else { return None };
        let errors = || failures.iter().map(|failure| &failure.error);
        errors().find(|error| error.class() == ErrorClass::Verification).or_else(|| errors().next())
    }

    pub(crate) fn disk(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |source| Self::Disk { what, source }
    }
}

impl Classified for SourceError {
    fn class(&self) -> ErrorClass {
        match self {
            Self::Disk { .. } | Self::Missing { .. } | Self::InTheWay { .. } => ErrorClass::LocalIo,
            Self::Network { .. } | Self::Status { .. } | Self::Offline { .. } | Self::GivenUp { .. } => {
                ErrorClass::Network
            }
            Self::Mirrors { .. } => self.telling().map_or(ErrorClass::Network, SourceError::class),
            Self::TooLarge { .. } => ErrorClass::Limit,
            Self::Mismatch { .. } => ErrorClass::Verification,
            Self::Archive { .. } | Self::Vendored { .. } => ErrorClass::Malformed,
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
            Self::Mirrors { .. } => self.telling().and_then(SourceError::hint),
            _ => None,
        }
    }
}
