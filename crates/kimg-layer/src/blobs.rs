//! A folder of blobs named by their digests, `blobs/sha256/<hex>`: the shape of an OCI layout's (image-layout.md, "Blobs").

use std::io::{self, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use kimg_core::{Digest, DigestWriter};

use crate::{Entries, LayerError, LayerInfo, Options};

/// A folder of blobs. A blob appears under its name only when all its bytes are written and its digest is known.
///
/// Several processes may use one store: they can only ever put the same bytes under the same name.
#[derive(Debug, Clone)]
pub struct BlobStore {
    root: PathBuf,
    blobs: PathBuf,
}

/// Begins the names of files that are being written. No blob's name begins so.
const TEMPORARY: &str = ".tmp-";

impl BlobStore {
    /// The store in this folder: its blobs lie in `blobs/sha256/`, which is made if it isn't there.
    pub fn open(dir: impl AsRef<Path>) -> Result<Self, LayerError> {
        let store = Self::at(dir);
        fs_err::create_dir_all(&store.blobs).map_err(LayerError::Disk)?;
        Ok(store)
    }

    /// Like [`BlobStore::open`], but nothing is made: for reading.
    pub fn at(dir: impl AsRef<Path>) -> Self {
        let root = dir.as_ref().to_owned();
        Self { blobs: root.join("blobs").join("sha256"), root }
    }

    /// The folder that the store was opened with.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Where a blob lies, or would lie.
    pub fn path(&self, digest: Digest) -> PathBuf {
        self.blobs.join(digest.hex())
    }

    /// Whether there is a blob with this name and size. Its bytes are verified when they are read, not here.
    pub fn contains(&self, digest: Digest, size: u64) -> bool {
        fs_err::symlink_metadata(self.path(digest)).is_ok_and(|found| found.is_file() && found.len() == size)
    }

    /// Whether there is a blob with this name and size that nobody has changed since it was stored, as far as the file
    /// system knows ([`Digest::file_time`]). One with another time, such as a copy, is read and hashed.
    pub fn is_whole(&self, digest: Digest, size: u64) -> bool {
        let path = self.path(digest);
        let untouched = fs_err::symlink_metadata(&path)
            .is_ok_and(|found| found.modified().is_ok_and(|time| time == digest.file_time()));
        if !self.contains(digest, size) {
            return false;
        }
        if !untouched {
            if self.copy_to(digest, size, io::sink()).is_err() {
                return false;
            }
            // Without its time it would be hashed again the next time, no more.
            let _ = fs_err::File::open(&path).and_then(|file| file.set_modified(digest.file_time()));
        }
        true
    }

    /// Stores what `fill` writes; gives its digest and size. If it fails, nothing is stored.
    pub fn put<E: From<LayerError>>(
        &self,
        fill: impl FnOnce(&mut dyn Write) -> Result<(), E>,
    ) -> Result<(Digest, u64), E> {
        self.store(fill).map(|((), digest, size)| (digest, size))
    }

    /// Stores these bytes.
    pub fn put_bytes(&self, bytes: &[u8]) -> Result<(Digest, u64), LayerError> {
        self.put(|out| out.write_all(bytes).map_err(LayerError::Output))
    }

    /// Writes a layer ([`crate::write()`]) into the store.
    pub fn put_layer(&self, entries: &Entries, options: &Options) -> Result<LayerInfo, LayerError> {
        self.store(|out| crate::write(entries, options, out).map(|(_, info)| info)).map(|(info, _, _)| info)
    }

    /// Every blob with its size, sorted. Files with other names are not blobs.
    pub fn list(&self) -> Result<Vec<(Digest, u64)>, LayerError> {
        let mut blobs = Vec::new();
        for entry in fs_err::read_dir(&self.blobs).map_err(LayerError::Disk)? {
            let entry = entry.map_err(LayerError::Disk)?;
            let name = entry.file_name();
            let digest = name.to_str().and_then(|name| Digest::from_hex(name).ok());
            let metadata = entry.metadata().map_err(LayerError::Disk)?;
            if let Some(digest) = digest.filter(|_| metadata.is_file()) {
                blobs.push((digest, metadata.len()));
            }
        }
        blobs.sort_unstable();
        Ok(blobs)
    }

    /// Removes a blob. One that isn't there is no error.
    pub fn remove(&self, digest: Digest) -> Result<(), LayerError> {
        remove(&self.path(digest))
    }

    /// Removes what writers left behind that were killed. For stores with one writer at a time.
    pub fn remove_unfinished(&self) -> Result<(), LayerError> {
        for entry in fs_err::read_dir(&self.blobs).map_err(LayerError::Disk)? {
            let entry = entry.map_err(LayerError::Disk)?;
            if entry.file_name().to_str().is_some_and(|name| name.starts_with(TEMPORARY)) {
                remove(&entry.path())?;
            }
        }
        Ok(())
    }

    fn store<T, E: From<LayerError>>(
        &self,
        fill: impl FnOnce(&mut dyn Write) -> Result<T, E>,
    ) -> Result<(T, Digest, u64), E> {
        let disk = |error| E::from(LayerError::Disk(error));
        let at = |error| disk(with_path("writing a blob in", &self.blobs, &error));
        let mut builder = tempfile::Builder::new();
        builder.prefix(TEMPORARY);
        #[cfg(unix)]
        builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
        let file = builder.tempfile_in(&self.blobs).map_err(at)?;
        let mut writer = DigestWriter::new(BufWriter::with_capacity(128 * 1024, file));
        let filled = fill(&mut writer)?;
        let (buffered, digest, size) = writer.finish();
        let file = buffered.into_inner().map_err(|error| at(error.into_error()))?;
        // Without it, a power cut could leave the name with other bytes behind it.
        file.as_file().sync_data().map_err(at)?;
        file.as_file().set_modified(digest.file_time()).map_err(at)?;
        let path = self.path(digest);
        file.persist(&path).map_err(|error| disk(with_path("naming the blob", &path, &error.error)))?;
        Ok((filled, digest, size))
    }

    /// Copies a blob to a writer, comparing size and digest on the way.
    /// On an error, some bytes may have been written: the caller throws its output away.
    pub fn copy_to(&self, digest: Digest, size: u64, writer: impl Write) -> Result<(), LayerError> {
        let path = self.path(digest);
        let damaged = |expected: String, found: String| LayerError::DamagedBlob { digest, expected, found };
        let metadata = match fs_err::metadata(&path) {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(LayerError::NoBlob { digest, store: self.root.clone() });
            }
            Err(error) => return Err(LayerError::Disk(error)),
        };
        // Opening a pipe that someone put there would wait forever.
        if !metadata.is_file() {
            return Err(damaged("a regular file".to_owned(), "something else".to_owned()));
        }
        if metadata.len() != size {
            return Err(damaged(format!("{size} bytes"), metadata.len().to_string()));
        }
        let file = fs_err::File::open(&path).map_err(LayerError::Disk)?;
        let mut file = file.take(size);
        let mut writer = DigestWriter::new(writer);
        let mut buffer = vec![0; 128 * 1024];
        loop {
            match file.read(&mut buffer) {
                Ok(0) => break,
                Ok(read) => writer.write_all(&buffer[..read]).map_err(LayerError::Output)?,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(LayerError::Disk(error)),
            }
        }
        let (_, found, _) = writer.finish();
        if found == digest { Ok(()) } else { Err(damaged(digest.to_string(), found.to_string())) }
    }
}

