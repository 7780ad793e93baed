//! `kimg matrix` and budgets: sizes of anybody's images, what changed, what a node pulls, and what may not grow.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod program;

use std::path::Path;
use std::process::Command;

use assert_cmd::Command as Kimg;
use kimg_core::Platform;
use kimg_testkit::{TempDir, skopeo_copy, tool};
use serde_json::Value;

const PLAIN: [&str; 4] = ["--variant", "plain", "--arch", "amd64"];

fn matrix(folder: &Path, words: &[&str]) -> Kimg {
    let mut kimg = program::kimg(folder);
    kimg.arg("matrix").args(words);
    kimg
}

fn sizes(folder: &Path, words: &[&str]) -> Value {
    program::json(matrix(folder, words).args(["--format", "json"]))
}

/// A folder with the sample's plain for amd64 in `out`.
fn sample() -> TempDir {
    let folder = program::folder();
    program::success(program::kimg_sample(folder.path(), "build").args(PLAIN));
    folder
}

fn build(folder: &Path, settings: &str) -> Kimg {
    fs_err::write(folder.join("kimg.toml"), settings).unwrap();
    let mut kimg = program::kimg_sample(folder, "build");
    kimg.args(PLAIN).args(["-o", "type=oci,dest=next"]);
    kimg
}

#[test]
fn one_byte_over_the_budget_fails_the_build_and_nothing_is_written() {
    let folder = sample();
    let entry = sizes(folder.path(), &[])["entries"][0].clone();
    for (what, size) in [("compressed", &entry["compressed"]), ("extracted", &entry["extracted"])] {
        let size = size.as_u64().unwrap();
        let next = folder.path().join("next");
        let over = format!(
            "[budget.plain]\narm64 = {{ {what} = \"1 B\" }}\namd64 = {{ {what} = \"{} B\" }}\n",
            size - 1
        );
        let story = program::failure(&mut build(folder.path(), &over), 40);
        assert!(story.contains(&format!(" bytes {what}, 1 more than ")), "{story}");
        assert!(
            story.contains("no earlier matrix has this image") && story.contains("/usr/bin/kubelet: +"),
            "{story}"
        );
        assert!(!next.exists() && !folder.path().join("kimg.lock").exists(), "nothing is written");
        let exact = format!("[budget.plain]\n{what} = \"{size} B\"\n");
        program::success(&mut build(folder.path(), &exact));
        assert!(next.join("index.json").is_file());
        fs_err::remove_dir_all(next).unwrap();
        let _ = fs_err::remove_file(folder.path().join("kimg.lock"));
    }
}

#[test]
fn a_build_over_its_budget_tells_what_grew_since_the_last_matrix() {
    let folder = sample();
    fs_err::write(folder.path().join("README.md"), "<!-- kimg:matrix:begin -->\n<!-- kimg:matrix:end -->\n")
        .unwrap();
    program::success(&mut matrix(folder.path(), &["--readme", "README.md"]));
    let budget = "[budget.plain]\nextracted = \"1 kB\"\n";
    let story = program::failure(build(folder.path(), budget).args(["--contents", "packages"]), 40);
    assert!(story.contains("since kubelet:v1.34.2-sample, in bytes:"), "{story}");
    assert!(story.contains(", new") && !story.contains("/usr/bin/kubelet: +"), "{story}");
    // The same image is over, too, but nothing of it grew.
    let story = program::failure(&mut build(folder.path(), budget), 40);
    assert!(story.contains("no file differs"), "{story}");
    fs_err::write(folder.path().join("README.matrix.json"), "{").unwrap();
    let story = program::failure(&mut build(folder.path(), budget), 40);
    assert!(story.contains("README.matrix.json is no size matrix"), "{story}");
}

