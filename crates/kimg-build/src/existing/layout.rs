//! OCI image layouts, in a folder or in an archive, ours and anyone's: from `index.json` down to layers
//! (image-spec: image-layout.md, image-index.md, manifest.md, config.md).

use std::collections::BTreeMap;
use std::path::Path;

use kimg_core::Digest;
use kimg_image::{Descriptor, Layout, OciPlatform};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::archive::Contents;
use super::{FoundImage, FoundLayer, Group, Place, ReadError, Stored};

/// The largest index, manifest or config that is read, in bytes.
const MAX_JSON: u64 = 4 << 20;
/// An index in an index in an index: nobody writes more.
const MAX_DEPTH: usize = 3;
/// More layers than any runtime can stack.
const MAX_LAYERS: usize = 256;

const REF_NAME: &str = "org.opencontainers.image.ref.name";

#[derive(Deserialize)]
struct Index {
    manifests: Vec<Descriptor>,
}

#[derive(Deserialize)]
struct Manifest {
    config: Descriptor,
    layers: Vec<Descriptor>,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
}

/// What is looked at in a config, of OCI or of Docker.
#[derive(Deserialize)]
pub(super) struct Config {
    architecture: String,
    os: String,
    variant: Option<String>,
    pub(super) rootfs: RootFs,
}

#[derive(Deserialize)]
pub(super) struct RootFs {
    pub(super) diff_ids: Vec<Digest>,
}

impl Config {
    pub(super) fn platform(&self) -> OciPlatform {
        OciPlatform {
            architecture: self.architecture.clone(),
            os: self.os.clone(),
            variant: self.variant.clone(),
            other: BTreeMap::new(),
        }
    }
}

/// Finds a blob by its digest.
trait Blobs {
    fn find(&self, digest: Digest) -> Option<Stored>;
}

struct Folder<'a>(&'a Path);

impl Blobs for Folder<'_> {
    fn find(&self, digest: Digest) -> Option<Stored> {
        let file = self.0.join("blobs/sha256").join(digest.hex());
        let size = fs_err::metadata(&file).ok().filter(std::fs::Metadata::is_file)?.len();
        Some(Stored { file, offset: 0, size })
    }
}

impl Blobs for Contents {
    fn find(&self, digest: Digest) -> Option<Stored> {
        self.get(&format!("blobs/sha256/{}", digest.hex())).cloned()
    }
}

/// The images of a layout in a folder.
pub(super) fn in_folder(place: &Place) -> Result<Vec<Group>, ReadError> {
    // Says what is wrong where it is no layout, or one of a later version.
    Layout::open(place.path())?;
    let file = place.path().join("index.json");
    let size = fs_err::metadata(&file)?.len();
    groups(place, &Stored { file, offset: 0, size }, &Folder(place.path()))
}

/// The images of a layout in an archive.
pub(super) fn in_archive(place: &Place, contents: &Contents) -> Result<Vec<Group>, ReadError> {
    let index = contents.get("index.json").filter(|_| contents.contains_key("oci-layout"));
    let index = index.ok_or_else(|| ReadError::NotAnArchive {
        archive: place.path().display().to_string(),
        expected: "an archive of an OCI image layout",
        problem: "it has no `oci-layout` and `index.json`".into(),
        hint: contents.contains_key("manifest.json").then(|| "it looks like a docker-archive:PATH".into()),
    })?;
    groups(place, index, contents)
}

fn groups(place: &Place, index: &Stored, blobs: &dyn Blobs) -> Result<Vec<Group>, ReadError> {
    let source = Source { place, blobs };
    let index: Index = source.parse("index.json", &index.read(MAX_JSON)?)?;
    let mut groups: Vec<(Digest, Group)> = Vec::new();
    for top in &index.manifests {
        let tag = top.annotations.get(REF_NAME).cloned();
        if let Some((_, known)) = groups.iter_mut().find(|(digest, _)| *digest == top.digest) {
            known.tags.extend(tag);
            continue;
        }
        let mut group = Group { tags: tag.into_iter().collect(), images: Vec::new(), others: Vec::new() };
        source.collect(top, 0, &mut group)?;
        groups.push((top.digest, group));
    }
    Ok(groups
        .into_iter()
        .map(|(_, mut group)| {
            group.tags.sort();
            group
        })
        .filter(|group| !group.images.is_empty() || !group.others.is_empty())
        .collect())
}

