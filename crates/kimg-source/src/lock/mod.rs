//! `kimg.lock`: every input of the images, pinned.
//!
//! It names, for each image (a variant on a platform), the packages it is made of, and for each package its
//! version, identity (the SHA-1 of its control member, as indexes name it), size and SHA-256. Programs of one's
//! own and the packer stand beside them, and how new the indexes were. A build follows the lock where it can;
//! `--locked` refuses to do anything else.
//!
//! The file is TOML, described field by field in `docs/kimg.lock.md` and by the types below; what kimg writes is
//! sorted, so that the same inputs give the same text.

mod change;
mod decision;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use fs_err as fs;
use kimg_core::{Classified, Digest, ErrorClass, Platform};
use serde::{Deserialize, Serialize};

pub use change::{Change, Move};
pub use decision::{LockedLayer, LockedPacking};

/// The format of the file. Older ones are read too: version 1 had no `[[index]]`, version 2 no `[[packing]]` and
/// `[[layer]]`, and the options of the packer beside its version. Version 4 is one with programs that were compiled, and is
/// written only then.
const VERSION: u32 = 4;
const WITHOUT_COMPILED: u32 = 3;
const OLDEST: u32 = 1;

/// The lock as it stands in the file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lock {
    version: u32,
    /// The packer whose results are in the images, if one was used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub packer: Option<String>,
    /// How new the indexes of mirrors were.
    #[serde(default, rename = "index", skip_serializing_if = "Vec::is_empty")]
    pub indexes: Vec<LockedIndex>,
    /// The images, by variant and platform.
    #[serde(default, rename = "image", skip_serializing_if = "Vec::is_empty")]
    pub images: Vec<LockedImage>,
    /// Every package that an image names, once for each platform.
    #[serde(default, rename = "package", skip_serializing_if = "Vec::is_empty")]
    pub packages: Vec<LockedPackage>,
    /// Programs of one's own.
    #[serde(default, rename = "program", skip_serializing_if = "Vec::is_empty")]
    pub programs: Vec<LockedProgram>,
    /// How programs are packed, where `kimg tune` has measured it.
    #[serde(default, rename = "packing", skip_serializing_if = "Vec::is_empty")]
    pub packings: Vec<LockedPacking>,
    /// How layers are compressed, where `kimg tune` has measured it.
    #[serde(default, rename = "layer", skip_serializing_if = "Vec::is_empty")]
    pub layers: Vec<LockedLayer>,
}

/// `[[index]]`: an index that is older than this one was rolled back.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LockedIndex {
    /// The repository's address; folders of this machine are not named.
    pub repository: String,
    /// The platform it is for.
    pub platform: Platform,
    /// When the newest package of the index was built, in seconds since 1970.
    pub newest: u64,
    /// What the repository says of itself: `v3.22.1-130-g…`.
    pub description: String,
}

/// `[[image]]`
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LockedImage {
    /// `cni`
    pub variant: String,
    /// `linux/arm/v7`
    pub platform: Platform,
    /// `name-version` of each package, sorted.
    pub packages: Vec<String>,
}

/// `[[package]]`
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LockedPackage {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// The platform it is for.
    pub platform: Platform,
    /// `Q1…`, as the index names it.
    pub identity: String,
    /// The size of the package file in bytes.
    pub size: u64,
    /// The SHA-256 of the package file.
    pub sha256: Digest,
}

/// `[[program]]`
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LockedProgram {
    /// Its name.
    pub name: String,
    /// The platform it is for.
    pub platform: Platform,
    /// The SHA-256 of the file or archive.
    pub sha256: Digest,
    /// Its address, if it has one and its SHA-256 was not said but taken on first use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// The compilers, if it was compiled out of that: `go1.19.8, zig 0.17.1`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub toolchain: Option<String>,
    /// The SHA-256 of the program that was compiled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<Digest>,
}

