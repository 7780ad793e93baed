//! The first stages: indexes are read, packages chosen, fetched and verified, and held against the lock.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use kimg_apk::{KeyRing, Package, Record, Solution, Solver, Version};
use kimg_core::{Content, Digest, Platform};
use kimg_source::lock::{Lock, LockError, LockedImage, LockedPackage, LockedProgram};
use kimg_source::repository::Reader;
use kimg_source::{Repository, SourceError, keys};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::error::BuildError;
use crate::events::{Event, Events};
use crate::project::{OwnProgram, Packages, Project};
use crate::wishes::{self, Wishes};

/// How a lock takes part in a build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LockUse {
    /// There is none.
    None,
    /// Its versions are kept where the repositories still have them; it is written anew.
    Follow(PathBuf),
    /// Its versions are not looked at; it is written anew.
    Update(PathBuf),
    /// Anything else than what it says is refused.
    Locked(PathBuf),
}

impl LockUse {
    fn path(&self) -> Option<&PathBuf> {
        match self {
            Self::None => None,
            Self::Follow(path) | Self::Update(path) | Self::Locked(path) => Some(path),
        }
    }
}

/// What one image is made of.
#[derive(Debug)]
pub struct ImageInputs {
    /// Its place in [`Project::variants`].
    pub variant: usize,
    /// Its platform.
    pub platform: Platform,
    /// What it asked for.
    pub wishes: Wishes,
    /// The packages that were chosen, by name.
    pub packages: Vec<Arc<Package>>,
    /// Programs of one's own, with their bytes.
    pub programs: Vec<(OwnProgram, Content)>,
}

/// What all images are made of.
#[derive(Debug)]
pub struct Inputs {
    /// One for each variant and platform, variants first.
    pub images: Vec<ImageInputs>,
    /// The Alpine branch of each platform's repositories, as far as it is known.
    pub alpine: Option<String>,
    /// The lock that these inputs would be pinned by.
    pub lock: Lock,
    /// Files and bytes of packages.
    pub fetched: Fetched,
}

/// How much was fetched.
#[derive(Debug, Clone, Copy, Default)]
pub struct Fetched {
    /// Package files.
    pub files: usize,
    /// Their bytes.
    pub bytes: u64,
    /// How many of them were unpacked in an earlier run.
    pub from_cache: usize,
}

struct PlatformInputs {
    keys: KeyRing,
    repositories: Vec<Repository>,
    indexes: Vec<kimg_apk::Repository>,
}

