//! Which packages each image is made of: those of its lock where that still answers what is asked for, or else what
//! the solver finds best.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use kimg_apk::{Index, Record, Solution, Solver, Version};
use kimg_core::{Digest, Platform};
use kimg_source::lock::{Lock, LockedImage, LockedPackage};

use super::{LockUse, PlatformInputs};
use crate::error::BuildError;
use crate::project::Project;
use crate::wishes::{self, Wishes};

/// The packages of one image.
#[derive(Debug)]
pub(crate) struct Choice {
    /// Its place in [`Project::variants`].
    pub(crate) variant: usize,
    pub(crate) platform: Platform,
    pub(crate) wishes: Wishes,
    pub(crate) solution: Solution,
}

/// Chooses the packages of every image, variants first.
///
/// `kept` gives the record of a locked package that lies in the cache, for those that no index names any more.
pub(super) fn choose(
    project: &Project,
    platforms: &BTreeMap<Platform, PlatformInputs>,
    locked: Option<&Lock>,
    lock_use: &LockUse,
    kept: &dyn Fn(&LockedPackage) -> Option<Record>,
) -> Result<Vec<Choice>, BuildError> {
    let locked = locked.filter(|_| !matches!(lock_use, LockUse::None));
    let mut chosen = Vec::new();
    for (platform, inputs) in platforms {
        let solver = Solver::for_arch(&inputs.indexes, platform.alpine());
        let own: Vec<_> = project.programs_for(*platform).collect();
        for (place, variant) in project.variants.iter().enumerate() {
            let name = &variant.name;
            let follow = matches!(lock_use, LockUse::Follow(_) | LockUse::Locked(_));
            if let Some(lock) = locked.filter(|_| follow)
                && let Some(image) = lock.image(name, *platform)
            {
                let only = restricted(&inputs.indexes, lock, image, kept);
                let solver = Solver::for_arch(&only, platform.alpine());
                let keep = preferred(lock, lock_use, name, *platform);
                // What does not go any more is told by the choice among everything.
                if let Ok(wishes) = wishes::wishes(variant, *platform, &solver, &own)
                    && let Ok(solution) = solver.solve(&wishes.world, &keep)
                    && is_what_is_locked(&solution, image)
                {
                    chosen.push(Choice { variant: place, platform: *platform, wishes, solution });
                    continue;
                }
            }
            let keep = locked.map(|lock| preferred(lock, lock_use, name, *platform)).unwrap_or_default();
            let with_kept = locked.and_then(|lock| {
                let locked = lock.packages_of(name, *platform);
                let stays = |package: &&LockedPackage| keep.iter().any(|(name, _)| *name == package.name);
                with_dropped(&inputs.indexes, locked.into_iter().filter(stays), kept)
            });
            let with_kept = with_kept.as_deref().map(|all| Solver::for_arch(all, platform.alpine()));
            let solver = with_kept.as_ref().unwrap_or(&solver);
            let wishes = wishes::wishes(variant, *platform, solver, &own)?;
            let solution = solver.solve(&wishes.world, &keep).map_err(|source| BuildError::Solve {
                variant: name.clone(),
                platform: *platform,
                source: Box::new(source),
            })?;
            chosen.push(Choice { variant: place, platform: *platform, wishes, solution });
        }
    }
    chosen.sort_by_key(|choice| (choice.variant, choice.platform));
    Ok(chosen)
}

fn identity(record: &Record) -> String {
    record.identity.as_ref().map(ToString::to_string).unwrap_or_default()
}

