//! Nothing is in `plain` for nothing: each file and link is taken away by itself, and then a program answers otherwise than
//! before, or the file is one of a few that no program can be asked about here, each with the one reason it is there for.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod program;
mod proof;

use std::collections::{BTreeMap, BTreeSet};

use kimg_closure::{Closure, FolderRoot, MemoryFacts, Request, Rules, needs};
use kimg_core::{ImagePath, Platform};
use kimg_testkit::{Real, Root};
use proof::{ENVIRONMENT, Probe};

/// What no probe can tell: the path, by what `kimg why` says it is there, and why no program can be asked about it here.
const UNPROBED: &[(&str, &str, &str)] = &[
    (
        "/etc/nsswitch.conf",
        "root",
        "Go reads it when it looks up the name of a server: kubeadm is watched at it in another test",
    ),
    ("/etc/ssl/certs/ca-certificates.crt", "root", "kubelet reads it when it speaks TLS"),
    ("/etc/ssl/cert.pem", "root", "the same under another name"),
    ("/var/run", "root", "kubelet looks for the socket of the container runtime by this path"),
    ("/etc/os-release", "record", "scanners and the status of the node say what the image is"),
    ("/etc/apk/world", "record", "scanners and apk read it"),
    ("/lib/apk/db/installed", "record", "scanners and apk read it"),
];

/// What came of taking files away, one at a time.
#[derive(Debug, Default)]
struct Outcome {
    noticed: usize,
    unnoticed: BTreeSet<String>,
    /// How many programs were started.
    started: usize,
}

#[test]
fn each_file_of_plain_is_missed_by_a_program_or_named_by_its_own_reason() {
    let Some(real) = kimg_testkit::real() else { return };
    judge(&real, Platform::Amd64, |_| true);
}

#[test]
fn a_library_that_nothing_needs_is_missed_by_no_program() {
    let Some(real) = kimg_testkit::real() else { return };
    let folder = program::folder();
    let unpacked = proof::unpack(&real, "plain", Platform::Amd64, "minimal", folder.path());
    let Some(root) = unpacked else { return };
    let unneeded = "/usr/lib/libblkid.so.1".to_owned();
    fs_err::copy(root.on_disk("/lib/libblkid.so.1.1.0"), root.on_disk(&unneeded)).unwrap();
    let Some(probes) = Probe::all(&root, "plain") else { return };
    let both = BTreeSet::from([unneeded.clone(), "/lib/libmount.so.1".to_owned()]);
    let Some(outcome) = take_away_each(&root, &both, &probes) else { return };
    assert_eq!((outcome.noticed, outcome.unnoticed), (1, BTreeSet::from([unneeded])));
}

/// Under an emulator each start takes long: what is loaded at the start, and a few plugins.
#[test]
fn each_library_and_loader_of_plain_on_armv7_is_missed_by_a_program() {
    let Some(real) = kimg_testkit::real() else { return };
    judge(&real, Platform::ArmV7, |path| {
        let is_loaded = path.contains(".so") && !path.starts_with("/usr/lib/xtables/");
        is_loaded || path.contains("comment") || path.contains("NAT")
    });
}

#[test]
#[ignore = "a minute under an emulator: in .ci/proofs"]
fn each_file_of_plain_on_armv7_is_missed_by_a_program_or_named_by_its_own_reason() {
    let Some(real) = kimg_testkit::real() else { return };
    judge(&real, Platform::ArmV7, |_| true);
}

