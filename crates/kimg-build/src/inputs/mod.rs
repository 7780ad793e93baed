//! The first stages: indexes are read, packages chosen, fetched and verified, and held against the lock.

mod branch;
mod choose;
mod fetch;
pub(crate) mod platform;

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;

use kimg_apk::Package;
use kimg_core::{Content, ImagePath, Platform};
use kimg_report::Joined;
use kimg_source::lock::{Lock, LockError, LockedImage, LockedPackage, LockedProgram};
use kimg_source::repository::{Reader, Transfer, kept_record};
use tokio::sync::mpsc::unbounded_channel;

pub(crate) use choose::Choice;
pub use fetch::Sourced;
pub(crate) use platform::PlatformInputs;
pub use platform::ReadIndex;

use crate::error::BuildError;
use crate::events::{Event, Events};
use crate::golang;
use crate::project::{OwnProgram, Project};
use crate::select::wanted_here;
use crate::shared_cache::SharedCache;
use crate::wishes::Wishes;

/// How a lock takes part in a build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LockUse {
    /// There is none.
    None,
    /// Its versions are kept where the repositories still have them; it is written anew.
    Follow(PathBuf),
    /// Newer versions are taken, and it is written anew.
    Update {
        /// The file.
        path: PathBuf,
        /// Only for these packages, and for what can't stay as it is beside them; for all when empty.
        only: BTreeSet<String>,
    },
    /// Anything else than what it says is refused.
    Locked(PathBuf),
}

