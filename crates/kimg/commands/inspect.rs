//! `kimg inspect`: what an image is, without its layers being fetched.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::process::ExitCode;

use clap::Args;
use kimg_build::existing::Place;
use kimg_core::Digest;
use kimg_image::Descriptor;
use kimg_registry::{Client, Manifest, Reference, RegistryError};
use kimg_report::{Column, Table, size};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::args::TextOrJson;
use crate::commands::registry::{TalkArgs, is_here, reference, wait_for};
use crate::failure::Failure;
use crate::terminal;

/// What kimg's images say of their layers in their history.
const LAYER: &str = "kimg layer ";

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  kimg inspect ghcr.io/acme/kubelet:v1.34.2-cni\n  kimg inspect oci:out:kubelet:v1.34.2-cni --format json\n  kimg inspect --raw ghcr.io/acme/kubelet:v1.34.2-cni | sha256sum"
)]
pub(crate) struct InspectArgs {
    /// A reference, or what lies here: the folder of a layout, oci:PATH[:TAG], oci-archive:PATH[:TAG],
    /// docker-archive:PATH[:NAME]
    #[arg(value_name = "IMAGE")]
    image: String,

    /// Print the bytes of the manifest or index, as the registry has them
    #[arg(long, conflicts_with = "format")]
    raw: bool,

    #[command(flatten)]
    talk: TalkArgs,

    /// How to print it
    #[arg(long, value_enum, default_value_t = TextOrJson::Table)]
    format: TextOrJson,
}

/// What one name leads to.
#[derive(Debug, Serialize)]
struct Inspected {
    names: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    digest: Option<Digest>,
    #[serde(skip_serializing_if = "Option::is_none")]
    media_type: Option<String>,
    annotations: BTreeMap<String, String>,
    images: Vec<One>,
    /// SBOMs, provenance, signatures: what refers to it.
    referrers: Vec<Descriptor>,
}

/// An image for one platform.
#[derive(Debug, Serialize)]
struct One {
    platform: String,
    digest: Digest,
    compressed: u64,
    annotations: BTreeMap<String, String>,
    layers: Vec<Layer>,
    config: Value,
}

#[derive(Debug, Serialize)]
struct Layer {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    digest: Digest,
    size: u64,
    media_type: String,
}

