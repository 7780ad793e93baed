//! `kimg why PATH`

use std::collections::BTreeMap;
use std::io::Write as _;
use std::process::ExitCode;

use kimg_build::select::Selected;
use kimg_core::{ImagePath, Origin};
use serde_json::json;

use crate::args::{TextOrJson, WhyArgs};
use crate::commands::setting::{Setting, progress_mode};
use crate::failure::Failure;
use crate::progress::Progress;

/// The exit code when no image has the path.
const NOT_THERE: u8 = 1;

pub(crate) fn run(args: &WhyArgs) -> Result<ExitCode, Failure> {
    let setting = Setting::new(&args.selection, None, None)?;
    let progress = Progress::new(quiet_unless_said(args));
    let sets = setting.build(&progress).file_sets()?;
    drop(progress);

    let mut answers: BTreeMap<(bool, String), Vec<String>> = BTreeMap::new();
    let mut data = Vec::new();
    for image in &sets.images {
        let variant = &setting.project.variants[image.variant].name;
        let (there, answer) = answer(image, &args.path);
        data.push(json!({
            "variant": variant, "platform": image.platform, "path": args.path, "in_image": there, "answer": answer,
            "chain": image.closure.why(&args.path),
        }));
        answers.entry((!there, answer)).or_default().push(format!("{variant} for {}", image.platform));
    }
    let found = answers.keys().any(|(missing, _)| !missing);
    let mut out = std::io::stdout().lock();
    if args.format == TextOrJson::Json {
        writeln!(out, "{}", serde_json::to_string_pretty(&data).map_err(std::io::Error::from)?)?;
    } else if answers.len() == 1 {
        for (_, answer) in answers.keys() {
            writeln!(out, "{answer}")?;
        }
    } else {
        for ((_, answer), images) in &answers {
            writeln!(out, "{}:\n  {answer}", images.join(", "))?;
        }
    }
    Ok(if found { ExitCode::SUCCESS } else { ExitCode::from(NOT_THERE) })
}

fn quiet_unless_said(args: &WhyArgs) -> crate::args::ProgressMode {
    progress_mode(args.selection.progress, true)
}

fn answer(image: &Selected, path: &ImagePath) -> (bool, String) {
    // The path as asked may lead through links: the closure knows the real one.
    let real = image.tree.locate(path).map_or_else(|_| path.clone(), |place| place.path);
    if let Some(chain) = image.closure.why(&real) {
        return (true, chain.to_string());
    }
    match image.tree.get(&real) {
        Some(entry) if image.files.contains_key(&real) => (
            true,
            format!(
                "`{real}` is in the image with the whole of {}, and nothing needs it",
                origin(&entry.origin)
            ),
        ),
        Some(entry) => (
            false,
            format!("`{real}` is not in the image: {} has it, and nothing needs it", origin(&entry.origin)),
        ),
        None => (false, format!("`{real}` is not in the image, and no chosen package has it")),
    }
}

fn origin(origin: &Origin) -> String {
    match origin {
        Origin::Package { name, .. } => format!("package {name}"),
        other => other.to_string(),
    }
}
