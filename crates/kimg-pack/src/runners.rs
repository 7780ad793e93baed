//! With what programs can be started on this machine.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use kimg_core::Platform;

use crate::run::{Limits, run};

/// The programs of this machine by which a program of an image can be started.
///
/// A program linked dynamically against musl wants its interpreter at an absolute path, so it is started in a
/// folder made its root: by `chroot`, or `unshare -r chroot` for who is not root. Programs for another processor
/// are started by qemu's user emulation, which needs no privileges and takes the folder with `-L`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Runners {
    native: Option<Platform>,
    chroot: Option<PathBuf>,
    unshare: Option<PathBuf>,
    qemu: Vec<(Platform, PathBuf)>,
}

/// One way to start a program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Way {
    /// As it lies on the disk.
    Direct,
    /// With a folder as its root: the words before the folder.
    Chroot(Vec<PathBuf>),
    /// By this emulator.
    Qemu(PathBuf),
}

const PLATFORMS: [Platform; 4] = [Platform::Amd64, Platform::Arm64, Platform::ArmV7, Platform::ArmV6];

impl Runners {
    /// Looks in the folders of a search path (as `PATH` writes one), and for `chroot` in `/usr/sbin` and `/sbin` too.
    ///
    /// What may not be used here (`chroot` needs a privilege, `unshare -r` a permission of the kernel) is tried once
    /// and left out.
    pub fn find(search_path: &OsStr) -> Self {
        let find = |name: &str| find_program(search_path, name);
        let chroot = find("chroot").or_else(|| find_program(OsStr::new("/usr/sbin:/sbin"), "chroot"));
        let plainly = chroot.iter().any(|chroot| works(std::slice::from_ref(chroot)));
        let unshare = find("unshare")
            .filter(|unshare| !plainly && chroot.iter().any(|chroot| works(&user_root(unshare, chroot))));
        let qemu = PLATFORMS.into_iter().filter_map(|platform| {
            let name = platform.qemu();
            let path = find(name).or_else(|| find(name.trim_end_matches("-static")))?;
            Some((platform, path))
        });
        Self {
            native: native(),
            qemu: qemu.collect(),
            chroot: chroot.filter(|_| plainly || unshare.is_some()),
            unshare,
        }
    }

    /// Starts nothing.
    pub fn none() -> Self {
        Self::default()
    }

    /// Whether static programs of a platform can be started here. Where it can't be, outcomes say so: who keeps
    /// outcomes may want to ask again once it can.
    pub fn can_start(&self, platform: Platform) -> bool {
        self.ways(platform, false).is_ok()
    }

    /// The ways to start a program, the best first; or why there is none.
    pub(crate) fn ways(&self, platform: Platform, dynamic: bool) -> Result<Vec<Way>, String> {
        let mut ways = Vec::new();
        let native = self.native == Some(platform);
        if native {
            match (&self.unshare, &self.chroot) {
                (Some(unshare), Some(chroot)) => ways.push(Way::Chroot(user_root(unshare, chroot))),
                (None, Some(chroot)) => ways.push(Way::Chroot(vec![chroot.clone()])),
                _ => {}
            }
            if !dynamic {
                ways.push(Way::Direct);
            }
        }
        ways.extend(self.qemu.iter().find(|(p, _)| *p == platform).map(|(_, path)| Way::Qemu(path.clone())));
        match (ways.is_empty(), native) {
            (false, _) => Ok(ways),
            (true, true) => Err("its libraries need chroot or user namespaces, or qemu".into()),
            (true, false) => Err(format!("{} was not found", platform.qemu())),
        }
    }
}

fn native() -> Option<Platform> {
    match std::env::consts::ARCH {
        "x86_64" => Some(Platform::Amd64),
        "aarch64" => Some(Platform::Arm64),
        // Built for 32-bit ARM, this program itself runs with at least this.
        "arm" => Some(Platform::ArmV7),
        _ => None,
    }
}

fn user_root(unshare: &Path, chroot: &Path) -> Vec<PathBuf> {
    vec![unshare.to_owned(), "-r".into(), chroot.to_owned()]
}

/// Whether this way of changing the root is allowed here: it is tried with the root as it is.
fn works(words: &[PathBuf]) -> bool {
    let Some(program) = words.first() else { return false };
    let limits = Limits { time: Duration::from_secs(10), memory: 1 << 30, file: 0, folder: 0 };
    let mut command = Command::new(program);
    command.args(&words[1..]).args(["/", "/bin/sh", "-c", ":"]).env_clear();
    run(&mut command, limits).is_ok_and(|answer| answer.status.success())
}

/// The first executable file of this name in the folders of a search path. Relative folders are passed over: what
/// lies in the current folder is not to be started.
pub(crate) fn find_program(search_path: &OsStr, name: &str) -> Option<PathBuf> {
    use std::os::unix::fs::PermissionsExt;
    std::env::split_paths(search_path)
        .filter(|folder| folder.is_absolute())
        .map(|folder| folder.join(name))
        .find(|path| {
            fs_err::metadata(path)
                .is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_found_in_relative_folders() {
        assert_eq!(find_program(OsStr::new(".::bin"), "sh"), None);
        assert_eq!(find_program(OsStr::new(".:/nonexistent:/bin"), "sh"), Some("/bin/sh".into()));
    }

    #[test]
    fn a_file_that_is_not_executable_is_passed_over() {
        let folder = tempfile::tempdir().unwrap();
        fs_err::write(folder.path().join("upx"), "#!/bin/sh\n").unwrap();
        assert_eq!(find_program(folder.path().as_os_str(), "upx"), None);
    }

    #[test]
    fn a_static_program_of_this_processor_needs_no_privileges() {
        let runners = Runners { native: Some(Platform::Amd64), ..Runners::none() };
        assert_eq!(runners.ways(Platform::Amd64, false), Ok(vec![Way::Direct]));
        assert!(runners.ways(Platform::Amd64, true).unwrap_err().contains("user namespaces"));
        assert_eq!(runners.ways(Platform::Arm64, false).unwrap_err(), "qemu-aarch64-static was not found");
        assert!(runners.can_start(Platform::Amd64) && !runners.can_start(Platform::Arm64));
    }

    #[test]
    fn a_dynamic_program_gets_a_root_of_its_own_before_an_emulator() {
        let runners = Runners {
            native: Some(Platform::Amd64),
            chroot: Some("/usr/sbin/chroot".into()),
            unshare: Some("/usr/bin/unshare".into()),
            qemu: vec![(Platform::Amd64, "/q".into())],
        };
        let words = ["/usr/bin/unshare", "-r", "/usr/sbin/chroot"].map(PathBuf::from).to_vec();
        assert_eq!(runners.ways(Platform::Amd64, true), Ok(vec![Way::Chroot(words), Way::Qemu("/q".into())]));
    }
}
