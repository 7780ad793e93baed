//! What lies in the cache, of which kind, and when it was last used.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};
use std::{fmt, io};

use fs_err as fs;
use kimg_core::Digest;
use serde::Serialize;

use super::Cache;
use crate::SourceError;

/// The kinds of files in a cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum CacheKind {
    /// Files of packages, packed programs and programs of one's own.
    Contents,
    /// Downloaded packages.
    Packages,
    /// Indexes of mirrors.
    Indexes,
    /// What is known: how packages were unpacked, programs packed, layers compressed.
    Records,
    /// Compressed layers.
    Blobs,
    /// The embedded sample, laid out.
    Samples,
    /// Beginnings of files whose transfer was cut.
    Partial,
    /// Files that a process writes, or was writing when it died.
    Temporary,
}

impl fmt::Display for CacheKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Contents => "contents",
            Self::Packages => "packages",
            Self::Indexes => "indexes",
            Self::Records => "records",
            Self::Blobs => "blobs",
            Self::Samples => "samples",
            Self::Partial => "partial",
            Self::Temporary => "temporary",
        })
    }
}

/// How much there is of one kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Files.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// When the one that was not used for the longest time was used, give or take a day.
    pub oldest: Option<SystemTime>,
    /// When the one that was used last was used, give or take a day.
    pub newest: Option<SystemTime>,
}

impl Tally {
    pub(super) fn add(&mut self, item: &Item) {
        self.files += item.files;
        self.bytes += item.bytes;
        self.oldest = Some(self.oldest.map_or(item.used, |oldest| oldest.min(item.used)));
        self.newest = Some(self.newest.map_or(item.used, |newest| newest.max(item.used)));
    }
}

/// What a cache holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CacheInfo {
    /// Its folder.
    pub folder: PathBuf,
    /// How much there is of each kind; kinds of which there is nothing are left out.
    pub kinds: BTreeMap<CacheKind, Tally>,
}

impl CacheInfo {
    /// How much there is of all kinds together.
    pub fn total(&self) -> Tally {
        self.kinds.values().fold(Tally::default(), |all, tally| Tally {
            files: all.files + tally.files,
            bytes: all.bytes + tally.bytes,
            oldest: all.oldest.into_iter().chain(tally.oldest).min(),
            newest: all.newest.max(tally.newest),
        })
    }
}

impl Cache {
    /// Counts what the cache holds.
    pub fn info(&self) -> Result<CacheInfo, SourceError> {
        let items = scan(&self.root).map_err(SourceError::disk("looking through the cache"))?;
        let mut kinds: BTreeMap<CacheKind, Tally> = BTreeMap::new();
        for item in &items {
            kinds.entry(item.kind).or_default().add(item);
        }
        Ok(CacheInfo { folder: self.root.clone(), kinds })
    }
}

/// Something in the cache that stays or goes as a whole.
#[derive(Debug)]
pub(super) struct Item {
    pub(super) kind: CacheKind,
    pub(super) path: PathBuf,
    pub(super) files: u64,
    pub(super) bytes: u64,
    /// When it was used: for a content or blob, when a record that names it was.
    pub(super) used: SystemTime,
    /// When its inode was changed: what no one can have been using for long is older.
    pub(super) changed: SystemTime,
    /// Its own digest, of a content or blob.
    pub(super) digest: Option<Digest>,
    /// The digests that stand in it, of a record.
    pub(super) names: BTreeSet<Digest>,
}

impl Item {
    fn new(kind: CacheKind, path: PathBuf, found: &Metadata) -> Self {
        let seconds = |s: i64| SystemTime::UNIX_EPOCH + Duration::from_secs(s.try_into().unwrap_or(0));
        let (files, bytes) = if found.is_dir() { size_of(&path) } else { (1, found.len()) };
        let (used, changed) = (seconds(found.mtime()), seconds(found.ctime()));
        Self { kind, path, files, bytes, used, changed, digest: None, names: BTreeSet::new() }
    }
}

