//! What is said about published images and signed, with cosign as judge; and caches that machines share.

#![expect(clippy::unwrap_used, reason = "a test that can't be set up has failed")]

mod program;

use std::path::Path;

use kimg_core::Platform;
use kimg_testkit::{DockerRegistry, Layout, tool};
use program::{answer, failure, json, kimg_quick as sample, kimg_talk as talk, success};
use serde_json::Value;

fn keys(folder: &Path, prefix: &str) {
    let mut keys = program::kimg(folder);
    success(keys.env("COSIGN_PASSWORD", "of the test").args([
        "generate-key-pair",
        "--output-key-prefix",
        prefix,
    ]));
}

/// The digest that the one line of a publication names.
fn digest(lines: &str) -> &str {
    lines.lines().next().unwrap().rsplit('@').next().unwrap()
}

#[test]
fn what_is_published_with_a_key_is_signed_for_cosign_and_for_verify() {
    let Some(registry) = DockerRegistry::plain() else { return };
    let folder = program::folder();
    let to = format!("{}/acme/kubelet", registry.name());
    keys(folder.path(), "own");
    keys(folder.path(), "other");
    let again = failure(
        program::kimg(folder.path()).env("COSIGN_PASSWORD", "x").args([
            "generate-key-pair",
            "--output-key-prefix",
            "own",
        ]),
        23,
    );
    assert!(again.contains("own.key is there already"), "{again}");
    let publish = || {
        let mut publish = sample(folder.path(), "publish");
        publish.args([&to, "--variant", "plain", "--sbom", "spdx", "--provenance", "--statements", "said"]);
        publish.args(["--sign-key", "own.key"]);
        publish
    };
    let no_password = failure(&mut publish(), 2);
    assert!(no_password.contains("own.key") && no_password.contains("COSIGN_PASSWORD"), "{no_password}");
    failure(talk(folder.path(), "inspect").arg(format!("{to}:v1.34.2-sample")), 13);
    let published = answer(publish().env("COSIGN_PASSWORD", "of the test"));
    assert_eq!(published.code, 0, "{}", published.story);
    assert!(published.story.contains("4 statements beside the images, signed"), "{}", published.story);
    assert!(published.story.contains("4 images and indexes"), "{}", published.story);
    assert!(!published.story.contains("of the test"), "the password is shown");
    let tag = format!("{to}:v1.34.2-sample");

    let verified = json(talk(folder.path(), "verify").args([&tag, "--key", "own.pub", "--format", "json"]));
    let signed = verified["signed"].as_array().unwrap();
    assert_eq!(signed.len(), 4, "the index and three images");
    assert!(signed.iter().all(|one| one["signed"] == true), "{verified}");
    let of = |platform: Value| {
        signed.iter().find(|one| one["platform"] == platform).unwrap()["statements"].clone()
    };
    assert_eq!(of("linux/arm/v7".into()), serde_json::json!(["https://spdx.dev/Document"]));
    assert_eq!(of(Value::Null), serde_json::json!(["https://slsa.dev/provenance/v1"]));
    let other = failure(talk(folder.path(), "verify").args([&tag, "--key", "other.pub"]), 10);
    assert!(other.contains("sign"), "{other}");
    let here = failure(talk(folder.path(), "verify").args([".", "--key", "own.pub"]), 2);
    assert!(here.contains("layouts"), "{here}");

    // What refers to the index and to an image, and what lies beside as files.
    let seen = json(talk(folder.path(), "inspect").args([&tag, "--format", "json"]));
    let kinds = |seen: &Value| -> Vec<String> {
        let all = seen["referrers"].as_array().unwrap().iter();
        all.map(|it| it["artifactType"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(kinds(&seen), ["application/vnd.in-toto+json"]);
    let armv7 =
        seen["images"].as_array().unwrap().iter().find(|it| it["platform"] == "linux/arm/v7").unwrap();
    let armv7 = format!("{to}@{}", armv7["digest"].as_str().unwrap());
    let armv7 = json(talk(folder.path(), "inspect").args([&armv7, "--format", "json"]));
    assert_eq!(kinds(&armv7), ["application/spdx+json"]);
    let mut files: Vec<String> = fs_err::read_dir(folder.path().join("said"))
        .unwrap()
        .map(|file| file.unwrap().file_name().into_string().unwrap())
        .collect();
    files.sort();
    let expected = ["amd64.spdx.json", "arm64.spdx.json", "armv7.spdx.json"]
        .map(|platform| format!("kubelet-v1.34.2-sample-{platform}"));
    assert_eq!(files, [&expected[..], &["kubelet-v1.34.2-sample.provenance.json".to_owned()]].concat());

    // The same again changes nothing, and says so.
    let again = answer(publish().env("COSIGN_PASSWORD", "of the test"));
    assert_eq!((again.code, &again.out), (0, &published.out), "{}", again.story);

    let Some(cosign) = tool("cosign") else { return };
    let verify = |key: &str| {
        let mut command = std::process::Command::new(&cosign);
        command.args(["verify", "--insecure-ignore-tlog=true", "--allow-http-registry", "--key", key, &tag]);
        command.current_dir(folder.path()).output().unwrap()
    };
    let judged = verify("own.pub");
    assert!(judged.status.success(), "{}", String::from_utf8_lossy(&judged.stderr));
    assert!(String::from_utf8_lossy(&judged.stdout).contains(digest(&published.out)));
    assert!(!verify("other.pub").status.success());
}

#[test]
fn what_separate_jobs_published_is_signed_when_it_is_joined() {
    let Some(registry) = DockerRegistry::plain() else { return };
    let folder = program::folder();
    let to = format!("{}/kubelet", registry.name());
    keys(folder.path(), "own");
    for arch in ["amd64", "arm64", "armv7"] {
        let mut publish = sample(folder.path(), "publish");
        publish.args([&to, "--variant", "plain", "--arch", arch, "--metadata-file", &format!("{arch}.json")]);
        success(publish.args(["--sbom", "cyclonedx"]));
    }
    let mut index = talk(folder.path(), "index");
    index.env("COSIGN_PASSWORD", "of the test").args(["--sign-key", "own.key"]);
    success(index.args(["--metadata", "amd64.json", "arm64.json", "armv7.json"]));
    let tag = format!("{to}:v1.34.2-sample");
    let verified = success(talk(folder.path(), "verify").args([&tag, "--key", "own.pub"]));
    assert_eq!(verified.matches(": signed").count(), 4, "{verified}");
}

#[test]
fn a_tag_that_is_taken_is_refused_before_anything_is_signed() {
    let Some(registry) = DockerRegistry::plain() else { return };
    let folder = program::folder();
    let to = format!("{}/kubelet", registry.name());
    keys(folder.path(), "own");
    success(sample(folder.path(), "publish").args([&to, "--variant", "plain"]));
    let mut other = sample(folder.path(), "publish");
    other.env("COSIGN_PASSWORD", "of the test").args(["--sign-key", "own.key", "--label", "a=b"]);
    failure(other.args([&to, "--variant", "plain", "-o", "type=oci,dest=out"]), 23);
    let layout = Layout::open(folder.path().join("out"));
    let refused = layout.names()[0].1;
    failure(talk(folder.path(), "inspect").arg(format!("{to}@{refused}")), 13);
}

#[test]
fn a_second_machine_takes_over_what_the_first_one_made() {
    let Some(registry) = DockerRegistry::plain() else { return };
    let folder = program::folder();
    let cache = format!("{}/acme/kubelet:cache", registry.name());
    let to = format!("{}/acme/kubelet", registry.name());
    let machine = |name: &str| {
        let mut publish = program::kimg(folder.path());
        publish.args(["publish", &to, "--sample", "--variant", "cni", "--progress", "json"]);
        publish.args(["--retry-times", "0", "--pack", "never", "--cache-dir"]).arg(folder.path().join(name));
        publish
    };
    let count = |story: &str, what: &str| story.lines().filter(|line| line.contains(what)).count();
    let first = answer(machine("one").args(["--cache-from", &cache, "--cache-to", &cache]));
    assert_eq!(first.code, 0, "{}", first.story);
    let made = r#""step":"compressed-layer""#;
    assert!(count(&first.story, made) > 5 && count(&first.story, "taken-over") == 0, "{}", first.story);
    let second = answer(machine("two").args(["--cache-from", &cache]));
    assert_eq!((second.code, &second.out), (0, &first.out), "{}", second.story);
    let unique = count(&first.story, made);
    assert_eq!(count(&second.story, r#""step":"taken-over""#), unique, "{}", second.story);
    // A cache that is not there is told, and the build goes on.
    let third = answer(machine("three").args(["--cache-from", &format!("{to}:none")]));
    assert_eq!((third.code, &third.out), (0, &first.out), "{}", third.story);
    assert!(third.story.contains("none"), "{}", third.story);
    let layout =
        json(talk(folder.path(), "inspect").args([&format!("{to}:v1.34.2-cni-sample"), "--format", "json"]));
    assert_eq!(layout["images"].as_array().unwrap().len(), Platform::DEFAULT.len());
}
