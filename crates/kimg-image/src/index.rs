//! Several platforms' images behind one digest.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::assemble::json;
use crate::{Descriptor, Image, ImageError, media_type};

/// An index with the images it joins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MultiArch {
    /// The bytes of the index.
    pub bytes: Vec<u8>,
    /// Points to the index.
    pub descriptor: Descriptor,
    /// Its images: amd64, arm64, arm/v7, arm/v6.
    pub images: Vec<Image>,
}

/// An index with the tags it gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tagged {
    /// Tags, such as `v1.34.2` and `v1.34.2-cni`, or names with tags, `kubelet:v1.34.2`: what becomes
    /// `org.opencontainers.image.ref.name` (OCI image-spec, annotations.md).
    pub tags: Vec<String>,
    /// What they name.
    pub image: MultiArch,
}

/// An index as JSON (OCI image-spec, image-index.md), ours or anyone's.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct IndexFile {
    pub(crate) schema_version: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) media_type: Option<String>,
    pub(crate) manifests: Vec<Descriptor>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) annotations: BTreeMap<String, String>,
    /// What others wrote, kept.
    #[serde(flatten)]
    pub(crate) other: BTreeMap<String, serde_json::Value>,
}

impl IndexFile {
    pub(crate) fn new(manifests: Vec<Descriptor>, annotations: BTreeMap<String, String>) -> Self {
        let media_type = Some(media_type::INDEX.to_owned());
        Self { schema_version: 2, media_type, manifests, annotations, other: BTreeMap::new() }
    }
}

/// Joins the images of several platforms into one index, in the order amd64, arm64, arm/v7, arm/v6 however they come.
///
/// # Errors
/// No images at all, two for one platform, or an annotation without a name.
pub fn join(mut images: Vec<Image>, annotations: BTreeMap<String, String>) -> Result<MultiArch, ImageError> {
    if images.is_empty() {
        return Err(ImageError::Together("an index needs at least one image".into()));
    }
    if annotations.contains_key("") {
        return Err(ImageError::Together("an annotation of the index has an empty name".into()));
    }
    images.sort_by_key(|image| image.platform);
    if let Some(pair) = images.windows(2).find(|pair| pair[0].platform == pair[1].platform) {
        let problem =
            format!("there are two images for {}: one index can't tell them apart", pair[0].platform);
        return Err(ImageError::Together(problem));
    }
    let manifests = images.iter().map(|image| image.descriptor.clone()).collect();
    let bytes = json(&IndexFile::new(manifests, annotations));
    let descriptor = Descriptor::of(media_type::INDEX, &bytes);
    Ok(MultiArch { bytes, descriptor, images })
}