/// Resolves, fetches and verifies everything that the images of a project are made of.
pub async fn gather(
    project: &Project,
    reader: &Reader,
    lock_use: &LockUse,
    events: &dyn Events,
) -> Result<Inputs, BuildError> {
    let locked = read_lock(lock_use)?;
    let (repositories, key_paths) = match &project.packages {
        Packages::Repositories { repositories, keys } => (repositories.clone(), keys.clone()),
        Packages::Sample => crate::sample::lay_out(&reader.cache)?,
    };

    let mut platforms = BTreeMap::new();
    for platform in &project.platforms {
        let mut ring = if key_paths.is_empty() { keys::alpine(*platform)? } else { KeyRing::new() };
        for path in &key_paths {
            keys::add_from(&mut ring, path, *platform)?;
        }
        let mut indexes = Vec::new();
        for repository in &repositories {
            let index = repository.index(*platform, &ring, reader).await?;
            indexes.push(kimg_apk::Repository {
                name: repository.name(),
                tag: repository.tag.clone(),
                index: Arc::new(index),
            });
        }
        platforms
            .insert(*platform, PlatformInputs { keys: ring, repositories: repositories.clone(), indexes });
    }
    let alpine =
        project.alpine.clone().or_else(|| platforms.values().find_map(|p| alpine_branch(&p.indexes)));

    let mut chosen: Vec<(usize, Platform, Wishes, Solution)> = Vec::new();
    for (platform, inputs) in &platforms {
        let solver = Solver::for_arch(&inputs.indexes, platform.alpine());
        let own: Vec<_> = project.programs_for(*platform).collect();
        let keep = preferred(locked.as_ref(), lock_use, *platform);
        for (place, variant) in project.variants.iter().enumerate() {
            let wishes = wishes::wishes(variant, *platform, &solver, &own)?;
            let solution = solver.solve(&wishes.world, &keep).map_err(|source| BuildError::Solve {
                variant: variant.name.clone(),
                platform: *platform,
                source: Box::new(source),
            })?;
            chosen.push((place, *platform, wishes, solution));
        }
    }
    chosen.sort_by_key(|(variant, platform, ..)| (*variant, *platform));
    if let (LockUse::Locked(_), Some(locked)) = (lock_use, &locked) {
        // Before anything is fetched: what the indexes say has to fit already.
        refuse_changes(&locked.compare(&index_lock(project, &chosen, locked)))?;
    }
    let unique: BTreeSet<_> =
        chosen.iter().flat_map(|(_, p, _, s)| s.packages.iter().map(|c| (*p, c.record.id()))).collect();
    let kubernetes: BTreeSet<_> = chosen.iter().map(|(_, _, wishes, _)| wishes.version.to_string()).collect();
    events.event(&Event::Resolved {
        images: chosen.len(),
        packages: unique.len(),
        platforms: platforms.len(),
        kubernetes: kubernetes.into_iter().collect(),
        alpine: alpine.clone(),
    });

    let (packages, fetched) = fetch(&chosen, &platforms, reader, events).await?;
    let mut programs: BTreeMap<Platform, Vec<(OwnProgram, Content)>> = BTreeMap::new();
    let mut lock = Lock::new();
    for platform in &project.platforms {
        for own in project.programs_for(*platform) {
            let (content, digest) = own.program.load(&reader.fetcher, &reader.cache).await?;
            programs.entry(*platform).or_default().push((own.clone(), content));
            lock.programs.push(LockedProgram {
                name: own.program.name.clone(),
                platform: *platform,
                sha256: digest,
            });
        }
    }
    for ((platform, _), package) in &packages {
        lock.packages.push(LockedPackage {
            name: package.record.name.clone(),
            version: package.record.version.to_string(),
            platform: *platform,
            identity: package.record.identity.as_ref().map(ToString::to_string).unwrap_or_default(),
            size: package.record.size,
            sha256: package.digest,
        });
    }
    let mut images = Vec::new();
    for (variant, platform, wishes, solution) in chosen {
        let own: Vec<_> = solution
            .packages
            .iter()
            .filter_map(|c| packages.get(&(platform, c.record.id())).cloned())
            .collect();
        let mut ids: Vec<_> = own.iter().map(|p| p.record.id()).collect();
        ids.sort();
        lock.images.push(LockedImage {
            variant: project.variants[variant].name.clone(),
            platform,
            packages: ids,
        });
        let programs = programs.get(&platform).cloned().unwrap_or_default();
        images.push(ImageInputs { variant, platform, wishes, packages: own, programs });
    }
    if let (LockUse::Locked(_), Some(locked)) = (lock_use, &locked) {
        refuse_changes(&locked.compare(&lock))?;
    }
    one_version_each(project, &images)?;
    Ok(Inputs { images, alpine, lock, fetched })
}

/// Writes the inputs into the lock file, beside the images it has already. Gives whether the file changed.
pub fn write_lock(lock_use: &LockUse, now: &Lock) -> Result<bool, BuildError> {
    let (LockUse::Follow(path) | LockUse::Update(path)) = lock_use else { return Ok(false) };
    let mut all = Lock::read(path)?.unwrap_or_else(Lock::new);
    all.merge(now);
    Ok(all.write(path)?)
}

fn read_lock(lock_use: &LockUse) -> Result<Option<Lock>, BuildError> {
    let Some(path) = lock_use.path() else { return Ok(None) };
    let lock = Lock::read(path)?;
    if lock.is_none() && matches!(lock_use, LockUse::Locked(_)) {
        return Err(LockError::Missing(path.display().to_string()).into());
    }
    Ok(lock)
}

pub(crate) fn refuse_changes(changes: &[kimg_source::lock::Change]) -> Result<(), BuildError> {
    if changes.is_empty() { Ok(()) } else { Err(LockError::Stale { changes: changes.to_vec() }.into()) }
}

fn preferred(locked: Option<&Lock>, lock_use: &LockUse, platform: Platform) -> Vec<(String, Version)> {
    match (locked, lock_use) {
        (Some(lock), LockUse::Follow(_) | LockUse::Locked(_)) => lock
            .versions(platform)
            .into_iter()
            .filter_map(|(name, version)| Some((name.to_owned(), version.parse().ok()?)))
            .collect(),
        _ => Vec::new(),
    }
}

/// The lock as far as the indexes tell it: SHA-256s are taken from the old lock where the identity fits.
fn index_lock(project: &Project, chosen: &[(usize, Platform, Wishes, Solution)], locked: &Lock) -> Lock {
    let mut lock = Lock::new();
    for (variant, platform, _, solution) in chosen {
        let mut ids = Vec::new();
        for choice in &solution.packages {
            let record = &choice.record;
            ids.push(record.id());
            let identity = record.identity.as_ref().map(ToString::to_string).unwrap_or_default();
            let old = locked.packages.iter().find(|p| p.platform == *platform && p.identity == identity);
            lock.packages.push(LockedPackage {
                name: record.name.clone(),
                version: record.version.to_string(),
                platform: *platform,
                identity,
                size: record.size,
                sha256: old.map_or(Digest::of(""), |p| p.sha256),
            });
        }
        let variant = project.variants[*variant].name.clone();
        lock.images.push(LockedImage { variant, platform: *platform, packages: ids });
    }
    lock
}

