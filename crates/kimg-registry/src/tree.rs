//! What hangs below one digest: indexes, images, and the blobs that they name.

use std::collections::{BTreeMap, BTreeSet};

use kimg_core::{Digest, Platform};
use kimg_image::{Descriptor, OciPlatform, media_type};
use serde::Deserialize;

use crate::{Manifest, RegistryError};

/// A manifest or index, understood.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub(crate) manifest: Manifest,
    pub(crate) kind: Kind,
    /// What the index above says it runs on.
    pub(crate) platform: Option<OciPlatform>,
}

/// What a node names.
#[derive(Debug, Clone)]
pub(crate) enum Kind {
    Index(Vec<Descriptor>),
    Image { config: Box<Descriptor>, layers: Vec<Descriptor> },
}

/// All nodes below one: images first, then indexes, each after everything that it names.
#[derive(Debug, Clone)]
pub(crate) struct Tree {
    pub(crate) nodes: Vec<Node>,
    /// Images that were left out, by what their index says of them.
    pub(crate) left_out: Vec<String>,
}

/// An index within an index within an index is as far as it goes.
const MAX_DEPTH: usize = 4;

/// More manifests no tree has.
const MAX_NODES: usize = 5000;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Written {
    schema_version: u32,
    manifests: Option<Vec<Descriptor>>,
    config: Option<Descriptor>,
    layers: Option<Vec<Descriptor>>,
}

impl Node {
    /// Understands a manifest or index.
    pub(crate) fn parse(manifest: Manifest, platform: Option<OciPlatform>) -> Result<Self, RegistryError> {
        let error = |problem: String| RegistryError::Malformed {
            what: format!("the manifest {}", manifest.descriptor.digest),
            problem,
        };
        let written: Written =
            serde_json::from_slice(&manifest.bytes).map_err(|source| error(source.to_string()))?;
        if written.schema_version != 2 {
            return Err(error(format!("its schema version is {}, expected 2", written.schema_version)));
        }
        let kind = match written {
            Written { manifests: Some(children), config: None, layers: None, .. }
                if manifest.descriptor.is_index() =>
            {
                Kind::Index(children)
            }
            Written { manifests: None, config: Some(config), layers, .. }
                if manifest.descriptor.is_manifest() =>
            {
                Kind::Image { config: Box::new(config), layers: layers.unwrap_or_default() }
            }
            _ => return Err(error(format!("it is no `{}`", manifest.descriptor.media_type))),
        };
        Ok(Self { manifest, kind, platform })
    }

    pub(crate) fn digest(&self) -> Digest {
        self.manifest.descriptor.digest
    }

    /// Whether it names things of the other family, Docker's in OCI's or the other way round: no registry has to take
    /// that, and no runtime to run it.
    pub(crate) fn mixes(&self) -> Option<String> {
        let docker = |kind: &str| kind.starts_with("application/vnd.docker.");
        let oci = |kind: &str| kind.starts_with("application/vnd.oci.");
        let own = &self.manifest.descriptor.media_type;
        let named: Vec<&Descriptor> = match &self.kind {
            Kind::Index(children) => children.iter().collect(),
            Kind::Image { config, layers } => std::iter::once(&**config).chain(layers).collect(),
        };
        let other = named
            .into_iter()
            .map(|it| &it.media_type)
            .find(|kind| (docker(own) && oci(kind)) || (oci(own) && docker(kind)))?;
        Some(format!("the {} {} names a `{other}`", self.what(), self.digest()))
    }

    pub(crate) fn what(&self) -> &'static str {
        match self.kind {
            Kind::Index(_) => "index",
            Kind::Image { .. } => "manifest",
        }
    }
}

