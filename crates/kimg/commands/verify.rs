//! `kimg verify`: an image from its index down to the last file.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;
use fs_err as fs;
use kimg_build::existing::{Place, verify};
use kimg_core::{ErrorClass, Platform};
use kimg_registry::Watch;
use kimg_report::size;
use kimg_sign::VerifyingKey;
use serde_json::{Value, json};

use crate::args::TextOrJson;
use crate::commands::check::{Checked, at_images, list};
use crate::commands::registry::{DOCKER, Fetched, TalkArgs, is_here, reference, wait_for, without_prefix};
use crate::failure::{Failure, classified};

const EXAMPLES: &str = "\
Examples:
  kimg verify ghcr.io/acme/kubelet:v1.34.2-cni       what a registry has: every blob is read
  kimg verify oci:out:kubelet:v1.34.2-cni            what lies here
  kimg verify out                                    every image of a layout
  kimg verify ghcr.io/acme/kubelet:v1.34.2-cni --key cosign.pub      and who signed it";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct VerifyArgs {
    /// A reference (REPOSITORY:TAG, REPOSITORY@DIGEST), or what lies here: the folder of a layout, oci:PATH[:TAG],
    /// oci-archive:PATH[:TAG], docker-archive:PATH[:NAME]
    #[arg(value_name = "IMAGE")]
    image: String,

    /// Do not look whether the programs start: whether all that they load is there and fits
    #[arg(long)]
    no_check: bool,

    /// A public key (PEM): the image has to have a signature by it, as cosign makes them
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,

    #[command(flatten)]
    talk: TalkArgs,

    /// How to print what is found
    #[arg(long, value_enum, default_value_t = TextOrJson::Table)]
    format: TextOrJson,
}

/// What was verified.
struct Seen {
    /// `1 index and 3 manifests, 12 blobs, 81.2 MB`
    what: String,
    platforms: Vec<String>,
    findings: Vec<(String, String)>,
    as_json: Value,
}

pub(crate) fn run(args: &VerifyArgs) -> Result<ExitCode, Failure> {
    let is_here = is_here(&args.image);
    if is_here && args.key.is_some() {
        return Err(Failure::usage("signatures lie beside images in registries, and not in layouts")
            .hint("name what the registry has: REPOSITORY:TAG"));
    }
    // What nobody signed is not looked at any closer.
    let signed = args.key.as_deref().map(|key| signatures(args, key)).transpose()?;
    let seen = if is_here { here(&args.image)? } else { there(args)? };
    let checked = match (args.no_check, is_here) {
        (true, _) => Vec::new(),
        // What is not what it says is not looked into.
        _ if !seen.findings.is_empty() => Vec::new(),
        (false, true) => check(&args.image.parse()?, args)?,
        (false, false) => {
            let typed = format!("{DOCKER}{}", without_prefix(&args.image));
            check(&Fetched::pull(&typed, &[] as &[Platform], &args.talk)?.place, args)?
        }
    };
    let mut out = std::io::stdout().lock();
    match args.format {
        TextOrJson::Table => {
            write!(out, "{}", text(&args.image, &seen, &checked))?;
            if let Some((_, text)) = &signed {
                write!(out, "{text}")?;
            }
        }
        TextOrJson::Json => {
            let findings: Vec<_> =
                seen.findings.iter().map(|(digest, it)| json!({ "digest": digest, "problem": it })).collect();
            let mut all = seen.as_json;
            all["image"] = json!(args.image);
            all["platforms"] = json!(seen.platforms);
            all["findings"] = json!(findings);
            all["checked"] = json!(checked);
            if let Some((signed, _)) = &signed {
                all["signed"] = signed.clone();
            }
            writeln!(out, "{}", serde_json::to_string_pretty(&all).map_err(std::io::Error::from)?)?;
        }
    }
    if !seen.findings.is_empty() {
        let message = format!("{} is not what it says it is", args.image);
        return Err(Failure::new(ErrorClass::Verification, message).hint("push or build it again"));
    }
    if checked.iter().any(Checked::is_broken) {
        let message = format!("{}: a program does not start, or does not load what it needs", args.image);
        return Err(Failure::new(ErrorClass::Unresolvable, message));
    }
    Ok(ExitCode::SUCCESS)
}

