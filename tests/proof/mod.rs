//! Images whose programs are not packed, and probes: programs of them that are started, with what each has to answer.

#![allow(dead_code, reason = "each test program uses a part of it")]

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Output;

use kimg_core::Platform;
use kimg_testkit::{Layout, Real, Root, both};

use crate::program::{self, CNI_PLUGINS};

/// Builds the image of a variant and unpacks it. `None` after a visible skip.
pub(crate) fn unpack(
    real: &Real,
    variant: &str,
    platform: Platform,
    contents: &str,
    into: &Path,
) -> Option<Root> {
    let folder = program::folder();
    let mut build = program::kimg_on(real, folder.path(), "build");
    build.args(["--variant", variant, "--platform", &platform.to_string()]);
    program::success(build.args(["--pack", "never", "--contents", contents]));
    let layout = folder.path().join("out");
    let name = program::indexes(&Layout::open(&layout)).remove(variant).unwrap().name;
    kimg_testkit::umoci_unpack(&layout, &name, platform, &into.join(contents))
}

/// A program that is started, and what it answers when all is well.
#[derive(Debug, Clone)]
pub(crate) struct Probe {
    /// The program by its path in the root, and its arguments.
    pub(crate) words: Vec<String>,
    /// Part of what it says.
    says: String,
    /// Its exit code.
    code: i32,
    /// The plugin that it is about.
    plugin: Option<String>,
}

/// Command, exit code, part of what is said.
type Asked = (&'static [&'static str], i32, &'static str);

// None of these reaches the kernel's rules, mounts anything or leaves this machine.

const IPTABLES: &[Asked] = &[
    (&["iptables", "--version"], 0, "iptables v1."),
    (&["iptables", "-p", "tcp", "--dport", "https", "--help"], 0, "tcp match options"),
    (&["ip6tables", "--version"], 0, "ip6tables v1."),
    (&["iptables-save", "--version"], 0, "iptables-save v1."),
    (&["ip6tables-save", "--version"], 0, "ip6tables-save v1."),
    (&["iptables-restore", "--version"], 0, "iptables-restore v1."),
    (&["ip6tables-restore", "--version"], 0, "ip6tables-restore v1."),
];

const NODE: &[Asked] = &[
    (&["kubelet", "--version"], 0, "Kubernetes v1.20.2"),
    // It reads its settings and compares them with its flags before it does anything else.
    (
        &["kubelet", "--config=/var/lib/kubelet/config.yaml", "--max-pods=-1"],
        255,
        "invalid configuration: maxPods (--max-pods) -1 must not be a negative number",
    ),
    (&["mount", "--version"], 0, "mount from util-linux"),
    (&["mount", "--fake", "--verbose", "--types", "tmpfs", "none", "/tmp"], 0, "none mounted on /tmp"),
    (&["mount", "--fake", "--verbose", "--bind", "/etc", "/tmp"], 0, "/etc bound on /tmp"),
    (&["umount", "--version"], 0, "umount from util-linux"),
    (&["umount", "--fake", "--verbose", "/tmp"], 0, "/tmp unmounted"),
    (&["blkid", "--version"], 0, "blkid from util-linux"),
    (&["blkid", "-p", "-s", "TYPE", "-o", "value", "/etc/passwd"], 2, ""),
    (&["nsenter", "--version"], 0, "nsenter from util-linux"),
    (&["nsenter", "--target=1", "--mount", "--", "/bin/true"], 1, "cannot open /proc/1/ns/mnt"),
    (&["socat", "-V"], 0, "socat version"),
    // Nothing listens there, and the name is one of /etc/services.
    (&["socat", "-u", "TCP4:127.0.0.1:tcpmux", "-"], 1, "127.0.0.1:1, 16): Connection refused"),
    (&["du", "--version"], 0, "du (GNU coreutils)"),
    (&["du", "-s", "-B", "1", "/etc/group"], 0, "\t/etc/group"),
    (&["nice", "--version"], 0, "nice (GNU coreutils)"),
    (&["find", "--version"], 0, "find (GNU findutils)"),
    (&["find", "/", "-maxdepth", "0", "-printf", "%u:%g\\n"], 0, "root:root"),
];

/// It starts another program, which an emulated one can't.
const NICE: Asked = (&["nice", "-n", "19", "du", "-s", "-B", "1", "/etc/group"], 0, "\t/etc/group");

const KUBEADM: &[Asked] = &[
    (&["kubeadm", "version"], 0, "v1.20.2"),
    // It looks up the name of a proxy that is nowhere, and then goes by its own version.
    (&["kubeadm", "config", "images", "list"], 0, "k8s.gcr.io/kube-apiserver:v1.20.2"),
    (&["ip", "-V"], 0, "ip utility, iproute2"),
    (&["ip", "-o", "link", "show", "dev", "lo"], 0, "lo: <LOOPBACK"),
    (&["ip", "-o", "addr", "show", "dev", "lo"], 0, "lo"),
    (&["ip", "route", "show"], 0, ""),
    (&["tc", "-V"], 0, "tc utility, iproute2"),
    (&["ethtool", "--version"], 0, "ethtool version"),
    (&["uname", "-s"], 0, "Linux"),
];

