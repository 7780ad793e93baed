//! The matrix in a README, with the sizes of every file kept beside it; and whether both are still true.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use fs_err as fs;
use kimg_core::ErrorClass;
use kimg_report::{Format, SizeMatrix, differing_lines, replace_between_markers};

use crate::failure::Failure;

/// How many lines a complaint has about one file.
const LINES: usize = 12;

/// Where the sizes of every file are kept: `README.matrix.json` beside `README.md`.
pub(super) fn record(readme: &Path) -> PathBuf {
    readme.with_extension("matrix.json")
}

/// Writes the README, what is kept beside it, and the picture, each where it differs; with `check` nothing is written,
/// and what differs is an error.
pub(super) fn bring_up_to_date(
    sizes: &SizeMatrix,
    readme: &Path,
    chart: Option<&Path>,
    check: bool,
) -> Result<ExitCode, Failure> {
    let old = fs::read_to_string(readme)?;
    let mut block = sizes.render(Format::Markdown);
    if let Some(chart) = chart {
        let folder = readme.parent().unwrap_or(Path::new(""));
        let link = chart.strip_prefix(folder).unwrap_or(chart).display();
        let _ = writeln!(block, "\n![Image sizes: pull and on disk]({link})");
    }
    let new = replace_between_markers(&old, &block)?;
    if check {
        let mut problems = Vec::new();
        if new != old {
            problems.push(complaint(readme, &differing_lines(&old, &new)));
        }
        problems.extend(stale_record(sizes, &record(readme))?);
        problems.extend(chart.and_then(|chart| stale_chart(sizes, chart)));
        if !problems.is_empty() {
            return Err(Failure::new(ErrorClass::Stale, problems.join("\n"))
                .hint("the same command without --check brings it up to date"));
        }
        eprintln!("{} is up to date", readme.display());
        return Ok(ExitCode::SUCCESS);
    }
    let mut files = vec![(record(readme), sizes.to_record())];
    files.extend(chart.map(|chart| (chart.to_owned(), sizes.to_svg())));
    // Last: what it names is there by then.
    files.push((readme.to_owned(), new));
    for (path, text) in files {
        if fs::read_to_string(&path).is_ok_and(|there| there == text) {
            eprintln!("{} is up to date", path.display());
        } else {
            replace(&path, &text)?;
            eprintln!("{} written", path.display());
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// `README.md is stale:` and what differs, a line each.
fn complaint(path: &Path, lines: &[String]) -> String {
    let mut text = format!("{} is stale:", path.display());
    for line in lines.iter().take(LINES) {
        text.extend(["\n  ", line]);
    }
    if lines.is_empty() {
        text.push_str("\n  it has other line ends, or its lines stand in another order");
    }
    if lines.len() > LINES {
        let _ = write!(text, "\n  and {} more lines", lines.len() - LINES);
    }
    text
}

fn stale_record(sizes: &SizeMatrix, path: &Path) -> Result<Option<String>, Failure> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Ok(Some(format!("{} is missing", path.display())));
        }
        Err(error) => return Err(error.into()),
    };
    let lines = match SizeMatrix::from_record(&path.display().to_string(), &text) {
        Ok(kept) => {
            let mut lines = sizes.differences(&kept);
            let layers = sizes.entries.iter().flat_map(|entry| &entry.layers);
            if lines.is_empty() && layers.into_iter().any(|layer| !kept.layers.contains_key(&layer.digest)) {
                lines.push("the files of a layer are not in it".to_owned());
            }
            lines
        }
        Err(error) => vec![error.to_string()],
    };
    Ok((!lines.is_empty()).then(|| complaint(path, &lines)))
}

fn stale_chart(sizes: &SizeMatrix, path: &Path) -> Option<String> {
    match fs::read_to_string(path) {
        Ok(there) if there == sizes.to_svg() => None,
        Ok(_) => Some(format!("{} is stale", path.display())),
        Err(error) => Some(error.to_string()),
    }
}

/// Replaces a file as a whole, or not at all.
fn replace(path: &Path, text: &str) -> Result<(), Failure> {
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::create_dir_all(folder)?;
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(text.as_bytes())?;
    let permissions = match fs::metadata(path) {
        Ok(there) => there.permissions(),
        Err(_) => std::os::unix::fs::PermissionsExt::from_mode(0o644),
    };
    file.as_file().set_permissions(permissions)?;
    file.persist(path).map_err(|error| error.error)?;
    Ok(())
}
