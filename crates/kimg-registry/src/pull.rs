//! Pulling an image out of a registry, and copying one into another place.

use std::collections::BTreeMap;
use std::sync::Arc;

use kimg_core::Platform;
use kimg_image::{Descriptor, Image, MultiArch, join};
use kimg_layer::BlobStore;

use crate::progress::Watch;
use crate::push::stored;
use crate::tree::{Config, Kind, Node, Tree};
use crate::{Client, PushOptions, Pushed, Reference, RegistryError, Release, Repository, Tag};

/// What was pulled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pulled {
    /// The image as its registry has it, for [`kimg_image::write_layout`]. An index is the very one that was pulled, also
    /// where only some of its platforms were.
    pub image: MultiArch,
    /// Platforms (and attestations) of the index that were not pulled.
    pub left_out: Vec<String>,
    /// Blobs that were fetched.
    pub fetched: usize,
    /// Their bytes.
    pub fetched_bytes: u64,
    /// Blobs that the store had.
    pub there: usize,
}

/// Every platform that kimg has a word for.
const KNOWN: [Platform; 4] = [Platform::Amd64, Platform::Arm64, Platform::ArmV7, Platform::ArmV6];

impl Client {
    /// Pulls an image for these platforms, or for every one that kimg knows, into a store. Each manifest and blob is
    /// compared with the size and digest that it should have.
    ///
    /// # Errors
    /// What is not there, is not what it should be, or has no image for a platform that was asked for.
    pub async fn pull(
        &self,
        reference: &Reference,
        platforms: Option<&[Platform]>,
        into: &BlobStore,
        watch: Arc<dyn Watch>,
    ) -> Result<Pulled, RegistryError> {
        let (top, tree) = self.tree(reference, Some(platforms.unwrap_or(&KNOWN))).await?;
        let gathered = self.gather(reference.repository(), &tree, into, |_, _| true, &watch).await?;
        let images = images(&tree, into)?;
        let found: Vec<Platform> = images.iter().map(|image| image.platform).collect();
        let missing: Vec<String> = platforms
            .unwrap_or_default()
            .iter()
            .filter(|wanted| !found.contains(wanted))
            .map(ToString::to_string)
            .collect();
        if !missing.is_empty() || found.is_empty() {
            let known = found.iter().map(ToString::to_string).chain(tree.left_out).collect();
            let wanted =
                if missing.is_empty() { "any platform that kimg knows".into() } else { missing.join(", ") };
            return Err(RegistryError::NoPlatform { reference: reference.to_string(), wanted, known });
        }
        let bytes = tree.nodes.iter().find(|node| node.digest() == top.digest);
        let bytes = bytes.map(|node| node.manifest.bytes.clone()).unwrap_or_default();
        Ok(Pulled {
            image: MultiArch { bytes, descriptor: top, images },
            left_out: tree.left_out,
            fetched: gathered.fetched.0,
            fetched_bytes: gathered.fetched.1,
            there: gathered.there,
        })
    }

    /// Copies everything below a reference into a repository, every platform of it, byte by byte. Within a registry, blobs
    /// are taken over without being fetched; what has to be fetched goes through `spool`.
    ///
    /// # Errors
    /// As with [`Client::pull`] and [`Client::push`].
    pub async fn copy(
        &self,
        from: &Reference,
        to: &Repository,
        tags: Vec<Tag>,
        spool: &BlobStore,
        options: &PushOptions<'_>,
        watch: Arc<dyn Watch>,
    ) -> Result<Pushed, RegistryError> {
        let (top, tree) = self.tree(from, None).await?;
        let lacking = self.lacking(&tree, from.repository(), to, spool).await?;
        self.gather(from.repository(), &tree, spool, |digest, _| lacking.contains(&digest), &watch).await?;
        let release = Release::new().add(spool, top, to.clone(), tags);
        self.push(&release, options, watch).await
    }

