//! `kimg init`

use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;

use fs_err as fs;
use kimg_build::settings::{COMMENTED, FILE_NAME};
use kimg_build::variants::BUILT_IN;

use crate::args::InitArgs;
use crate::failure::Failure;

pub(crate) fn run(args: &InitArgs) -> Result<ExitCode, Failure> {
    let mut files = vec![(args.folder.join(FILE_NAME), COMMENTED.to_owned())];
    if args.variants {
        let said = "#: variant-folder = \"variants\"";
        files[0].1 = COMMENTED.replace(said, "variant-folder = \"variants\"");
        for (name, text) in BUILT_IN {
            files.push((args.folder.join("variants").join(name), text.to_owned()));
        }
    }
    // Nothing is written unless everything can be: what a person has edited stays.
    if let Some((there, _)) = files.iter().find(|(path, _)| path.exists()) {
        return Err(Failure::usage(format!("{} is there already", there.display()))
            .hint("edit it, or name another folder: `kimg init FOLDER`"));
    }
    let mut out = std::io::stdout().lock();
    for (path, text) in files {
        fs::create_dir_all(path.parent().unwrap_or(Path::new(".")))?;
        fs::write(&path, text)?;
        writeln!(out, "{}", path.display())?;
    }
    Ok(ExitCode::SUCCESS)
}
