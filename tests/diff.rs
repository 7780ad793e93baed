//! `kimg diff`: held against what `umoci` unpacks of both images, and against what changed in the repository.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod program;

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::Command;

use assert_cmd::Command as Kimg;
use kimg_core::{Digest, Platform};
use kimg_testkit::{Layout, Real, RepositoryCopy, TempDir, run, skopeo_copy, tool, umoci_unpack};
use serde_json::Value;

const ONE: &str = "one";

/// A layout with one image for armv7 under the tag `one`.
fn build(real: &Real, repository: &Path, folder: &Path, name: &str, variant: &str) {
    let mut kimg = program::kimg(folder);
    kimg.arg("build").arg("-r").arg(repository).arg("-k").arg(real.keys());
    kimg.arg("--cache-dir").arg(program::shared_cache()).args(["--variant", variant, "--arch", "armv7"]);
    program::success(kimg.args(["--pack", "never", "-q", "-o", &format!("type=oci,dest={name}-all")]));
    let layout = Layout::open(folder.join(format!("{name}-all")));
    let (tag, _) = layout.names().swap_remove(0);
    let from = format!("oci:{}:{tag}", layout.folder().display());
    let _ = skopeo_copy(&from, &format!("oci:{}:{ONE}", folder.join(name).display()), Platform::ArmV7);
}

/// Two builds, `a` and `b`.
fn two(a: &str, b: &str) -> Option<(Real, TempDir)> {
    let real = kimg_testkit::real()?;
    tool("skopeo")?;
    let folder = program::folder();
    build(&real, &real.repo(), folder.path(), "a", a);
    build(&real, &real.repo(), folder.path(), "b", b);
    Some((real, folder))
}

fn diff(folder: &Path, a: &str, b: &str) -> Kimg {
    let mut kimg = program::kimg(folder);
    kimg.args(["diff", a, b]);
    kimg
}

/// What a path is on a disk: type, mode, owner, and target or digest.
type State = (char, u32, u32, u32, String);

fn unpacked(layout: &Path, folder: &Path) -> Option<BTreeMap<String, State>> {
    let root = umoci_unpack(layout, ONE, Platform::ArmV7, folder)?;
    let mut found = BTreeMap::new();
    let mut folders = vec![root.folder().to_owned()];
    while let Some(next) = folders.pop() {
        for entry in fs_err::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            let meta = fs_err::symlink_metadata(&path).unwrap();
            let (kind, what) = if meta.is_dir() {
                folders.push(path.clone());
                ('d', String::new())
            } else if meta.is_symlink() {
                ('l', fs_err::read_link(&path).unwrap().display().to_string())
            } else {
                ('f', Digest::of(fs_err::read(&path).unwrap()).to_string())
            };
            // A link's bits are the system's own.
            let mode = if kind == 'l' { 0o777 } else { meta.mode() & 0o7777 };
            let name = format!("/{}", path.strip_prefix(root.folder()).unwrap().display());
            found.insert(name, (kind, mode, meta.uid(), meta.gid(), what));
        }
    }
    Some(found)
}

/// The paths that differ between two unpacked images, each with `added`, `removed` or `changed`.
fn judged(a: &BTreeMap<String, State>, b: &BTreeMap<String, State>) -> BTreeMap<String, String> {
    let paths: BTreeSet<&String> = a.keys().chain(b.keys()).collect();
    let changes = paths.into_iter().filter(|path| a.get(*path) != b.get(*path)).map(|path| {
        let change = match (a.get(path), b.get(path)) {
            (None, _) => "added",
            (_, None) => "removed",
            _ => "changed",
        };
        (path.clone(), change.to_owned())
    });
    changes.collect()
}

fn told(report: &Value) -> BTreeMap<String, String> {
    let files = report["images"][0]["files"].as_array().unwrap().iter();
    files
        .map(|f| (f["path"].as_str().unwrap().to_owned(), f["change"].as_str().unwrap().to_owned()))
        .collect()
}

