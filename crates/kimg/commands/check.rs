//! `kimg check`: whether the files that programs load fit together, as their own loader would find at the start.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use kimg_build::select::Selected;
use kimg_closure::{
    ElfError, Files, Finding, FolderRoot, MemoryFacts, Needs, Request, Root, Rules, When, needs, platform_of,
    read_symbols,
};
use kimg_core::{Content, ErrorClass, ImagePath, Platform};
use kimg_report::{Column, Table};
use rayon::prelude::*;
use serde::Serialize;

use crate::args::Selection;
use crate::commands::setting::{Setting, progress_mode};
use crate::failure::{Failure, classified};
use crate::progress::Progress;

/// How many further symbols that a file misses are named.
const SHOWN: usize = 3;

const EXAMPLES: &str = "\
Examples:
  kimg check                                                every image that would be built
  kimg check --variant cni --arch armv7 --format json
  kimg check --root rootfs /usr/bin/kubelet /sbin/iptables  an unpacked root, of any architecture";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct CheckArgs {
    /// With `--root`: the programs to look at, as paths inside it
    #[arg(value_name = "PROGRAM", requires = "root")]
    programs: Vec<ImagePath>,

    /// The folder of an unpacked root file system to look at, and no image
    #[arg(long, value_name = "DIR", requires = "programs")]
    root: Option<PathBuf>,

    #[command(flatten)]
    selection: Selection,

    /// How to print what is found
    #[arg(long, value_enum, default_value_t = CheckFormat::Table)]
    format: CheckFormat,
}

/// `--format` of `kimg check`
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum CheckFormat {
    Table,
    Json,
    Markdown,
}

/// What was looked at in one root file system, and what was found.
#[derive(Debug, Serialize)]
struct Checked {
    /// `plain for linux/amd64`, or the folder.
    what: String,
    platform: Platform,
    /// The files that programs load, the programs among them.
    objects: usize,
    /// The symbols that those ask others for, each counted once an object.
    symbols: usize,
    findings: Vec<Found>,
}

/// One thing that was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Found {
    /// Whether something does not start, or can't be loaded, for it.
    strong: bool,
    message: String,
    /// The finding in its parts; `None` of a need that nothing meets.
    #[serde(flatten)]
    finding: Option<Finding>,
}

pub(crate) fn run(args: &CheckArgs) -> Result<ExitCode, Failure> {
    let checked = match &args.root {
        Some(folder) => vec![in_folder(folder, args)?],
        None => in_images(args)?,
    };
    let text = match args.format {
        CheckFormat::Table => list(&checked),
        CheckFormat::Markdown => markdown(&checked),
        CheckFormat::Json => serde_json::to_string_pretty(&checked).map_err(std::io::Error::from)? + "\n",
    };
    write!(std::io::stdout().lock(), "{text}")?;
    if checked.iter().flat_map(|c| &c.findings).all(|found| !found.strong) {
        return Ok(ExitCode::SUCCESS);
    }
    Err(Failure::new(ErrorClass::Unresolvable, "a program does not start, or does not load what it needs")
        .hint("a library that does not fit is of another version or build: `kimg why PATH` says where it is from"))
}

