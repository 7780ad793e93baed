//! `kimg copy`: from one repository to another, every platform, byte by byte.

use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;
use kimg_layer::BlobStore;
use kimg_registry::{RegistryError, Watch};
use kimg_source::Cache;

use crate::commands::registry::pushing::{PushingArgs, ResultArgs, journal};
use crate::commands::registry::results::{self, Entry};
use crate::commands::registry::{TalkArgs, reference, wait_for};
use crate::failure::Failure;

#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  kimg copy ghcr.io/acme/kubelet:v1.34.2-cni registry.example.org/node/kubelet:v1.34.2-cni"
)]
pub(crate) struct CopyArgs {
    /// What is copied: REPOSITORY:TAG, REPOSITORY@DIGEST
    #[arg(value_name = "FROM")]
    from: String,

    /// Where to; its own tag when none is said
    #[arg(value_name = "TO")]
    to: String,

    #[command(flatten)]
    pushing: PushingArgs,

    #[command(flatten)]
    talk: TalkArgs,

    #[command(flatten)]
    results: ResultArgs,
}

pub(crate) fn run(args: &CopyArgs) -> Result<ExitCode, Failure> {
    let (from, to) = (reference(&args.from)?, reference(&args.to)?);
    if to.digest().is_some() {
        return Err(Failure::usage(format!("`{to}`: what is copied keeps its digest"))
            .hint("name the repository, with or without a tag"));
    }
    // `repository:latest` is what a name without a tag means; a copy keeps the tag that it had.
    let said = args.to.rsplit('/').next().is_some_and(|last| last.contains(':'));
    let tag = if said { to.tag() } else { from.tag() };
    let tags = if args.pushing.by_digest { Vec::new() } else { tag.cloned().into_iter().collect() };
    let cache_folder = args.talk.cache_folder()?;
    let cache = Cache::open(&cache_folder)?;
    let blobs = BlobStore::open(cache.blobs()).map_err(RegistryError::from)?;
    let client = args.talk.client([from.repository(), to.repository()])?;
    let story = args.talk.story();
    if args.pushing.dry_run {
        return Err(Failure::usage("what a copy would send is not known before the image was read")
            .hint("`kimg pull` it into a layout, then `kimg push --dry-run`"));
    }
    let journal = journal(&cache_folder)?;
    let options = args.pushing.options(&journal)?;
    let watch: Arc<dyn Watch> = Arc::clone(&story) as Arc<dyn Watch>;
    let pushed = wait_for(client.copy(&from, to.repository(), tags, &blobs, &options, watch))?;
    story.pushed(&pushed);
    results::tell(&Entry::all(&pushed, &client, &[])?, &args.results)?;
    Ok(ExitCode::SUCCESS)
}