type Unique<T> = BTreeMap<(Platform, String), T>;

/// At most this many packages are fetched or unpacked at the same time.
const AT_ONCE: usize = 6;

async fn fetch(
    chosen: &[(usize, Platform, Wishes, Solution)],
    platforms: &BTreeMap<Platform, PlatformInputs>,
    reader: &Reader,
    events: &dyn Events,
) -> Result<(Unique<Arc<Package>>, Fetched), BuildError> {
    let mut wanted: Unique<(Repository, Record)> = BTreeMap::new();
    for (_, platform, _, solution) in chosen {
        let Some(inputs) = platforms.get(platform) else { continue };
        for choice in &solution.packages {
            if let Some(repository) = inputs.repositories.get(choice.repository) {
                let place = (*platform, choice.record.id());
                wanted.entry(place).or_insert_with(|| (repository.clone(), choice.record.clone()));
            }
        }
    }
    let total = wanted.len();
    let bytes = wanted.values().map(|(_, record)| record.size).sum();
    events.event(&Event::Fetching { files: total, bytes });

    let gate = Arc::new(Semaphore::new(AT_ONCE));
    let mut tasks = JoinSet::new();
    for ((platform, id), (repository, record)) in wanted {
        let Some(inputs) = platforms.get(&platform) else { continue };
        let (keys, reader, gate) = (inputs.keys.clone(), reader.clone(), Arc::clone(&gate));
        tasks.spawn(async move {
            // The semaphore is never closed: a permit always comes.
            let _permit = gate.acquire().await.ok();
            let fetched = repository.package(&record, platform, &keys, &reader).await?;
            Ok::<_, SourceError>(((platform, id), fetched))
        });
    }
    let mut packages = BTreeMap::new();
    let mut counts = Fetched { files: total, bytes, from_cache: 0 };
    while let Some(joined) = tasks.join_next().await {
        let (place, fetched) =
            joined.map_err(std::io::Error::other).map_err(BuildError::disk("fetching"))??;
        counts.from_cache += usize::from(fetched.from_cache);
        events.event(&Event::FetchedPackage {
            id: place.1.clone(),
            platform: place.0,
            bytes: fetched.package.record.size,
            from_cache: fetched.from_cache,
        });
        packages.insert(place, Arc::new(fetched.package));
    }
    Ok((packages, counts))
}

/// The branch that a repository belongs to, `3.22`: the version of its alpine-release, or its own description.
fn alpine_branch(indexes: &[kimg_apk::Repository]) -> Option<String> {
    let release = indexes
        .iter()
        .flat_map(|r| &r.index.packages)
        .find(|p| p.name == "alpine-release" || p.name == "alpine-base");
    release
        .and_then(|p| branch_in(&p.version.to_string()))
        .or_else(|| indexes.iter().find_map(|r| branch_after_v(&r.index.description)))
        .or_else(|| indexes.iter().find_map(|r| branch_after_v(&r.name)))
}

/// `3.19` in `v3.19.1-643-gec825d20535` or `…/alpine/v3.19/main`.
fn branch_after_v(text: &str) -> Option<String> {
    text.split(['/', ' ']).filter_map(|word| word.strip_prefix('v')).find_map(branch_in)
}

fn branch_in(version: &str) -> Option<String> {
    let mut numbers = version.split(['.', '-', '_']);
    let (major, minor) = (numbers.next()?, numbers.next()?);
    let number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    (number(major) && number(minor)).then(|| format!("{major}.{minor}"))
}

fn one_version_each(project: &Project, images: &[ImageInputs]) -> Result<(), BuildError> {
    for (place, variant) in project.variants.iter().enumerate() {
        let found: BTreeMap<_, _> =
            images.iter().filter(|i| i.variant == place).map(|i| (i.platform, &i.wishes.version)).collect();
        let versions: BTreeSet<_> = found.values().collect();
        if versions.len() > 1 {
            let found = found.iter().map(|(p, v)| format!("{v} for {p}")).collect::<Vec<_>>().join(", ");
            return Err(BuildError::MixedVersions { variant: variant.name.clone(), found });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_branch_is_read_out_of_descriptions_and_addresses() {
        assert_eq!(branch_after_v("v3.19.1-643-gec825d20535").as_deref(), Some("3.19"));
        assert_eq!(branch_after_v("kimg-testdata v3.15").as_deref(), Some("3.15"));
        assert_eq!(branch_after_v("https://mirror/alpine/v3.22/main").as_deref(), Some("3.22"));
        assert_eq!(branch_after_v("https://mirror/alpine/latest-stable/main"), None);
        assert_eq!(branch_in("3.19.2-r0").as_deref(), Some("3.19"));
    }
}
