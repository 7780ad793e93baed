//! Kubernetes 1.20.2 of Debian's source package, compiled for every platform: each program for itself, and as one.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod go_source;
mod program;

use std::path::Path;

use go_source::{As, kubernetes};
use kimg_core::Platform;
use kimg_testkit::{Layout, Real};
use serde_json::Value;

/// Kubernetes 1.20.2 of Debian's source package, for all three processors and every variant. Compiled once: the cache that
/// tests share keeps it.
#[test]
#[ignore = "compiles for some minutes"]
fn kubernetes_of_debians_source_runs_on_every_platform() {
    let Some(real) = kimg_testkit::real() else { return };
    let Some(path) = kimg_testkit::go_path() else { return };
    let Some(source) = kimg_testkit::debian_source("kubernetes.tar.gz") else { return };
    let folder = program::folder();
    let settings =
        format!("kubernetes = '1.20.2'\n\n[[go]]\npreset = 'kubernetes'\nsource = '{}'\n", source.display());
    fs_err::write(folder.path().join("kimg.toml"), settings).unwrap();
    let mut build = program::kimg_on(&real, folder.path(), "build");
    let built = program::answer(build.args(["--format", "json"]).env("PATH", &path));
    assert_eq!(built.code, 0, "{}", built.story);
    let lines = built.story.lines().filter(|line| line.contains("Compile") || line.contains("Pack"));
    lines.for_each(|line| println!("{line}"));
    let report: Value = serde_json::from_str(&built.out).unwrap();
    let images = report["images"].as_array().unwrap();
    assert_eq!(images.len(), 18);
    for image in images {
        let mb = |size: &str| image[size].as_f64().unwrap() / 1e6;
        let (variant, platform) = (image["variant"].as_str().unwrap(), image["platform"].as_str().unwrap());
        println!("{variant:<12} {platform:<13} {:>6.1} / {:>6.1} MB", mb("compressed"), mb("extracted"));
        let parts = image["contributors"].as_array().unwrap();
        assert!(
            !parts.iter().any(|part| part["name"] == "kubernetes"),
            "a package of Alpine's is in {variant}"
        );
    }
    // Everything loads, symbol by symbol.
    let mut check = program::kimg_on(&real, folder.path(), "check");
    let checked = program::answer(check.env("PATH", &path));
    assert_eq!(checked.code, 0, "{}\n{}", checked.out, checked.story);

    starts_everywhere(folder.path(), "kubeadm");
}

/// Starts the programs of a folder's images under qemu-user; gives what each says of itself. `None` after a visible skip.
fn starts_everywhere(folder: &Path, of_kubelet: &str) -> Option<Vec<String>> {
    let layout = Layout::open(folder.join("out"));
    let mut indexes = program::indexes(&layout);
    let mut helps = Vec::new();
    for (variant, program, arguments, says) in [
        (of_kubelet, "/usr/bin/kubelet", &["--version"][..], "Kubernetes v1.20.2\n"),
        (of_kubelet, "/usr/bin/kubeadm", &["version", "-o", "short"], "v1.20.2\n"),
        ("kube-proxy", "/usr/local/bin/kube-proxy", &["--version"], "Kubernetes v1.20.2\n"),
    ] {
        let built = indexes.get_mut(variant).unwrap();
        for platform in Platform::DEFAULT {
            let unpacked =
                folder.join(format!("{}-{}", program.rsplit('/').next().unwrap(), platform.short()));
            let root = kimg_testkit::umoci_unpack(layout.folder(), &built.name, platform, &unpacked);
            let root = root?;
            let words: Vec<&str> = std::iter::once(program).chain(arguments.iter().copied()).collect();
            let output = root.run(&words, &[])?;
            assert_eq!(String::from_utf8_lossy(&output.stdout), says, "{program} on {platform}: {output:?}");
            let help = root.run(&[program, "--help"], &[])?;
            assert!(help.status.success() && help.stdout.len() > 1000, "{program} on {platform}: {help:?}");
            helps.push(String::from_utf8(help.stdout).unwrap());
        }
    }
    Some(helps)
}