/// Why a lock can't be used.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Reading or writing it failed.
    #[error("the lock file")]
    Disk(#[source] std::io::Error),
    /// It is not there, and has to be.
    #[error("there is no lock at {0}")]
    Missing(String),
    /// It is no lock.
    #[error("{path} can't be read as a lock: {why}")]
    Malformed {
        /// The file.
        path: String,
        /// Why.
        why: String,
    },
    /// It was written by a later kimg.
    #[error("{path} has version {found}; this kimg knows {OLDEST} to {VERSION}")]
    Version {
        /// The file.
        path: String,
        /// Its version.
        found: u32,
    },
    /// What would be built is not what is locked.
    #[error("the inputs are not the locked ones:{}", list(changes))]
    Stale {
        /// What differs.
        changes: Vec<Change>,
    },
}

fn list(changes: &[Change]) -> String {
    changes.iter().fold(String::new(), |all, change| format!("{all}\n  {change}"))
}

impl Classified for LockError {
    fn class(&self) -> ErrorClass {
        match self {
            Self::Disk(_) => ErrorClass::LocalIo,
            Self::Malformed { .. } | Self::Version { .. } => ErrorClass::Malformed,
            Self::Missing(_) | Self::Stale { .. } => ErrorClass::Stale,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Missing(_) => Some("`kimg lock` writes one".into()),
            Self::Stale { .. } => Some("`kimg lock --update` takes the new inputs".into()),
            _ => None,
        }
    }
}

impl Lock {
    /// An empty lock.
    pub fn new() -> Self {
        Self { version: WITHOUT_COMPILED, ..Self::default() }
    }

