//! Packages are fetched, verified and unpacked into the cache, several at a time.

use std::collections::BTreeMap;
use std::sync::Arc;

use kimg_apk::{Package, Record};
use kimg_core::Platform;
use kimg_source::repository::Reader;
use kimg_source::{Repository, SourceError};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::choose::Choice;
use super::{Fetched, PlatformInputs};
use crate::error::BuildError;
use crate::events::{Event, Events};

/// One for each package on each platform, by `name-version`.
pub(super) type Unique<T> = BTreeMap<(Platform, String), T>;

/// A package and where it came from.
#[derive(Debug, Clone)]
pub struct Sourced {
    /// The package, verified and unpacked.
    pub package: Arc<Package>,
    /// The repository whose index names it.
    pub repository: Repository,
}

/// At most this many packages are fetched or unpacked at the same time.
const AT_ONCE: usize = 6;

pub(super) async fn fetch(
    chosen: &[Choice],
    platforms: &BTreeMap<Platform, PlatformInputs>,
    reader: &Reader,
    events: &dyn Events,
) -> Result<(Unique<Sourced>, Fetched), BuildError> {
    let mut wanted: Unique<(Repository, Record)> = BTreeMap::new();
    for choice in chosen {
        let Some(inputs) = platforms.get(&choice.platform) else { continue };
        for package in &choice.solution.packages {
            let place = (choice.platform, package.record.id());
            let repository = inputs.repository(package.repository);
            wanted.entry(place).or_insert_with(|| (repository, package.record.clone()));
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
            Ok::<_, SourceError>(((platform, id), repository, fetched))
        });
    }
    let mut packages = BTreeMap::new();
    let mut counts = Fetched { files: total, bytes, from_cache: 0 };
    while let Some(joined) = tasks.join_next().await {
        let (place, repository, fetched) =
            joined.map_err(std::io::Error::other).map_err(BuildError::disk("fetching"))??;
        counts.from_cache += usize::from(fetched.from_cache);
        events.event(&Event::FetchedPackage {
            id: place.1.clone(),
            platform: place.0,
            bytes: fetched.package.record.size,
            from_cache: fetched.from_cache,
        });
        packages.insert(place, Sourced { package: Arc::new(fetched.package), repository });
    }
    Ok((packages, counts))
}
