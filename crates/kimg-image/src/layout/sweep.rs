//! Removes the blobs of a layout that nothing refers to any more.

use std::collections::BTreeSet;

use kimg_core::Digest;
use kimg_layer::{BlobStore, LayerError};
use serde::Deserialize;

use super::MAX_JSON;
use super::read::read_blob;
use crate::{Descriptor, ImageError};

/// Everything by which manifests and indexes refer to blobs. `subject` counts: a signature keeps what it signs.
#[derive(Deserialize)]
struct References {
    #[serde(default)]
    manifests: Vec<Descriptor>,
    config: Option<Descriptor>,
    #[serde(default)]
    layers: Vec<Descriptor>,
    #[serde(default)]
    blobs: Vec<Descriptor>,
    subject: Option<Descriptor>,
}

/// Removes every blob that can't be reached from these descriptors; gives how many and their bytes.
///
/// # Errors
/// A manifest that is there and can't be read: then nothing is removed, for it might refer to anything.
pub(super) fn sweep(blobs: &BlobStore, from: &[Descriptor]) -> Result<(usize, u64), ImageError> {
    let reached = reach(blobs, from)?;
    let (mut count, mut bytes) = (0, 0);
    for (digest, size) in blobs.list()?.into_iter().filter(|(digest, _)| !reached.contains(digest)) {
        blobs.remove(digest)?;
        count += 1;
        bytes += size;
    }
    blobs.remove_unfinished()?;
    Ok((count, bytes))
}

fn reach(blobs: &BlobStore, from: &[Descriptor]) -> Result<BTreeSet<Digest>, ImageError> {
    let mut reached = BTreeSet::new();
    let mut todo = from.to_vec();
    while let Some(descriptor) = todo.pop() {
        let digest = descriptor.digest;
        if !reached.insert(digest) || !(descriptor.is_index() || descriptor.is_manifest()) {
            continue;
        }
        let bytes = match read_blob(blobs, &descriptor, MAX_JSON) {
            Ok(bytes) => bytes,
            // A layout need not hold every platform of an index.
            Err(ImageError::Layer(LayerError::NoBlob { .. })) => continue,
            Err(error) => return Err(error),
        };
        let found: References = serde_json::from_slice(&bytes).map_err(|source| ImageError::Malformed {
            what: "manifest",
            digest,
            source,
        })?;
        let References { manifests, config, layers, blobs: others, subject } = found;
        todo.extend(manifests.into_iter().chain(config).chain(layers).chain(others).chain(subject));
    }
    Ok(reached)
}
