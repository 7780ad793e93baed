//! What one platform's packages are chosen from: keys, indexes, and how new these are.

use std::collections::BTreeMap;
use std::sync::Arc;

use kimg_apk::KeyRing;
use kimg_core::{Digest, Platform};
use kimg_source::lock::{Lock, LockedIndex};
use kimg_source::repository::{FetchedIndex, Reader, RolledBack, Seen};
use kimg_source::{Location, Repository, keys};
use tokio::task::JoinSet;

use crate::error::BuildError;
use crate::events::{Event, Events};
use crate::project::Project;
use crate::settings::RolledBackPolicy;
use crate::sources::{Keys, Packages};

/// An index that packages were chosen from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadIndex {
    /// The platform.
    pub platform: Platform,
    /// The mirror or folder.
    pub from: Location,
    /// The SHA-256 of its file.
    pub digest: Digest,
    /// What the repository says of itself: `v3.22.1-130-g…`; may be empty.
    pub description: String,
}

/// What one platform's packages are chosen from.
pub(crate) struct PlatformInputs {
    pub(crate) keys: KeyRing,
    pub(crate) repositories: Vec<Repository>,
    /// The index of each repository.
    pub(crate) indexes: Vec<kimg_apk::Repository>,
    /// How new the indexes of mirrors are.
    pub(crate) seen: Vec<LockedIndex>,
    /// Where each index is from, and its digest.
    pub(crate) read: Vec<ReadIndex>,
}

impl PlatformInputs {
    /// The repository with this number; the one behind the last is no place: what it has is in the cache only, and
    /// is asked of every mirror when it is gone from there.
    pub(super) fn repository(&self, number: usize) -> Repository {
        self.repositories.get(number).cloned().unwrap_or_else(|| {
            let mirrors = self.repositories.iter().flat_map(|r| r.mirrors.clone()).collect();
            Repository { mirrors, tag: None, signed: true }
        })
    }
}

/// Reads and verifies the indexes of every platform, all at the same time.
pub(crate) async fn open(
    project: &Project,
    reader: &Reader,
    locked: Option<&Lock>,
    events: &dyn Events,
) -> Result<BTreeMap<Platform, PlatformInputs>, BuildError> {
    let (repositories, trusted) = sources(project, reader)?;
    let mut platforms = BTreeMap::new();
    let mut tasks = JoinSet::new();
    for platform in project.platforms.iter().copied() {
        let ring = ring(platform, &trusted)?;
        for (number, repository) in repositories.iter().cloned().enumerate() {
            let (ring, reader) = (ring.clone(), reader.clone());
            tasks.spawn(async move { (platform, number, repository.index(platform, &ring, &reader).await) });
        }
        let inputs = PlatformInputs {
            keys: ring,
            repositories: repositories.clone(),
            indexes: vec![],
            seen: vec![],
            read: vec![],
        };
        platforms.insert(platform, inputs);
    }
    // Of several that fail the first is told, whichever of them fails sooner.
    let mut read = BTreeMap::new();
    while let Some(joined) = tasks.join_next().await {
        let (platform, number, index) =
            joined.map_err(std::io::Error::other).map_err(BuildError::disk("reading indexes"))?;
        read.insert((platform, number), index);
    }
    for ((platform, number), index) in read {
        let FetchedIndex { index, digest, from, rolled_back, .. } = index?;
        let Some(inputs) = platforms.get_mut(&platform) else { continue };
        let repository = &repositories[number];
        if let Some(back) = rolled_back {
            refuse_or_say(&repository.name(), platform, &back, project.rolled_back, events)?;
        }
        let is_mirrored = repository.mirrors.iter().any(Location::is_remote);
        if let Some(now) = Seen::of(&index).filter(|_| is_mirrored) {
            let found = LockedIndex {
                repository: repository.name(),
                platform,
                newest: now.newest,
                description: now.description.clone(),
            };
            if let Some(seen) =
                locked.and_then(|lock| seen_in(lock, &found)).filter(|s| s.is_newer_than(&now))
            {
                let back = RolledBack { seen, now };
                refuse_or_say(&found.repository, platform, &back, project.rolled_back, events)?;
            }
            inputs.seen.push(found);
        }
        let description = index.description.clone();
        inputs.read.push(ReadIndex { platform, from, digest, description });
        inputs.indexes.push(kimg_apk::Repository {
            name: repository.name(),
            tag: repository.tag.clone(),
            index: Arc::new(index),
        });
    }
    Ok(platforms)
}

/// The repositories of a project, and whose signatures it trusts.
pub(crate) fn sources(
    project: &Project,
    reader: &Reader,
) -> Result<(Vec<Repository>, Vec<Keys>), BuildError> {
    match &project.packages {
        Packages::Repositories { repositories, keys, .. } => Ok((repositories.clone(), keys.clone())),
        Packages::Sample => crate::sample::lay_out(&reader.cache),
    }
}

/// The files of the keys that are trusted for a platform: names and contents.
pub(crate) fn key_files(platform: Platform, trusted: &[Keys]) -> Result<Vec<(String, String)>, BuildError> {
    let mut files = Vec::new();
    for key in trusted {
        match key {
            Keys::Alpine => files.extend(
                keys::alpine_files(platform).iter().map(|(name, pem)| ((*name).into(), (*pem).into())),
            ),
            Keys::Path(path) => files.extend(keys::files_at(path, platform)?),
        }
    }
    Ok(files)
}

pub(crate) fn ring(platform: Platform, trusted: &[Keys]) -> Result<KeyRing, BuildError> {
    let mut ring = if trusted.contains(&Keys::Alpine) { keys::alpine(platform)? } else { KeyRing::new() };
    for key in trusted {
        if let Keys::Path(path) = key {
            keys::add_from(&mut ring, path, platform)?;
        }
    }
    Ok(ring)
}

/// How new the same index was when the lock was written.
fn seen_in(lock: &Lock, found: &LockedIndex) -> Option<Seen> {
    let same = |old: &&LockedIndex| old.repository == found.repository && old.platform == found.platform;
    let old = lock.indexes.iter().find(same)?;
    Some(Seen { newest: old.newest, description: old.description.clone() })
}

/// An index that is older than one seen before is an error, or said and used.
fn refuse_or_say(
    repository: &str,
    platform: Platform,
    back: &RolledBack,
    policy: RolledBackPolicy,
    events: &dyn Events,
) -> Result<(), BuildError> {
    let error = BuildError::RolledBack {
        repository: repository.to_owned(),
        platform,
        seen: back.seen.newest,
        found: back.now.newest,
    };
    match policy {
        RolledBackPolicy::Refuse => Err(error),
        RolledBackPolicy::Warn => {
            events.event(&Event::Warned { message: error.to_string() });
            Ok(())
        }
    }
}
