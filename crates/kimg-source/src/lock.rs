//! `kimg.lock`: every input of the images, pinned.
//!
//! It names, for each image (a variant on a platform), the packages it is made of, and for each package its
//! version, identity (the SHA-1 of its control member, as indexes name it), size and SHA-256. Programs of one's
//! own and the packer stand beside them. A build follows the lock where it can; `--locked` refuses to do
//! anything else.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::Path;

use fs_err as fs;
use kimg_core::{Classified, Digest, ErrorClass, Platform};
use serde::{Deserialize, Serialize};

/// The format of the file.
const VERSION: u32 = 1;

/// The lock as it stands in the file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lock {
    version: u32,
    /// The packer whose results are in the images, if one was used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub packer: Option<String>,
    /// The images, by variant and platform.
    #[serde(default, rename = "image", skip_serializing_if = "Vec::is_empty")]
    pub images: Vec<LockedImage>,
    /// Every package that an image names, once for each platform.
    #[serde(default, rename = "package", skip_serializing_if = "Vec::is_empty")]
    pub packages: Vec<LockedPackage>,
    /// Programs of one's own.
    #[serde(default, rename = "program", skip_serializing_if = "Vec::is_empty")]
    pub programs: Vec<LockedProgram>,
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
    #[error("{path} has version {found}; this kimg knows version {VERSION}")]
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

/// One difference between a lock and what would be built.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Change {
    /// An image that the lock does not know.
    NewImage(String, Platform),
    /// A package that the lock does not have.
    Added(Platform, String),
    /// A package that only the lock has.
    Removed(Platform, String),
    /// Another version.
    Moved(Platform, String, String, String),
    /// The same version with other bytes.
    Rebuilt(Platform, String, String, String),
    /// A program of one's own with other bytes.
    Program(Platform, String),
    /// Another packer.
    Packer(String, String),
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NewImage(variant, platform) => write!(f, "{variant} for {platform} is not in the lock"),
            Self::Added(platform, id) => write!(f, "{platform}: {id} is new"),
            Self::Removed(platform, id) => write!(f, "{platform}: {id} is locked, and no longer chosen"),
            Self::Moved(platform, name, old, new) => {
                write!(f, "{platform}: {name} {old} is locked, found {new}")
            }
            Self::Rebuilt(platform, id, old, new) => {
                write!(f, "{platform}: {id} has other bytes: {old} is locked, found {new}")
            }
            Self::Program(platform, name) => write!(f, "{platform}: program {name} has other bytes"),
            Self::Packer(old, new) => write!(f, "packer {old} is locked, found {new}"),
        }
    }
}

impl Lock {
    /// An empty lock.
    pub fn new() -> Self {
        Self { version: VERSION, ..Self::default() }
    }

    /// Reads a lock; `None` when the file is not there.
    pub fn read(path: &Path) -> Result<Option<Self>, LockError> {
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(LockError::Disk(error)),
        };
        let malformed = |why: String| LockError::Malformed { path: path.display().to_string(), why };
        let lock: Self = toml::from_str(&text).map_err(|e| malformed(e.message().to_owned()))?;
        if lock.version != VERSION {
            return Err(LockError::Version { path: path.display().to_string(), found: lock.version });
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
        sorted.version = VERSION;
        sorted.images.sort();
        sorted.packages.sort();
        sorted.programs.sort();
        let body = toml::to_string(&sorted).unwrap_or_default();
        format!(
            "# Every input of the images, pinned. Written by kimg: `kimg lock --update` takes newer ones.\n{body}"
        )
    }

