//! Reads layouts, one's own and others', and verifies every blob.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use kimg_core::{Digest, Platform};
use kimg_layer::BlobStore;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::MAX_JSON;
use crate::blobs::REF_NAME;
use crate::index::IndexFile;
use crate::{Descriptor, ImageError, OciPlatform};

/// An OCI image layout that is read. Blobs are verified each time.
#[derive(Debug)]
pub struct Layout {
    dir: PathBuf,
    blobs: BlobStore,
    manifests: Vec<Descriptor>,
}

/// One platform's image in a layout.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayoutImage {
    /// What it runs on.
    pub platform: Platform,
    /// Points to its manifest.
    pub descriptor: Descriptor,
    /// Points to its config.
    pub config: Descriptor,
    /// Point to its layers, the lowest first.
    pub layers: Vec<Descriptor>,
    /// The digests of the uncompressed layers: as many as there are layers.
    pub diff_ids: Vec<Digest>,
    /// The manifest's annotations.
    pub annotations: BTreeMap<String, String>,
}

impl Layout {
    /// Opens the layout in this folder. Only `oci-layout` and `index.json` are read.
    pub fn open(dir: impl AsRef<Path>) -> Result<Self, ImageError> {
        let dir = dir.as_ref();
        check_version(dir)?;
        let index = read_index(dir)?.ok_or_else(|| not_a_layout(dir, "it has no `index.json`"))?;
        Ok(Self { dir: dir.to_owned(), blobs: BlobStore::at(dir), manifests: index.manifests })
    }

    /// The folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Its tags and what they name: an index or a manifest.
    pub fn tags(&self) -> BTreeMap<&str, &Descriptor> {
        let tag = |d: &'_ Descriptor| d.annotations.contains_key(REF_NAME);
        self.manifests.iter().filter(|d| tag(d)).map(|d| (d.annotations[REF_NAME].as_str(), d)).collect()
    }

    /// The platforms behind a tag, sorted; those that kimg has no word for are left out.
    pub fn platforms(&self, tag: &str) -> Result<Vec<Platform>, ImageError> {
        let found: BTreeSet<Platform> =
            self.manifests_of(tag)?.iter().filter_map(|(_, p)| p.known()).collect();
        Ok(found.into_iter().collect())
    }

    /// One platform's image behind a tag.
    ///
    /// # Errors
    /// No such tag or platform; a blob that is missing, damaged, malformed, or larger than 4 MiB.
    pub fn image(&self, tag: &str, platform: Platform) -> Result<LayoutImage, ImageError> {
        let manifests = self.manifests_of(tag)?;
        let Some((descriptor, _)) = manifests.iter().find(|(_, found)| found.known() == Some(platform))
        else {
            let name = |p: &OciPlatform| {
                p.known().map_or_else(|| format!("{}/{}", p.os, p.architecture), |p| p.to_string())
            };
            let known = manifests.iter().map(|(_, p)| name(p)).collect();
            return Err(ImageError::NoPlatform { tag: tag.to_owned(), platform, known });
        };
        let manifest: ManifestFile = self.json("manifest", descriptor)?;
        let config = ConfigFile::parse(&self.read_blob(&manifest.config, MAX_JSON)?, &manifest.config)?;
        if config.platform().known() != Some(platform) {
            let said = config.platform();
            let problem = format!("its index says {platform}, its config {}/{}", said.os, said.architecture);
            return Err(ImageError::Contradiction { digest: descriptor.digest, problem });
        }
        let diff_ids = config.diff_ids_of(&manifest.layers, descriptor.digest)?;
        Ok(LayoutImage {
            platform,
            descriptor: descriptor.clone(),
            config: manifest.config,
            layers: manifest.layers,
            diff_ids,
            annotations: manifest.annotations,
        })
    }

    /// A blob's bytes, verified, if they are at most `limit`.
    pub fn read_blob(&self, descriptor: &Descriptor, limit: u64) -> Result<Vec<u8>, ImageError> {
        read_blob(&self.blobs, descriptor, limit)
    }

    /// Copies a blob to a writer, verified on the way. On an error, some bytes may have been written.
    pub fn copy_blob(&self, descriptor: &Descriptor, writer: impl Write) -> Result<(), ImageError> {
        Ok(self.blobs.copy_to(descriptor.digest, descriptor.size, writer)?)
    }

    /// The image manifests behind a tag with their platforms.
    fn manifests_of(&self, tag: &str) -> Result<Vec<(Descriptor, OciPlatform)>, ImageError> {
        let tags = self.tags();
        let Some(&top) = tags.get(tag) else {
            let known = tags.keys().map(|&t| t.to_owned()).collect();
            return Err(ImageError::NoTag { tag: tag.to_owned(), dir: self.dir.clone(), known });
        };
        if top.is_index() {
            let index: IndexFile = self.json("index", top)?;
            let with_platform = |d: Descriptor| d.platform.clone().map(|platform| (d, platform));
            return Ok(index
                .manifests
                .into_iter()
                .filter(Descriptor::is_manifest)
                .filter_map(with_platform)
                .collect());
        }
        if top.is_manifest() {
            let manifest: ManifestFile = self.json("manifest", top)?;
            let config = ConfigFile::parse(&self.read_blob(&manifest.config, MAX_JSON)?, &manifest.config)?;
            return Ok(vec![(top.clone(), config.platform())]);
        }
        let problem = format!("the tag `{tag}` names a `{}`", top.media_type);
        Err(not_a_layout(&self.dir, &problem))
    }

