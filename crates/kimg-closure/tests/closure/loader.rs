//! The search order against musl's real loader: made-up trees, laid out on the disk, the same question to both.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use kimg_closure::{Problem, Reason};
use kimg_core::{Content, FileTree, ImagePath, Kind, Platform};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use crate::elf_writer::Elf;
use crate::real_tree::{packages, skipped};
use crate::trees::{Tree, origin, path};

const FOLDERS: [&str; 6] = ["/lib", "/usr/local/lib", "/usr/lib", "/own", "/own/sub", "/env"];
const NAMES: [&str; 4] = ["liba.so", "libb.so", "libc2.so", "libd.so.1"];
const NEEDS: [&str; 7] =
    ["liba.so", "libb.so", "libc2.so", "libd.so.1", "libpthread.so.0", "/own/libb.so", "/own/../env/liba.so"];
const SEARCH: [&str; 8] = [
    "/own",
    "$ORIGIN",
    "$ORIGIN/sub:/none",
    "${ORIGIN}/../own",
    "/own/$LIB",
    "rel:/env",
    "/own/sub/",
    "\n/env:/own",
];

/// What lies at a place: a library, or a link to another place.
#[derive(Debug, Clone)]
enum Place {
    Library { needs: Vec<usize>, rpath: Option<usize>, runpath: Option<usize> },
    Link { folder: usize, name: usize },
}

type Made = (Vec<((usize, usize), Place)>, (Vec<usize>, Option<usize>), Option<usize>, Option<usize>);

fn made() -> impl Strategy<Value = Made> {
    let needs = || proptest::collection::vec(0..NEEDS.len(), 1..4);
    let search = || proptest::option::weighted(0.5, 0..SEARCH.len());
    let library = (needs(), proptest::option::weighted(0.3, 0..SEARCH.len()), search())
        .prop_map(|(needs, rpath, runpath)| Place::Library { needs, rpath, runpath });
    let link = (0..FOLDERS.len(), 0..NAMES.len()).prop_map(|(folder, name)| Place::Link { folder, name });
    let place = prop_oneof![2 => library, 1 => link];
    let places = proptest::collection::btree_map((0..FOLDERS.len(), 0..NAMES.len()), place, 12..28);
    let setting = || proptest::option::weighted(0.3, 0..FOLDERS.len());
    (places.prop_map(|p| p.into_iter().collect()), (needs(), search()), setting(), setting())
}

/// The tree, with musl's real loader in it.
fn tree((places, (needs, runpath), setting, path_file): &Made, loader: &Content) -> Tree {
    let words = |needs: &[usize]| needs.iter().map(|n| NEEDS[*n]).collect::<Vec<_>>();
    let search = |place: Option<usize>| place.map(|p| SEARCH[p].to_owned());
    let program = Elf { runpath: search(*runpath), ..Elf::program(Platform::Amd64) }.needs(&words(needs));
    let loader = kimg_core::Entry::file(loader.clone(), 0o755, origin());
    let mut tree = Tree::new().entry("/lib/ld-musl-x86_64.so.1", loader).elf("/opt/bin/p", &program);
    for folder in FOLDERS {
        tree = tree.folder(folder);
    }
    for ((folder, name), place) in places {
        let at = format!("{}/{}", FOLDERS[*folder], NAMES[*name]);
        tree = match place {
            Place::Library { needs, rpath, runpath } => {
                let (rpath, runpath) = (search(*rpath), search(*runpath));
                tree.elf(&at, &Elf { rpath, runpath, ..Elf::library(Platform::Amd64) }.needs(&words(needs)))
            }
            Place::Link { folder: to, name } => {
                let up = "../".repeat(FOLDERS[*folder].matches('/').count());
                tree.link(&at, &format!("{up}{}/{}", &FOLDERS[*to][1..], NAMES[*name]))
            }
        };
    }
    if let Some(folder) = setting {
        tree = tree.library_path(FOLDERS[*folder]);
    }
    match path_file {
        Some(folder) => {
            tree.data("/etc/ld-musl-x86_64.path", &format!("/nowhere\n{}:/usr/lib\n", FOLDERS[*folder]))
        }
        None => tree,
    }
}

