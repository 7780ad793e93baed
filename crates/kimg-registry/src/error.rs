//! What can go wrong between here and a registry.

use std::fmt::Display;
use std::io;
use std::path::PathBuf;

use kimg_core::{Classified, Digest, ErrorClass};
use kimg_image::ImageError;
use kimg_layer::LayerError;
use kimg_sign::SignError;

use crate::{NameError, Reference};

/// Why something could not be pushed, pulled or verified. No secret is in it, and no address with a query.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// A name that is none.
    #[error(transparent)]
    Name(#[from] NameError),
    /// Settings that can't be meant: a certificate file, a proxy.
    #[error("{what}: {problem}")]
    Setting {
        /// Which one.
        what: String,
        /// What is wrong.
        problem: String,
    },
    /// A file with credentials that can't be used. Nothing of its content is repeated.
    #[error("the credentials in `{}` can't be used: {problem}", path.display())]
    CredentialsFile {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// A credential helper that failed.
    #[error("the credential helper `{program}` failed for {registry}: {problem}")]
    Helper {
        /// The program.
        program: String,
        /// What it was asked about.
        registry: String,
        /// What happened.
        problem: String,
    },
    /// A host could not be reached, or the connection broke or stood still, each time it was tried.
    #[error("{doing} failed{}", times(*attempts))]
    Network {
        /// What was asked, with the address.
        doing: String,
        /// How often it was tried.
        attempts: u32,
        /// The last failure.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The registry can't answer now: 408, 429, 5xx.
    #[error("{doing} was answered with {status}{}{}", of(said), times(*attempts))]
    Busy {
        /// What was asked, with the address.
        doing: String,
        /// The HTTP status.
        status: u16,
        /// What the registry said about it.
        said: String,
        /// How often it was tried.
        attempts: u32,
    },
    /// Who asks is not known to the registry, or may not do it.
    #[error("{registry} does not allow {doing}{}", of(problem))]
    Denied {
        /// The registry.
        registry: String,
        /// What was asked.
        doing: String,
        /// What it said.
        problem: String,
        /// Whether credentials were sent.
        known: bool,
    },
    /// The registry sends credentials to a host that is not its own.
    #[error("{registry} wants to be logged in to at {host}: credentials are not sent to another host")]
    ForeignRealm {
        /// The registry.
        registry: String,
        /// The host it names.
        host: String,
    },
    /// The registry refused, in a way that asking again does not change.
    #[error("{doing} was refused with {status}{}", of(said))]
    Refused {
        /// What was asked, with the address.
        doing: String,
        /// The HTTP status.
        status: u16,
        /// What the registry said about it.
        said: String,
    },
    /// The registry broke the protocol.
    #[error("{doing}: the registry answered wrongly: {problem}")]
    Protocol {
        /// What was asked, with the address.
        doing: String,
        /// What was found and expected.
        problem: String,
    },
    /// Bytes that are not the ones that were asked for or sent.
    #[error("{what} is not what it should be: expected {expected}, found {found}")]
    Mismatch {
        /// Whose bytes.
        what: String,
        /// Digest or size.
        expected: String,
        /// Digest or size.
        found: String,
    },
    /// A manifest, index or answer that is not in the format it should be in.
    #[error("{what} is malformed: {problem}")]
    Malformed {
        /// What it is, with its name.
        what: String,
        /// What was found.
        problem: String,
    },
    /// An answer larger, or a tree deeper, than what is read.
    #[error("{what} is larger than the limit of {limit}")]
    TooLarge {
        /// What it is.
        what: String,
        /// The limit, with its unit.
        limit: String,
    },
    /// What is not there.
    #[error("there is no {what}")]
    NotFound {
        /// What was asked for.
        what: String,
    },
    /// An image without one of the platforms asked for.
    #[error("{reference} has no image for {wanted}")]
    NoPlatform {
        /// The image.
        reference: String,
        /// The platforms that are missing.
        wanted: String,
        /// The platforms there are.
        known: Vec<String>,
    },
    /// Tags that name something else already.
    #[error("{} would be moved: {}", tags(taken.len()), list(taken))]
    TagTaken {
        /// Each tag, what it names, and what it would name.
        taken: Vec<TakenTag>,
    },
    /// Parts of a release that can't be pushed together.
    #[error("the release can't be pushed: {0}")]
    Release(String),
    /// Some tags of a release were moved, or all of them, and then it failed. Everything they name is whole.
    #[error("{} of the release moved, {} did not", tags(moved.len()), left.len())]
    HalfDone {
        /// The tags that were moved.
        moved: Vec<Reference>,
        /// The tags that were not.
        left: Vec<Reference>,
        /// Why.
        #[source]
        source: Box<RegistryError>,
    },
    /// A key, signature or statement that does not hold.
    #[error(transparent)]
    Sign(#[from] SignError),
    /// An image without a signature by the key that was asked for.
    #[error("{image} is not signed by this key{}", reasons(problems))]
    NotSigned {
        /// The image, with its digest.
        image: String,
        /// Why each of its signatures does not hold; empty if it has none.
        problems: Vec<String>,
    },
    /// A blob of this machine that is missing or damaged.
    #[error(transparent)]
    Layer(#[from] LayerError),
    /// A layout of this machine.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// The disk. The message names the path.
    #[error(transparent)]
    Disk(#[from] io::Error),
}

/// A tag that names something else than it would after a release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TakenTag {
    /// The tag.
    pub tag: Reference,
    /// What it names.
    pub found: Digest,
    /// What it would name.
    pub wanted: Digest,
}

fn times(attempts: u32) -> String {
    if attempts > 1 { format!(", {attempts} times") } else { String::new() }
}

fn reasons(problems: &[String]) -> String {
    if problems.is_empty() { ": it has no signature".to_owned() } else { of(&problems.join("; ")) }
}

fn of(said: &str) -> String {
    if said.is_empty() { String::new() } else { format!(": {said}") }
}

fn tags(count: usize) -> String {
    if count == 1 { "1 tag".to_owned() } else { format!("{count} tags") }
}

fn list(taken: &[TakenTag]) -> String {
    let one = |tag: &TakenTag| format!("{} is {}, not {}", tag.tag, tag.found.short(), tag.wanted.short());
    taken.iter().map(one).collect::<Vec<_>>().join("; ")
}

impl RegistryError {
    pub(crate) fn mismatch(what: impl Display, expected: impl Display, found: impl Display) -> Self {
        Self::Mismatch { what: what.to_string(), expected: expected.to_string(), found: found.to_string() }
    }

    /// Whether it says that something is not there.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::NotFound { .. })
    }
}

impl Classified for RegistryError {
    fn class(&self) -> ErrorClass {
        match self {
            Self::Name(source) => source.class(),
            Self::Setting { .. } | Self::Release(_) => ErrorClass::Usage,
            Self::CredentialsFile { .. } | Self::Malformed { .. } => ErrorClass::Malformed,
            Self::Helper { .. } => ErrorClass::External,
            Self::Network { .. } | Self::Busy { .. } => ErrorClass::Network,
            Self::Denied { .. } | Self::ForeignRealm { .. } => ErrorClass::Authentication,
            Self::Refused { .. } | Self::Protocol { .. } => ErrorClass::Registry,
            Self::Mismatch { .. } | Self::NotSigned { .. } => ErrorClass::Verification,
            Self::Sign(source) => source.class(),
            Self::TooLarge { .. } => ErrorClass::Limit,
            Self::NotFound { .. } | Self::NoPlatform { .. } => ErrorClass::Unresolvable,
            Self::TagTaken { .. } => ErrorClass::Conflict,
            Self::HalfDone { .. } => ErrorClass::HalfDone,
            Self::Layer(source) => source.class(),
            Self::Image(source) => source.class(),
            Self::Disk(_) => ErrorClass::LocalIo,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Denied { registry, known: false, .. } => {
                Some(format!("log in to {registry}, or set KIMG_REGISTRY_USER and KIMG_REGISTRY_PASSWORD"))
            }
            Self::Denied { .. } => {
                Some("see whether the account may do it, and whether its token is still valid".into())
            }
            Self::ForeignRealm { host, .. } => {
                Some(format!("if {host} belongs to the registry, name it as trusted"))
            }
            Self::TagTaken { .. } => Some("say that tags may be moved, if that is meant".into()),
            Self::HalfDone { .. } => Some("do the same again: only what is missing is sent".into()),
            Self::NoPlatform { known, .. } if !known.is_empty() => {
                Some(format!("it has {}", known.join(", ")))
            }
            Self::Sign(source) => source.hint(),
            Self::Image(source) => source.hint(),
            Self::Layer(source) => source.hint(),
            _ => None,
        }
    }
}
