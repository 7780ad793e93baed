//! `kimg files`

use std::io::Write as _;
use std::process::ExitCode;

use kimg_build::select::{Selected, record};
use kimg_closure::Reason;
use kimg_core::{Entry, ImagePath, Kind, Origin};
use kimg_report::{Column, Depth, FileTreeReport, ListedFile, Table};
use serde_json::{Value, json};

use crate::args::{FilesArgs, Format, TreeBy};
use crate::commands::setting::{Making, Setting, progress_mode};
use crate::failure::Failure;
use crate::progress::Progress;
use crate::terminal;

pub(crate) fn run(args: &FilesArgs) -> Result<ExitCode, Failure> {
    if args.tree.is_some() && !matches!(args.format, Format::Table | Format::Json) {
        return Err(Failure::usage("a tree is printed as a table or as JSON")
            .hint("leave `--tree` or `--format` out: the list is there as Markdown and CSV"));
    }
    let setting = Setting::new(&args.selection, Making::default(), None)?;
    let progress = Progress::new(progress_mode(args.selection.progress, true));
    let build = setting.build(&progress);
    let mut sets = build.file_sets()?;
    let cache = build.cache.clone();
    drop(progress);

    let mut out = std::io::stdout().lock();
    let several = sets.images.len() > 1;
    let mut data = Vec::new();
    for (number, image) in sets.images.iter_mut().enumerate() {
        record(image, &setting.project.variants[image.variant], sets.inputs.alpine.as_deref(), &cache)?;
        let variant = &setting.project.variants[image.variant].name;
        if let Some(by) = args.tree {
            let tree = tree(image, by);
            if args.format == Format::Json {
                data.push(json!({ "variant": variant, "platform": image.platform, "tree": tree.to_json() }));
                continue;
            }
            let files = image.files.keys().filter(|p| image.tree.get(p).is_some_and(|e| !e.is_directory()));
            let bytes = image.files.keys().filter_map(|path| image.tree.get(path)).map(Entry::size).sum();
            let (files, bytes) = (files.count(), kimg_report::size(bytes));
            let gap = if number > 0 { "\n" } else { "" };
            writeln!(out, "{gap} {variant} for {}: {files} files, {bytes}\n", image.platform)?;
            let depth = Depth { levels: args.depth, every_file: args.every_file };
            write!(out, "{}", tree.to_terminal(depth, terminal::width(), terminal::color_on_stdout()))?;
            continue;
        }
        if args.format == Format::Json {
            data.extend(list(image).into_iter().map(|file| json_of(image, variant, &file)));
            continue;
        }
        if several && args.format != Format::Csv {
            writeln!(out, "\n{variant} for {}\n", image.platform)?;
        }
        let name = format!("{variant} {}", image.platform);
        let table = table(image, several.then_some(name.as_str()));
        match args.format {
            Format::Csv => write!(out, "{}", table.to_csv())?,
            Format::Markdown => writeln!(out, "{}", table.to_markdown())?,
            _ => writeln!(out, "{}", table.to_terminal(terminal::list_width(), terminal::color_on_stdout()))?,
        }
    }
    if args.format == Format::Json {
        writeln!(out, "{}", serde_json::to_string_pretty(&data).map_err(std::io::Error::from)?)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn json_of(image: &Selected, variant: &str, file: &ListedFile) -> Value {
    let entry = image.tree.get(&file.path);
    json!({
        "variant": variant, "platform": image.platform, "path": file.path, "kind": file.kind, "size": file.size,
        "target": file.target, "mode": entry.map(|e| format!("{:04o}", e.mode)), "from": entry.map(|e| &e.origin),
        "layer": file.layer, "reason": entry.map(|e| reason(image, &file.path, e)),
    })
}

fn table(image: &Selected, named: Option<&str>) -> Table {
    let mut columns = vec![
        Column::left("Path"),
        Column::right("Size"),
        Column::left("From"),
        Column::left("Layer"),
        Column::left("Why"),
    ];
    if named.is_some() {
        columns.insert(0, Column::left("Image"));
    }
    let mut table = Table::new(columns);
    for file in list(image).into_iter().filter(|file| file.kind != "directory") {
        let Some(entry) = image.tree.get(&file.path) else { continue };
        let size = match &file.target {
            Some(target) => format!("→ {target}"),
            None => kimg_report::size(file.size),
        };
        let why = reason(image, &file.path, entry);
        let mut row = vec![file.path.to_string(), size, file.from, file.layer, why];
        if let Some(name) = named {
            row.insert(0, name.to_owned());
        }
        table.row(row);
    }
    table
}

fn tree(image: &Selected, by: TreeBy) -> FileTreeReport {
    let files = list(image);
    match by {
        TreeBy::Folders => FileTreeReport::by_folder(&files),
        TreeBy::Reasons => FileTreeReport::by_reason(&files),
    }
}

/// Every path of an image.
fn list(image: &Selected) -> Vec<ListedFile> {
    let reasons: std::collections::BTreeMap<&ImagePath, &Reason> = image.closure.iter().collect();
    let files = image.files.iter().filter_map(|(path, layer)| Some((path, layer, image.tree.get(path)?)));
    files
        .map(|(path, layer, entry)| {
            let because = reasons.get(path).copied();
            ListedFile {
                path: path.clone(),
                kind: kind(entry),
                size: entry.size(),
                target: entry.target().map(str::to_owned),
                from: match &entry.origin {
                    Origin::Generated(_) => "kimg".to_owned(),
                    other => other.to_string(),
                },
                layer: image.layers[*layer].clone(),
                because_of: because.and_then(Reason::of).cloned(),
                why: because.map_or_else(|| unneeded(entry), |because| words(image, because)),
            }
        })
        .collect()
}

fn kind(entry: &Entry) -> &'static str {
    match entry.kind {
        Kind::Directory => "directory",
        Kind::File { .. } => "file",
        Kind::Symlink { .. } => "symlink",
    }
}

/// The reason beside which, in a tree, stands what it is the reason of.
fn words(image: &Selected, because: &Reason) -> String {
    match because {
        Reason::Root { index } => match image.roots.get(*index) {
            Some(root) => root.reason.clone(),
            None => "wanted".into(),
        },
        Reason::Interpreter { .. } => "its loader".into(),
        Reason::Needed { .. } => "needed".into(),
        Reason::Dlopen { feature, .. } if feature.is_empty() => "loaded at run time".into(),
        Reason::Dlopen { feature, .. } => format!("loaded at run time for {feature}"),
        Reason::SearchPath { .. } => "lists the folders to search".into(),
        Reason::Script { .. } => "its interpreter".into(),
        Reason::Command { .. } => "started by way of env".into(),
        Reason::Rule { rule, .. } => format!("rule {rule}"),
        Reason::Target { .. } => "where the link leads".into(),
        Reason::Link { .. } => "a link on the way".into(),
        _ => String::new(),
    }
}

/// The same as a sentence from the path back to its root.
fn reason(image: &Selected, path: &ImagePath, entry: &Entry) -> String {
    match image.closure.why(path) {
        Some(chain) => {
            let sentence = chain.to_string();
            sentence.strip_prefix(&format!("`{path}` ")).unwrap_or(&sentence).to_owned()
        }
        None => unneeded(entry),
    }
}

fn unneeded(entry: &Entry) -> String {
    match &entry.origin {
        Origin::Generated(why) => why.clone(),
        _ => "with its whole package".into(),
    }
}
