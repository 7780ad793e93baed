//! The smaller image's config and manifest: the old ones, with what is no longer true taken out.

use std::collections::BTreeMap;

use kimg_core::{Digest, Platform};
use kimg_image::{Descriptor, Image, OciPlatform};
use kimg_layer::LayerInfo;
use serde_json::{Value, json};

use crate::images::EXTRACTED;

/// What a Docker config says of the container that its last layer was made in.
const OF_THE_BUILD: [&str; 4] =
    ["container", "container_config", "docker_version", "moby.buildkit.buildinfo.v1"];

/// What becomes an image.
pub(super) struct Parts<'a> {
    pub(super) platform: Platform,
    /// The config it had, or an empty object.
    pub(super) config: &'a Value,
    /// The annotations its manifest had.
    pub(super) annotations: &'a BTreeMap<String, String>,
    /// Seconds since 1970, where the config's own time is not to stay.
    pub(super) created: Option<u64>,
    /// How it was made, for its history.
    pub(super) created_by: &'a str,
    /// What it was made from, for its history.
    pub(super) comment: &'a str,
    pub(super) layer: &'a LayerInfo,
}

/// Puts the image together. Its layers are gone, so their history is too: one entry says what was done.
pub(super) fn assemble(parts: &Parts<'_>) -> Image {
    let mut config = parts.config.as_object().cloned().unwrap_or_default();
    config.retain(|key, _| !OF_THE_BUILD.contains(&key.as_str()));
    let platform = OciPlatform::from(parts.platform);
    config.entry("architecture").or_insert_with(|| platform.architecture.into());
    config.entry("os").or_insert_with(|| platform.os.into());
    if let Some(variant) = platform.variant {
        config.entry("variant").or_insert_with(|| variant.into());
    }
    if let Some(created) = parts.created.and_then(time) {
        config.insert("created".into(), created.into());
    }
    let mut history = json!({ "created_by": parts.created_by, "comment": parts.comment });
    if let Some(created) = config.get("created") {
        history["created"] = created.clone();
    }
    config.insert("history".into(), json!([history]));
    config.insert("rootfs".into(), json!({ "type": "layers", "diff_ids": [parts.layer.diff_id] }));
    let config =
        serde_json::to_vec(&config).expect("maps have text as keys, and writing into memory can't fail");
    let LayerInfo { media_type, digest, size, tar_size, .. } = parts.layer;
    let mut annotations = parts.annotations.clone();
    annotations.insert(EXTRACTED.into(), tar_size.to_string());
    Image::of(parts.platform, config, vec![Descriptor::new(media_type, *digest, *size)], &annotations)
}

/// What its history says: how it was called, and of what.
pub(super) fn comment(from: Option<Digest>, kept: u64, all: u64) -> String {
    let from = from.map_or_else(|| "a folder".to_owned(), |digest| digest.to_string());
    format!("{kept} of the {all} files of {from}")
}

fn time(seconds: u64) -> Option<String> {
    let seconds = i64::try_from(seconds).ok()?;
    Some(jiff::Timestamp::from_second(seconds).ok()?.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slimmed(config: &Value, created: Option<u64>) -> Value {
        let layer = LayerInfo {
            media_type: "application/vnd.oci.image.layer.v1.tar+gzip".into(),
            digest: Digest::from_raw([1; 32]),
            size: 10,
            diff_id: Digest::from_raw([2; 32]),
            tar_size: 1024,
        };
        let image = assemble(&Parts {
            platform: Platform::ArmV7,
            config,
            annotations: &BTreeMap::new(),
            created,
            created_by: "kimg slim",
            comment: "1 of the 2 files of a folder",
            layer: &layer,
        });
        serde_json::from_slice(&image.config).unwrap()
    }

    #[test]
    fn how_it_is_run_stays_as_it_was_written_and_only_the_layers_history_is_new() {
        let run = json!({
            "Env": ["Z=1", "A=2"], "ExposedPorts": {"80/tcp": {}}, "Healthcheck": {"Test": ["NONE"]},
            "User": "www", "Labels": {"a": "b"}, "Entrypoint": ["/x"],
        });
        let config = slimmed(
            &json!({
                "created": "2024-01-01T00:00:00Z", "author": "me", "architecture": "arm", "variant": "v7",
                "os": "linux", "os.features": ["x"], "config": run, "container_config": {"Cmd": ["#(nop)"]},
                "history": [{"created_by": "one"}, {"created_by": "two"}], "rootfs": {"diff_ids": ["a", "b"]},
            }),
            None,
        );
        assert_eq!((&config["config"], &config["author"]), (&run, &json!("me")));
        assert_eq!((&config["os.features"], &config["container_config"]), (&json!(["x"]), &Value::Null));
        assert_eq!(config["history"].as_array().unwrap().len(), 1);
        assert_eq!(config["history"][0]["created"], "2024-01-01T00:00:00Z");
        assert_eq!(config["rootfs"]["diff_ids"].as_array().unwrap().len(), 1);
    }

    #[test]
    fn a_folder_gets_its_platform_and_time() {
        let config = slimmed(&json!({}), Some(0));
        let told = (&config["architecture"], &config["variant"], &config["os"], &config["created"]);
        assert_eq!(told, (&json!("arm"), &json!("v7"), &json!("linux"), &json!("1970-01-01T00:00:00Z")));
    }
}
