//! The same inputs give the same bytes, whoever builds, where, how fast and out of which cache.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod program;

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use kimg_testkit::{TempDir, find_tool, tempdir};

/// A folder that every user of this machine can reach.
fn public_folder() -> TempDir {
    let folder = tempdir().unwrap();
    open_to_all(folder.path());
    folder
}

fn open_to_all(path: &Path) {
    fs_err::set_permissions(path, std::fs::Permissions::from_mode(0o777)).unwrap();
}

#[test]
fn another_user_umask_folder_and_number_of_threads_give_the_same_eighteen_images() {
    let Some(real) = kimg_testkit::real() else { return };
    let here = program::folder();
    let quiet = ["--pack", "never", "--quiet"];
    let mut first = program::kimg(here.path());
    first.arg("build").arg("-r").arg(real.repo()).arg("-k").arg(real.keys()).args(quiet);
    let first = program::success(first.args(["--cache-dir", "cache", "--threads", "1"]));

    // Nobody may not be able to read the folder of the checkout: the other run gets copies of everything.
    let there = public_folder();
    let deep = there.path().join("a/folder/with a space/and a long name that nobody would choose");
    fs_err::create_dir_all(&deep).unwrap();
    open_to_all(&deep);
    let program = there.path().join("kimg");
    fs_err::copy(env!("CARGO_BIN_EXE_kimg"), &program).unwrap();
    kimg_testkit::run(Command::new("cp").arg("-rL").args([real.repo(), real.keys()]).arg(there.path()));
    let script = format!(
        "umask 077; exec '{0}/kimg' build -r '{0}/repo' -k '{0}/keys' --cache-dir cache {1}",
        there.path().display(),
        quiet.join(" ")
    );
    let is_root = std::os::unix::fs::MetadataExt::uid(&std::fs::metadata("/proc/self").unwrap()) == 0;
    let mut second = Command::new("sh");
    if let Some(setpriv) = find_tool("setpriv").filter(|_| is_root) {
        second = Command::new(setpriv);
        second.args(["--reuid=65534", "--regid=65534", "--clear-groups", "sh"]);
    }
    second
        .arg("-c")
        .arg(script)
        .current_dir(&deep)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default());
    second.envs([
        ("HOME", "/nonexistent"),
        ("TZ", "Asia/Kathmandu"),
        ("LC_ALL", "C.UTF-8"),
        ("LANG", "tr_TR.UTF-8"),
    ]);
    let second = kimg_testkit::run(&mut second);

    if is_root {
        let owner =
            std::os::unix::fs::MetadataExt::uid(&fs_err::metadata(deep.join("out/index.json")).unwrap());
        assert_eq!(owner, 65534, "nobody has built it");
    }
    assert_eq!(first.lines().filter(|l| l.contains("@sha256:")).count(), first.lines().count());
    assert!(first.lines().count() >= 12, "six indexes, each with a long and a short tag:\n{first}");
    assert_eq!(first, second);
    assert_eq!(program::files(&here.path().join("out")), program::files(&deep.join("out")));
}

#[test]
fn packing_twice_gives_the_same_programs() {
    let Some(real) = kimg_testkit::real() else { return };
    if kimg_testkit::tool("upx").is_none() {
        return;
    }
    let build = |threads: &str| {
        let folder = program::folder();
        let mut kimg = program::kimg(folder.path());
        kimg.arg("build").arg("-r").arg(real.repo()).arg("-k").arg(real.keys());
        kimg.args(["--variant", "flannel", "--arch", "arm64", "--pack", "require", "--quiet"]);
        program::success(kimg.args(["--cache-dir", "cache", "--threads", threads]))
    };
    assert_eq!(build("1"), build("2"));
}

#[test]
fn a_warm_cache_saves_the_work_and_changes_no_byte() {
    let Some(real) = kimg_testkit::real() else { return };
    let folder = program::folder();
    let build = |out: &str| {
        let mut kimg = program::kimg(folder.path());
        kimg.arg("build").arg("-r").arg(real.repo()).arg("-k").arg(real.keys());
        kimg.args(["--variant", "plain", "--variant", "kube-proxy", "--arch", "amd64", "--pack", "never"]);
        kimg.args(["--cache-dir", "cache", "--progress", "json", "-o", out]);
        let answer = program::answer(&mut kimg);
        assert_eq!(answer.code, 0, "{}", answer.story);
        let count = |from_cache: bool| answer.story.matches(&format!("\"from_cache\":{from_cache}")).count();
        (count(true), count(false), program::files(&folder.path().join(out)))
    };
    let (hits, misses, cold) = build("cold");
    assert!(hits == 0 && misses > 10, "a new cache is empty: {hits} hits, {misses} misses");
    let (hits, misses, warm) = build("warm");
    assert!(misses == 0 && hits > 10, "everything is in the cache: {hits} hits, {misses} misses");
    assert_eq!(cold, warm);
}

#[test]
fn a_cache_whose_bytes_have_changed_is_noticed_and_mended() {
    let Some(real) = kimg_testkit::real() else { return };
    let folder = program::folder();
    let build = |out: &str| {
        let mut kimg = program::kimg(folder.path());
        kimg.arg("build").arg("-r").arg(real.repo()).arg("-k").arg(real.keys());
        kimg.args([
            "--variant",
            "plain",
            "--arch",
            "armv7",
            "--pack",
            "never",
            "--cache-dir",
            "cache",
            "-o",
            out,
        ]);
        program::answer(&mut kimg)
    };
    assert_eq!(build("first").code, 0);
    let mut changed = 0;
    for (path, _) in program::files(&folder.path().join("cache")) {
        let path = folder.path().join("cache").join(path);
        let mut bytes = fs_err::read(&path).unwrap();
        if bytes.len() > 100_000 {
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
            fs_err::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
            fs_err::write(&path, bytes).unwrap();
            changed += 1;
        }
    }
    assert!(changed > 3, "the cache holds the large contents as files");
    let second = build("second");
    // Layers are written anew from files that are unpacked anew from packages that are fetched anew.
    assert_eq!(second.code, 0, "{}", second.story);
    assert_eq!(
        program::files(&folder.path().join("first")),
        program::files(&folder.path().join("second")),
        "nothing was built from it"
    );
}
