//! The archive that `docker load` takes.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};

use kimg_core::{Digest, DigestWriter};
use kimg_layer::{BlobStore, LayerError, TarWriter, decode};
use serde::Serialize;

use crate::archive::{path, put};
use crate::assemble::json;
use crate::blobs::{Blob, check_tag};
use crate::layout::ConfigFile;
use crate::{Descriptor, Image, ImageError};

/// One image of `manifest.json` (moby, image/spec, "Combined Image JSON + Filesystem Changeset Format").
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Item {
    config: String,
    repo_tags: Vec<String>,
    layers: Vec<String>,
}

/// Writes an archive for `docker load`, `podman load` and `skopeo copy docker-archive:…`: images under names like
/// `acme/kubelet:v1.34.2`, all of one platform (the format knows no other), layers that they share once.
///
/// Layers with gzip are put in as they are stored: all three unpack what they find (moby's `loadLayer` calls
/// `DecompressStream`, containers/image's docker-archive reader detects compression, and both check the diff ID).
/// Layers with zstd are unpacked, because Docker before 23 doesn't read them.
///
/// # Errors
/// Images of several platforms, one name for two images, a name without a tag; blobs that are missing or damaged.
/// On an error, `out` holds a useless beginning.
pub fn write_docker_archive<W: Write>(
    out: W,
    images: &[(String, &Image)],
    blobs: &BlobStore,
) -> Result<W, ImageError> {
    check(images)?;
    let mut items: BTreeMap<Digest, Item> = BTreeMap::new();
    let mut order = Vec::new();
    let mut layers: BTreeMap<String, Layer<'_>> = BTreeMap::new();
    let mut configs: BTreeMap<String, &[u8]> = BTreeMap::new();
    for (name, image) in images {
        let id = image.descriptor.digest;
        if let Some(item) = items.get_mut(&id) {
            item.repo_tags.push(name.clone());
            continue;
        }
        Blob::memory("config", &image.config_descriptor, &image.config)?;
        let config = format!("{}.json", image.config_descriptor.digest.hex());
        configs.insert(config.clone(), &image.config);
        let own = layers_of(image)?;
        items.insert(
            id,
            Item {
                config,
                repo_tags: vec![name.clone()],
                layers: own.iter().map(Layer::file_name).collect(),
            },
        );
        layers.extend(own.into_iter().map(|layer| (layer.file_name(), layer)));
        order.push(id);
    }
    let manifest: Vec<&Item> = order.iter().map(|id| &items[id]).collect();

    let mut archive = TarWriter::new(out);
    put(&mut archive, "manifest.json", &json(&manifest))?;
    for (name, bytes) in configs {
        put(&mut archive, &name, bytes)?;
    }
    for layer in layers.values() {
        write_layer(&mut archive, layer, blobs)?;
    }
    Ok(archive.finish()?)
}

fn check(images: &[(String, &Image)]) -> Result<(), ImageError> {
    let Some((_, first)) = images.first() else {
        return Err(ImageError::Together("a Docker archive needs at least one image".into()));
    };
    let mut seen = BTreeSet::new();
    for (name, image) in images {
        if image.platform != first.platform {
            let (one, two) = (first.platform, image.platform);
            return Err(ImageError::Together(format!(
                "a Docker archive holds one platform, not {one} and {two}"
            )));
        }
        if !seen.insert(name) {
            return Err(ImageError::Together(format!("the name `{name}` is given twice")));
        }
        let (repository, tag) = name.rsplit_once(':').unwrap_or((name, ""));
        let good = !repository.is_empty()
            && repository
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-/:".contains(&b))
            && check_tag(tag).is_ok();
        if !good {
            let expected = "an image name with a tag, like acme/kubelet:v1.34.2";
            return Err(ImageError::Name { text: name.clone(), expected });
        }
    }
    Ok(())
}

/// A layer and the digest of what is in it.
struct Layer<'a> {
    descriptor: &'a Descriptor,
    diff_id: Digest,
}

impl Layer<'_> {
    fn file_name(&self) -> String {
        if self.is_gzip() {
            format!("{}.tar.gz", self.descriptor.digest.hex())
        } else {
            format!("{}.tar", self.diff_id.hex())
        }
    }

    fn is_gzip(&self) -> bool {
        self.descriptor.media_type.ends_with("+gzip")
    }
}

fn layers_of(image: &Image) -> Result<Vec<Layer<'_>>, ImageError> {
    let config = ConfigFile::parse(&image.config, &image.config_descriptor)?;
    let diff_ids = config.diff_ids_of(&image.layers, image.descriptor.digest)?;
    Ok(image.layers.iter().zip(diff_ids).map(|(descriptor, diff_id)| Layer { descriptor, diff_id }).collect())
}

fn write_layer<W: Write>(
    archive: &mut TarWriter<W>,
    layer: &Layer<'_>,
    blobs: &BlobStore,
) -> Result<(), ImageError> {
    let name = path(&layer.file_name());
    let gzip = layer.is_gzip();
    let Layer { descriptor: layer, diff_id } = *layer;
    if gzip {
        archive.file(&name, layer.size, |out| Blob::stored(layer).copy(blobs, out))?;
        return Ok(());
    }
    // A tar header needs the size before the bytes: unpacked once to count and verify, once to write.
    blobs.copy_to(layer.digest, layer.size, io::sink())?;
    let (found, size) = unpack(layer, blobs, &mut io::sink())?;
    if found != diff_id {
        let (expected, found) = (diff_id.to_string(), found.to_string());
        return Err(ImageError::Damaged { what: "unpacked layer", expected, found });
    }
    archive.file(&name, size, |out| {
        let (again, _) = unpack(layer, blobs, out)?;
        if again == diff_id {
            return Ok(());
        }
        let (expected, found) = (diff_id.to_string(), again.to_string());
        Err(ImageError::Layer(LayerError::DamagedBlob { digest: layer.digest, expected, found }))
    })
}

fn unpack(layer: &Descriptor, blobs: &BlobStore, out: &mut dyn Write) -> Result<(Digest, u64), LayerError> {
    let file = fs_err::File::open(blobs.path(layer.digest)).map_err(LayerError::Disk)?;
    let mut tar = decode(file, &layer.media_type)?;
    let mut writer = DigestWriter::new(out);
    io::copy(&mut tar, &mut writer).map_err(LayerError::Read)?;
    let (_, digest, size) = writer.finish();
    Ok((digest, size))
}
