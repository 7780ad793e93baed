//! `kimg vendor`: every locked input in one folder, and the same images from it when nothing else is left.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod program;

use std::path::{Path, PathBuf};

use assert_cmd::Command;
use kimg_core::{Digest, Platform};
use kimg_testkit::sample::elf::Program;
use kimg_testkit::{FolderServer, Real, RepositoryCopy};

/// A project on a mirror, with a program of its own that comes from an address, and a vendored copy of its inputs.
struct Case {
    real: Real,
    repository: RepositoryCopy,
    folder: kimg_testkit::TempDir,
    /// What the build gave when everything was there.
    built: String,
}

impl Case {
    fn new() -> Option<Self> {
        let real = kimg_testkit::real()?;
        let repository = RepositoryCopy::new(&real, Platform::ArmV7);
        let folder = program::folder();
        let flannel = Program::fixed(Platform::ArmV7, "a stand-in for flannel's plugin\n").build();
        fs_err::write(repository.path().join("flannel"), &flannel).unwrap();
        let server = FolderServer::new(repository.path());
        let sha256 = Digest::of(&flannel).hex();
        let settings = format!(
            "repositories = [\"{}\"]\nkeys = [\"{}\"]\nvariants = [\"flannel\"]\narchitectures = [\"armv7\"]\n\
             pack = \"never\"\n[[program]]\nname = \"flannel's plugin\"\nurl = \"{}\"\nsha256 = \"{sha256}\"\n\
             install = \"/opt/cni/bin/flannel\"\n",
            server.url(""),
            real.keys().display(),
            server.url("flannel"),
        );
        fs_err::write(folder.path().join("kimg.toml"), settings).unwrap();
        let mut case = Self { real, repository, folder, built: String::new() };
        case.built = program::success(case.kimg("build").arg("-q"));
        program::success(case.kimg("vendor").arg("vendor"));
        // The server ends here: nothing can be asked of it any more.
        Some(case)
    }

    fn kimg(&self, command: &str) -> Command {
        let mut kimg = program::kimg(self.folder.path());
        kimg.args([command, "--cache-dir", "cache", "--retry-times", "1"]);
        kimg
    }

    fn forget_everything(&self) {
        for folder in ["cache", "out"] {
            fs_err::remove_dir_all(self.folder.path().join(folder)).unwrap();
        }
    }

    /// A build with nothing but the vendored folder and what is in it.
    fn build_from_vendored(&self) -> Command {
        let mut kimg = self.kimg("build");
        kimg.args(["-q", "--locked", "--lock", "vendor/kimg.lock", "--offline"]);
        kimg.args(["-r", "vendor", "-k", "vendor/keys"]);
        kimg
    }

    fn vendored(&self, path: &str) -> PathBuf {
        self.folder.path().join("vendor").join(path)
    }
}

fn change(file: &Path) {
    let mut bytes = fs_err::read(file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs_err::write(file, bytes).unwrap();
}

#[test]
fn the_same_images_come_from_a_vendored_folder_when_mirror_and_cache_are_gone() {
    let Some(case) = Case::new() else { return };
    case.forget_everything();
    assert_eq!(program::success(&mut case.build_from_vendored()), case.built);
}

#[test]
fn a_package_that_was_changed_in_the_folder_is_refused() {
    let Some(case) = Case::new() else { return };
    case.forget_everything();
    let packages = fs_err::read_dir(case.vendored("packages/armv7")).unwrap();
    let package = packages
        .map(|entry| entry.unwrap().path())
        .find(|path| path.file_name().unwrap().to_string_lossy().starts_with("iptables-"))
        .unwrap();
    change(&package);
    let story = program::failure(&mut case.build_from_vendored(), 10);
    assert!(story.contains("iptables"), "{story}");
    assert!(!case.folder.path().join("out").exists());
}

#[test]
fn a_program_that_was_changed_in_the_folder_is_refused() {
    let Some(case) = Case::new() else { return };
    case.forget_everything();
    let programs: Vec<_> = fs_err::read_dir(case.vendored("programs")).unwrap().collect();
    assert_eq!(programs.len(), 1);
    change(&programs[0].as_ref().unwrap().path());
    let story = program::failure(&mut case.build_from_vendored(), 10);
    assert!(story.contains("flannel's plugin"), "{story}");
}

#[test]
fn whoever_does_not_trust_the_keys_gets_nothing() {
    let Some(case) = Case::new() else { return };
    case.forget_everything();
    let mut kimg = case.kimg("build");
    kimg.args(["-q", "--offline", "-r", "vendor", "-k", "alpine"]);
    let story = program::failure(&mut kimg, 10);
    assert!(story.contains("key"), "{story}");
}

#[test]
fn what_a_mirror_has_dropped_since_is_vendored_from_the_cache() {
    let Some(case) = Case::new() else { return };
    // The mirror goes on: another version of iptables, and the old one is no longer there.
    case.repository.update("iptables", "1.8.9-r9");
    let server = FolderServer::new(case.repository.path());
    let mut kimg = case.kimg("vendor");
    kimg.arg("again").arg("--locked").arg("-r").arg(server.url("")).arg("-k").arg(case.real.keys());
    program::success(&mut kimg);
    let names = |folder: &str| -> Vec<_> {
        let mut names: Vec<_> = fs_err::read_dir(case.folder.path().join(folder).join("packages/armv7"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        names.sort();
        names
    };
    assert_eq!(names("again"), names("vendor"));
}

#[test]
fn a_folder_with_something_else_in_it_is_left_alone() {
    let Some(case) = Case::new() else { return };
    let mine = case.folder.path().join("mine");
    fs_err::create_dir(&mine).unwrap();
    fs_err::write(mine.join("letter"), "dear").unwrap();
    let story = program::failure(case.kimg("vendor").args(["mine", "--offline"]), 30);
    assert!(story.contains("is not empty"), "{story}");
    assert_eq!(fs_err::read_dir(&mine).unwrap().count(), 1);
}

#[test]
fn apk_itself_reads_a_vendored_folder() {
    let Some(case) = Case::new() else { return };
    let Some(judge) = kimg_testkit::AlpineRoot::new(&case.real) else { return };
    judge.share(&case.vendored("packages"), "/vendored");
    fs_err::create_dir(judge.root().on_disk("/new")).unwrap();
    let begun = judge.apk_lines(&["add", "--root", "/new", "--initdb", "--arch", "armv7", "--no-network"]);
    if begun.is_none() {
        return;
    }
    let simulated = judge.apk_lines(&[
        "add",
        "--root",
        "/new",
        "--arch",
        "armv7",
        "--no-network",
        "--allow-untrusted",
        "--simulate",
        "-X",
        "/vendored",
        "kubelet",
        "iptables",
    ]);
    let Some(lines) = simulated else { return };
    assert!(lines.iter().any(|line| line.contains("Installing kubelet")), "{lines:?}");
    assert!(!lines.iter().any(|line| line.contains("ERROR")), "{lines:?}");
}
