//! Images as plain files, archives and file systems: the same files in all forms, and the same bytes again.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod program;

use std::collections::BTreeMap;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::Command;

use kimg_core::{Digest, Platform};
use kimg_testkit::{Root, both, run, superuser, tool, umoci_unpack};
use program::{QUICK, build};

/// Every path of an unpacked root with kind, mode, owners, and the digest of a file or the target of a link.
fn manifest(root: &Path) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    let mut todo = vec![root.to_owned()];
    while let Some(path) = todo.pop() {
        let found = fs_err::symlink_metadata(&path).unwrap();
        let is = if found.is_dir() {
            todo.extend(fs_err::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
            "folder".to_owned()
        } else if found.is_symlink() {
            format!("link to {}", fs_err::read_link(&path).unwrap().display())
        } else {
            Digest::of(fs_err::read(&path).unwrap()).to_string()
        };
        let name = path.strip_prefix(root).unwrap().display().to_string();
        let mode = if found.is_symlink() { 0o777 } else { found.mode() & 0o7777 };
        all.insert(name, format!("{mode:o} {}:{} {is}", found.uid(), found.gid()));
    }
    all
}

#[test]
fn an_image_an_archive_and_file_systems_hold_the_same_files() {
    hold_the_same_files(&[Platform::Amd64]);
}

#[test]
#[ignore = "a minute or two of compression: in .ci/proofs"]
fn images_archives_and_file_systems_hold_the_same_files_on_arm_too() {
    hold_the_same_files(&[Platform::Arm64, Platform::ArmV7]);
}

fn hold_the_same_files(platforms: &[Platform]) {
    let Some(real) = kimg_testkit::real() else { return };
    let (Some(unsquashfs), Some(tar), Some(fsck)) = (tool("unsquashfs"), tool("tar"), tool("fsck.erofs"))
    else {
        return;
    };
    if !superuser() {
        return;
    }
    let folder = program::folder();
    let here = |name: &str| folder.path().join(name);
    let wanted: Vec<String> =
        platforms.iter().map(|platform| format!("--arch={}", platform.short())).collect();
    let mut arguments: Vec<&str> = wanted.iter().map(String::as_str).collect();
    let raw = format!("type=portable,dest=raw,{QUICK}");
    arguments.extend([
        "--variant=portable",
        "-o",
        "out",
        "-o",
        "type=rootfs-tar,dest=tar",
        "-o",
        "type=erofs,dest=erofs",
        "-o",
        &raw,
    ]);
    let said = build(&real, folder.path(), &arguments);
    for (platform, tar_name, raw_name) in [
        (Platform::Amd64, "tar/kubelet_1.20.2-portable_amd64.tar", "raw/kubelet_1.20.2_x86-64.raw"),
        (Platform::Arm64, "tar/kubelet_1.20.2-portable_arm64.tar", "raw/kubelet_1.20.2_arm64.raw"),
        (Platform::ArmV7, "tar/kubelet_1.20.2-portable_armv7.tar", "raw/kubelet_1.20.2_arm.raw"),
    ] {
        if !platforms.contains(&platform) {
            continue;
        }
        for name in [tar_name, raw_name] {
            let digest = Digest::of(fs_err::read(here(name)).unwrap());
            assert!(said.contains(&format!("{name}@{digest}\n")), "{name}\n{said}");
        }
        let unpacked = here(&format!("{}-tar", platform.short()));
        fs_err::create_dir(&unpacked).unwrap();
        let mut unpack = Command::new(&tar);
        run(unpack.args(["-xp", "--same-owner", "-f"]).arg(here(tar_name)).arg("-C").arg(&unpacked));
        let of_tar = manifest(&unpacked);
        let squashed = here(&format!("{}-raw", platform.short()));
        run(Command::new(&unsquashfs).args(["-q", "-n", "-d"]).arg(&squashed).arg(here(raw_name)));
        assert_eq!(manifest(&squashed), of_tar, "{platform}");
        let erofs = here(&format!("{}-erofs", platform.short()));
        let name = format!("erofs/kubelet_1.20.2-portable_{}.erofs", platform.short());
        run(Command::new(&fsck).arg(format!("--extract={}", erofs.display())).arg(here(&name)));
        assert_eq!(manifest(&erofs), of_tar, "{platform}");
        fs_err::remove_dir_all(erofs).unwrap();
        let image = here(&format!("{}-oci", platform.short()));
        let tag = "kubelet:v1.20.2-portable";
        let Some(root) = umoci_unpack(&here("out"), tag, platform, &image) else { return };
        assert_eq!(manifest(root.folder()), of_tar, "{platform}");

        let root = Root::new(squashed, platform);
        starts(&root, &["/usr/bin/kubelet", "--version"], "Kubernetes v1.20.2");
        starts(&root, &["kubeadm", "version"], "v1.20.2");
        starts(&root, &["containerd", "--version"], "1.6.20");
        starts(&root, &["runc", "--version"], "runc version 1.1.5");
        starts(&root, &["nsenter", "--version"], "util-linux");
        fs_err::remove_dir_all(unpacked).unwrap();
    }
}

