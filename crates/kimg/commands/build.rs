//! `kimg build`

use std::io::Write as _;
use std::process::ExitCode;

use fs_err as fs;
use kimg_build::Outcome;
use kimg_build::project::Output;
use kimg_build::publish::Destination;
use serde_json::json;

use crate::args::{BuildArgs, ProgressMode, Selection, TextOrJson};
use crate::commands::publish::{Target, destination, mounts, summary};
use crate::commands::registry::results::{self, Entry};
use crate::commands::setting::{Making, Setting, cache_folder, progress_mode, settings};
use crate::failure::Failure;
use crate::progress::Progress;
use crate::terminal;

/// What was made for one version of Kubernetes.
struct Made {
    outcome: Outcome,
    /// What was pushed.
    entries: Vec<Entry>,
    /// Whether it was written as images, and not only as file systems.
    as_images: bool,
    /// An archive on standard output leaves no room for a report.
    takes_stdout: bool,
}

pub(crate) fn run(args: &BuildArgs) -> Result<ExitCode, Failure> {
    let mut all = Vec::new();
    let versions = versions(args)?;
    for selection in &versions {
        // A dry run has printed its plan, and that is all.
        let Some(made) = make(args, selection, versions.len())? else { return Ok(ExitCode::SUCCESS) };
        all.push(made);
    }
    let entries: Vec<Entry> = all.iter().flat_map(|made| made.entries.clone()).collect();
    if !entries.is_empty() {
        results::write_files(&entries, args.metadata_file.as_deref(), None)?;
        for made in &all {
            results::summary(&summary(&made.outcome, &made.entries))?;
        }
    } else if let Some(path) = &args.metadata_file {
        let text = serde_json::to_string_pretty(&metadata(&all)).map_err(std::io::Error::from)?;
        fs::write(path, text + "\n")?;
    }
    if progress_mode(args.selection.progress, args.quiet) == ProgressMode::Tty {
        eprintln!();
    }
    print(args, &all)?;
    Ok(ExitCode::SUCCESS)
}

/// What is built, once for each version of Kubernetes that is asked for: where there are several, each has a lock of its
/// own.
fn versions(args: &BuildArgs) -> Result<Vec<Selection>, Failure> {
    let mut versions = args.selection.each_version();
    if versions.len() == 1 {
        return Ok(versions);
    }
    if args.selection.lock.is_some() {
        return Err(Failure::usage("one lock can't pin several versions of Kubernetes")
            .hint("without `--lock`, each has its own beside kimg.toml: kimg.v1.34.2.lock"));
    }
    let (_, folder, in_project) = settings(args.selection.config.as_deref())?;
    if in_project && !args.selection.sample {
        for version in &mut versions {
            let name = version.kubernetes.join("");
            version.lock = Some(folder.join(format!("kimg.v{}.lock", name.trim_start_matches('v'))));
        }
    }
    Ok(versions)
}

/// Builds one of so many versions.
fn make(args: &BuildArgs, selection: &Selection, versions: usize) -> Result<Option<Made>, Failure> {
    let (to_registries, outputs): (Vec<_>, Vec<_>) = args
        .outputs
        .iter()
        .cloned()
        .partition(|output| output.split(',').any(|part| part == "type=registry"));
    let making = Making { aims: Some(&args.aims), images: Some(&args.images), outputs: &outputs };
    let mut setting = Setting::new(selection, making, None)?;
    if versions > 1 && setting.project.outputs.iter().any(Output::is_one_file) {
        return Err(Failure::usage(
            "one file holds one build, and several versions of Kubernetes are asked for",
        )
        .hint("a folder and a registry hold all of them"));
    }
    let pushed_to = destinations(args, &to_registries, &setting)?;
    if !pushed_to.is_empty() && outputs.is_empty() {
        setting.project.outputs.clear();
    }
    setting.project.statements = args.statements.wishes()?;
    let progress = Progress::new(progress_mode(selection.progress, args.quiet));
    let build = setting.build(&progress);
    let key = args.sign.key()?;
    let mounted: Vec<_> = pushed_to.iter().flat_map(|to| mounts(to, &setting)).collect();
    let outcome = args.shared.run(&build, &args.registry, selection.retry_times, &mounted)?;
    args.statements.write(&outcome.statements, !pushed_to.is_empty())?;
    drop(progress);
    if outcome.lock_changed
        && let Some(path) = setting.lock_path()
        && progress_mode(selection.progress, args.quiet) != ProgressMode::Quiet
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
            retry_times: selection.retry_times,
            cache: &cache_folder(selection.cache_dir.as_deref())?,
            mode: progress_mode(selection.progress, args.quiet),
            format: args.format,
            key: key.as_ref(),
        };
        let Some(pushed) = target.push(&setting, &outcome)? else { return Ok(None) };
        entries.extend(pushed);
    }
    let outputs = &setting.project.outputs;
    let as_images = outputs.iter().any(|output| !output.form.is_files());
    let takes_stdout = outputs.iter().any(|output| output.destination.as_os_str() == "-");
    Ok(Some(Made { outcome, entries, as_images, takes_stdout }))
}

/// The results on standard output.
fn print(args: &BuildArgs, all: &[Made]) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    if args.format == TextOrJson::Json && !args.quiet && all.len() > 1 {
        let reports: Vec<_> = all.iter().map(|made| &made.outcome.report).collect();
        let text = serde_json::to_string_pretty(&reports).map_err(std::io::Error::from)?;
        writeln!(out, "{text}")?;
        return Ok(());
    }
    for Made { outcome, entries, as_images, takes_stdout } in all {
        if *takes_stdout {
            continue;
        }
        if args.quiet && !entries.is_empty() {
            // What was pushed is named below.
        } else if args.quiet {
            for file in &outcome.files {
                writeln!(out, "{}@{}", file.path.display(), file.digest)?;
            }
            for tagged in outcome.tagged.iter().filter(|_| *as_images) {
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
            write!(out, "{}", results::lines(entries))?;
        }
    }
    Ok(())
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
fn metadata(all: &[Made]) -> serde_json::Value {
    let images: Vec<_> = all
        .iter()
        .flat_map(|made| &made.outcome.tagged)
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
