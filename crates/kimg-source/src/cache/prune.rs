//! Removes from the cache what is not worth its place.
//!
//! What can be used by itself (records, packages, indexes, beginnings of files) goes by when it was used. Contents and
//! blobs go when no record is left that names them. So what stays is whole: there is no record of something that
//! is not there, and if there were, it would be as good as none.
//!
//! Other processes may be using the cache. Then whatever was used or made in the last two days stays, for one
//! of them may have looked it up already: since a use is noted at least once a day, that covers a build of a day.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;
use std::time::{Duration, SystemTime};

use fs_err as fs;
use kimg_core::Digest;

use super::usage::{CacheKind, Item, Tally, scan};
use super::{Cache, NOTED_EVERY, presence};
use crate::SourceError;

/// What may be removed. Without any of the limits these are the leavings of dead processes and what no record names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PruneOptions {
    /// Whatever was not used for this long. A use is noted once a day, so less than a day is not told apart.
    pub older_than: Option<Duration>,
    /// What was used longest ago, until the rest has at most this many bytes.
    pub keep_bytes: Option<u64>,
    /// Everything, even the memory of how new each repository's index was.
    pub all: bool,
    /// The present time.
    pub now: SystemTime,
}

/// What was removed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pruned {
    /// How much of each kind.
    pub kinds: BTreeMap<CacheKind, Tally>,
    /// Whether other processes were using the cache, so that what was used lately had to stay.
    pub in_use: bool,
}

impl Pruned {
    /// How much of all kinds together: files and bytes.
    pub fn total(&self) -> (u64, u64) {
        self.kinds.values().fold((0, 0), |(files, bytes), tally| (files + tally.files, bytes + tally.bytes))
    }
}

/// The records of how new each repository's index was: too small to matter, and what tells an old index from a new.
pub(crate) const SEEN: &str = "seen";

impl Cache {
    /// Removes what the options name. Never follows a symbolic link, and never takes away what another process
    /// that runs at the same time has looked up.
    pub fn prune(&self, options: &PruneOptions) -> Result<Pruned, SourceError> {
        self.presence
            .perhaps_alone(|alone| self.remove(options, alone))
            .and_then(|result| result)
            .map_err(SourceError::disk("pruning the cache"))
    }

    fn remove(&self, options: &PruneOptions, alone: bool) -> io::Result<Pruned> {
        let mut pruned = Pruned { in_use: !alone, ..Pruned::default() };
        // What was neither used nor made since then is in no other process's hands.
        let lately = options.now.checked_sub(2 * NOTED_EVERY).unwrap_or(SystemTime::UNIX_EPOCH);
        let free = |item: &Item| {
            // That the sample is used is noted nowhere.
            alone || (item.used < lately && item.changed < lately && item.kind != CacheKind::Samples)
        };

        {
            let _gate = presence::exclusive(&self.root, "tmp")?;
            let (files, bytes) = presence::remove_dead(&self.root)?;
            if files > 0 {
                pruned.kinds.insert(CacheKind::Temporary, Tally { files, bytes, ..Tally::default() });
            }
        }
        let items = scan(&self.root)?;
        for item in items.iter().filter(|item| item.kind == CacheKind::Temporary && free(item)) {
            // Folders that are here still belong to processes that live.
            if !item.path.starts_with(self.root.join("tmp")) || item.path.is_file() {
                pruned.take(item)?;
            }
        }
        for item in doomed(&items, options, &self.root) {
            // It may have been used since it was looked at.
            let used = fs::symlink_metadata(&item.path).and_then(|found| found.modified());
            if alone || (free(item) && used.is_ok_and(|used| used < lately)) {
                pruned.take(item)?;
            }
        }
        // Looked at once more: only now is it known which records have stayed.
        let items = scan(&self.root)?;
        let named: BTreeSet<Digest> = items.iter().flat_map(|item| item.names.iter().copied()).collect();
        for item in items.iter().filter(|item| item.digest.is_some_and(|digest| !named.contains(&digest))) {
            if alone || item.changed < lately {
                pruned.take(item)?;
            }
        }
        Ok(pruned)
    }
}

impl Pruned {
    fn take(&mut self, item: &Item) -> io::Result<()> {
        let removed = match item.kind {
            CacheKind::Samples => fs::remove_dir_all(&item.path),
            _ => fs::remove_file(&item.path),
        };
        match removed {
            Ok(()) => self.kinds.entry(item.kind).or_default().add(item),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }
}

/// What goes by when it was used.
fn doomed<'a>(items: &'a [Item], options: &PruneOptions, root: &Path) -> Vec<&'a Item> {
    let mut roots: Vec<_> = items
        .iter()
        .filter(|item| !matches!(item.kind, CacheKind::Contents | CacheKind::Blobs | CacheKind::Temporary))
        .filter(|item| options.all || !item.path.starts_with(root.join("record").join(SEEN)))
        .collect();
    if options.all {
        return roots;
    }
    // What was used last comes first; the path only makes the order one.
    roots.sort_by(|a, b| b.used.cmp(&a.used).then_with(|| a.path.cmp(&b.path)));
    let too_old = |item: &Item| {
        options
            .older_than
            .is_some_and(|limit| options.now.duration_since(item.used).is_ok_and(|age| age > limit))
    };
    let objects: BTreeMap<Digest, u64> =
        items.iter().filter_map(|item| Some((item.digest?, item.bytes))).collect();
    let mut counted = BTreeSet::new();
    let (mut bytes, mut full) = (0_u64, false);
    let mut doomed = Vec::new();
    for item in roots {
        let named = item.names.iter().filter(|digest| !counted.contains(*digest));
        let cost = item.bytes + named.filter_map(|digest| objects.get(digest)).sum::<u64>();
        full = full || options.keep_bytes.is_some_and(|limit| bytes + cost > limit);
        if full || too_old(item) {
            doomed.push(item);
        } else {
            bytes += cost;
            counted.extend(item.names.iter().copied());
        }
    }
    doomed
}
