//! `kimg versions`

use std::process::ExitCode;

use clap::Args;
use kimg_build::outdated::KUBERNETES_RELEASES;
use kimg_build::{network, versions};
use kimg_core::ErrorClass;
use kimg_report::{Column, Table};
use kimg_source::Fetcher;
use serde_json::json;

use crate::args::Format;
use crate::commands::registry::{TalkArgs, reference, wait_for};
use crate::failure::Failure;
use crate::terminal;

#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  kimg build --kubernetes $(kimg versions --published ghcr.io/acme/kubelet --new)"
)]
pub(crate) struct VersionsArgs {
    /// Where Kubernetes says which versions are the newest: the address of a folder with stable.txt, or a file with
    /// versions in it
    #[arg(long, value_name = "ADDRESS", default_value = KUBERNETES_RELEASES)]
    upstream: String,

    /// The repository of the images: what is published there is shown beside
    #[arg(long, value_name = "REPOSITORY")]
    published: Option<String>,

    /// Print only the versions that are still to be built, with commas between them; nothing if there is none
    #[arg(long)]
    new: bool,

    #[command(flatten)]
    talk: TalkArgs,

    /// How to print the list
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
}

pub(crate) fn run(args: &VersionsArgs) -> Result<ExitCode, Failure> {
    let fetcher = Fetcher::new(args.talk.retry_times);
    let mut minors = network()?.block_on(versions::supported(&args.upstream, &fetcher))?;
    if let Some(typed) = &args.published {
        let reference = reference(typed)?;
        let client = args.talk.client([reference.repository()])?;
        let tags = match wait_for(client.tags(reference.repository())) {
            // Before the first release there is no such repository.
            Err(failure) if failure.exit_code() == ErrorClass::Unresolvable.exit_code() => Vec::new(),
            asked => asked?,
        };
        let tags: Vec<String> = tags.iter().map(ToString::to_string).collect();
        versions::note_published(&mut minors, tags.iter().map(String::as_str));
    }
    if args.new {
        use std::io::Write as _;
        let new: Vec<_> = minors
            .iter()
            .filter(|minor| minor.is_new())
            .map(|minor| minor.newest.to_string().trim_start_matches('v').to_owned())
            .collect();
        // Nothing new is nothing to read, for `test -s` and `test -n`.
        if !new.is_empty() {
            writeln!(std::io::stdout(), "{}", new.join(","))?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    let mut table = Table::new(["Minor", "Newest patch", "Published", "To build"].map(Column::left));
    for minor in &minors {
        let asked = args.published.is_some();
        let published = minor.published.as_ref().map(ToString::to_string);
        table.row([
            minor.minor.clone(),
            minor.newest.to_string(),
            published.unwrap_or_else(|| if asked { "none".into() } else { "not asked".into() }),
            if asked && minor.is_new() { minor.newest.to_string() } else { String::new() },
        ]);
    }
    let data: Vec<_> = minors
        .iter()
        .map(|minor| {
            json!({ "minor": minor.minor, "newest": minor.newest, "published": minor.published, "new": minor.is_new() })
        })
        .collect();
    terminal::print(&table, &data, args.format)?;
    Ok(ExitCode::SUCCESS)
}
