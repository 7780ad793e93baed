//! The flags and the configuration that images and nodes start a kubelet with, held against the real programs.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod program;

use std::collections::BTreeSet;

use kimg_core::Platform;
use kimg_testkit::{Layout, Root, both};

/// One image of each kind on one platform, unpacked: its root, and the words that it starts with.
fn unpacked(variant: &str, platform: Platform) -> Option<(kimg_testkit::TempDir, Root, Vec<String>)> {
    let real = kimg_testkit::real()?;
    let folder = program::folder();
    let mut build = program::kimg_on(&real, folder.path(), "build");
    build.args(["--variant", variant, "--arch", platform.short(), "--pack", "never"]);
    program::success(&mut build);
    let layout = Layout::open(folder.path().join("out"));
    let index = program::indexes(&layout)[variant].clone();
    let config = layout.config(layout.manifest(index.digest, platform).unwrap());
    let words = config["config"]["Entrypoint"].as_array().unwrap();
    let words = words.iter().map(|word| word.as_str().unwrap().to_owned()).collect();
    let root =
        kimg_testkit::umoci_unpack(layout.folder(), &index.name, platform, &folder.path().join("image"))?;
    Some((folder, root, words))
}

/// The flags that a program says it has.
fn flags_of(root: &Root, program: &str) -> Option<BTreeSet<String>> {
    let output = root.run(&[program, "--help"], &[])?;
    let help = both(&output);
    let words = help.split(|c: char| c.is_whitespace() || "=,'`\"".contains(c));
    let flags: BTreeSet<String> = words.filter(|word| word.starts_with("--")).map(str::to_owned).collect();
    assert!(flags.len() > 20, "{program}: {help}");
    Some(flags)
}

fn flag(word: &str) -> &str {
    word.split('=').next().unwrap()
}

/// Every word that a node adds, for each runtime.
fn added_words(variant: &str) -> Vec<String> {
    let folder = program::folder();
    let of = |runtime: &str| -> Vec<String> {
        let mut node = program::kimg(folder.path());
        node.args(["node", "run", "--kubernetes", "1.20.2", "--variant", variant, "--format", "json"]);
        let answer = program::json(node.args(["--runtime", runtime]));
        answer["command"].as_array().unwrap().iter().map(|word| word.as_str().unwrap().to_owned()).collect()
    };
    ["docker", "containerd", "crio"].into_iter().flat_map(of).filter(|word| word.starts_with("--")).collect()
}

fn every_flag_exists_on(platform: Platform) {
    let Some((_folder, root, entrypoint)) = unpacked("cni", platform) else { return };
    let Some(flags) = flags_of(&root, &entrypoint[0]) else { return };
    let words: Vec<String> = entrypoint[1..].iter().cloned().chain(added_words("cni")).collect();
    assert!(words.iter().any(|word| flag(word) == "--network-plugin"), "{words:?}");
    assert!(words.iter().any(|word| flag(word) == "--container-runtime"), "{words:?}");
    let unknown: Vec<_> = words.iter().filter(|word| !flags.contains(flag(word))).collect();
    assert!(unknown.is_empty(), "{platform}: {unknown:?}");
    accepts_its_configuration(&root, &entrypoint);

    let Some((_folder, root, entrypoint)) = unpacked("kube-proxy", platform) else { return };
    let Some(flags) = flags_of(&root, &entrypoint[0]) else { return };
    let words = entrypoint[1..].iter().map(String::as_str).chain(["--hostname-override=$(NODE_NAME)"]);
    let unknown: Vec<_> = words.filter(|word| !flags.contains(flag(word))).collect();
    assert!(unknown.is_empty(), "{platform}: {unknown:?}");
}

/// The kubelet reads its configuration first, and then the certificate that this one names, which nobody has put there.
fn accepts_its_configuration(root: &Root, entrypoint: &[String]) {
    let words: Vec<&str> = entrypoint.iter().map(String::as_str).collect();
    let said = both(&root.run(&words, &[]).unwrap());
    assert!(said.contains("unable to load client CA file /etc/kubernetes/pki/ca.crt"), "{said}");
    assert!(!said.contains("strict") && !said.contains("unknown flag"), "{said}");
    if root.platform() != Platform::Amd64 {
        return;
    }
    // A word that is none would be noticed, in the configuration and on the command line.
    let path = root.on_disk("/var/lib/kubelet/config.yaml");
    let text = fs_err::read_to_string(&path).unwrap();
    fs_err::write(&path, text.replace("cgroupDriver: cgroupfs", "cgroupDriver: 5")).unwrap();
    let said = both(&root.run(&words, &[]).unwrap());
    assert!(said.contains("failed to load Kubelet config file"), "{said}");
    let said = both(&root.run(&[&words[..], &["--no-such-flag"]].concat(), &[]).unwrap());
    assert!(said.contains("unknown flag: --no-such-flag"), "{said}");
}

#[test]
fn every_flag_that_is_passed_exists_and_the_configuration_is_accepted_on_amd64() {
    every_flag_exists_on(Platform::Amd64);
}

#[test]
fn every_flag_that_is_passed_exists_and_the_configuration_is_accepted_on_arm64() {
    every_flag_exists_on(Platform::Arm64);
}

#[test]
fn every_flag_that_is_passed_exists_and_the_configuration_is_accepted_on_armv7() {
    every_flag_exists_on(Platform::ArmV7);
}

#[test]
fn kubeadm_writes_the_flags_that_a_node_with_containerd_gets() {
    let Some((_folder, root, _)) = unpacked("kubeadm", Platform::Amd64) else { return };
    // `kubeadm init phase kubelet-start` writes /var/lib/kubelet/kubeadm-flags.env as `kubeadm join` does.
    let config = "apiVersion: kubeadm.k8s.io/v1beta2\nkind: InitConfiguration\nnodeRegistration:\n  \
                  criSocket: /run/containerd/containerd.sock\n  name: node1\nlocalAPIEndpoint:\n  \
                  advertiseAddress: 10.0.0.1\n---\napiVersion: kubeadm.k8s.io/v1beta2\nkind: ClusterConfiguration\n\
                  kubernetesVersion: v1.20.2\n";
    fs_err::write(root.on_disk("/kubeadm.yaml"), config).unwrap();
    let phase = ["kubeadm", "init", "phase", "kubelet-start", "--config=/kubeadm.yaml"];
    let Some(output) = root.run(&phase, &[]) else { return };
    let said = both(&output);
    let written = fs_err::read_to_string(root.on_disk("/var/lib/kubelet/kubeadm-flags.env"));
    let written = written.unwrap_or_else(|error| panic!("{error}\n{said}"));
    let folder = program::folder();
    let mut node = program::kimg(folder.path());
    node.args(["node", "run", "--kubernetes", "1.20.2", "--variant", "kubeadm", "--format", "json"]);
    let ours = program::json(&mut node)["command"].to_string();
    for word in ["--container-runtime=remote", "containerd/containerd.sock"] {
        assert!(written.contains(word) && ours.contains(word), "{written}\n{ours}");
    }
}