/// The repositories, and behind them one more with those locked packages that no index names any more, as far as they
/// are in the cache; `None` when there is none.
fn with_dropped<'a>(
    indexes: &[kimg_apk::Repository],
    locked: impl Iterator<Item = &'a LockedPackage>,
    kept: &dyn Fn(&LockedPackage) -> Option<Record>,
) -> Option<Vec<kimg_apk::Repository>> {
    let mut missing: BTreeMap<&str, &LockedPackage> =
        locked.map(|package| (&*package.name, package)).collect();
    for record in indexes.iter().flat_map(|repository| &repository.index.packages) {
        if missing.get(&*record.name).is_some_and(|package| package.version == record.version.as_str()) {
            missing.remove(&*record.name);
        }
    }
    let packages: Vec<_> = missing.into_values().filter_map(kept).collect();
    (!packages.is_empty()).then(|| [indexes, &[of_cache(packages)]].concat())
}

fn of_cache(packages: Vec<Record>) -> kimg_apk::Repository {
    let index = Arc::new(Index { packages, ..Index::default() });
    kimg_apk::Repository { name: "the cache".into(), tag: None, index }
}

/// The repositories with nothing in them but what is locked for an image, and behind them one more with what only the
/// cache still has.
fn restricted(
    indexes: &[kimg_apk::Repository],
    lock: &Lock,
    image: &LockedImage,
    kept: &dyn Fn(&LockedPackage) -> Option<Record>,
) -> Vec<kimg_apk::Repository> {
    let pinned = lock.pinned(image);
    let is_pinned = |record: &Record| {
        pinned.get(&*record.name).is_some_and(|locked| {
            locked.version == record.version.as_str()
                && locked.size == record.size
                && locked.identity == identity(record)
        })
    };
    let mut found = BTreeSet::new();
    let mut all: Vec<_> = indexes
        .iter()
        .map(|repository| {
            let packages: Vec<_> =
                repository.index.packages.iter().filter(|record| is_pinned(record)).cloned().collect();
            found.extend(packages.iter().map(|record| record.name.clone()));
            let index = Index { packages, ..Index::default() };
            kimg_apk::Repository { index: Arc::new(index), ..repository.clone() }
        })
        .collect();
    let packages: Vec<_> = pinned
        .values()
        .filter(|locked| !found.contains(&locked.name))
        .filter_map(|locked| kept(locked))
        .collect();
    if !packages.is_empty() {
        all.push(of_cache(packages));
    }
    all
}

fn is_what_is_locked(solution: &Solution, image: &LockedImage) -> bool {
    let found: BTreeSet<_> = solution.packages.iter().map(|package| package.record.id()).collect();
    found == image.packages.iter().cloned().collect()
}

/// The versions to keep where that is possible.
fn preferred(lock: &Lock, lock_use: &LockUse, variant: &str, platform: Platform) -> Vec<(String, Version)> {
    let moves = |name: &str| match lock_use {
        LockUse::None => true,
        LockUse::Follow(_) | LockUse::Locked(_) => false,
        LockUse::Update { only, .. } => only.is_empty() || only.contains(name),
    };
    let versions = lock.versions(variant, platform).into_iter().filter(|(name, _)| !moves(name));
    versions.filter_map(|(name, version)| Some((name.to_owned(), version.parse().ok()?))).collect()
}

/// The lock as far as the indexes tell it: SHA-256s are taken from the old lock where the identity fits.
pub(super) fn as_lock(project: &Project, chosen: &[Choice], locked: &Lock) -> Lock {
    let mut lock = Lock::new();
    for choice in chosen {
        let mut ids = Vec::new();
        for package in &choice.solution.packages {
            let record = &package.record;
            ids.push(record.id());
            let identity = identity(record);
            let old =
                locked.packages.iter().find(|p| p.platform == choice.platform && p.identity == identity);
            lock.packages.push(LockedPackage {
                name: record.name.clone(),
                version: record.version.to_string(),
                platform: choice.platform,
                identity,
                size: record.size,
                sha256: old.map_or(Digest::of(""), |p| p.sha256),
            });
        }
        let variant = project.variants[choice.variant].name.clone();
        lock.images.push(LockedImage { variant, platform: choice.platform, packages: ids });
    }
    lock
}
