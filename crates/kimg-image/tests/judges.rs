//! skopeo, umoci and GNU tar as judges: they take what was written, and find in it what was meant.

#![expect(clippy::unwrap_used, reason = "a test that panics has failed, as it should")]

mod sample;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use kimg_core::{Digest, Platform};
use kimg_image::{Tagged, join, write_docker_archive, write_layout, write_oci_archive};
use kimg_layer::Codec;
use sample::{image, multi, store, tagged};

/// Whether a program is there. If not, that is said; where everything must run, it is an error.
fn has(program: &str) -> bool {
    if Command::new(program).arg("--version").output().is_ok() {
        return true;
    }
    let required = std::env::var_os("KIMG_REQUIRE_ALL").is_some_and(|v| v == "1");
    assert!(!required, "KIMG_REQUIRE_ALL: {program} is not installed");
    println!("SKIPPED: {program} is not installed");
    false
}

fn run(program: &str, args: &[&str]) -> Vec<u8> {
    let output = Command::new(program).args(args).output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {args:?}: {}: {error}", output.status);
    output.stdout
}

fn skopeo(args: &[&str]) -> Vec<u8> {
    run("skopeo", &[&["--insecure-policy"], args].concat())
}

/// What makes skopeo choose a platform.
fn choose(platform: Platform) -> Vec<String> {
    let mut flags = vec!["--override-arch".to_owned(), platform.oci_architecture().to_owned()];
    if let Some(variant) = platform.oci_variant() {
        flags.extend(["--override-variant".to_owned(), variant.to_owned()]);
    }
    flags
}

fn with<'a>(flags: &'a [String], args: &[&'a str]) -> Vec<&'a str> {
    flags.iter().map(String::as_str).chain(args.iter().copied()).collect()
}

/// The digests of the layers in a `dir:` that skopeo wrote.
fn layers_in(dir: &Path) -> Vec<Digest> {
    let manifest: serde_json::Value =
        serde_json::from_slice(&fs_err::read(dir.join("manifest.json")).unwrap()).unwrap();
    let layers = manifest["layers"].as_array().unwrap();
    layers.iter().map(|layer| layer["digest"].as_str().unwrap().parse().unwrap()).collect()
}

#[test]
fn skopeo_finds_the_index_behind_every_tag_byte_by_byte() {
    if !has("skopeo") {
        return;
    }
    let (dir, blobs) = store();
    let images =
        [tagged(&blobs, "one", &["v1", "latest"]), tagged(&blobs, "two", &["v1-cni", "kubelet:v1.34.2"])];
    let out = dir.path().join("out");
    write_layout(&out, &images, &blobs).unwrap();
    for Tagged { tags, image } in &images {
        for tag in tags {
            assert_eq!(skopeo(&["inspect", "--raw", &format!("oci:{}:{tag}", out.display())]), image.bytes);
        }
    }
}

#[test]
fn skopeo_chooses_each_platform_and_copies_its_layers() {
    if !has("skopeo") {
        return;
    }
    for codec in [Codec::Gzip { level: 6 }, Codec::Zstd { level: 3, window: None }] {
        let (dir, blobs) = store();
        let image = multi(&blobs, codec, "one");
        let out = dir.path().join("out");
        write_layout(&out, &[Tagged { tags: vec!["v1".into()], image: image.clone() }], &blobs).unwrap();
        let from = format!("oci:{}:v1", out.display());
        for one in &image.images {
            let flags = choose(one.platform);
            let said: serde_json::Value =
                serde_json::from_slice(&skopeo(&with(&flags, &["inspect", &from]))).unwrap();
            assert_eq!(said["Architecture"], one.platform.oci_architecture());
            assert_eq!(said["Created"], "2023-11-14T22:13:20Z");
            assert_eq!(said["Labels"]["io.kimg.test"], "yes");
            assert_eq!(said["Env"], serde_json::json!(["A=1=2", "PATH=/bin"]));
            let config = skopeo(&with(&flags, &["inspect", "--config", "--raw", &from]));
            assert_eq!(config, one.config);

            let to = dir.path().join(one.platform.short());
            skopeo(&with(&flags, &["copy", &from, &format!("dir:{}", to.display())]));
            assert_eq!(layers_in(&to), one.layers.iter().map(|l| l.digest).collect::<Vec<_>>());
            assert_eq!(fs_err::read(to.join("manifest.json")).unwrap(), one.manifest);
        }
    }
}

#[test]
fn skopeo_copies_all_platforms_at_once() {
    if !has("skopeo") {
        return;
    }
    let (dir, blobs) = store();
    let images = [tagged(&blobs, "one", &["v1"])];
    let (out, copy) = (dir.path().join("out"), dir.path().join("copy"));
    write_layout(&out, &images, &blobs).unwrap();
    skopeo(&["copy", "--all", &format!("oci:{}:v1", out.display()), &format!("dir:{}", copy.display())]);
    assert_eq!(fs_err::read(copy.join("manifest.json")).unwrap(), images[0].image.bytes);
}

#[test]
fn skopeo_reads_an_oci_archive() {
    if !has("skopeo") {
        return;
    }
    let (dir, blobs) = store();
    let images = [tagged(&blobs, "one", &["v1"]), tagged(&blobs, "two", &["v2"])];
    let archive = dir.path().join("images.tar");
    fs_err::write(&archive, write_oci_archive(Vec::new(), &images, &blobs).unwrap()).unwrap();
    for (Tagged { image, .. }, tag) in images.iter().zip(["v1", "v2"]) {
        let to = dir.path().join(tag);
        let from = format!("oci-archive:{}:{tag}", archive.display());
        skopeo(&["copy", "--all", &from, &format!("dir:{}", to.display())]);
        assert_eq!(fs_err::read(to.join("manifest.json")).unwrap(), image.bytes);
    }
}

#[test]
fn skopeo_reads_every_image_of_a_docker_archive() {
    if !has("skopeo") {
        return;
    }
    for codec in [Codec::Gzip { level: 6 }, Codec::Zstd { level: 3, window: None }] {
        let (dir, blobs) = store();
        let [one, two] = ["one", "two"].map(|text| image(&blobs, codec, Platform::ArmV7, text));
        let images = [("acme/kubelet:v1".to_owned(), &one), ("acme/kubelet:v1-cni".to_owned(), &two)];
        let archive = dir.path().join("images.tar");
        fs_err::write(&archive, write_docker_archive(Vec::new(), &images, &blobs).unwrap()).unwrap();
        for (name, image) in images {
            let from = format!("docker-archive:{}:{name}", archive.display());
            assert_eq!(skopeo(&["inspect", "--config", "--raw", &from]), image.config);
            let to = dir.path().join(name.replace(['/', ':'], "-"));
            skopeo(&["copy", &from, &format!("dir:{}", to.display())]);
            // skopeo unpacks the layers: what it has then are the diff IDs of the config.
            let config: serde_json::Value = serde_json::from_slice(&image.config).unwrap();
            let found: Vec<_> = layers_in(&to).iter().map(ToString::to_string).collect();
            assert_eq!(serde_json::json!(found), config["rootfs"]["diff_ids"]);
        }
    }
}

#[test]
fn umoci_unpacks_a_platform_that_skopeo_copied_out() {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};
    if !has("skopeo") || !has("umoci") {
        return;
    }
    let (dir, blobs) = store();
    let (out, one) = (dir.path().join("out"), dir.path().join("one"));
    write_layout(&out, &[tagged(&blobs, "text", &["v1"])], &blobs).unwrap();
    let (from, to) = (format!("oci:{}:v1", out.display()), format!("oci:{}:v1", one.display()));
    skopeo(&with(&choose(Platform::ArmV7), &["copy", &from, &to]));

    let bundle = dir.path().join("bundle");
    let image = format!("{}:v1", one.display());
    let rootless = fs_err::metadata("/proc/self").unwrap().uid() != 0;
    let flags: &[&str] = if rootless { &["unpack", "--rootless"] } else { &["unpack"] };
    run("umoci", &[flags, &["--image", &image, bundle.to_str().unwrap()]].concat());
    let root = bundle.join("rootfs");
    let stat = |name: &str| fs_err::symlink_metadata(root.join(name)).unwrap();
    assert_eq!(fs_err::read_to_string(root.join("text")).unwrap(), "text for linux/arm/v7");
    assert_eq!(fs_err::read_to_string(root.join("é".repeat(60))).unwrap(), "long");
    assert_eq!(stat("bin/su").permissions().mode() & 0o7777, 0o4755);
    assert_eq!(stat("bin/a").ino(), stat("bin/b").ino());
    assert_eq!(fs_err::read_link(root.join("bin/sh")).unwrap(), Path::new("a"));
    let config: serde_json::Value =
        serde_json::from_slice(&fs_err::read(bundle.join("config.json")).unwrap()).unwrap();
    assert_eq!(config["process"]["args"], serde_json::json!(["/bin/a", "--flag", "run"]));
    assert_eq!(config["process"]["cwd"], "/bin");
}

