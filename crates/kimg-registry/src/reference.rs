//! Names of images, as people and registries write them: `ghcr.io/acme/kubelet:v1.34.2@sha256:…`.
//!
//! The grammar is that of Docker's `distribution/reference`, with its defaults: a name without a registry is one of
//! `docker.io`, a single word there lies below `library/`, and without a tag or digest the tag is `latest`.

use std::fmt;
use std::str::FromStr;

use kimg_core::{Classified, Digest, ErrorClass};

/// A text that names no image, repository or tag.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not {expected}: {problem}")]
pub struct NameError {
    text: String,
    expected: &'static str,
    problem: &'static str,
}

impl NameError {
    fn new(text: &str, expected: &'static str, problem: &'static str) -> Self {
        Self { text: text.chars().take(200).collect(), expected, problem }
    }
}

impl Classified for NameError {
    fn class(&self) -> ErrorClass {
        ErrorClass::Usage
    }
}

/// A repository of a registry: `ghcr.io/acme/kubelet`, `docker.io/library/alpine`, `localhost:5000/kubelet`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Repository {
    registry: String,
    path: String,
}

/// The registry that a name without one means.
pub const DOCKER_HUB: &str = "docker.io";

/// The longest name, registry and path together.
const MAX_NAME: usize = 255;

impl Repository {
    /// The registry: a host, with its port if one was said.
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// What stands behind the registry: `acme/kubelet`.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The last word of the path: `kubelet`.
    pub fn name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or(&self.path)
    }

    /// The repository `name` below this one.
    ///
    /// # Errors
    /// A name that can't be one, or is too long.
    pub fn below(&self, name: &str) -> Result<Self, NameError> {
        let whole = Self { registry: self.registry.clone(), path: format!("{}/{name}", self.path) };
        whole.check(name)?;
        Ok(whole)
    }

    /// What this tag names in it.
    pub fn tagged(&self, tag: Tag) -> Reference {
        Reference { repository: self.clone(), tag: Some(tag), digest: None }
    }

    /// What has this digest in it.
    pub fn at(&self, digest: Digest) -> Reference {
        Reference { repository: self.clone(), tag: None, digest: Some(digest) }
    }

    fn check(&self, text: &str) -> Result<(), NameError> {
        let error = |problem| Err(NameError::new(text, "a repository", problem));
        if !self.path.split('/').all(is_component) {
            return error(
                "between slashes, lower-case letters and digits are expected, with `.`, `_`, `__` or `-` in between",
            );
        }
        if self.registry.len() + 1 + self.path.len() > MAX_NAME {
            return error("it is longer than 255 characters");
        }
        Ok(())
    }
}

/// `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`
fn is_component(text: &str) -> bool {
    let alphanumeric = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let bytes = text.as_bytes();
    let mut at = 0;
    loop {
        let word = bytes[at..].iter().take_while(|b| alphanumeric(**b)).count();
        if word == 0 {
            return false;
        }
        at += word;
        if at == bytes.len() {
            return true;
        }
        at += match &bytes[at..] {
            [b'_', b'_', ..] => 2,
            [b'.' | b'_', ..] => 1,
            rest => rest.iter().take_while(|b| **b == b'-').count(),
        };
    }
}

/// Words of letters, digits and `-` with dots between them, or an address in brackets; then perhaps a port.
fn is_registry(text: &str) -> bool {
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, Some(port)),
        _ => (text, None),
    };
    let word = |word: &str| {
        !word.is_empty()
            && !word.starts_with('-')
            && !word.ends_with('-')
            && word.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    let address = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let host = match address {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => host.split('.').all(word),
    };
    host && port.is_none_or(|port| port.parse::<u16>().is_ok_and(|number| number > 0))
}

impl FromStr for Repository {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let (first, rest) = match text.split_once('/') {
            Some((first, rest)) if first.contains(['.', ':']) || first.eq_ignore_ascii_case("localhost") => {
                (first, rest)
            }
            _ => (DOCKER_HUB, text),
        };
        if !is_registry(first) {
            return Err(NameError::new(
                text,
                "a repository",
                "the registry is not a host, or its port is no port",
            ));
        }
        let registry = match first.to_ascii_lowercase().as_str() {
            "index.docker.io" | "registry-1.docker.io" => DOCKER_HUB.to_owned(),
            other => other.to_owned(),
        };
        let official = registry == DOCKER_HUB && !rest.contains('/');
        let path = if official { format!("library/{rest}") } else { rest.to_owned() };
        let repository = Self { registry, path };
        repository.check(text)?;
        Ok(repository)
    }
}

impl fmt::Display for Repository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.registry, self.path)
    }
}

/// A tag: up to 128 letters, digits, `_`, `.` and `-`, the first no `.` or `-` (OCI distribution-spec, "Pulling
/// manifests").
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tag(String);

impl Tag {
    /// The tag as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The tag under which registries without the referrers API keep what refers to a digest (OCI distribution-spec,
    /// "Referrers Tag Schema").
    pub fn of_referrers(digest: Digest) -> Self {
        Self(format!("sha256-{}", digest.hex()))
    }