#[test]
fn the_files_that_differ_are_those_that_differ_unpacked() {
    let Some((_, folder)) = two("plain", "kubeadm") else { return };
    let at = |name: &str| folder.path().join(name);
    let (Some(a), Some(b)) = (unpacked(&at("a"), &at("a-root")), unpacked(&at("b"), &at("b-root"))) else {
        return;
    };
    let report = program::json(diff(folder.path(), "oci:a:one", "oci:b:one").args(["--format", "json"]));
    assert_eq!(told(&report), judged(&a, &b));
    let back = program::json(diff(folder.path(), "oci:b:one", "oci:a:one").args(["--format", "json"]));
    assert_eq!(told(&back), judged(&b, &a));
    let changes: BTreeSet<String> = told(&report).into_values().collect();
    assert_eq!(changes.len(), 2, "added and changed: {changes:?}");
    let image = &report["images"][0];
    let kubeadm =
        image["files"].as_array().unwrap().iter().find(|f| f["path"] == "/usr/bin/kubeadm").unwrap();
    assert_eq!(kubeadm["package"], "kubeadm");
    let package = image["packages"].as_array().unwrap().iter().find(|p| p["name"] == "kubeadm").unwrap();
    assert_eq!((&package["change"], &package["from"]), (&"added".into(), &Value::Null));
    assert_eq!(package["bytes_after"], kubeadm["after"]["size"]);
    // Plain's layers lie under kubeadm's: a node that has plain does not fetch them again.
    assert!(image["to_pull"].as_u64() < image["b"]["pull"].as_u64(), "{image}");
}

#[test]
fn an_updated_package_is_told_with_both_versions() {
    let Some(real) = kimg_testkit::real() else { return };
    let Some(_) = tool("skopeo") else { return };
    let folder = program::folder();
    let repository = RepositoryCopy::new(&real, Platform::ArmV7);
    build(&real, repository.path(), folder.path(), "a", "kubeadm");
    repository.update("iproute2", "6.1.0-r1");
    build(&real, repository.path(), folder.path(), "b", "kubeadm");
    let report = program::json(diff(folder.path(), "a", "b").args(["--format", "json"]));
    let packages = report["images"][0]["packages"].as_array().unwrap();
    let [iproute2] = &packages[..] else { panic!("{packages:#?}") };
    assert_eq!(iproute2["name"], "iproute2");
    assert_eq!(iproute2["change"], "upgraded");
    assert_eq!((&iproute2["from"], &iproute2["to"]), (&"6.1.0-r0".into(), &"6.1.0-r1".into()));
    let text = program::success(diff(folder.path(), "a", "b").args(["--format", "markdown"]));
    assert!(text.contains("| iproute2 | upgraded | 6.1.0-r0 → 6.1.0-r1 |"), "{text}");
    let back = program::success(&mut diff(folder.path(), "b", "a"));
    assert!(back.contains("downgraded") && back.contains("6.1.0-r1 → 6.1.0-r0"), "{back}");
}

#[test]
fn an_image_is_equal_to_its_copy_in_every_kind_of_archive() {
    let Some((_, folder)) = two("kube-proxy", "plain") else { return };
    let from = format!("oci:{}:{ONE}", folder.path().join("a").display());
    for kind in ["oci-archive", "docker-archive"] {
        let archive = format!("{kind}:{kind}.tar");
        let to = format!("{kind}:{}:x/y:1", folder.path().join(format!("{kind}.tar")).display());
        skopeo_copy(&from, &to, Platform::ArmV7).unwrap();
        let equal = program::success(diff(folder.path(), &archive, "oci:a").arg("--exit-code"));
        assert!(equal.contains("Equal"), "{equal}");
        let other = program::answer(diff(folder.path(), &archive, "oci:b").arg("--exit-code"));
        assert_eq!(other.code, 1, "{}", other.story);
        assert!(other.out.contains("/usr/bin/kubelet"), "{}", other.out);
    }
    // Without the flag, a difference is an answer and no failure.
    program::success(&mut diff(folder.path(), "a", "b"));
}

