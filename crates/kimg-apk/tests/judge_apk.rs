//! The real apk 2.12 as judge: what it unpacks and writes down is what must come out here.

#![expect(clippy::unwrap_used, reason = "a test that can't be set up has failed")]

mod real;

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use kimg_apk::{Applets, Installation, Limits, Package, install, installed_db, link_applets, read_package};
use kimg_core::{Digest, FileTree, ImagePath, Kind, MemorySink};
use tempfile::TempDir;

use real::{Repository, skipped};

/// A root with the real apk in it, and `/repo` below it.
struct Judge {
    root: TempDir,
    repository: Repository,
}

impl Judge {
    /// `None`, visibly: the input is not there, or this is not root.
    fn new(arch: &str) -> Option<Self> {
        let input = real::input()?;
        let repository = real::of_arch(arch)?;
        if !fs_err::read_to_string("/proc/self/status").unwrap().contains("\nUid:\t0\t0\t") {
            skipped("chroot wants root");
            return None;
        }
        let root = TempDir::new().unwrap();
        let minirootfs = input.join("minirootfs/alpine-minirootfs-3.15.11-x86_64.tar.gz");
        let unpacked =
            Command::new("tar").arg("xzf").arg(minirootfs).arg("-C").arg(root.path()).status().unwrap();
        assert!(unpacked.success());
        let judge = Self { root, repository };
        let below = judge.path("repo").join(arch);
        fs_err::create_dir_all(&below).unwrap();
        for file in fs_err::read_dir(&judge.repository.folder).unwrap() {
            let from = file.unwrap().path();
            let to = below.join(from.file_name().unwrap());
            // A link where the disk allows it: the repository is large.
            if fs_err::hard_link(&from, &to).is_err() {
                fs_err::copy(&from, &to).unwrap();
            }
        }
        Some(judge)
    }

    fn path(&self, below: &str) -> PathBuf {
        self.root.path().join(below)
    }

    /// Runs apk on the root `/<target>`; gives what it printed.
    fn apk(&self, target: &str, arguments: &[&str]) -> String {
        let mut command = Command::new("chroot");
        command.stdin(std::process::Stdio::null());
        command
            .arg(self.root.path())
            .args(["/sbin/apk", "--root", &format!("/{target}"), "--no-network"])
            .args(arguments);
        let output = command.output().unwrap();
        let printed = String::from_utf8_lossy(&output.stdout).into_owned();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "apk {arguments:?}: {printed}{errors}");
        printed
    }

    /// Lets apk install these packages and what they need into `/<target>`, step by step; gives what it installed.
    fn install(&self, target: &str, steps: &[&[&str]]) -> Vec<Package> {
        let keys = self.path(target).join("etc/apk/keys");
        fs_err::create_dir_all(&keys).unwrap();
        for file in fs_err::read_dir(real::assembled().unwrap().join("keys")).unwrap() {
            let file = file.unwrap();
            fs_err::copy(file.path(), keys.join(file.file_name())).unwrap();
        }
        let arch = self.repository.arch.as_str();
        self.apk(target, &["add", "--initdb", "--arch", arch]);
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
        packages
    }
}

/// Each path as text: kind, mode, owner, time, target or digest, and the first path that shares its inode.
fn on_disk(root: &Path) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut inodes: BTreeMap<u64, String> = BTreeMap::new();
    let mut folders = vec![root.to_owned()];
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs_err::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let meta = fs_err::symlink_metadata(&path).unwrap();
            let name = format!("/{}", path.strip_prefix(root).unwrap().display());
            if apks_own(&name) {
                continue;
            }
            if meta.is_dir() {
                folders.push(path.clone());
            }
            files.push((name, path, meta));
        }
    }
    files.sort_by(|a, b| a.0.cmp(&b.0));
    for (name, path, meta) in files {
        let owner = format!("{:04o} {}:{}", meta.mode() & 0o7777, meta.uid(), meta.gid());
        let text = if meta.is_dir() {
            format!("d{owner}")
        } else if meta.is_symlink() {
            format!("l{owner} -> {}", fs_err::read_link(&path).unwrap().display())
        } else {
            let digest = Digest::of(fs_err::read(&path).unwrap());
            let link = if meta.nlink() > 1 {
                format!(" inode={}", inodes.entry(meta.ino()).or_insert_with(|| name.clone()))
            } else {
                String::new()
            };
            format!("f{owner} {} {digest}{link}", meta.mtime())
        };
        found.insert(name, text);
    }
    found
}