fn remove(path: &Path) -> Result<(), LayerError> {
    match fs_err::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(LayerError::Disk(error)),
        _ => Ok(()),
    }
}

fn with_path(doing: &str, path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{doing} `{}`: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store() -> (tempfile::TempDir, BlobStore) {
        let dir = tempfile::tempdir().unwrap();
        let store = BlobStore::open(dir.path()).unwrap();
        (dir, store)
    }

    fn files(store: &BlobStore) -> Vec<String> {
        let entries = fs_err::read_dir(&store.blobs).unwrap();
        entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[test]
    fn a_blob_that_was_changed_in_place_is_not_whole_and_a_copy_is_hashed_once() {
        let (_dir, store) = store();
        let (digest, size) = store.put_bytes(b"abc").unwrap();
        assert!(store.is_whole(digest, size));
        let path = store.path(digest);
        let time = || fs_err::metadata(&path).unwrap().modified().unwrap();
        fs_err::File::open(&path).unwrap().set_modified(std::time::SystemTime::now()).unwrap();
        assert_ne!(time(), digest.file_time());
        assert!(store.is_whole(digest, size));
        assert_eq!(time(), digest.file_time());
        fs_err::write(&path, b"abd").unwrap();
        assert!(store.contains(digest, size) && !store.is_whole(digest, size));
        assert!(!store.is_whole(Digest::of("absent"), 3));
    }

    #[test]
    fn a_blob_is_found_under_its_digest() {
        let (_dir, store) = store();
        let (digest, size) = store.put_bytes(b"abc").unwrap();
        assert_eq!((digest, size), (Digest::of("abc"), 3));
        assert!(
            store.contains(digest, 3) && !store.contains(digest, 4) && !store.contains(Digest::of("x"), 1)
        );
        let mut bytes = Vec::new();
        store.copy_to(digest, 3, &mut bytes).unwrap();
        assert_eq!(bytes, b"abc");
        assert_eq!(files(&store), [digest.hex()]);
    }

    #[test]
    fn blobs_are_listed_and_removed_and_nothing_else_is() {
        let (_dir, store) = store();
        let mut blobs = [store.put_bytes(b"abc").unwrap(), store.put_bytes(b"x").unwrap()];
        blobs.sort_unstable();
        fs_err::write(store.blobs.join("README"), "").unwrap();
        fs_err::write(store.blobs.join(".tmp-killed"), "").unwrap();
        assert_eq!(store.list().unwrap(), blobs);
        store.remove_unfinished().unwrap();
        store.remove(blobs[0].0).unwrap();
        store.remove(blobs[0].0).unwrap();
        let mut left = files(&store);
        left.sort();
        let mut expected = [blobs[1].0.hex(), "README".to_owned()];
        expected.sort();
        assert_eq!(left, expected);
    }

    #[test]
    fn what_fails_half_way_leaves_nothing() {
        let (_dir, store) = store();
        let error = store.put(|out| {
            out.write_all(&vec![7; 300_000]).map_err(LayerError::Output)?;
            Err(LayerError::MediaType("no".into()))
        });
        assert!(matches!(error, Err(LayerError::MediaType(_))));
        assert!(files(&store).is_empty());
    }

    #[test]
    fn damaged_and_missing_blobs_are_told_apart() {
        let (_dir, store) = store();
        let (digest, size) = store.put_bytes(b"abc").unwrap();
        fs_err::write(store.path(digest), "abd").unwrap();
        assert!(matches!(store.copy_to(digest, size, io::sink()), Err(LayerError::DamagedBlob { .. })));
        fs_err::write(store.path(digest), "ab").unwrap();
        assert!(matches!(store.copy_to(digest, size, io::sink()), Err(LayerError::DamagedBlob { .. })));
        assert!(matches!(store.copy_to(Digest::of(""), 0, io::sink()), Err(LayerError::NoBlob { .. })));
        fs_err::remove_file(store.path(digest)).unwrap();
        fs_err::create_dir(store.path(digest)).unwrap();
        assert!(matches!(store.copy_to(digest, size, io::sink()), Err(LayerError::DamagedBlob { .. })));
        fs_err::remove_dir(store.path(digest)).unwrap();
        // Stored again, it is whole again.
        store.put_bytes(b"abc").unwrap();
        store.copy_to(digest, size, io::sink()).unwrap();
    }
}
