//! The cache: a folder that keeps contents, downloaded packages and records between runs.
//!
//! ```text
//! content/sha256/ab/abcd…   the bytes of one file of a package, by their digest
//! apk/<identity>-<size>.apk a downloaded package
//! index/<digest>.tar.gz     the newest index of a mirror, by the digest of its address
//! index/<digest>.json       what the mirror said of it, to ask whether it is still the same
//! record/<kind>/<key>.json  small facts: an unpacked package's listing, a packed program, a compressed layer
//! blobs/sha256/…            compressed layers
//! partial/<digest>          the beginning of a file whose transfer was cut, by the digest of its address
//! log/…                     what a compiler said that failed
//! tmp/run-…                 files that are not whole yet, a folder for each process
//! ```
//! Every file is written under a temporary name and renamed when whole, so that several processes can
//! share the folder. Nothing in it is trusted: what was changed is not used but made anew (see [`ContentStore`] for
//! how that is noticed), packages and indexes are verified again when they are used, and a record that can't be read
//! is as good as none.
//!
//! A record names by their digests the contents and blobs that it needs. [`Cache::prune`] goes by that: it removes
//! records that were not used, and then what no record names.

mod contents;
mod presence;
mod prune;
mod usage;

use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use fs_err as fs;
use kimg_core::{Content, Digest};
use serde::Serialize;
use serde::de::DeserializeOwned;

pub use contents::ContentStore;
use presence::Presence;
pub(crate) use prune::SEEN;
pub use prune::{PruneOptions, Pruned};
pub use usage::{CacheInfo, CacheKind, Tally};

use crate::SourceError;
use crate::location::Location;

/// The version of the cache's layout: another one lies in another folder.
const FORMAT: &str = "v1";

/// That something was used is noted on the file no more often than this.
const NOTED_EVERY: Duration = Duration::from_secs(24 * 60 * 60);

/// The folder that keeps what was fetched, unpacked, packed and compressed.
#[derive(Debug, Clone)]
pub struct Cache {
    root: PathBuf,
    presence: Arc<Presence>,
}

impl Cache {
    /// Opens the cache in this folder, makes the folder if need be, and removes what dead processes left unfinished.
    ///
    /// Waits while another process prunes the cache.
    pub fn open(folder: &Path) -> Result<Self, SourceError> {
        let root = folder.join(FORMAT);
        let absolute = std::path::absolute(&root).map_err(SourceError::disk("finding the cache folder"))?;
        for part in ["content/sha256", "apk", "index", "record", "partial", "tmp"] {
            let part = absolute.join(part);
            fs::create_dir_all(&part).map_err(SourceError::disk("making the cache folder"))?;
        }
        let presence = Presence::open(&absolute).map_err(SourceError::disk("opening the cache folder"))?;
        Ok(Self { root: absolute, presence: Arc::new(presence) })
    }

    /// Where compressed layers are kept.
    pub fn blobs(&self) -> PathBuf {
        self.root.join("blobs")
    }

    /// Where the logs of builds that failed are kept.
    pub fn logs(&self) -> PathBuf {
        self.root.join("log")
    }

    /// Where the embedded sample is laid out.
    pub fn sample(&self) -> PathBuf {
        self.root.join("sample")
    }

    /// A folder for this process's files that are not whole yet, on the same file system. It is removed with the last
    /// clone of this cache.
    pub fn scratch(&self) -> PathBuf {
        self.presence.scratch().to_owned()
    }

    /// A place for the bytes of files.
    pub fn contents(&self) -> ContentStore {
        ContentStore::new(self.root.join("content/sha256"), Arc::clone(&self.presence))
    }

    /// The content of this digest and size, if it is here and was not changed.
    pub fn content(&self, digest: Digest, size: u64) -> Option<Content> {
        self.contents().get(digest, size)
    }

    pub(crate) fn package_path(&self, identity: &str, size: u64) -> PathBuf {
        // The identity is base64, which holds `/`: its digest names the file.
        self.root.join("apk").join(format!("{}-{size}.apk", Digest::of(identity).hex()))
    }

    pub(crate) fn index_path(&self, location: &Location) -> PathBuf {
        self.root.join("index").join(format!("{}.tar.gz", Digest::of(location.identity()).hex()))
    }

    /// Where the beginning of what lies at an address is kept.
    pub(crate) fn partial_path(&self, location: &Location) -> PathBuf {
        self.root.join("partial").join(Digest::of(location.identity()).hex())
    }

    fn record_path(&self, kind: &str, key: &Digest) -> PathBuf {
        self.root.join("record").join(kind).join(format!("{}.json", key.hex()))
    }

