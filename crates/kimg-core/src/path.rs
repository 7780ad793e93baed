//! Paths inside an image.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// An absolute, normalised path inside an image: `/`, or `/` and names joined by `/`.
///
/// No name is empty, `.` or `..`, and none holds a NUL. It never becomes a path on this
/// machine's disk. Cheap to clone. Ordered by its bytes, the order in which layers are written.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ImagePath(Arc<str>);

/// Why a text is no path inside an image.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ImagePathError {
    /// The path climbs out of the root, or holds a `..` that can't be taken away before links are known.
    #[error("path `{0}` holds `..`")]
    ParentComponent(String),
    /// A NUL or another control character.
    #[error("path {0:?} holds a control character")]
    ControlCharacter(String),
    /// Longer than Linux allows (`PATH_MAX`, 4096 bytes with the final NUL).
    #[error("path of {0} bytes is longer than the 4095 that Linux allows")]
    TooLong(usize),
    /// A name longer than Linux file systems allow (`NAME_MAX`, 255 bytes).
    #[error("path `{0}` holds a name longer than 255 bytes")]
    NameTooLong(String),
}

impl ImagePath {
    /// The root folder, `/`.
    pub fn root() -> Self {
        Self(Arc::from("/"))
    }

    /// Reads a path, with or without a leading slash; `./`, `//` and a trailing slash are taken away, `..` is refused.
    pub fn new(text: &str) -> Result<Self, ImagePathError> {
        if text.len() > 4095 {
            return Err(ImagePathError::TooLong(text.len()));
        }
        if text.chars().any(|c| c.is_ascii_control()) {
            return Err(ImagePathError::ControlCharacter(text.to_owned()));
        }
        let mut clean = String::with_capacity(text.len() + 1);
        for name in text.split('/') {
            match name {
                "" | "." => {}
                ".." => return Err(ImagePathError::ParentComponent(text.to_owned())),
                _ if name.len() > 255 => return Err(ImagePathError::NameTooLong(text.to_owned())),
                _ => {
                    clean.push('/');
                    clean.push_str(name);
                }
            }
        }
        if clean.is_empty() {
            clean.push('/');
        }
        Ok(Self(Arc::from(clean)))
    }

    /// The path as text, with its leading slash.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The path as archives write it: without the leading slash; empty for the root.
    pub fn relative(&self) -> &str {
        &self.0[1..]
    }

    /// Whether this is `/`.
    pub fn is_root(&self) -> bool {
        self.0.len() == 1
    }

    /// The names between the slashes.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.split('/').filter(|name| !name.is_empty())
    }

    /// The last name; `None` for the root.
    pub fn file_name(&self) -> Option<&str> {
        self.0.rsplit('/').next().filter(|name| !name.is_empty())
    }

    /// The folder that holds this path; `None` for the root.
    pub fn parent(&self) -> Option<Self> {
        if self.is_root() {
            return None;
        }
        let cut = self.0.rfind('/').unwrap_or(0).max(1);
        Some(Self(Arc::from(&self.0[..cut])))
    }

    /// Every folder above this path, from the root down; the root itself is the first.
    pub fn ancestors(&self) -> Vec<Self> {
        let mut all: Vec<Self> = std::iter::successors(self.parent(), Self::parent).collect();
        all.reverse();
        all
    }

    /// This path with a relative one behind it, under the rules of [`ImagePath::new`].
    pub fn join(&self, relative: &str) -> Result<Self, ImagePathError> {
        Self::new(&format!("{}/{relative}", self.0))
    }

    /// Whether this path is `folder` or lies below it.
    pub fn is_below(&self, folder: &Self) -> bool {
        folder.is_root()
            || self == folder
            || (self.0.starts_with(folder.as_str()) && self.0.as_bytes()[folder.0.len()] == b'/')
    }
}

impl fmt::Display for ImagePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for ImagePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

impl Borrow<str> for ImagePath {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl std::str::FromStr for ImagePath {
    type Err = ImagePathError;

    fn from_str(text: &str) -> Result<Self, ImagePathError> {
        Self::new(text)
    }
}

impl Serialize for ImagePath {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for ImagePath {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::new(&String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn path(text: &str) -> ImagePath {
        ImagePath::new(text).unwrap()
    }

    #[test]
    fn archives_and_people_write_the_same_path_in_many_ways() {
        for text in ["usr/bin/x", "/usr/bin/x", "./usr//bin/./x", "/usr/bin/x/"] {
            assert_eq!(path(text).as_str(), "/usr/bin/x");
        }
        assert!(path("").is_root() && path("./").is_root());
    }

    #[test]
    fn what_could_leave_the_root_is_refused() {
        assert!(matches!(ImagePath::new("a/../../etc"), Err(ImagePathError::ParentComponent(_))));
        assert!(matches!(ImagePath::new("a\0b"), Err(ImagePathError::ControlCharacter(_))));
        assert!(matches!(ImagePath::new(&"a".repeat(256)), Err(ImagePathError::NameTooLong(_))));
        assert!(matches!(ImagePath::new(&"a/".repeat(4000)), Err(ImagePathError::TooLong(8000))));
    }

    #[test]
    fn ancestors_go_from_the_root_down() {
        let names: Vec<_> = path("/usr/lib/x").ancestors().iter().map(ToString::to_string).collect();
        assert_eq!(names, ["/", "/usr", "/usr/lib"]);
        assert!(path("/usr/lib").is_below(&path("/usr")) && !path("/usrx").is_below(&path("/usr")));
    }

    proptest! {
        #[test]
        fn any_text_is_refused_or_reads_back_the_same(text in ".{0,60}") {
            if let Ok(path) = ImagePath::new(&text) {
                prop_assert_eq!(&ImagePath::new(path.as_str()).unwrap(), &path);
                prop_assert!(path.as_str().starts_with('/'));
                prop_assert!(path.names().all(|n| n != ".." && n != "."));
            }
        }
    }
}
