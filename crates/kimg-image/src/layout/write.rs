//! Writes layouts: blobs first, `index.json` last, and nothing is left of what fails.

use std::io::Write;
use std::path::{Path, PathBuf};

use kimg_core::Digest;
use kimg_layer::BlobStore;
use rayon::prelude::*;

use super::LAYOUT_FILE;
use super::read::{check_version, not_a_layout, read_index};
use super::sweep::sweep;
use crate::assemble::json;
use crate::blobs::{REF_NAME, blobs_of, tags_of};
use crate::index::IndexFile;
use crate::{Descriptor, ImageError, Tagged};

/// What writing a layout did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LayoutReport {
    /// The tags that were written, sorted, each with the digest of its index.
    pub tags: Vec<(String, Digest)>,
    /// Blobs that were copied in.
    pub added: usize,
    /// Their bytes.
    pub added_bytes: u64,
    /// Blobs that were there already and whole ([`BlobStore::is_whole`]).
    pub reused: usize,
    /// Blobs that nothing referred to any more and that were removed.
    pub removed: usize,
    /// Their bytes.
    pub removed_bytes: u64,
    /// Why unused blobs were left where they are, if they were. The layout is good nevertheless.
    pub not_swept: Option<String>,
}

/// Writes images into an OCI image layout, a folder that is made or added to: the tags given replace those of
/// the same name, others stay. Blobs are copied and verified; then `index.json` is replaced in one step; then the blobs
/// that nothing refers to any more are removed. One process at a time may write to a layout; any number may read.
///
/// # Errors
/// Blobs that are missing or damaged, a folder that holds something else, the disk. Then everything that was added is
/// removed again, the folder too if it was made here, and the layout is what it was.
pub fn write_layout(dir: &Path, images: &[Tagged], blobs: &BlobStore) -> Result<LayoutReport, ImageError> {
    let tags = tags_of(images)?;
    let wanted = blobs_of(images)?;
    let mut added = Added::default();
    prepare(dir, blobs, &mut added)?;
    let layout = BlobStore::at(dir);
    let mut report = LayoutReport {
        tags: tags.iter().map(|tag| (tag.annotations[REF_NAME].clone(), tag.digest)).collect(),
        ..LayoutReport::default()
    };
    let mut missing = Vec::new();
    for blob in wanted.values() {
        if layout.is_whole(blob.digest, blob.size) {
            report.reused += 1;
            continue;
        }
        // One that is damaged is put right, and stays so.
        if !fs_err::exists(layout.path(blob.digest)).map_err(ImageError::Disk)? {
            added.files.push(layout.path(blob.digest));
        }
        report.added += 1;
        report.added_bytes += blob.size;
        missing.push(blob);
    }
    // The largest first, each on a thread of its own: copying is hashing and waiting for the disk.
    missing.sort_by_key(|blob| std::cmp::Reverse(blob.size));
    missing
        .par_iter()
        .with_max_len(1)
        .try_for_each(|blob| layout.put(|out| blob.copy(blobs, out)).map(drop))?;
    let index = merge(dir, tags)?;
    let path = dir.join("index.json");
    if !fs_err::exists(&path).map_err(ImageError::Disk)? {
        added.files.push(path.clone());
    }
    replace(&path, &json(&index))?;
    added.keep();
    match sweep(&layout, &index.manifests) {
        Ok((count, bytes)) => (report.removed, report.removed_bytes) = (count, bytes),
        Err(error) => report.not_swept = Some(error.to_string()),
    }
    Ok(report)
}

/// Makes the folders and `oci-layout` where they are missing.
fn prepare(dir: &Path, blobs: &BlobStore, added: &mut Added) -> Result<(), ImageError> {
    let marker = dir.join("oci-layout");
    let there = |path: &Path| fs_err::exists(path).map_err(ImageError::Disk);
    if there(&marker)? {
        check_version(dir)?;
        read_index(dir)?;
    } else if there(&dir.join("blobs"))? || there(&dir.join("index.json"))? {
        // Sweeping would remove what someone else keeps there.
        return Err(not_a_layout(dir, "it holds `blobs` or `index.json`, but no `oci-layout`"));
    }
    added.make_folders(&dir.join("blobs").join("sha256"))?;
    let same = |a: &Path, b: &Path| Some(fs_err::canonicalize(a).ok()? == fs_err::canonicalize(b).ok()?);
    if same(dir, blobs.root()) == Some(true) {
        return Err(not_a_layout(dir, "it is the store that the blobs come from"));
    }
    if !there(&marker)? {
        // First, so that a layout whose writer was killed is known as one.
        added.files.push(marker.clone());
        replace(&marker, LAYOUT_FILE)?;
    }
    Ok(())
}

/// The index as it is now, with these tags in place of their namesakes. Sorted: the order in which tags came changes nothing.
fn merge(dir: &Path, tags: Vec<Descriptor>) -> Result<IndexFile, ImageError> {
    let mut index =
        read_index(dir)?.unwrap_or_else(|| IndexFile::new(Vec::new(), std::collections::BTreeMap::new()));
    let name = |d: &Descriptor| d.annotations.get(REF_NAME).cloned();
    index.manifests.retain(|old| name(old).is_none() || tags.iter().all(|new| name(new) != name(old)));
    index.manifests.extend(tags);
    index.manifests.sort_by_key(|descriptor| (name(descriptor), descriptor.digest));
    Ok(index)
}

/// Writes a file beside its place and renames it into it.
fn replace(path: &Path, bytes: &[u8]) -> Result<(), ImageError> {
    let disk = |error: std::io::Error| {
        ImageError::Disk(std::io::Error::new(error.kind(), format!("writing `{}`: {error}", path.display())))
    };
    let mut builder = tempfile::Builder::new();
    builder.prefix(".tmp-");
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    let mut file = builder.tempfile_in(path.parent().unwrap_or(path)).map_err(disk)?;
    file.write_all(bytes).map_err(disk)?;
    file.as_file().sync_data().map_err(disk)?;
    file.persist(path).map_err(|error| disk(error.error))?;
    Ok(())
}

/// What was added so far. It is removed when this is dropped, unless it is kept.
#[derive(Default)]
struct Added {
    folders: Vec<PathBuf>,
    files: Vec<PathBuf>,
}

impl Added {
    /// Makes a folder and those above it, and remembers the ones that weren't there.
    fn make_folders(&mut self, dir: &Path) -> Result<(), ImageError> {
        let missing: Vec<&Path> =
            dir.ancestors().take_while(|above| !above.as_os_str().is_empty() && !above.exists()).collect();
        for folder in missing.into_iter().rev() {
            match fs_err::create_dir(folder) {
                Ok(()) => self.folders.push(folder.to_owned()),
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(ImageError::Disk(error)),
            }
        }
        Ok(())
    }

    fn keep(mut self) {
        self.files.clear();
        self.folders.clear();
    }
}

impl Drop for Added {
    fn drop(&mut self) {
        // Nothing can be done about what can't be removed; the error that led here is the one to tell.
        for file in self.files.drain(..).rev() {
            let _ = fs_err::remove_file(file);
        }
        for folder in self.folders.drain(..).rev() {
            let _ = fs_err::remove_dir(folder);
        }
    }
}
