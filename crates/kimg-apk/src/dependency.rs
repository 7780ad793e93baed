//! Dependencies, provides and identities: the small texts that packages speak about each other in.
//!
//! The grammar is that of apk-world(5) and apk-package(5): `!name`, `name@tag`, `name>=1.2`.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use kimg_core::{Classified, ErrorClass};

use crate::version::{Operator, Version, VersionError};

/// A wish for a package, or against one: `busybox`, `so:libc.musl-x86_64.so.1`, `kubelet~1.28`, `!sudo`, `nano@edge`.
///
/// ```
/// use kimg_apk::Dependency;
///
/// let wish: Dependency = "kubelet@edge>=1.28".parse()?;
/// assert_eq!((wish.name.as_str(), wish.tag.as_deref()), ("kubelet", Some("edge")));
/// assert_eq!(wish.to_string(), "kubelet@edge>=1.28");
/// assert!("!sudo".parse::<Dependency>()?.conflict);
/// # Ok::<(), kimg_apk::DependencyError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dependency {
    /// The name of a package, or one that packages provide.
    pub name: String,
    /// The tag of the repositories that may serve it, besides those without a tag.
    pub tag: Option<String>,
    /// Which versions will do; any when absent.
    pub constraint: Option<Constraint>,
    /// Whether it must *not* be there.
    pub conflict: bool,
}

impl Dependency {
    /// A wish for any version of `name`.
    pub fn any(name: impl Into<String>) -> Self {
        Self { name: name.into(), tag: None, constraint: None, conflict: false }
    }
}

impl FromStr for Dependency {
    type Err = DependencyError;

    fn from_str(text: &str) -> Result<Self, DependencyError> {
        let error = |problem| DependencyError { text: short(text), problem };
        let (conflict, rest) = match text.strip_prefix('!') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let end = rest.bytes().position(|byte| byte == b'@' || ends_name(byte)).unwrap_or(rest.len());
        let (name, rest) = rest.split_at(end);
        let (tag, constraint) = match rest.strip_prefix('@') {
            Some(rest) => {
                let (tag, rest) = rest.split_at(rest.bytes().position(ends_name).unwrap_or(rest.len()));
                (Some(tag), rest)
            }
            None => (None, rest),
        };
        check_name(name).map_err(|problem| error(Problem::Name(problem)))?;
        if let Some(tag) = tag {
            check_name(tag).map_err(|problem| error(Problem::Tag(problem)))?;
        }
        let constraint =
            if constraint.is_empty() { None } else { Some(Constraint::parse(constraint).map_err(error)?) };
        Ok(Self { name: name.to_owned(), tag: tag.map(str::to_owned), constraint, conflict })
    }
}

impl fmt::Display for Dependency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", if self.conflict { "!" } else { "" }, self.name)?;
        if let Some(tag) = &self.tag {
            write!(f, "@{tag}")?;
        }
        if let Some(constraint) = &self.constraint {
            write!(f, "{constraint}")?;
        }
        Ok(())
    }
}

/// Which packages of a name will do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Constraint {
    /// Those whose version stands like this to the one given.
    Version {
        /// How it must stand.
        operator: Operator,
        /// To which one.
        version: Version,
    },
    /// Exactly the package with this identity (`><Q1…`).
    Identity(Identity),
}

impl Constraint {
    fn parse(text: &str) -> Result<Self, Problem> {
        let value = text.trim_start_matches(['<', '=', '>', '~']);
        let run = &text[..text.len() - value.len()];
        if run.contains('<') && run.contains('>') && !run.contains('~') {
            return value.parse().map(Self::Identity).map_err(Problem::Identity);
        }
        let operator = Operator::from_run(run).ok_or_else(|| Problem::Operator(short(run)))?;
        let version = value.parse().map_err(Problem::Version)?;
        if !value.starts_with(|first: char| first.is_ascii_digit()) {
            return Err(Problem::NoNumber(short(value)));
        }
        Ok(Self::Version { operator, version })
    }

    /// Whether a package with this version and identity will do.
    pub fn allows(&self, version: &Version, identity: Option<Identity>) -> bool {
        match self {
            Self::Version { operator, version: wanted } => version.matches(*operator, wanted),
            Self::Identity(wanted) => identity == Some(*wanted),
        }
    }
}

impl fmt::Display for Constraint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Version { operator, version } => write!(f, "{operator}{version}"),
            Self::Identity(identity) => write!(f, "><{identity}"),
        }
    }
}

