//! `kimg lock`

use std::collections::BTreeSet;
use std::process::ExitCode;

use kimg_build::{BuildError, inputs};
use kimg_core::Platform;
use kimg_report::{Column, Table};
use kimg_source::Lock;
use kimg_source::lock::Move;

use crate::args::{Format, LockArgs};
use crate::commands::setting::{LockTask, Making, Setting, progress_mode};
use crate::failure::Failure;
use crate::progress::Progress;
use crate::terminal;

pub(crate) fn run(args: &LockArgs) -> Result<ExitCode, Failure> {
    let task = args.update.as_deref().map_or(LockTask::Pin, LockTask::Update);
    let setting = Setting::new(&args.selection, Making::default(), Some(task))?;
    let progress = Progress::new(progress_mode(args.selection.progress, false));
    let build = setting.build(&progress);
    let before = match build.lock.path() {
        Some(path) => Lock::read(path).map_err(BuildError::from)?.unwrap_or_else(Lock::new),
        None => Lock::new(),
    };
    let gathered = build.gather()?;
    let changed = if args.dry_run { false } else { inputs::write_lock(&build.lock, &gathered.lock)? };
    drop(progress);

    let first = before.images.is_empty();
    let moves = before.moves(&gathered.lock);
    if let Some(path) = setting.lock_path() {
        let packages = gathered.lock.packages.len();
        let done = match moves.len() {
            _ if !args.dry_run && !changed => "is up to date".to_owned(),
            _ if first => format!("with {packages} packages"),
            1 => "with 1 change".to_owned(),
            count => format!("with {count} changes"),
        };
        let verb = match (args.dry_run, changed) {
            (true, _) => "would be written ",
            (_, true) => "written ",
            _ => "",
        };
        eprintln!("   {} {verb}{done}", path.display());
    }
    // The first lock has everything in it: a list of all packages says nothing.
    let told = if first && !args.dry_run { &[] } else { &moves[..] };
    if !told.is_empty() || args.format == Format::Json {
        terminal::print(&table(told, &setting.project.platforms), &told, args.format)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn table(moves: &[Move], all: &[Platform]) -> Table {
    let mut table = Table::new(["Package", "From", "To", "Platforms"].map(Column::left));
    for step in moves {
        let to = match (&step.from, &step.to) {
            (Some(from), Some(to)) if from == to => format!("{to}, built again"),
            (_, Some(to)) => to.clone(),
            (_, None) => "no longer chosen".to_owned(),
        };
        let from = step.from.clone().unwrap_or_else(|| "new".to_owned());
        table.row([step.package.clone(), from, to, platforms(&step.platforms, all)]);
    }
    table
}

/// The names of platforms, or `all` if it is all of them.
pub(crate) fn platforms(named: &BTreeSet<Platform>, all: &[Platform]) -> String {
    if all.len() > 1 && all.iter().all(|platform| named.contains(platform)) {
        return "all".to_owned();
    }
    named.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
