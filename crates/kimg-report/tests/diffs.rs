//! What people see of the differences between two images.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::cmp::Ordering;
use std::collections::BTreeMap;

use kimg_core::{Content, Digest, Entry, FileTree, ImagePath, Kind, Origin, Platform};
use kimg_report::{
    Aspect, Change, DiffReport, ImageContents, ImageDiff, InstalledPackage, OneSided, PackageFate,
};

fn path(text: &str) -> ImagePath {
    ImagePath::new(text).unwrap()
}

fn contents(name: &str, versions: &[(&str, &str)]) -> ImageContents {
    let packages = versions.iter().map(|(name, version)| {
        let package = InstalledPackage { version: (*version).into(), identity: format!("Q1{name}{version}") };
        ((*name).to_owned(), package)
    });
    ImageContents {
        digest: Digest::of(name),
        layers: vec![(Digest::of("base"), 2_000_000), (Digest::of(format!("{name} top")), 18_000_000)],
        tree: FileTree::new(),
        packages: packages.collect(),
        settings: BTreeMap::from([("Env.PATH".into(), "/usr/bin".into())]),
    }
}

fn put(image: &mut ImageContents, at: &str, bytes: usize, package: &str) {
    let origin = Origin::Package { name: package.into(), version: image.packages[package].version.clone() };
    // Other versions have other bytes.
    let mut text = image.packages[package].version.clone().into_bytes();
    text.resize(bytes, b'.');
    image.tree.insert(path(at), Entry::file(Content::from_bytes(text), 0o755, origin));
}

fn link(image: &mut ImageContents, at: &str, target: &str) {
    image.tree.insert(path(at), Entry::symlink(target, Origin::generated("test")));
}

fn two() -> (ImageContents, ImageContents) {
    let mut a = contents("a", &[("iproute2", "6.1.0-r0"), ("kubelet", "1.20.2-r0"), ("socat", "1.7.4-r0")]);
    put(&mut a, "/sbin/ip", 700_100, "iproute2");
    put(&mut a, "/usr/bin/kubelet", 67_082, "kubelet");
    put(&mut a, "/usr/bin/socat", 400_000, "socat");
    link(&mut a, "/usr/bin/vi", "/bin/busybox");
    let mut b =
        contents("b", &[("iproute2", "6.1.0-r1"), ("kubelet", "1.20.2-r0"), ("conntrack", "1.4.6-r1")]);
    put(&mut b, "/sbin/ip", 702_300, "iproute2");
    put(&mut b, "/usr/bin/kubelet", 67_082, "kubelet");
    put(&mut b, "/usr/sbin/conntrack", 90_000, "conntrack");
    link(&mut b, "/usr/bin/vi", "vim");
    b.tree.get_mut(&path("/usr/bin/kubelet")).unwrap().mode = 0o4755;
    b.tree.get_mut(&path("/usr/bin/kubelet")).unwrap().gid = 7;
    b.settings.insert("Labels.org.opencontainers.image.version".into(), "v1.20.2".into());
    (a, b)
}

fn between(a: &ImageContents, b: &ImageContents) -> ImageDiff {
    ImageDiff::between("plain".into(), Platform::ArmV7, a, b, str::cmp)
}

fn report() -> DiffReport {
    let (a, b) = two();
    let same = ImageDiff::between("cni".into(), Platform::Amd64, &a, &a, |_, _| Ordering::Equal);
    DiffReport {
        a: "oci:old".into(),
        b: "oci:new".into(),
        images: vec![between(&a, &b), same],
        only_in_a: vec![OneSided { image: "flannel".into(), platform: Platform::Amd64 }],
        only_in_b: Vec::new(),
    }
}

#[test]
fn a_terminal_shows_packages_settings_files_and_totals() {
    let text = report().to_terminal(100, false);
    assert!(text.lines().all(|line| line.chars().count() <= 100), "{text}");
    insta::assert_snapshot!(text);
}

#[test]
fn a_pull_request_gets_markdown() {
    insta::assert_snapshot!(report().to_markdown());
}

#[test]
fn programs_get_bytes() {
    insta::assert_snapshot!(report().to_json());
}

#[test]
fn an_image_is_equal_to_itself() {
    let (a, _) = two();
    let same = between(&a, &a);
    assert!(same.is_equal());
    assert_eq!(same.to_pull, 0);
}

#[test]
fn there_and_back_are_mirror_images() {
    let (a, b) = two();
    let (there, back) = (between(&a, &b), between(&b, &a));
    let mirrored = |change| match change {
        Change::Added => Change::Removed,
        Change::Removed => Change::Added,
        Change::Changed => Change::Changed,
    };
    assert_eq!(there.files.len(), back.files.len());
    for (one, other) in there.files.iter().zip(&back.files) {
        assert_eq!((&one.path, one.change), (&other.path, mirrored(other.change)));
        assert_eq!((&one.before, &one.after), (&other.after, &other.before));
    }
    let fates: Vec<_> = back.packages.iter().map(|p| p.change).collect();
    let expected =
        [PackageFate::Removed, PackageFate::Downgraded, PackageFate::OtherFiles, PackageFate::Added];
    assert_eq!(fates, expected);
}

#[test]
fn a_time_alone_is_counted_and_is_no_change_of_a_file() {
    let (a, _) = two();
    let mut b = a.clone();
    b.tree.get_mut(&path("/sbin/ip")).unwrap().mtime = 1;
    let diff = between(&a, &b);
    assert_eq!((diff.times, diff.files.len(), diff.is_equal()), (1, 0, false));
}

#[test]
fn a_file_that_becomes_a_link_has_another_type() {
    let (a, mut b) = two();
    link(&mut b, "/sbin/ip", "/bin/busybox");
    let diff = between(&a, &b);
    let ip = diff.files.iter().find(|f| f.path == path("/sbin/ip")).unwrap();
    assert!(ip.differs.contains(&Aspect::Type) && !ip.differs.contains(&Aspect::Content), "{ip:?}");
}

#[test]
fn a_second_name_of_a_file_takes_no_room() {
    let (mut a, _) = two();
    let before = between(&a, &a).a.on_disk;
    let mut first = a.tree.get(&path("/sbin/ip")).unwrap().clone();
    if let Kind::File { inode, .. } = &mut first.kind {
        *inode = Some(path("/sbin/ip"));
    }
    a.tree.insert(path("/sbin/ip"), first.clone());
    a.tree.insert(path("/usr/sbin/ip"), first);
    assert_eq!(between(&a, &a).a.on_disk, before);
}
