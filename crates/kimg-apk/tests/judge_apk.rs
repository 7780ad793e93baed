//! The real apk 2.12 as judge: what it unpacks and writes down is what must come out here.

#![expect(clippy::unwrap_used, reason = "a test that can't be set up has failed")]

mod judge;
mod real;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::Command;

use kimg_apk::{Applets, Installation, Limits, Package, install, installed_db, link_applets, read_package};
use kimg_core::{FileTree, ImagePath, Kind, MemorySink};

use judge::{blocks, on_disk, on_paper, same};
use real::Repository;

/// The real apk, with a repository at `/repo`.
struct Judge {
    apk: judge::Judge,
    repository: Repository,
}

impl Judge {
    /// `None`, visibly, where it can't be.
    fn new(arch: &str) -> Option<Self> {
        let repository = real::of_arch(arch)?;
        let apk = judge::Judge::new()?;
        apk.share(&repository.folder, &format!("repo/{arch}"), |_| true);
        Some(Self { apk, repository })
    }

    fn path(&self, below: &str) -> PathBuf {
        self.apk.path(below)
    }

    fn apk(&self, target: &str, arguments: &[&str]) -> String {
        self.apk.apk(target, arguments)
    }

    /// Lets apk install these packages and what they need into `/<target>`, step by step; gives what it installed, and
    /// what was there before.
    fn install(&self, target: &str, steps: &[&[&str]]) -> (Vec<Package>, BTreeMap<String, String>) {
        self.apk.share(&real::assembled().unwrap().join("keys"), &format!("{target}/etc/apk/keys"), |_| true);
        let arch = self.repository.arch.as_str();
        let apks_own = self.apk.empty_root(target, arch);
        for names in steps {
            let mut arguments = vec!["add", "--arch", arch, "--no-scripts", "-X", "/repo"];
            arguments.extend(*names);
            self.apk(target, &arguments);
        }
        let installed: BTreeSet<String> =
            self.apk(target, &["info", "-v"]).lines().map(|line| format!("{line}.apk")).collect();
        let records = self.repository.index.packages.iter().filter(|r| installed.contains(&r.file_name()));
        let packages: Vec<_> = records
            .map(|record| {
                let bytes = self.repository.bytes(record);
                let keys = &self.repository.keys;
                read_package(&bytes, keys, Some(record), arch, &Limits::default(), &mut MemorySink).unwrap()
            })
            .collect();
        assert_eq!(packages.len(), installed.len());
        (packages, apks_own)
    }
}

const CHOSEN: [&str; 6] =
    ["alpine-baselayout", "iptables", "util-linux", "coreutils", "busybox", "ca-certificates"];

fn compare_with_apk(arch: &str) {
    let Some(judge) = Judge::new(arch) else { return };
    // Both ship the bundle, and `replaces` with its priority gives it to ca-certificates. But they are of one source package,
    // and apk 2.12 lets the later of such two have a path before it asks for `replaces` (a newer apk asks the other way round).
    // In this order both rules say the same.
    let (packages, apks_own) = judge.install("out", &[&["ca-certificates-bundle"], &CHOSEN]);
    let Installation { tree, replaced, .. } = install(&packages).unwrap();

    let expected = on_disk(&judge.path("out"));
    assert!(expected.len() > 500, "apk installed only {} paths", expected.len());
    same(&expected, &on_paper(&tree), &apks_own);
    let bundle = ImagePath::new("etc/ssl/certs/ca-certificates.crt").unwrap();
    assert!(
        replaced.iter().any(|r| r.path == bundle
            && r.kept == "ca-certificates"
            && r.dropped == "ca-certificates-bundle")
    );
}

#[test]
fn the_tree_is_what_apk_unpacks_on_x86_64() {
    compare_with_apk("x86_64");
}

#[test]
fn the_tree_is_what_apk_unpacks_on_armv7() {
    compare_with_apk("armv7");
}

#[test]
fn the_database_of_a_whole_installation_is_the_one_that_apk_writes() {
    let Some(judge) = Judge::new("x86_64") else { return };
    let (packages, _) = judge.install("out", &[&CHOSEN]);
    let tree = install(&packages).unwrap().tree;
    let found = installed_db(&packages.iter().collect::<Vec<_>>(), &tree);
    let expected = fs_err::read_to_string(judge.path("out/lib/apk/db/installed")).unwrap();
    let (found_blocks, expected_blocks) = (blocks(&found), blocks(&expected));
    assert_eq!(found_blocks.keys().collect::<Vec<_>>(), expected_blocks.keys().collect::<Vec<_>>());
    for (name, lines) in &expected_blocks {
        let missing: Vec<_> = lines.difference(&found_blocks[name]).collect();
        let extra: Vec<_> = found_blocks[name].difference(lines).collect();
        assert!(missing.is_empty() && extra.is_empty(), "{name}: missing {missing:#?}, extra {extra:#?}");
    }

    // And apk reads it like its own: the same packages, the same files, nothing changed on the disk.
    let before =
        (judge.apk("out", &["list", "-I"]), judge.apk("out", &["info", "-L", "iptables", "coreutils"]));
    fs_err::write(judge.path("out/lib/apk/db/installed"), &found).unwrap();
    let after =
        (judge.apk("out", &["list", "-I"]), judge.apk("out", &["info", "-L", "iptables", "coreutils"]));
    assert_eq!(before, after);
    assert_eq!(judge.apk("out", &["audit", "--system"]), "");
}