    fn latest() -> Self {
        Self("latest".to_owned())
    }
}

impl FromStr for Tag {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let good = (1..=128).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
            && !text.starts_with(['.', '-']);
        if good {
            return Ok(Self(text.to_owned()));
        }
        let problem = "up to 128 letters, digits, `_`, `.` and `-` are expected, the first no `.` or `-`";
        Err(NameError::new(text, "a tag", problem))
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// A name of an image: a repository with a tag, a digest, or both. Where both stand, the digest decides.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Reference {
    repository: Repository,
    tag: Option<Tag>,
    digest: Option<Digest>,
}

impl Reference {
    /// Where it lies.
    pub fn repository(&self) -> &Repository {
        &self.repository
    }

    /// Its tag, if one was said; `latest` where neither tag nor digest was.
    pub fn tag(&self) -> Option<&Tag> {
        self.tag.as_ref()
    }

    /// Its digest, if one was said.
    pub fn digest(&self) -> Option<Digest> {
        self.digest
    }

    /// By what a registry is asked for it: the digest, or else the tag.
    pub(crate) fn asked_by(&self) -> String {
        match (&self.digest, &self.tag) {
            (Some(digest), _) => digest.to_string(),
            (None, Some(tag)) => tag.to_string(),
            (None, None) => Tag::latest().0,
        }
    }
}

impl FromStr for Reference {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let error = |problem| NameError::new(text, "an image in a registry", problem);
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => {
                let digest = digest
                    .parse()
                    .map_err(|_| error("behind `@`, `sha256:` and 64 lower-case hex digits are expected"))?;
                (rest, Some(digest))
            }
            None => (text, None),
        };
        // A colon before the last slash is that of a port.
        let (name, tag) = match rest.rsplit_once(':') {
            Some((name, tag)) if !tag.contains('/') => (name, Some(tag.parse()?)),
            _ => (rest, None),
        };
        let tag = tag.or_else(|| digest.is_none().then(Tag::latest));
        Ok(Self { repository: name.parse()?, tag, digest })
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.repository)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        if let Some(digest) = &self.digest {
            write!(f, "@{digest}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> String {
        text.parse::<Reference>().unwrap().to_string()
    }

    #[test]
    fn names_get_dockers_defaults() {
        assert_eq!(read("alpine"), "docker.io/library/alpine:latest");
        assert_eq!(read("acme/kubelet:v1"), "docker.io/acme/kubelet:v1");
        assert_eq!(read("index.docker.io/alpine"), "docker.io/library/alpine:latest");
        assert_eq!(read("ghcr.io/acme/kubelet"), "ghcr.io/acme/kubelet:latest");
        assert_eq!(read("localhost/kubelet"), "localhost/kubelet:latest");
        assert_eq!(read("GHCR.io/acme/kubelet"), "ghcr.io/acme/kubelet:latest");
        assert_eq!(read("[::1]:5000/a/b__c.d---e:T_1.x-"), "[::1]:5000/a/b__c.d---e:T_1.x-");
    }

    #[test]
    fn a_port_is_no_tag_and_a_digest_needs_none() {
        let digest = Digest::of("x");
        assert_eq!(read("127.0.0.1:5000/a"), "127.0.0.1:5000/a:latest");
        assert_eq!(read(&format!("host:1/a@{digest}")), format!("host:1/a@{digest}"));
        let both: Reference = format!("host:1/a:t@{digest}").parse().unwrap();
        assert_eq!((both.tag().unwrap().as_str(), both.asked_by()), ("t", digest.to_string()));
    }

    #[test]
    fn what_can_not_be_meant_is_refused() {
        let long = "a".repeat(250);
        for text in [
            "",
            "Host/a",
            ":v1",
            "a:",
            "A",
            "host.io/A",
            "host.io/",
            "host.io/a//b",
            "a_-b",
            "a___b",
            "-a",
            "a-",
            "a/../b",
            "host.io:0/a",
            "host.io:99999/a",
            "host.io:/a",
            "-x.io/a",
            "[::g]/a",
            "a@sha256:12",
            "a@md5:00",
            "a:.t",
            "a b",
            "a?b",
            "host.io/a#b",
            &format!("host.io/{long}"),
            &format!("a:{}", "t".repeat(129)),
            "user:secret@host.io/a",
        ] {
            assert!(text.parse::<Reference>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_repository_below_another_is_checked_too() {
        let repository: Repository = "ghcr.io/acme".parse().unwrap();
        assert_eq!(repository.below("kubelet").unwrap().to_string(), "ghcr.io/acme/kubelet");
        assert_eq!(repository.below("kubelet").unwrap().name(), "kubelet");
        assert!(repository.below("..").is_err() && repository.below("a?b").is_err());
    }

    proptest::proptest! {
        #[test]
        fn whatever_is_read_is_read_again_as_the_same(text in "[a-zA-Z0-9./:@_-]{0,40}") {
            if let Ok(reference) = text.parse::<Reference>() {
                proptest::prop_assert_eq!(reference.to_string().parse(), Ok(reference));
            }
        }
    }
}
