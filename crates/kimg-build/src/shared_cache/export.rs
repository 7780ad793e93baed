//! Adding what a run used to a cache, while others may do the same.
//!
//! No registry compares and writes in one step. So a writer reads the index, adds to it, looks whether the tag still names
//! what it read, and writes. Another one may have written in that last round trip; what that one added is then gone from
//! the tag, and it finds out: each writer waits ([`Export::settle`]), reads again, and adds again what is missing, until
//! nothing is. As long as nobody's last round trip takes longer than the wait, no entry is lost; one that is lost is made
//! anew by whoever wants it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use kimg_core::Digest;
use kimg_image::Descriptor;
use kimg_layer::BlobStore;
use kimg_registry::{How, Reference, RegistryError, Repository, Watch};
use kimg_source::Cache;

use super::index::{ARTIFACT, Entry, INDEX, Index, Kind, MAX_ENTRIES, Made};
use super::source::{NoIndex, read, unproven};
use super::{SharedCache, locked};
use crate::error::BuildError;
use crate::events::{Event, Events};

/// How often it is tried to write what others write too.
const ROUNDS: u32 = 12;

/// How many days the clocks of two machines may differ.
const AHEAD: u32 = 30;

/// How a cache is written.
#[derive(Debug, Clone)]
pub struct Export {
    /// Today, in days since 1970: the day on which what this run has was last used.
    pub day: u32,
    /// Repositories of the same registry that may have the blobs, such as the release's: from there they are taken over.
    pub mount_from: Vec<Repository>,
    /// The most entries that are kept, at most 8000.
    pub max_entries: usize,
    /// The most bytes of blobs that are kept.
    pub max_bytes: u64,
    /// How long after writing it is looked whether somebody else wrote at the same time.
    pub settle: Duration,
}

impl Export {
    /// On this day, in days since 1970: 1000 entries, 10 GiB, two seconds.
    pub fn on(day: u32) -> Self {
        Self {
            day,
            mount_from: Vec::new(),
            max_entries: 1000,
            max_bytes: 10 << 30,
            settle: Duration::from_secs(2),
        }
    }
}

/// What an export did.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct Exported {
    /// Entries that the cache has now.
    pub entries: usize,
    /// Those of this run that it did not have before, or had otherwise.
    pub added: usize,
    /// Entries that were dropped, since they were not used for longest or their blobs are gone.
    pub dropped: usize,
    /// Blobs that were sent.
    pub sent: usize,
    /// Their bytes.
    pub sent_bytes: u64,
    /// Blobs that the registry took over from another repository of its own.
    pub mounted: usize,
    /// Blobs that were there.
    pub there: usize,
}

impl SharedCache {
    /// Adds what this run used, made here or not, to the cache under a tag. What is damaged there is replaced.
    ///
    /// # Errors
    /// A registry that can't be reached or does not take it, a tag that names something else than a cache, a blob that is
    /// no longer in the local cache. None of that concerns the images: [`SharedCache::try_export`] only warns.
    pub fn export(
        &self,
        to: &Reference,
        cache: &Cache,
        export: &Export,
        events: &dyn Events,
    ) -> Result<Exported, BuildError> {
        let used = locked(&self.used).clone();
        let ours = used.into_iter().map(|(key, made)| (key, Entry { made, day: export.day })).collect();
        let (_folder, spool) = unproven(cache)?;
        let writing = Writing {
            shared: self,
            to,
            cache,
            export,
            events,
            ours: Index(ours),
            spool,
            sent: BTreeSet::new(),
        };
        self.runtime.block_on(writing.run())
    }

    /// As [`SharedCache::export`], but an error is a warning.
    pub fn try_export(
        &self,
        to: &Reference,
        cache: &Cache,
        export: &Export,
        events: &dyn Events,
    ) -> Option<Exported> {
        let exported = self.export(to, cache, export, events);
        let tell = |error: BuildError| {
            let message = format!("the cache {to} was not written: {}", super::in_words(&error));
            events.event(&Event::Warned { message });
        };
        exported.map_err(tell).ok()
    }
}

struct Writing<'a> {
    shared: &'a SharedCache,
    to: &'a Reference,
    cache: &'a Cache,
    export: &'a Export,
    events: &'a dyn Events,
    ours: Index,
    /// Holds what is sent and lies in no store of blobs: programs, and the index.
    spool: BlobStore,
    /// Blobs of ours that are in the repository.
    sent: BTreeSet<Digest>,
}