/// What was built: the report of a build in a folder of its own, with these settings.
fn built(real: &Real, folder: &Path, how: As, compression: &str) -> Option<Value> {
    let path = kimg_testkit::go_path()?;
    fs_err::create_dir_all(folder).unwrap();
    fs_err::write(folder.join("kimg.toml"), kubernetes(how)?).unwrap();
    let mut build = program::kimg_on(real, folder, "build");
    build.args(["--variant", "kubeadm-cni", "--variant", "kube-proxy", "--format", "json"]);
    let built = program::answer(build.args(["--compression", compression]).env("PATH", path));
    assert_eq!(built.code, 0, "{}", built.story);
    let lines = built.story.lines().filter(|line| ["Compile", "Join"].iter().any(|word| line.contains(word)));
    lines.for_each(|line| println!("{line}"));
    Some(serde_json::from_str(&built.out).unwrap())
}

#[test]
#[ignore = "compiles for some minutes"]
fn as_one_program_the_images_are_smaller_on_every_platform_and_do_the_same() {
    let Some(real) = kimg_testkit::real() else { return };
    let folder = program::folder();
    let mut rows = Vec::new();
    for compression in ["gzip", "zstd"] {
        let place = |name: &str| folder.path().join(format!("{name}-{compression}"));
        let Some(plain) = built(&real, &place("plain"), As::Each, compression) else { return };
        let Some(one) = built(&real, &place("one"), As::One, compression) else { return };
        let joined = one["joined"].as_array().unwrap();
        assert_eq!(joined.len(), 6, "two sources, three platforms");
        assert!(joined.iter().all(|it| it["size"].as_u64().is_some()), "{joined:?}");
        for platform in Platform::DEFAULT {
            let of = |image: &&Value| image["platform"] == platform.to_string();
            let images = one["images"].as_array().unwrap().iter().filter(of);
            let lowest: Vec<_> = images.map(|image| image["layers"][0]["digest"].clone()).collect();
            assert!(
                lowest.len() == 2 && lowest[0] == lowest[1],
                "what is stored unpacked is shared from below"
            );
        }
        for (place, image) in plain["images"].as_array().unwrap().iter().enumerate() {
            rows.push((compression, image.clone(), one["images"][place].clone()));
        }
        let (before, now) = (both(&plain), both(&one));
        println!("{compression}: kubeadm-cni and kube-proxy on one node:");
        for (before, now) in before.iter().zip(&now) {
            println!("  {} {} → {}", before.0, in_mb(before.1), in_mb(now.1));
            assert!(now.1.0 < before.1.0 && now.1.1 < before.1.1, "{before:?} {now:?}");
        }
    }
    for (compression, before, now) in rows {
        let size =
            |image: &Value| (image["compressed"].as_u64().unwrap(), image["extracted"].as_u64().unwrap());
        let (variant, platform) = (before["variant"].as_str().unwrap(), before["platform"].as_str().unwrap());
        println!(
            "{compression} {variant:<12} {platform:<13} {} → {}",
            in_mb(size(&before)),
            in_mb(size(&now))
        );
        if variant == "kubeadm-cni" {
            assert!(size(&now).0 < size(&before).0 && size(&now).1 < size(&before).1);
        }
    }
    let one = folder.path().join("one-gzip");
    let mut check = program::kimg_on(&real, &one, "check");
    check.args(["--variant", "kubeadm-cni", "--variant", "kube-proxy"]);
    let checked = program::answer(check.env("PATH", kimg_testkit::go_path().unwrap()));
    assert_eq!(checked.code, 0, "{}\n{}", checked.out, checked.story);
    // Every flag, with its default.
    let alone = starts_everywhere(&folder.path().join("plain-gzip"), "kubeadm-cni");
    assert!(alone == starts_everywhere(&one, "kubeadm-cni"), "as part of the one a program has other flags");
}

/// For each platform what a node has to pull and store that runs all images: each layer once.
fn both(report: &Value) -> Vec<(String, (u64, u64))> {
    let images = report["images"].as_array().unwrap();
    let on = |platform: Platform| {
        let here = images.iter().filter(|image| image["platform"] == platform.to_string());
        let layers = here.flat_map(|image| image["layers"].as_array().unwrap());
        let unique: std::collections::BTreeMap<_, _> =
            layers.map(|layer| (layer["digest"].as_str().unwrap(), layer)).collect();
        let sum = |what: &str| unique.values().map(|layer| layer[what].as_u64().unwrap()).sum();
        (platform.to_string(), (sum("compressed"), sum("extracted")))
    };
    Platform::DEFAULT.into_iter().map(on).collect()
}

fn in_mb((compressed, extracted): (u64, u64)) -> String {
    kimg_report::sizes(compressed, extracted)
}
