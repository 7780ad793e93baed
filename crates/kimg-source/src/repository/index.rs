//! Indexes: fetched when they have changed, verified each time, and held against the newest that was seen before.
//!
//! An index is signed, but an old one is so too: who can put themselves between a mirror and this machine could show
//! a repository from before a fix. So the cache remembers how new the newest verified index of each mirror was. An
//! older one is told as rolled back, does not take the newer one's place in the cache, and is not remembered.

use fs_err as fs;
use kimg_apk::{Index, KeyRing, read_index, read_unsigned_index};
use kimg_core::{Digest, Platform};
use serde::{Deserialize, Serialize};

use super::mirrors::Failures;
use super::{Reader, Repository, blocking, read_file};
use crate::cache::{SEEN, note_use};
use crate::fetch::{Answer, Validators, Wanted};
use crate::{Location, SourceError};

/// An index, verified, and what is known of how it came.
#[derive(Debug, Clone)]
pub struct FetchedIndex {
    /// The index.
    pub index: Index,
    /// The SHA-256 of its file.
    pub digest: Digest,
    /// The mirror it is from.
    pub from: Location,
    /// How it came from there.
    pub origin: IndexOrigin,
    /// When a newer one had been seen before, and no mirror has that any more.
    pub rolled_back: Option<RolledBack>,
}

/// How an index came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IndexOrigin {
    /// Out of a folder.
    Folder,
    /// The mirror sent it.
    Fetched,
    /// The mirror said that the one in the cache is still the same.
    NotModified,
    /// Out of the cache, and nobody was asked.
    Cache,
}

/// How new an index is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// When the newest package in it was built, in seconds since 1970.
    pub newest: u64,
    /// What the repository says of itself: `v3.22.1-130-g…`.
    pub description: String,
}

/// An index that is older than one that was seen before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RolledBack {
    /// The newest one that was seen.
    pub seen: Seen,
    /// The one that came now.
    pub now: Seen,
}

impl Seen {
    /// How new an index is; `None` when no package in it says when it was built.
    pub fn of(index: &Index) -> Option<Self> {
        let newest = index.packages.iter().filter_map(|record| record.build_time).max()?;
        Some(Self { newest, description: index.description.clone() })
    }

    /// Whether this is newer than `other`. When a newest package is taken out of a repository, the next index has an
    /// older one for its newest: Alpine's descriptions count commits, and tell that this index is nevertheless newer.
    pub fn is_newer_than(&self, other: &Self) -> bool {
        self.newest > other.newest && !counts_more(&other.description, &self.description)
    }
}

/// Whether `a` is later than `b` as `git describe` writes both: `v3.22.1-131-g0123abc` after `v3.22.1-130-g4567def`.
fn counts_more(a: &str, b: &str) -> bool {
    let parts = |text: &str| {
        let (rest, _commit) = text.rsplit_once("-g")?;
        let (tag, count) = rest.rsplit_once('-')?;
        Some((tag.to_owned(), count.parse::<u64>().ok()?))
    };
    matches!((parts(a), parts(b)), (Some((tag, a)), Some((same, b))) if tag == same && a > b)
}

/// What is kept beside a cached index.
#[derive(Debug, Serialize, Deserialize)]
struct Note {
    /// The digest of its bytes: what was changed on the disk is fetched again.
    digest: Digest,
    validators: Validators,
}

/// An index that was verified, but not yet held against what was seen.
struct Candidate {
    index: Index,
    digest: Digest,
    origin: IndexOrigin,
    /// What goes into the cache if it is not older.
    fresh: Option<(Vec<u8>, Validators)>,
}

