//! `kimg publish` and what belongs to it, against Debian's `docker-registry`, with skopeo as judge.

#![expect(clippy::unwrap_used, reason = "a test that can't be set up has failed")]

mod program;

use std::path::Path;

use kimg_core::{Digest, Platform};
use kimg_testkit::{DockerRegistry, FolderServer, Layout, skopeo_inspect};
use program::{answer, failure, json, kimg_quick as sample, kimg_talk as talk, success};
use serde_json::Value;

/// What stands before and behind the last `@` of each line.
fn references(text: &str) -> Vec<(String, Digest)> {
    let line = |line: &str| {
        let (reference, digest) = line.rsplit_once('@').unwrap();
        (reference.to_owned(), digest.parse().unwrap())
    };
    text.lines().map(line).collect()
}

fn inspect(folder: &Path, reference: &str) -> Value {
    json(talk(folder, "inspect").args([reference, "--format", "json"]))
}

#[test]
fn what_is_published_is_what_was_built_and_is_not_sent_twice() {
    let Some(registry) = DockerRegistry::plain() else { return };
    let folder = program::folder();
    let to = format!("{}/acme/kubelet", registry.name());
    let variants = ["--variant", "plain", "--variant", "cni", "--variant", "kube-proxy"];
    let mut publish = sample(folder.path(), "publish");
    let first = answer(publish.arg(&to).args(variants).args(["-o", "type=oci,dest=out", "-t", "latest"]));
    assert_eq!(first.code, 0, "{}", first.story);
    let published = references(&first.out);
    let layout = Layout::open(folder.path().join("out"));
    let beside = format!("{}/acme/kube-proxy", registry.name());
    let mut expected: Vec<(String, Digest)> = layout
        .names()
        .into_iter()
        .map(|(name, digest)| {
            let (name, tag) = name.split_once(':').unwrap();
            (format!("{}:{tag}", if name == "kubelet" { &to } else { &beside }), digest)
        })
        .collect();
    expected.sort();
    let mut sorted = published.clone();
    sorted.sort();
    assert_eq!(sorted, expected, "every tag names the index that was built");
    let latest = format!("{to}:latest-cni-sample");
    assert!(published.iter().any(|(name, _)| *name == latest), "{published:?}");

    // An outside judge finds every platform of it.
    let cni = published.iter().find(|(name, _)| *name == latest).unwrap().1;
    for platform in Platform::DEFAULT {
        let Some(seen) = skopeo_inspect(&format!("docker://{latest}"), platform) else { return };
        assert_eq!(seen["Architecture"], platform.oci_architecture());
        assert_eq!(seen["Labels"]["io.kimg.variant"], "cni");
        let layers = layout.layers(layout.manifest(cni, platform).unwrap());
        let layers: Vec<Value> = layers.iter().map(|layer| layer.to_string().into()).collect();
        assert_eq!(seen["Layers"], Value::Array(layers));
    }

    let mut publish = sample(folder.path(), "publish");
    let again = answer(publish.arg(&to).args(variants).args(["-t", "latest"]));
    assert_eq!((again.code, &again.out), (0, &first.out), "{}", again.story);
    assert!(again.story.contains("0 B in 0 blobs sent"), "{}", again.story);
    assert!(again.story.contains("0 set, 9 were right already"), "{}", again.story);
}

#[test]
fn a_dry_run_tells_what_would_be_done_and_changes_nothing() {
    let Some(registry) = DockerRegistry::plain() else { return };
    let folder = program::folder();
    let to = format!("{}/kubelet", registry.name());
    let mut publish = sample(folder.path(), "publish");
    let plan = success(publish.args([&to, "--variant", "plain", "--dry-run"]));
    assert!(plan.contains(&format!("{to}:v1.34.2-sample")) && plan.contains("new"), "{plan}");
    assert!(plan.contains("to send in at most") && plan.contains("Nothing was changed"), "{plan}");
    let mut publish = sample(folder.path(), "publish");
    let plan = json(publish.args([&to, "--variant", "plain", "--dry-run", "--format", "json"]));
    assert!(plan["bytes_to_send"].as_u64().unwrap() > 1000, "{plan}");
    assert_eq!(plan["tags"].as_array().unwrap().len(), 2, "{plan}");
    let missing = failure(talk(folder.path(), "inspect").arg(format!("{to}:v1.34.2-sample")), 13);
    assert!(missing.contains("v1.34.2-sample"), "{missing}");
    // Nothing is left that a next plan would find.
    let mut publish = sample(folder.path(), "publish");
    let same = json(publish.args([&to, "--variant", "plain", "--dry-run", "--format", "json"]));
    assert_eq!(plan, same);
}