/// Everything in the cache. Symbolic links are neither followed nor touched: kimg makes none.
pub(super) fn scan(root: &Path) -> io::Result<Vec<Item>> {
    let mut items = Vec::new();
    for folder in folders(&root.join("record"))? {
        for (path, found) in files(&folder)? {
            let mut item = Item::new(CacheKind::Records, path, &found);
            item.names = fs::read(&item.path).map(|text| digests_in(&text)).unwrap_or_default();
            items.push(item);
        }
    }
    let mut used: BTreeMap<Digest, SystemTime> = BTreeMap::new();
    for (item, digest) in items.iter().flat_map(|item| item.names.iter().map(move |digest| (item, *digest))) {
        let latest = used.entry(digest).or_insert(item.used);
        *latest = item.used.max(*latest);
    }
    let contents =
        folders(&root.join("content/sha256"))?.into_iter().map(|folder| (CacheKind::Contents, folder));
    for (kind, folder) in contents.chain([(CacheKind::Blobs, root.join("blobs/blobs/sha256"))]) {
        for (path, found) in files(&folder)? {
            let mut item = Item::new(kind, path, &found);
            item.digest =
                item.path.file_name().and_then(|n| n.to_str()).and_then(|n| Digest::from_hex(n).ok());
            match item.digest {
                Some(digest) => item.used = used.get(&digest).copied().unwrap_or(item.changed),
                None => item.kind = CacheKind::Temporary,
            }
            items.push(item);
        }
    }
    for (kind, folder) in [
        (CacheKind::Packages, "apk"),
        (CacheKind::Indexes, "index"),
        (CacheKind::Partial, "partial"),
        (CacheKind::Temporary, "tmp"),
    ] {
        items.extend(
            files(&root.join(folder))?.into_iter().map(|(path, found)| Item::new(kind, path, &found)),
        );
    }
    for (kind, folder) in [(CacheKind::Samples, "sample"), (CacheKind::Temporary, "tmp")] {
        for folder in folders(&root.join(folder))? {
            if let Ok(found) = fs::symlink_metadata(&folder) {
                items.push(Item::new(kind, folder, &found));
            }
        }
    }
    Ok(items)
}

/// The regular files right below a folder, sorted; none if the folder is not there, or is none.
fn files(folder: &Path) -> io::Result<Vec<(PathBuf, Metadata)>> {
    Ok(entries(folder)?.into_iter().filter(|(_, found)| found.is_file()).collect())
}

/// The folders right below a folder, sorted.
fn folders(folder: &Path) -> io::Result<Vec<PathBuf>> {
    Ok(entries(folder)?.into_iter().filter(|(_, found)| found.is_dir()).map(|(path, _)| path).collect())
}

fn entries(folder: &Path) -> io::Result<Vec<(PathBuf, Metadata)>> {
    if !fs::symlink_metadata(folder).is_ok_and(|found| found.is_dir()) {
        return Ok(Vec::new());
    }
    let mut entries = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        // What went away since it was listed is not there.
        if let Ok(found) = fs::symlink_metadata(&path) {
            entries.push((path, found));
        }
    }
    entries.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(entries)
}

/// The files below a folder, and their bytes.
pub(super) fn size_of(folder: &Path) -> (u64, u64) {
    let below = entries(folder).unwrap_or_default();
    below.into_iter().fold((0, 0), |(files, bytes), (path, found)| {
        let (more, size) = if found.is_dir() { size_of(&path) } else { (1, found.len()) };
        (files + more, bytes + size)
    })
}

/// Every `sha256:…` in a text, whatever stands around it.
fn digests_in(text: &[u8]) -> BTreeSet<Digest> {
    const WORD: &str = "sha256:";
    let text = String::from_utf8_lossy(text);
    text.match_indices(WORD)
        .filter_map(|(at, _)| text.get(at + WORD.len()..at + WORD.len() + 64))
        .filter_map(|hex| Digest::from_hex(hex).ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use kimg_core::{ContentSink, ImagePath};

    #[test]
    fn every_kind_is_counted_and_a_content_is_as_old_as_the_use_of_what_names_it() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::open(folder.path()).unwrap();
        let content = cache.contents().store(&ImagePath::new("/x").unwrap(), &mut &b"bytes"[..]).unwrap();
        let key = Digest::of("key");
        cache.keep("test", &key, &(content.digest(), 5)).unwrap();
        let long_ago = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
        fs::File::open(cache.record_path("test", &key)).unwrap().set_modified(long_ago).unwrap();
        fs::write(cache.scratch().join("half"), "half").unwrap();

        let info = cache.info().unwrap();
        let contents = info.kinds[&CacheKind::Contents];
        assert_eq!((contents.files, contents.bytes, contents.oldest), (1, 5, Some(long_ago)));
        assert_eq!(info.kinds[&CacheKind::Records].files, 1);
        assert_eq!(info.kinds[&CacheKind::Temporary].bytes, 4);
        assert!(!info.kinds.contains_key(&CacheKind::Blobs));
        assert_eq!((info.total().files, info.total().oldest), (3, Some(long_ago)));
    }

    #[test]
    fn digests_are_found_in_any_text() {
        let (a, b) = (Digest::of("a"), Digest::of("b"));
        let text = format!("[\"{a}\",{{\"x\":\"{b}\"}}] sha256:short sha256:");
        assert_eq!(digests_in(text.as_bytes()), BTreeSet::from([a, b]));
    }
}