#[test]
fn what_another_maker_takes_away_with_a_whiteout_is_gone() {
    let Some((_, folder)) = two("kube-proxy", "kube-proxy") else { return };
    let Some(umoci) = tool("umoci") else { return };
    if !kimg_testkit::superuser() {
        return;
    }
    let bundle = folder.path().join("bundle");
    let image = format!("{}:{ONE}", folder.path().join("b").display());
    let umoci =
        |command: &[&str]| run(Command::new(&umoci).args(command).arg("--image").arg(&image).arg(&bundle));
    umoci(&["unpack"]);
    let root = bundle.join("rootfs");
    fs_err::remove_dir_all(root.join("usr/lib/xtables")).unwrap();
    fs_err::write(root.join("etc/services"), "ssh 22/tcp\n").unwrap();
    fs_err::write(root.join("etc/new"), "new\n").unwrap();
    umoci(&["repack"]);
    let at = |name: &str| folder.path().join(name);
    let (Some(a), Some(b)) = (unpacked(&at("a"), &at("a-root")), unpacked(&at("b"), &at("b-root"))) else {
        return;
    };
    let report = program::json(diff(folder.path(), "oci:a", "oci:b:one").args(["--format", "json"]));
    let told = told(&report);
    assert_eq!(told, judged(&a, &b));
    assert_eq!(told["/usr/lib/xtables"], "removed");
    assert_eq!((told["/etc/new"].as_str(), told["/etc/services"].as_str()), ("added", "changed"));
}

#[test]
fn images_of_several_variants_are_paired_by_variant() {
    let folder = program::folder();
    for (name, variants) in [("a", &["plain", "cni"][..]), ("b", &["cni", "flannel"])] {
        let mut kimg = program::kimg_sample(folder.path(), "build");
        for variant in variants {
            kimg.args(["--variant", variant]);
        }
        program::success(kimg.args(["-q", "-o", &format!("type=oci,dest={name}")]));
    }
    let report = program::json(diff(folder.path(), "a", "b").args(["--format", "json", "--arch", "armv7"]));
    assert_eq!(report["images"].as_array().unwrap().len(), 1);
    assert_eq!((&report["images"][0]["image"], &report["images"][0]["equal"]), (&"cni".into(), &true.into()));
    assert_eq!(report["only_in_a"][0]["image"], "plain");
    assert_eq!(report["only_in_b"][0]["image"], "flannel");
    assert_eq!(report["equal"], false);
}

#[test]
fn what_can_not_be_read_is_an_error_with_its_class_and_a_hint() {
    let folder = program::folder();
    let build = || {
        let mut kimg = program::kimg_sample(folder.path(), "build");
        program::success(kimg.args(["--variant", "plain", "--arch", "amd64", "-q", "-o", "type=oci,dest=a"]));
    };
    build();
    let refused = |a: &str, b: &str, code| program::failure(&mut diff(folder.path(), a, b), code);
    assert!(refused("https://x/y", "a", 2).contains("kimg pull"));
    assert!(refused("oci:a:nonsuch", "a", 13).contains("its tags are"));
    assert!(refused("nowhere", "a", 11).contains("not an OCI image layout"));
    assert!(refused("oci-archive:nowhere.tar", "a", 30).contains("nowhere.tar"));
    fs_err::write(folder.path().join("x.tar"), [0x1f, 0x8b, 8, 0]).unwrap();
    assert!(refused("oci-archive:x.tar", "a", 11).contains("unpack it first"));

    // A layer with other bytes under the same name.
    let layout = Layout::open(folder.path().join("a"));
    let (_, index) = layout.names().swap_remove(0);
    let layer = layout.layers(layout.manifest(index, Platform::Amd64).unwrap())[0];
    let mut bytes = fs_err::read(layout.blob(layer)).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0xff;
    fs_err::write(layout.blob(layer), bytes).unwrap();
    let answer = program::answer(&mut diff(folder.path(), "a", "a"));
    assert!(matches!(answer.code, 10 | 11), "{}", answer.story);
    assert!(
        answer.story.contains(&layer.to_string()) || answer.story.contains("damaged"),
        "{}",
        answer.story
    );
    fs_err::remove_file(layout.blob(layer)).unwrap();
    assert!(refused("a", "a", 30).contains("has no blob"));
}
