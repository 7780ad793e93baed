//! Which blobs images consist of, each once, and where its bytes come from.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;

use kimg_core::Digest;
use kimg_layer::{BlobStore, LayerError};

use crate::{Descriptor, ImageError, Tagged};

/// The annotation by which a layout's index names a tag (OCI image-spec, annotations.md).
pub(crate) const REF_NAME: &str = "org.opencontainers.image.ref.name";

/// Where a blob's bytes are.
#[derive(Clone, Copy)]
pub(crate) enum Source<'a> {
    Memory(&'a [u8]),
    Store,
}

/// A blob that will be written.
#[derive(Clone, Copy)]
pub(crate) struct Blob<'a> {
    pub(crate) digest: Digest,
    pub(crate) size: u64,
    source: Source<'a>,
}

impl<'a> Blob<'a> {
    /// A blob in memory, if it is what its descriptor says.
    pub(crate) fn memory(
        what: &'static str,
        descriptor: &Descriptor,
        bytes: &'a [u8],
    ) -> Result<Self, ImageError> {
        let found = Digest::of(bytes);
        if found != descriptor.digest || bytes.len() as u64 != descriptor.size {
            let expected = descriptor.digest.to_string();
            return Err(ImageError::Damaged { what, expected, found: found.to_string() });
        }
        Ok(Self { digest: found, size: descriptor.size, source: Source::Memory(bytes) })
    }

    /// A blob of the store.
    pub(crate) fn stored(descriptor: &Descriptor) -> Self {
        Self { digest: descriptor.digest, size: descriptor.size, source: Source::Store }
    }

    /// Writes the bytes, verified on the way.
    pub(crate) fn copy(&self, store: &BlobStore, out: &mut dyn Write) -> Result<(), LayerError> {
        match self.source {
            Source::Memory(bytes) => out.write_all(bytes).map_err(LayerError::Output),
            Source::Store => store.copy_to(self.digest, self.size, out),
        }
    }
}

/// Every blob of these images, once, by digest.
pub(crate) fn blobs_of(images: &[Tagged]) -> Result<BTreeMap<Digest, Blob<'_>>, ImageError> {
    let mut all = Vec::new();
    for Tagged { image, .. } in images {
        for one in &image.images {
            all.extend(one.layers.iter().map(Blob::stored));
            all.push(Blob::memory("config", &one.config_descriptor, &one.config)?);
            all.push(Blob::memory("manifest", &one.descriptor, &one.manifest)?);
        }
        all.push(Blob::memory("index", &image.descriptor, &image.bytes)?);
    }
    Ok(all.into_iter().map(|blob| (blob.digest, blob)).collect())
}

/// One descriptor for each tag, sorted by tag.
///
/// # Errors
/// A tag that is none, one that is given twice, an image without any.
pub(crate) fn tags_of(images: &[Tagged]) -> Result<Vec<Descriptor>, ImageError> {
    let mut seen = BTreeSet::new();
    let mut all = Vec::new();
    for Tagged { tags, image } in images {
        if tags.is_empty() {
            return Err(ImageError::Together(format!("the image {} has no tag", image.descriptor.digest)));
        }
        for tag in tags {
            check_ref_name(tag)?;
            if !seen.insert(tag) {
                return Err(ImageError::Together(format!("the tag `{tag}` is given twice")));
            }
            let mut descriptor = image.descriptor.clone();
            descriptor.annotations.insert(REF_NAME.to_owned(), tag.clone());
            all.push(descriptor);
        }
    }
    all.sort_by(|a, b| a.annotations[REF_NAME].cmp(&b.annotations[REF_NAME]));
    Ok(all)
}

/// OCI image-spec, annotations.md, `org.opencontainers.image.ref.name`: words of letters and digits, parted by one
/// of `-._:@+` or by `--`, and all of that parted by `/`. A tag is one, and so is `kubelet:v1.34.2`.
pub(crate) fn check_ref_name(name: &str) -> Result<(), ImageError> {
    let word = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric());
    let good = name.len() <= 255
        && name
            .split('/')
            .all(|part| part.replace("--", "-").split(['-', '.', '_', ':', '@', '+']).all(word));
    let expected =
        "a reference name: letters and digits with `-`, `.`, `_`, `:`, `@`, `+` and `/` between them";
    if good { Ok(()) } else { Err(ImageError::Name { text: name.chars().take(200).collect(), expected }) }
}

/// OCI distribution-spec, "Pulling manifests": a tag is `[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}`.
pub(crate) fn check_tag(tag: &str) -> Result<(), ImageError> {
    let good = (1..=128).contains(&tag.len())
        && tag.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
        && !tag.starts_with(['.', '-']);
    let expected = "a tag: up to 128 letters, digits, `_`, `.` and `-`, the first no `.` or `-`";
    if good { Ok(()) } else { Err(ImageError::Name { text: tag.chars().take(200).collect(), expected }) }
}
