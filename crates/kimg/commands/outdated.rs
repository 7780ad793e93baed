//! `kimg outdated`

use std::collections::BTreeSet;
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use kimg_build::outdated::{KUBERNETES_RELEASES, Outdated, Standing};
use kimg_core::ErrorClass;
use kimg_report::{Column, Table};

use crate::args::{Format, Selection};
use crate::commands::lock::platforms;
use crate::commands::setting::{LockTask, Making, Setting, progress_mode};
use crate::failure::Failure;
use crate::progress::Progress;
use crate::terminal;

#[derive(Debug, Args)]
pub(crate) struct OutdatedArgs {
    #[command(flatten)]
    selection: Selection,

    /// Where Kubernetes says which versions are the newest: the address of a folder with stable.txt
    #[arg(long, value_name = "ADDRESS", default_value = KUBERNETES_RELEASES)]
    upstream: String,

    /// When to end with exit code 41
    #[arg(long, value_enum, default_value_t = FailOn::Newer)]
    fail_on: FailOn,

    /// How to print the answer
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum FailOn {
    /// The repositories have something newer than the lock
    Newer,
    /// The same, or upstream has a newer patch of Kubernetes, or no longer looks after the locked minor
    Upstream,
    /// Never
    Never,
}

pub(crate) fn run(args: &OutdatedArgs) -> Result<ExitCode, Failure> {
    let setting = Setting::new(&args.selection, Making::default(), Some(LockTask::Pin))?;
    let progress = Progress::new(progress_mode(args.selection.progress, false));
    let upstream = (!args.selection.offline).then_some(args.upstream.trim_end_matches('/'));
    let outdated = setting.build(&progress).outdated(upstream)?;
    drop(progress);

    if args.format == Format::Table {
        tell(&outdated, &setting)?;
    } else {
        terminal::print(&table(&outdated, &setting), &outdated, args.format)?;
    }
    let newer = outdated.packages.iter().any(|package| package.newest.is_some());
    let behind = outdated.kubernetes.iter().any(Standing::is_behind_upstream);
    let fails = match args.fail_on {
        FailOn::Newer => newer,
        FailOn::Upstream => newer || behind,
        FailOn::Never => false,
    };
    Ok(if fails { ExitCode::from(ErrorClass::Stale.exit_code()) } else { ExitCode::SUCCESS })
}

fn tell(outdated: &Outdated, setting: &Setting) -> Result<(), Failure> {
    use std::io::Write as _;
    let mut out = std::io::stdout().lock();
    for standing in &outdated.kubernetes {
        writeln!(out, " Kubernetes {}: {}", standing.locked, standing_of(standing))?;
    }
    if outdated.packages.is_empty() {
        writeln!(out, " Every locked package is the newest of its repositories")?;
        return Ok(());
    }
    writeln!(out)?;
    write!(out, "{}", table(outdated, setting).to_terminal(terminal::width(), terminal::color_on_stdout()))?;
    if outdated.packages.iter().any(|package| package.newest.is_some()) {
        let all: BTreeSet<_> =
            outdated.packages.iter().filter(|p| p.newest.is_some()).map(|p| &*p.package).collect();
        let named = if all.len() == 1 { all.iter().next().copied().unwrap_or_default() } else { "" };
        writeln!(out, "\n Next   {}", format!("kimg lock --update {named}").trim_end())?;
    }
    Ok(())
}

/// ` 1.34.2 is the newest patch of the second newest of three supported minors`
fn standing_of(standing: &Standing) -> String {
    let mut parts = Vec::new();
    match &standing.upstream {
        None => parts.push("upstream was not asked or did not answer".to_owned()),
        Some(upstream) => {
            parts.push(match upstream.minor {
                Some(1) => "the newest of the three supported minors".to_owned(),
                Some(2) => "the second newest of the three supported minors".to_owned(),
                Some(_) => "the oldest of the three supported minors".to_owned(),
                None => format!("no longer supported upstream (the newest is {})", upstream.newest),
            });
            match &upstream.patch {
                Some(patch) if *patch > standing.locked => parts.push(format!("upstream has {patch}")),
                Some(_) => parts.push("its newest patch".to_owned()),
                None => {}
            }
        }
    }
    if let Some(newest) = &standing.repositories {
        parts.push(format!("the repositories have {newest}"));
    }
    parts.join("; ")
}

fn table(outdated: &Outdated, setting: &Setting) -> Table {
    let mut table = Table::new(["Package", "Locked", "Newest", "Platforms", "From"].map(Column::left));
    for behind in &outdated.packages {
        let note = if behind.gone { ", no longer there" } else { "" };
        let locked = format!("{}{note}", behind.locked);
        table.row([
            behind.package.clone(),
            locked,
            behind.newest.clone().unwrap_or_default(),
            platforms(&behind.platforms, &setting.project.platforms),
            behind.repository.clone().unwrap_or_default(),
        ]);
    }
    table
}