    fn json<T: DeserializeOwned>(
        &self,
        what: &'static str,
        descriptor: &Descriptor,
    ) -> Result<T, ImageError> {
        let bytes = self.read_blob(descriptor, MAX_JSON)?;
        serde_json::from_slice(&bytes).map_err(|source| ImageError::Malformed {
            what,
            digest: descriptor.digest,
            source,
        })
    }
}

pub(super) fn read_blob(
    blobs: &BlobStore,
    descriptor: &Descriptor,
    limit: u64,
) -> Result<Vec<u8>, ImageError> {
    let Descriptor { digest, size, .. } = *descriptor;
    if size > limit {
        return Err(ImageError::TooLarge { digest, size, limit });
    }
    let mut bytes = Vec::new();
    blobs.copy_to(digest, size, &mut bytes)?;
    Ok(bytes)
}

pub(super) fn not_a_layout(dir: &Path, problem: &str) -> ImageError {
    ImageError::NotALayout { dir: dir.to_owned(), problem: problem.to_owned() }
}

/// A small file of the layout; `None` if it isn't there.
pub(super) fn small_file(path: &Path) -> Result<Option<Vec<u8>>, ImageError> {
    let file = match fs_err::File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(ImageError::Disk(error)),
    };
    let mut bytes = Vec::new();
    file.take(MAX_JSON + 1).read_to_end(&mut bytes).map_err(ImageError::Disk)?;
    if bytes.len() as u64 > MAX_JSON {
        let dir = path.parent().unwrap_or(path);
        return Err(not_a_layout(dir, &format!("`{}` is larger than {MAX_JSON} bytes", path.display())));
    }
    Ok(Some(bytes))
}

/// Checks `oci-layout`. Versions 1.x only add things.
pub(super) fn check_version(dir: &Path) -> Result<(), ImageError> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct LayoutFile {
        image_layout_version: String,
    }
    let bytes =
        small_file(&dir.join("oci-layout"))?.ok_or_else(|| not_a_layout(dir, "it has no `oci-layout`"))?;
    let file: LayoutFile = serde_json::from_slice(&bytes)
        .map_err(|error| not_a_layout(dir, &format!("its `oci-layout` is malformed: {error}")))?;
    if file.image_layout_version.starts_with("1.") {
        return Ok(());
    }
    Err(not_a_layout(dir, &format!("its version is {:?}, expected 1.0.0", file.image_layout_version)))
}

pub(super) fn read_index(dir: &Path) -> Result<Option<IndexFile>, ImageError> {
    let Some(bytes) = small_file(&dir.join("index.json"))? else { return Ok(None) };
    let index = serde_json::from_slice(&bytes)
        .map_err(|error| not_a_layout(dir, &format!("its `index.json` is malformed: {error}")))?;
    Ok(Some(index))
}

/// What is read of a manifest (OCI image-spec, manifest.md).
#[derive(Deserialize)]
struct ManifestFile {
    config: Descriptor,
    layers: Vec<Descriptor>,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
}

/// What is read of a config (OCI image-spec, config.md).
#[derive(Deserialize)]
pub(crate) struct ConfigFile {
    architecture: String,
    os: String,
    variant: Option<String>,
    rootfs: RootFs,
}

#[derive(Deserialize)]
struct RootFs {
    diff_ids: Vec<Digest>,
}

impl ConfigFile {
    pub(crate) fn parse(bytes: &[u8], descriptor: &Descriptor) -> Result<Self, ImageError> {
        let digest = descriptor.digest;
        serde_json::from_slice(bytes).map_err(|source| ImageError::Malformed {
            what: "config",
            digest,
            source,
        })
    }

    fn platform(&self) -> OciPlatform {
        OciPlatform {
            architecture: self.architecture.clone(),
            os: self.os.clone(),
            variant: self.variant.clone(),
            other: BTreeMap::new(),
        }
    }

    /// The diff IDs, if they are as many as the layers.
    pub(crate) fn diff_ids_of(
        self,
        layers: &[Descriptor],
        digest: Digest,
    ) -> Result<Vec<Digest>, ImageError> {
        let (found, expected) = (self.rootfs.diff_ids.len(), layers.len());
        if found == expected {
            return Ok(self.rootfs.diff_ids);
        }
        let problem = format!("its manifest has {expected} layers, its config {found}");
        Err(ImageError::Contradiction { digest, problem })
    }
}
