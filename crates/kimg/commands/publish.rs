//! `kimg publish`: build, push, read back, then set the tags.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;
use kimg_build::publish::{Destination, parts, release};
use kimg_build::{Outcome, Project};
use kimg_registry::Repository;
use kimg_sign::SigningKey;

use crate::args::{AimArgs, ImageArgs, ProgressMode, Selection, TextOrJson};
use crate::commands::registry::pushing::{PushingArgs, ResultArgs};
use crate::commands::registry::results::{self, Entry};
use crate::commands::registry::statements::attach;
use crate::commands::registry::{
    RegistryArgs, SharedCacheArgs, SignArgs, StatementArgs, Story, without_prefix,
};
use crate::commands::setting::{Making, Setting, cache_folder, progress_mode};
use crate::failure::Failure;
use crate::progress::Progress;

const EXAMPLES: &str = "\
Examples:
  kimg publish ghcr.io/acme/kubelet                        every variant and architecture; kube-proxy beside it
  kimg publish ghcr.io/acme/kubelet --dry-run              what would be sent, and which tags would be set
  kimg publish 'ghcr.io/acme/kubelet-{variant}' -t latest  a repository for each variant
  kimg publish ghcr.io/acme/kubelet --sbom spdx --provenance --sign-key cosign.key
  kimg publish ghcr.io/acme/kubelet --arch arm64 --metadata-file arm64.json    one job for each architecture, and then
  kimg index --metadata amd64.json arm64.json armv7.json                       one that joins them";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct PublishArgs {
    /// Where to: kubelet's variants go to this repository, kube-proxy beside it; with {name} or {variant} in it each goes
    /// to one of its own. What kimg.toml says when not given
    #[arg(value_name = "REPOSITORY")]
    to: Option<String>,

    #[command(flatten)]
    selection: Selection,

    #[command(flatten)]
    aims: AimArgs,

    #[command(flatten)]
    images: ImageArgs,

    /// Write the images here, too: type=oci,dest=PATH
    #[arg(short, long = "output", value_name = "OUTPUT")]
    outputs: Vec<String>,

    #[command(flatten)]
    pushing: PushingArgs,

    /// Set the tags also where some of the project's architectures are left out
    #[arg(long, conflicts_with = "by_digest")]
    partial: bool,

    #[command(flatten)]
    statements: StatementArgs,

    #[command(flatten)]
    sign: SignArgs,

    #[command(flatten)]
    shared: SharedCacheArgs,

    #[command(flatten)]
    registry: RegistryArgs,

    #[command(flatten)]
    results: ResultArgs,

    /// Print only the result, and nothing of what happens
    #[arg(short, long)]
    quiet: bool,
}

pub(crate) fn run(args: &PublishArgs) -> Result<ExitCode, Failure> {
    let making = Making { aims: Some(&args.aims), images: Some(&args.images), outputs: &args.outputs };
    let mut setting = Setting::new(&args.selection, making, None)?;
    if args.outputs.is_empty() {
        setting.project.outputs.clear();
    }
    let to = destination(args.to.as_deref(), &setting.project)?;
    let mode = progress_mode(args.selection.progress, args.quiet);
    let progress = Progress::new(mode);
    // A key that can't be used is better known before than after.
    let key = args.sign.key()?;
    setting.project.statements = args.statements.wishes()?;
    let build = setting.build(&progress);
    let outcome =
        args.shared.run(&build, &args.registry, args.selection.retry_times, &mounts(&to, &setting))?;
    drop(progress);
    args.statements.write(&outcome.statements, true)?;
    let target = Target {
        to: &to,
        registry: &args.registry,
        pushing: &args.pushing,
        partial: args.partial,
        retry_times: args.selection.retry_times,
        cache: &cache_folder(args.selection.cache_dir.as_deref())?,
        mode,
        format: args.results.format,
        key: key.as_ref(),
    };
    if let Some(entries) = target.push(&setting, &outcome)? {
        results::summary(&summary(&outcome, &entries))?;
        results::tell(&entries, &args.results)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Where a build is pushed to.
pub(crate) fn destination(said: Option<&str>, project: &Project) -> Result<Destination, Failure> {
    match (said.filter(|said| !said.is_empty()), &project.publish) {
        (Some(said), _) => Ok(without_prefix(said).parse::<Destination>()?),
        (None, Some(known)) => Ok(known.clone()),
        (None, None) => Err(Failure::usage("where to is not said")
            .hint("name a repository, `kimg publish ghcr.io/acme/kubelet`, or set `publish` in kimg.toml")),
    }
}

/// How what was built is pushed.
pub(crate) struct Target<'a> {
    pub(crate) to: &'a Destination,
    pub(crate) registry: &'a RegistryArgs,
    pub(crate) pushing: &'a PushingArgs,
    pub(crate) partial: bool,
    pub(crate) retry_times: u32,
    pub(crate) cache: &'a Path,
    pub(crate) mode: ProgressMode,
    pub(crate) format: TextOrJson,
    pub(crate) key: Option<&'a SigningKey>,
}

/// The repositories of a release: what they have, a cache need not be sent.
pub(crate) fn mounts(to: &Destination, setting: &Setting) -> Vec<Repository> {
    let variants = setting.project.variants.iter();
    let mut all: Vec<Repository> = variants.filter_map(|v| to.repository(&v.image, &v.name).ok()).collect();
    all.sort();
    all.dedup();
    all
}

impl Target<'_> {
    /// Pushes all of it, or tells what that would be.
    pub(crate) fn push(&self, setting: &Setting, outcome: &Outcome) -> Result<Option<Vec<Entry>>, Failure> {
        let story = Arc::new(Story::new(Progress::new(self.mode)));
        let parts = parts(&setting.project, outcome, self.to)?;
        let release = release(&parts, &setting.blobs()?)?;
        let mut pushing = self.pushing.clone();
        if !pushing.by_digest && !self.partial && !setting.other_platforms.is_empty() {
            pushing.by_digest = true;
            let left_out: Vec<String> = setting.other_platforms.iter().map(ToString::to_string).collect();
            story.say(&format!(
                " ! No tags are set: {} is left out. `kimg index` joins the parts; `--partial` tags what there is",
                left_out.join(", ")
            ));
        }
        let registries = release.repositories().into_iter().map(Repository::registry);
        let client = self.registry.client(registries, self.retry_times, Some(pushing.read_back))?;
        let speaks = !outcome.statements.is_empty() || self.key.is_some();
        let pushed = if speaks && !pushing.dry_run {
            let say = |_: &_| attach(&client, &parts, &outcome.statements, self.key, &story);
            Some(pushing.push_around(&client, &release, self.cache, &story, say)?)
        } else {
            pushing.push(&client, release, self.cache, &story, self.format)?
        };
        pushed.map(|pushed| Entry::all(&pushed, &client, &parts)).transpose()
    }
}

/// What a job's summary shows: the sizes, and what was pushed.
pub(crate) fn summary(outcome: &Outcome, entries: &[Entry]) -> String {
    format!(
        "{}\n```\n{}```\n",
        outcome.report.sizes().render(kimg_report::Format::Markdown),
        results::lines(entries)
    )
}
