//! What differs between two locks: for `--locked`, which refuses it, and for people who update one.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use kimg_core::Platform;
use serde::Serialize;

use super::Lock;

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
    /// A program that would be compiled by another compiler: program, locked and found.
    Toolchain(Platform, String, String, String),
    /// A program that the same compiler made other bytes of.
    Compiled(Platform, String),
    /// Another packer.
    Packer(String, String),
    /// A program that is packed as was decided, and became something else than it did then.
    Packed(Platform, String),
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
            Self::Toolchain(platform, name, old, new) => {
                write!(f, "{platform}: {name} was compiled with {old}, found {new}")
            }
            Self::Compiled(platform, name) => write!(f, "{platform}: {name} was compiled into other bytes"),
            Self::Packer(old, new) => write!(f, "packer {old} is locked, found {new}"),
            Self::Packed(platform, program) => {
                write!(f, "{platform}: {program} is not packed into the same bytes as when it was tuned")
            }
        }
    }
}

/// What becomes of a package from one lock to the next, with all platforms of which that is true.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Move {
    /// The package.
    pub package: String,
    /// The version it had; `None`: it is new.
    pub from: Option<String>,
    /// The version it has now; `None`: it is gone. The same as `from` where only the bytes are others.
    pub to: Option<String>,
    /// On these platforms.
    pub platforms: BTreeSet<Platform>,
}

/// Version and identity of each package on each platform.
type Versions<'a> = BTreeMap<(&'a str, Platform), BTreeSet<(&'a str, &'a str)>>;

/// A package, the version it had and the one it has.
type Step<'a> = (&'a str, Option<&'a str>, Option<&'a str>);

impl Lock {
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
            let (platform, name) = (program.platform, program.name.clone());
            match locked {
                Some(old) if old.sha256 == program.sha256 => match (&old.toolchain, &program.toolchain) {
                    (Some(before), Some(after)) if before != after => {
                        changes.insert(Change::Toolchain(platform, name, before.clone(), after.clone()));
                    }
                    _ if old.result != program.result => {
                        changes.insert(Change::Compiled(platform, name));
                    }
                    _ => {}
                },
                _ => {
                    changes.insert(Change::Program(platform, name));
                }
            }
        }
        if let (Some(old), Some(new)) = (&self.packer, &now.packer)
            && old != new
        {
            changes.insert(Change::Packer(old.clone(), new.clone()));
        }
        changes.into_iter().collect()
    }

    /// What this lock has for the images of another.
    fn versions_in(&self, images: &Self) -> Versions<'_> {
        let mut all = Versions::new();
        for image in images.images.iter().filter_map(|i| self.image(&i.variant, i.platform)) {
            for (name, package) in self.pinned(image) {
                let place = all.entry((name, image.platform)).or_default();
                place.insert((&*package.version, &*package.identity));
            }
        }
        all
    }

    /// What becomes of each package of the images that `now` has, by name. Several versions of a package on one
    /// platform (images that were locked at different times) are told apart.
    pub fn moves(&self, now: &Self) -> Vec<Move> {
        let (old, new) = (self.versions_in(now), now.versions_in(now));
        let mut moves: BTreeMap<Step<'_>, BTreeSet<Platform>> = BTreeMap::new();
        for place in old.keys().chain(new.keys()).collect::<BTreeSet<_>>() {
            let none = BTreeSet::new();
            let (before, after) = (old.get(place).unwrap_or(&none), new.get(place).unwrap_or(&none));
            let gone: Vec<_> = before.difference(after).map(|(version, _)| *version).collect();
            let come: Vec<_> = after.difference(before).map(|(version, _)| *version).collect();
            for at in 0..gone.len().max(come.len()) {
                let what = (place.0, gone.get(at).copied(), come.get(at).copied());
                moves.entry(what).or_default().insert(place.1);
            }
        }
        let told = moves.into_iter().map(|((package, from, to), platforms)| Move {
            package: package.to_owned(),
            from: from.map(str::to_owned),
            to: to.map(str::to_owned),
            platforms,
        });
        told.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{lock, package};
    use super::*;

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
    fn what_becomes_of_a_package_is_told_once_for_all_platforms() {
        let arm = |packages: &[_]| lock(packages);
        let amd = |packages: &[_]| {
            let mut lock = lock(packages);
            lock.images[0].platform = Platform::Amd64;
            lock.packages.iter_mut().for_each(|p| p.platform = Platform::Amd64);
            lock
        };
        let mut old = arm(&[package("a", "1", "a"), package("b", "1", "b"), package("c", "1", "c")]);
        old.merge(&amd(&[package("a", "1", "a")]));
        let mut new = arm(&[package("a", "2", "a2"), package("b", "1", "b2"), package("d", "3", "d")]);
        new.merge(&amd(&[package("a", "2", "a2")]));
        let told: Vec<_> = old
            .moves(&new)
            .into_iter()
            .map(|m| (m.package, m.from.unwrap_or_default(), m.to.unwrap_or_default(), m.platforms.len()))
            .collect();
        let expected = [("a", "1", "2", 2), ("b", "1", "1", 1), ("c", "1", "", 1), ("d", "", "3", 1)];
        assert_eq!(told, expected.map(|(p, f, t, n)| (p.to_owned(), f.to_owned(), t.to_owned(), n)));
        assert_eq!(old.moves(&old), []);
    }
}
