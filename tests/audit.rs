//! `kimg audit` on images of real programs: what kubelet, kubeadm and kube-proxy can start, and what is missing.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod program;

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use kimg_core::Platform;
use kimg_testkit::{Real, run};
use program::{answer, failure, success};
use serde_json::Value;

/// A variant with little in it: what an image without the other programs is told.
const BARE: &str = r#"
name = "bare"
description = "kubelet and mount"
image = "kubelet"
version-from = "kubelet"
packages = ["ca-certificates-bundle"]

[environment]
PATH = "/bin"

[[layer]]
name = "all"
holds = "all of it"

[[root]]
command = "kubelet"
reason = "the node agent"
layer = "all"
daemon = true

[[root]]
command = "mount"
reason = "mounts volumes"
layer = "all"

[[root]]
command = "iptables"
reason = "stands where PATH does not lead"
layer = "all"
"#;

fn audit(real: &Real, words: &[&str]) -> Value {
    let folder = program::folder();
    program::json(program::kimg_on(real, folder.path(), "audit").args(words).args(["--format", "json"]))
}

/// The calls of one program of an image, by the names of what is started.
fn calls<'a>(image: &'a Value, program: &str) -> BTreeMap<String, &'a Value> {
    let programs = image["programs"].as_array().unwrap();
    let named = |p: &&Value| p["path"].as_str().unwrap().ends_with(&format!("/{program}"));
    let program = programs.iter().find(named).unwrap_or_else(|| panic!("no {program}: {programs:?}"));
    let calls = program["calls"].as_array().unwrap().iter();
    calls.map(|call| (call["starts"][0].as_str().unwrap().to_owned(), call)).collect()
}

fn missing(calls: &BTreeMap<String, &Value>) -> BTreeSet<String> {
    calls.iter().filter(|(_, call)| call["found"].is_null()).map(|(name, _)| name.clone()).collect()
}

#[test]
fn every_variant_has_what_its_programs_cannot_do_without_or_the_audit_says_so() {
    let Some(real) = kimg_testkit::real() else { return };
    let images = audit(&real, &["--arch", "amd64"]);
    let images = images.as_array().unwrap();
    let variants: Vec<_> = images.iter().map(|image| image["variant"].as_str().unwrap()).collect();
    assert_eq!(variants, program::VARIANTS);
    for image in images {
        let variant = image["variant"].as_str().unwrap();
        assert_eq!(image["kubernetes"], "v1.20.2");
        if variant == "kube-proxy" {
            let calls = calls(image, "kube-proxy");
            // The test repository has neither.
            assert_eq!(missing(&calls), BTreeSet::from(["conntrack".to_owned(), "ipset".to_owned()]));
            assert_eq!(calls["iptables-save"]["found"]["file"], "/sbin/xtables-legacy-multi");
            continue;
        }
        let kubelet = calls(image, "kubelet");
        let required = kubelet.values().filter(|call| call["importance"] == "required");
        assert_eq!(required.filter(|call| call["found"].is_null()).count(), 0, "{variant}");
        assert_eq!(kubelet["socat"]["found"]["path"], "/usr/bin/socat");
        assert_eq!(kubelet["/sbin/mount.nfs"]["needed-for"], "NFS volumes");
        assert!(missing(&kubelet).contains("/sbin/mount.nfs"), "{variant}");
        if variant.starts_with("kubeadm") {
            let kubeadm = calls(image, "kubeadm");
            assert_eq!(kubeadm["kubelet"]["found"]["path"], "/usr/bin/kubelet");
            let missing = missing(&kubeadm);
            assert!(missing.contains("crictl") && missing.contains("conntrack"), "{missing:?}");
        }
    }
}

#[test]
fn of_cni_plugins_is_told_what_they_start_or_that_they_start_nothing() {
    let Some(real) = kimg_testkit::real() else { return };
    for arch in ["amd64", "arm64", "armv7"] {
        let images = audit(&real, &["--arch", arch, "--variant", "cni"]);
        let starts = |plugin: &str| -> Vec<String> { calls(&images[0], plugin).into_keys().collect() };
        assert_eq!(starts("portmap"), ["ip6tables", "iptables"], "{arch}: it forgets flows by netlink");
        assert_eq!(starts("firewall"), ["ip6tables", "iptables"], "{arch}");
        let ipam = "/opt/cni/bin/host-local";
        assert_eq!(starts("bridge"), [ipam, "ip6tables", "iptables", "nft"], "{arch}");
        assert_eq!(starts("ptp"), [ipam, "ip6tables", "iptables"], "{arch}");
        assert_eq!(starts("macvlan"), [ipam], "{arch}");
        for call in ["iptables", "ip6tables", "nft", ipam] {
            let bridge = calls(&images[0], "bridge");
            assert_eq!(bridge[call]["evidence"]["confidence"], "certain", "{arch}: {call}");
            assert_eq!(bridge[call]["found"].is_null(), call == "nft", "{arch}: {call}");
        }
        let programs = images[0]["programs"].as_array().unwrap();
        let quiet = programs.iter().filter(|program| program["starts-programs"] == false);
        let quiet: Vec<_> = quiet.map(|p| p["path"].as_str().unwrap().rsplit('/').next().unwrap()).collect();
        let expected = ["bandwidth", "dhcp", "host-local", "loopback", "sbr", "static", "tuning", "vrf"];
        assert_eq!(quiet, expected, "{arch}");
        // Kubelet, and each plugin of the package, once.
        assert_eq!(programs.len(), 1 + program::CNI_PLUGINS.len(), "{arch}");
    }
    let folder = program::folder();
    let mut kimg = program::kimg_on(&real, folder.path(), "audit");
    let table = success(kimg.args(["--arch", "amd64", "--variant", "cni"]));
    assert!(table.contains("\n loopback: starts no other program\n"), "{table}");
    assert!(table.contains("host-local or dhcp or static"), "{table}");
}