fn starts(root: &Root, words: &[&str], answer: &str) {
    if let Some(output) = root.run(words, &[]) {
        assert!(both(&output).contains(answer), "{} {words:?}: {}", root.platform(), both(&output));
    }
}

#[test]
fn another_user_umask_folder_and_number_of_threads_give_the_same_files() {
    let portable = format!("type=portable,dest=p,{QUICK}");
    are_the_same(
        &["type=rootfs-tar,dest=t", &portable],
        &["p/kubelet_1.20.2_arm.raw", "t/kubelet_1.20.2-portable_armv7.tar"],
    );
}

#[test]
#[ignore = "a minute or two of compression: in .ci/proofs"]
fn another_user_umask_folder_and_number_of_threads_give_the_same_erofs_and_xz() {
    if tool("mkfs.erofs").is_some() {
        are_the_same(
            &["type=erofs,dest=e", "type=portable,dest=p"],
            &["e/kubelet_1.20.2-portable_armv7.erofs", "p/kubelet_1.20.2_arm.raw"],
        );
    }
}

fn are_the_same(outputs: &[&str; 2], files: &[&str; 2]) {
    let Some(real) = kimg_testkit::real() else { return };
    let arguments = [
        "--arch",
        "armv7",
        "--variant",
        "portable",
        "--pack",
        "never",
        "-q",
        "-o",
        outputs[0],
        "-o",
        outputs[1],
    ];
    let here = program::folder();
    let mut first = program::kimg(here.path());
    first.arg("build").arg("-r").arg(real.repo()).arg("-k").arg(real.keys()).args(arguments);
    let first = program::success(first.args(["--cache-dir", "cache", "--threads", "1"]));

    let there = kimg_testkit::tempdir().unwrap();
    fs_err::set_permissions(there.path(), std::fs::Permissions::from_mode(0o777)).unwrap();
    fs_err::copy(env!("CARGO_BIN_EXE_kimg"), there.path().join("kimg")).unwrap();
    run(Command::new("cp").arg("-rL").args([real.repo(), real.keys()]).arg(there.path()));
    let script = "umask 077; exec ./kimg build -r repo -k keys --cache-dir cache --threads 3 \"$@\"";
    let is_root = fs_err::metadata("/proc/self").unwrap().uid() == 0;
    let mut second = Command::new("sh");
    if let Some(setpriv) = kimg_testkit::find_tool("setpriv").filter(|_| is_root) {
        second = Command::new(setpriv);
        second.args(["--reuid=65534", "--regid=65534", "--clear-groups", "sh"]);
    }
    second.args(["-c", script, "sh"]).args(arguments).current_dir(there.path()).env_clear();
    second.env("PATH", std::env::var_os("PATH").unwrap_or_default());
    second.envs([("HOME", "/nonexistent"), ("TZ", "Asia/Kathmandu"), ("LC_ALL", "C.UTF-8")]);
    let second = run(&mut second);
    assert_eq!(first.lines().count(), 2, "{first}");
    assert_eq!(first, second);
    for file in files {
        assert!(
            fs_err::read(here.path().join(file)).unwrap() == fs_err::read(there.path().join(file)).unwrap()
        );
        assert_eq!(fs_err::metadata(there.path().join(file)).unwrap().mode() & 0o777, 0o644);
    }
}

#[test]
fn without_mkfs_erofs_it_is_said_what_is_missing() {
    let folder = program::folder();
    let mut kimg = program::kimg_quick(folder.path(), "build");
    kimg.env("PATH", "/nonexistent").args(["--arch", "amd64", "--variant", "plain"]);
    let answer = program::answer(kimg.args(["-o", "type=erofs,dest=e"]));
    // Where systems keep such programs is looked into in any case.
    let there = ["/usr/sbin", "/sbin"].iter().any(|f| Path::new(f).join("mkfs.erofs").exists());
    assert_eq!(answer.code, if there { 0 } else { 31 }, "{}", answer.story);
    assert_eq!(answer.story.contains("the package `erofs-utils` has it"), !there, "{}", answer.story);
}
