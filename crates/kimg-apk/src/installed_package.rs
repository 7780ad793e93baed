//! Reads what is installed in a root that is already there: `lib/apk/db/installed` and `etc/apk/world`.
//!
//! The database is an index with more letters: `s:` the tag of the repository a package came from, and behind
//! each record its paths: `F:` a folder, `M:` the folder's owner and mode, `R:` a file in it, `a:` the file's
//! owner and mode, `Z:` its SHA-1. Not here: writing it (`installed_db`).

use kimg_core::{Classified, ErrorClass, ImagePath};

use crate::dependency::{Dependency, DependencyError, Identity};
use crate::index::{Index, IndexError};
use crate::limits::Limits;
use crate::record::Record;

/// A package that is installed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstalledPackage {
    /// What the database says of it; without `s:` and the paths.
    pub record: Record,
    /// The tag of the repository it was installed from, if that had one.
    pub tag: Option<String>,
    /// Its files and links, each with the SHA-1 of its bytes or of its target where the database has one.
    pub files: Vec<(ImagePath, Option<Identity>)>,
}

impl InstalledPackage {
    /// A package of which only this is known: no files, from a repository without a tag.
    pub fn new(record: Record) -> Self {
        Self { record, tag: None, files: Vec::new() }
    }
}

/// Reads the text of `lib/apk/db/installed`.
///
/// ```
/// use kimg_apk::{Limits, read_installed_db};
///
/// let text = b"P:tool\nV:1.2-r0\nD:so:libc.musl-x86_64.so.1\nF:usr/bin\nR:tool\n\n";
/// let installed = read_installed_db(text, &Limits::default())?;
/// assert_eq!((installed[0].record.id().as_str(), installed[0].files[0].0.as_str()), ("tool-1.2-r0", "/usr/bin/tool"));
/// # Ok::<(), kimg_apk::InstalledDbError>(())
/// ```
///
/// # Errors
/// What an index is refused for; a package that can't be used, or is there twice; a file outside a folder or with a
/// path that leads elsewhere; more paths than `limits.entries`.
pub fn read_installed_db(text: &[u8], limits: &Limits) -> Result<Vec<InstalledPackage>, InstalledDbError> {
    // The fields of paths are unknown to an index: each file has up to three of them, a folder two.
    let fields = limits.relations.saturating_add(limits.entries.saturating_mul(3));
    let index = Index::parse(text, &Limits { relations: fields, ..*limits })?;
    if let Some(unusable) = index.unusable.into_iter().next() {
        let (package, reason) = (format!("{}-{}", unusable.name, unusable.version), unusable.reason);
        return Err(InstalledDbError::Unusable { package, reason });
    }
    let mut left = limits.entries;
    let mut names = std::collections::HashSet::new();
    let mut installed = Vec::with_capacity(index.packages.len());
    for record in index.packages {
        if !names.insert(record.name.clone()) {
            return Err(InstalledDbError::Twice { name: record.name });
        }
        installed.push(with_paths(record, &mut left, limits.entries)?);
    }
    Ok(installed)
}

/// Moves what is no field of an index out of the record.
fn with_paths(
    mut record: Record,
    left: &mut usize,
    limit: usize,
) -> Result<InstalledPackage, InstalledDbError> {
    let (mut tag, mut files, mut folder) = (None, Vec::new(), None);
    let id = record.id();
    let path = |path: String, reason: String| InstalledDbError::Path { package: id.clone(), path, reason };
    for (letter, value) in std::mem::take(&mut record.unknown) {
        if matches!(letter, 'F' | 'R') {
            *left = left.checked_sub(1).ok_or(InstalledDbError::TooManyPaths { limit })?;
        }
        match letter {
            's' => tag = Some(value),
            'F' => {
                let read = ImagePath::new(&format!("/{value}"));
                folder = Some(read.map_err(|error| path(value, error.to_string()))?);
            }
            'R' => {
                let Some(folder) = &folder else {
                    return Err(path(value, "it stands before any folder".to_owned()));
                };
                let inside =
                    Some(&value).filter(|name| !name.contains('/') && !["", "."].contains(&name.as_str()));
                let inside =
                    inside.ok_or_else(|| path(value.clone(), "it is no name of a file".to_owned()))?;
                files.push((folder.join(inside).map_err(|error| path(value, error.to_string()))?, None));
            }
            'Z' => {
                let Some((_, sha1)) = files.last_mut() else {
                    return Err(path(value, "it is the checksum of no file".to_owned()));
                };
                *sha1 = Some(value.parse().map_err(|error| path(value.clone(), format!("{error}")))?);
            }
            // Owners and modes: what a root really holds says its own tar.
            'M' | 'a' => {}
            _ => record.unknown.push((letter, value)),
        }
    }
    Ok(InstalledPackage { record, tag, files })
}

/// Reads the text of `etc/apk/world`: wishes with white space between them.
///
/// # Errors
/// The first text that is no wish.
pub fn read_world(text: &str) -> Result<Vec<Dependency>, DependencyError> {
    text.split_ascii_whitespace().map(str::parse).collect()
}

/// Why a text is no database of installed packages.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InstalledDbError {
    /// Its records can't be read.
    #[error("the database of installed packages, read as an index is: {0}")]
    Record(#[from] IndexError),
    /// A package with a version, dependency or provide that can't be read. A repository is read without it;
    /// here it is there.
    #[error("the installed package {package} can't be understood: {reason}")]
    Unusable {
        /// Its name and version.
        package: String,
        /// What is wrong.
        reason: String,
    },
    /// Two packages of one name.
    #[error("the database of installed packages has `{name}` twice")]
    Twice {
        /// The name.
        name: String,
    },
    /// A path that can't be meant.
    #[error("the installed package {package} lists `{}`: {reason}", path.escape_debug())]
    Path {
        /// The package's name and version.
        package: String,
        /// What stands there.
        path: String,
        /// What is wrong with it.
        reason: String,
    },
    /// More paths than allowed.
    #[error("the database of installed packages lists more than {limit} paths")]
    TooManyPaths {
        /// How many are allowed.
        limit: usize,
    },
}

impl Classified for InstalledDbError {
    fn class(&self) -> ErrorClass {
        match self {
            Self::Record(error) => error.class(),
            Self::TooManyPaths { .. } => ErrorClass::Limit,
            Self::Unusable { .. } | Self::Twice { .. } | Self::Path { .. } => ErrorClass::Malformed,
        }
    }
}
