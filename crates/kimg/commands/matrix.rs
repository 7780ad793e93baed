//! `kimg matrix`

use std::io::Write as _;
use std::process::ExitCode;

use fs_err as fs;
use kimg_build::matrix;
use kimg_core::ErrorClass;
use kimg_report::replace_between_markers;

use crate::args::{Format, MatrixArgs};
use crate::failure::Failure;
use crate::terminal;

pub(crate) fn run(args: &MatrixArgs) -> Result<ExitCode, Failure> {
    let sizes = matrix::of_layout(&args.layout)?;
    let Some(path) = &args.readme else {
        let text = match args.format {
            Format::Table => sizes.to_terminal(terminal::width(), terminal::color_on_stdout()),
            other => sizes.render(other.into()),
        };
        write!(std::io::stdout().lock(), "{text}")?;
        return Ok(ExitCode::SUCCESS);
    };
    let old = fs::read_to_string(path)?;
    let new = replace_between_markers(&old, &sizes.render(kimg_report::Format::Markdown))?;
    if new == old {
        eprintln!("{} is up to date", path.display());
    } else if args.check {
        return Err(Failure::new(
            ErrorClass::Stale,
            format!("the size matrix in {} is stale", path.display()),
        )
        .hint(format!(
            "`kimg matrix --layout {} --readme {}` writes it",
            args.layout.display(),
            path.display()
        )));
    } else {
        let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(std::path::Path::new("."));
        let mut file = tempfile::NamedTempFile::new_in(folder)?;
        file.write_all(new.as_bytes())?;
        file.as_file().set_permissions(fs::metadata(path)?.permissions())?;
        file.persist(path).map_err(|e| e.error)?;
        eprintln!("{} written", path.display());
    }
    Ok(ExitCode::SUCCESS)
}