    /// Joins images, which were pushed by their digests from different places, into one index, and pushes that: as
    /// [`Client::gather_parts`] and [`Client::push`] do.
    ///
    /// # Errors
    /// As with both.
    #[expect(clippy::too_many_arguments, reason = "each of them is another thing, and none has a default")]
    pub async fn join(
        &self,
        parts: &[Reference],
        annotations: BTreeMap<String, String>,
        to: &Repository,
        tags: Vec<Tag>,
        spool: &BlobStore,
        options: &PushOptions<'_>,
        watch: Arc<dyn Watch>,
    ) -> Result<Pushed, RegistryError> {
        let joined = self.gather_parts(parts, annotations, to, spool, &watch).await?;
        let release = Release::new().add(spool, joined.descriptor, to.clone(), tags);
        self.push(&release, options, watch).await
    }

    /// Joins images, which were pushed by their digests from different places, into one index in `spool`, with all that a
    /// repository lacks of it. Each part is an image, or an index with some. What annotations the parts' indexes agree on,
    /// the new one has too, beside these: parts of one build become, byte for byte, the index that it would have had.
    ///
    /// # Errors
    /// As with [`Client::copy`]; two parts for one platform.
    pub async fn gather_parts(
        &self,
        parts: &[Reference],
        annotations: BTreeMap<String, String>,
        to: &Repository,
        spool: &BlobStore,
        watch: &Arc<dyn Watch>,
    ) -> Result<MultiArch, RegistryError> {
        let mut all = Vec::new();
        let mut agreed: Option<BTreeMap<String, String>> = None;
        for part in parts {
            let (top, tree) = self.tree(part, Some(&KNOWN)).await?;
            if let Some(node) = tree.nodes.iter().find(|node| node.digest() == top.digest && top.is_index()) {
                let own = index_annotations(&node.manifest.bytes);
                agreed = Some(match agreed {
                    None => own,
                    Some(agreed) => agreed.into_iter().filter(|(key, it)| own.get(key) == Some(it)).collect(),
                });
            }
            let lacking = self.lacking(&tree, part.repository(), to, spool).await?;
            let wanted = |digest, is_config| is_config || lacking.contains(&digest);
            self.gather(part.repository(), &tree, spool, wanted, watch).await?;
            all.extend(images(&tree, spool)?);
        }
        // The same image by way of two parts is one.
        all.sort_by_key(|image| (image.platform, image.descriptor.digest));
        all.dedup_by_key(|image| image.descriptor.digest);
        let mut agreed = agreed.unwrap_or_default();
        agreed.extend(annotations);
        let joined = join(all, agreed)?;
        spool.put_bytes(&joined.bytes)?;
        Ok(joined)
    }
}

/// The annotations of an index (OCI image-spec, image-index.md); none where there are none to read.
fn index_annotations(bytes: &[u8]) -> BTreeMap<String, String> {
    #[derive(serde::Deserialize)]
    struct Index {
        #[serde(default)]
        annotations: BTreeMap<String, String>,
    }
    serde_json::from_slice::<Index>(bytes).map(|index| index.annotations).unwrap_or_default()
}

/// The images of a tree whose configs are in a store, sorted by platform.
fn images(tree: &Tree, store: &BlobStore) -> Result<Vec<Image>, RegistryError> {
    let mut images = Vec::new();
    for node in &tree.nodes {
        let Kind::Image { config, layers } = &node.kind else { continue };
        if let Some(image) = image(node, config, layers, store)? {
            images.push(image);
        }
    }
    images.sort_by_key(|image| image.platform);
    Ok(images)
}

/// One image; `None` if it is none for a platform that kimg knows.
fn image(
    node: &Node,
    config: &Descriptor,
    layers: &[Descriptor],
    store: &BlobStore,
) -> Result<Option<Image>, RegistryError> {
    if !Config::is_one(config) {
        return Ok(None);
    }
    let bytes = stored(store, config)?.bytes;
    let written = Config::parse(&bytes, config.digest)?;
    let Some(platform) = written.platform().known() else { return Ok(None) };
    if let Some(said) = node.platform.as_ref().filter(|said| said.known() != Some(platform)) {
        let what = format!("the platform of {}", node.digest());
        return Err(RegistryError::mismatch(what, said, platform));
    }
    Ok(Some(Image {
        platform,
        config: bytes,
        config_descriptor: config.clone(),
        manifest: node.manifest.bytes.clone(),
        descriptor: Descriptor { platform: Some(platform.into()), ..node.manifest.descriptor.clone() },
        layers: layers.to_vec(),
    }))
}