#[test]
fn a_variant_of_ones_own_has_its_budget_in_its_own_file() {
    let folder = program::folder();
    fs_err::create_dir(folder.path().join("variants")).unwrap();
    let variant = "name = \"small\"\ndescription = \"plain, but small\"\nextends = [\"plain\"]\n\
                   tag-suffix = \"small\"\nbudget = { compressed = \"20 MB\", amd64 = { compressed = \"10 B\" } }\n";
    fs_err::write(folder.path().join("variants/small.toml"), variant).unwrap();
    fs_err::write(folder.path().join("kimg.toml"), "variant-folder = \"variants\"\n").unwrap();
    let build = |arch: &str| {
        let mut kimg = program::kimg_sample(folder.path(), "build");
        kimg.args(["--variant", "small", "--arch", arch]);
        kimg
    };
    let story = program::failure(&mut build("amd64"), 40);
    assert!(story.contains("small for linux/amd64: ") && story.contains(" more than 10 B"), "{story}");
    program::success(&mut build("arm64"));
    let settings = "variant-folder = \"variants\"\n[budget.small]\nextracted = \"1 GB\"\n";
    fs_err::write(folder.path().join("kimg.toml"), settings).unwrap();
    program::success(&mut build("amd64"));
}

#[test]
fn a_budget_that_cannot_be_meant_is_shown_where_it_stands() {
    let folder = program::folder();
    let story = program::failure(&mut build(folder.path(), "\n[budget.plain]\ncompressed = \"41 Mb\"\n"), 2);
    assert!(story.contains("kimg.toml:3:14") && story.contains("\"41 MB\" or \"41 MiB\""), "{story}");
    let story = program::failure(&mut build(folder.path(), "[budget.plane]\ncompressed = \"41 MB\"\n"), 2);
    assert!(story.contains("there is no variant `plane`") && story.contains("plain, flannel"), "{story}");
}

#[test]
fn check_says_what_differs_in_the_readme_beside_it_and_in_the_picture() {
    let folder = sample();
    let at = |name: &str| folder.path().join(name);
    fs_err::create_dir(at("docs")).unwrap();
    let empty = "# Sizes\n<!-- kimg:matrix:begin -->\n<!-- kimg:matrix:end -->\n";
    fs_err::write(at("docs/README.md"), empty).unwrap();
    let update = ["--readme", "docs/README.md", "--chart", "docs/sizes.svg"];
    let check = [&update[..], &["--check"]].concat();
    let story = program::failure(&mut matrix(folder.path(), &check), 41);
    for words in
        ["docs/README.md is stale", "\n  + | `plain`", "docs/README.matrix.json is missing", "docs/sizes.svg"]
    {
        assert!(story.contains(words), "{words}\n{story}");
    }
    assert_eq!(fs_err::read_to_string(at("docs/README.md")).unwrap(), empty, "--check writes nothing");
    program::success(&mut matrix(folder.path(), &update));
    assert!(fs_err::read_to_string(at("docs/README.md")).unwrap().contains("](sizes.svg)\n"));
    let written = program::files(&at("docs"));
    program::success(&mut matrix(folder.path(), &update));
    assert_eq!(program::files(&at("docs")), written, "twice is as once");
    program::success(&mut matrix(folder.path(), &check));

    let kept = fs_err::read_to_string(at("docs/README.matrix.json")).unwrap();
    let size = sizes(folder.path(), &[])["entries"][0]["compressed"].as_u64().unwrap();
    fs_err::write(
        at("docs/README.matrix.json"),
        kept.replacen(&size.to_string(), &(size + 7).to_string(), 1),
    )
    .unwrap();
    let story = program::failure(&mut matrix(folder.path(), &check), 41);
    let change = format!("plain for linux/amd64: {} → {size} (−7) compressed", size + 7);
    assert!(story.contains(&change) && !story.contains("README.md is stale"), "{story}");
}

