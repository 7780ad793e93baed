//! What people see of the files of an image as a tree.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use kimg_core::ImagePath;
use kimg_report::{Depth, FileTreeReport, ListedFile};

const WHOLE: Depth = Depth { levels: None, every_file: true };
const SHORT: Depth = Depth { levels: None, every_file: false };

fn path(text: &str) -> ImagePath {
    ImagePath::new(text).unwrap()
}

fn folder(text: &str) -> ListedFile {
    ListedFile { kind: "directory", ..file(text, 0, "alpine-baselayout-3.2.0-r18", "/x", "folder") }
}

fn file(text: &str, size: u64, from: &str, because_of: &str, why: &str) -> ListedFile {
    ListedFile {
        path: path(text),
        kind: "file",
        size,
        target: None,
        from: from.into(),
        layer: "base".into(),
        because_of: (!because_of.is_empty()).then(|| path(because_of)),
        why: why.into(),
    }
}

/// A program behind a link, its libraries, twenty plugins, and kubelet in a layer of its own.
fn files() -> Vec<ListedFile> {
    let iptables = "iptables-1.8.9-r2";
    let mut files: Vec<ListedFile> =
        ["/lib", "/sbin", "/usr", "/usr/bin", "/usr/lib", "/usr/lib/xtables"].map(folder).to_vec();
    let why = "kubelet keeps its mark and hint chains with it";
    let link = file("/sbin/iptables", 0, iptables, "", why);
    files.push(ListedFile { kind: "symlink", target: Some("xtables-legacy-multi".into()), ..link });
    files.push(file("/sbin/xtables-legacy-multi", 98_304, iptables, "/sbin/iptables", "target of the link"));
    files.push(file(
        "/lib/ld-musl-armhf.so.1",
        401_208,
        "musl-1.2.2-r8",
        "/sbin/xtables-legacy-multi",
        "loader",
    ));
    files.push(file("/usr/lib/libxtables.so.12", 60_123, iptables, "/sbin/xtables-legacy-multi", "needed"));
    for number in 0..20 {
        let name = format!("/usr/lib/xtables/libxt_{number:02}.so");
        files.push(file(
            &name,
            9_000 + number,
            iptables,
            "/sbin/xtables-legacy-multi",
            "rule xtables-plugins",
        ));
    }
    let kubelet = file("/usr/bin/kubelet", 67_082_048, "kubelet-1.20.2-r0", "", "the node agent");
    files.push(ListedFile { layer: "kubelet".into(), ..kubelet });
    files.sort_by(|a, b| a.path.cmp(&b.path));
    files
}

#[test]
fn folders_say_what_they_hold() {
    insta::assert_snapshot!(FileTreeReport::by_folder(&files()).to_terminal(SHORT, 100, false));
}

#[test]
fn reasons_say_what_each_root_brought() {
    insta::assert_snapshot!(FileTreeReport::by_reason(&files()).to_terminal(SHORT, 100, false));
}

#[test]
fn every_file_is_there_when_all_are_asked_for() {
    for tree in [FileTreeReport::by_folder(&files()), FileTreeReport::by_reason(&files())] {
        let text = tree.to_terminal(WHOLE, 100, false);
        for file in files().iter().filter(|file| file.kind != "directory") {
            assert!(text.contains(file.path.file_name().unwrap()), "{}\n{text}", file.path);
        }
        assert!(text.lines().all(|line| line.chars().count() <= 100), "{text}");
    }
}

#[test]
fn a_depth_cuts_the_tree_and_keeps_the_sums() {
    let depth = Depth { levels: Some(1), every_file: false };
    insta::assert_snapshot!(FileTreeReport::by_folder(&files()).to_terminal(depth, 100, false));
}

#[test]
fn programs_get_sums_in_bytes() {
    let json = FileTreeReport::by_folder(&files()).to_json();
    let whole: u64 = files().iter().map(|file| file.size).sum();
    assert_eq!(json[0]["bytes"], whole);
    assert_eq!(json[0]["files"], 25);
    let by_reason = FileTreeReport::by_reason(&files()).to_json();
    let roots: Vec<u64> =
        by_reason.as_array().unwrap().iter().map(|r| r["bytes"].as_u64().unwrap()).collect();
    assert_eq!(roots.iter().sum::<u64>(), whole);
    assert_eq!(by_reason[0]["path"], "/usr/bin/kubelet");
}
