//! Addresses of repositories and programs, as people write them.
//!
//! An address may carry a name and a password (`https://me:secret@host/…`). They are for the host alone: whatever is
//! shown or logged, here and in errors, has `***` in their place, and nothing in the cache is named after them.

use std::borrow::Cow;
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use kimg_core::{Classified, ErrorClass};

/// A folder or file on this machine, or an HTTP address.
///
/// What it displays, as text and for debugging, holds no password.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Location {
    /// A path on this machine.
    Path(PathBuf),
    /// An address that begins with `https://` or `http://`, with its name and password if it has them.
    Remote(String),
}

/// A text that is no location; a password in it is not repeated.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a folder, `file://`, `http://` or `https://` address: {why}")]
pub struct LocationError {
    text: String,
    why: &'static str,
}

impl Classified for LocationError {
    fn class(&self) -> ErrorClass {
        ErrorClass::Usage
    }
}

impl Location {
    /// Whether it is reached over the network.
    pub fn is_remote(&self) -> bool {
        matches!(self, Self::Remote(_))
    }

    /// The path, if it is one of this machine.
    pub fn as_path(&self) -> Option<&Path> {
        match self {
            Self::Path(path) => Some(path),
            Self::Remote(_) => None,
        }
    }

    /// A relative path is taken from this folder on.
    pub fn relative_to(self, folder: &Path) -> Self {
        match self {
            Self::Path(path) => Self::Path(folder.join(path)),
            remote @ Self::Remote(_) => remote,
        }
    }

    /// The location of what is called `name` below this one; `name` has been checked by the caller.
    pub fn join(&self, name: &str) -> Self {
        self.below(&[name])
    }

    /// The location of something below this one. `names` are joined by `/`; the caller has made sure
    /// that none of them is `..` or holds a `/`.
    pub(crate) fn below(&self, names: &[&str]) -> Self {
        match self {
            Self::Path(path) => Self::Path(names.iter().fold(path.clone(), |all, name| all.join(name))),
            Self::Remote(url) => {
                let base = url.trim_end_matches('/').to_owned();
                Self::Remote(names.iter().fold(base, |all, name| format!("{all}/{}", in_path(name))))
            }
        }
    }

    /// What it is known by in the cache: the address without name and password, so that a new password finds what the
    /// old one fetched.
    pub(crate) fn identity(&self) -> String {
        match self {
            Self::Path(path) => {
                std::path::absolute(path).unwrap_or_else(|_| path.clone()).display().to_string()
            }
            Self::Remote(url) => without_credentials(url, "").into_owned(),
        }
    }

    /// `https://host:port`: what is dead when the host can't be reached.
    pub(crate) fn origin(&self) -> Option<String> {
        let Self::Remote(url) = self else { return None };
        let url = without_credentials(url, "");
        let (scheme, rest) = url.split_once("://")?;
        let host = rest.split(['/', '?', '#']).next()?;
        Some(format!("{scheme}://{}", host.to_ascii_lowercase()))
    }
}

/// A name as it stands in an address. `+` and `~` stand in versions, and mirrors want them as they are.
fn in_path(name: &str) -> String {
    name.chars().fold(String::new(), |mut all, c| {
        match c {
            '%' => all.push_str("%25"),
            '?' => all.push_str("%3F"),
            '#' => all.push_str("%23"),
            other => all.push(other),
        }
        all
    })
}

/// An address as it may be shown: `https://***@host/…`.
pub(crate) fn redacted(url: &str) -> Cow<'_, str> {
    without_credentials(url, "***@")
}

fn without_credentials<'a>(url: &'a str, instead: &str) -> Cow<'a, str> {
    let Some((scheme, rest)) = url.split_once("://") else { return url.into() };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    match rest[..end].rfind('@') {
        Some(at) => format!("{scheme}://{instead}{}", &rest[at + 1..]).into(),
        None => url.into(),
    }
}

/// The same for a text that is no address: where a password ends in it can't be told, so everything up to the last
/// `@` goes.
fn redacted_text(text: &str) -> String {
    match (text.split_once("://"), text.rfind('@')) {
        (Some((scheme, _)), Some(at)) if at > scheme.len() => format!("{scheme}://***@{}", &text[at + 1..]),
        _ => text.to_owned(),
    }
}

