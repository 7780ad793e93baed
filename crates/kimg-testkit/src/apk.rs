//! The real `apk`, inside Alpine's own minirootfs.

use std::path::Path;
use std::process::{Command, Output};

use kimg_core::Platform;

use crate::{Real, Root, TempDir, both, run, superuser, tempdir, tool};

/// An unpacked `x86_64` minirootfs with its `apk` 2.12, started by `chroot`.
#[derive(Debug)]
pub struct AlpineRoot {
    root: Root,
    _folder: TempDir,
}

impl AlpineRoot {
    /// Unpacks it. `None` after a visible skip: without root's rights, or on a machine that is no `x86_64`.
    pub fn new(real: &Real) -> Option<Self> {
        let tar = tool("tar")?;
        if !superuser() {
            return None;
        }
        let folder = tempdir().expect("a temporary folder can be made");
        run(Command::new(tar).arg("-xzf").arg(real.minirootfs(Platform::Amd64)).arg("-C").arg(folder.path()));
        Some(Self { root: Root::new(folder.path(), Platform::Amd64), _folder: folder })
    }

    /// The root, to put things into.
    pub fn root(&self) -> &Root {
        &self.root
    }

    /// Copies a folder or file below the root, by hard links where that is possible.
    pub fn share(&self, from: &Path, at: &str) {
        let to = self.root.on_disk(at);
        if let Some(parent) = to.parent() {
            fs_err::create_dir_all(parent).expect("the root is ours");
        }
        let linked = Command::new("cp").args(["-al", "--"]).args([from, &to]).output();
        if !linked.is_ok_and(|o| o.status.success()) {
            run(Command::new("cp").args(["-a", "--remove-destination", "--"]).args([from, &to]));
        }
    }

    /// Trusts the keys in a folder.
    pub fn trust(&self, keys: &Path) {
        for entry in fs_err::read_dir(keys).expect("the keys can be read") {
            let key = entry.expect("the keys can be read");
            let to = self.root.on_disk("/etc/apk/keys").join(key.file_name());
            fs_err::copy(key.path(), to).expect("the root is ours");
        }
    }

    /// Runs `apk` with these arguments. `None` after a visible skip.
    pub fn apk(&self, arguments: &[&str]) -> Option<Output> {
        let mut words = vec!["/sbin/apk"];
        words.extend(arguments);
        self.root.run(&words, &[])
    }

    /// The same, and panics with what it said when it fails.
    pub fn apk_lines(&self, arguments: &[&str]) -> Option<Vec<String>> {
        let output = self.apk(arguments)?;
        assert!(output.status.success(), "apk {arguments:?}: {}\n{}", output.status, both(&output));
        Some(String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect())
    }
}
