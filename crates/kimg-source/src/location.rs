//! Addresses of repositories and programs, as people write them.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use kimg_core::{Classified, ErrorClass};

/// A folder or file on this machine, or an HTTP address.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Location {
    /// A path on this machine.
    Path(PathBuf),
    /// An address that begins with `https://` or `http://`.
    Remote(String),
}

/// A text that is no location.
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

    /// A relative path is taken from this folder on.
    pub fn relative_to(self, folder: &Path) -> Self {
        match self {
            Self::Path(path) => Self::Path(folder.join(path)),
            remote @ Self::Remote(_) => remote,
        }
    }

    /// The location of something below this one. `names` are joined by `/`; the caller has made sure
    /// that none of them is `..` or holds a `/`.
    pub(crate) fn below(&self, names: &[&str]) -> Self {
        match self {
            Self::Path(path) => Self::Path(names.iter().fold(path.clone(), |all, name| all.join(name))),
            Self::Remote(url) => {
                Self::Remote(names.iter().fold(url.trim_end_matches('/').to_owned(), |all, name| {
                    // `+` and `~` stand in versions; mirrors want them as they are, `%` and `?` never occur.
                    format!("{all}/{name}")
                }))
            }
        }
    }
}

impl FromStr for Location {
    type Err = LocationError;

    fn from_str(text: &str) -> Result<Self, LocationError> {
        let error = |why| LocationError { text: text.to_owned(), why };
        if text.is_empty() {
            return Err(error("it is empty"));
        }
        if text.chars().any(char::is_control) {
            return Err(error("it holds a control character"));
        }
        match text.split_once("://") {
            Some(("https" | "http", rest)) => {
                let host = rest.split('/').next().unwrap_or("");
                if host.is_empty() {
                    return Err(error("the host is missing"));
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
            Self::Remote(url) => f.write_str(url),
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
        for text in ["", "ftp://x/y", "https://", "file://relative", "https://x/?a=b", "a\nb"] {
            assert!(text.parse::<Location>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_relative_folder_is_taken_from_the_settings_file() {
        let location = "repo".parse::<Location>().unwrap().relative_to(Path::new("/project"));
        assert_eq!(location, Location::Path("/project/repo".into()));
    }
}
