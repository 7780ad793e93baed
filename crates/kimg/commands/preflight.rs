//! `kimg preflight`

use std::collections::{BTreeMap, BTreeSet};
use std::process::ExitCode;

use clap::Args;
use kimg_build::preflight::{Cell, preflight};
use kimg_core::{ErrorClass, KubernetesVersion, Platform};
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
    if args.format == Format::Table {
        tell(&cells)?;
    } else {
        terminal::print(&table(&cells), &cells, args.format)?;
    }
    let missing = |cell: &Cell| cell.programs.iter().any(|part| part.from.is_none());
    let fails =
        cells.iter().any(|cell| !cell.problems.is_empty() || (args.selection.strict && missing(cell)));
    Ok(if fails { ExitCode::from(ErrorClass::Unresolvable.exit_code()) } else { ExitCode::SUCCESS })
}

/// The images as a small matrix, and below it each reason once.
fn tell(cells: &[Cell]) -> Result<(), Failure> {
    use std::io::Write as _;
    let mut platforms: Vec<Platform> = cells.iter().map(|cell| cell.platform).collect();
    platforms.sort();
    platforms.dedup();
    let head = ["Kubernetes", "Variant"].map(String::from).into_iter();
    let head = head.chain(platforms.iter().map(ToString::to_string)).map(Column::left);
    let mut matrix = Table::new(head);
    let mut rows: BTreeMap<(Option<KubernetesVersion>, &str), BTreeMap<Platform, String>> = BTreeMap::new();
    let mut order = Vec::new();
    let mut notes: BTreeMap<(&str, String), BTreeSet<Platform>> = BTreeMap::new();
    for cell in cells {
        let key = (cell.kubernetes.clone(), cell.variant.as_str());
        if !rows.contains_key(&key) {
            order.push(key.clone());
        }
        let missing: Vec<_> =
            cell.programs.iter().filter(|part| part.from.is_none()).map(|part| &*part.program).collect();
        let state = match (cell.problems.is_empty(), missing.is_empty()) {
            (false, _) => "no".to_owned(),
            (true, true) => "yes".to_owned(),
            (true, false) => format!("without {}", missing.join(", ")),
        };
        rows.entry(key).or_default().insert(cell.platform, state);
        for part in &cell.programs {
            let (kind, note) = match (&part.from, &part.why) {
                (Some(from), _) => ("From", from.clone()),
                (None, why) => {
                    ("Missing", format!("{}: {}", part.program, why.as_deref().unwrap_or_default()))
                }
            };
            notes.entry((kind, note)).or_default().insert(cell.platform);
        }
        for problem in &cell.problems {
            notes.entry(("No", problem.clone())).or_default().insert(cell.platform);
        }
    }
    for (version, variant) in order {
        let Some(states) = rows.get(&(version.clone(), variant)) else { continue };
        let name = version.as_ref().map(ToString::to_string).unwrap_or_default();
        let states = platforms.iter().map(|platform| states.get(platform).cloned().unwrap_or_default());
        matrix.row([name, variant.to_owned()].into_iter().chain(states));
    }
    let mut out = std::io::stdout().lock();
    write!(out, "{}", matrix.to_terminal(terminal::width(), terminal::color_on_stdout()))?;
    let mut reasons = Table::new(["", "", "On"].map(Column::left));
    for ((kind, note), on) in notes {
        reasons.row([kind.to_owned(), note, crate::commands::lock::platforms(&on, &platforms)]);
    }
    writeln!(out)?;
    write!(out, "{}", reasons.to_terminal(terminal::width(), terminal::color_on_stdout()))?;
    Ok(())
}

/// A row for each image, for programs.
fn table(cells: &[Cell]) -> Table {
    let mut table = Table::new(
        ["Kubernetes", "Variant", "Platform", "Can be built", "From", "Missing, and why"].map(Column::left),
    );
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
            if cell.problems.is_empty() { "yes".to_owned() } else { "no".to_owned() },
            from.into_iter().collect::<Vec<_>>().join("; "),
            notes.join("; "),
        ]);
    }
    table
}
