//! What an image is wanted to be, and the checks on it.

use std::collections::{BTreeMap, BTreeSet};

use kimg_core::{Digest, Platform};
use kimg_layer::LayerInfo;

use crate::ImageError;

/// What to run and how (OCI image-spec, config.md, `config`). What is empty isn't written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RunConfig {
    /// The program and its first arguments.
    pub entrypoint: Vec<String>,
    /// Arguments after the entrypoint, which a user may replace.
    pub command: Vec<String>,
    /// Environment variables.
    pub environment: BTreeMap<String, String>,
    /// Labels, such as `org.opencontainers.image.version`.
    pub labels: BTreeMap<String, String>,
    /// The folder in which the program starts. Absolute.
    pub working_dir: Option<String>,
    /// `user`, `uid`, `user:group`, `uid:gid`.
    pub user: Option<String>,
    /// Folders that hold data of each container. Absolute.
    pub volumes: BTreeSet<String>,
    /// `SIGTERM`, or a number.
    pub stop_signal: Option<String>,
}

/// A layer of an image, and what its history says about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageLayer {
    /// The blob.
    pub info: LayerInfo,
    /// What made it, for people: `kimg: kubelet 1.34.2-r0`.
    pub created_by: String,
    /// More for people.
    pub comment: Option<String>,
}

/// Everything that decides an image's bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageSpec {
    /// What it runs on.
    pub platform: Platform,
    /// When it was made, in seconds since 1970; also the time of every history entry. The format allows to leave it
    /// out, but `umoci stat` (0.4.7) crashes then, and others show the year 1.
    pub created: Option<u64>,
    /// Who made it, for people.
    pub author: Option<String>,
    /// What to run.
    pub config: RunConfig,
    /// Its layers, the lowest first. At least one.
    pub layers: Vec<ImageLayer>,
    /// Annotations of the manifest.
    pub annotations: BTreeMap<String, String>,
}

impl ImageSpec {
    pub(crate) fn check(&self) -> Result<(), ImageError> {
        match self.problem() {
            Some(problem) => Err(ImageError::Spec { platform: self.platform, problem }),
            None => Ok(()),
        }
    }

    fn problem(&self) -> Option<String> {
        if self.layers.is_empty() {
            // OCI image-spec, manifest.md: "for portability, layers SHOULD have at least one entry".
            return Some("it has no layers".into());
        }
        let mut seen: BTreeMap<Digest, &LayerInfo> = BTreeMap::new();
        for ImageLayer { info, .. } in &self.layers {
            if !info.media_type.starts_with("application/vnd.oci.image.layer.v1.tar") {
                return Some(format!("the layer {} has the media type `{}`", info.digest, info.media_type));
            }
            if *seen.entry(info.digest).or_insert(info) != info {
                return Some(format!(
                    "the layer {} is named twice with different sizes or contents",
                    info.digest
                ));
            }
        }
        let config = &self.config;
        if [&self.annotations, &config.labels].iter().any(|map| map.contains_key("")) {
            return Some("a label or annotation has an empty name".into());
        }
        if let Some(name) = config.environment.keys().find(|n| n.is_empty() || n.contains(['=', '\0'])) {
            return Some(format!("{name:?} is no name of an environment variable"));
        }
        let paths = config.working_dir.iter().chain(&config.volumes);
        if let Some(path) = paths.into_iter().find(|path| !path.starts_with('/')) {
            return Some(format!("`{path}` is not an absolute path"));
        }
        let texts = config.entrypoint.iter().chain(&config.command).chain(config.environment.values());
        if let Some(text) = texts.into_iter().find(|text| text.contains('\0')) {
            return Some(format!("{text:?} holds a NUL"));
        }
        if config.entrypoint.first().is_some_and(String::is_empty) {
            return Some("its entrypoint is empty".into());
        }
        None
    }
}