impl Repository {
    /// The index for a platform, its signature verified, from the first mirror that has a good one.
    ///
    /// A mirror whose index is older than one that was seen before is passed over as well. If none has a newer one, the
    /// newest there is comes back with [`FetchedIndex::rolled_back`]; what to make of that is the caller's policy.
    ///
    /// A mirror is asked each time, but sends the index only when it has changed. The last good one of each is kept for
    /// `--offline`.
    pub async fn index(
        &self,
        platform: Platform,
        keys: &KeyRing,
        reader: &Reader,
    ) -> Result<FetchedIndex, SourceError> {
        let seen = self.seen(platform, reader);
        let mut failures = Failures::of(format!("a good index for {platform}"));
        let mut best: Option<FetchedIndex> = None;
        for mirror in &self.mirrors {
            failures.warn(mirror);
            let location = mirror.below(&[platform.alpine(), "APKINDEX.tar.gz"]);
            let found = match self.candidate(&location, keys, reader).await {
                Ok(found) => found,
                Err(error) => {
                    failures.pass_over(mirror, error, reader)?;
                    continue;
                }
            };
            let rolled_back = rolled_back(seen.as_ref(), &found.index);
            if rolled_back.is_none() {
                if let Some((bytes, validators)) = &found.fresh {
                    keep(&location, bytes, validators, reader)?;
                }
                self.remember(platform, &found.index, reader)?;
            }
            if let Some(rolled_back) = &rolled_back {
                tracing::warn!(
                    "{mirror}: its index for {platform} ({}) is older than one that was seen before ({})",
                    rolled_back.now.description,
                    rolled_back.seen.description
                );
            }
            let up_to_date = rolled_back.is_none();
            if up_to_date || best.as_ref().is_none_or(|best| best.newest() < found.newest()) {
                let Candidate { index, digest, origin, .. } = found;
                best = Some(FetchedIndex { index, digest, from: mirror.clone(), origin, rolled_back });
            }
            if up_to_date {
                break;
            }
        }
        best.ok_or_else(|| failures.into_error())
    }

    async fn candidate(
        &self,
        location: &Location,
        keys: &KeyRing,
        reader: &Reader,
    ) -> Result<Candidate, SourceError> {
        let limit = reader.limits.index_size;
        let (bytes, origin, validators) = match location {
            Location::Path(path) => (read_file("the index", path, limit)?, IndexOrigin::Folder, None),
            Location::Remote(_) if reader.fetcher.is_offline() => {
                let kept = reader.cache.index_path(location);
                if !kept.is_file() {
                    return Err(SourceError::Offline { what: format!("the index {location}") });
                }
                (read_file("the index", &kept, limit)?, IndexOrigin::Cache, None)
            }
            Location::Remote(url) => self.ask(location, url, reader).await?,
        };
        let (keys, limits, signed) = (keys.clone(), reader.limits, self.signed);
        let (index, digest, bytes) = blocking(move || {
            let read = if signed {
                read_index(&bytes, &keys, &limits)
            } else {
                read_unsigned_index(&bytes, &limits)
            };
            (read, Digest::of(&bytes), bytes)
        })
        .await?;
        let index = index.map_err(|source| SourceError::Apk { what: format!("index {location}"), source })?;
        Ok(Candidate { index, digest, origin, fresh: validators.map(|validators| (bytes, validators)) })
    }

    /// Asks a mirror for its index, unless it is the one in the cache.
    async fn ask(
        &self,
        location: &Location,
        url: &str,
        reader: &Reader,
    ) -> Result<(Vec<u8>, IndexOrigin, Option<Validators>), SourceError> {
        if let Some(error) = reader.fetcher.given_up(location) {
            return Err(error);
        }
        let limit = reader.limits.index_size;
        let kept = reader.cache.index_path(location);
        let known = fs::read(note_path(&kept))
            .ok()
            .and_then(|text| serde_json::from_slice::<Note>(&text).ok())
            .zip(read_file("the index", &kept, limit).ok())
            .filter(|(note, bytes)| Digest::of(bytes) == note.digest);
        let wanted = Wanted { url, limit, watch: reader.watch.as_ref() };
        let validators = known.as_ref().map(|(note, _)| &note.validators);
        match (reader.fetcher.get_if_changed(&wanted, validators).await?, known) {
            (Answer::Same, Some((_, bytes))) => {
                for path in [&kept, &note_path(&kept)] {
                    if let Ok(file) = fs::File::open(path) {
                        note_use(&file);
                    }
                }
                Ok((bytes, IndexOrigin::NotModified, None))
            }
            (Answer::New(bytes, validators), _) => Ok((bytes, IndexOrigin::Fetched, Some(validators))),
            // Only who asked whether something is the same is told so.
            (Answer::Same, None) => Err(SourceError::Status { url: location.to_string(), status: 304 }),
        }
    }

