//! Nothing is left out that programs open: they are watched in the whole packages, and whatever they name there with
//! success has to be in the minimal image too.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod program;
mod proof;

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use kimg_core::Platform;
use kimg_testkit::{Root, both, run};
use proof::{ENVIRONMENT, Probe};

/// What programs open in whole packages and do without: variant, path and why.
const DONE_WITHOUT: &[(&str, &str, &str)] = &[
    ("plain", "/proc", MOUNTED),
    ("kubeadm-cni", "/proc", MOUNTED),
    ("kubeadm-cni", "/etc/hosts", "whoever runs the container puts it there"),
    ("kube-proxy", "/proc", MOUNTED),
];
const MOUNTED: &str = "a runtime mounts it, and makes the folder where an image has none";

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
    judge("kube-proxy", &["/bin/kmod", "/etc/modprobe.d/aliases.conf", "/usr/lib/xtables/libxt_comment.so"]);
}

#[test]
fn names_of_protocols_are_read_from_a_file_by_glibcs_iptables_and_by_none_of_musls() {
    let Some(real) = kimg_testkit::real() else { return };
    let Some(debian) = kimg_testkit::debian_root() else { return };
    let folder = program::folder();
    let asked = |program: &str, root: &Root| {
        let words = [program, "-p", "kimgs-own", "--help"];
        root.run(&words, ENVIRONMENT).map(|output| (output.status.success(), both(&output)))
    };
    let ours = "kimgs-own 253 KIMG\n";

    let copy = folder.path().join("debian");
    run(Command::new("cp").arg("-al").arg(debian).arg(&copy));
    fs_err::write(copy.join("etc/protocols"), ours).unwrap();
    let mut slim = program::kimg(folder.path());
    slim.arg("slim").arg(&copy).args(["--root", "/usr/sbin/xtables-legacy-multi", "--keep", "/run", "-q"]);
    fs_err::create_dir_all(copy.join("run")).unwrap();
    program::success(slim.args(["-o", "out", "--tag", "a:1"]));
    let unpacked = kimg_testkit::umoci_unpack(
        &folder.path().join("out"),
        "a:1",
        Platform::Amd64,
        &folder.path().join("glibc"),
    );
    let Some(glibc) = unpacked else { return };
    let multi = "/usr/sbin/iptables";
    fs_err::os::unix::fs::symlink("xtables-legacy-multi", glibc.on_disk(multi)).unwrap();
    let (known, said) = asked(multi, &glibc).unwrap();
    assert!(known, "{said}");
    let comment = both(&glibc.run(&[multi, "-m", "comment", "--help"], ENVIRONMENT).unwrap());
    assert!(comment.contains("comment match options"), "plugins come along: {comment}");
    fs_err::remove_file(glibc.on_disk("/etc/protocols")).unwrap();
    let (known, said) = asked(multi, &glibc).unwrap();
    assert!(!known && said.contains("kimgs-own"), "{said}");

    let Some(musl) = proof::unpack(&real, "plain", Platform::Amd64, "minimal", folder.path()) else { return };
    assert!(!musl.has("/etc/protocols") && musl.has("/etc/services"));
    let (tcp, said) = {
        let output = musl.run(&["iptables", "-p", "tcp", "--help"], ENVIRONMENT).unwrap();
        (output.status.success(), both(&output))
    };
    assert!(tcp, "{said}");
    fs_err::write(musl.on_disk("/etc/protocols"), ours).unwrap();
    let (known, said) = asked("iptables", &musl).unwrap();
    assert!(!known && said.contains("kimgs-own"), "{said}");
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