    /// A fact that was kept under a key; `None` when there is none or it can't be read.
    pub fn record<T: DeserializeOwned>(&self, kind: &str, key: &Digest) -> Option<T> {
        let mut file = fs::File::open(self.record_path(kind, key)).ok()?;
        let mut text = Vec::new();
        file.read_to_end(&mut text).ok()?;
        let fact = serde_json::from_slice(&text).ok()?;
        note_use(&file);
        Some(fact)
    }

    /// Keeps a fact under a key that names everything it follows from. Contents and blobs that it needs stand in it
    /// by their digests.
    pub fn keep<T: Serialize>(&self, kind: &str, key: &Digest, fact: &T) -> Result<(), SourceError> {
        let path = self.record_path(kind, key);
        let text = serde_json::to_vec(fact)
            .map_err(io::Error::from)
            .map_err(SourceError::disk(format!("writing the record {}", path.display())))?;
        self.write(&path, &text)
    }

    /// Changes a fact, or makes the first one, while no other process does: `change` is given what there is.
    pub(crate) fn update<T: Serialize + DeserializeOwned>(
        &self,
        kind: &str,
        key: &Digest,
        change: impl FnOnce(Option<T>) -> Option<T>,
    ) -> Result<(), SourceError> {
        let _lock = presence::exclusive(&self.root, kind)
            .map_err(SourceError::disk(format!("locking the records of {kind}")))?;
        match change(self.record(kind, key)) {
            Some(new) => self.keep(kind, key, &new),
            None => Ok(()),
        }
    }

    /// Writes a file whole or not at all.
    pub(crate) fn write(&self, path: &Path, bytes: &[u8]) -> Result<(), SourceError> {
        let result = (|| {
            if let Some(folder) = path.parent() {
                fs::create_dir_all(folder)?;
            }
            let mut file = tempfile::NamedTempFile::new_in(self.presence.scratch())?;
            io::Write::write_all(&mut file, bytes)?;
            file.persist(path).map_err(|e| e.error)?;
            Ok(())
        })();
        result.map_err(SourceError::disk(format!("writing {}", path.display())))
    }
}

/// Notes that a file of the cache was used, by its time of change: nothing else says what is worth keeping.
pub(crate) fn note_use(file: &fs::File) {
    let now = SystemTime::now();
    let noted = file.metadata().and_then(|found| found.modified());
    if noted.is_ok_and(|noted| now.duration_since(noted).is_ok_and(|age| age > NOTED_EVERY)) {
        // In a cache that is only read, nothing is noted.
        let _ = file.set_modified(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cache() -> (tempfile::TempDir, Cache) {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::open(folder.path()).unwrap();
        (folder, cache)
    }

    #[test]
    fn a_broken_record_is_as_good_as_none() {
        let (_folder, cache) = cache();
        let key = Digest::of("key");
        assert_eq!(cache.record::<Vec<u8>>("test", &key), None);
        cache.keep("test", &key, &vec![1_u8, 2]).unwrap();
        assert_eq!(cache.record::<Vec<u8>>("test", &key), Some(vec![1, 2]));
        fs::write(cache.record_path("test", &key), "[1,").unwrap();
        assert_eq!(cache.record::<Vec<u8>>("test", &key), None);
    }

    #[test]
    fn a_record_that_is_used_is_young_again() {
        let (_folder, cache) = cache();
        let key = Digest::of("key");
        cache.keep("test", &key, &1_u8).unwrap();
        let path = cache.record_path("test", &key);
        let age = |path: &Path| fs::metadata(path).unwrap().modified().unwrap().elapsed().unwrap();
        let file = fs::File::open(&path).unwrap();
        file.set_modified(SystemTime::now() - 2 * NOTED_EVERY).unwrap();
        assert!(age(&path) > NOTED_EVERY);
        assert_eq!(cache.record::<u8>("test", &key), Some(1));
        assert!(age(&path) < NOTED_EVERY);
    }

    #[test]
    fn what_a_dead_process_left_is_removed_by_the_next_and_what_a_living_one_has_is_not() {
        let (folder, cache) = cache();
        fs::write(cache.scratch().join("half"), "half").unwrap();
        let dead = folder.path().join("v1/tmp/run-dead");
        fs::create_dir(&dead).unwrap();
        fs::write(dead.join("half"), "half").unwrap();
        let other = Cache::open(folder.path()).unwrap();
        assert!(!dead.exists());
        assert!(cache.scratch().join("half").exists());
        assert_ne!(cache.scratch(), other.scratch());
        let scratch = cache.scratch();
        drop(cache);
        assert!(!scratch.exists());
    }
}