struct Source<'a> {
    place: &'a Place,
    blobs: &'a dyn Blobs,
}

impl Source<'_> {
    /// The images that a descriptor leads to. What is neither an image nor an index (an attestation, a chart) is no image.
    fn collect(&self, descriptor: &Descriptor, depth: usize, group: &mut Group) -> Result<(), ReadError> {
        if descriptor.is_index() {
            if depth >= MAX_DEPTH {
                return Err(
                    self.malformed("index", "it holds an index that holds an index that holds another")
                );
            }
            let index: Index = self.json("index", descriptor)?;
            return index.manifests.iter().try_for_each(|inner| self.collect(inner, depth + 1, group));
        }
        if !descriptor.is_manifest() || descriptor.other.contains_key("artifactType") {
            return Ok(());
        }
        let said = descriptor.platform.as_ref();
        if said.is_some_and(|platform| platform.os == "unknown") {
            return Ok(());
        }
        // Some of an index's platforms may have been left where they were: `kimg pull --arch`.
        if let Some(platform) = said.filter(|_| depth > 0 && self.blobs.find(descriptor.digest).is_none()) {
            group.others.push(format!("{platform} (not here)"));
            return Ok(());
        }
        let manifest: Manifest = self.json("manifest", descriptor)?;
        if !is_config(&manifest.config) {
            return Ok(());
        }
        let whole: Value = self.json("config", &manifest.config)?;
        let config =
            Config::deserialize(&whole).map_err(|error| self.malformed("config", &error.to_string()))?;
        let platform = said.cloned().unwrap_or_else(|| config.platform());
        let Some(known) = platform.known() else {
            group.others.push(platform.to_string());
            return Ok(());
        };
        group.images.push(FoundImage {
            platform: known,
            digest: descriptor.digest,
            variant: manifest.annotations.get(crate::images::VARIANT).cloned(),
            layers: self.layers(&manifest.layers, &config.rootfs.diff_ids)?,
            config: whole,
            annotations: manifest.annotations,
        });
        Ok(())
    }

    fn layers(&self, layers: &[Descriptor], diff_ids: &[Digest]) -> Result<Vec<FoundLayer>, ReadError> {
        if layers.len() != diff_ids.len() {
            let problem = format!("it names {} layers, its config {}", layers.len(), diff_ids.len());
            return Err(self.malformed("manifest", &problem));
        }
        if layers.len() > MAX_LAYERS {
            let place = self.place.to_string();
            return Err(ReadError::Limit { place, what: "layers in one image", limit: MAX_LAYERS as u64 });
        }
        let found = layers.iter().zip(diff_ids).map(|(layer, diff_id)| {
            Ok(FoundLayer {
                digest: layer.digest,
                diff_id: *diff_id,
                media_type: layer.media_type.clone(),
                stored: self.find("manifest", layer)?,
            })
        });
        found.collect()
    }

    fn find(&self, by: &'static str, blob: &Descriptor) -> Result<Stored, ReadError> {
        let place = self.place.to_string();
        let found =
            self.blobs.find(blob.digest).ok_or(ReadError::NoBlob { place, digest: blob.digest, by })?;
        if found.size != blob.size {
            let problem =
                format!("it says that {} has {} bytes; it has {}", blob.digest, blob.size, found.size);
            return Err(self.malformed(by, &problem));
        }
        Ok(found)
    }

    fn json<T: DeserializeOwned>(&self, what: &'static str, blob: &Descriptor) -> Result<T, ReadError> {
        let bytes = self.find("index", blob)?.read(MAX_JSON)?;
        let found = Digest::of(&bytes);
        if found != blob.digest {
            let (place, expected) = (self.place.to_string(), blob.digest);
            return Err(ReadError::Damaged { place, what, expected, found });
        }
        self.parse(what, &bytes)
    }

    fn parse<T: DeserializeOwned>(&self, what: &'static str, bytes: &[u8]) -> Result<T, ReadError> {
        serde_json::from_slice(bytes).map_err(|error| self.malformed(what, &error.to_string()))
    }

    fn malformed(&self, what: &'static str, problem: &str) -> ReadError {
        ReadError::Malformed { place: self.place.to_string(), what, problem: problem.to_owned() }
    }
}

fn is_config(descriptor: &Descriptor) -> bool {
    ["application/vnd.oci.image.config.v1+json", "application/vnd.docker.container.image.v1+json"]
        .contains(&descriptor.media_type.as_str())
}
