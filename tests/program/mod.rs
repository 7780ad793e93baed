//! The kimg program as tests start it: in a folder of its own, with nothing of this machine's environment.

#![allow(dead_code, reason = "each test program uses a part of it")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use assert_cmd::Command;
use kimg_core::{Digest, Platform};
use kimg_testkit::{Layout, Real, TempDir};
use serde_json::Value;

/// The variants that are compiled in.
pub(crate) const VARIANTS: [&str; 6] = ["plain", "flannel", "cni", "kubeadm", "kubeadm-cni", "kube-proxy"];

/// The sixteen plugins of the package cni-plugins 1.1.1.
pub(crate) const CNI_PLUGINS: [&str; 16] = [
    "bandwidth",
    "bridge",
    "dhcp",
    "firewall",
    "host-device",
    "host-local",
    "ipvlan",
    "loopback",
    "macvlan",
    "portmap",
    "ptp",
    "sbr",
    "static",
    "tuning",
    "vlan",
    "vrf",
];

/// A temporary folder below `target/`: the system's own may be small, and hard links end at a file system's border.
pub(crate) fn folder() -> TempDir {
    TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap()
}

/// The cache that tests share when they are not about the cache.
pub(crate) fn shared_cache() -> PathBuf {
    kimg_testkit::workspace().join("target/test-cache")
}

/// `kimg`, to be started in a folder.
pub(crate) fn kimg(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kimg"));
    command.current_dir(folder).env_clear().env("HOME", folder);
    command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command
}

/// `kimg COMMAND` on the real repository, with the shared cache.
pub(crate) fn kimg_on(real: &Real, folder: &Path, command: &str) -> Command {
    let mut kimg = kimg(folder);
    kimg.arg(command).arg("--repository").arg(real.repo()).arg("--keys").arg(real.keys());
    kimg.arg("--cache-dir").arg(shared_cache()).args(["--progress", "plain"]);
    kimg
}

/// Fast to write, for outputs whose size no test looks at.
pub(crate) const QUICK: &str = "compression=zstd:1";

/// Builds from the real repository, without packing.
#[track_caller]
pub(crate) fn build(real: &Real, folder: &Path, arguments: &[&str]) -> String {
    let mut kimg = kimg_on(real, folder, "build");
    success(kimg.args(["--pack", "never", "-q"]).args(arguments))
}

/// `kimg COMMAND` on the embedded sample, with the shared cache.
pub(crate) fn kimg_sample(folder: &Path, command: &str) -> Command {
    let mut kimg = kimg(folder);
    kimg.args([command, "--sample", "--progress", "plain", "--cache-dir"]).arg(shared_cache());
    kimg
}

/// `kimg COMMAND` that builds from the sample, for tests of where that goes: nothing is packed, nothing tried twice.
pub(crate) fn kimg_quick(folder: &Path, command: &str) -> Command {
    let mut kimg = kimg_sample(folder, command);
    kimg.args(["--pack", "never", "--retry-times", "0"]);
    kimg
}

/// `kimg COMMAND` that only talks to registries, with a cache of its own in this folder.
pub(crate) fn kimg_talk(folder: &Path, command: &str) -> Command {
    let mut kimg = kimg(folder);
    kimg.args([command, "--retry-times", "0", "--cache-dir"]).arg(folder.join("cache"));
    kimg
}

/// What a run left behind: exit code, standard output, standard error.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) story: String,
}

/// Runs a command to its end, whatever that is.
#[track_caller]
pub(crate) fn answer(command: &mut Command) -> Answer {
    let output = command.output().unwrap();
    Answer {
        code: output.status.code().expect("no signal ended it"),
        out: String::from_utf8(output.stdout).unwrap(),
        story: String::from_utf8(output.stderr).unwrap(),
    }
}

/// Runs a command that has to succeed, and gives its standard output.
#[track_caller]
pub(crate) fn success(command: &mut Command) -> String {
    let answer = answer(command);
    assert_eq!(answer.code, 0, "{command:?}\n{}\n{}", answer.out, answer.story);
    answer.out
}

/// Runs a command that has to fail with this exit code, and gives its standard error.
#[track_caller]
pub(crate) fn failure(command: &mut Command, code: i32) -> String {
    let answer = answer(command);
    assert_eq!(answer.code, code, "{command:?}\n{}\n{}", answer.out, answer.story);
    assert!(answer.story.contains("error: "), "{}", answer.story);
    assert_eq!(answer.out, "", "an error leaves standard output empty");
    answer.story
}

/// Runs a command that prints JSON.
#[track_caller]
pub(crate) fn json(command: &mut Command) -> Value {
    let text = success(command);
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

/// One of the indexes in a layout, by its variant.
#[derive(Debug, Clone)]
pub(crate) struct Built {
    /// A name that leads to it.
    pub(crate) name: String,
    pub(crate) digest: Digest,
}

/// The indexes of a layout by variant, as the labels of their images say. Of several names the longest is given.
pub(crate) fn indexes(layout: &Layout) -> BTreeMap<String, Built> {
    let mut all: BTreeMap<String, Built> = BTreeMap::new();
    for (name, digest) in layout.names() {
        let manifest = Platform::DEFAULT.into_iter().find_map(|p| layout.manifest(digest, p)).unwrap();
        let variant = label(layout, manifest, "io.kimg.variant").unwrap();
        let longest = all.get(&variant).map_or(0, |built| built.name.len());
        if name.len() > longest {
            all.insert(variant, Built { name, digest });
        }
    }
    all
}

/// A label of an image.
pub(crate) fn label(layout: &Layout, manifest: Digest, name: &str) -> Option<String> {
    layout.config(manifest)["config"]["Labels"][name].as_str().map(str::to_owned)
}

/// The files of a layout with their digests: equal for equal layouts.
pub(crate) fn files(folder: &Path) -> BTreeMap<PathBuf, Digest> {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in fs_err::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let digest = Digest::of(fs_err::read(&path).unwrap());
                found.insert(path.strip_prefix(folder).unwrap().to_owned(), digest);
            }
        }
    }
    found
}
