//! A systemd that boots for a test: this machine's own, with nothing else of the machine.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::{output, skip, superuser, tool, workspace};

/// Boots systemd, starts a shell script in it with `work` as its folder `/job`, and gives what it printed and its exit
/// code. Takes a few seconds. `None` after a visible skip: without root's rights, loop devices, or the program that boots
/// it, `boot-systemd` in `../shared/rig` or where `KIMG_RIG` says.
pub fn in_systemd(work: &Path, script: &str) -> Option<Output> {
    let boot = rig()?;
    fs_err::write(work.join("script"), script).expect("the folder is ours");
    let mut booted = Command::new(boot);
    booted.arg(work).args(["/bin/bash", "/job/script"]).env("RIG_TIMEOUT", "180");
    Some(output(&mut booted))
}

fn rig() -> Option<PathBuf> {
    let folder =
        std::env::var_os("KIMG_RIG").map_or_else(|| workspace().join("../shared/rig"), PathBuf::from);
    let boot = folder.join("boot-systemd");
    if !boot.is_file() {
        skip(format_args!("{} is not there: neither $KIMG_RIG nor ../shared/rig has it", boot.display()));
        return None;
    }
    for program in ["systemd-nspawn", "portablectl", "unshare"] {
        tool(program)?;
    }
    if !superuser() {
        return None;
    }
    if !Path::new("/dev/loop-control").exists() {
        skip("there are no loop devices here, out of which systemd mounts images");
        return None;
    }
    Some(boot)
}