#[test]
fn umoci_looks_through_an_index_with_one_image() {
    if !has("umoci") {
        return;
    }
    let (dir, blobs) = store();
    let one = image(&blobs, Codec::Gzip { level: 6 }, Platform::Arm64, "text");
    let image = join(vec![one], BTreeMap::new()).unwrap();
    write_layout(&dir.path().join("out"), &[Tagged { tags: vec!["v1".into()], image }], &blobs).unwrap();
    let said =
        run("umoci", &["stat", "--json", "--image", &format!("{}:v1", dir.path().join("out").display())]);
    let said: serde_json::Value = serde_json::from_slice(&said).unwrap();
    let history = said["history"].as_array().unwrap();
    assert_eq!(history.len(), 2);
    assert_eq!(history[0]["created_by"], "kimg: test");
}

#[test]
fn gnu_tar_lists_an_oci_archive_without_owners_or_times() {
    if !has("tar") {
        return;
    }
    let (dir, blobs) = store();
    let archive = dir.path().join("images.tar");
    let images = [tagged(&blobs, "one", &["v1"])];
    fs_err::write(&archive, write_oci_archive(Vec::new(), &images, &blobs).unwrap()).unwrap();
    let list = run("tar", &["--utc", "--full-time", "-tvf", archive.to_str().unwrap()]);
    let list = String::from_utf8(list).unwrap();
    let lines: Vec<&str> = list.lines().collect();
    assert_eq!(lines.len(), 4 + 11);
    assert!(lines[0].ends_with("oci-layout") && lines[1].ends_with("index.json"), "{list}");
    for line in lines {
        assert!(line.contains(" 0/0 ") && line.contains(" 1970-01-01 00:00:00 "), "{line}");
    }
}
