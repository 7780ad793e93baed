//! `kimg why PATH` and `kimg why --not PATH`

mod absent;

use std::collections::BTreeMap;
use std::io::Write as _;
use std::process::ExitCode;

use kimg_apk::Repository;
use kimg_build::select::{Selected, record};
use kimg_core::{ImagePath, Origin, Platform};
use serde_json::{Value, json};

use self::absent::Absence;
use crate::args::{TextOrJson, WhyArgs};
use crate::commands::setting::{Making, Setting, progress_mode};
use crate::failure::Failure;
use crate::progress::Progress;

/// The exit code when no image is as the question supposes: has the path, or with `--not` lacks it.
const OTHERWISE: u8 = 1;

pub(crate) fn run(args: &WhyArgs) -> Result<ExitCode, Failure> {
    let setting = Setting::new(&args.selection, Making::default(), None)?;
    let progress = Progress::new(progress_mode(args.selection.progress, true));
    let build = setting.build(&progress);
    let mut sets = build.file_sets()?;
    // Which package could have a path is in the indexes alone: they are read only where that is asked.
    let indexes = if args.not { build.indexes()? } else { BTreeMap::new() };
    let cache = build.cache.clone();
    drop(progress);

    let mut answers: BTreeMap<(bool, String), Vec<String>> = BTreeMap::new();
    let mut data = Vec::new();
    for image in &mut sets.images {
        record(image, &setting.project.variants[image.variant], sets.inputs.alpine.as_deref(), &cache)?;
        let variant = &setting.project.variants[image.variant].name;
        let answer = Answer::of(image, &args.path, indexes_of(&indexes, image.platform));
        data.push(answer.json(variant, image, &args.path));
        let is_expected = answer.in_image() != args.not;
        answers
            .entry((!is_expected, answer.text))
            .or_default()
            .push(format!("{variant} for {}", image.platform));
    }
    let expected = answers.keys().any(|(otherwise, _)| !otherwise);
    let mut out = std::io::stdout().lock();
    if args.format == TextOrJson::Json {
        writeln!(out, "{}", serde_json::to_string_pretty(&data).map_err(std::io::Error::from)?)?;
    } else if answers.len() == 1 {
        for (_, answer) in answers.keys() {
            writeln!(out, "{answer}")?;
        }
    } else {
        for ((_, answer), images) in &answers {
            writeln!(out, "{}:\n  {}", images.join(", "), answer.replace('\n', "\n  "))?;
        }
    }
    if !expected && !args.not {
        eprintln!(" help: `kimg why --not {}` says which package could have it", args.path);
    }
    Ok(if expected { ExitCode::SUCCESS } else { ExitCode::from(OTHERWISE) })
}

fn indexes_of(indexes: &BTreeMap<Platform, Vec<Repository>>, platform: Platform) -> &[Repository] {
    indexes.get(&platform).map(Vec::as_slice).unwrap_or_default()
}

/// What there is to say about a path of one image.
struct Answer {
    text: String,
    /// What is known of a path that is not there.
    absence: Option<Absence>,
}

impl Answer {
    fn of(image: &Selected, path: &ImagePath, indexes: &[Repository]) -> Self {
        // The path as asked may lead through links: the closure knows the real one.
        let real = image.tree.locate(path).map_or_else(|_| path.clone(), |place| place.path);
        let by_way = if real == *path { String::new() } else { format!("`{path}` is `{real}` here: ") };
        if let Some(chain) = image.closure.why(&real) {
            return Self { text: format!("{by_way}{chain}"), absence: None };
        }
        let present = image.tree.get(&real).filter(|_| image.files.contains_key(&real));
        if let Some(entry) = present {
            let why = match &entry.origin {
                Origin::Generated(why) => format!("is written by kimg: {why}"),
                origin => {
                    format!("is in the image with the whole of {}, and nothing needs it", words(origin))
                }
            };
            return Self { text: format!("{by_way}`{real}` {why}"), absence: None };
        }
        let absence = Absence::of(image, &real, indexes);
        Self { text: absence.to_string(), absence: Some(absence) }
    }

    fn in_image(&self) -> bool {
        self.absence.is_none()
    }

    /// `variant`, `platform`, `path`, `in_image`, `answer`; `chain` of a path that is there and needed; of one that is not,
    /// `package` (`name`, `version`, `size` in bytes), `applet_of`, `elsewhere` (`path`, `in_image`, `from`), `candidates` (`package`, `version`,
    /// `repository`, `by`: the name it provides).
    fn json(&self, variant: &str, image: &Selected, path: &ImagePath) -> Value {
        let mut value = json!({
            "variant": variant, "platform": image.platform, "path": path, "in_image": self.in_image(),
            "answer": self.text, "chain": image.closure.why(path),
        });
        if let Some(absence) = &self.absence {
            absence.add_to(&mut value);
        }
        value
    }
}

fn words(origin: &Origin) -> String {
    match origin {
        Origin::Package { name, .. } => format!("package {name}"),
        other => other.to_string(),
    }
}
