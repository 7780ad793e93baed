//! The cache: a folder that keeps contents, downloaded packages and records between runs.
//!
//! ```text
//! content/sha256/ab/abcd…   the bytes of one file of a package, by their digest
//! apk/<identity>-<size>.apk a downloaded package
//! index/<digest>.tar.gz     the last index of a mirror, by the digest of its address
//! record/<kind>/<key>.json  small facts: an unpacked package's listing, a packed program, a compressed layer
//! blobs/sha256/…            compressed layers
//! ```
//! Every file is written under a temporary name and renamed when whole, so that several processes can
//! share the folder. Nothing in it is trusted: contents and packages are hashed again when they are used,
//! and a record that can't be read is as good as none.

use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use fs_err as fs;
use kimg_core::{Content, ContentSink, ContentSource, Digest, DigestWriter, ImagePath, ReadSeek};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::SourceError;

/// The version of the cache's layout: another one lies in another folder.
const FORMAT: &str = "v1";

/// The folder that keeps what was fetched, unpacked, packed and compressed.
#[derive(Debug, Clone)]
pub struct Cache {
    root: PathBuf,
}

impl Cache {
    /// Opens the cache in this folder, and makes the folder if need be.
    pub fn open(folder: &Path) -> Result<Self, SourceError> {
        let root = folder.join(FORMAT);
        let absolute = std::path::absolute(&root).map_err(SourceError::disk("finding the cache folder"))?;
        for part in ["content/sha256", "apk", "index", "record", "tmp"] {
            let part = absolute.join(part);
            fs::create_dir_all(&part).map_err(SourceError::disk("making the cache folder"))?;
        }
        Ok(Self { root: absolute })
    }

    /// Where compressed layers are kept.
    pub fn blobs(&self) -> PathBuf {
        self.root.join("blobs")
    }

    /// Where the embedded sample is laid out.
    pub fn sample(&self) -> PathBuf {
        self.root.join("sample")
    }

    /// A folder for files that are not whole yet, on the same file system.
    pub fn scratch(&self) -> PathBuf {
        self.root.join("tmp")
    }

    /// A place for the bytes of files.
    pub fn contents(&self) -> ContentStore {
        ContentStore { folder: self.root.join("content/sha256"), scratch: self.scratch() }
    }

    /// The content of this digest and size, if it is here.
    pub fn content(&self, digest: Digest, size: u64) -> Option<Content> {
        self.contents().get(digest, size)
    }

    pub(crate) fn package_path(&self, identity: &str, size: u64) -> PathBuf {
        // The identity is base64, which holds `/`: its digest names the file.
        self.root.join("apk").join(format!("{}-{size}.apk", Digest::of(identity).hex()))
    }

    pub(crate) fn index_path(&self, url: &str) -> PathBuf {
        self.root.join("index").join(format!("{}.tar.gz", Digest::of(url).hex()))
    }

    fn record_path(&self, kind: &str, key: &Digest) -> PathBuf {
        self.root.join("record").join(kind).join(format!("{}.json", key.hex()))
    }

    /// A fact that was kept under a key; `None` when there is none or it can't be read.
    pub fn record<T: DeserializeOwned>(&self, kind: &str, key: &Digest) -> Option<T> {
        let text = fs::read(self.record_path(kind, key)).ok()?;
        serde_json::from_slice(&text).ok()
    }

    /// Keeps a fact under a key that names everything it follows from.
    pub fn keep<T: Serialize>(&self, kind: &str, key: &Digest, fact: &T) -> Result<(), SourceError> {
        let path = self.record_path(kind, key);
        let text = serde_json::to_vec(fact)
            .map_err(io::Error::from)
            .map_err(SourceError::disk(format!("writing the record {}", path.display())))?;
        self.write(&path, &text)
    }

    /// Writes a file whole or not at all.
    pub(crate) fn write(&self, path: &Path, bytes: &[u8]) -> Result<(), SourceError> {
        let result = (|| {
            if let Some(folder) = path.parent() {
                fs::create_dir_all(folder)?;
            }
            let mut file = tempfile::NamedTempFile::new_in(self.scratch())?;
            io::Write::write_all(&mut file, bytes)?;
            file.persist(path).map_err(|e| e.error)?;
            Ok(())
        })();
        result.map_err(SourceError::disk(format!("writing {}", path.display())))
    }
}

/// Keeps the bytes of files on the disk, each under its digest.
#[derive(Debug, Clone)]
pub struct ContentStore {
    folder: PathBuf,
    scratch: PathBuf,
}

impl ContentStore {
    fn path(&self, digest: Digest) -> PathBuf {
        let hex = digest.hex();
        self.folder.join(&hex[..2]).join(&hex)
    }

    fn get(&self, digest: Digest, size: u64) -> Option<Content> {
        let path = self.path(digest);
        let found = fs::metadata(&path).ok()?;
        (found.is_file() && found.len() == size).then(|| Content::new(digest, size, Arc::new(Stored(path))))
    }
}

impl ContentSink for ContentStore {
    fn store(&mut self, _path: &ImagePath, reader: &mut dyn Read) -> io::Result<Content> {
        let file = tempfile::NamedTempFile::new_in(&self.scratch)?;
        let mut writer = DigestWriter::new(file);
        io::copy(reader, &mut writer)?;
        let (file, digest, size) = writer.finish();
        if let Some(known) = self.get(digest, size) {
            return Ok(known);
        }
        let path = self.path(digest);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        file.persist(&path).map_err(|e| e.error)?;
        Ok(Content::new(digest, size, Arc::new(Stored(path))))
    }
}

#[derive(Debug)]
struct Stored(PathBuf);

impl ContentSource for Stored {
    fn open(&self) -> io::Result<Box<dyn ReadSeek>> {
        Ok(Box::new(fs::File::open(&self.0)?))
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

    fn some_path() -> ImagePath {
        ImagePath::new("/usr/bin/x").unwrap()
    }

    #[test]
    fn a_content_is_found_again_by_its_digest() {
        let (_folder, cache) = cache();
        let stored = cache.contents().store(&some_path(), &mut &b"bytes"[..]).unwrap();
        assert_eq!(stored.digest(), Digest::of("bytes"));
        assert_eq!(cache.content(stored.digest(), 5).unwrap().read(10).unwrap(), b"bytes");
        assert!(cache.content(stored.digest(), 6).is_none());
    }

    #[test]
    fn a_content_that_was_changed_on_the_disk_is_noticed() {
        let (_folder, cache) = cache();
        let stored = cache.contents().store(&some_path(), &mut &b"bytes"[..]).unwrap();
        fs::write(cache.contents().path(stored.digest()), b"bites").unwrap();
        let error = cache.content(stored.digest(), 5).unwrap().read(10).unwrap_err();
        assert!(matches!(error, kimg_core::ContentError::Changed { .. }), "{error}");
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
    fn a_sink_that_fails_leaves_no_half_content() {
        struct Breaks;
        impl Read for Breaks {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::Error::other("the archive is broken"))
            }
        }
        let (_folder, cache) = cache();
        assert!(cache.contents().store(&some_path(), &mut io::Read::chain(&b"half"[..], Breaks)).is_err());
        assert_eq!(fs::read_dir(cache.scratch()).unwrap().count(), 0);
    }
}