    /// Reads a lock; `None` when the file is not there.
    pub fn read(path: &Path) -> Result<Option<Self>, LockError> {
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(LockError::Disk(error)),
        };
        let malformed = |why: String| LockError::Malformed { path: path.display().to_string(), why };
        let mut lock: Self = toml::from_str(&text).map_err(|e| malformed(e.message().to_owned()))?;
        if !(OLDEST..=VERSION).contains(&lock.version) {
            return Err(LockError::Version { path: path.display().to_string(), found: lock.version });
        }
        if let Some(packer) = lock.packer.as_mut().filter(|_| lock.version < 3) {
            *packer = packer.split(' ').take(2).collect::<Vec<_>>().join(" ");
        }
        let known: BTreeSet<_> = lock.packages.iter().map(|p| (p.platform, p.id())).collect();
        for image in &lock.images {
            if let Some(lost) =
                image.packages.iter().find(|id| !known.contains(&(image.platform, (*id).clone())))
            {
                return Err(malformed(format!(
                    "{lost} of {} for {} is not pinned",
                    image.variant, image.platform
                )));
            }
        }
        Ok(Some(lock))
    }

    /// The lock as text: the same lock, the same text.
    pub fn to_text(&self) -> String {
        let mut sorted = self.clone();
        sorted.version = self.needed_version();
        sorted.indexes.sort();
        sorted.images.sort();
        sorted.packages.sort();
        sorted.programs.sort();
        sorted.packings.sort();
        sorted.layers.sort();
        let body = toml::to_string(&sorted).unwrap_or_default();
        format!(
            "# Every input of the images, pinned. Written by kimg: `kimg lock --update` takes newer ones.\n{body}"
        )
    }

    /// Writes the lock whole or not at all, and gives whether it did: a lock that pins the same already is left
    /// alone, even if the indexes are newer by now.
    pub fn write(&self, path: &Path) -> Result<bool, LockError> {
        let text = self.to_text();
        let without_indexes = |lock: &Self| Self { indexes: Vec::new(), ..lock.clone() }.to_text();
        if let Ok(Some(old)) = Self::read(path)
            && old.version == self.needed_version()
            && without_indexes(&old) == without_indexes(self)
        {
            return Ok(false);
        }
        let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let mut file = tempfile::NamedTempFile::new_in(folder).map_err(LockError::Disk)?;
        std::io::Write::write_all(&mut file, text.as_bytes()).map_err(LockError::Disk)?;
        let readable = std::os::unix::fs::PermissionsExt::from_mode(0o644);
        file.as_file().set_permissions(readable).map_err(LockError::Disk)?;
        file.persist(path).map_err(|e| LockError::Disk(e.error))?;
        Ok(true)
    }

    /// The SHA-256 that a program of one's own is locked with.
    pub fn program(&self, name: &str, platform: Platform) -> Option<Digest> {
        self.locked_program(name, platform).map(|program| program.sha256)
    }

    /// What is locked for a program of one's own.
    pub fn locked_program(&self, name: &str, platform: Platform) -> Option<&LockedProgram> {
        self.programs.iter().find(|program| program.name == name && program.platform == platform)
    }

    /// What is locked for an image.
    pub fn image(&self, variant: &str, platform: Platform) -> Option<&LockedImage> {
        self.images.iter().find(|image| image.variant == variant && image.platform == platform)
    }

    /// The locked versions for an image, for the solver to keep: its own, and where it has none of a name, those of the
    /// platform's other images.
    pub fn versions(&self, variant: &str, platform: Platform) -> BTreeMap<&str, &str> {
        self.packages_of(variant, platform).into_iter().map(|p| (&*p.name, &*p.version)).collect()
    }

    /// The packages that [`Lock::versions`] is about.
    pub fn packages_of(&self, variant: &str, platform: Platform) -> Vec<&LockedPackage> {
        let of_platform = self.packages.iter().filter(|p| p.platform == platform);
        let mut packages: BTreeMap<_, _> = of_platform.map(|p| (&*p.name, p)).collect();
        if let Some(image) = self.image(variant, platform) {
            packages.extend(self.pinned(image));
        }
        packages.into_values().collect()
    }

    /// Takes the images of a newer lock in the place of one's own, and drops what no image names any more.
    pub fn merge(&mut self, newer: &Self) {
        let same = |a: &LockedImage, b: &LockedImage| a.variant == b.variant && a.platform == b.platform;
        self.images.retain(|old| !newer.images.iter().any(|new| same(old, new)));
        self.images.extend(newer.images.iter().cloned());
        self.packages.retain(|old| {
            !newer.packages.iter().any(|new| new.platform == old.platform && new.id() == old.id())
        });
        self.packages.extend(newer.packages.iter().cloned());
        for index in &newer.indexes {
            let same =
                |old: &&mut LockedIndex| old.repository == index.repository && old.platform == index.platform;
            match self.indexes.iter_mut().find(same) {
                Some(old) if old.newest > index.newest => {}
                Some(old) => old.clone_from(index),
                None => self.indexes.push(index.clone()),
            }
        }
        let named: BTreeSet<_> =
            self.images.iter().flat_map(|i| i.packages.iter().map(|id| (i.platform, id.clone()))).collect();
        self.packages.retain(|p| named.contains(&(p.platform, p.id())));
        self.programs.retain(|old| {
            !newer.programs.iter().any(|new| new.platform == old.platform && new.name == old.name)
        });
        self.programs.extend(newer.programs.iter().cloned());
        if newer.packer.is_some() {
            self.packer.clone_from(&newer.packer);
        }
        self.decide(newer);
        self.version = self.needed_version();
    }

    /// The oldest version of the format that says all of it.
    fn needed_version(&self) -> u32 {
        let compiled = self.programs.iter().any(|program| program.toolchain.is_some());
        if compiled { VERSION } else { WITHOUT_COMPILED }
    }

    /// Takes the decisions of another lock in the place of those about the same programs and layers.
    pub fn decide(&mut self, newer: &Self) {
        self.packings.retain(|old| {
            !newer
                .packings
                .iter()
                .any(|new| new.aims == old.aims && new.platform == old.platform && new.program == old.program)
        });
        self.packings.extend(newer.packings.iter().cloned());
        self.layers.retain(|old| {
            !newer.layers.iter().any(|new| {
                (&new.aims, new.platform, &new.image, &new.variant, &new.layer)
                    == (&old.aims, old.platform, &old.image, &old.variant, &old.layer)
            })
        });
        self.layers.extend(newer.layers.iter().cloned());
    }

    /// The packages of an image by name.
    pub fn pinned<'a>(&'a self, image: &LockedImage) -> BTreeMap<&'a str, &'a LockedPackage> {
        self.packages
            .iter()
            .filter(|p| p.platform == image.platform && image.packages.contains(&p.id()))
            .map(|p| (&*p.name, p))
            .collect()
    }
}

impl LockedPackage {
    /// `name-version`
    pub fn id(&self) -> String {
        format!("{}-{}", self.name, self.version)
    }
}

#[cfg(test)]
pub(crate) mod tests;
