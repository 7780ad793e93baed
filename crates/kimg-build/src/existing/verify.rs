//! Whether images that lie here are what they say: each layer's size and digest, compressed and unpacked. Their indexes,
//! manifests and configs are held against their digests when [`Place::groups`] reads them.

use std::collections::BTreeMap;
use std::io::{self, Read, Write as _};

use kimg_core::{Digest, DigestWriter};
use kimg_layer::decode;
use rayon::prelude::*;

use super::{FoundLayer, Place, ReadError};

/// What was verified, and what was found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Verified {
    /// Images, one for each platform.
    pub images: usize,
    /// Layers, each once.
    pub layers: usize,
    /// Their bytes.
    pub bytes: u64,
    /// The platforms, sorted.
    pub platforms: Vec<String>,
    /// The layers that are not what they should be, with what is wrong.
    pub findings: Vec<(Digest, String)>,
}

/// Reads every layer of a place.
///
/// # Errors
/// A place whose indexes, manifests or configs can't be read or have other bytes than their digests say. A layer that can't be
/// read is a finding.
pub fn verify(place: &Place) -> Result<Verified, ReadError> {
    let groups = place.groups()?;
    let images: Vec<_> = groups.iter().flat_map(|group| &group.images).collect();
    let layers: BTreeMap<(Digest, Digest), &FoundLayer> = images
        .iter()
        .flat_map(|image| &image.layers)
        .map(|layer| ((layer.digest, layer.diff_id), layer))
        .collect();
    let mut findings: Vec<(Digest, String)> =
        layers.par_iter().filter_map(|((digest, _), layer)| Some((*digest, problem(layer).err()?))).collect();
    for image in &images {
        let said = |key: &str| image.config[key].as_str().filter(|word| !word.is_empty());
        let own = image.platform;
        let differs = said("architecture") != Some(own.oci_architecture())
            || said("variant").is_some_and(|variant| Some(variant) != own.oci_variant());
        if differs {
            let word =
                [said("architecture"), said("variant")].into_iter().flatten().collect::<Vec<_>>().join("/");
            findings.push((image.digest, format!("its index says {own}, its config linux/{word}")));
        }
    }
    findings.sort();
    let mut platforms: Vec<String> = images.iter().map(|image| image.platform.to_string()).collect();
    platforms.sort();
    platforms.dedup();
    let bytes = layers.values().map(|layer| layer.stored.size).sum();
    Ok(Verified { images: images.len(), layers: layers.len(), bytes, platforms, findings })
}

/// What is wrong with a layer's bytes.
fn problem(layer: &FoundLayer) -> Result<(), String> {
    let stored = layer.stored.open().map_err(|error| format!("it can't be read: {error}"))?;
    let mut compressed = Hashing { inner: io::BufReader::new(stored), hash: DigestWriter::new(io::sink()) };
    let mut unpacked = DigestWriter::new(io::sink());
    let copied = decode(&mut compressed, &layer.media_type)
        .map_err(|error| error.to_string())
        .and_then(|mut archive| io::copy(&mut archive, &mut unpacked).map_err(|error| error.to_string()));
    // What stands behind the end of the archive belongs to the blob.
    io::copy(&mut compressed, &mut io::sink()).map_err(|error| format!("it can't be read: {error}"))?;
    let (_, found, size) = compressed.hash.finish();
    if size != layer.stored.size {
        return Err(format!("it has {size} bytes, and should have {}", layer.stored.size));
    }
    if found != layer.digest {
        return Err(format!("its bytes have the digest {found}"));
    }
    copied.map_err(|error| format!("it can't be unpacked: {error}"))?;
    let (_, found, _) = unpacked.finish();
    if found != layer.diff_id {
        return Err(format!("unpacked it has the digest {found}, and its config says {}", layer.diff_id));
    }
    Ok(())
}

/// Hashes what is read.
struct Hashing<R> {
    inner: R,
    hash: DigestWriter<io::Sink>,
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.hash.write_all(&buffer[..read])?;
        Ok(read)
    }
}
