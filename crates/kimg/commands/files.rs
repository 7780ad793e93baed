//! `kimg files`

use std::io::Write as _;
use std::process::ExitCode;

use kimg_build::select::{Selected, record};
use kimg_core::{Entry, ImagePath, Kind, Origin};
use kimg_report::{Column, Table};
use serde_json::json;

use crate::args::{FilesArgs, Format};
use crate::commands::setting::{Setting, progress_mode};
use crate::failure::Failure;
use crate::progress::Progress;
use crate::terminal;

pub(crate) fn run(args: &FilesArgs) -> Result<ExitCode, Failure> {
    let setting = Setting::new(&args.selection, None, None)?;
    let progress = Progress::new(progress_mode(args.selection.progress, true));
    let mut sets = setting.build(&progress).file_sets()?;
    drop(progress);

    let mut out = std::io::stdout().lock();
    let several = sets.images.len() > 1;
    let mut data = Vec::new();
    for image in &mut sets.images {
        record(image, sets.inputs.alpine.as_deref())?;
        let variant = &setting.project.variants[image.variant].name;
        if args.format == Format::Json {
            data.extend(image.files.iter().filter_map(|(path, layer)| {
                let entry = image.tree.get(path)?;
                Some(json!({
                    "variant": variant, "platform": image.platform, "path": path, "kind": kind(entry),
                    "size": entry.size(), "mode": format!("{:04o}", entry.mode), "from": entry.origin,
                    "layer": image.layers[*layer], "reason": reason(image, path, entry),
                }))
            }));
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
    for (path, layer) in &image.files {
        let Some(entry) = image.tree.get(path).filter(|e| !e.is_directory()) else { continue };
        let from = match &entry.origin {
            Origin::Generated(_) => "kimg".to_owned(),
            other => other.to_string(),
        };
        let size = match &entry.kind {
            Kind::Symlink { target } => format!("→ {target}"),
            _ => kimg_report::size(entry.size()),
        };
        let mut row =
            vec![path.to_string(), size, from, image.layers[*layer].clone(), reason(image, path, entry)];
        if let Some(name) = named {
            row.insert(0, name.to_owned());
        }
        table.row(row);
    }
    table
}

fn kind(entry: &Entry) -> &'static str {
    match entry.kind {
        Kind::Directory => "directory",
        Kind::File { .. } => "file",
        Kind::Symlink { .. } => "symlink",
    }
}

fn reason(image: &Selected, path: &ImagePath, entry: &Entry) -> String {
    match image.closure.why(path) {
        Some(chain) => {
            let sentence = chain.to_string();
            sentence.strip_prefix(&format!("`{path}` ")).unwrap_or(&sentence).to_owned()
        }
        None => match &entry.origin {
            Origin::Generated(why) => why.clone(),
            _ => "with its whole package".into(),
        },
    }
}