#[test]
fn a_call_that_no_function_and_no_string_of_the_binary_shows_is_not_listed() {
    let Some(real) = kimg_testkit::real() else { return };
    for arch in ["amd64", "armv7"] {
        let images = audit(&real, &["--arch", arch, "--variant", "plain"]);
        let kubelet = calls(&images[0], "kubelet");
        // This kubelet was built without the clouds' volumes; hairpin mode had lost ethtool by then.
        for absent in ["ethtool", "udevadm", "/lib/udev/scsi_id", "/sbin/mount.cifs", "btrfs", "nft"] {
            assert!(!kubelet.contains_key(absent), "{arch}: {absent}");
        }
        for present in ["/opt/emc/scaleio/sdc/bin/drv_cfg", "xfs_growfs", "iscsiadm", "rbd"] {
            assert!(kubelet.contains_key(present), "{arch}: {present}");
        }
        assert!(kubelet.len() > 40, "{arch}: {}", kubelet.len());
        for (name, call) in kubelet {
            assert_eq!(call["evidence"]["confidence"], "certain", "{arch}: {name}");
        }
    }
}

#[test]
fn the_functions_that_are_told_stand_in_the_binary_as_grep_finds_them() {
    let Some(real) = kimg_testkit::real() else { return };
    let Some(grep) = kimg_testkit::tool("grep") else { return };
    let folder = program::folder();
    let package = real.package(Platform::ArmV7, "kube-proxy");
    run(Command::new("tar")
        .args(["-xzf"])
        .arg(package)
        .arg("-C")
        .arg(folder.path())
        .arg("usr/bin/kube-proxy"));
    let mut names = Command::new(grep);
    names.args(["-z", "-a", "-F", "-e", "k8s.io/", "-e", "github.com/"]);
    let names = run(names.arg(folder.path().join("usr/bin/kube-proxy")));
    let names: Vec<&str> = names.split('\0').collect();

    let images = audit(&real, &["--arch", "armv7", "--variant", "kube-proxy"]);
    let calls = calls(&images[0], "kube-proxy");
    assert_eq!(calls.len(), 9, "{:?}", calls.keys());
    for (name, call) in calls {
        let caller = call["evidence"]["caller"].as_str().unwrap();
        assert!(names.iter().any(|function| function.ends_with(caller)), "{name}: {caller}");
    }
}

#[test]
fn what_a_variant_leaves_out_is_told_with_what_stops_working() {
    let Some(real) = kimg_testkit::real() else { return };
    let folder = program::folder();
    fs_err::create_dir(folder.path().join("variants")).unwrap();
    fs_err::write(folder.path().join("variants/bare.toml"), BARE).unwrap();
    fs_err::write(folder.path().join("kimg.toml"), "variant-folder = 'variants'\n").unwrap();
    let kimg = |words: &[&str]| {
        let mut kimg = program::kimg_on(&real, folder.path(), "audit");
        kimg.args(["--variant", "bare", "--arch", "amd64"]).args(words);
        kimg
    };
    let table = success(&mut kimg(&[]));
    assert!(table.starts_with("bare for linux/amd64, Kubernetes v1.20.2\n\n Program  "), "{table}");
    let line = |helper: &str| {
        let words = |line: &&str| line.split("  ").any(|cell| cell.trim() == helper);
        table.lines().find(words).unwrap_or_else(|| panic!("{helper}\n{table}")).trim().to_owned()
    };
    assert!(
        line("socat").ends_with("missing") && line("socat").contains("`kubectl port-forward`"),
        "{table}"
    );
    assert!(line("umount").ends_with("missing, required"), "{table}");
    assert!(line("mount.nfs or mount.nfs4").contains("NFS volumes"), "{table}");
    assert!(line("mount").ends_with("/bin/mount"), "{table}");
    assert!(line("iptables").ends_with("missing, required"), "PATH is /bin, and it stands in /sbin\n{table}");

    let report = answer(&mut kimg(&["--fail-on", "required"]));
    assert_eq!(report.code, 13, "{}", report.story);
    assert_eq!(report.out, table, "the report is printed whatever the policy says of it");
    assert!(report.story.contains("error: programs that are required are missing:\n  kubelet starts "));
    assert!(report.story.contains("umount: unmounting volumes of every kind"), "{}", report.story);
    assert!(!report.story.contains("NFS"), "{}", report.story);
}

