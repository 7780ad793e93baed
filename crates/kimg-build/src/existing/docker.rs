//! Archives of `docker save` and its kin: `manifest.json` names a config and layers by their places in the archive
//! (moby, image/spec, "Combined Image JSON + Filesystem Changeset Format").

use std::collections::BTreeMap;
use std::io::Read as _;

use kimg_core::{Digest, DigestWriter};
use serde::Deserialize;
use serde_json::Value;

use super::archive::Contents;
use super::layout::Config;
use super::{FoundImage, FoundLayer, Group, Place, ReadError, Stored};

/// The largest manifest or config that is read, in bytes.
const MAX_JSON: u64 = 4 << 20;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Item {
    config: String,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    layers: Vec<String>,
}

/// The images of an archive.
pub(super) fn in_archive(place: &Place, contents: &Contents) -> Result<Vec<Group>, ReadError> {
    let wrong = |problem: String, hint: Option<String>| ReadError::NotAnArchive {
        archive: place.path().display().to_string(),
        expected: "an archive as `docker save` writes it",
        problem,
        hint,
    };
    let named = |name: &str| contents.get(name).ok_or_else(|| wrong(format!("it has no `{name}`"), None));
    let hint = contents.contains_key("index.json").then(|| "it looks like an oci-archive:PATH".to_owned());
    let manifest =
        contents.get("manifest.json").ok_or_else(|| wrong("it has no `manifest.json`".into(), hint))?;
    let malformed = |what, error: serde_json::Error| ReadError::Malformed {
        place: place.to_string(),
        what,
        problem: error.to_string(),
    };
    let items: Vec<Item> = serde_json::from_slice(&manifest.read(MAX_JSON)?)
        .map_err(|error| malformed("manifest.json", error))?;
    let mut groups = Vec::new();
    for item in items {
        let bytes = named(&item.config)?.read(MAX_JSON)?;
        let whole: Value = serde_json::from_slice(&bytes).map_err(|error| malformed("config", error))?;
        let config = Config::deserialize(&whole).map_err(|error| malformed("config", error))?;
        let mut tags = item.repo_tags.unwrap_or_default();
        tags.sort();
        let mut group = Group { tags, images: Vec::new(), others: Vec::new() };
        let platform = config.platform();
        let Some(known) = platform.known() else {
            group.others.push(format!("{}/{}", platform.os, platform.architecture));
            groups.push(group);
            continue;
        };
        if item.layers.len() != config.rootfs.diff_ids.len() {
            let (listed, said) = (item.layers.len(), config.rootfs.diff_ids.len());
            return Err(wrong(format!("it lists {listed} layers, its config {said}"), None));
        }
        let layers = item.layers.iter().zip(&config.rootfs.diff_ids).map(|(name, diff_id)| {
            let stored = named(name)?.clone();
            let digest = digest_of(&stored)?;
            let media_type = media_type(&stored)?.to_owned();
            Ok(FoundLayer { digest, diff_id: *diff_id, media_type, stored })
        });
        group.images.push(FoundImage {
            platform: known,
            digest: Digest::of(&bytes),
            variant: None,
            layers: layers.collect::<Result<_, ReadError>>()?,
            config: whole,
            annotations: BTreeMap::new(),
        });
        groups.push(group);
    }
    Ok(groups)
}

/// The archive's own digest of a layer: none is written down.
fn digest_of(stored: &Stored) -> Result<Digest, ReadError> {
    let mut writer = DigestWriter::new(std::io::sink());
    std::io::copy(&mut stored.open()?, &mut writer)?;
    Ok(writer.finish().1)
}

/// Layers lie there plain or compressed, and nothing says which.
fn media_type(stored: &Stored) -> Result<&'static str, ReadError> {
    let mut first = Vec::new();
    stored.open()?.take(4).read_to_end(&mut first)?;
    Ok(match first[..] {
        [0x1f, 0x8b, ..] => "application/vnd.oci.image.layer.v1.tar+gzip",
        [0x28, 0xb5, 0x2f, 0xfd] => "application/vnd.oci.image.layer.v1.tar+zstd",
        _ => "application/vnd.oci.image.layer.v1.tar",
    })
}