#[test]
fn a_tag_that_names_something_else_stays_unless_it_may_be_moved() {
    let Some(registry) = DockerRegistry::plain() else { return };
    let folder = program::folder();
    let to = format!("{}/kubelet", registry.name());
    let one = ["--variant", "plain", "--variant", "cni"];
    success(sample(folder.path(), "publish").arg(&to).args(["--variant", "plain"]));
    let tag = format!("{to}:v1.34.2-sample");
    let before = inspect(folder.path(), &tag)["digest"].clone();
    let mut other = sample(folder.path(), "publish");
    let refused = failure(other.arg(&to).args(one).args(["--label", "a=b"]), 23);
    assert!(refused.contains(&tag) && refused.contains("--move-tags"), "{refused}");
    assert_eq!(inspect(folder.path(), &tag)["digest"], before);
    let cni = failure(talk(folder.path(), "inspect").arg(format!("{to}:v1.34.2-cni-sample")), 13);
    assert!(cni.contains("v1.34.2-cni-sample"), "none of the release is seen: {cni}");
    let mut plan = sample(folder.path(), "publish");
    let plan = success(plan.arg(&to).args(one).args(["--label", "a=b", "--dry-run"]));
    assert!(plan.contains("--move-tags") && plan.contains("names sha256:"), "{plan}");

    let mut moved = sample(folder.path(), "publish");
    let moved = success(moved.arg(&to).args(one).args(["--label", "a=b", "--move-tags"]));
    let digest = references(&moved).into_iter().find(|(name, _)| *name == tag).unwrap().1;
    let after = inspect(folder.path(), &tag)["digest"].clone();
    assert!(after == digest.to_string() && after != before, "{after}");
}

#[test]
fn one_job_for_each_architecture_and_one_that_joins_them_make_the_same_indexes_as_one_job() {
    let Some(registry) = DockerRegistry::plain() else { return };
    let folder = program::folder();
    let variants = ["--variant", "plain", "--variant", "cni", "--variant", "kube-proxy"];
    let at_once = format!("{}/once/kubelet", registry.name());
    let whole = references(&success(sample(folder.path(), "publish").arg(&at_once).args(variants)));

    let to = format!("{}/parts/kubelet", registry.name());
    for arch in ["amd64", "arm64", "armv7"] {
        let mut publish = sample(folder.path(), "publish");
        publish.arg(&to).args(variants).args(["--arch", arch, "--metadata-file", &format!("{arch}.json")]);
        let said = answer(&mut publish);
        assert_eq!(said.code, 0, "{}", said.story);
        assert!(said.story.contains("No tags are set"), "{}", said.story);
        assert_eq!(said.out.lines().count(), 3);
        assert!(
            said.out.lines().all(|line| line.contains("kube") && line.contains("@sha256:")),
            "{}",
            said.out
        );
    }
    failure(talk(folder.path(), "inspect").arg(format!("{to}:v1.34.2-sample")), 13);
    let mut missing = talk(folder.path(), "index");
    let kept = fs_err::read_to_string(folder.path().join("armv7.json")).unwrap();
    let mut parts: Vec<Value> = serde_json::from_str(&kept).unwrap();
    parts.pop();
    fs_err::write(folder.path().join("less.json"), Value::Array(parts).to_string()).unwrap();
    let missing = failure(missing.args(["--metadata", "amd64.json", "arm64.json", "less.json"]), 13);
    assert!(missing.contains("a part is missing"), "{missing}");

    let mut index = talk(folder.path(), "index");
    let joined = references(&success(index.args(["--metadata", "armv7.json", "amd64.json", "arm64.json"])));
    let tags = |references: &[(String, Digest)]| {
        let tag = |(name, digest): &(String, Digest)| (name.rsplit('/').next().unwrap().to_owned(), *digest);
        references.iter().map(tag).collect::<std::collections::BTreeSet<_>>()
    };
    assert_eq!(tags(&joined), tags(&whole), "byte for byte, whoever built them");

    // By hand, of two of them, under a name of one's own.
    let amd64: Vec<Value> =
        serde_json::from_slice(&fs_err::read(folder.path().join("amd64.json")).unwrap()).unwrap();
    let armv7: Vec<Value> =
        serde_json::from_slice(&fs_err::read(folder.path().join("armv7.json")).unwrap()).unwrap();
    assert_eq!(amd64[0]["kimg.variant"], "plain");
    let part = |all: &[Value]| format!("{to}@{}", all[0]["containerimage.digest"].as_str().unwrap());
    success(talk(folder.path(), "index").args([part(&amd64), part(&armv7), "-t".into(), "two".into()]));
    let two = inspect(folder.path(), &format!("{to}:two"));
    let platforms: Vec<&Value> = two["images"].as_array().unwrap().iter().map(|it| &it["platform"]).collect();
    assert_eq!(platforms, ["linux/amd64", "linux/arm/v7"]);
    let same = failure(
        talk(folder.path(), "index").args([part(&amd64), part(&amd64), "-t".into(), "two".into()]),
        23,
    );
    assert!(same.contains("--move-tags"), "{same}");
}