impl LockUse {
    /// The file.
    pub fn path(&self) -> Option<&PathBuf> {
        match self {
            Self::None => None,
            Self::Follow(path) | Self::Update { path, .. } | Self::Locked(path) => Some(path),
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
    pub programs: Vec<Provided>,
}

/// A program of one's own, with its bytes.
#[derive(Debug, Clone)]
pub struct Provided {
    /// The program.
    pub own: OwnProgram,
    /// Its bytes, or those of the one that it is a part of.
    pub content: Content,
    /// The one that it is a part of, and a link to.
    pub within: Option<Within>,
}

/// One program that is several, each by its name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Within {
    /// What it is called.
    pub name: String,
    /// Where it stands.
    pub path: ImagePath,
}

/// What all images are made of.
#[derive(Debug)]
pub struct Inputs {
    /// One for each variant and platform, variants first.
    pub images: Vec<ImageInputs>,
    /// The Alpine branch of each platform's repositories, as far as it is known.
    pub alpine: Option<String>,
    /// The indexes that packages were chosen from.
    pub indexes: Vec<ReadIndex>,
    /// The lock that these inputs would be pinned by.
    pub lock: Lock,
    /// Files and bytes of packages.
    pub fetched: Fetched,
    /// What came of programs that were to be one.
    pub joined: Vec<Joined>,
    /// Every package, by platform and `name-version`, with where it came from.
    pub sourced: BTreeMap<(Platform, String), Sourced>,
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

/// Resolves, fetches and verifies everything that the images of a project are made of. Compiled programs that shared
/// caches have are taken over from there.
pub async fn gather(
    project: &Project,
    reader: &Reader,
    lock_use: &LockUse,
    search_path: &OsStr,
    (shared, events): (Option<&SharedCache>, &dyn Events),
) -> Result<Inputs, BuildError> {
    let (sender, mut transfers) = unbounded_channel();
    let reader = Reader { watch: Some(sender), ..reader.clone() };
    let mut work = pin!(gather_all(project, &reader, lock_use, search_path, (shared, events)));
    loop {
        tokio::select! {
            done = &mut work => return done,
            Some(Transfer { url, done, total }) = transfers.recv() => {
                events.event(&Event::Transfer { url, done, total });
            }
        }
    }
}

async fn gather_all(
    project: &Project,
    reader: &Reader,
    lock_use: &LockUse,
    search_path: &OsStr,
    (shared, events): (Option<&SharedCache>, &dyn Events),
) -> Result<Inputs, BuildError> {
    let locked = read_lock(lock_use)?;
    let platforms = platform::open(project, reader, locked.as_ref(), events).await?;
    let alpine =
        project.alpine.clone().or_else(|| platforms.values().find_map(|p| branch::alpine_branch(&p.indexes)));

    let kept = |locked: &LockedPackage| kept_record(locked, &platforms.get(&locked.platform)?.keys, reader);
    let chosen = choose::choose(project, &platforms, locked.as_ref(), lock_use, &kept)?;
    if let (LockUse::Locked(_), Some(locked)) = (lock_use, &locked) {
        // Before anything is fetched: what the indexes say has to fit already.
        refuse_changes(&locked.compare(&choose::as_lock(project, &chosen, locked)))?;
    }
    let unique: BTreeSet<_> = chosen
        .iter()
        .flat_map(|choice| choice.solution.packages.iter().map(|p| (choice.platform, p.record.id())))
        .collect();
    let kubernetes: BTreeSet<_> = chosen.iter().map(|choice| choice.wishes.version.to_string()).collect();
    events.event(&Event::Resolved {
        images: chosen.len(),
        packages: unique.len(),
        platforms: platforms.len(),
        kubernetes: kubernetes.into_iter().collect(),
        alpine: alpine.clone(),
    });

    let (packages, fetched) = fetch::fetch(&chosen, &platforms, reader, events).await?;
    let mut programs: BTreeMap<Platform, Vec<Provided>> = BTreeMap::new();
    let mut lock = Lock::new();
    let indexes = platforms.values().flat_map(|platform| platform.read.clone()).collect();
    lock.indexes = platforms.values().flat_map(|platform| platform.seen.clone()).collect();
    let mut wanted: BTreeMap<Platform, Vec<OwnProgram>> = BTreeMap::new();
    for platform in &project.platforms {
        for own in project.programs_for(*platform) {
            if own.compiled.is_some() {
                // What no image asks for is not compiled.
                if project.variants.iter().any(|variant| wanted_here(project, variant, own)) {
                    wanted.entry(*platform).or_default().push(own.clone());
                }
                continue;
            }
            let known = locked.as_ref().and_then(|lock| lock.program(&own.program.name, *platform));
            let program = project.vendored(&own.program, known);
            let (content, digest) = program.load(reader).await?;
            let provided = Provided { own: own.clone(), content, within: None };
            programs.entry(*platform).or_default().push(provided);
            lock.programs.push(LockedProgram {
                name: own.program.name.clone(),
                platform: *platform,
                sha256: digest,
                source: None,
                toolchain: None,
                result: None,
            });
        }
    }
    let pinned = (locked.as_ref(), lock_use);
    let loader = |platform| loader_of(&packages, platform);
    let means = golang::Means { search_path, shared, events, loader: &loader };
    let compiled = golang::load(project, reader, &wanted, pinned, means).await?;
    for (provided, locked) in compiled.programs {
        programs.entry(locked.platform).or_default().push(provided);
        lock.programs.push(locked);
    }
    for ((platform, _), Sourced { package, .. }) in &packages {
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
    for Choice { variant, platform, wishes, solution } in chosen {
        let own: Vec<_> = solution
            .packages
            .iter()
            .filter_map(|c| packages.get(&(platform, c.record.id())).map(|sourced| sourced.package.clone()))
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
    Ok(Inputs { images, alpine, indexes, lock, fetched, joined: compiled.joined, sourced: packages })
}

/// Writes the inputs into the lock file, beside the images it has already. Gives whether the file changed.
pub fn write_lock(lock_use: &LockUse, now: &Lock) -> Result<bool, BuildError> {
    let (LockUse::Follow(path) | LockUse::Update { path, .. }) = lock_use else { return Ok(false) };
    let mut all = Lock::read(path)?.unwrap_or_else(Lock::new);
    all.merge(now);
    Ok(all.write(path)?)
}

/// musl's dynamic loader, out of the packages of a platform.
fn loader_of(
    packages: &BTreeMap<(Platform, String), Sourced>,
    platform: Platform,
) -> Vec<(ImagePath, Content)> {
    let here = packages.iter().filter(|((of, _), _)| *of == platform);
    let entries = here.flat_map(|(_, sourced)| &sourced.package.entries);
    let loaders = entries.filter(|(path, _)| path.as_str().starts_with("/lib/ld-musl-"));
    loaders.filter_map(|(path, entry)| Some((path.clone(), entry.content()?.clone()))).collect()
}

fn read_lock(lock_use: &LockUse) -> Result<Option<Lock>, BuildError> {
    let Some(path) = lock_use.path() else { return Ok(None) };
    let lock = Lock::read(path)?;
    if lock.is_none() && matches!(lock_use, LockUse::Locked(_)) {
        return Err(LockError::Missing(path.display().to_string()).into());
    }
    if let LockUse::Update { only, .. } = lock_use {
        let known = |name: &str| lock.iter().flat_map(|lock| &lock.packages).any(|p| p.name == name);
        if let Some(unknown) = only.iter().find(|name| !known(name)) {
            return Err(BuildError::settings_hint(
                format!("`{unknown}` is not in {}, so it can't be updated", path.display()),
                "name packages of the lock (the names of its `[[package]]` entries), or none for all",
            ));
        }
    }
    Ok(lock)
}

pub(crate) fn refuse_changes(changes: &[kimg_source::lock::Change]) -> Result<(), BuildError> {
    if changes.is_empty() { Ok(()) } else { Err(LockError::Stale { changes: changes.to_vec() }.into()) }
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