#[test]
fn the_policy_decides_the_exit_code() {
    let Some(real) = kimg_testkit::real() else { return };
    let folder = program::folder();
    let code = |variant: &str, policy: &str| {
        let mut kimg = program::kimg_on(&real, folder.path(), "audit");
        answer(kimg.args(["--arch", "armv7", "--variant", variant, "--fail-on", policy])).code
    };
    assert_eq!((code("plain", "never"), code("plain", "required"), code("plain", "missing")), (0, 0, 13));
    // Without crictl, kubeadm's preflight refuses the node.
    assert_eq!((code("kubeadm", "never"), code("kubeadm", "required")), (0, 13));
    assert_eq!(code("plain", "sometimes"), 2);
}

#[test]
fn the_json_has_these_names() {
    let Some(real) = kimg_testkit::real() else { return };
    let images = audit(&real, &["--arch", "amd64", "--variant", "kube-proxy"]);
    let keys = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>().join(" ");
    let image = &images[0];
    assert_eq!(keys(image), "kubernetes platform programs search-path variant");
    let program = &image["programs"][0];
    assert_eq!(keys(program), "calls catalogued path starts-programs");
    assert_eq!(program["path"], "/usr/local/bin/kube-proxy");
    let call =
        program["calls"].as_array().unwrap().iter().find(|c| c["call"] == "kube-proxy-modprobe").unwrap();
    assert_eq!(keys(call), "before call evidence found importance needed-for since source starts");
    assert_eq!(keys(&call["evidence"]), "caller confidence seen word");
    assert_eq!(call["found"], serde_json::json!({ "path": "/sbin/modprobe", "file": "/bin/kmod" }));
    assert_eq!((&call["importance"], &call["evidence"]["seen"]), (&"feature".into(), &"whole".into()));
}

#[test]
fn markdown_names_the_program_in_every_row() {
    let Some(real) = kimg_testkit::real() else { return };
    let folder = program::folder();
    let mut kimg = program::kimg_on(&real, folder.path(), "audit");
    let text = success(kimg.args(["--arch", "amd64", "--variant", "kube-proxy", "--format", "markdown"]));
    assert!(
        text.starts_with("### kube-proxy for linux/amd64, Kubernetes v1.20.2\n\n| Program | Helper |"),
        "{text}"
    );
    assert!(text.contains("| kube-proxy | ipset | the mode ipvs | missing |"), "{text}");
    assert!(text.ends_with("- kube-proxy: 7 of 9 are in the image; missing: 2 for features\n"), "{text}");
}

#[test]
fn rules_of_ones_own_switch_a_call_off_and_a_wrong_one_is_shown_where_it_stands() {
    let Some(real) = kimg_testkit::real() else { return };
    let folder = program::folder();
    let rules = folder.path().join("rules");
    fs_err::create_dir(&rules).unwrap();
    fs_err::write(folder.path().join("kimg.toml"), "rule-folder = 'rules'\n").unwrap();
    let off = "[[call]]\nname = 'kube-proxy-ipset'\nprogram = ['kube-proxy']\nstarts = []\nimportance = 'feature'\npurpose = 'no'\n";
    fs_err::write(rules.join("mine.toml"), off).unwrap();
    let kimg = || {
        let mut kimg = program::kimg_on(&real, folder.path(), "audit");
        kimg.args(["--arch", "amd64", "--variant", "kube-proxy"]);
        kimg
    };
    let table = success(&mut kimg());
    assert!(!table.contains("ipset") && table.contains("7 of 8"), "{table}");

    fs_err::write(rules.join("mine.toml"), off.replace("['kube-proxy']", "['*']")).unwrap();
    let story = failure(&mut kimg(), 2);
    assert!(
        story.contains("rules/mine.toml: call `kube-proxy-ipset`: program `*` would hold for everything"),
        "{story}"
    );
    assert!(story.contains("rules/mine.toml:3:12\n3 | program = ['*']"), "{story}");
}

#[test]
fn a_program_that_holds_no_call_is_said_to_hold_none() {
    let folder = program::folder();
    let mut kimg = program::kimg_sample(folder.path(), "audit");
    let text = success(kimg.args(["--variant", "plain", "--arch", "armv7"]));
    assert!(text.contains("kubelet: none of the "), "{text}");
    assert!(text.contains("is found in it: it is packed, or another program"), "{text}");
}
