//! `kimg preflight`

use std::collections::BTreeSet;
use std::process::ExitCode;

use clap::Args;
use kimg_build::preflight::{Cell, preflight};
use kimg_core::ErrorClass;
use kimg_report::{Column, Table};

use crate::args::{Format, Selection};
use crate::commands::setting::{Making, Setting, progress_mode};
use crate::failure::Failure;
use crate::progress::Progress;
use crate::terminal;

#[derive(Debug, Args)]
pub(crate) struct PreflightArgs {
    #[command(flatten)]
    selection: Selection,

    /// How to print what was found
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
}

pub(crate) fn run(args: &PreflightArgs) -> Result<ExitCode, Failure> {
    let mut cells = Vec::new();
    for selection in args.selection.each_version() {
        let setting = Setting::new(&selection, Making::default(), None)?;
        let progress = Progress::new(progress_mode(selection.progress, false));
        cells.extend(preflight(&setting.build(&progress))?);
    }
    terminal::print(&table(&cells), &cells, args.format)?;
    let missing = |cell: &Cell| cell.programs.iter().any(|part| part.from.is_none());
    let fails =
        cells.iter().any(|cell| !cell.problems.is_empty() || (args.selection.strict && missing(cell)));
    Ok(if fails { ExitCode::from(ErrorClass::Unresolvable.exit_code()) } else { ExitCode::SUCCESS })
}

fn table(cells: &[Cell]) -> Table {
    let mut table =
        Table::new(["Kubernetes", "Variant", "Platform", "", "From", "Missing, and why"].map(Column::left));
    for cell in cells {
        let from: BTreeSet<&str> = cell.programs.iter().filter_map(|part| part.from.as_deref()).collect();
        let mut notes = cell.problems.clone();
        notes.extend(
            cell.programs.iter().filter_map(|part| Some(format!("{}: {}", part.program, part.why.as_ref()?))),
        );
        table.row([
            cell.kubernetes.as_ref().map(ToString::to_string).unwrap_or_default(),
            cell.variant.clone(),
            cell.platform.to_string(),
            if cell.problems.is_empty() { "ok".to_owned() } else { "no".to_owned() },
            from.into_iter().collect::<Vec<_>>().join("; "),
            notes.join("; "),
        ]);
    }
    table
}
