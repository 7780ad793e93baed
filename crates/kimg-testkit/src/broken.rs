//! Copies of the real repository with one thing in them changed.

use std::path::{Path, PathBuf};
use std::process::Command;

use kimg_core::Platform;

use crate::real::package_file;
use crate::{Real, TempDir, run, tempdir};

/// A copy of the real repository for one platform, made of hard links, so that it costs nothing.
#[derive(Debug)]
pub struct RepositoryCopy {
    folder: TempDir,
    platform: Platform,
    assemble: PathBuf,
}

impl RepositoryCopy {
    /// Copies the platform's folder.
    pub fn new(real: &Real, platform: Platform) -> Self {
        // Beside the original, so that hard links are possible.
        let beside = real.repo().parent().and_then(Path::parent).map(Path::to_owned).unwrap_or_default();
        let folder = tempfile::Builder::new().prefix("repository-").tempdir_in(beside).or_else(|_| tempdir());
        let folder = folder.expect("a temporary folder can be made");
        let (from, to) = (real.repo().join(platform.alpine()), folder.path().join(platform.alpine()));
        let linked = Command::new("cp").args(["-rl", "--"]).args([&from, &to]).output();
        if !linked.is_ok_and(|o| o.status.success()) {
            run(Command::new("cp").args(["-r", "--remove-destination", "--"]).args([&from, &to]));
        }
        Self { folder, platform, assemble: real.dir().join("assemble") }
    }

    /// What `--repository` takes.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// The folder of the platform.
    pub fn arch(&self) -> PathBuf {
        self.folder.path().join(self.platform.alpine())
    }

    /// The file of a package, by its name without a version.
    pub fn package(&self, name: &str) -> PathBuf {
        package_file(&self.arch(), name)
    }

    /// The index.
    pub fn index(&self) -> PathBuf {
        self.arch().join("APKINDEX.tar.gz")
    }

    /// Changes the bytes of one file, and only in this copy.
    pub fn change(&self, file: &Path, change: impl FnOnce(&mut Vec<u8>)) {
        let mut bytes = fs_err::read(file).expect("the file can be read");
        change(&mut bytes);
        fs_err::remove_file(file).expect("the copy is ours");
        fs_err::write(file, bytes).expect("the copy is ours");
    }

    /// Puts a package in again, with the same files and another version, and signs a new index over all: what a
    /// repository does when a package is updated.
    pub fn update(&self, package: &str, version: &str) {
        self.pack_again(package, version, self.platform);
    }

    /// Puts a package in again that says of itself that it is for another platform, where the signed index says
    /// that it is for this one.
    pub fn mislabel(&self, package: &str, platform: Platform) {
        self.pack_again(package, "", platform);
    }

    /// `version`: empty for the same one.
    fn pack_again(&self, package: &str, version: &str, says: Platform) {
        let mut python = Command::new("python3");
        python.args(["-c", PACK_AGAIN]).arg(&self.assemble).arg(self.arch()).arg(self.package(package));
        run(python.args([package, version, self.platform.alpine(), says.alpine()]));
    }
}

/// Uses the parts of the program that lays the real repository out, and so its key.
const PACK_AGAIN: &str = r#"
import gzip, importlib.machinery, importlib.util, io, os, sys, tarfile
sys.dont_write_bytecode = True
assemble, folder, old, name, version, arch, says = sys.argv[1:]
loader = importlib.machinery.SourceFileLoader("assemble", assemble)
made = importlib.util.module_from_spec(importlib.util.spec_from_loader("assemble", loader))
loader.exec_module(made)
with open(old, "rb") as f:
    apk = f.read()
cuts, info = made.members(apk)
lines = [line.split(" = ", 1) for line in info.splitlines() if " = " in line]
depends = [value for key, value in lines if key == "depend"]
version = version or dict(lines)["pkgver"]
with tarfile.open(fileobj=io.BytesIO(gzip.decompress(apk[cuts[2]:]))) as tar:
    files = {m.name: tar.extractfile(m).read() for m in tar if m.isfile()}
spec = dict(name=name, version=version, url="", license="", desc="packed again by a test", depends=depends)
made.MUSL[says] = "libc"
os.remove(old)
made.package(says, spec, files, folder)
read = made.members
made.members = lambda apk: (lambda cuts, info: (cuts, info.replace("arch = " + says, "arch = " + arch)))(*read(apk))
os.remove(os.path.join(folder, "APKINDEX.tar.gz"))
made.index(folder)
"#;