#[test]
fn sizes_of_others_are_measured_and_come_to_the_same() {
    if tool("skopeo").is_none() {
        return;
    }
    let folder = sample();
    let own = sizes(folder.path(), &[])["entries"][0].clone();
    let tag = own["tag"].as_str().unwrap();
    for (archive, place) in [
        ("oci-archive:a.tar:kubelet:v1", "oci-archive:a.tar"),
        ("docker-archive:d.tar:kubelet:v1", "docker-archive:d.tar"),
    ] {
        let to = archive.replace(":a.tar", &format!(":{}/a.tar", folder.path().display()));
        let to = to.replace(":d.tar", &format!(":{}/d.tar", folder.path().display()));
        skopeo_copy(&format!("oci:{}/out:{tag}", folder.path().display()), &to, Platform::Amd64).unwrap();
        let measured = sizes(folder.path(), &["--image", place])["entries"][0].clone();
        assert_eq!(
            (&measured["variant"], &measured["extracted"]),
            (&own["variant"], &own["extracted"]),
            "{place}"
        );
        if place.starts_with("oci") {
            assert_eq!(measured["compressed"], own["compressed"]);
        } else {
            // skopeo unpacks layers for it.
            assert_eq!(
                (&measured["compressed"], &measured["stored_plain"]),
                (&own["extracted"], &true.into())
            );
        }
    }
    let both = program::success(&mut matrix(
        folder.path(),
        &["--image", "oci-archive:a.tar", "--image", "docker-archive:d.tar"],
    ));
    assert!(both.contains(" *") && both.contains("* layers lie uncompressed"), "{both}");
}

