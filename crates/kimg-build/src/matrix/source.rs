//! Where images are that are measured.
//!
//! [`Source`] is all that the matrix needs to know of a place: which images are there, and the bytes of a layer. Layouts
//! and archives on this machine are one; what is in a registry is pulled into a layout first.

use std::collections::BTreeMap;
use std::io::{BufReader, Read};
use std::path::Path;

use kimg_core::{Digest, Platform};
use serde_json::Value;

use crate::error::BuildError;
use crate::existing::{FoundImage, Group, Place, ReadError};

/// What the history of kimg's images says of a layer, before its name.
const LAYER: &str = "kimg layer ";

/// A place with images.
pub trait Source: Send + Sync {
    /// What a person typed.
    fn name(&self) -> String;

    /// Every image that is there, or those under the tag that was named. Layers are not read.
    ///
    /// # Errors
    /// A place that can't be read.
    fn images(&self) -> Result<Vec<SourceImage>, BuildError>;

    /// The bytes of a layer of one of its images, as they are stored: compressed.
    ///
    /// # Errors
    /// Bytes that can't be had.
    fn open<'a>(&'a self, layer: &SourceLayer) -> Result<Box<dyn Read + 'a>, BuildError>;
}

/// One image for one platform: all of it but the bytes of its layers.
#[derive(Debug, Clone)]
pub struct SourceImage {
    /// The names that lead to it. May be none.
    pub names: Vec<String>,
    /// What it runs on.
    pub platform: Platform,
    /// The digest of its manifest; in a Docker archive, which has none, of its config.
    pub digest: Digest,
    /// The annotations of its manifest.
    pub annotations: BTreeMap<String, String>,
    /// Its config.
    pub config: Value,
    /// Bottom first.
    pub layers: Vec<SourceLayer>,
}

/// A layer of an image.
#[derive(Debug, Clone)]
pub struct SourceLayer {
    /// The digest of its bytes as stored.
    pub digest: Digest,
    /// The digest of the archive inside.
    pub diff_id: Digest,
    /// How it is compressed.
    pub media_type: String,
    /// Its bytes as stored.
    pub size: u64,
}

impl SourceImage {
    /// An annotation of its manifest.
    pub fn annotation(&self, key: &str) -> Option<&String> {
        self.annotations.get(key)
    }

    /// An annotation of its manifest, or the label of the same name: a Docker archive keeps only labels.
    pub fn said(&self, key: &str) -> Option<String> {
        let label = || self.config["config"]["Labels"][key].as_str().map(str::to_owned);
        self.annotation(key).cloned().or_else(label)
    }

    /// What its history calls each layer, bottom first: names for those that kimg made.
    pub fn layer_names(&self) -> Vec<Option<String>> {
        let history = self.config["history"].as_array().map(Vec::as_slice).unwrap_or_default();
        let with_layers = history.iter().filter(|step| step["empty_layer"] != true);
        let mut names: Vec<Option<String>> = with_layers
            .map(|step| step["created_by"].as_str()?.strip_prefix(LAYER).map(str::to_owned))
            .collect();
        // A history that tells of other layers than there are tells nothing.
        if names.len() != self.layers.len() {
            names = vec![None; self.layers.len()];
        }
        names
    }
}

impl SourceLayer {
    /// Whether it is stored uncompressed.
    pub fn is_plain(&self) -> bool {
        self.media_type.ends_with("tar")
    }
}

/// The images of a place.
///
/// # Errors
/// A place that can't be read.
pub fn of_place(place: Place) -> Result<Box<dyn Source>, BuildError> {
    Ok(Box::new(OnDisk { groups: place.groups()?, place }))
}

/// The layout in a folder.
///
/// # Errors
/// A folder without a layout, and one that can't be read.
pub fn layout(folder: &Path) -> Result<Box<dyn Source>, BuildError> {
    if !folder.join("index.json").is_file() {
        return Err(BuildError::settings_hint(
            format!("there is no OCI layout in {}", folder.display()),
            "`kimg build` writes one; `--layout DIR` names another folder",
        ));
    }
    of_place(folder.display().to_string().parse()?)
}

/// A layout or an archive on this machine.
struct OnDisk {
    place: Place,
    groups: Vec<Group>,
}

impl OnDisk {
    fn found(&self) -> impl Iterator<Item = (&Group, &FoundImage)> {
        self.groups.iter().flat_map(|group| group.images.iter().map(move |image| (group, image)))
    }
}

impl Source for OnDisk {
    fn name(&self) -> String {
        self.place.to_string()
    }

    fn images(&self) -> Result<Vec<SourceImage>, BuildError> {
        let named = self.place.tag().map(|tag| vec![tag.to_owned()]);
        let images = self.found().map(|(group, image)| SourceImage {
            names: named.clone().unwrap_or_else(|| group.tags.clone()),
            platform: image.platform,
            digest: image.digest,
            annotations: image.annotations.clone(),
            config: image.config.clone(),
            layers: image
                .layers
                .iter()
                .map(|layer| SourceLayer {
                    digest: layer.digest,
                    diff_id: layer.diff_id,
                    media_type: layer.media_type.clone(),
                    size: layer.stored.size,
                })
                .collect(),
        });
        Ok(images.collect())
    }

    fn open<'a>(&'a self, layer: &SourceLayer) -> Result<Box<dyn Read + 'a>, BuildError> {
        let stored = self.found().flat_map(|(_, image)| &image.layers).find(|own| own.digest == layer.digest);
        let no_blob = || ReadError::NoBlob { place: self.name(), digest: layer.digest, by: "manifest" };
        let bytes = stored.ok_or_else(no_blob)?.stored.open().map_err(ReadError::from)?;
        Ok(Box::new(BufReader::with_capacity(64 * 1024, bytes)))
    }
}
