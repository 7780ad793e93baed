//! The bytes of files, each under its digest.
//!
//! A content that has the time of change that its digest asks for ([`Digest::file_time`]) is whole as far as the file
//! system knows. One that has another time (changed, or copied without times) is hashed: it gets its time back, or it
//! is as good as none and will be written anew. [`Content::copy_to`] hashes in any case.

use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use fs_err as fs;
use kimg_core::{Content, ContentSink, ContentSource, Digest, DigestWriter, ImagePath, ReadSeek};

use super::presence::Presence;

/// Bytes that are hashed and written at once: a program has megabytes, and each write is a call into the system.
const AT_ONCE: usize = 128 << 10;

/// Keeps the bytes of files on the disk, each under its digest.
#[derive(Debug, Clone)]
pub struct ContentStore {
    folder: PathBuf,
    presence: Arc<Presence>,
}

impl ContentStore {
    pub(super) fn new(folder: PathBuf, presence: Arc<Presence>) -> Self {
        Self { folder, presence }
    }

    fn path(&self, digest: Digest) -> PathBuf {
        let hex = digest.hex();
        self.folder.join(&hex[..2]).join(&hex)
    }

    pub(super) fn get(&self, digest: Digest, size: u64) -> Option<Content> {
        let path = self.path(digest);
        let found = fs::symlink_metadata(&path).ok()?;
        if !found.is_file() || found.len() != size {
            return None;
        }
        if found.modified().ok()? != digest.file_time() {
            if digest_of(&path).ok()? != digest {
                tracing::warn!("{} was changed: it is not used", path.display());
                return None;
            }
            // Without its time it would be hashed again the next time, no more.
            let _ = renew(&path, digest);
        }
        Some(Content::new(digest, size, Arc::new(Stored(path))))
    }
}

impl ContentStore {
    /// The content of this digest, whatever its size, if it is here and was not changed.
    pub fn find(&self, digest: Digest) -> Option<Content> {
        let size = fs::symlink_metadata(self.path(digest)).ok()?.len();
        self.get(digest, size)
    }
}

impl ContentSink for ContentStore {
    fn store(&mut self, _path: &ImagePath, reader: &mut dyn Read) -> io::Result<Content> {
        let file = tempfile::NamedTempFile::new_in(self.presence.scratch())?;
        let mut writer = DigestWriter::new(file);
        io::copy(&mut io::BufReader::with_capacity(AT_ONCE, reader), &mut writer)?;
        let (file, digest, size) = writer.finish();
        let path = self.path(digest);
        if let Some(known) = self.get(digest, size)
            // Its inode is now as young as a new one's: pruning leaves it to who is about to use it.
            && renew(&path, digest).is_ok()
        {
            return Ok(known);
        }
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        file.as_file().set_modified(digest.file_time())?;
        file.persist(&path).map_err(|e| e.error)?;
        Ok(Content::new(digest, size, Arc::new(Stored(path))))
    }
}

fn renew(path: &Path, digest: Digest) -> io::Result<()> {
    fs::File::open(path)?.set_modified(digest.file_time())
}

pub(crate) fn digest_of(path: &Path) -> io::Result<Digest> {
    let mut writer = DigestWriter::new(io::sink());
    io::copy(&mut fs::File::open(path)?, &mut writer)?;
    Ok(writer.finish().1)
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
    use std::time::SystemTime;

    use super::*;
    use crate::Cache;

    fn cache() -> (tempfile::TempDir, Cache) {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::open(folder.path()).unwrap();
        (folder, cache)
    }

    fn store(cache: &Cache, bytes: &[u8]) -> Content {
        cache.contents().store(&ImagePath::new("/usr/bin/x").unwrap(), &mut &*bytes).unwrap()
    }

    #[test]
    fn a_content_is_found_again_by_its_digest() {
        let (_folder, cache) = cache();
        let stored = store(&cache, b"bytes");
        assert_eq!(stored.digest(), Digest::of("bytes"));
        assert_eq!(cache.content(stored.digest(), 5).unwrap().read(10).unwrap(), b"bytes");
        assert!(cache.content(stored.digest(), 6).is_none());
    }

    #[test]
    fn a_content_that_was_changed_on_the_disk_is_none_until_it_is_stored_again() {
        let (_folder, cache) = cache();
        let stored = store(&cache, b"bytes");
        fs::write(cache.contents().path(stored.digest()), b"bites").unwrap();
        assert!(cache.content(stored.digest(), 5).is_none());
        store(&cache, b"bytes");
        assert_eq!(cache.content(stored.digest(), 5).unwrap().read(10).unwrap(), b"bytes");
    }

    #[test]
    fn a_content_that_changes_after_it_was_looked_up_is_noticed_when_it_is_used() {
        let (_folder, cache) = cache();
        let stored = store(&cache, b"bytes");
        fs::write(cache.contents().path(stored.digest()), b"bites").unwrap();
        let error = stored.read(10).unwrap_err();
        assert!(matches!(error, kimg_core::ContentError::Changed { .. }), "{error}");
    }

    #[test]
    fn a_content_that_was_copied_without_its_time_is_hashed_once() {
        let (_folder, cache) = cache();
        let stored = store(&cache, b"bytes");
        let path = cache.contents().path(stored.digest());
        fs::File::open(&path).unwrap().set_modified(SystemTime::now()).unwrap();
        assert!(cache.content(stored.digest(), 5).is_some());
        assert_eq!(fs::metadata(&path).unwrap().modified().unwrap(), stored.digest().file_time());
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
        let path = ImagePath::new("/usr/bin/x").unwrap();
        assert!(cache.contents().store(&path, &mut io::Read::chain(&b"half"[..], Breaks)).is_err());
        assert_eq!(fs::read_dir(cache.scratch()).unwrap().count(), 0);
    }
}
