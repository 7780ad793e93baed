//! Real packages, Alpine's keys and base roots, where they lie beside the checkout; and Debian's glibc plugins.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use kimg_core::Platform;

use crate::{find_tool, run, skip, workspace};

/// The folder of real input and the repository laid out from it.
#[derive(Debug, Clone)]
pub struct Real {
    source: PathBuf,
    target: PathBuf,
}

/// The real input: `$KIMG_REAL`, or `../shared/real` beside the checkout; else a visible skip.
///
/// Lays the repository out under `target/real` when that was not done yet. Tests run in several processes at once:
/// a lock file makes one do it and the others wait.
pub fn real() -> Option<Real> {
    static REAL: OnceLock<Option<Real>> = OnceLock::new();
    let real = REAL.get_or_init(find).clone();
    if real.is_none() {
        skip("the real packages are not there: neither $KIMG_REAL nor ../shared/real");
    }
    real
}

fn find() -> Option<Real> {
    let source = match std::env::var_os("KIMG_REAL") {
        Some(folder) => PathBuf::from(folder),
        None => workspace().join("../shared/real"),
    };
    let source = source.canonicalize().ok().filter(|folder| folder.join("assemble").is_file())?;
    let target = workspace().join("target/real");
    if !target.join("SHA256SUMS").is_file() {
        fs_err::create_dir_all(workspace().join("target")).expect("target/ can be made");
        let mut assemble = match find_tool("flock") {
            Some(flock) => {
                let mut command = Command::new(flock);
                command.arg(workspace().join("target/.real.lock")).arg(source.join("assemble"));
                command
            }
            None => Command::new(source.join("assemble")),
        };
        run(assemble.arg(&target));
    }
    Some(Real { source, target })
}

impl Real {
    /// The folder of the input, as it lies.
    pub fn dir(&self) -> &Path {
        &self.source
    }

    /// The repository: one folder for each of `x86_64`, `aarch64` and `armv7`.
    pub fn repo(&self) -> PathBuf {
        self.target.join("repo")
    }

    /// The folder with the public key that the repository is signed with.
    pub fn keys(&self) -> PathBuf {
        self.target.join("keys")
    }

    /// Alpine's own public keys for an architecture.
    pub fn alpine_keys(&self, platform: Platform) -> PathBuf {
        self.source.join("alpine-keys").join(platform.alpine())
    }

    /// Alpine's own base root for an architecture: a `.tar.gz`.
    pub fn minirootfs(&self, platform: Platform) -> PathBuf {
        self.source.join(format!("minirootfs/alpine-minirootfs-3.15.11-{}.tar.gz", platform.alpine()))
    }

    /// The file of a package in the repository, by its name without a version.
    pub fn package(&self, platform: Platform, name: &str) -> PathBuf {
        package_file(&self.repo().join(platform.alpine()), name)
    }
}

/// The one file in `folder` that is the package `name`. Panics if there is none.
pub(crate) fn package_file(folder: &Path, name: &str) -> PathBuf {
    let mut files: Vec<PathBuf> = fs_err::read_dir(folder)
        .expect("the repository can be read")
        .map(|entry| entry.expect("the repository can be read").path())
        .filter(|path| {
            let rest = path.file_name().and_then(|f| f.to_str()).and_then(|f| f.strip_prefix(name));
            // `name-1.2-r3.apk`: what follows the name is a version, not a longer name.
            rest.and_then(|r| r.strip_prefix('-'))
                .is_some_and(|r| r.starts_with(|c: char| c.is_ascii_digit()))
        })
        .collect();
    files.sort();
    files.pop().unwrap_or_else(|| panic!("{} has no package {name}", folder.display()))
}

/// A plugin of Debian's `containernetworking-plugins`, which are linked against glibc; else a visible skip.
/// `.ci/setup` unpacks the package under `target/`; it is not installed.
pub fn debian_plugins() -> Option<PathBuf> {
    let folder = workspace().join("target/debian/containernetworking-plugins/usr/lib/cni");
    if folder.join("bridge").is_file() {
        return Some(folder);
    }
    skip("Debian's containernetworking-plugins are not unpacked; run .ci/setup");
    None
}

/// What `.ci/setup` fetched of a source package of Debian (`plugins`, `gocode`, `kubernetes.tar.gz`); else a visible skip.
pub fn debian_source(name: &str) -> Option<PathBuf> {
    let path = workspace().join("target/debian-src").join(name);
    if path.exists() {
        return Some(path);
    }
    skip(format_args!(
        "Debian's source of {name} is not there; run .ci/setup (for Kubernetes: .ci/setup proofs)"
    ));
    None
}