#[test]
fn the_database_of_a_trimmed_tree_names_what_is_left_and_apk_finds_it_right() {
    let Some(judge) = Judge::new("x86_64") else { return };
    let (packages, _) = judge.install("out", &[&["iptables", "coreutils", "busybox"]]);
    let whole = install(&packages).unwrap().tree;
    let kept = ["lib/ld-musl-x86_64.so.1", "bin/busybox", "usr/bin/iptables-xml"]
        .map(|p| ImagePath::new(p).unwrap());
    let mut wanted: BTreeSet<ImagePath> = BTreeSet::new();
    for path in &kept {
        let resolved = whole.resolve(path).unwrap();
        wanted.insert(resolved.path);
        wanted.extend(resolved.links);
    }
    let mut tree: FileTree =
        wanted.iter().map(|path| (path.clone(), whole.get(path).unwrap().clone())).collect();
    tree.add_parents(&kimg_core::Origin::generated("test"));

    let text = installed_db(&packages.iter().collect::<Vec<_>>(), &tree);
    let trimmed = judge.path("trimmed");
    for (path, entry) in tree.iter() {
        let place = trimmed.join(path.relative());
        match &entry.kind {
            Kind::Directory => fs_err::create_dir_all(&place).unwrap(),
            Kind::Symlink { target } => std::os::unix::fs::symlink(target, &place).unwrap(),
            Kind::File { content, .. } => fs_err::write(&place, content.read(1 << 30).unwrap()).unwrap(),
        }
        if !matches!(entry.kind, Kind::Symlink { .. }) {
            let mode = std::os::unix::fs::PermissionsExt::from_mode(entry.mode);
            fs_err::set_permissions(&place, mode).unwrap();
        }
    }
    fs_err::create_dir_all(trimmed.join("lib/apk/db")).unwrap();
    fs_err::create_dir_all(trimmed.join("etc/apk")).unwrap();
    fs_err::write(trimmed.join("lib/apk/db/installed"), text).unwrap();
    fs_err::write(trimmed.join("etc/apk/world"), kimg_apk::world_file(["iptables"].into_iter())).unwrap();

    let listed: BTreeSet<String> = judge.apk("trimmed", &["info"]).lines().map(str::to_owned).collect();
    let owners: BTreeSet<String> = wanted
        .iter()
        .filter_map(|path| whole.get(path).unwrap().origin.package().map(str::to_owned))
        .collect();
    assert_eq!(listed, owners);
    let files: BTreeSet<ImagePath> = listed
        .iter()
        .flat_map(|name| {
            judge.apk("trimmed", &["info", "-L", name]).lines().skip(1).map(str::to_owned).collect::<Vec<_>>()
        })
        .filter(|line| !line.is_empty())
        .map(|line| ImagePath::new(&line).unwrap())
        .collect();
    assert_eq!(files, wanted);
    // Nothing of what the database names is missing or changed; `U` would be something it should not name.
    let audit = judge.apk("trimmed", &["audit", "--system"]);
    assert_eq!(audit, "");
}

#[test]
fn the_links_are_those_that_busybox_makes_itself() {
    let Some(judge) = Judge::new("x86_64") else { return };
    let (packages, apks_own) = judge.install("out", &[&["busybox", "alpine-baselayout"]]);
    let mut tree = install(&packages).unwrap().tree;
    let mut without_list = tree.clone();
    link_applets(&mut tree, Applets::All).unwrap();

    let out = judge.path("out");
    // The two commands of its post-install script.
    for arguments in [&["mkdir", "-p", "/bin", "/sbin", "/usr/bin", "/usr/sbin"][..], &["--install", "-s"]] {
        let made = Command::new("chroot").arg(&out).arg("/bin/busybox").args(arguments).status().unwrap();
        assert!(made.success());
    }
    let expected = on_disk(&out);
    assert!(expected.len() > 350, "{}", expected.len());
    same(&expected, &on_paper(&tree), &apks_own);

    // Without its list of paths, as before Alpine 3.17, the table of names in the binary gives the same links.
    without_list.remove(&ImagePath::new("etc/busybox-paths.d/busybox").unwrap());
    link_applets(&mut without_list, Applets::All).unwrap();
    let links = |tree: &FileTree| -> BTreeMap<String, String> {
        on_paper(tree).into_iter().filter(|(_, text)| text.ends_with(" -> /bin/busybox")).collect()
    };
    assert_eq!(links(&tree), links(&without_list));
}
