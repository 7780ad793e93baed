//! `kimg build`

use std::io::Write as _;
use std::process::ExitCode;

use fs_err as fs;
use kimg_build::Outcome;
use serde_json::json;

use crate::args::{BuildArgs, ProgressMode, TextOrJson};
use crate::commands::setting::{Setting, progress_mode};
use crate::failure::Failure;
use crate::progress::Progress;
use crate::terminal;

pub(crate) fn run(args: &BuildArgs) -> Result<ExitCode, Failure> {
    let setting = Setting::new(&args.selection, Some(args), None)?;
    let progress = Progress::new(progress_mode(args.selection.progress, args.quiet));
    let build = setting.build(&progress);
    let outcome = build.run()?;
    drop(progress);
    if outcome.lock_changed
        && let Some(path) = setting.lock_path()
        && progress_mode(args.selection.progress, args.quiet) != ProgressMode::Quiet
    {
        eprintln!("   {} written", path.display());
    }
    if let Some(path) = &args.metadata_file {
        let text = serde_json::to_string_pretty(&metadata(&outcome)).map_err(std::io::Error::from)?;
        fs::write(path, text + "\n")?;
    }
    if progress_mode(args.selection.progress, args.quiet) == ProgressMode::Tty {
        eprintln!();
    }
    // An archive on standard output leaves no room for a report.
    let takes_stdout = setting.project.outputs.iter().any(|o| o.destination.as_os_str() == "-");
    if takes_stdout {
        return Ok(ExitCode::SUCCESS);
    }
    let mut out = std::io::stdout().lock();
    if args.quiet {
        for tagged in &outcome.tagged {
            for tag in &tagged.tags {
                writeln!(out, "{tag}@{}", tagged.image.descriptor.digest)?;
            }
        }
    } else if args.format == TextOrJson::Json {
        write!(out, "{}", outcome.report.to_json())?;
    } else {
        write!(out, "{}", outcome.report.to_terminal(terminal::width(), terminal::color_on_stdout()))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The keys that users of buildx know (`containerimage.digest`, `image.name`), one object for each index.
fn metadata(outcome: &Outcome) -> serde_json::Value {
    let images: Vec<_> = outcome
        .tagged
        .iter()
        .map(|tagged| {
            json!({
                "image.name": tagged.tags.join(","),
                "containerimage.digest": tagged.image.descriptor.digest,
                "containerimage.descriptor": tagged.image.descriptor,
            })
        })
        .collect();
    match &images[..] {
        [one] => one.clone(),
        _ => json!(images),
    }
}
