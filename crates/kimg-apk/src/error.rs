//! What can be wrong with a package or an index, and what to do about it.

use std::fmt;
use std::io;

use kimg_core::{Classified, Digest, ErrorClass, ImagePath, ImagePathError};

use crate::{Identity, IndexError};

/// Why a package or an index was refused: which one, and what is wrong with it.
#[derive(Debug)]
pub struct ApkError {
    /// What was read: `package busybox-1.36.1-r15`, `the index`.
    pub subject: String,
    /// What is wrong with it.
    pub problem: Problem,
}

/// What is wrong with a package or an index.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// A package of apk-tools 3.
    #[error("APK v3 is not supported yet")]
    Version3,
    /// Nothing is signed, and no signed index vouches for it.
    #[error("is not signed")]
    Unsigned,
    /// Signed, but with no key that is trusted.
    #[error("is signed with {}, which is not among the trusted keys", quoted(keys))]
    UnknownKey {
        /// The file names of the keys it is signed with.
        keys: Vec<String>,
        /// The file names of the keys that are trusted.
        known: Vec<String>,
    },
    /// An entry of the signature member that is no signature of a known kind.
    #[error(
        "has a signature of an unknown kind, `{}`: expected `.SIGN.RSA.…`, `.SIGN.RSA256.…` or `.SIGN.RSA512.…`",
        name.escape_debug()
    )]
    UnknownSignature {
        /// The name of the entry.
        name: String,
    },
    /// The key is right, the signature is not.
    #[error("the {algorithm} signature by `{key}` does not fit the bytes")]
    WrongSignature {
        /// The file name of the key.
        key: String,
        /// `RSA`, `RSA256` or `RSA512`.
        algorithm: &'static str,
    },
    /// The signature member is packed in another way than packers of signatures do.
    ///
    /// Nothing signs how it is packed, so bytes that were changed there show by their form only.
    #[error("its signature member is not packed as signatures are: {0}")]
    SignaturePacking(&'static str),
    /// The file has another size than the index says (`S:`).
    #[error("has {found} bytes where the index says {expected}")]
    Size {
        /// Bytes according to the index.
        expected: u64,
        /// Bytes of the file.
        found: u64,
    },
    /// The control member has another SHA-1 than the index says (`C:`).
    #[error("has the identity {found} where the index says {expected}")]
    Identity {
        /// According to the index.
        expected: Identity,
        /// Computed from the bytes.
        found: Identity,
    },
    /// The data member has another SHA-256 than `.PKGINFO` says (`datahash`).
    #[error("its data hashes to {found} where its .PKGINFO says {expected}")]
    DataHash {
        /// According to `.PKGINFO`.
        expected: Digest,
        /// Computed from the bytes.
        found: Digest,
    },
    /// A file or symbolic link has another SHA-1 than its header says.
    #[error("`{path}` has the SHA-1 {found} where its header says {expected}")]
    Checksum {
        /// The file or link.
        path: ImagePath,
        /// 40 hex digits out of the header.
        expected: String,
        /// 40 hex digits computed from the bytes.
        found: String,
    },
    /// A file or symbolic link without a checksum.
    #[error("`{0}` carries no checksum")]
    NoChecksum(ImagePath),
    /// Made for another architecture.
    #[error("is made for {}, not for {expected}", found.escape_debug())]
    Architecture {
        /// What was asked for.
        expected: String,
        /// What `.PKGINFO` says.
        found: String,
    },
    /// Another package than the index says.
    #[error("is {found} where the index says {expected}")]
    Name {
        /// Name and version according to the index.
        expected: String,
        /// Name and version according to `.PKGINFO`.
        found: String,
    },
    /// A line of `.PKGINFO` that must be there is not.
    #[error("its .PKGINFO has no `{0}`")]
    MissingField(&'static str),
    /// A line of `.PKGINFO` that can't be read.
    #[error("its .PKGINFO says `{field} = {value}`: {reason}")]
    BadField {
        /// The key of the line.
        field: String,
        /// What stands behind ` = `, shortened.
        value: String,
        /// Why that can't be.
        reason: String,
    },
    /// A gzip member is cut short or damaged.
    #[error("its {member} can't be unpacked")]
    Gzip {
        /// Which member.
        member: Member,
        /// What the decoder said.
        #[source]
        source: io::Error,
    },
    /// The tar in a gzip member is cut short or damaged.
    #[error("the tar in its {member} can't be read: {reason}")]
    Tar {
        /// Which member.
        member: Member,
        /// What is wrong with it.
        reason: String,
    },
    /// Something that should be in a member is not.
    #[error("its {member} holds no `{name}`")]
    MissingEntry {
        /// Which member.
        member: Member,
        /// The name of the entry.
        name: &'static str,
    },
    /// More bytes after the last member.
    #[error("has {0} more bytes after its last member")]
    Trailing(u64),
    /// A device node, a pipe or another thing that an image can't hold.
    #[error("`{path}` is {kind}: only folders, files and links can be packed into an image")]
    UnsupportedEntry {
        /// Where it would stand.
        path: String,
        /// What it is, with its article.
        kind: &'static str,
    },
    /// A path that is not allowed in an image.
    #[error("ships a path that is not allowed: {path:?}")]
    BadPath {
        /// As written, shortened.
        path: String,
        /// Why.
        #[source]
        source: Option<ImagePathError>,
    },
    /// A header of one path that makes no sense.
    #[error("`{path}`: {reason}")]
    BadEntry {
        /// The path.
        path: ImagePath,
        /// What is wrong.
        reason: String,
    },
    /// A hard link to a file that did not come before it.
    #[error("`{path}` is a hard link to `{}`, which did not come before it", target.escape_debug())]
    HardLink {
        /// The link.
        path: ImagePath,
        /// What it should share its bytes with.
        target: String,
    },
    /// Larger than a limit allows.
    #[error("{what} is larger than the limit of {limit}")]
    Limit {
        /// What is too large.
        what: &'static str,
        /// The limit, in bytes unless `what` says otherwise.
        limit: u64,
    },
    /// The text of an index can't be read.
    #[error("can't be read")]
    Index(#[source] IndexError),
    /// The bytes of a file could not be put away.
    #[error("the bytes of `{path}` could not be stored")]
    Store {
        /// The file.
        path: ImagePath,
        /// What the store said.
        #[source]
        source: io::Error,
    },
}

/// A part of a package or an index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Member {
    /// The first member, with the signature.
    Signature,
    /// The second member of a package, with `.PKGINFO` and scripts.
    Control,
    /// The third member of a package, with its files.
    Data,
    /// The second member of an index.
    Records,
}

impl fmt::Display for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Signature => "signature member",
            Self::Control => "control member",
            Self::Data => "data member",
            Self::Records => "second member",
        })
    }
}

