//! The projects in `examples/` do what they say.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod program;

use kimg_core::Platform;

/// A copy of an example, so that nothing is built in the checkout.
fn copy(example: &str) -> kimg_testkit::TempDir {
    let folder = program::folder();
    let from = kimg_testkit::workspace().join("examples").join(example);
    kimg_testkit::run(std::process::Command::new("cp").arg("-r").arg(from.join(".")).arg(folder.path()));
    folder
}

#[test]
fn the_folder_project_builds_its_seventh_variant_with_a_shell_that_starts() {
    let Some(real) = kimg_testkit::real() else { return };
    let folder = copy("folder");
    std::os::unix::fs::symlink(real.repo(), folder.path().join("repo")).unwrap();
    std::os::unix::fs::symlink(real.keys(), folder.path().join("keys")).unwrap();
    let mut kimg = program::kimg(folder.path());
    kimg.args(["build", "--variant", "debug", "--arch", "armv7", "--pack", "never", "-q", "--cache-dir"]);
    let lines = program::success(kimg.arg(program::shared_cache()));
    let name = lines.lines().next().unwrap().split('@').next().unwrap().to_owned();
    assert_eq!(name, "kubelet:v1.20.2-debug-alpine3.15");
    assert!(folder.path().join("kimg.lock").is_file(), "a project is locked by its first build");

    let unpacked = folder.path().join("unpacked");
    let layout = folder.path().join("images");
    let Some(root) = kimg_testkit::umoci_unpack(&layout, &name, Platform::ArmV7, &unpacked) else { return };
    let Some(said) = root.run(&["/bin/sh", "-c", "echo a shell"], &[]) else { return };
    assert_eq!(String::from_utf8_lossy(&said.stdout), "a shell\n");
    let Some(said) = root.run(&["ip", "-V"], &[]) else { return };
    assert!(kimg_testkit::both(&said).contains("iproute2"), "{said:?}");
}

#[test]
fn the_portable_project_has_cri_o_in_containerds_place() {
    let Some(real) = kimg_testkit::real() else { return };
    let (Some(unsquashfs), Some(analyze)) =
        (kimg_testkit::tool("unsquashfs"), kimg_testkit::tool("systemd-analyze"))
    else {
        return;
    };
    let folder = copy("portable-crio");
    let programs = folder.path().join("programs/amd64");
    fs_err::create_dir_all(&programs).unwrap();
    for name in ["crio", "pinns", "conmon"] {
        let stand_in = kimg_testkit::sample::elf::Program::fixed(Platform::Amd64, "a stand-in\n").build();
        fs_err::write(programs.join(name), stand_in).unwrap();
    }
    let mut kimg = program::kimg(folder.path());
    kimg.arg("build").arg("-r").arg(real.repo()).arg("-k").arg(real.keys()).args(["--pack", "never", "-q"]);
    let said = program::success(kimg.arg("--cache-dir").arg(program::shared_cache()));
    assert!(said.starts_with("images/kubelet_1.20.2-crio_x86-64.raw@"), "{said}");

    let tree = folder.path().join("tree");
    let image = folder.path().join("images/kubelet_1.20.2-crio_x86-64.raw");
    let mut unpack = std::process::Command::new(unsquashfs);
    kimg_testkit::run(unpack.args(["-q", "-n", "-no-xattrs", "-d"]).arg(&tree).arg(image));
    for unit in ["kubelet-runtime.service", "kubelet.service"] {
        let mut verify = std::process::Command::new(&analyze);
        verify.args(["verify", "--man=no", "--recursive-errors=no"]);
        let said = kimg_testkit::run(verify.arg(format!("--root={}", tree.display())).arg(unit));
        assert_eq!(said, "");
    }
    let kubelet = fs_err::read_to_string(tree.join("usr/lib/systemd/system/kubelet.service")).unwrap();
    assert!(kubelet.contains(" --container-runtime-endpoint=unix:///run/crio/crio.sock "), "{kubelet}");
    for (path, there) in [("usr/bin/crio", true), ("usr/bin/runc", true), ("usr/bin/containerd", false)] {
        assert_eq!(tree.join(path).exists(), there, "{path}");
    }
}

#[test]
fn the_mirror_project_asks_alpines_own_mirror_and_the_default_does_too() {
    let folder = copy("alpine-mirror");
    let ask = |folder: &std::path::Path| {
        program::failure(program::kimg(folder).args(["build", "--offline", "--cache-dir", "cache"]), 20)
    };
    let story = ask(folder.path());
    assert!(
        story.contains("https://dl-cdn.alpinelinux.org/alpine/v3.22/main/x86_64/APKINDEX.tar.gz"),
        "{story}"
    );
    assert!(!folder.path().join("images").exists() && !folder.path().join("kimg.lock").exists());
    let empty = program::folder();
    let story = ask(empty.path());
    assert!(story.contains("https://dl-cdn.alpinelinux.org/alpine/latest-stable/main/x86_64/"), "{story}");
}

#[test]
#[ignore = "ten seconds of tar and gzip: in .ci/proofs"]
fn the_earlier_way_by_hand_comes_to_about_the_sizes_that_were_measured_first() {
    let Some(_) = kimg_testkit::real() else { return };
    if !kimg_testkit::superuser() {
        return;
    }
    let script = kimg_testkit::workspace().join("examples/seed-way/make");
    let said = kimg_testkit::run(std::process::Command::new(script).args(["plain", "amd64", "--no-upx"]));
    let bytes: Vec<f64> = said.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    for (now, first) in bytes.iter().zip([25_504_289.0, 83_343_360.0_f64]) {
        assert!((now / first - 1.0).abs() < 0.01, "{said}");
    }
    assert_eq!(bytes.len(), 2, "{said}");
}