/// A name that a package answers to besides its own: `cmd:sh=1.36.1-r15`, `/bin/sh`.
///
/// With a version it stands for that name alone: no other package of the name, or with a versioned provide of it,
/// can be beside it. Without one any number of packages may share the name (apk-package(5), "provides").
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Provide {
    /// The name.
    pub name: String,
    /// Its version, if it has one.
    pub version: Option<Version>,
}

impl FromStr for Provide {
    type Err = DependencyError;

    fn from_str(text: &str) -> Result<Self, DependencyError> {
        let error = |problem| DependencyError { text: short(text), problem };
        let end = text.bytes().position(ends_name).unwrap_or(text.len());
        let (name, version) = text.split_at(end);
        check_name(name).map_err(|problem| error(Problem::Name(problem)))?;
        if name.contains('@') {
            return Err(error(Problem::Name("a provide has no tag")));
        }
        let version = match version.strip_prefix('=') {
            None if version.is_empty() => None,
            None => return Err(error(Problem::Operator(short(version)))),
            Some(version) => Some(version.parse().map_err(|source| error(Problem::Version(source)))?),
        };
        Ok(Self { name: name.to_owned(), version })
    }
}

impl fmt::Display for Provide {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        match &self.version {
            Some(version) => write!(f, "={version}"),
            None => Ok(()),
        }
    }
}

/// The SHA-1 of a package's control member as compressed: what an index names a package by (`C:`).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Identity([u8; 20]);

/// Stray bits behind the last byte are let pass, as apk does; what is compared are the bytes.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::RequireCanonical),
);

impl Identity {
    /// An identity from the 20 bytes of the SHA-1.
    pub fn from_raw(raw: [u8; 20]) -> Self {
        Self(raw)
    }

    /// The 20 bytes of the SHA-1.
    pub fn as_raw(&self) -> &[u8; 20] {
        &self.0
    }
}

impl FromStr for Identity {
    type Err = IdentityError;

    fn from_str(text: &str) -> Result<Self, IdentityError> {
        text.strip_prefix("Q1")
            .filter(|encoded| encoded.len() == 28)
            .and_then(|encoded| BASE64.decode(encoded).ok())
            .and_then(|raw| raw.try_into().ok())
            .map(Self)
            .ok_or_else(|| IdentityError { text: text.chars().take(100).collect() })
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Q1{}", BASE64.encode(self.0))
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A text that is no package identity.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{}` is not a package identity: expected `Q1` and 28 characters of base64", text.escape_debug())]
pub struct IdentityError {
    text: String,
}

impl Classified for IdentityError {
    fn class(&self) -> ErrorClass {
        ErrorClass::Malformed
    }
}

/// A text that is no dependency, or no provide.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{}` can't be read: {problem}", text.escape_debug())]
pub struct DependencyError {
    text: String,
    problem: Problem,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
enum Problem {
    #[error("its name {0}")]
    Name(&'static str),
    #[error("its tag {0}")]
    Tag(&'static str),
    #[error("`{}` is no operator here", .0.escape_debug())]
    Operator(String),
    #[error("`{}` is no version: it does not begin with a number", .0.escape_debug())]
    NoNumber(String),
    #[error(transparent)]
    Version(VersionError),
    #[error(transparent)]
    Identity(IdentityError),
}

impl Classified for DependencyError {
    fn class(&self) -> ErrorClass {
        ErrorClass::Malformed
    }

    fn hint(&self) -> Option<String> {
        Some("a dependency is written name, name=1.2, name>=1.2, name~1.2, name@tag or !name".to_owned())
    }
}

/// As much of a text as fits into a message.
fn short(text: &str) -> String {
    text.chars().take(100).collect()
}

/// The signs that an operator begins with. Bytes are compared: an index holds a hundred thousand names.
fn ends_name(byte: u8) -> bool {
    matches!(byte, b'<' | b'=' | b'>' | b'~')
}

/// A name is any run of visible ASCII without the signs that end it: real ones hold `/`, `:`, `[` and `!`.
fn check_name(name: &str) -> Result<(), &'static str> {
    if name.is_empty() {
        return Err("is empty");
    }
    if !name.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err("holds a blank, a control character or one outside ASCII");
    }
    if name.starts_with('!') {
        return Err("begins with a second `!`");
    }
    Ok(())
}

/// Serde for types that are written as their text.
macro_rules! serde_as_text {
    ($($name:ty),+) => {$(
        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'_, str> as serde::Deserialize>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    )+};
}

serde_as_text!(Version, Dependency, Provide, Identity);