impl Tree {
    /// Walks from the top down. `read` gives a manifest by its descriptor; of the images of an index only those for these
    /// platforms are taken, if any are said.
    pub(crate) async fn walk<F: Future<Output = Result<Manifest, RegistryError>>>(
        top: Manifest,
        platforms: Option<&[Platform]>,
        read: impl Fn(Descriptor) -> F,
    ) -> Result<Self, RegistryError> {
        let mut nodes: BTreeMap<Digest, (usize, Node)> = BTreeMap::new();
        let mut left_out = BTreeSet::new();
        let mut level = vec![Node::parse(top, None)?];
        for depth in 0.. {
            let mut next: Vec<Descriptor> = Vec::new();
            for node in level.drain(..) {
                if let Kind::Index(children) = &node.kind {
                    for child in children {
                        match (platforms, &child.platform) {
                            (Some(wanted), Some(platform))
                                if child.is_manifest()
                                    && !platform.known().is_some_and(|it| wanted.contains(&it)) =>
                            {
                                left_out.insert(platform.to_string());
                            }
                            _ => next.push(child.clone()),
                        }
                    }
                }
                // Found once more further down, it counts there: it has to be pushed before what names it.
                nodes.insert(node.digest(), (depth, node));
            }
            if next.is_empty() {
                break;
            }
            if depth == MAX_DEPTH || nodes.len() + next.len() > MAX_NODES {
                return Err(RegistryError::TooLarge {
                    what: "the tree of indexes and manifests".into(),
                    limit: format!("{MAX_DEPTH} indexes deep, {MAX_NODES} manifests"),
                });
            }
            for child in next {
                let platform = child.platform.clone();
                let manifest = match nodes.get(&child.digest) {
                    Some((_, known)) => known.manifest.clone(),
                    None => read(child).await?,
                };
                level.push(Node::parse(manifest, platform)?);
            }
        }
        let mut nodes: Vec<(usize, Node)> = nodes.into_values().collect();
        nodes.sort_by_key(|(depth, node)| {
            (matches!(node.kind, Kind::Index(_)), std::cmp::Reverse(*depth), node.digest())
        });
        let nodes = nodes.into_iter().map(|(_, node)| node).collect();
        Ok(Self { nodes, left_out: left_out.into_iter().collect() })
    }

    /// Configs and layers, each once, and whether it is a config.
    pub(crate) fn blobs(&self) -> Result<BTreeMap<Digest, (u64, bool)>, RegistryError> {
        let mut blobs = BTreeMap::new();
        for node in &self.nodes {
            let Kind::Image { config, layers } = &node.kind else { continue };
            let all = std::iter::once((&**config, true)).chain(layers.iter().map(|layer| (layer, false)));
            for (blob, is_config) in all {
                let (size, _) = *blobs.entry(blob.digest).or_insert((blob.size, is_config));
                if size != blob.size {
                    return Err(RegistryError::Malformed {
                        what: format!("the manifest {}", node.digest()),
                        problem: format!(
                            "the blob {} is said to have {} and {size} bytes",
                            blob.digest, blob.size
                        ),
                    });
                }
            }
        }
        Ok(blobs)
    }
}

/// The config of an image, whatever is in it (OCI image-spec, config.md).
#[derive(Debug, Deserialize)]
pub(crate) struct Config {
    pub(crate) architecture: String,
    pub(crate) os: String,
    pub(crate) variant: Option<String>,
    pub(crate) rootfs: RootFs,
}

#[derive(Debug, Deserialize)]
pub(crate) struct RootFs {
    pub(crate) diff_ids: Vec<Digest>,
}

impl Config {
    /// Whether a descriptor points to one: artifacts have other things in that place.
    pub(crate) fn is_one(descriptor: &Descriptor) -> bool {
        [media_type::CONFIG, "application/vnd.docker.container.image.v1+json"]
            .contains(&&*descriptor.media_type)
    }

    pub(crate) fn parse(bytes: &[u8], digest: Digest) -> Result<Self, RegistryError> {
        serde_json::from_slice(bytes).map_err(|error| RegistryError::Malformed {
            what: format!("the config {digest}"),
            problem: error.to_string(),
        })
    }

    pub(crate) fn platform(&self) -> OciPlatform {
        OciPlatform {
            architecture: self.architecture.clone(),
            os: self.os.clone(),
            variant: self.variant.clone(),
            other: BTreeMap::new(),
        }
    }
}
