//! What is going on, for whoever watches.

use kimg_core::Digest;

use crate::{Reference, Repository};

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// It is known what has to be done.
    Begun {
        /// Blobs, each counted once for each repository that it has to be in.
        blobs: usize,
        /// Their bytes.
        bytes: u64,
    },
    /// Bytes of a blob moved.
    Moved {
        /// The blob.
        digest: Digest,
        /// Bytes of it that are done. It can become less, where a transfer has to begin again.
        done: u64,
        /// All of its bytes.
        size: u64,
    },
    /// A blob is where it should be.
    Blob {
        /// The blob.
        digest: Digest,
        /// Its bytes.
        size: u64,
        /// The repository.
        repository: Repository,
        /// How it came there.
        how: How,
    },
    /// A manifest or index was sent.
    Manifest(Reference),
    /// What was sent was read again, and is the same.
    Compared {
        /// Manifests, indexes, configs and layers.
        count: usize,
    },
    /// A tag names what it should.
    Tagged {
        /// The tag.
        tag: Reference,
        /// What it names.
        digest: Digest,
    },
}

/// How a blob came to where it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum How {
    /// It was there.
    There,
    /// The registry took it over from this repository of its own.
    Mounted(Repository),
    /// It was sent.
    Sent,
    /// It was fetched.
    Fetched,
}

/// Who watches.
pub trait Watch: Send + Sync {
    /// Is told of everything as it happens; should be quick about it.
    fn tell(&self, progress: &Progress);
}

/// Nobody.
impl Watch for () {
    fn tell(&self, _: &Progress) {}
}

impl<F: Fn(&Progress) + Send + Sync> Watch for F {
    fn tell(&self, progress: &Progress) {
        self(progress);
    }
}

/// Adds up how far everything is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    /// Bytes in all.
    pub total: u64,
    /// Bytes of blobs that are done.
    finished: u64,
    /// Bytes of blobs that are under way.
    under_way: std::collections::BTreeMap<Digest, u64>,
}

impl Tally {
    /// Takes one more event into account.
    pub fn take(&mut self, progress: &Progress) {
        match progress {
            // Copying is fetching, and then pushing.
            Progress::Begun { bytes, .. } => self.total += bytes,
            Progress::Moved { digest, done, .. } => drop(self.under_way.insert(*digest, *done)),
            Progress::Blob { digest, size, .. } => {
                self.under_way.remove(digest);
                self.finished += size;
            }
            _ => {}
        }
    }

    /// Bytes that are done, of [`Tally::total`].
    pub fn done(&self) -> u64 {
        self.finished + self.under_way.values().sum::<u64>()
    }
}
