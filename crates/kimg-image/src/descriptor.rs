//! What points to a blob (OCI image-spec, descriptor.md), and the media types.

use std::collections::BTreeMap;
use std::fmt;

use kimg_core::{Digest, Platform};
use serde::{Deserialize, Serialize};

/// Media types (OCI image-spec, media-types.md) and the older names of the same things that Docker gave them.
pub mod media_type {
    /// An image manifest.
    pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
    /// An index of manifests.
    pub const INDEX: &str = "application/vnd.oci.image.index.v1+json";
    /// An image config.
    pub const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
    /// Docker's image manifest.
    pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
    /// Docker's index, the "manifest list".
    pub const DOCKER_INDEX: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
}

/// Points to a blob: what it is, its digest and size.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// What kind of blob it is.
    pub media_type: String,
    /// Its digest.
    pub digest: Digest,
    /// Its bytes.
    pub size: u64,
    /// Key and value, sorted by key.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// What it runs on: on manifests within an index.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<OciPlatform>,
    /// Fields that kimg never writes, kept as others wrote them: `urls`, `data`, `artifactType`.
    #[serde(flatten)]
    pub other: BTreeMap<String, serde_json::Value>,
}

impl Descriptor {
    /// A descriptor without annotations.
    pub fn new(media_type: impl Into<String>, digest: Digest, size: u64) -> Self {
        Self {
            media_type: media_type.into(),
            digest,
            size,
            annotations: BTreeMap::new(),
            platform: None,
            other: BTreeMap::new(),
        }
    }

    /// A descriptor of these bytes.
    pub fn of(media_type: &str, bytes: &[u8]) -> Self {
        Self::new(media_type, Digest::of(bytes), bytes.len() as u64)
    }

    /// Whether it points to an index.
    pub fn is_index(&self) -> bool {
        [media_type::INDEX, media_type::DOCKER_INDEX].contains(&self.media_type.as_str())
    }

    /// Whether it points to an image manifest.
    pub fn is_manifest(&self) -> bool {
        [media_type::MANIFEST, media_type::DOCKER_MANIFEST].contains(&self.media_type.as_str())
    }
}

/// A platform in OCI's words (image-spec, image-index.md): also ones that kimg builds nothing for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OciPlatform {
    /// `GOARCH`: `amd64`, `arm64`, `arm`.
    pub architecture: String,
    /// `GOOS`: `linux`.
    pub os: String,
    /// `v7`, `v8`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
    /// Fields that kimg never writes, kept as others wrote them: `os.version`, `os.features`.
    #[serde(flatten)]
    pub other: BTreeMap<String, serde_json::Value>,
}

impl From<Platform> for OciPlatform {
    fn from(platform: Platform) -> Self {
        Self {
            architecture: platform.oci_architecture().to_owned(),
            os: "linux".to_owned(),
            variant: platform.oci_variant().map(str::to_owned),
            other: BTreeMap::new(),
        }
    }
}

impl fmt::Display for OciPlatform {
    /// `linux/arm/v7`: in kimg's words where it has any.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { os, architecture, variant, .. } = self;
        match (self.known(), variant) {
            (Some(known), _) => f.pad(&known.to_string()),
            (None, Some(variant)) => f.pad(&format!("{os}/{architecture}/{variant}")),
            (None, None) => f.pad(&format!("{os}/{architecture}")),
        }
    }
}

impl OciPlatform {
    /// The platform in kimg's words, if there is one. Without a variant, `arm64` is v8 and `arm` is v7, as containerd has it.
    pub fn known(&self) -> Option<Platform> {
        match (self.os.as_str(), self.architecture.as_str(), self.variant.as_deref().unwrap_or_default()) {
            ("linux", "amd64", "" | "v1") => Some(Platform::Amd64),
            ("linux", "arm64", "" | "v8") => Some(Platform::Arm64),
            ("linux", "arm", "" | "v7") => Some(Platform::ArmV7),
            ("linux", "arm", "v6") => Some(Platform::ArmV6),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_platform_goes_to_ocis_words_and_back() {
        for platform in [Platform::Amd64, Platform::Arm64, Platform::ArmV7, Platform::ArmV6] {
            assert_eq!(OciPlatform::from(platform).known(), Some(platform));
        }
    }

    #[test]
    fn what_others_wrote_into_a_descriptor_is_kept() {
        let text = concat!(
            r#"{"mediaType":"a/b","digest":"sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad","#,
            r#""size":3,"annotations":{"k":"v"},"platform":{"architecture":"amd64","os":"windows","os.version":"10"},"#,
            r#""artifactType":"c/d","urls":["https://example.org/"]}"#
        );
        let descriptor: Descriptor = serde_json::from_str(text).unwrap();
        assert_eq!(serde_json::to_string(&descriptor).unwrap(), text);
        assert_eq!(descriptor.platform.unwrap().known(), None);
    }
}
