//! `kimg check` and `kimg needs` of images that exist already, of musl's programs and of glibc's: as the loaders in them say.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod program;

use std::path::Path;
use std::process::Command;

use assert_cmd::Command as Kimg;
use kimg_core::Platform;
use kimg_testkit::{
    Layout, TempDir, both, debian_root, run, skopeo_copy, superuser, tool, umoci_stack, umoci_unpack,
};

fn check(folder: &Path, root: &str) -> Kimg {
    let mut kimg = program::kimg(folder);
    kimg.args(["check", "--root", root]);
    kimg
}

/// A layout `images`: under `whole` a part of a Debian root, under `broken` the same with a layer over it that takes a
/// library away.
fn debian() -> Option<TempDir> {
    let debian = debian_root()?;
    let folder = program::folder();
    let script = r#"
tar -cf whole.tar -C "$1" bin sbin lib lib64 etc usr/bin/ls usr/bin/bash usr/bin/id usr/bin/mount usr/sbin/ip \
    usr/lib64 usr/lib/x86_64-linux-gnu
mkdir -p top/usr/lib/x86_64-linux-gnu; touch top/usr/lib/x86_64-linux-gnu/.wh.libselinux.so.1
tar -cf top.tar -C top usr"#;
    run(Command::new("sh").args(["-ec", script, "sh"]).arg(debian).current_dir(folder.path()));
    let layers = ["whole.tar", "top.tar"].map(|layer| folder.path().join(layer));
    umoci_stack(&folder.path().join("whole"), "a", &layers[..1])?;
    umoci_stack(&folder.path().join("broken"), "a", &layers)?;
    Some(folder)
}

#[test]
fn every_program_of_an_image_of_glibc_programs_is_checked_and_what_its_loader_misses_is_found() {
    let Some(folder) = debian() else { return };
    let whole = program::success(&mut check(folder.path(), "oci:whole:a"));
    assert!(whole.ends_with(" symbols looked at\n") && !whole.contains('✗'), "{whole}");
    assert!(whole.contains("oci:whole:a for linux/amd64, "), "{whole}");
    assert_eq!(
        whole,
        program::success(&mut check(folder.path(), "whole")).replace("whole for", "oci:whole:a for")
    );

    let broken = program::answer(&mut check(folder.path(), "oci:broken:a"));
    assert_eq!(broken.code, 13, "{}", broken.story);
    let says = "✗ `/usr/bin/ls` needs `libselinux.so.1`, which is not in ";
    assert!(broken.out.contains(says), "{}", broken.out);
    // What does not need it is not told of.
    assert!(!broken.out.contains("`/usr/bin/bash`"), "{}", broken.out);
    let mut only = check(folder.path(), "oci:broken:a");
    program::success(only.arg("/usr/bin/bash"));

    let at = folder.path().join("root");
    let Some(root) = umoci_unpack(&folder.path().join("broken"), "a", Platform::Amd64, &at) else { return };
    let Some(refused) = root.run(&["/usr/bin/ls"], &[]) else { return };
    assert!(both(&refused).contains("libselinux.so.1: cannot open shared object file"), "{}", both(&refused));
    assert!(root.run(&["/usr/bin/bash", "-c", "true"], &[]).unwrap().status.success());
}

#[test]
fn every_program_of_alpines_base_image_is_checked_and_fits() {
    let Some(real) = kimg_testkit::real() else { return };
    let folder = program::folder();
    let script = "gzip -dc \"$1\" > base.tar";
    run(Command::new("sh")
        .args(["-ec", script, "sh"])
        .arg(real.minirootfs(Platform::Amd64))
        .current_dir(folder.path()));
    let layer = folder.path().join("base.tar");
    if umoci_stack(&folder.path().join("images"), "a", &[layer]).is_none() {
        return;
    }
    let text = program::success(&mut check(folder.path(), "oci:images:a"));
    assert!(text.starts_with(" no findings: oci:images:a for linux/amd64, "), "{text}");
    let story = program::failure(check(folder.path(), "oci:images:a").args(["--arch", "armv7"]), 13);
    assert!(
        story.contains("has no image for linux/arm/v7") && story.contains("it has linux/amd64"),
        "{story}"
    );
    let story = program::failure(&mut check(folder.path(), "oci:images:b"), 13);
    assert!(story.contains("no tag `b`") && story.contains("its tags are a"), "{story}");
    let story = program::failure(&mut check(folder.path(), "docker-archive:base.tar"), 11);
    assert!(story.contains("it has no `manifest.json`"), "{story}");
}

#[test]
fn an_image_is_checked_and_looked_into_alike_in_a_layout_in_archives_and_unpacked() {
    let Some(real) = kimg_testkit::real() else { return };
    if tool("skopeo").is_none() || !superuser() {
        return;
    }
    let folder = program::folder();
    let at = |name: &str| folder.path().join(name);
    let mut build = program::kimg_on(&real, folder.path(), "build");
    program::success(build.args(["--variant", "plain", "--pack", "never", "-q", "-o", "images"]));
    let name = Layout::open(at("images")).names()[0].0.clone();
    let from = format!("oci:{}:{name}", at("images").display());
    let platform = Platform::ArmV7;
    for kind in ["oci-archive", "docker-archive"] {
        skopeo_copy(&from, &format!("{kind}:{}:x/plain:one", at(kind).display()), platform).unwrap();
    }
    let everything = program::success(&mut check(folder.path(), "images"));
    assert!(everything.starts_with(" no findings: 3 images, "), "{everything}");
    let objects = |root: &str, arch: &[&str]| {
        let text = program::success(check(folder.path(), root).args(arch));
        text.split_once("linux/arm/v7, ").unwrap_or_else(|| panic!("{text}")).1.to_owned()
    };
    let one = objects("images", &["--arch", "armv7"]);
    assert_eq!(one, objects("oci-archive:oci-archive", &[]));
    assert_eq!(one, objects("docker-archive:docker-archive", &["--platform", "linux/arm/v7"]));

    let Some(root) = umoci_unpack(&at("images"), &name, platform, &at("unpacked")) else { return };
    let needs = |root: &str, words: &[&str]| {
        let mut kimg = program::kimg(folder.path());
        kimg.args(["needs", "/sbin/iptables", "--root", root, "--format", "json"]);
        program::json(kimg.args(words))
    };
    let unpacked = needs(root.folder().to_str().unwrap(), &[]);
    assert!(unpacked["nodes"].as_array().unwrap().len() > 20);
    assert_eq!(needs("images", &["--arch", "armv7"]), unpacked);
    assert_eq!(needs("docker-archive:docker-archive", &[]), unpacked);
    let mut missing = program::kimg(folder.path());
    let story = program::failure(missing.args(["needs", "--root", "images", "/sbin/nonsuch"]), 13);
    assert!(story.contains("`/sbin/nonsuch` is not in images"), "{story}");
}
