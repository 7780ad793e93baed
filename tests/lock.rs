//! `kimg.lock`: what it pins stays, and `--locked` refuses anything else by name.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod program;

use std::path::Path;

use assert_cmd::Command;
use kimg_core::Platform;
use kimg_testkit::{Real, RepositoryCopy};

/// A repository that can change, and a folder to build in.
struct Case {
    real: Real,
    repository: RepositoryCopy,
    folder: kimg_testkit::TempDir,
}

impl Case {
    fn new() -> Option<Self> {
        let real = kimg_testkit::real()?;
        let repository = RepositoryCopy::new(&real, Platform::ArmV7);
        let folder = program::folder();
        project(folder.path());
        Some(Self { real, repository, folder })
    }

    fn kimg(&self, command: &str) -> Command {
        let mut kimg = program::kimg(self.folder.path());
        kimg.arg(command).arg("-r").arg(self.repository.path()).arg("-k").arg(self.real.keys());
        kimg.args(["--variant", "kubeadm", "--arch", "armv7", "--cache-dir", "cache"]);
        kimg
    }

    fn build(&self) -> Command {
        let mut kimg = self.kimg("build");
        kimg.args(["--pack", "never"]);
        kimg
    }

    fn lock(&self) -> String {
        fs_err::read_to_string(self.folder.path().join("kimg.lock")).unwrap()
    }
}

/// A build that belongs to no project leaves no lock behind, so there is one.
fn project(folder: &Path) {
    fs_err::write(folder.join("kimg.toml"), "# all by flags\n").unwrap();
}

fn write_lock(folder: &Path, text: &str) {
    fs_err::write(folder.join("kimg.lock"), text).unwrap();
}

#[test]
fn a_build_writes_the_lock_and_a_locked_one_after_it_gives_the_same() {
    let Some(case) = Case::new() else { return };
    let first = program::success(case.build().arg("-q"));
    let lock = case.lock();
    assert!(lock.contains("iproute2") && lock.contains("6.1.0-r0"), "{lock}");
    let second = program::success(case.build().args(["-q", "--locked"]));
    assert_eq!(first, second);
    assert_eq!(case.lock(), lock);
}

#[test]
fn locked_without_a_lock_is_refused() {
    let Some(case) = Case::new() else { return };
    let story = program::failure(case.build().arg("--locked"), 41);
    assert!(story.contains("kimg.lock"), "{story}");
    assert!(!case.folder.path().join("out").exists());
}

#[test]
fn what_the_repository_has_dropped_is_taken_from_the_cache_while_it_is_locked() {
    let Some(case) = Case::new() else { return };
    let first = program::success(case.build().arg("-q"));
    let lock = case.lock();
    case.repository.update("iproute2", "6.1.0-r1");
    for how in [&["-q"][..], &["-q", "--locked"], &["-q", "--locked", "--offline"]] {
        assert_eq!(program::success(case.build().args(how)), first, "{how:?}");
        assert_eq!(case.lock(), lock, "{how:?}");
    }
}

#[test]
fn after_an_update_in_the_repository_locked_names_the_difference() {
    let Some(case) = Case::new() else { return };
    program::success(&mut case.kimg("lock"));
    let lock = case.lock();
    case.repository.update("iproute2", "6.1.0-r1");
    fs_err::remove_dir_all(case.folder.path().join("cache")).unwrap();
    let story = program::failure(case.build().arg("--locked"), 41);
    for word in ["iproute2", "6.1.0-r0", "6.1.0-r1"] {
        assert!(story.contains(word), "{word}\n{story}");
    }
    assert_eq!(case.lock(), lock, "the lock is not touched");
    assert!(!case.folder.path().join("out").exists());
}

#[test]
fn lock_update_takes_what_the_repository_has_now() {
    let Some(case) = Case::new() else { return };
    program::success(&mut case.kimg("lock"));
    case.repository.update("iproute2", "6.1.0-r1");
    program::success(case.kimg("lock").arg("--update"));
    let lock = case.lock();
    assert!(lock.contains("6.1.0-r1") && !lock.contains("6.1.0-r0"), "{lock}");
    program::success(case.build().arg("--locked"));
}

#[test]
fn lock_update_of_one_package_moves_only_that_one_and_says_so() {
    let Some(case) = Case::new() else { return };
    let first = program::answer(&mut case.kimg("lock"));
    assert_eq!((first.code, first.out.as_str()), (0, ""), "{}", first.story);
    let before = case.lock();
    case.repository.update("iproute2", "6.1.0-r1");
    case.repository.update("ethtool", "6.1-r9");

    let would = program::success(case.kimg("lock").args(["--update", "--dry-run"]));
    assert!(would.contains("6.1.0-r1") && would.contains("6.1-r9"), "{would}");
    assert_eq!(case.lock(), before, "a dry run writes nothing");

    let moved = program::success(case.kimg("lock").args(["--update", "iproute2"]));
    let line = moved.lines().find(|line| line.contains("iproute2")).unwrap();
    assert_eq!(
        line.split_whitespace().collect::<Vec<_>>(),
        ["iproute2", "6.1.0-r0", "6.1.0-r1", "linux/arm/v7"]
    );
    assert!(!moved.contains("ethtool"), "{moved}");
    let after = case.lock();
    assert!(after.contains("iproute2-6.1.0-r1") && !after.contains("6.1-r9"), "{after}");

    let rest = program::json(case.kimg("lock").args(["--update", "--format", "json"]));
    assert_eq!(rest.as_array().unwrap().len(), 1, "{rest}");
    assert_eq!((&rest[0]["package"], &rest[0]["to"]), (&"ethtool".into(), &"6.1-r9".into()));
}