#[test]
fn an_image_that_kimg_did_not_make_is_called_by_its_tag() {
    if tool("skopeo").is_none() {
        return;
    }
    let folder = program::folder();
    // One file in one layer, packed by tar and gzip.
    fs_err::write(folder.path().join("hello"), vec![b'x'; 70_000]).unwrap();
    let shell = "tar -cf layer.tar hello && gzip -kn layer.tar && sha256sum <layer.tar && sha256sum <layer.tar.gz && stat -c %s layer.tar layer.tar.gz";
    let said = kimg_testkit::run(Command::new("sh").args(["-c", shell]).current_dir(folder.path()));
    let words: Vec<&str> = said.split_whitespace().filter(|word| *word != "-").collect();
    let [diff_id, digest, tar, gzip] = words[..] else { panic!("{said}") };
    let blobs = folder.path().join("foreign/blobs/sha256");
    fs_err::create_dir_all(&blobs).unwrap();
    fs_err::rename(folder.path().join("layer.tar.gz"), blobs.join(digest)).unwrap();
    let put = |value: Value| {
        let bytes = value.to_string();
        let digest = kimg_core::Digest::of(&bytes);
        fs_err::write(blobs.join(digest.hex()), &bytes).unwrap();
        serde_json::json!({"digest": digest, "size": bytes.len()})
    };
    let with = |mut descriptor: Value, kind: &str| {
        descriptor["mediaType"] = format!("application/vnd.oci.image.{kind}.v1+json").into();
        descriptor
    };
    let config = with(
        put(serde_json::json!({"architecture": "arm64", "os": "linux", "config": {},
            "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{diff_id}")]}})),
        "config",
    );
    let gzip: u64 = gzip.parse().unwrap();
    let mut top = with(
        put(serde_json::json!({"schemaVersion": 2, "config": config, "layers": [{
            "mediaType": "application/vnd.oci.image.layer.v1.tar+gzip", "digest": format!("sha256:{digest}"), "size": gzip}]})),
        "manifest",
    );
    top["annotations"] =
        serde_json::json!({"org.opencontainers.image.ref.name": "docker.io/library/hello:1.0"});
    fs_err::write(
        folder.path().join("foreign/index.json"),
        serde_json::json!({"schemaVersion": 2, "manifests": [top]}).to_string(),
    )
    .unwrap();
    fs_err::write(folder.path().join("foreign/oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();

    let entry = sizes(folder.path(), &["--image", "oci:foreign"])["entries"][0].clone();
    assert_eq!(
        (&entry["variant"], &entry["platform"]),
        (&"docker.io/library/hello".into(), &"linux/arm64".into())
    );
    assert_eq!((entry["compressed"].as_u64(), entry["extracted"].as_u64()), (Some(gzip), tar.parse().ok()));
    let parts = program::success(&mut matrix(
        folder.path(),
        &["--image", "oci:foreign", "--parts", "--format", "csv"],
    ));
    assert!(parts.contains(",1,,1,70000,"), "{parts}");
    // kimg made none of it, so a layout that is only asked for kimg's images has none.
    assert_eq!(sizes(folder.path(), &["--layout", "foreign"])["entries"], serde_json::json!([]));
    // A byte of the layer is another one.
    let mut bytes = fs_err::read(blobs.join(digest)).unwrap();
    let last = bytes.len() - 5;
    bytes[last] ^= 1;
    fs_err::write(blobs.join(digest), bytes).unwrap();
    let answer = program::answer(&mut matrix(folder.path(), &["--image", "oci:foreign"]));
    assert!(answer.code == 10 || answer.code == 11, "{}", answer.story);
}

#[test]
fn changes_since_a_layout_and_since_what_was_kept_of_it_are_the_same() {
    let folder = sample();
    let mut kimg = program::kimg_sample(folder.path(), "build");
    program::success(kimg.args(PLAIN).args(["--contents", "packages", "-o", "type=oci,dest=whole"]));
    let kept = program::success(&mut matrix(folder.path(), &["--layout", "whole", "--format", "json"]));
    fs_err::write(folder.path().join("kept.json"), kept).unwrap();
    let [from_layout, from_file] =
        ["whole", "kept.json"].map(|since| sizes(folder.path(), &["--since", since])["entries"].clone());
    assert_eq!(from_layout, from_file);
    let whole = sizes(folder.path(), &["--layout", "whole"])["entries"][0].clone();
    assert_eq!(from_layout[0]["before"]["compressed"], whole["compressed"]);
    let text =
        program::success(&mut matrix(folder.path(), &["--since", "oci:whole", "--format", "markdown"]));
    assert!(text.contains(" kB (−") && text.contains("the change since kubelet:v1.34.2-sample"), "{text}");
    let story = program::failure(&mut matrix(folder.path(), &["--since", "nowhere"]), 11);
    assert!(story.contains("nowhere"), "{story}");
}

#[test]
fn what_is_about_to_be_replaced_is_nothing_to_compare_with() {
    let folder = sample();
    fs_err::write(folder.path().join("README.md"), "<!-- kimg:matrix:begin -->\n<!-- kimg:matrix:end -->\n")
        .unwrap();
    program::success(&mut matrix(folder.path(), &["--readme", "README.md"]));
    let words = ["--readme", "README.md", "--since", "./README.matrix.json"];
    let story = program::failure(&mut matrix(folder.path(), &words), 2);
    assert!(story.contains("git show"), "{story}");
}

#[test]
fn moves_pull_what_is_in_the_one_layout_and_not_in_the_other() {
    let folder = program::folder();
    let build = |contents: &str, to: &str| {
        let mut kimg = program::kimg_sample(folder.path(), "build");
        kimg.args(["--variant", "plain", "--variant", "cni", "--arch", "amd64", "--contents", contents]);
        program::success(kimg.args(["-o", &format!("type=oci,dest={to}")]));
    };
    build("minimal", "out");
    build("packages", "whole");
    let moves = program::json(
        matrix(folder.path(), &["--moves", "--since", "whole", "--format", "json"]).args(["--layout", "out"]),
    );
    let blobs = |layout: &str, variant: &str| {
        let layout = kimg_testkit::Layout::open(folder.path().join(layout));
        let manifest = layout.manifest(program::indexes(&layout)[variant].digest, Platform::Amd64).unwrap();
        layout
            .layers(manifest)
            .into_iter()
            .map(|digest| (digest, fs_err::metadata(layout.blob(digest)).unwrap().len()))
            .collect::<std::collections::BTreeMap<_, _>>()
    };
    let missing = |has: Option<(&str, &str)>, pulls: &str| -> u64 {
        let has = has.map(|(layout, variant)| blobs(layout, variant)).unwrap_or_default();
        blobs("out", pulls).iter().filter(|(digest, _)| !has.contains_key(digest)).map(|(_, size)| size).sum()
    };
    let told: Vec<_> = moves["moves"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| {
            (
                one["before"]["kind"].as_str().unwrap(),
                one["variant"].as_str().unwrap(),
                one["bytes"].as_u64().unwrap(),
                one["basis"].as_str().unwrap(),
            )
        })
        .collect();
    let expected = [
        ("nothing", "plain", missing(None, "plain"), "exact"),
        ("nothing", "cni", missing(None, "cni"), "exact"),
        ("variant", "cni", missing(Some(("out", "plain")), "cni"), "exact"),
        ("release", "plain", missing(Some(("whole", "plain")), "plain"), "exact"),
        ("release", "cni", missing(Some(("whole", "cni")), "cni"), "exact"),
    ];
    assert_eq!(told, expected);
    let text =
        program::success(&mut matrix(folder.path(), &["--moves", "--layout", "out", "--layout", "whole"]));
    assert!(
        text.contains("≈ ") && text.contains("whole") && text.contains("plain, release before"),
        "{text}"
    );
    program::failure(&mut matrix(folder.path(), &["--moves", "--format", "svg"]), 2);
}

#[test]
fn the_picture_is_one_to_those_who_read_xml_and_the_same_every_time() {
    let folder = sample();
    let svg = program::success(&mut matrix(folder.path(), &["--format", "svg"]));
    assert_eq!(svg, program::success(&mut matrix(folder.path(), &["--format", "svg"])));
    assert!(svg.contains("SAMPLE") && svg.contains("prefers-color-scheme: dark"), "{svg}");
    let picture = folder.path().join("sizes.svg");
    fs_err::write(&picture, svg).unwrap();
    let Some(python) = tool("python3") else { return };
    let count = "import sys, xml.etree.ElementTree as e; r = e.parse(sys.argv[1]).getroot(); \
                 ns = '{http://www.w3.org/2000/svg}'; print(len(r.findall(f'.//{ns}g/{ns}rect')), r.find(f'{ns}desc').text)";
    let read = kimg_testkit::run(Command::new(python).args(["-c", count]).arg(&picture));
    assert!(read.starts_with("2 plain for linux/amd64: "), "{read}");
}

#[test]
fn parts_of_real_images_add_up_and_name_their_packages() {
    let Some(real) = kimg_testkit::real() else { return };
    let folder = program::folder();
    let mut kimg = program::kimg_on(&real, folder.path(), "build");
    program::success(kimg.args(["--variant", "kubeadm", "--arch", "armv7", "--pack", "never", "-q"]));
    let parts = program::json(matrix(folder.path(), &["--parts", "--format", "json"]).env("NO_COLOR", "1"));
    let parts = parts["parts"].as_array().unwrap();
    let entry = sizes(folder.path(), &[])["entries"][0].clone();
    let pull: u64 = parts.iter().map(|part| part["pull"].as_u64().unwrap()).sum();
    assert_eq!(Some(pull), entry["compressed"].as_u64());
    let of = |package: &str| parts.iter().find(|part| part["package"] == package).unwrap();
    assert_eq!(of("kubelet-1.20.2-r0")["layer"], "kubelet");
    // A layer with one file: all of the layer is the file's but the few bytes of the folders above it.
    let layer = entry["layers"].as_array().unwrap().iter().find(|layer| layer["name"] == "kubelet").unwrap();
    let around = layer["compressed"].as_u64().unwrap() - of("kubelet-1.20.2-r0")["pull"].as_u64().unwrap();
    assert!(around < 2_000, "{around}");
    let owned = parts.iter().filter(|part| part["package"].is_string()).count();
    assert!(owned > 12 && of("musl-1.2.2-r9")["files"].as_u64() > Some(0), "{parts:#?}");
}
