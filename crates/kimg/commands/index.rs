//! `kimg index`: parts that were pushed by their digests, one for each platform, become an index with tags.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;
use fs_err as fs;
use kimg_core::ErrorClass;
use kimg_layer::BlobStore;
use kimg_registry::{Client, Pushed, Reference, RegistryError, Release, Repository, Tag, Watch};
use kimg_source::Cache;

use crate::args::key_value;
use crate::commands::registry::pushing::{PushingArgs, ResultArgs};
use crate::commands::registry::results::{self, Entry, MetadataFile};
use crate::commands::registry::statements::sign;
use crate::commands::registry::{SignArgs, Story, TalkArgs, reference, wait_for};
use crate::failure::Failure;

const EXAMPLES: &str = "\
Examples:
  kimg index ghcr.io/acme/kubelet@sha256:1… ghcr.io/acme/kubelet@sha256:2… -t v1.34.2-cni -t latest
  kimg index --metadata amd64.json arm64.json armv7.json     every variant of a release whose parts were published by
                                                             one job for each architecture";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct IndexArgs {
    /// The parts: images, or indexes with some of the platforms
    #[arg(value_name = "REFERENCE", required_unless_present = "metadata")]
    parts: Vec<String>,

    /// A tag of the index, in the repository of the first part; or in another one: REPOSITORY:TAG
    #[arg(short, long = "tag", value_name = "TAG", required_unless_present_any = ["metadata", "by_digest"])]
    tags: Vec<String>,

    /// Metadata files that `kimg publish --metadata-file` wrote: their images are joined by variant, and get their tags
    /// when all of them are there
    #[arg(long, value_name = "FILE", num_args = 1.., conflicts_with_all = ["parts", "tags"])]
    metadata: Vec<PathBuf>,

    /// An annotation of the index; those that the parts agree on it has anyway
    #[arg(long = "annotation", value_name = "KEY=VALUE", value_parser = key_value)]
    annotations: Vec<(String, String)>,

    #[command(flatten)]
    pushing: PushingArgs,

    #[command(flatten)]
    sign: SignArgs,

    #[command(flatten)]
    talk: TalkArgs,

    #[command(flatten)]
    results: ResultArgs,
}

/// What becomes one index.
#[derive(Debug, PartialEq, Eq)]
struct Joined {
    parts: Vec<Reference>,
    to: Repository,
    tags: Vec<Tag>,
}

