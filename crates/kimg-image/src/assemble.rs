//! One platform's image: the bytes of its config and manifest.

use std::collections::BTreeMap;

use kimg_core::{Digest, Platform};
use serde::Serialize;

use crate::{Descriptor, ImageError, ImageSpec, OciPlatform, RunConfig, media_type};

/// One platform's image: everything but the bytes of its layers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// What it runs on.
    pub platform: Platform,
    /// The bytes of its config.
    pub config: Vec<u8>,
    /// Points to the config.
    pub config_descriptor: Descriptor,
    /// The bytes of its manifest.
    pub manifest: Vec<u8>,
    /// Points to the manifest, and names the platform with its variant.
    pub descriptor: Descriptor,
    /// Point to the layers, the lowest first.
    pub layers: Vec<Descriptor>,
}

/// Makes an image's config and manifest. The same spec gives the same bytes.
///
/// # Errors
/// [`ImageError::Spec`] for settings that can't be meant, such as no layers or a time after the year 9999.
pub fn assemble(spec: &ImageSpec) -> Result<Image, ImageError> {
    spec.check()?;
    let created = spec.created.map(|seconds| time(spec, seconds)).transpose()?;
    let layers: Vec<Descriptor> = spec
        .layers
        .iter()
        .map(|layer| Descriptor::new(&layer.info.media_type, layer.info.digest, layer.info.size))
        .collect();
    let config = json(&Config {
        created: created.as_deref(),
        author: spec.author.as_deref(),
        architecture: spec.platform.oci_architecture(),
        variant: spec.platform.oci_variant(),
        os: "linux",
        run: Run::of(&spec.config),
        rootfs: RootFs {
            kind: "layers",
            diff_ids: spec.layers.iter().map(|layer| layer.info.diff_id).collect(),
        },
        history: spec
            .layers
            .iter()
            .map(|layer| History {
                created: created.as_deref(),
                created_by: &layer.created_by,
                comment: layer.comment.as_deref(),
            })
            .collect(),
    });
    Ok(Image::of(spec.platform, config, layers, &spec.annotations))
}

impl Image {
    /// The image with this config, as it will be written, and these layers: its manifest follows from them.
    pub fn of(
        platform: Platform,
        config: Vec<u8>,
        layers: Vec<Descriptor>,
        annotations: &BTreeMap<String, String>,
    ) -> Self {
        let config_descriptor = Descriptor::of(media_type::CONFIG, &config);
        let manifest = json(&Manifest {
            schema_version: 2,
            media_type: media_type::MANIFEST,
            config: &config_descriptor,
            layers: &layers,
            annotations,
        });
        let mut descriptor = Descriptor::of(media_type::MANIFEST, &manifest);
        descriptor.platform = Some(OciPlatform::from(platform));
        Self { platform, config, config_descriptor, manifest, descriptor, layers }
    }
}

/// RFC 3339, as configs have it: `1970-01-01T00:00:00Z`.
fn time(spec: &ImageSpec, seconds: u64) -> Result<String, ImageError> {
    let time = i64::try_from(seconds).ok().and_then(|seconds| jiff::Timestamp::from_second(seconds).ok());
    time.map(|time| time.to_string()).ok_or_else(|| ImageError::Spec {
        platform: spec.platform,
        problem: format!("{seconds} seconds after 1970 is later than the year 9999"),
    })
}

/// The canonical bytes: fields in the order of their struct, maps sorted, no white space.
pub(crate) fn json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("maps have text as keys, and writing into memory can't fail")
}

/// OCI image-spec, config.md. The order of fields is that of Go's struct, which most tools write.
#[derive(Serialize)]
struct Config<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    created: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    author: Option<&'a str>,
    architecture: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    variant: Option<&'a str>,
    os: &'a str,
    #[serde(rename = "config")]
    run: Run<'a>,
    rootfs: RootFs,
    history: Vec<History<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Run<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<&'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    env: Vec<String>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    entrypoint: &'a [String],
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    cmd: &'a [String],
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[expect(clippy::zero_sized_map_values, reason = "the format has a map with empty objects")]
    volumes: BTreeMap<&'a str, Empty>,
    #[serde(skip_serializing_if = "Option::is_none")]
    working_dir: Option<&'a str>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    labels: &'a BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stop_signal: Option<&'a str>,
}

impl<'a> Run<'a> {
    fn of(config: &'a RunConfig) -> Self {
        Self {
            user: config.user.as_deref(),
            env: config.environment.iter().map(|(name, value)| format!("{name}={value}")).collect(),
            entrypoint: &config.entrypoint,
            cmd: &config.command,
            volumes: config.volumes.iter().map(|path| (path.as_str(), Empty {})).collect(),
            working_dir: config.working_dir.as_deref(),
            labels: &config.labels,
            stop_signal: config.stop_signal.as_deref(),
        }
    }
}

#[derive(Serialize)]
struct Empty {}

#[derive(Serialize)]
struct RootFs {
    #[serde(rename = "type")]
    kind: &'static str,
    diff_ids: Vec<Digest>,
}

#[derive(Serialize)]
struct History<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    created: Option<&'a str>,
    created_by: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    comment: Option<&'a str>,
}