    /// Writes the lock whole or not at all; a lock that says the same already is left alone.
    pub fn write(&self, path: &Path) -> Result<bool, LockError> {
        let text = self.to_text();
        if fs::read_to_string(path).is_ok_and(|old| old == text) {
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

    /// The locked versions for a platform, for the solver to keep.
    pub fn versions(&self, platform: Platform) -> BTreeMap<&str, &str> {
        self.packages.iter().filter(|p| p.platform == platform).map(|p| (&*p.name, &*p.version)).collect()
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
        self.version = VERSION;
    }

    /// What differs between this lock and the inputs of the images that would be built now.
    pub fn compare(&self, now: &Self) -> Vec<Change> {
        let mut changes = BTreeSet::new();
        for image in &now.images {
            let platform = image.platform;
            let Some(locked) =
                self.images.iter().find(|i| i.variant == image.variant && i.platform == platform)
            else {
                changes.insert(Change::NewImage(image.variant.clone(), platform));
                continue;
            };
            let old = self.pinned(locked);
            let new = now.pinned(image);
            for (name, package) in &new {
                match old.get(name) {
                    None => changes.insert(Change::Added(platform, package.id())),
                    Some(before) if before.version != package.version => changes.insert(Change::Moved(
                        platform,
                        (*name).to_owned(),
                        before.version.clone(),
                        package.version.clone(),
                    )),
                    Some(before) if before.identity != package.identity => changes.insert(Change::Rebuilt(
                        platform,
                        package.id(),
                        before.identity.clone(),
                        package.identity.clone(),
                    )),
                    Some(before) if before.sha256 != package.sha256 => changes.insert(Change::Rebuilt(
                        platform,
                        package.id(),
                        before.sha256.to_string(),
                        package.sha256.to_string(),
                    )),
                    Some(_) => false,
                };
            }
            for package in old.iter().filter(|(name, _)| !new.contains_key(*name)).map(|(_, package)| package)
            {
                changes.insert(Change::Removed(platform, package.id()));
            }
        }
        for program in &now.programs {
            let locked =
                self.programs.iter().find(|p| p.platform == program.platform && p.name == program.name);
            if locked.is_none_or(|l| l.sha256 != program.sha256) {
                changes.insert(Change::Program(program.platform, program.name.clone()));
            }
        }
        if let (Some(old), Some(new)) = (&self.packer, &now.packer)
            && old != new
        {
            changes.insert(Change::Packer(old.clone(), new.clone()));
        }
        changes.into_iter().collect()
    }

    fn pinned<'a>(&'a self, image: &LockedImage) -> BTreeMap<&'a str, &'a LockedPackage> {
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
mod tests {
    use super::*;

    fn package(name: &str, version: &str, bytes: &str) -> LockedPackage {
        LockedPackage {
            name: name.into(),
            version: version.into(),
            platform: Platform::ArmV7,
            identity: format!("Q1{bytes}"),
            size: 7,
            sha256: Digest::of(bytes),
        }
    }

    fn lock(packages: &[LockedPackage]) -> Lock {
        let image = LockedImage {
            variant: "cni".into(),
            platform: Platform::ArmV7,
            packages: packages.iter().map(LockedPackage::id).collect(),
        };
        Lock { images: vec![image], packages: packages.to_vec(), ..Lock::new() }
    }

    #[test]
    fn a_lock_is_read_as_it_is_written_and_written_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("kimg.lock");
        assert_eq!(Lock::read(&path).unwrap(), None);
        let lock = lock(&[package("musl", "1.2.2-r9", "a")]);
        assert!(lock.write(&path).unwrap());
        assert!(!lock.write(&path).unwrap());
        assert_eq!(Lock::read(&path).unwrap(), Some(lock));
    }

    #[test]
    fn every_kind_of_change_is_named() {
        let old = lock(&[package("a", "1", "a"), package("b", "1", "b"), package("c", "1", "c")]);
        let new = lock(&[package("a", "2", "a2"), package("b", "1", "b2"), package("d", "1", "d")]);
        let said: Vec<_> = old.compare(&new).iter().map(ToString::to_string).collect();
        assert_eq!(
            said,
            [
                "linux/arm/v7: d-1 is new",
                "linux/arm/v7: c-1 is locked, and no longer chosen",
                "linux/arm/v7: a 1 is locked, found 2",
                "linux/arm/v7: b-1 has other bytes: Q1b is locked, found Q1b2",
            ]
        );
        assert_eq!(old.compare(&old), []);
    }

    #[test]
    fn merging_keeps_other_images_and_drops_what_nobody_names() {
        let mut all = lock(&[package("a", "1", "a")]);
        let mut plain = lock(&[package("a", "1", "a"), package("z", "1", "z")]);
        plain.images[0].variant = "plain".into();
        all.merge(&plain);
        assert_eq!((all.images.len(), all.packages.len()), (2, 2));
        all.merge(&lock(&[package("a", "2", "a2")]));
        let ids: BTreeSet<_> = all.packages.iter().map(LockedPackage::id).collect();
        assert_eq!(ids, ["a-1", "a-2", "z-1"].map(str::to_owned).into());
    }

    #[test]
    fn a_lock_that_forgets_a_pin_is_malformed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("kimg.lock");
        fs::write(&path, "version = 1\n[[image]]\nvariant = 'cni'\nplatform = 'armv7'\npackages = ['a-1']\n")
            .unwrap();
        assert!(matches!(Lock::read(&path), Err(LockError::Malformed { .. })));
        fs::write(&path, "version = 9\n").unwrap();
        assert!(matches!(Lock::read(&path), Err(LockError::Version { found: 9, .. })));
    }
}
