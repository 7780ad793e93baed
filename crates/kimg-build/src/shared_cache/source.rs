//! One cache that is read.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, OnceLock};

use kimg_core::{Classified as _, Digest, ErrorClass};
use kimg_layer::BlobStore;
use kimg_registry::{Client, Reference, RegistryError, Watch};
use kimg_source::Cache;

use super::index::{ARTIFACT, INDEX, Index, MAX_SIZE};
use super::tally::Unusable;
use super::{SharedCache, in_words, locked, printable};
use crate::error::BuildError;
use crate::events::{Event, Events};

/// A cache, and its index once somebody asked for something.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) reference: Reference,
    index: OnceLock<Option<Index>>,
}

impl Source {
    pub(super) fn new(reference: Reference) -> Self {
        Self { reference, index: OnceLock::new() }
    }
}

/// Why there is no index.
#[derive(Debug)]
pub(super) enum NoIndex {
    /// There is nothing under this name.
    Nothing,
    /// There is a cache, and its index is not one.
    Damaged(String),
    /// There is something else, which is nobody's cache.
    Other(String),
    /// It can't be had.
    Registry(RegistryError),
}

impl NoIndex {
    pub(super) fn in_words(&self) -> String {
        match self {
            Self::Nothing => "there is none".into(),
            Self::Damaged(problem) => format!("its index is damaged: {problem}"),
            Self::Other(problem) => problem.clone(),
            Self::Registry(error) => in_words(error),
        }
    }
}

/// The index of a cache, and the digest of the artifact that has it; the digest also where the index is damaged.
pub(super) async fn read(client: &Client, reference: &Reference) -> (Option<Digest>, Result<Index, NoIndex>) {
    let artifact = match client.artifact(reference).await {
        Ok(Some(artifact)) => artifact,
        Ok(None) => return (None, Err(NoIndex::Nothing)),
        Err(error @ RegistryError::Malformed { .. }) => return (None, Err(NoIndex::Other(in_words(&error)))),
        Err(error) => return (None, Err(NoIndex::Registry(error))),
    };
    let digest = Some(artifact.descriptor.digest);
    if artifact.artifact_type != ARTIFACT {
        let kind: String = artifact.artifact_type.chars().take(100).collect();
        return (digest, Err(NoIndex::Other(format!("it is a `{kind}`, and no cache of kimg's"))));
    }
    let damaged = |problem: String| (digest, Err(NoIndex::Damaged(problem)));
    let Some(first) = artifact.blobs.first().filter(|blob| blob.media_type == INDEX) else {
        return damaged("its first blob is another".into());
    };
    if first.size > MAX_SIZE {
        return damaged(format!("it has {} bytes, at most {MAX_SIZE} are read", first.size));
    }
    match client.small_blob(reference.repository(), first).await {
        Ok(bytes) => match Index::parse(&bytes) {
            Ok(index) => (digest, Ok(index)),
            Err(problem) => damaged(problem),
        },
        Err(error @ (RegistryError::Mismatch { .. } | RegistryError::NotFound { .. })) => {
            damaged(in_words(&error))
        }
        Err(error) => (digest, Err(NoIndex::Registry(error))),
    }
}

/// What came of asking caches so far.
#[derive(Debug)]
pub(super) struct Turn<T> {
    /// What was taken, by its key.
    pub(super) taken: BTreeMap<Digest, T>,
    /// What some cache has, whether it was taken or not.
    pub(super) found: BTreeSet<Digest>,
}

impl SharedCache {
    /// Asks each cache that has an index, one after the other, for what none before it gave; keeps count, and gives what was
    /// taken.
    pub(super) fn in_turn<W, T>(
        &self,
        wanted: &[W],
        key: impl Fn(&W) -> Digest,
        events: &dyn Events,
        mut ask: impl FnMut(&Source, &Index, Vec<&W>, &mut Turn<T>) -> Result<(), BuildError>,
    ) -> Result<BTreeMap<Digest, T>, BuildError> {
        let mut turn = Turn { taken: BTreeMap::new(), found: BTreeSet::new() };
        if wanted.is_empty() || self.sources.is_empty() {
            return Ok(turn.taken);
        }
        locked(&self.tally).asked += wanted.len();
        for source in &self.sources {
            let pending: Vec<_> = wanted.iter().filter(|it| !turn.taken.contains_key(&key(it))).collect();
            if pending.is_empty() {
                break;
            }
            let Some(index) = self.index(source, events) else { continue };
            ask(source, index, pending, &mut turn)?;
        }
        locked(&self.tally).found += turn.found.len();
        Ok(turn.taken)
    }

    /// The index of a cache; `None` if it has none that can be used, which is told once.
    pub(super) fn index<'a>(&self, source: &'a Source, events: &dyn Events) -> Option<&'a Index> {
        let fetch = || match self.runtime.block_on(read(&self.client, &source.reference)).1 {
            Ok(index) => Some(index),
            Err(error) => {
                self.is_unusable(source, &error.in_words(), events);
                None
            }
        };
        source.index.get_or_init(fetch).as_ref()
    }

    /// Fetches blobs into a store of their own; gives what became of each. A registry that can't be reached any more is told
    /// once, and not for each blob.
    pub(super) fn fetch(
        &self,
        source: &Source,
        blobs: &[(Digest, u64)],
        into: &BlobStore,
        events: &dyn Events,
    ) -> BTreeMap<(Digest, u64), Result<(), NotFetched>> {
        let watch: Arc<dyn Watch> = Arc::new(());
        let fetching = self.client.fetch_blobs(source.reference.repository(), blobs, into, &watch);
        let fetched = self.runtime.block_on(fetching);
        let (all, whole) = match fetched {
            Ok(fetched) => (fetched, None),
            Err(error) => (Vec::new(), Some(error)),
        };
        let gone = |error: &&RegistryError| error.class() == ErrorClass::Network;
        let first = whole.as_ref().or_else(|| all.iter().filter_map(|it| it.as_ref().err()).find(gone));
        if let Some(error) = first {
            self.is_unusable(source, &in_words(error), events);
        }
        let mut tally = locked(&self.tally);
        let mut became = BTreeMap::new();
        for (blob, fetched) in blobs.iter().zip(all) {
            let fetched = match fetched {
                Ok(()) => {
                    tally.fetched_bytes += blob.1;
                    Ok(())
                }
                Err(error) if gone(&&error) => Err(NotFetched::Told),
                Err(error) => Err(NotFetched::Wrong(in_words(&error))),
            };
            became.insert(*blob, fetched);
        }
        became
    }

    fn is_unusable(&self, source: &Source, why: &str, events: &dyn Events) {
        let (cache, why) = (source.reference.to_string(), printable(why));
        events.event(&Event::Warned { message: format!("the cache {cache} is not used: {why}") });
        locked(&self.tally).unusable.push(Unusable { cache, why });
    }
}

/// Why a blob was not fetched.
#[derive(Debug, Clone)]
pub(super) enum NotFetched {
    /// The registry can't be reached, which was said.
    Told,
    /// The blob is not there, or is another.
    Wrong(String),
}

/// A store for what is not proven yet. It goes with the folder.
pub(super) fn unproven(cache: &Cache) -> Result<(tempfile::TempDir, BlobStore), BuildError> {
    let folder = tempfile::tempdir_in(cache.scratch()).map_err(BuildError::disk("fetching from a cache"))?;
    let store = BlobStore::open(folder.path())?;
    Ok((folder, store))
}