pub(crate) fn lay_out(tree: &FileTree, root: &Path) {
    for (at, entry) in tree.iter() {
        let place = root.join(at.relative());
        match &entry.kind {
            Kind::Directory => fs_err::create_dir_all(place).unwrap(),
            Kind::Symlink { target } => symlink(target, place).unwrap(),
            Kind::File { content, .. } => {
                content.copy_to(fs_err::File::create(&place).unwrap()).unwrap();
                let mode = std::os::unix::fs::PermissionsExt::from_mode(entry.mode);
                fs_err::set_permissions(place, mode).unwrap();
            }
        }
    }
}

/// The files that the loader opens for the program; `None` when it misses one.
fn asked(root: &Path, tree: &Tree) -> Option<BTreeSet<ImagePath>> {
    let mut command = Command::new("chroot");
    command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").current_dir("/");
    for folder in &tree.library_path {
        command.env("LD_LIBRARY_PATH", folder.as_str());
    }
    command.arg(root).args(["/lib/ld-musl-x86_64.so.1", "--list", "/opt/bin/p"]);
    let output = kimg_testkit::output(&mut command);
    assert!(output.status.code().is_some(), "the loader fell: {output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    let found = text.lines().filter_map(|line| line.split_once(" => ")?.1.split(" (").next());
    let real = found.map(|found| {
        let place = fs_err::canonicalize(root.join(&found[1..])).unwrap();
        path(place.strip_prefix(root).unwrap().to_str().unwrap())
    });
    let files = real.filter(|p| !p.as_str().contains("ld-musl")).collect();
    output.status.success().then_some(files)
}

#[test]
fn made_up_searches_end_where_musl_s_own_loader_ends() {
    if Platform::from_alpine(std::env::consts::ARCH) != Some(Platform::Amd64) {
        return skipped("musl's loader for x86_64 can't be started here");
    }
    if !Command::new("chroot").args(["/", "true"]).output().is_ok_and(|o| o.status.success()) {
        return skipped("programs can't be started in another root: that takes root");
    }
    let Some(real) = packages(Platform::Amd64) else { return };
    let loader = real.get(&path("/lib/ld-musl-x86_64.so.1")).unwrap().content().unwrap().clone();
    let (whole, missing) = (Cell::new(0), Cell::new(0));
    let mut runner = TestRunner::new(Config { cases: 120, failure_persistence: None, ..Config::default() });
    let result = runner.run(&made(), |made| {
        let tree = tree(&made, &loader);
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let root = fs_err::canonicalize(folder.path()).unwrap();
        lay_out(&tree.files, &root);
        let theirs = asked(&root, &tree);
        let ours = match tree.close(&["/opt/bin/p"]) {
            Ok(closure) => {
                let needed = closure.iter().filter(|(_, reason)| matches!(reason, Reason::Needed { .. }));
                Some(needed.map(|(path, _)| tree.files.resolve(path).unwrap().path).collect())
            }
            Err(error) => {
                let search = matches!(
                    error.problem(),
                    Problem::LibraryMissing { .. } | Problem::LibraryUnreachable { .. }
                );
                prop_assert!(search, "{}", error);
                None
            }
        };
        prop_assert_eq!(&ours, &theirs);
        let count = if theirs.is_some() { &whole } else { &missing };
        count.set(count.get() + 1);
        Ok(())
    });
    if let Err(error) = result {
        panic!("{error}");
    }
    let (whole, missing) = (whole.get(), missing.get());
    assert!(whole > 20 && missing > 20, "{whole} whole, {missing} missing: too much alike to tell anything");
}
