//! An OCI image layout as one tar.

use std::collections::BTreeMap;
use std::io::Write;

use kimg_core::ImagePath;
use kimg_layer::{BlobStore, LayerError, TarWriter};

use crate::assemble::json;
use crate::blobs::{blobs_of, tags_of};
use crate::index::IndexFile;
use crate::layout::LAYOUT_FILE;
use crate::{ImageError, Tagged};

/// Writes an archive of the layout that [`crate::write_layout`] would write into an empty folder.
/// The same images give the same bytes. `skopeo copy oci-archive:…`, `podman load` and `ctr image import` read it.
///
/// # Errors
/// As with [`crate::write_layout`]. On an error, `out` holds a useless beginning.
pub fn write_oci_archive<W: Write>(out: W, images: &[Tagged], blobs: &BlobStore) -> Result<W, ImageError> {
    let index = json(&IndexFile::new(tags_of(images)?, BTreeMap::new()));
    let mut archive = TarWriter::new(out);
    // What describes the rest comes first, for readers that don't seek.
    put(&mut archive, "oci-layout", LAYOUT_FILE)?;
    put(&mut archive, "index.json", &index)?;
    archive.directory(&path("blobs"))?;
    archive.directory(&path("blobs/sha256"))?;
    for blob in blobs_of(images)?.values() {
        let name = path(&format!("blobs/sha256/{}", blob.digest.hex()));
        archive.file(&name, blob.size, |out| blob.copy(blobs, out))?;
    }
    Ok(archive.finish()?)
}

pub(crate) fn put<W: Write>(archive: &mut TarWriter<W>, name: &str, bytes: &[u8]) -> Result<(), ImageError> {
    archive.file(&path(name), bytes.len() as u64, |out| out.write_all(bytes).map_err(LayerError::Output))?;
    Ok(())
}

pub(crate) fn path(name: &str) -> ImagePath {
    ImagePath::new(name).expect("the names in an archive are fixed words and hex digits")
}