#[test]
fn layouts_go_in_come_out_and_are_copied_byte_by_byte() {
    let Some(registry) = DockerRegistry::plain() else { return };
    let folder = program::folder();
    let mut build = sample(folder.path(), "build");
    success(build.args(["--variant", "plain", "--variant", "cni", "-q", "-o", "type=oci,dest=out"]));
    let to = format!("{}/me/kubelet", registry.name());
    let pushed = references(&success(talk(folder.path(), "push").args(["out", &to])));
    let layout = Layout::open(folder.path().join("out"));
    assert_eq!(pushed.len(), layout.names().len());
    let cni = format!("{to}:v1.34.2-cni-sample");
    let digest = pushed.iter().find(|(name, _)| *name == cni).unwrap().1;

    let pulled = success(talk(folder.path(), "pull").args([&cni, "back"]));
    assert_eq!(pulled, format!("{to}@{digest}\n"));
    let back = Layout::open(folder.path().join("back"));
    assert_eq!(back.names(), [("kubelet:v1.34.2-cni-sample".to_owned(), digest)]);
    back.check();
    let mut one = talk(folder.path(), "pull");
    success(one.args([&cni, "docker-archive:one.tar", "--arch", "armv7"]));
    let Some(seen) = skopeo_inspect(
        &format!("docker-archive:{}", folder.path().join("one.tar").display()),
        Platform::ArmV7,
    ) else {
        return;
    };
    assert_eq!(seen["Architecture"], "arm");
    let nowhere = failure(talk(folder.path(), "pull").args([&cni, "x", "--platform", "linux/arm/v6"]), 13);
    assert!(nowhere.contains("linux/arm/v7"), "it says which there are: {nowhere}");

    // One image of the layout, under a tag of one's own; and out of an archive.
    let mine = format!("{}/other/node:stable", registry.name());
    success(talk(folder.path(), "push").args(["oci:out:kubelet:v1.34.2-cni-sample", &mine]));
    assert_eq!(inspect(folder.path(), &mine)["digest"], digest.to_string());
    let several = failure(talk(folder.path(), "push").args(["out", &mine]), 2);
    assert!(several.contains("oci:PATH:TAG"), "{several}");
    success(talk(folder.path(), "pull").args([&cni, "oci-archive:cni.tar"]));
    let archived = format!("{}/archived/kubelet", registry.name());
    let from_archive =
        references(&success(talk(folder.path(), "push").args(["oci-archive:cni.tar", &archived])));
    assert_eq!(from_archive[0].1, digest);

    let copied = format!("{}/mirror/kubelet", registry.name());
    let lines = references(&success(talk(folder.path(), "copy").args([&cni, &copied])));
    assert_eq!(lines, [(format!("{copied}:v1.34.2-cni-sample"), digest)]);
    let verified = success(talk(folder.path(), "verify").arg(&lines[0].0));
    assert!(verified.contains("every size, digest, platform and layer is right"), "{verified}");
    let here = success(talk(folder.path(), "verify").arg("back"));
    assert!(here.contains("linux/amd64, linux/arm/v7, linux/arm64"), "{here}");
}

