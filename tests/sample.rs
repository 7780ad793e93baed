//! The embedded sample: the first command works on a machine that reaches nothing, and says loudly what it made.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod program;

use kimg_core::Platform;
use kimg_testkit::Layout;

#[test]
fn the_first_command_works_without_any_network_and_says_sample() {
    let folder = program::folder();
    let mut kimg = program::kimg(folder.path());
    // No proxy leads anywhere, and the cache is empty.
    kimg.envs([("HTTPS_PROXY", "http://127.0.0.1:1"), ("HTTP_PROXY", "http://127.0.0.1:1")]);
    kimg.args(["build", "--sample", "--variant", "cni", "--arch", "armv7", "--cache-dir", "cache"]);
    let text = program::success(&mut kimg);
    assert!(text.to_lowercase().contains("sample"), "{text}");
    let last = text.lines().rfind(|line| !line.trim().is_empty()).unwrap();
    assert!(last.to_lowercase().contains("sample"), "the last line says it: {last}");
    assert!(text.contains("arm/v7"), "{text}");

    let layout = Layout::open(folder.path().join("out"));
    layout.check();
    let names = layout.names();
    assert!(!names.is_empty() && names.iter().all(|(name, _)| name.ends_with("-sample")), "{names:?}");
    let manifest = layout.manifest(names[0].1, Platform::ArmV7).unwrap();
    assert!(program::label(&layout, manifest, "io.kimg.sample").is_some());
    assert!(program::label(&layout, manifest, "org.opencontainers.image.title").unwrap().contains("SAMPLE"));
}

#[test]
fn the_samples_programs_start() {
    let folder = program::folder();
    program::success(&mut program::kimg_sample(folder.path(), "build"));
    let layout = Layout::open(folder.path().join("out"));
    for (variant, paths) in [
        ("plain", &["/usr/bin/kubelet"][..]),
        ("cni", &["/usr/bin/kubelet", "/opt/cni/bin/bridge", "/opt/cni/bin/portmap"]),
        ("kubeadm", &["kubeadm", "mount"]),
        // What comes first on the path is a script, which an emulator alone can't start.
        ("kube-proxy", &["/usr/local/bin/kube-proxy", "/usr/sbin/iptables"]),
    ] {
        let name = &program::indexes(&layout)[variant].name;
        for platform in Platform::DEFAULT {
            let unpacked = folder.path().join(format!("{variant}-{}", platform.short()));
            let Some(root) = kimg_testkit::umoci_unpack(layout.folder(), name, platform, &unpacked) else {
                return;
            };
            for path in paths {
                let Some(output) = root.run(&[path], &[("CNI_COMMAND", "VERSION")]) else { return };
                assert!(output.status.success(), "{path} on {platform}: {output:?}");
                let said = String::from_utf8_lossy(&output.stdout).to_lowercase();
                assert!(said.contains("sample"), "{path} on {platform}: {said}");
            }
        }
    }
}

#[test]
fn the_sample_is_the_same_every_time() {
    let build = || {
        let folder = program::folder();
        let mut kimg = program::kimg(folder.path());
        program::success(kimg.args(["build", "--sample", "--quiet", "--cache-dir", "cache"]))
    };
    let first = build();
    assert_eq!(first, build());
    assert!(first.lines().all(|line| line.contains("-sample@sha256:")), "{first}");
}

#[test]
fn the_sample_takes_no_repository_beside_it() {
    let folder = program::folder();
    let story = program::failure(program::kimg_sample(folder.path(), "build").args(["-r", "repo"]), 2);
    assert!(story.contains("--sample"), "{story}");
}
