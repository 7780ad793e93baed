//! `kimg vendor`

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use kimg_report::size;
use serde_json::json;

use crate::args::{Selection, TextOrJson};
use crate::commands::setting::{LockTask, Making, Setting, progress_mode};
use crate::failure::Failure;
use crate::progress::Progress;

#[derive(Debug, Args)]
pub(crate) struct VendorArgs {
    /// The folder to write; one that `kimg vendor` wrote before is replaced
    folder: PathBuf,

    #[command(flatten)]
    selection: Selection,

    /// How to print the result
    #[arg(long, value_enum, default_value_t = TextOrJson::Table)]
    format: TextOrJson,
}

pub(crate) fn run(args: &VendorArgs) -> Result<ExitCode, Failure> {
    let setting = Setting::new(&args.selection, Making::default(), Some(LockTask::Pin))?;
    let progress = Progress::new(progress_mode(args.selection.progress, false));
    let done = setting.build(&progress).vendor(&args.folder)?;
    drop(progress);
    let folder = args.folder.display();
    let mut out = std::io::stdout().lock();
    if args.format == TextOrJson::Json {
        let data = json!({
            "folder": args.folder, "packages": done.packages, "programs": done.programs, "bytes": done.bytes,
        });
        writeln!(out, "{data:#}")?;
        return Ok(ExitCode::SUCCESS);
    }
    writeln!(
        out,
        " {folder}: {} packages, {} programs, {}\n\n Next   kimg build --locked --lock {folder}/kimg.lock \
         --repository {folder} --keys {folder}/keys",
        done.packages,
        done.programs,
        size(done.bytes),
    )?;
    Ok(ExitCode::SUCCESS)
}