pub(crate) fn run(args: &InspectArgs) -> Result<ExitCode, Failure> {
    let is_here = is_here(&args.image);
    if args.raw && is_here {
        return Err(Failure::usage("--raw is for what a registry has")
            .hint("the files of a layout can be read as they are: index.json, blobs/sha256/…"));
    }
    let inspected = if is_here {
        here(&args.image.parse()?)?
    } else {
        let reference = reference(&args.image)?;
        let client = args.talk.client([reference.repository()])?;
        if args.raw {
            let manifest = wait_for(client.manifest(&reference))?;
            std::io::stdout().lock().write_all(&manifest.bytes)?;
            return Ok(ExitCode::SUCCESS);
        }
        vec![there(&client, &reference)?]
    };
    let mut out = std::io::stdout().lock();
    match args.format {
        TextOrJson::Json => {
            let text = match &inspected[..] {
                [one] => serde_json::to_string_pretty(one),
                all => serde_json::to_string_pretty(all),
            };
            writeln!(out, "{}", text.map_err(std::io::Error::from)?)?;
        }
        TextOrJson::Table => {
            let texts: Vec<String> = inspected.iter().map(text).collect();
            write!(out, "{}", texts.join("\n"))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn text(one: &Inspected) -> String {
    let mut text = String::new();
    for name in &one.names {
        let _ = writeln!(text, "{name}");
    }
    if let Some(digest) = one.digest {
        let kind = one.media_type.as_deref().unwrap_or_default();
        let _ = writeln!(text, "  {digest}  {kind}");
    }
    for (key, value) in &one.annotations {
        let _ = writeln!(text, "  {key} = {value}");
    }
    text.push('\n');
    let mut table = Table::new([
        Column::left("PLATFORM"),
        Column::right("PULL"),
        Column::left("LAYERS"),
        Column::left("MANIFEST"),
    ]);
    for image in &one.images {
        let layer = |layer: &Layer| match &layer.name {
            Some(name) => format!("{name} {}", size(layer.size)),
            None => size(layer.size),
        };
        let layers: Vec<String> = image.layers.iter().map(layer).collect();
        table.row([
            image.platform.clone(),
            size(image.compressed),
            layers.join(" · "),
            image.digest.to_string()[..19].to_owned(),
        ]);
    }
    text += &table.to_terminal(terminal::width(), terminal::color_on_stdout());
    for referrer in &one.referrers {
        let kind = referrer.other.get("artifactType").and_then(Value::as_str).unwrap_or("?");
        let _ = writeln!(text, "  {kind}  {}", referrer.digest);
    }
    text
}

/// What a registry says. Configs are read, layers are not.
fn there(client: &Client, reference: &Reference) -> Result<Inspected, Failure> {
    let repository = reference.repository();
    let top = wait_for(client.manifest(reference))?;
    let index: Parsed = parse(&top)?;
    let children = if top.descriptor.is_index() { index.manifests } else { vec![top.descriptor.clone()] };
    let mut images = Vec::new();
    for child in children {
        let manifest: Parsed = parse(&wait_for(client.manifest(&repository.at(child.digest)))?)?;
        let Some(config) = manifest.config else { continue };
        let bytes = wait_for(client.small_blob(repository, &config))?;
        let config: Value = serde_json::from_slice(&bytes).map_err(std::io::Error::from)?;
        let own = || {
            let words = ["os", "architecture", "variant"].map(|key| config[key].as_str().unwrap_or_default());
            words.into_iter().filter(|word| !word.is_empty()).collect::<Vec<_>>().join("/")
        };
        let platform = child.platform.as_ref().map_or_else(own, ToString::to_string);
        images.push(one(platform, child.digest, manifest.annotations, &manifest.layers, config));
    }
    let referrers = wait_for(client.referrers(&repository.at(top.descriptor.digest)))?;
    Ok(Inspected {
        names: vec![reference.to_string()],
        digest: Some(top.descriptor.digest),
        media_type: Some(top.descriptor.media_type),
        annotations: index.annotations,
        images,
        referrers,
    })
}

/// What lies on this machine.
fn here(place: &Place) -> Result<Vec<Inspected>, Failure> {
    let groups = place.groups()?;
    let inspected = groups.into_iter().map(|group| {
        let images = group.images.into_iter().map(|image| {
            let layers = image.layers.iter();
            let layers: Vec<Descriptor> = layers
                .map(|layer| Descriptor::new(&layer.media_type, layer.digest, layer.stored.size))
                .collect();
            one(image.platform.to_string(), image.digest, image.annotations, &layers, image.config)
        });
        Inspected {
            names: if group.tags.is_empty() { vec![place.to_string()] } else { group.tags },
            digest: None,
            media_type: None,
            annotations: BTreeMap::new(),
            images: images.collect(),
            referrers: Vec::new(),
        }
    });
    Ok(inspected.collect())
}

fn one(
    platform: String,
    digest: Digest,
    annotations: BTreeMap<String, String>,
    layers: &[Descriptor],
    config: Value,
) -> One {
    let history = config["history"].as_array().map(Vec::as_slice).unwrap_or_default();
    let steps: Vec<&Value> = history.iter().filter(|step| step["empty_layer"] != true).collect();
    let name = |place: usize| {
        let made_by = steps.get(place).filter(|_| steps.len() == layers.len())?;
        made_by["created_by"].as_str()?.strip_prefix(LAYER).map(str::to_owned)
    };
    let layers: Vec<Layer> = layers
        .iter()
        .enumerate()
        .map(|(place, layer)| Layer {
            name: name(place),
            digest: layer.digest,
            size: layer.size,
            media_type: layer.media_type.clone(),
        })
        .collect();
    One {
        platform,
        digest,
        compressed: layers.iter().map(|layer| layer.size).sum(),
        annotations,
        layers,
        config,
    }
}

/// What is looked at in manifests and indexes (OCI image-spec, manifest.md and image-index.md).
#[derive(Debug, Default, Deserialize)]
struct Parsed {
    #[serde(default)]
    manifests: Vec<Descriptor>,
    config: Option<Descriptor>,
    #[serde(default)]
    layers: Vec<Descriptor>,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
}

fn parse(manifest: &Manifest) -> Result<Parsed, Failure> {
    let parsed = serde_json::from_slice(&manifest.bytes).map_err(|error| RegistryError::Malformed {
        what: format!("the manifest {}", manifest.descriptor.digest),
        problem: error.to_string(),
    });
    Ok(parsed?)
}
