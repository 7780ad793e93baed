//! `kimg lock`

use std::io::Write as _;
use std::process::ExitCode;

use kimg_build::{LockUse, inputs};

use crate::args::LockArgs;
use crate::commands::setting::{Setting, progress_mode};
use crate::failure::Failure;
use crate::progress::Progress;

pub(crate) fn run(args: &LockArgs) -> Result<ExitCode, Failure> {
    let setting = Setting::new(&args.selection, None, Some(args.update))?;
    let progress = Progress::new(progress_mode(args.selection.progress, false));
    let build = setting.build(&progress);
    let gathered = build.gather()?;
    let changed = inputs::write_lock(&build.lock, &gathered.lock)?;
    let lock = build.lock;
    drop(progress);
    if let LockUse::Follow(path) | LockUse::Update(path) = &lock {
        let done = if changed { "written" } else { "is up to date" };
        writeln!(std::io::stdout().lock(), "{} {done}", path.display())?;
    }
    Ok(ExitCode::SUCCESS)
}