impl FromStr for Location {
    type Err = LocationError;

    fn from_str(text: &str) -> Result<Self, LocationError> {
        let error = |why| LocationError { text: redacted_text(text), why };
        if text.is_empty() {
            return Err(error("it is empty"));
        }
        if text.chars().any(char::is_control) {
            return Err(error("it holds a control character"));
        }
        match text.split_once("://") {
            Some(("https" | "http", rest)) => {
                let authority = rest.split('/').next().unwrap_or("");
                let host = authority.rsplit('@').next().unwrap_or("");
                if host.is_empty() || host.starts_with(':') {
                    return Err(error("the host is missing"));
                }
                // In `[::1]:80` the port stands behind the bracket.
                let port = host.rsplit(']').next().and_then(|after| after.split_once(':'));
                if port.is_some_and(|(_, port)| !port.is_empty() && port.parse::<u16>().is_err()) {
                    return Err(error(
                        "the port is not a number (`/`, `@` and `:` in a password are %2F, %40, %3A)",
                    ));
                }
                if rest.contains(['?', '#']) {
                    return Err(error("it holds a query"));
                }
                Ok(Self::Remote(text.trim_end_matches('/').to_owned()))
            }
            Some(("file", path)) if path.starts_with('/') => Ok(Self::Path(PathBuf::from(path))),
            Some(("file", _)) => Err(error("the path after `file://` is not absolute")),
            Some(_) => Err(error("only file, http and https are known")),
            None => Ok(Self::Path(PathBuf::from(text))),
        }
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(path) => path.display().fmt(f),
            Self::Remote(url) => f.write_str(&redacted(url)),
        }
    }
}

impl fmt::Debug for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(path) => f.debug_tuple("Path").field(path).finish(),
            Self::Remote(url) => f.debug_tuple("Remote").field(&redacted(url)).finish(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_file_addresses_and_mirrors_are_read() {
        assert_eq!("repo".parse(), Ok(Location::Path("repo".into())));
        assert_eq!("file:///srv/repo".parse(), Ok(Location::Path("/srv/repo".into())));
        let mirror: Location = "https://mirror.example/alpine/".parse().unwrap();
        assert_eq!(
            mirror.below(&["armv7", "APKINDEX.tar.gz"]).to_string(),
            "https://mirror.example/alpine/armv7/APKINDEX.tar.gz"
        );
    }

    #[test]
    fn what_can_not_be_meant_is_refused() {
        for text in ["", "ftp://x/y", "https://", "file://relative", "https://x/?a=b", "https://me@", "a\nb"]
        {
            assert!(text.parse::<Location>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_relative_folder_is_taken_from_the_settings_file() {
        let location = "repo".parse::<Location>().unwrap().relative_to(Path::new("/project"));
        assert_eq!(location, Location::Path("/project/repo".into()));
    }

    #[test]
    fn a_password_is_shown_nowhere_and_names_nothing() {
        let mirror: Location = "https://me:hunter2@mirror.example:8443/alpine/@edge".parse().unwrap();
        assert_eq!(mirror.to_string(), "https://***@mirror.example:8443/alpine/@edge");
        assert_eq!(format!("{mirror:?}"), "Remote(\"https://***@mirror.example:8443/alpine/@edge\")");
        assert_eq!(mirror.identity(), "https://mirror.example:8443/alpine/@edge");
        assert_eq!(mirror.origin().unwrap(), "https://mirror.example:8443");
        for text in [
            "ftp://me:hunter2@x/y",
            "https://me:hunt/er2@x/y",
            "https://me:hunter2@",
            "https://me:hunter2@x/?q",
        ] {
            let error = text.parse::<Location>().unwrap_err();
            assert!(!format!("{error} {error:?}").contains("er2"), "{error}");
        }
    }

    #[test]
    fn a_name_stays_one_name_in_an_address() {
        let mirror: Location = "http://[::1]:8080/alpine".parse().unwrap();
        assert_eq!(
            mirror.join("a+b~1?x#y%2f.apk").to_string(),
            "http://[::1]:8080/alpine/a+b~1%3Fx%23y%252f.apk"
        );
    }
}
