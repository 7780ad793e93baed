//! `kimg outdated`: what the repositories have newer than the lock, and how Kubernetes stands to upstream.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod program;

use std::path::Path;

use assert_cmd::Command;
use kimg_core::Platform;
use kimg_testkit::{FolderServer, Real, RepositoryCopy, TempDir};

/// A locked project on a repository that can change.
struct Case {
    real: Real,
    repository: RepositoryCopy,
    folder: TempDir,
}

impl Case {
    fn new() -> Option<Self> {
        let real = kimg_testkit::real()?;
        let repository = RepositoryCopy::new(&real, Platform::ArmV7);
        let folder = program::folder();
        fs_err::write(folder.path().join("kimg.toml"), "# all by flags\n").unwrap();
        let case = Self { real, repository, folder };
        program::success(&mut case.kimg("lock"));
        Some(case)
    }

    fn kimg(&self, command: &str) -> Command {
        let mut kimg = program::kimg(self.folder.path());
        kimg.arg(command).arg("-r").arg(self.repository.path()).arg("-k").arg(self.real.keys());
        kimg.args(["--variant", "kubeadm", "--arch", "armv7", "--cache-dir", "cache"]);
        kimg
    }

    /// Without asking upstream.
    fn outdated(&self) -> Command {
        let mut kimg = self.kimg("outdated");
        kimg.arg("--offline");
        kimg
    }
}

/// What upstream says: the newest version of all, and of the minor 1.20.
fn upstream(folder: &Path, newest: &str, of_minor: &str) -> FolderServer {
    fs_err::write(folder.join("stable.txt"), newest).unwrap();
    fs_err::write(folder.join("stable-1.20.txt"), of_minor).unwrap();
    FolderServer::new(folder)
}

#[test]
fn a_fresh_lock_is_not_outdated() {
    let Some(case) = Case::new() else { return };
    let out = program::success(&mut case.outdated());
    assert!(out.contains("Every locked package is the newest"), "{out}");
    assert!(out.contains("Kubernetes v1.20.2: upstream was not asked"), "{out}");
}

#[test]
fn newer_packages_are_named_and_the_exit_code_says_so() {
    let Some(case) = Case::new() else { return };
    case.repository.update("iproute2", "6.1.0-r1");
    let answer = program::answer(&mut case.outdated());
    assert_eq!(answer.code, 41, "{}", answer.story);
    let line = answer.out.lines().find(|line| line.contains("iproute2")).unwrap();
    for word in ["6.1.0-r0, no longer there", "6.1.0-r1", "linux/arm/v7"] {
        assert!(line.contains(word), "{word}: {line}");
    }
    assert!(answer.out.contains("kimg lock --update iproute2"), "{}", answer.out);
    program::success(case.outdated().args(["--fail-on", "never"]));

    let answer = program::answer(case.outdated().args(["--format", "json"]));
    assert_eq!(answer.code, 41);
    let told: serde_json::Value = serde_json::from_str(&answer.out).unwrap();
    assert_eq!(told["packages"][0]["newest"], "6.1.0-r1");
    assert_eq!(told["packages"][0]["gone"], true);
    assert_eq!(told["kubernetes"][0]["locked"], "v1.20.2");

    program::success(case.kimg("lock").arg("--update"));
    program::success(&mut case.outdated());
}

#[test]
fn kubernetes_stands_where_upstream_says() {
    let Some(case) = Case::new() else { return };
    for (newest, of_minor, said, behind) in [
        ("v1.20.2", "v1.20.2", "the newest of the three supported minors; its newest patch", false),
        (
            "v1.21.0\n",
            "v1.20.15\n",
            "the second newest of the three supported minors; upstream has v1.20.15",
            true,
        ),
        ("v1.22.9", "v1.20.2", "the oldest of the three supported minors", false),
        ("v1.34.2", "v1.20.15", "no longer supported upstream (the newest is v1.34.2)", true),
    ] {
        let folder = program::folder();
        let server = upstream(folder.path(), newest, of_minor);
        let ask = || {
            let mut kimg = case.kimg("outdated");
            kimg.arg("--upstream").arg(server.url(""));
            kimg
        };
        let answer = program::answer(ask().args(["--fail-on", "upstream"]));
        assert_eq!(answer.code, if behind { 41 } else { 0 }, "{newest}: {}", answer.story);
        assert!(answer.out.contains(said), "{newest}: {}", answer.out);
        // The repositories have nothing newer: what upstream has can't be locked yet.
        program::success(&mut ask());
    }
}

#[test]
fn an_upstream_that_answers_nonsense_is_told_and_nothing_is_taken_from_it() {
    let Some(case) = Case::new() else { return };
    let folder = program::folder();
    let server = upstream(folder.path(), "<html>\x1b[31mnot found", "v1.20.2");
    let answer = program::answer(case.kimg("outdated").arg("--upstream").arg(server.url("")));
    assert_eq!(answer.code, 0, "{}", answer.story);
    assert!(answer.story.contains("expected a version of Kubernetes"), "{}", answer.story);
    assert!(!answer.story.contains("\x1b[31m"), "{:?}", answer.story);
    assert!(answer.out.contains("did not answer"), "{}", answer.out);
}

#[test]
fn without_a_lock_there_is_nothing_to_hold_against() {
    let Some(case) = Case::new() else { return };
    fs_err::remove_file(case.folder.path().join("kimg.lock")).unwrap();
    let story = program::failure(&mut case.outdated(), 41);
    assert!(story.contains("there is no lock at") && story.contains("kimg lock"), "{story}");
}