/// Looks at what would be in each image: at nothing that is left out of it, even where the walk saw it.
fn in_images(args: &CheckArgs) -> Result<Vec<Checked>, Failure> {
    let setting = Setting::new(&args.selection, None, None)?;
    let progress = Progress::new(progress_mode(args.selection.progress, true));
    let sets = setting.build(&progress).file_sets()?;
    drop(progress);
    let facts = MemoryFacts::default();
    sets.images
        .par_iter()
        .map(|image: &Selected| {
            let variant = &setting.project.variants[image.variant];
            let paths = variant.environment.get("LD_LIBRARY_PATH").map(String::as_str).unwrap_or_default();
            let library_path: Vec<_> =
                paths.split(':').filter_map(|path| ImagePath::new(path).ok()).collect();
            let roots: Vec<Root> = image
                .roots
                .iter()
                .map(|r| Root { path: r.path.clone(), name: r.name.clone(), reason: r.reason.clone() })
                .collect();
            let tree = image.image_tree();
            let found = needs(&Request {
                tree: &tree,
                platform: image.platform,
                roots: &roots,
                rules: &setting.project.rules,
                library_path: &library_path,
                facts: &facts,
            });
            let what = format!("{} for {}", variant.name, image.platform);
            let content = |path: &ImagePath| Ok(tree.get(path).and_then(|entry| entry.content()).cloned());
            Ok(Checked::new(what, image.platform, &found, &tree, content))
        })
        .collect()
}

fn in_folder(folder: &Path, args: &CheckArgs) -> Result<Checked, Failure> {
    let files = FolderRoot::open(folder).map_err(|error| {
        Failure::new(ErrorClass::LocalIo, format!("`{}` can't be opened: {error}", folder.display()))
            .hint("`--root` names the folder of an unpacked root file system")
    })?;
    let said = args.selection.architectures.iter().chain(&args.selection.platforms).copied().next();
    let mut platform = said;
    for program in &args.programs {
        platform = platform.or(platform_of(&files, program).map_err(|error| classified(&error))?);
    }
    let platform = platform.unwrap_or(Platform::Amd64);
    let roots: Vec<Root> = args
        .programs
        .iter()
        .map(|path| Root { path: path.clone(), name: path.to_string(), reason: "asked for".into() })
        .collect();
    let found = needs(&Request {
        tree: &files,
        platform,
        roots: &roots,
        rules: &Rules::builtin(),
        library_path: &[],
        facts: &MemoryFacts::default(),
    });
    let content = |path: &ImagePath| {
        let mut bytes = Vec::new();
        let read = files.open(path).and_then(|mut file| file.read_to_end(&mut bytes));
        read.map_err(|source| ElfError::Read { part: "symbols", source })?;
        Ok(Some(Content::from_bytes(bytes)))
    };
    Ok(Checked::new(folder.display().to_string(), platform, &found, &files, content))
}

impl Checked {
    /// Looks at everything that was found to be loaded.
    fn new(
        what: String,
        platform: Platform,
        found: &Needs,
        files: &dyn Files,
        content: impl Fn(&ImagePath) -> Result<Option<Content>, ElfError>,
    ) -> Self {
        let visits = found.closure().visits();
        let objects: BTreeSet<&ImagePath> = visits
            .iter()
            .flat_map(|visit| visit.objects.iter().map(|object| &object.path).chain(&visit.loader))
            .collect();
        // What can't be read is a finding of the check itself.
        let symbols = objects.iter().map(|path| {
            let read = content(path).and_then(|content| content.map_or(Ok(None), |c| read_symbols(&c)));
            read.ok().flatten().map_or(0, |symbols| symbols.undefined.len())
        });
        let problems = found.problems().iter().map(|error| Found {
            strong: true,
            message: error.problem().to_string(),
            finding: None,
        });
        let walked = found.closure().findings().iter().filter(|f| concerns_loading(f)).cloned();
        let all = walked.chain(kimg_closure::check(found.closure(), files));
        let mut findings: Vec<Found> = problems.chain(all.map(Found::from)).collect();
        findings.sort_by_key(|found| (!found.strong, found.finding.clone()));
        findings.dedup();
        Self { what, platform, objects: objects.len(), symbols: symbols.sum(), findings }
    }