#[test]
fn verify_finds_what_is_not_what_it_says() {
    let Some(registry) = DockerRegistry::plain() else { return };
    let folder = program::folder();
    let to = format!("{}/kubelet", registry.name());
    let mut publish = sample(folder.path(), "publish");
    let published =
        references(&success(publish.args([&to, "--variant", "plain", "-o", "type=oci,dest=out"])));
    let layout = Layout::open(folder.path().join("out"));
    let layer = layout.layers(layout.manifest(published[0].1, Platform::Arm64).unwrap())[0];
    for (place, image) in [(registry.blob(layer), published[0].0.as_str()), (layout.blob(layer), "out")] {
        let mut bytes = fs_err::read(&place).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs_err::write(&place, bytes).unwrap();
        let said = answer(talk(folder.path(), "verify").arg(image));
        assert_eq!(said.code, 10, "{}\n{}", said.out, said.story);
        assert!(said.out.contains(&layer.to_string()), "{}", said.out);
    }
    // A layer that is shorter than its descriptor says.
    let bytes = fs_err::read(layout.blob(layer)).unwrap();
    fs_err::write(layout.blob(layer), &bytes[..bytes.len() - 1]).unwrap();
    let said = answer(talk(folder.path(), "verify").arg("out"));
    assert!(said.code == 11 && said.story.contains("bytes"), "{}", said.story);
}

#[test]
fn verify_finds_an_image_that_stands_for_another_platform_than_its_own() {
    let folder = program::folder();
    success(sample(folder.path(), "build").args(["--variant", "plain", "-o", "type=oci,dest=out"]));
    let layout = Layout::open(folder.path().join("out"));
    let (_, digest) = layout.names()[0];
    let mut index = layout.json(digest);
    let [amd64, arm64] = [Platform::Amd64, Platform::Arm64]
        .map(|platform| layout.manifest(digest, platform).unwrap().to_string());
    for entry in index["manifests"].as_array_mut().unwrap() {
        let other = if entry["digest"] == amd64.as_str() { &arm64 } else { &amd64 };
        if entry["digest"] == amd64.as_str() || entry["digest"] == arm64.as_str() {
            entry["digest"] = other.as_str().into();
            let size = fs_err::metadata(layout.blob(other.parse().unwrap())).unwrap().len();
            entry["size"] = size.into();
        }
    }
    // Every size and digest is right; only the platforms of two are exchanged.
    let bytes = serde_json::to_vec(&index).unwrap();
    let exchanged = Digest::of(&bytes);
    fs_err::write(layout.blob(exchanged), &bytes).unwrap();
    let mut names = layout.index();
    for entry in names["manifests"].as_array_mut().unwrap() {
        entry["digest"] = exchanged.to_string().into();
        entry["size"] = bytes.len().into();
    }
    fs_err::write(layout.folder().join("index.json"), serde_json::to_vec(&names).unwrap()).unwrap();
    let said = answer(talk(folder.path(), "verify").arg("out"));
    assert_eq!(said.code, 10, "{}\n{}", said.out, said.story);
    for (image, words) in [
        (&arm64, "its index says linux/amd64, its config linux/arm64"),
        (&amd64, "its index says linux/arm64, its config linux/amd64"),
    ] {
        assert!(said.out.contains(&format!("{image}: {words}")), "{}", said.out);
    }
}