const KUBE_PROXY: &[Asked] = &[
    (&["/usr/local/bin/kube-proxy", "--version"], 0, "Kubernetes v1.20.2"),
    (&["modprobe", "--version"], 0, "kmod version"),
    (&["modprobe", "--dry-run", "ip_vs"], 1, "Module ip_vs not found"),
    (&["iptables-legacy-save", "--version"], 0, "iptables-save v1."),
];

/// What programs are started with: a proxy that is none, and what a CNI plugin is asked.
pub(crate) const ENVIRONMENT: &[(&str, &str)] =
    &[("HTTPS_PROXY", "http://nonsuch.invalid:1"), ("CNI_COMMAND", "VERSION")];

impl Probe {
    /// Those of a variant, one for each plugin of its iptables among them; each is held against the whole root here.
    pub(crate) fn all(root: &Root, variant: &str) -> Option<Vec<Self>> {
        let mut asked = IPTABLES.to_vec();
        if variant == "kube-proxy" {
            asked.extend(KUBE_PROXY);
        } else {
            asked.extend(NODE);
            asked.extend((root.platform() == Platform::Amd64).then_some(NICE));
        }
        if variant.starts_with("kubeadm") {
            asked.extend(KUBEADM);
        }
        let mut all: Vec<Self> =
            asked.into_iter().map(|(words, code, says)| Self::new(root, words, code, says, None)).collect();
        if variant.ends_with("cni") {
            for plugin in CNI_PLUGINS {
                let path = format!("/opt/cni/bin/{plugin}");
                all.push(Self::new(root, &[&path], 0, r#""supportedVersions":["#, None));
            }
        }
        let folder = "/usr/lib/xtables";
        let mut plugins: Vec<String> = fs_err::read_dir(root.on_disk(folder))
            .unwrap()
            .map(|entry| format!("{folder}/{}", entry.unwrap().file_name().to_str().unwrap()))
            .collect();
        plugins.sort();
        assert!(plugins.len() > 20, "{plugins:?}");
        for plugin in plugins {
            all.push(Self::of_plugin(root, &plugin)?);
        }
        for probe in &all {
            let output = root.run(&probe.borrowed(), ENVIRONMENT)?;
            assert!(probe.is_answered(&output), "{:?}: {}\n{}", probe.words, output.status, both(&output));
        }
        Some(all)
    }

    fn new(root: &Root, words: &[&str], code: i32, says: &str, plugin: Option<String>) -> Self {
        let words = [root.find(words[0])].into_iter().chain(words[1..].iter().map(|w| (*w).to_owned()));
        Self { words: words.collect(), says: says.to_owned(), code, plugin }
    }

    /// iptables says of each match and target what options it has: the plugin itself prints them.
    fn of_plugin(root: &Root, path: &str) -> Option<Self> {
        let extension = path.rsplit('_').next().unwrap().trim_end_matches(".so");
        let words = match extension {
            "standard" => ["-j", "ACCEPT", "--help"],
            // A file that other names lead to, and that is no match or target of its own.
            "NAT" => ["-j", "DNAT", "--help"],
            target if target.chars().all(char::is_uppercase) => ["-j", target, "--help"],
            _ => ["-m", extension, "--help"],
        };
        let program = if path.contains("ip6t_") { "ip6tables" } else { "iptables" };
        let words = [&[program][..], &words].concat();
        let said = both(&root.run(&words, ENVIRONMENT)?);
        Some(Self::new(root, &words, 0, &said, Some(path.to_owned())))
    }

    pub(crate) fn borrowed(&self) -> Vec<&str> {
        self.words.iter().map(String::as_str).collect()
    }

    /// Whether this is the answer it gives when all is well.
    pub(crate) fn is_answered(&self, output: &Output) -> bool {
        output.status.code() == Some(self.code) && both(output).contains(&self.says)
    }

    /// The program by its path.
    pub(crate) fn program(&self) -> &str {
        &self.words[0]
    }

    /// Whether the path is the plugin that it is about.
    pub(crate) fn is_about(&self, path: &str) -> bool {
        self.plugin.as_deref() == Some(path)
    }
}

/// Every file and link below a folder of the root, folders left out.
pub(crate) fn files(root: &Root) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut folders = vec![root.folder().to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs_err::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            if entry.file_type().unwrap().is_dir() {
                folders.push(entry.path());
            } else {
                let path = entry.path();
                found.insert(format!("/{}", path.strip_prefix(root.folder()).unwrap().to_str().unwrap()));
            }
        }
    }
    found
}