impl Writing<'_> {
    async fn run(mut self) -> Result<Exported, BuildError> {
        let mut exported = Exported::default();
        if self.ours.0.is_empty() {
            return Ok(exported);
        }
        let mut written = None;
        for round in 0..ROUNDS {
            let (over, index) = self.there(round == 0).await?;
            if written.is_some() && written == over {
                return Ok(exported);
            }
            let mut next = index.clone().unwrap_or_default();
            // Whose clock was far ahead would keep its entries for ever.
            for entry in next.0.values_mut().filter(|it| it.day > self.export.day.saturating_add(AHEAD)) {
                entry.day = self.export.day;
            }
            // Once ours are written, what another one wrote under the same key is as good.
            next.add(&self.ours, written.is_none());
            let before = next.0.len();
            next.bound(self.export.max_entries.min(MAX_ENTRIES), self.export.max_bytes);
            if round == 0 {
                exported.dropped = before - next.0.len();
                let known = index.as_ref().map(|index| &index.0);
                let new = |key: &(Kind, Digest), made: &Made| {
                    known.and_then(|known| known.get(key)).is_none_or(|entry| entry.made != *made)
                };
                let ours = self.ours.0.iter().filter(|(key, _)| next.0.contains_key(key));
                exported.added = ours.filter(|(key, entry)| new(key, &entry.made)).count();
            }
            exported.entries = next.0.len();
            self.send(&next, &mut exported).await?;
            if index.as_ref() == Some(&next) {
                return Ok(exported);
            }
            written = match self.tag(&next, over).await {
                Err(error @ RegistryError::Refused { .. }) => {
                    // Something that it names is gone, which is then somebody else's.
                    let gone = self.drop_missing(&mut next).await?;
                    if gone == 0 {
                        return Err(error.into());
                    }
                    (exported.dropped, exported.entries) = (exported.dropped + gone, next.0.len());
                    self.tag(&next, over).await?
                }
                tagged => tagged?,
            }
            .or(written);
            tokio::time::sleep(self.pause(round)).await;
        }
        let problem = "others write it all the time".to_owned();
        Err(RegistryError::Protocol { doing: format!("adding to the cache {}", self.to), problem }.into())
    }

    /// What the tag names now. An index that is damaged is as good as none, and is written over.
    async fn there(&self, tell: bool) -> Result<(Option<Digest>, Option<Index>), BuildError> {
        match read(&self.shared.client, self.to).await {
            (digest, Ok(index)) => Ok((digest, Some(index))),
            (_, Err(NoIndex::Nothing)) => Ok((None, None)),
            (digest, Err(error @ NoIndex::Damaged(_))) => {
                if tell {
                    let message = format!("the cache {} is written anew: {}", self.to, error.in_words());
                    self.events.event(&Event::Warned { message });
                }
                Ok((digest, None))
            }
            (_, Err(NoIndex::Other(problem))) => Err(RegistryError::Setting {
                what: format!("{} can't be a cache", self.to),
                problem: format!("there is something else under this name: {problem}"),
            }
            .into()),
            (_, Err(NoIndex::Registry(error))) => Err(error.into()),
        }
    }

    /// Brings those blobs of this run into the repository that the index names, each once.
    async fn send(&mut self, index: &Index, exported: &mut Exported) -> Result<(), BuildError> {
        let ours = index.0.iter().filter(|(key, entry)| {
            self.ours.0.get(key).is_some_and(|ours| ours.made == entry.made)
                && !self.sent.contains(&entry.made.blob().0)
        });
        let (mut layers, mut programs) = (BTreeMap::new(), BTreeMap::new());
        for (_, entry) in ours {
            let (digest, size) = entry.made.blob();
            match entry.made {
                Made::Layer(_) => layers.insert(digest, size),
                Made::Program { .. } | Made::Compiled(_) => programs.insert(digest, size),
            };
        }
        for (digest, size) in &programs {
            let gone = || kimg_layer::LayerError::NoBlob { digest: *digest, store: self.cache.blobs() };
            let content = self.cache.content(*digest, *size).ok_or_else(gone)?;
            self.spool.put(|out| content.copy_to(out).map_err(BuildError::from))?;
        }
        let stores = [(layers, BlobStore::at(self.cache.blobs())), (programs, self.spool.clone())];
        for (blobs, store) in stores {
            let blobs: Vec<_> = blobs.into_iter().collect();
            let hows = self.upload(&blobs, &store).await?;
            for ((digest, size), how) in blobs.into_iter().zip(hows) {
                self.sent.insert(digest);
                match how {
                    How::There | How::Fetched => exported.there += 1,
                    How::Mounted(_) => exported.mounted += 1,
                    How::Sent => {
                        exported.sent += 1;
                        exported.sent_bytes += size;
                    }
                }
            }
        }
        Ok(())
    }

    async fn upload(&self, blobs: &[(Digest, u64)], store: &BlobStore) -> Result<Vec<How>, RegistryError> {
        let watch: Arc<dyn Watch> = Arc::new(());
        let mount_from = &self.export.mount_from;
        self.shared.client.upload_blobs(self.to.repository(), blobs, store, mount_from, &watch).await
    }

    /// Lets the tag name this index with its blobs; gives what it names now, `None` if somebody else was faster.
    async fn tag(&self, index: &Index, over: Option<Digest>) -> Result<Option<Digest>, RegistryError> {
        let bytes = index.to_bytes();
        let (digest, size) = self.spool.put_bytes(&bytes)?;
        self.upload(&[(digest, size)], &self.spool).await?;
        let blobs: Vec<Descriptor> =
            std::iter::once(Descriptor::new(INDEX, digest, size)).chain(index.blobs()).collect();
        let tagged = self.shared.client.tag_artifact(self.to, ARTIFACT, &blobs, over).await?;
        Ok(tagged.map(|descriptor| descriptor.digest))
    }

    /// Drops entries whose blobs the repository does not have.
    async fn drop_missing(&self, index: &mut Index) -> Result<usize, RegistryError> {
        let blobs: Vec<_> = index.blobs().iter().map(|blob| (blob.digest, blob.size)).collect();
        let missing = self.shared.client.missing_blobs(self.to.repository(), &blobs).await?;
        let before = index.0.len();
        index.0.retain(|_, entry| !missing.contains(&entry.made.blob().0));
        Ok(before - index.0.len())
    }

    /// How long to wait before looking again. Writers that began at the same time do not stay in step: what they write
    /// differs, and so does this.
    fn pause(&self, round: u32) -> Duration {
        let own = Digest::of(self.ours.to_bytes());
        let step = own.as_raw()[round as usize % 32];
        self.export.settle + self.export.settle.mul_f64(f64::from(step) / 255.0)
    }
}