fn text(image: &str, seen: &Seen, checked: &[Checked]) -> String {
    let mut text = format!("{image}: {} for {}", seen.what, seen.platforms.join(", "));
    if seen.findings.is_empty() {
        text += ": every size, digest, platform and layer is right\n";
    } else {
        text.push('\n');
        for (digest, problem) in &seen.findings {
            let _ = writeln!(text, "  {digest}: {problem}");
        }
    }
    if !checked.is_empty() {
        text += &list(checked);
    }
    text
}

fn check(place: &Place, args: &VerifyArgs) -> Result<Vec<Checked>, Failure> {
    at_images(place, &[], &[], &args.talk.cache_folder()?)
}

/// The good signatures by a key, of an index and of each image in it, and the statements that it has signed; as JSON and in
/// words.
fn signatures(args: &VerifyArgs, key: &Path) -> Result<(Value, String), Failure> {
    let pem = fs::read(key)?;
    let key =
        VerifyingKey::from_pem(&pem).map_err(|error| classified(&error).about(&key.display().to_string()))?;
    let reference = reference(&args.image)?;
    let client = args.talk.client([reference.repository()])?;
    let found = wait_for(client.verify_signed(&reference, &key, None))?;
    let (mut list, mut text) = (Vec::new(), String::new());
    for one in &found {
        let image = reference.repository().at(one.digest);
        let attested = wait_for(client.attestations(&image, &key))?;
        let kinds: Vec<&str> = attested.iter().map(|it| it.statement.predicate_type.as_str()).collect();
        let what = one.platform.clone().unwrap_or_else(|| "index".into());
        let is_signed = if one.claim.is_some() { "signed" } else { "not signed itself" };
        let said = if kinds.is_empty() { String::new() } else { format!("; signed {}", kinds.join(", ")) };
        let _ = writeln!(text, "  {what} {}: {is_signed}{said}", &one.digest.to_string()[..19]);
        list.push(json!({
            "digest": one.digest, "platform": one.platform, "signed": one.claim.is_some(), "statements": kinds,
        }));
    }
    Ok((Value::Array(list), text))
}

/// What lies on this machine.
fn here(typed: &str) -> Result<Seen, Failure> {
    let place: Place = typed.parse()?;
    let seen = verify::verify(&place)?;
    let findings = seen.findings.into_iter().map(|(digest, problem)| (digest.to_string(), problem)).collect();
    Ok(Seen {
        what: format!("{} images, {} layers, {}", seen.images, seen.layers, size(seen.bytes)),
        platforms: seen.platforms,
        findings,
        as_json: json!({ "images": seen.images, "layers": seen.layers, "bytes": seen.bytes }),
    })
}

/// What a registry has.
fn there(args: &VerifyArgs) -> Result<Seen, Failure> {
    let reference = reference(&args.image)?;
    let client = args.talk.client([reference.repository()])?;
    let story = args.talk.story();
    let watch: Arc<dyn Watch> = Arc::clone(&story) as Arc<dyn Watch>;
    let seen = wait_for(client.verify(&reference, watch))?;
    story.done("Read", &format!("{reference}: {}", story.fetched()));
    let findings = seen.findings.iter().map(|it| (it.digest.to_string(), it.problem.clone())).collect();
    Ok(Seen {
        what: format!("{} manifests and indexes, {} blobs, {}", seen.manifests, seen.blobs, size(seen.bytes)),
        platforms: seen.platforms,
        findings,
        as_json: json!({
            "digest": seen.top.digest, "manifests": seen.manifests, "blobs": seen.blobs, "bytes": seen.bytes,
        }),
    })
}
