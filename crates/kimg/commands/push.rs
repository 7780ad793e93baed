//! `kimg push`: what is in a layout or an archive goes to a registry.

use std::path::Path;
use std::process::ExitCode;

use clap::Args;
use kimg_build::publish::{Destination, release_of_layout};
use kimg_image::Layout;
use kimg_registry::{Repository, Tag};

use crate::commands::registry::pushing::{PushingArgs, ResultArgs};
use crate::commands::registry::results::{self, Entry};
use crate::commands::registry::{TalkArgs, reference, without_prefix};
use crate::failure::Failure;

const EXAMPLES: &str = "\
Examples:
  kimg push out ghcr.io/acme/kubelet                               every image of the layout under its own tags
  kimg push oci:out:kubelet:v1.34.2-cni ghcr.io/acme/kubelet       one of them
  kimg push oci:out:kubelet:v1.34.2-cni ghcr.io/acme/node:stable   under another tag";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct PushArgs {
    /// An OCI layout: its folder, or oci:PATH[:TAG]; or an archive of one: oci-archive:PATH[:TAG]
    #[arg(value_name = "LAYOUT")]
    from: String,

    /// The repository; images keep their tags. With a tag, the one image gets that
    #[arg(value_name = "REFERENCE")]
    to: String,

    #[command(flatten)]
    pushing: PushingArgs,

    #[command(flatten)]
    talk: TalkArgs,

    #[command(flatten)]
    results: ResultArgs,
}

pub(crate) fn run(args: &PushArgs) -> Result<ExitCode, Failure> {
    let (to, tags) = destination(without_prefix(&args.to))?;
    let cache = args.talk.cache_folder()?;
    let archive = args.from.strip_prefix("oci-archive:").map(split);
    let unpacked = archive.map(|(path, _)| unpack(Path::new(path), &cache)).transpose()?;
    let (path, only) = archive.unwrap_or_else(|| split(args.from.strip_prefix("oci:").unwrap_or(&args.from)));
    let folder = unpacked.as_ref().map_or(Path::new(path), tempfile::TempDir::path);
    let layout = Layout::open(folder)?;
    let release = release_of_layout(&layout, only, &to, tags.as_deref())?;
    let story = args.talk.story();
    let registries = release.repositories().into_iter().map(Repository::registry);
    let client =
        args.talk.registry.client(registries, args.talk.retry_times, Some(args.pushing.read_back))?;
    let pushed = args.pushing.push(&client, release, &cache, &story, args.results.format)?;
    if let Some(pushed) = pushed {
        results::tell(&Entry::all(&pushed, &client, &[])?, &args.results)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The repository, and the tag if one is said.
fn destination(typed: &str) -> Result<(Destination, Option<Vec<Tag>>), Failure> {
    // A port's colon is no tag's.
    if let Ok(repository) = typed.parse::<Destination>() {
        return Ok((repository, None));
    }
    let named = reference(typed)?;
    let Some(tag) = named.tag().cloned() else {
        return Err(Failure::usage(format!("`{typed}` names a digest: what is pushed has one of its own"))
            .hint("name the repository, with or without a tag"));
    };
    Ok((named.repository().to_string().parse()?, Some(vec![tag])))
}

/// A path holds no colon, as skopeo has it; a name may.
fn split(typed: &str) -> (&str, Option<&str>) {
    match typed.split_once(':') {
        Some((path, name)) => (path, Some(name).filter(|name| !name.is_empty())),
        None => (typed, None),
    }
}

/// Lays an archive's layout out in a folder: those of its members that a layout has, and no others.
fn unpack(archive: &Path, cache: &Path) -> Result<tempfile::TempDir, Failure> {
    fs_err::create_dir_all(cache)?;
    let folder = tempfile::tempdir_in(cache)?;
    fs_err::create_dir_all(folder.path().join("blobs/sha256"))?;
    let mut members = tar::Archive::new(fs_err::File::open(archive)?);
    for member in members.entries()? {
        let mut member = member?;
        let name = String::from_utf8_lossy(&member.path_bytes()).trim_start_matches("./").to_owned();
        let is_blob = name.strip_prefix("blobs/sha256/").is_some_and(|hex| {
            hex.len() == 64 && hex.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
        });
        if member.header().entry_type().is_file() && (is_blob || name == "oci-layout" || name == "index.json")
        {
            let mut file = fs_err::File::create(folder.path().join(&name))?;
            std::io::copy(&mut member, &mut file)?;
        }
    }
    Ok(folder)
}