/// The same for a tree.
fn on_paper(tree: &FileTree) -> BTreeMap<String, String> {
    let mut groups: BTreeMap<&ImagePath, &ImagePath> = BTreeMap::new();
    for (path, entry) in tree.iter() {
        if let Kind::File { inode: Some(first), .. } = &entry.kind {
            groups.entry(first).or_insert(path);
        }
    }
    let text = |entry: &kimg_core::Entry| {
        let owner = format!("{:04o} {}:{}", entry.mode, entry.uid, entry.gid);
        match &entry.kind {
            Kind::Directory => format!("d{owner}"),
            Kind::Symlink { target } => format!("l{owner} -> {target}"),
            Kind::File { content, inode } => {
                let link = inode.as_ref().map(|i| format!(" inode={}", groups[i])).unwrap_or_default();
                format!("f{owner} {} {}{link}", entry.mtime, content.digest())
            }
        }
    };
    tree.iter().map(|(path, entry)| (path.to_string(), text(entry))).collect()
}

/// What apk itself puts into a root, besides packages.
fn apks_own(path: &str) -> bool {
    ["/lib/apk", "/etc/apk", "/var/cache/apk", "/proc", "/dev"]
        .iter()
        .any(|own| path.strip_prefix(own).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')))
}

fn same(expected: &BTreeMap<String, String>, found: &BTreeMap<String, String>) {
    let paths: BTreeSet<_> = expected.keys().chain(found.keys()).collect();
    let differences: Vec<_> = paths
        .into_iter()
        .filter(|path| expected.get(*path) != found.get(*path))
        .map(|path| format!("{path}\n  apk:  {:?}\n  kimg: {:?}\n", expected.get(path), found.get(path)))
        .collect();
    assert!(differences.is_empty(), "{} differences\n{}", differences.len(), differences.concat());
}

const CHOSEN: [&str; 6] =
    ["alpine-baselayout", "iptables", "util-linux", "coreutils", "busybox", "ca-certificates"];

fn compare_with_apk(arch: &str) {
    let Some(judge) = Judge::new(arch) else { return };
    // Both ship the bundle, and `replaces` with its priority gives it to ca-certificates. But they are of one source package,
    // and apk 2.12 lets the later of such two have a path before it asks for `replaces` (a newer apk asks the other way round).
    // In this order both rules say the same.
    let packages = judge.install("out", &[&["ca-certificates-bundle"], &CHOSEN]);
    let Installation { tree, replaced, .. } = install(&packages).unwrap();

    let expected = on_disk(&judge.path("out"));
    let found: BTreeMap<_, _> = on_paper(&tree).into_iter().filter(|(p, _)| !apks_own(p)).collect();
    assert!(expected.len() > 500, "apk installed only {} paths", expected.len());
    same(&expected, &found);
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

/// A database as apk wrote it: the fields and paths of each package, in an order that does not matter.
fn blocks(text: &str) -> BTreeMap<String, BTreeSet<String>> {
    let mut all = BTreeMap::new();
    for block in text.split("\n\n").filter(|block| !block.trim().is_empty()) {
        let name = block.lines().find_map(|line| line.strip_prefix("P:")).unwrap().to_owned();
        let mut lines = BTreeSet::new();
        let (mut folder, mut file) = ("", "");
        for line in block.lines() {
            match line.split_once(':').unwrap() {
                ("F", value) => (folder, file) = (value, ""),
                ("R", value) => file = value,
                _ => {}
            }
            lines.insert(format!("{folder}|{file}|{line}"));
        }
        all.insert(name, lines);
    }
    all
}

#[test]
fn the_database_of_a_whole_installation_is_the_one_that_apk_writes() {
    let Some(judge) = Judge::new("x86_64") else { return };
    let packages = judge.install("out", &[&CHOSEN]);
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
    let packages = judge.install("out", &[&["iptables", "coreutils", "busybox"]]);
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
    let packages = judge.install("out", &[&["busybox", "alpine-baselayout"]]);
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
    same(&expected, &on_paper(&tree).into_iter().filter(|(p, _)| !apks_own(p)).collect());

    // Without its list of paths, as before Alpine 3.17, the table of names in the binary gives the same links.
    without_list.remove(&ImagePath::new("etc/busybox-paths.d/busybox").unwrap());
    link_applets(&mut without_list, Applets::All).unwrap();
    let links = |tree: &FileTree| -> BTreeMap<String, String> {
        on_paper(tree).into_iter().filter(|(_, text)| text.ends_with(" -> /bin/busybox")).collect()
    };
    same(&links(&tree), &links(&without_list));
}