    /// What is to be read: whether it is strong, and a sentence. Symbols that one file misses are one sentence.
    fn told(&self) -> Vec<(bool, String)> {
        let mut told: Vec<(bool, String)> = Vec::new();
        for alike in self.findings.chunk_by(|a, b| a.misses().is_some() && a.misses() == b.misses()) {
            let mut sentence = alike[0].message.clone();
            if let [_, others @ ..] = alike
                && !others.is_empty()
            {
                let names =
                    others.iter().filter_map(Found::symbol).take(SHOWN).collect::<Vec<_>>().join(", ");
                let more = others.len().saturating_sub(SHOWN);
                let _ = write!(sentence, "; and so {names}");
                if more > 0 {
                    let _ = write!(sentence, " and {more} more");
                }
            }
            told.push((alike[0].strong, sentence));
        }
        told
    }
}

impl Found {
    /// The program, the file in it that misses a symbol, and when that shows.
    fn misses(&self) -> Option<(&ImagePath, &ImagePath, When)> {
        match &self.finding {
            Some(Finding::SymbolMissing { program, of, when, .. }) => Some((program, of, *when)),
            _ => None,
        }
    }

    fn symbol(&self) -> Option<&str> {
        match &self.finding {
            Some(Finding::SymbolMissing { symbol, .. }) => Some(symbol),
            _ => None,
        }
    }
}

impl From<Finding> for Found {
    fn from(finding: Finding) -> Self {
        Self { strong: is_strong(&finding), message: finding.to_string(), finding: Some(finding) }
    }
}

/// Whether a program does not start for it, or what it loads later can't be loaded.
fn is_strong(finding: &Finding) -> bool {
    match finding {
        Finding::SymbolMissing { when, .. } => matches!(when, When::Started | When::Loaded),
        Finding::VersionMissing { .. }
        | Finding::SymbolsUnreadable { .. }
        | Finding::LoaderCacheMissing { .. } => true,
        _ => false,
    }
}

/// Whether it is about what a loader does. That a rule names more files than there are is no matter here.
fn concerns_loading(finding: &Finding) -> bool {
    !matches!(finding, Finding::RuleFilesMissing { .. })
}

/// What was found, the strong first, each with all that it was found in.
fn by_finding(checked: &[Checked]) -> BTreeMap<(bool, String), Vec<&str>> {
    let mut all: BTreeMap<(bool, String), Vec<&str>> = BTreeMap::new();
    for one in checked {
        for (strong, sentence) in one.told() {
            all.entry((!strong, sentence)).or_default().push(&one.what);
        }
    }
    all
}

fn list(checked: &[Checked]) -> String {
    let mut text = String::new();
    for ((weak, sentence), places) in by_finding(checked) {
        let _ = writeln!(text, " {} {sentence}", if weak { "·" } else { "✗" });
        if checked.len() > 1 {
            let _ = writeln!(text, "   in {}", places.join(", "));
        }
    }
    let _ = writeln!(text, " {}", summary(checked));
    text
}

fn markdown(checked: &[Checked]) -> String {
    let mut table = Table::new(["Finding", "Strong", "In"].map(Column::left));
    for ((weak, sentence), places) in by_finding(checked) {
        table.row([sentence.as_str(), if weak { "no" } else { "yes" }, &places.join(", ")]);
    }
    let table = if table.is_empty() { String::new() } else { table.to_markdown() + "\n" };
    format!("{table}{}\n", summary(checked))
}

/// `no findings: 12 images, 1034 objects and 61234 symbols looked at`
fn summary(checked: &[Checked]) -> String {
    let what = match checked {
        [one] => one.what.clone(),
        several => format!("{} images", several.len()),
    };
    let objects: usize = checked.iter().map(|c| c.objects).sum();
    let symbols: usize = checked.iter().map(|c| c.symbols).sum();
    let distinct: BTreeSet<&str> =
        checked.iter().flat_map(|c| &c.findings).map(|found| found.message.as_str()).collect();
    let found = match distinct.len() {
        0 => "no findings".to_owned(),
        1 => "1 finding".to_owned(),
        more => format!("{more} findings"),
    };
    format!("{found}: {what}, {objects} objects and {symbols} symbols looked at")
}
