//! `kimg tune`

use std::io::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use kimg_build::tune::{TunedLayer, TunedPrograms};
use kimg_report::{Column, Table, size};

use crate::args::{AimArgs, Format, Selection};
use crate::commands::setting::{LockTask, Making, Setting, progress_mode};
use crate::failure::Failure;
use crate::progress::Progress;
use crate::terminal;

#[derive(Debug, Args)]
pub(crate) struct TuneArgs {
    #[command(flatten)]
    selection: Selection,

    #[command(flatten)]
    aims: AimArgs,

    /// How to print what was measured
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
}

pub(crate) fn run(args: &TuneArgs) -> Result<ExitCode, Failure> {
    let setting = Setting::new(
        &args.selection,
        Making { aims: Some(&args.aims), ..Making::default() },
        Some(LockTask::Pin),
    )?;
    let progress = Progress::new(progress_mode(args.selection.progress, false));
    let tuned = setting.build(&progress).tune()?;
    drop(progress);

    if args.format != Format::Table {
        // One list of records: a way to pack programs or to compress a layer each.
        let mut table = programs_table(&tuned.programs);
        layer_rows(&mut table, &tuned.layers);
        terminal::print(&table, &tuned, args.format)?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut out = std::io::stdout().lock();
    let (width, color) = (terminal::width(), terminal::color_on_stdout());
    writeln!(out, " Tuned for {}\n", tuned.aims)?;
    let mut table = programs_table(&tuned.programs);
    layer_rows(&mut table, &tuned.layers);
    write!(out, "{}", table.to_terminal(width, color))?;
    for (path, why) in tuned.programs.iter().flat_map(|group| &group.ways[group.chosen].plain) {
        writeln!(out, " Plain though   {path}: {why}")?;
    }
    let lock = setting.lock_path().map(|path| path.display().to_string()).unwrap_or_default();
    let state = if tuned.lock_changed { "pinned in" } else { "as it was pinned in" };
    writeln!(out, "\n The marked ways are {state} {lock}; builds with the same aims follow it")?;
    Ok(ExitCode::SUCCESS)
}

fn programs_table(groups: &[TunedPrograms]) -> Table {
    let mut table = Table::new(vec![
        Column::left("What"),
        Column::left(""),
        Column::left("Way"),
        Column::right("Pull"),
        Column::right("On disk"),
        Column::right("Start"),
        Column::right("Takes"),
    ]);
    for group in groups {
        let mut name = match &group.programs[..] {
            [one] => format!("{one}, {}", group.platform),
            several => format!("{} programs of {}, {}", several.len(), group.layer, group.platform),
        };
        for (place, way) in group.ways.iter().enumerate() {
            // Plain comes first; where no program can be packed so, there is nothing to say but that.
            if place > 0 && way.plain.len() == group.programs.len() {
                continue;
            }
            let start = way.start.map(|start| {
                let qemu = if way.under_qemu { " (qemu)" } else { "" };
                format!("{}{qemu}", time(start))
            });
            table.row([
                std::mem::take(&mut name),
                mark(place == group.chosen),
                way.packing.to_string(),
                size(way.pulled),
                size(way.disk),
                start.unwrap_or_default(),
                time(way.pack_time),
            ]);
        }
    }
    table
}

fn layer_rows(table: &mut Table, layers: &[TunedLayer]) {
    for layer in layers {
        let mut name = format!("layer {}, {}", layer.layer, layer.platform);
        for (place, tried) in layer.codecs.iter().enumerate() {
            table.row([
                std::mem::take(&mut name),
                mark(place == layer.chosen),
                tried.codec.to_string(),
                size(tried.size),
                size(layer.extracted),
                String::new(),
                time(tried.time),
            ]);
        }
    }
}

fn mark(chosen: bool) -> String {
    if chosen { "✓".to_owned() } else { String::new() }
}

fn time(time: Duration) -> String {
    if time < Duration::from_secs(1) {
        format!("{} ms", time.as_millis())
    } else {
        format!("{:.1} s", time.as_secs_f64())
    }
}