#[test]
fn lock_update_of_what_is_not_locked_is_refused() {
    let Some(case) = Case::new() else { return };
    program::success(&mut case.kimg("lock"));
    let story = program::failure(case.kimg("lock").args(["--update", "iproute"]), 2);
    assert!(story.contains("`iproute` is not in"), "{story}");
}

#[test]
fn an_index_that_is_older_than_the_locked_one_is_refused_unless_that_is_allowed() {
    let Some(case) = Case::new() else { return };
    let server = kimg_testkit::FolderServer::new(case.repository.path());
    let lock = || {
        let mut kimg = program::kimg(case.folder.path());
        kimg.args(["lock", "--variant", "plain", "--arch", "armv7", "--cache-dir", "cache"]);
        kimg.arg("-r").arg(server.url("")).arg("-k").arg(case.real.keys());
        kimg
    };
    program::success(&mut lock());
    // As if it had been written with the index of a later day.
    let text = case.lock();
    let line = text.lines().find(|line| line.starts_with("newest = ")).unwrap();
    let newest: u64 = line.strip_prefix("newest = ").unwrap().parse().unwrap();
    write_lock(case.folder.path(), &text.replace(line, &format!("newest = {}", newest + 86_400)));

    let story = program::failure(&mut lock(), 10);
    assert!(story.contains("was rolled back") && story.contains("--rolled-back warn"), "{story}");
    let answer = program::answer(lock().args(["--rolled-back", "warn"]));
    assert_eq!(answer.code, 0, "{}", answer.story);
    assert!(answer.story.contains("was rolled back"), "{}", answer.story);
    fs_err::write(case.folder.path().join("kimg.toml"), "rolled-back = 'warn'\n").unwrap();
    program::success(&mut lock());
}

#[test]
fn a_package_whose_bytes_are_not_the_locked_ones_is_refused_even_when_the_index_vouches_for_it() {
    let Some(case) = Case::new() else { return };
    program::success(&mut case.kimg("lock"));
    // The same name and version with other bytes, signed as it should be.
    case.repository.update("iproute2", "6.1.0-r0");
    fs_err::remove_dir_all(case.folder.path().join("cache")).unwrap();
    let answer = program::answer(case.build().arg("--locked"));
    assert!(matches!(answer.code, 10 | 41), "{}\n{}", answer.code, answer.story);
    assert!(answer.story.contains("iproute2"), "{}", answer.story);
    assert!(!case.folder.path().join("out").exists());
}

#[test]
fn a_lock_that_was_edited_is_refused() {
    let Some(case) = Case::new() else { return };
    program::success(&mut case.kimg("lock"));
    let lock = case.lock();
    let at = lock.find("sha256:").unwrap() + "sha256:".len();
    let mut edited = lock.clone();
    let digit = if &lock[at..=at] == "0" { "1" } else { "0" };
    edited.replace_range(at..=at, digit);
    write_lock(case.folder.path(), &edited);
    let answer = program::answer(case.build().arg("--locked"));
    assert!(matches!(answer.code, 10 | 41), "{}\n{}", answer.code, answer.story);
    assert!(!case.folder.path().join("out").exists());
}

#[test]
fn a_lock_that_is_no_lock_is_refused_with_its_place() {
    let Some(case) = Case::new() else { return };
    write_lock(case.folder.path(), "version = 1\nfoo = 1\n");
    let answer = program::answer(case.build().arg("--locked"));
    assert!(matches!(answer.code, 2 | 11 | 41), "{}\n{}", answer.code, answer.story);
    assert!(answer.story.contains("kimg.lock") && answer.story.contains("foo"), "{}", answer.story);
}

#[test]
fn a_locked_build_from_the_cache_needs_no_source_at_all() {
    let Some(real) = kimg_testkit::real() else { return };
    let server = kimg_testkit::FolderServer::new(real.repo());
    let folder = program::folder();
    project(folder.path());
    let build = || {
        let mut kimg = program::kimg(folder.path());
        kimg.arg("build").arg("-r").arg(server.url("")).arg("-k").arg(real.keys()).args([
            "-q",
            "--cache-dir",
            "cache",
        ]);
        kimg.args(["--variant", "plain", "--arch", "amd64", "--pack", "never"]);
        kimg
    };
    let first = program::success(&mut build());
    let asked = server.asked().len();
    assert!(asked > 10, "it came over HTTP");
    let second = program::success(build().args(["--offline", "--locked"]));
    assert_eq!(first, second);
    assert_eq!(server.asked().len(), asked, "and then nothing was asked for");
}
