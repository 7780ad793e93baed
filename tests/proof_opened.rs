//! Nothing is left out that programs open: they are watched in the whole packages, and whatever they name there with
//! success has to be in the minimal image too.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod program;
mod proof;

use std::collections::{BTreeMap, BTreeSet};

use kimg_core::Platform;
use kimg_testkit::{Root, both};
use proof::{ENVIRONMENT, Probe};

/// What programs open in whole packages and do without: variant, path and why.
const DONE_WITHOUT: &[(&str, &str, &str)] = &[
    ("plain", "/proc", MOUNTED),
    ("kubeadm-cni", "/proc", MOUNTED),
    ("kubeadm-cni", "/etc/hosts", "whoever runs the container puts it there"),
    ("kube-proxy", "/proc", MOUNTED),
    ("kube-proxy", "/etc/modprobe.d", ALIASES),
    ("kube-proxy", "/etc/modprobe.d/aliases.conf", ALIASES),
    ("kube-proxy", "/etc/modprobe.d/blacklist.conf", ALIASES),
    ("kube-proxy", "/etc/modprobe.d/i386.conf", ALIASES),
    ("kube-proxy", "/etc/modprobe.d/kms.conf", ALIASES),
];
const MOUNTED: &str = "a runtime mounts it, and makes the folder where an image has none";
const ALIASES: &str =
    "other names, and hotplugged modules to pass over: kube-proxy asks for modules by their own names";

#[test]
fn what_programs_of_plain_open_in_the_whole_packages_is_in_the_minimal_image_too() {
    judge(
        "plain",
        &["/usr/lib/xtables/libxt_comment.so", "/lib/libblkid.so.1", "/etc/passwd", "/etc/services"],
    );
}

#[test]
fn what_programs_of_kubeadm_cni_open_in_the_whole_packages_is_in_the_minimal_image_too() {
    judge("kubeadm-cni", &["/sbin/ip", "/opt/cni/bin/bridge", "/etc/nsswitch.conf"]);
}

#[test]
fn what_programs_of_kube_proxy_open_in_the_whole_packages_is_in_the_minimal_image_too() {
    judge("kube-proxy", &["/bin/kmod", "/usr/lib/xtables/libxt_comment.so"]);
}

/// Watches the programs of a variant. Some paths are told that one of them has to be seen to open.
fn judge(variant: &str, surely_opened: &[&str]) {
    let Some(real) = kimg_testkit::real() else { return };
    let folder = program::folder();
    let unpack = |contents| proof::unpack(&real, variant, Platform::Amd64, contents, folder.path());
    let Some(minimal) = unpack("minimal") else { return };
    let Some(whole) = unpack("packages") else { return };
    // Before any program is started: what programs write is no part of an image.
    let (kept, there) = (paths(&minimal), paths(&whole));
    assert!(kept.len() + 200 < there.len(), "{} of {}", kept.len(), there.len());
    assert!(kept.is_subset(&there), "{:?}", kept.difference(&there));

    let Some(probes) = Probe::all(&minimal, variant) else { return };
    let mut opened = BTreeSet::new();
    let mut missing: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for probe in &probes {
        let Some(trace) = whole.trace(&probe.borrowed(), ENVIRONMENT) else { return };
        assert!(probe.is_answered(&trace.output), "{:?}: {}", probe.words, both(&trace.output));
        for path in trace.paths.intersection(&there) {
            opened.insert(path.clone());
            if !kept.contains(path) {
                missing.entry(path.clone()).or_default().push(probe.words.join(" "));
            }
        }
    }
    println!("{variant}: {} probes named {} paths; {} left out", probes.len(), opened.len(), missing.len());
    for path in surely_opened {
        assert!(opened.contains(*path), "nothing was seen to open {path}: {opened:#?}");
    }
    let explained = DONE_WITHOUT.iter().filter(|(of, ..)| *of == variant).map(|(_, path, _)| *path);
    let found: BTreeSet<&str> = missing.keys().map(String::as_str).collect();
    // What is explained and no longer opened has no business in the list either.
    assert_eq!(found, explained.collect(), "{missing:#?}");
}

/// Every file, link and folder.
fn paths(root: &Root) -> BTreeSet<String> {
    let mut all = proof::files(root);
    let mut folders = vec![String::new()];
    while let Some(folder) = folders.pop() {
        for entry in fs_err::read_dir(root.on_disk(&folder)).unwrap() {
            let entry = entry.unwrap();
            if entry.file_type().unwrap().is_dir() {
                folders.push(format!("{folder}/{}", entry.file_name().to_str().unwrap()));
            }
        }
        all.insert(if folder.is_empty() { "/".to_owned() } else { folder });
    }
    all
}