#[test]
fn who_is_not_known_is_told_to_log_in_and_nobody_sees_the_password() {
    let Some(registry) = DockerRegistry::with_password() else { return };
    let folder = program::folder();
    let host = registry.name();
    let to = format!("{host}/kubelet");
    let mut publish = sample(folder.path(), "publish");
    let refused = failure(publish.args([&to, "--variant", "plain"]), 22);
    assert!(refused.contains(&format!("kimg login {host}")), "{refused}");
    let login = |password: &str| {
        let mut login = program::kimg(folder.path());
        login.args(["login", &host, "-u", DockerRegistry::USER, "--password-stdin"]);
        login.write_stdin(password.to_owned());
        login
    };
    let wrong = failure(&mut login("wrong-password"), 22);
    assert!(!wrong.contains("wrong-password"), "{wrong}");
    let kept = folder.path().join(".docker/config.json");
    assert!(!folder.path().join(".config/containers/auth.json").exists() && !kept.exists());
    let said = answer(&mut login(&format!("{}\n", DockerRegistry::PASSWORD)));
    assert_eq!((said.code, said.out.as_str()), (0, ""), "{}", said.story);

    // At every level of the log, and in every way of telling.
    let mut publish = sample(folder.path(), "publish");
    publish.env("KIMG_LOG", "trace").args(["-vv", &to, "--variant", "plain"]);
    let told = answer(&mut publish);
    assert_eq!(told.code, 0, "{}", told.story);
    let mut again = sample(folder.path(), "publish");
    again.args([&to, "--variant", "plain", "--label", "x=y"]).env("KIMG_LOG", "trace");
    let conflict = failure(&mut again, 23);
    // `kimg:hunter2-of-kimg`, as headers have it.
    let basic = "a2ltZzpodW50ZXIyLW9mLWtpbWc";
    assert!(told.story.contains(&host), "the log tells of the registry");
    for story in [&told.story, &said.story, &conflict, &refused] {
        assert!(!story.contains(DockerRegistry::PASSWORD) && !story.contains(basic), "a secret is shown");
    }
    // By environment, as in CI.
    let mut other = talk(folder.path(), "inspect");
    other.env("HOME", "/nonexistent").arg(format!("{to}:v1.34.2-sample"));
    failure(&mut other, 22);
    let mut other = talk(folder.path(), "inspect");
    other.env("HOME", "/nonexistent").env("KIMG_REGISTRY_USER", DockerRegistry::USER);
    other.env("KIMG_REGISTRY_PASSWORD", DockerRegistry::PASSWORD);
    success(other.arg(format!("{to}:v1.34.2-sample")));
    let mut logout = program::kimg(folder.path());
    success(logout.args(["logout", &host]));
    failure(talk(folder.path(), "inspect").arg(format!("{to}:v1.34.2-sample")), 22);
}

#[test]
fn images_of_a_registry_are_read_wherever_images_are() {
    let Some(registry) = DockerRegistry::plain() else { return };
    let folder = program::folder();
    let to = format!("{}/kubelet", registry.name());
    let mut publish = sample(folder.path(), "publish");
    success(publish.args([&to, "--variant", "plain", "--variant", "cni", "-o", "type=oci,dest=out"]));
    let cached = |command: &str| {
        let mut kimg = program::kimg(folder.path());
        kimg.arg(command).arg("--cache-dir").arg(folder.path().join("cache"));
        kimg
    };
    let image = format!("docker://{to}:v1.34.2-cni-sample");
    let sizes = json(cached("matrix").args(["--image", &image, "--format", "json"]));
    let here =
        json(cached("matrix").args(["--image", "oci:out:kubelet:v1.34.2-cni-sample", "--format", "json"]));
    assert_eq!(sizes["entries"].as_array().unwrap().len(), 3);
    assert_eq!(sizes["entries"][0]["compressed"], here["entries"][0]["compressed"]);
    assert_eq!(sizes["entries"][0]["variant"], "cni");
    let diff = json(cached("diff").args([&image, "oci:out:kubelet:v1.34.2-cni-sample", "--format", "json"]));
    assert_eq!(diff["equal"], true, "{diff}");
    let needs = success(cached("needs").args(["--root", &image, "--arch", "armv7", "/usr/bin/kubelet"]));
    assert!(needs.contains("ld-musl"), "{needs}");
    let mut check = cached("check");
    success(check.args(["--root", &image]));
    let mut slim = cached("slim");
    success(slim.args([&image, "--root", "kubelet", "-q", "-o", "type=oci,dest=small"]));
    Layout::open(folder.path().join("small")).check();
    let missing = failure(cached("matrix").args(["--image", &format!("docker://{to}:none")]), 13);
    assert!(missing.contains(":none"), "{missing}");
}