/// OCI image-spec, manifest.md.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Manifest<'a> {
    schema_version: u32,
    media_type: &'a str,
    config: &'a Descriptor,
    layers: &'a [Descriptor],
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    annotations: &'a BTreeMap<String, String>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ImageLayer;
    use kimg_layer::LayerInfo;
    use std::collections::BTreeSet;

    fn layer(text: &str) -> ImageLayer {
        let info = LayerInfo {
            media_type: "application/vnd.oci.image.layer.v1.tar+gzip".into(),
            digest: Digest::from_raw([0x11; 32]),
            size: 10,
            diff_id: Digest::from_raw([0x22; 32]),
            tar_size: 1024,
        };
        ImageLayer { info, created_by: text.into(), comment: None }
    }

    fn spec() -> ImageSpec {
        ImageSpec {
            platform: Platform::ArmV7,
            created: Some(1_700_000_000),
            author: None,
            config: RunConfig::default(),
            layers: vec![layer("kimg: \"base\"")],
            annotations: BTreeMap::new(),
        }
    }

    #[test]
    fn the_bytes_are_exactly_these() {
        // A change here changes every image's digest.
        let map =
            |pairs: &[(&str, &str)]| pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let image = assemble(&ImageSpec {
            author: Some("kimg".into()),
            config: RunConfig {
                entrypoint: vec!["/k".into()],
                command: vec!["run".into()],
                environment: map(&[("Z", ""), ("A", "b=c")]),
                labels: map(&[("z", "2"), ("a", "1")]),
                working_dir: Some("/".into()),
                user: Some("0".into()),
                volumes: BTreeSet::from(["/v".to_owned()]),
                stop_signal: Some("SIGINT".into()),
            },
            annotations: map(&[("b", "é"), ("a", "<&>")]),
            ..spec()
        })
        .unwrap();
        let (one, two) = ("11".repeat(32), "22".repeat(32));
        let expected = [
            r#"{"created":"2023-11-14T22:13:20Z","author":"kimg","architecture":"arm","variant":"v7","os":"linux","#,
            r#""config":{"User":"0","Env":["A=b=c","Z="],"Entrypoint":["/k"],"Cmd":["run"],"Volumes":{"/v":{}},"#,
            r#""WorkingDir":"/","Labels":{"a":"1","z":"2"},"StopSignal":"SIGINT"},"#,
            &format!(r#""rootfs":{{"type":"layers","diff_ids":["sha256:{two}"]}},"#),
            r#""history":[{"created":"2023-11-14T22:13:20Z","created_by":"kimg: \"base\""}]}"#,
        ];
        assert_eq!(String::from_utf8(image.config.clone()).unwrap(), expected.concat());
        let config = Digest::of(&image.config);
        let expected = [
            r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","#,
            r#""config":{"mediaType":"application/vnd.oci.image.config.v1+json","#,
            &format!(r#""digest":"{config}","size":{}}},"#, image.config.len()),
            r#""layers":[{"mediaType":"application/vnd.oci.image.layer.v1.tar+gzip","#,
            &format!(r#""digest":"sha256:{one}","size":10}}],"#),
            r#""annotations":{"a":"<&>","b":"é"}}"#,
        ];
        assert_eq!(String::from_utf8(image.manifest).unwrap(), expected.concat());
    }

    #[test]
    fn what_is_empty_is_not_written() {
        let image = assemble(&ImageSpec { created: None, platform: Platform::Amd64, ..spec() }).unwrap();
        let config = String::from_utf8(image.config).unwrap();
        assert!(
            config.starts_with(r#"{"architecture":"amd64","os":"linux","config":{},"rootfs":"#),
            "{config}"
        );
        assert!(config.ends_with(r#""history":[{"created_by":"kimg: \"base\""}]}"#), "{config}");
    }

    #[test]
    fn the_descriptor_names_the_platform_with_its_variant() {
        let image = assemble(&spec()).unwrap();
        let platform = image.descriptor.platform.unwrap();
        assert_eq!((platform.architecture.as_str(), platform.variant.as_deref()), ("arm", Some("v7")));
        assert_eq!(image.descriptor.digest, Digest::of(&image.manifest));
    }

    #[test]
    fn what_can_not_be_meant_is_refused() {
        let wrong = |change: &dyn Fn(&mut ImageSpec)| {
            let mut spec = spec();
            change(&mut spec);
            assemble(&spec).unwrap_err().to_string()
        };
        assert!(wrong(&|s| s.layers.clear()).contains("no layers"));
        assert!(wrong(&|s| s.created = Some(u64::MAX)).contains("9999"));
        assert!(wrong(&|s| s.created = Some(253_402_300_800)).contains("9999"));
        assert!(wrong(&|s| s.layers[0].info.media_type = "text/plain".into()).contains("text/plain"));
        assert!(wrong(&|s| drop(s.annotations.insert(String::new(), "x".into()))).contains("empty name"));
        assert!(wrong(&|s| drop(s.config.labels.insert(String::new(), "x".into()))).contains("empty name"));
        assert!(wrong(&|s| drop(s.config.environment.insert("A=B".into(), "x".into()))).contains("A=B"));
        assert!(wrong(&|s| s.config.working_dir = Some("tmp".into())).contains("`tmp`"));
        assert!(wrong(&|s| s.config.volumes = BTreeSet::from(["tmp".into()])).contains("`tmp`"));
        assert!(wrong(&|s| s.config.command.push("a\0".into())).contains("NUL"));
        assert!(wrong(&|s| s.config.entrypoint.push(String::new())).contains("entrypoint"));
        let twice = wrong(&|s| {
            let mut other = layer("again");
            other.info.size = 11;
            s.layers.push(other);
        });
        assert!(twice.contains("twice"), "{twice}");
    }

    #[test]
    fn a_layer_may_stand_twice() {
        let image = assemble(&ImageSpec { layers: vec![layer("one"), layer("two")], ..spec() }).unwrap();
        assert_eq!(image.layers.len(), 2);
    }
}