pub(crate) fn run(args: &IndexArgs) -> Result<ExitCode, Failure> {
    let key = args.sign.key()?;
    let wanted = if args.metadata.is_empty() { typed(args)? } else { from_metadata(&args.metadata)? };
    let repositories =
        wanted.iter().flat_map(|joined| joined.parts.iter().map(Reference::repository).chain([&joined.to]));
    let client = args.talk.client(repositories)?;
    let cache_folder = args.talk.cache_folder()?;
    let cache = Cache::open(&cache_folder)?;
    let blobs = BlobStore::open(cache.blobs()).map_err(RegistryError::from)?;
    let story = args.talk.story();
    let release = join(&client, &wanted, &args.annotations, &blobs, &story)?;
    let pushed = match key.filter(|_| !args.pushing.dry_run) {
        Some(key) => {
            let sign = |pushed: &Pushed| sign(&client, &pushed.untagged, &key, &story);
            Some(args.pushing.push_around(&client, &release, &cache_folder, &story, sign)?)
        }
        None => args.pushing.push(&client, release, &cache_folder, &story, args.results.format)?,
    };
    if let Some(pushed) = pushed {
        results::tell(&Entry::all(&pushed, &client, &[])?, &args.results)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// All of them as one release: none has its tags before all are there.
fn join(
    client: &Client,
    wanted: &[Joined],
    annotations: &[(String, String)],
    blobs: &BlobStore,
    story: &Arc<Story>,
) -> Result<Release, Failure> {
    let annotations: BTreeMap<String, String> = annotations.iter().cloned().collect();
    let watch: Arc<dyn Watch> = Arc::clone(story) as Arc<dyn Watch>;
    let mut release = Release::new();
    for Joined { parts, to, tags } in wanted {
        let index = wait_for(client.gather_parts(parts, annotations.clone(), to, blobs, &watch))?;
        let platforms: Vec<String> = index.images.iter().map(|image| image.platform.to_string()).collect();
        let name = tags.first().map_or_else(|| to.to_string(), |tag| to.tagged(tag.clone()).to_string());
        story.done("Joined", &format!("{name} for {}", platforms.join(", ")));
        release = release.add(blobs, index.descriptor, to.clone(), tags.iter().cloned());
    }
    Ok(release)
}

fn typed(args: &IndexArgs) -> Result<Vec<Joined>, Failure> {
    let parts = args.parts.iter().map(|part| reference(part)).collect::<Result<Vec<_>, _>>()?;
    let Some(first) = parts.first() else { return Err(Failure::usage("there is nothing to join")) };
    let mut joined: Vec<Joined> = Vec::new();
    for tag in &args.tags {
        let (repository, tag) = tag_or_reference(tag)?;
        let to = repository.unwrap_or_else(|| first.repository().clone());
        match joined.iter_mut().find(|one| one.to == to) {
            Some(one) => one.tags.push(tag),
            None => joined.push(Joined { parts: parts.clone(), to, tags: vec![tag] }),
        }
    }
    if joined.is_empty() {
        joined.push(Joined { to: first.repository().clone(), parts, tags: Vec::new() });
    }
    Ok(joined)
}

/// What several jobs published, joined by repository and tags.
fn from_metadata(files: &[PathBuf]) -> Result<Vec<Joined>, Failure> {
    let mut joined: Vec<Joined> = Vec::new();
    let mut counts: BTreeMap<usize, usize> = BTreeMap::new();
    for path in files {
        let wrong = |why: String| {
            Failure::new(ErrorClass::Malformed, format!("{}: {why}", path.display()))
                .hint("`kimg publish --metadata-file` writes such files")
        };
        let file: MetadataFile =
            serde_json::from_slice(&fs::read(path)?).map_err(|error| wrong(error.to_string()))?;
        for item in file.into_list() {
            let to: Repository = item.repository.parse()?;
            let tags = item.tags.iter().map(|tag| tag.parse()).collect::<Result<Vec<Tag>, _>>()?;
            if tags.is_empty() {
                return Err(wrong(format!("{} has no tags", item.repository)));
            }
            let part = to.at(item.digest);
            let place = joined.iter().position(|one| one.to == to && one.tags == tags);
            let place = place.unwrap_or_else(|| {
                joined.push(Joined { parts: Vec::new(), to, tags });
                joined.len() - 1
            });
            joined[place].parts.push(part);
            *counts.entry(place).or_default() += 1;
        }
    }
    // A job that failed to tell of a variant would leave an index without its platform.
    for (place, count) in counts {
        if count != files.len() {
            let one = &joined[place];
            return Err(Failure::new(
                ErrorClass::Unresolvable,
                format!(
                    "{}:{} is in {count} of {} files: a part is missing",
                    one.to,
                    one.tags[0],
                    files.len()
                ),
            )
            .hint("publish the same variants and versions in every job"));
        }
    }
    Ok(joined)
}

/// What a person typed as a tag: `latest`, or a whole reference.
fn tag_or_reference(typed: &str) -> Result<(Option<Repository>, Tag), Failure> {
    if !typed.contains(['/', ':']) {
        return Ok((None, typed.parse()?));
    }
    let reference = reference(typed)?;
    match reference.tag().cloned() {
        Some(tag) => Ok((Some(reference.repository().clone()), tag)),
        None => Err(Failure::usage(format!("`{typed}` has no tag")).hint("write REPOSITORY:TAG")),
    }
}