fn judge(real: &Real, platform: Platform, of: impl Fn(&str) -> bool) {
    let folder = program::folder();
    let Some(root) = proof::unpack(real, "plain", platform, "minimal", folder.path()) else { return };
    let files: BTreeSet<String> = proof::files(&root).into_iter().filter(|path| of(path)).collect();
    let Some(probes) = Probe::all(&root, "plain") else { return };
    let Some(outcome) = take_away_each(&root, &files, &probes) else { return };
    println!("{platform}: {} of {} noticed, {} starts", outcome.noticed, files.len(), outcome.started);
    assert!(outcome.noticed > 8, "{outcome:?}");
    let expected: BTreeSet<String> =
        UNPROBED.iter().map(|(path, ..)| (*path).to_owned()).filter(|path| of(path)).collect();
    // A path that a probe tells after all has no business in the list either.
    assert_eq!(outcome.unnoticed, expected, "{platform}");
    for (path, because, why) in UNPROBED.iter().filter(|(path, ..)| of(path)) {
        assert_eq!(reason(real, platform, path), *because, "{path}: {why}");
    }
}

/// Takes each file away, asks the programs that could miss it, and puts it back. `None` after a visible skip.
fn take_away_each(root: &Root, files: &BTreeSet<String>, probes: &[Probe]) -> Option<Outcome> {
    let reach = reach(root, probes);
    let mut outcome = Outcome::default();
    for path in files {
        let mut order: Vec<&Probe> = probes.iter().collect();
        // Nearly always the first one misses it: the file itself, the plugin's own, one whose closure has it.
        order.sort_by_key(|probe| {
            (probe.program() != path, !probe.is_about(path), !reach[probe.program()].contains(path))
        });
        let away = root.on_disk("/.away");
        fs_err::rename(root.on_disk(path), &away).unwrap();
        let mut missed_by = None;
        for probe in order {
            outcome.started += 1;
            if !probe.is_answered(&root.run(&probe.borrowed(), ENVIRONMENT)?) {
                missed_by = Some(probe);
                break;
            }
        }
        fs_err::rename(&away, root.on_disk(path)).unwrap();
        let Some(probe) = missed_by else {
            outcome.unnoticed.insert(path.clone());
            continue;
        };
        // It was the file that was missed, and not something that went wrong meanwhile.
        assert!(probe.is_answered(&root.run(&probe.borrowed(), ENVIRONMENT)?), "{path}: {:?}", probe.words);
        outcome.noticed += 1;
    }
    Some(outcome)
}

/// What each program leads to by the edges of its closure. It decides only which programs are asked first.
fn reach(root: &Root, probes: &[Probe]) -> BTreeMap<String, BTreeSet<String>> {
    let files = FolderRoot::open(root.folder()).unwrap();
    let facts = MemoryFacts::default();
    let rules = Rules::builtin();
    let closure = |program: &str| -> Closure {
        let path = ImagePath::new(program).unwrap();
        let wanted = [kimg_closure::Root { path, name: program.into(), reason: "is probed".into() }];
        let request = Request {
            tree: &files,
            platform: root.platform(),
            roots: &wanted,
            rules: &rules,
            library_path: &[],
            facts: &facts,
        };
        needs(&request).closure().clone()
    };
    let programs: BTreeSet<&str> = probes.iter().map(Probe::program).collect();
    programs
        .into_iter()
        .map(|program| {
            let paths = closure(program).iter().map(|(path, _)| path.to_string()).collect();
            (program.to_owned(), paths)
        })
        .collect()
}

/// By what a path is in the image, as `kimg why` tells it: the last step of the way from a root to it.
fn reason(real: &Real, platform: Platform, path: &str) -> String {
    let folder = program::folder();
    let mut why = program::kimg_on(real, folder.path(), "why");
    why.args([path, "--variant", "plain", "--platform", &platform.to_string(), "--format", "json"]);
    let answer = &program::json(&mut why)[0];
    let Some(steps) = answer["chain"]["steps"].as_array() else {
        let said = answer["answer"].as_str().unwrap();
        assert!(said.starts_with(&format!("`{path}` is written by kimg: ")), "{said}");
        return "record".to_owned();
    };
    let last = steps.last().unwrap();
    assert_eq!(last["path"], path);
    let because = last["reason"]["because"].as_str().unwrap();
    last["reason"]["rule"].as_str().map_or_else(|| because.to_owned(), |rule| format!("{because} {rule}"))
}
