//! Pushing as every command does it: the same flags, the same plan for a dry run.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use kimg_registry::{Client, Journal, Plan, PushOptions, Pushed, RegistryError, Release, Repository, Watch};
use kimg_report::{Column, Table, size};
use serde_json::json;

use super::{ReadBackArg, Story, journal_folder, wait_for};
use crate::args::{Format, TextOrJson};
use crate::failure::Failure;
use crate::terminal;

/// How images are pushed.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Registry")]
pub(crate) struct PushingArgs {
    /// Change nothing: show what would be sent, and which tags would be set
    #[arg(long)]
    pub(crate) dry_run: bool,

    /// Let tags be moved that name something else
    #[arg(long)]
    pub(crate) move_tags: bool,

    /// Set no tags: `kimg index` sets them when all parts are there
    #[arg(long)]
    pub(crate) by_digest: bool,

    /// How what was pushed is looked at before tags move
    #[arg(long, value_enum, value_name = "HOW", default_value = "described")]
    pub(crate) read_back: ReadBackArg,

    /// A repository of the same registry from which blobs may be taken over
    #[arg(long, value_name = "REPOSITORY")]
    pub(crate) mount_from: Vec<String>,
}

impl PushingArgs {
    /// What the library is told, with the journal of this cache folder.
    pub(crate) fn options<'a>(&self, journal: &'a Journal) -> Result<PushOptions<'a>, Failure> {
        let mount_from = self.mount_from.iter().map(|typed| typed.parse::<Repository>());
        Ok(PushOptions {
            move_tags: self.move_tags,
            journal: Some(journal),
            mount_from: mount_from.collect::<Result<_, _>>()?,
        })
    }

    /// Pushes a release in two steps: all of it, and its tags when `between` is done, which is told the digests of what is
    /// there then. A tag never leads to an image whose signature is still missing.
    pub(crate) fn push_around(
        &self,
        client: &Client,
        release: &Release,
        cache: &Path,
        story: &Arc<Story>,
        between: impl FnOnce(&Pushed) -> Result<(), Failure>,
    ) -> Result<Pushed, Failure> {
        let journal = journal(cache)?;
        let options = self.options(&journal)?;
        if !self.move_tags && !self.by_digest {
            // What would be refused at the end is refused before anything is sent.
            let taken = wait_for(client.plan(release, &options))?.taken();
            if !taken.is_empty() {
                return Err(RegistryError::TagTaken { taken }.into());
            }
        }
        let watch: Arc<dyn Watch> = Arc::clone(story) as Arc<dyn Watch>;
        let untagged = wait_for(client.push(&release.clone().without_tags(), &options, watch))?;
        story.pushed(&untagged);
        between(&untagged)?;
        if self.by_digest {
            return Ok(untagged);
        }
        let pushed = wait_for(client.push(release, &options, Arc::new(())))?;
        story.tagged(&pushed);
        Ok(pushed)
    }

    /// Pushes a release; where only a plan is wanted, prints that.
    pub(crate) fn push(
        &self,
        client: &Client,
        release: Release,
        cache: &Path,
        story: &Arc<Story>,
        format: TextOrJson,
    ) -> Result<Option<Pushed>, Failure> {
        let release = if self.by_digest { release.without_tags() } else { release };
        let journal = journal(cache)?;
        let options = self.options(&journal)?;
        if self.dry_run {
            let plan = wait_for(client.plan(&release, &options))?;
            print_plan(&plan, format)?;
            return Ok(None);
        }
        let watch: Arc<dyn Watch> = Arc::clone(story) as Arc<dyn Watch>;
        let pushed = wait_for(client.push(&release, &options, watch))?;
        story.pushed(&pushed);
        Ok(Some(pushed))
    }
}

pub(crate) fn journal(cache: &Path) -> Result<Journal, Failure> {
    Ok(Journal::open(journal_folder(cache))?)
}

/// What would be done: which tags would be set, and what would be sent for that.
fn print_plan(plan: &Plan, format: TextOrJson) -> Result<(), Failure> {
    let blobs = plan.blobs.iter().filter(|blob| !blob.there).count();
    let tags: Vec<_> = plan
        .tags
        .iter()
        .map(|tag| {
            let change = match tag.found {
                None => "new".to_owned(),
                Some(found) if found == tag.wanted => "right already".to_owned(),
                Some(found) => format!("names {} now", &found.to_string()[..19]),
            };
            (tag.tag.to_string(), tag.wanted.to_string(), change)
        })
        .collect();
    if format == TextOrJson::Json {
        let tags: Vec<_> = plan
            .tags
            .iter()
            .map(|t| json!({ "tag": t.tag.to_string(), "found": t.found, "wanted": t.wanted }))
            .collect();
        let blobs: Vec<_> = plan
            .blobs
            .iter()
            .filter(|blob| !blob.there)
            .map(|b| {
                let from: Vec<_> = b.mount_from.iter().map(ToString::to_string).collect();
                json!({
                    "digest": b.digest, "size": b.size, "repository": b.repository.to_string(), "mount_from": from,
                })
            })
            .collect();
        let manifests: Vec<_> = plan.manifests.iter().map(ToString::to_string).collect();
        let all = json!({
            "bytes_to_send": plan.bytes_to_send(), "blobs": blobs, "manifests": manifests, "tags": tags,
        });
        let text = serde_json::to_string_pretty(&all).map_err(std::io::Error::from)?;
        writeln!(std::io::stdout().lock(), "{text}")?;
        return Ok(());
    }
    let mut table = Table::new(["TAG", "WOULD NAME", "IS"].map(Column::left));
    for (tag, wanted, change) in tags {
        table.row([tag, wanted[..19].to_owned(), change]);
    }
    if !plan.tags.is_empty() {
        terminal::print(&table, &(), Format::Table)?;
    }
    let there = plan.blobs.len() - blobs;
    let mut out = std::io::stdout().lock();
    writeln!(
        out,
        "{} to send in at most {blobs} of {} blobs ({there} are there), and {} manifests. Nothing was changed.",
        size(plan.bytes_to_send()),
        plan.blobs.len(),
        plan.manifests.len()
    )?;
    let taken = plan.taken();
    if !taken.is_empty() {
        writeln!(out, "{} tags name something else: `--move-tags` lets them be moved.", taken.len())?;
    }
    Ok(())
}

/// Where the results of a push go.
#[derive(Debug, Clone, Args)]
pub(crate) struct ResultArgs {
    /// Write names and digests of what was pushed into this file, as JSON; `kimg index --metadata` reads it
    #[arg(long, value_name = "FILE")]
    pub(crate) metadata_file: Option<PathBuf>,

    /// Write the digests of what was pushed into this file, one a line
    #[arg(long, value_name = "FILE")]
    pub(crate) digestfile: Option<PathBuf>,

    /// How to print what was pushed
    #[arg(long, value_enum, default_value_t = TextOrJson::Table)]
    pub(crate) format: TextOrJson,
}
