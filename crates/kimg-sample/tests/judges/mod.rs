//! The programs that judge what this crate builds, and what happens where one is missing.
#![allow(dead_code, reason = "each test file uses some of it")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use fs_err as fs;
use kimg_core::Platform;

/// Says that a test could not judge, or panics where that is forbidden (`KIMG_REQUIRE_ALL=1`).
pub(crate) fn missing(what: &str) {
    assert!(
        std::env::var("KIMG_REQUIRE_ALL").as_deref() != Ok("1"),
        "{what} is missing, and nothing may be skipped"
    );
    eprintln!("SKIPPED: {what} is missing");
}

/// A program of this machine, if it is there.
pub(crate) fn program(name: &str) -> Option<PathBuf> {
    let found = ["/usr/bin", "/bin", "/usr/sbin", "/sbin"]
        .map(|f| Path::new(f).join(name))
        .into_iter()
        .find(|p| p.exists());
    if found.is_none() {
        missing(name);
    }
    found
}

/// The folder of real data, if it is there.
pub(crate) fn real() -> Option<PathBuf> {
    let folder = std::env::var_os("KIMG_REAL")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/real"), PathBuf::from);
    if !folder.join("minirootfs").is_dir() {
        missing("the folder of real data (KIMG_REAL)");
        return None;
    }
    Some(folder)
}

/// Whether this process may `chroot`.
pub(crate) fn may_chroot() -> bool {
    let able = Command::new("chroot").args(["/", "true"]).status().is_ok_and(|s| s.success());
    if !able {
        missing("the right to chroot");
    }
    able
}

/// Writes a file that may be started.
pub(crate) fn write_program(path: &Path, bytes: &[u8]) {
    use std::os::unix::fs::PermissionsExt as _;
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).unwrap();
    }
    fs::write(path, bytes).unwrap();
    fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

/// Starts a program of a platform under qemu-user, with loaders looked for below `root`.
pub(crate) fn start(platform: Platform, root: &Path, program: &Path, arguments: &[&str]) -> Option<Output> {
    let qemu = self::program(platform.qemu())?;
    Some(Command::new(qemu).arg("-L").arg(root).arg(program).args(arguments).output().unwrap())
}

/// Starts a command that must succeed, and gives its standard output.
pub(crate) fn output(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {}\n{stderr}", output.status);
    String::from_utf8(output.stdout).unwrap()
}
