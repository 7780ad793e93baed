//! `kimg build`

use std::io::Write as _;
use std::process::ExitCode;

use fs_err as fs;
use kimg_build::Outcome;
use kimg_build::publish::Destination;
use serde_json::json;

use crate::args::{BuildArgs, ProgressMode, TextOrJson};
use crate::commands::publish::{Target, destination, mounts, summary};
use crate::commands::registry::results;
use crate::commands::setting::{Making, Setting, cache_folder, progress_mode};
use crate::failure::Failure;
use crate::progress::Progress;
use crate::terminal;

pub(crate) fn run(args: &BuildArgs) -> Result<ExitCode, Failure> {
    let (to_registries, outputs): (Vec<_>, Vec<_>) = args
        .outputs
        .iter()
        .cloned()
        .partition(|output| output.split(',').any(|part| part == "type=registry"));
    let making = Making { aims: Some(&args.aims), images: Some(&args.images), outputs: &outputs };
    let mut setting = Setting::new(&args.selection, making, None)?;
    let pushed_to = destinations(args, &to_registries, &setting)?;
    if !pushed_to.is_empty() && outputs.is_empty() {
        setting.project.outputs.clear();
    }
    setting.project.statements = args.statements.wishes()?;
    let progress = Progress::new(progress_mode(args.selection.progress, args.quiet));
    let build = setting.build(&progress);
    let key = args.sign.key()?;
    let mounted: Vec<_> = pushed_to.iter().flat_map(|to| mounts(to, &setting)).collect();
    let outcome = args.shared.run(&build, &args.registry, args.selection.retry_times, &mounted)?;
    args.statements.write(&outcome.statements, !pushed_to.is_empty())?;
    drop(progress);
    if outcome.lock_changed
        && let Some(path) = setting.lock_path()
        && progress_mode(args.selection.progress, args.quiet) != ProgressMode::Quiet
    {
        eprintln!("   {} written", path.display());
    }
    let mut entries = Vec::new();
    for to in &pushed_to {
        let target = Target {
            to,
            registry: &args.registry,
            pushing: &args.pushing,
            partial: true,
            retry_times: args.selection.retry_times,
            cache: &cache_folder(args.selection.cache_dir.as_deref())?,
            mode: progress_mode(args.selection.progress, args.quiet),
            format: args.format,
            key: key.as_ref(),
        };
        // A dry run has printed its plan, and that is all.
        let Some(pushed) = target.push(&setting, &outcome)? else { return Ok(ExitCode::SUCCESS) };
        entries.extend(pushed);
    }
    if !entries.is_empty() {
        results::write_files(&entries, args.metadata_file.as_deref(), None)?;
        results::summary(&summary(&outcome, &entries))?;
    } else if let Some(path) = &args.metadata_file {
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
    if args.quiet && !entries.is_empty() {
        // What was pushed is named below.
    } else if args.quiet {
        for file in &outcome.files {
            writeln!(out, "{}@{}", file.path.display(), file.digest)?;
        }
        let images = setting.project.outputs.iter().any(|output| !output.form.is_files());
        for tagged in outcome.tagged.iter().filter(|_| images) {
            for tag in &tagged.tags {
                writeln!(out, "{tag}@{}", tagged.image.descriptor.digest)?;
            }
        }
    } else if args.format == TextOrJson::Json {
        write!(out, "{}", outcome.report.to_json())?;
    } else {
        write!(out, "{}", outcome.report.to_terminal(terminal::width(), terminal::color_on_stdout()))?;
    }
    if args.quiet || args.format == TextOrJson::Table {
        write!(out, "{}", results::lines(&entries))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Where the images are pushed to: `--push`, and outputs of the type `registry`.
fn destinations(
    args: &BuildArgs,
    outputs: &[String],
    setting: &Setting,
) -> Result<Vec<Destination>, Failure> {
    let mut all = Vec::new();
    if let Some(said) = &args.push {
        all.push(destination(Some(said), &setting.project)?);
    }
    for output in outputs {
        let said =
            output.split(',').find_map(|part| part.strip_prefix("dest=").or(part.strip_prefix("name=")));
        all.push(destination(said, &setting.project)?);
    }
    Ok(all)
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
