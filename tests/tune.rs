//! What images are made small for: objectives, one layer or several, gzip or zstd; and `kimg tune`, whose choice builds follow.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod program;

use std::collections::BTreeSet;
use std::path::Path;

use assert_cmd::Command;
use kimg_core::Platform;
use kimg_testkit::{Layout, Real};
use serde_json::Value;

fn build(real: &Real, folder: &Path, variant: &str, arch: &str, flags: &[&str]) -> Command {
    let mut kimg = program::kimg_on(real, folder, "build");
    kimg.args(["--variant", variant, "--arch", arch, "--format", "json"]).args(flags);
    kimg
}

/// The media types of the layers of the only image that this tag leads to.
fn media_types(layout: &Layout, tag: &str) -> Vec<String> {
    let (_, index) = layout.names().into_iter().find(|(name, _)| name.ends_with(tag)).unwrap();
    let manifest = layout.manifest(index, Platform::ArmV7).unwrap();
    let layers = layout.json(manifest)["layers"].as_array().unwrap().clone();
    layers.iter().map(|layer| layer["mediaType"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn one_layer_holds_the_same_files_as_several_and_zstd_has_tags_of_its_own() {
    let Some(real) = kimg_testkit::real() else { return };
    let folder = program::folder();
    let one = |flags: &[&str]| {
        let mut all = vec!["--pack", "never"];
        all.extend(flags);
        program::json(&mut build(&real, folder.path(), "plain", "armv7", &all))
    };
    one(&["--level", "1", "-o", "shared"]);
    one(&["--compression", "zstd:3", "--layers", "single", "-o", "single"]);

    let shared = Layout::open(folder.path().join("shared"));
    let single = Layout::open(folder.path().join("single"));
    let gzip = media_types(&shared, ":v1.20.2");
    assert!(gzip.len() > 2 && gzip.iter().all(|t| t.ends_with("tar+gzip")), "{gzip:?}");
    assert_eq!(media_types(&single, ":v1.20.2-zstd"), ["application/vnd.oci.image.layer.v1.tar+zstd"]);
    let tags: BTreeSet<String> = single.names().into_iter().map(|(name, _)| name).collect();
    let suffixed = ["kubelet:v1.20-zstd", "kubelet:v1.20.2-alpine3.15-zstd", "kubelet:v1.20.2-zstd"];
    assert_eq!(tags, suffixed.map(str::to_owned).into());

    let mut diff = program::kimg(folder.path());
    diff.args(["diff", "oci:shared:kubelet:v1.20.2", "oci:single:kubelet:v1.20.2-zstd", "--format", "json"]);
    let answer = program::answer(&mut diff);
    let found: Value = serde_json::from_str(&answer.out).unwrap();
    let files = found["images"][0]["files"].as_array().unwrap();
    assert!(files.is_empty(), "{files:?}");
}

#[test]
fn aims_that_contradict_each_other_are_refused() {
    let folder = program::folder();
    for (flags, said) in [
        (&["--compression", "gzip", "--window", "64MiB"][..], "gzip:19:window=64MiB"),
        (&["--compression", "zstd:3", "--level", "4"], "has a level already"),
        (&["--optimize", "speed"], "pull, disk, balanced"),
        (&["--layers", "two"], "shared, single"),
        (&["--compression", "zstd", "--window", "1GiB"], "1GiB"),
    ] {
        let mut kimg = program::kimg_sample(folder.path(), "build");
        let story = program::failure(kimg.args(flags), 2);
        assert!(story.contains(said), "{flags:?}: {story}");
    }
}

#[test]
fn what_is_tuned_is_pinned_and_builds_follow_it() {
    let Some(real) = kimg_testkit::real() else { return };
    if kimg_testkit::tool("upx").is_none() {
        return;
    }
    let folder = program::folder();
    let path = folder.path();
    fs_err::write(path.join("kimg.toml"), "optimize = 'balanced'\n").unwrap();
    let mut tune = program::kimg_on(&real, path, "tune");
    let tuned = program::json(tune.args(["--variant", "flannel", "--arch", "amd64", "--format", "json"]));
    assert_eq!(tuned["aims"], "balanced gzip shared");

    let programs = tuned["programs"].as_array().unwrap();
    let of = |name: &str| {
        let named = |group: &&Value| group["programs"][0].as_str().unwrap().ends_with(name);
        programs.iter().find(named).unwrap_or_else(|| panic!("{name}: {tuned}"))
    };
    let kubelet = of("/kubelet");
    let chosen =
        |group: &Value| group["ways"][usize::try_from(group["chosen"].as_u64().unwrap()).unwrap()].clone();
    assert_eq!(chosen(kubelet)["packing"], "strip", "a daemon is not packed");
    let bridge = of("/bridge");
    let size = |way: &Value, what: &str| way[what].as_u64().unwrap();
    let (plain, best) = (bridge["ways"][0].clone(), chosen(bridge));
    for way in bridge["ways"].as_array().unwrap() {
        assert!(size(&best, "cost") <= size(way, "cost"), "{bridge}");
        assert!(way["start"].is_object(), "it can be started here: {way}");
    }
    assert!(size(&best, "disk") < size(&plain, "disk"), "{bridge}");

    let lock = fs_err::read_to_string(path.join("kimg.lock")).unwrap();
    assert!(lock.contains("[[packing]]") && lock.contains("[[layer]]"), "{lock}");
    let packed = |report: &Value| {
        let programs = report["images"][0]["packed"].as_array().unwrap();
        let bridge = programs.iter().find(|p| p["path"].as_str().unwrap().ends_with("/bridge")).unwrap();
        bridge["packed"].as_u64()
    };
    let report = program::json(&mut build(&real, path, "flannel", "amd64", &["--locked"]));
    assert_eq!(packed(&report), Some(size(&best, "disk")));

    // Whatever the lock says is done, and no more; what it says of other aims is nothing to this build.
    let block = lock.split("\n\n").find(|block| block.contains("/bridge\"")).unwrap();
    let field = |name: &str| {
        let value = block.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(" = "));
        value.unwrap_or_else(|| panic!("{name}: {block}")).trim_matches('"').to_owned()
    };
    let (way, result) = (field("packing"), field("result"));
    let plain_pin: String = block
        .lines()
        .filter(|line| !line.starts_with("result"))
        .map(|line| line.replace(&way, "plain") + "\n")
        .collect();
    fs_err::write(path.join("kimg.lock"), lock.replace(block, plain_pin.trim_end())).unwrap();
    assert_eq!(packed(&program::json(&mut build(&real, path, "flannel", "amd64", &["--locked"]))), None);

    // A packer that makes something else than was pinned is noticed.
    fs_err::write(path.join("kimg.lock"), lock.replace(&result, &format!("sha256:{}", "0".repeat(64))))
        .unwrap();
    let story = program::failure(&mut build(&real, path, "flannel", "amd64", &["--locked"]), 41);
    assert!(story.contains("/opt/cni/bin/bridge is not packed into the same bytes"), "{story}");
}