    /// The newest index that was seen at any of the mirrors.
    fn seen(&self, platform: Platform, reader: &Reader) -> Option<Seen> {
        let mirrors = self.mirrors.iter().filter(|_| self.signed);
        let seen =
            mirrors.filter_map(|mirror| reader.cache.record::<Seen>(SEEN, &seen_key(mirror, platform)));
        seen.reduce(|best, other| if other.is_newer_than(&best) { other } else { best })
    }

    /// Remembers an index for all mirrors: each is to have it, or a newer one, from now on.
    fn remember(&self, platform: Platform, index: &Index, reader: &Reader) -> Result<(), SourceError> {
        let Some(now) = Seen::of(index).filter(|_| self.signed) else { return Ok(()) };
        for mirror in &self.mirrors {
            reader.cache.update(SEEN, &seen_key(mirror, platform), |old: Option<Seen>| match old {
                Some(old) if old == now || old.is_newer_than(&now) => None,
                _ => Some(now.clone()),
            })?;
        }
        Ok(())
    }
}

impl FetchedIndex {
    fn newest(&self) -> Option<u64> {
        Seen::of(&self.index).map(|seen| seen.newest)
    }
}

impl Candidate {
    fn newest(&self) -> Option<u64> {
        Seen::of(&self.index).map(|seen| seen.newest)
    }
}

fn rolled_back(seen: Option<&Seen>, index: &Index) -> Option<RolledBack> {
    let (seen, now) = (seen?, Seen::of(index)?);
    seen.is_newer_than(&now).then(|| RolledBack { seen: seen.clone(), now })
}

fn seen_key(mirror: &Location, platform: Platform) -> Digest {
    Digest::of(format!("kimg seen index 1\n{}\n{}", mirror.identity(), platform.alpine()))
}

/// `….tar.gz` → `….json`
fn note_path(kept: &std::path::Path) -> std::path::PathBuf {
    kept.with_extension("").with_extension("json")
}

/// Keeps an index and what the mirror said of it. The note names the bytes, so that of two processes that write at the
/// same time the note of one never speaks for the index of the other.
fn keep(
    location: &Location,
    bytes: &[u8],
    validators: &Validators,
    reader: &Reader,
) -> Result<(), SourceError> {
    let kept = reader.cache.index_path(location);
    let note = Note { digest: Digest::of(bytes), validators: validators.clone() };
    let text = serde_json::to_vec(&note)
        .map_err(std::io::Error::from)
        .map_err(SourceError::disk("keeping an index"))?;
    reader.cache.write(&kept, bytes)?;
    reader.cache.write(&note_path(&kept), &text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(newest: u64, description: &str) -> Seen {
        Seen { newest, description: description.into() }
    }

    #[test]
    fn the_newest_package_tells_which_index_is_newer_unless_the_commits_do() {
        let old = seen(10, "v3.22.1-130-g0123abc");
        assert!(seen(11, "v3.22.1-131-g4567def").is_newer_than(&old));
        assert!(!old.is_newer_than(&old));
        assert!(!seen(9, "v3.22.1-129-g4567def").is_newer_than(&old));
        // The newest package was taken out again.
        assert!(!old.is_newer_than(&seen(9, "v3.22.1-131-g4567def")));
        // Other tags and other words can't be counted.
        assert!(old.is_newer_than(&seen(9, "v3.22.2-1-g4567def")));
        assert!(old.is_newer_than(&seen(9, "mine")));
    }
}