fn quoted(names: &[String]) -> String {
    names.iter().map(|name| format!("`{}`", name.escape_debug())).collect::<Vec<_>>().join(", ")
}

impl Problem {
    /// This problem of that package or index.
    pub(crate) fn of(self, subject: impl Into<String>) -> ApkError {
        ApkError { subject: subject.into(), problem: self }
    }
}

impl fmt::Display for ApkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.subject, self.problem)
    }
}

impl std::error::Error for ApkError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        std::error::Error::source(&self.problem)
    }
}

impl Classified for ApkError {
    fn class(&self) -> ErrorClass {
        match &self.problem {
            Problem::Unsigned
            | Problem::UnknownKey { .. }
            | Problem::WrongSignature { .. }
            | Problem::SignaturePacking(_)
            | Problem::Size { .. }
            | Problem::Identity { .. }
            | Problem::DataHash { .. }
            | Problem::Checksum { .. }
            | Problem::NoChecksum(_)
            | Problem::Architecture { .. }
            | Problem::Name { .. } => ErrorClass::Verification,
            Problem::Limit { .. } => ErrorClass::Limit,
            Problem::Store { .. } => ErrorClass::LocalIo,
            Problem::Index(error) => error.class(),
            Problem::Version3
            | Problem::UnknownSignature { .. }
            | Problem::MissingField(_)
            | Problem::BadField { .. }
            | Problem::Gzip { .. }
            | Problem::Tar { .. }
            | Problem::MissingEntry { .. }
            | Problem::Trailing(_)
            | Problem::UnsupportedEntry { .. }
            | Problem::BadPath { .. }
            | Problem::BadEntry { .. }
            | Problem::HardLink { .. } => ErrorClass::Malformed,
        }
    }

    fn hint(&self) -> Option<String> {
        Some(match &self.problem {
            Problem::UnknownKey { known, .. } if known.is_empty() => {
                "no keys are trusted at all: add the repository's public key under exactly that file name"
                    .into()
            }
            Problem::UnknownKey { known, .. } => format!(
                "add the public key under exactly that file name if you trust it; trusted are {}",
                quoted(known)
            ),
            Problem::Version3 => "use a repository whose packages are made by apk-tools 2".into(),
            Problem::Size { .. } | Problem::Identity { .. } | Problem::Name { .. } => {
                "the package and the index are not of the same state of the repository: fetch both again"
                    .into()
            }
            Problem::WrongSignature { .. }
            | Problem::DataHash { .. }
            | Problem::Checksum { .. }
            | Problem::Gzip { .. } => {
                "the bytes were changed or cut short on the way: fetch them again".into()
            }
            Problem::SignaturePacking(_) => {
                "the bytes were changed on the way: fetch them again; what is your own, sign with abuild-sign"
                    .into()
            }
            Problem::Architecture { expected, .. } => {
                format!("take the package out of the repository's folder for {expected}")
            }
            Problem::Limit { .. } => "raise the limit if you know this input".into(),
            _ => return None,
        })
    }
}