#[test]
fn results_go_where_ci_looks_for_them() {
    let Some(registry) = DockerRegistry::plain() else { return };
    let folder = program::folder();
    let to = format!("{}/kubelet", registry.name());
    let at = |name: &str| folder.path().join(name);
    fs_err::write(at("output"), "before=1\n").unwrap();
    let mut publish = sample(folder.path(), "publish");
    publish.args([&to, "--variant", "plain", "--metadata-file", "metadata.json", "--digestfile", "digest"]);
    publish.env("GITHUB_ACTIONS", "true").env("GITHUB_OUTPUT", at("output"));
    let lines = success(publish.env("GITHUB_STEP_SUMMARY", at("summary")));
    let digest = references(&lines)[0].1.to_string();
    assert_eq!(fs_err::read_to_string(at("digest")).unwrap(), format!("{digest}\n"));
    let metadata: Value = serde_json::from_slice(&fs_err::read(at("metadata.json")).unwrap()).unwrap();
    assert_eq!(metadata["containerimage.digest"], digest);
    assert_eq!(metadata["containerimage.descriptor"]["digest"], digest);
    assert_eq!(metadata["image.name"], format!("{to}:v1.34.2-sample,{to}:v1.34-sample"));
    let output = fs_err::read_to_string(at("output")).unwrap();
    assert!(output.starts_with(&format!("before=1\ndigest={digest}\n")), "{output}");
    assert!(output.contains(&lines), "{output}");
    let summary = fs_err::read_to_string(at("summary")).unwrap();
    assert!(
        summary.contains("| `plain`") && summary.contains("linux/arm/v7") && summary.contains(&lines),
        "{summary}"
    );
    // An error is an annotation of the run.
    let mut refused = sample(folder.path(), "publish");
    refused.args([&to, "--variant", "plain", "--label", "a=b"]).env("GITHUB_ACTIONS", "true");
    let refused = failure(&mut refused, 23);
    assert!(refused.contains("::error"), "{refused}");
}

#[test]
fn a_build_pushes_as_publish_does_and_writes_only_what_was_said() {
    let Some(registry) = DockerRegistry::plain() else { return };
    let folder = program::folder();
    let to = format!("{}/kubelet", registry.name());
    let plain = ["--variant", "plain", "--arch", "armv7"];
    let mut build = sample(folder.path(), "build");
    let pushed = success(build.args(plain).args(["-q", "-o", &format!("type=registry,dest={to}")]));
    assert_eq!(references(&pushed)[0].0, format!("{to}:v1.34.2-sample"));
    assert!(!folder.path().join("out").exists());
    let mut build = sample(folder.path(), "build");
    let told = success(build.args(plain).arg(format!("--push={to}")));
    assert!(told.ends_with(&pushed) && told.contains("Where the bytes went"), "{told}");
    let mut build = sample(folder.path(), "build");
    let nowhere = failure(build.args(plain).arg("--push"), 2);
    assert!(nowhere.contains("kimg.toml"), "{nowhere}");
    fs_err::write(folder.path().join("kimg.toml"), format!("publish = \"{to}\"\ntags = [\"stable\"]\n"))
        .unwrap();
    let mut publish = sample(folder.path(), "publish");
    let from_settings = success(publish.args(plain).arg("--partial"));
    assert!(from_settings.contains(&format!("{to}:stable-sample@")), "{from_settings}");
}

#[test]
fn a_registry_behind_tls_is_trusted_with_its_authority_only() {
    let Some(registry) = DockerRegistry::over_tls() else { return };
    let folder = program::folder();
    let to = format!("{}/kubelet", registry.name());
    let authority = folder.path().join("authority.pem");
    fs_err::write(&authority, FolderServer::authority()).unwrap();
    let plain = [to.as_str(), "--variant", "plain", "--arch", "amd64", "--partial"];
    let refused = failure(sample(folder.path(), "publish").args(plain), 20);
    assert!(refused.contains("certificate") || refused.contains("Certificate"), "{refused}");
    success(sample(folder.path(), "publish").args(plain).arg("--ca-file").arg(&authority));
    let mut publish = sample(folder.path(), "publish");
    success(publish.args(plain).env("SSL_CERT_FILE", &authority));
    success(sample(folder.path(), "publish").args(plain).arg("--insecure"));
}
