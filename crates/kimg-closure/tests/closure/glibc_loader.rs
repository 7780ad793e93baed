//! glibc's search order against its real loader and its real `ldconfig`: made-up trees, laid out on the disk, the same
//! question to both.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use kimg_closure::{Dialect, Finding, Met, Problem, Reason};
use kimg_core::{Content, Entry, ImagePath, Platform};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use crate::elf_writer::Elf;
use crate::loader::lay_out;
use crate::real_tree::skipped;
use crate::trees::{Tree, origin, path};

pub(crate) const LOADER: &str = "/lib64/ld-linux-x86-64.so.2";
const FOLDERS: [&str; 8] = [
    "/lib/x86_64-linux-gnu",
    "/usr/lib/x86_64-linux-gnu",
    "/lib",
    "/usr/lib",
    "/own",
    "/own/sub",
    "/env",
    "/conf",
];
const NAMES: [&str; 4] = ["liba.so", "libb.so", "libc2.so", "libd.so.1"];
const NEEDS: [&str; 6] =
    ["liba.so", "libb.so", "libc2.so", "libd.so.1", "/own/libb.so", "ld-linux-x86-64.so.2"];
const SEARCH: [&str; 8] = [
    "/own",
    "$ORIGIN",
    "$ORIGIN/sub:/none",
    "${ORIGIN}/../own",
    "/own/$NONE",
    "/env:/conf",
    "/own/sub/",
    "/$LIB:/own",
];

/// What lies at a place.
#[derive(Debug, Clone)]
enum Place {
    /// A library; named after itself or after another.
    Library {
        needs: Vec<usize>,
        rpath: Option<usize>,
        runpath: Option<usize>,
        soname: Option<usize>,
    },
    /// One for another machine, or of another class.
    Foreign(Platform),
    Link {
        folder: usize,
        name: usize,
    },
}

#[derive(Debug, Clone)]
struct Made {
    places: BTreeMap<(usize, usize), Place>,
    needs: Vec<usize>,
    rpath: Option<usize>,
    runpath: Option<usize>,
    setting: Option<usize>,
    conf: Option<Vec<usize>>,
    no_common: bool,
}

fn made() -> impl Strategy<Value = Made> {
    let needs = || proptest::collection::vec(0..NEEDS.len(), 1..4);
    let search = |weight| proptest::option::weighted(weight, 0..SEARCH.len());
    let library = (needs(), search(0.4), search(0.4), proptest::option::weighted(0.3, 0..NAMES.len()))
        .prop_map(|(needs, rpath, runpath, soname)| Place::Library { needs, rpath, runpath, soname });
    let foreign = prop::sample::select(vec![Platform::Arm64, Platform::ArmV7]).prop_map(Place::Foreign);
    let link = (0..FOLDERS.len(), 0..NAMES.len()).prop_map(|(folder, name)| Place::Link { folder, name });
    let place = prop_oneof![4 => library, 1 => foreign, 2 => link];
    let places = proptest::collection::btree_map((0..FOLDERS.len(), 0..NAMES.len()), place, 14..32);
    let setting = proptest::option::weighted(0.3, 0..FOLDERS.len());
    let conf = proptest::option::weighted(0.5, proptest::collection::vec(0..FOLDERS.len(), 1..4));
    (places, needs(), search(0.4), search(0.4), setting, conf, proptest::bool::weighted(0.15)).prop_map(
        |(places, needs, rpath, runpath, setting, conf, no_common)| Made {
            places,
            needs,
            rpath,
            runpath,
            setting,
            conf,
            no_common,
        },
    )
}

/// The tree, with glibc's real loader in it.
fn tree(made: &Made, loader: &Content) -> Tree {
    let words = |needs: &[usize]| needs.iter().map(|n| NEEDS[*n]).collect::<Vec<_>>();
    let search = |place: Option<usize>| place.map(|p| SEARCH[p].to_owned());
    let program = Elf {
        interpreter: Some(LOADER.to_owned()),
        rpath: search(made.rpath),
        runpath: search(made.runpath),
        flags_1: if made.no_common { 0x800 } else { 0 },
        ..Elf::program(Platform::Amd64)
    };
    let loader = Entry::file(loader.clone(), 0o755, origin());
    let mut tree = Tree::new().entry(LOADER, loader).elf("/opt/bin/p", &program.needs(&words(&made.needs)));
    for folder in FOLDERS {
        tree = tree.folder(folder);
    }
    for ((folder, name), place) in &made.places {
        let at = format!("{}/{}", FOLDERS[*folder], NAMES[*name]);
        tree = match place {
            Place::Library { needs, rpath, runpath, soname } => {
                let (rpath, runpath) = (search(*rpath), search(*runpath));
                // ldconfig knows libraries by their soname: in its folders a file has no other name.
                let soname = match (soname, &made.conf) {
                    (Some(soname), None) => Some(NAMES[*soname].to_owned()),
                    (None, None) => None,
                    _ => Some(NAMES[*name].to_owned()),
                };
                let library = Elf { soname, rpath, runpath, ..Elf::library(Platform::Amd64) };
                tree.elf(&at, &library.needs(&words(needs)))
            }
            Place::Foreign(platform) => tree.elf(&at, &Elf::library(*platform)),
            // What ldconfig does with links that lead elsewhere is its own business.
            Place::Link { .. } if made.conf.is_some() => tree,
            Place::Link { folder: to, name } => {
                let up = "../".repeat(FOLDERS[*folder].matches('/').count());
                tree.link(&at, &format!("{up}{}/{}", &FOLDERS[*to][1..], NAMES[*name]))
            }
        };
    }
    if let Some(folder) = made.setting {
        tree = tree.library_path(FOLDERS[folder]);
    }
    match &made.conf {
        Some(folders) => {
            let (first, rest) = folders.split_first().unwrap();
            let rest: String = rest.iter().flat_map(|f| [FOLDERS[*f], "/ # and this\n"]).collect();
            tree.data("/etc/ld.so.conf", &format!("{}\ninclude ld.so.conf.d/*.conf\n", FOLDERS[*first]))
                .data("/etc/ld.so.conf.d/b.conf", &rest)
                .data("/etc/ld.so.conf.d/a.conf.off", "/nowhere\n")
        }
        None => tree,
    }
}

/// Asks as ldd does: with `--list` the first name that is not found would be the last. That takes a setting that
/// chroot(8) would answer to itself.
fn ldd(root: &Path, tree: &Tree) -> Command {
    let ask = "import os, sys; os.chroot(sys.argv[1]); os.chdir('/'); \
               os.execve(sys.argv[2], sys.argv[2:4], dict(s.split('=') for s in sys.argv[4:]))";
    let mut command = Command::new("python3");
    command.env_clear().env("PATH", "/usr/bin:/bin").args(["-c", ask]).arg(root);
    command.args([LOADER, "/opt/bin/p", "LD_TRACE_LOADED_OBJECTS=1"]);
    command.args(tree.library_path.iter().map(|folder| format!("LD_LIBRARY_PATH={folder}")));
    command
}

/// The real path of a file inside a root: what canonicalize says, with absolute links starting at the root.
pub(crate) fn real_path(root: &Path, found: &str) -> ImagePath {
    let mut todo: Vec<String> = found.rsplit('/').map(str::to_owned).collect();
    let mut here = root.to_owned();
    while let Some(name) = todo.pop() {
        match name.as_str() {
            "" | "." => {}
            ".." if here == *root => {}
            ".." => drop(here.pop()),
            name => match fs_err::read_link(here.join(name)) {
                Ok(target) => {
                    if target.is_absolute() {
                        root.clone_into(&mut here);
                    }
                    todo.extend(target.to_str().unwrap().rsplit('/').map(str::to_owned));
                }
                Err(_) => here.push(name),
            },
        }
    }
    assert!(here.exists(), "{found} does not exist");
    path(here.strip_prefix(root).unwrap().to_str().unwrap())
}

/// What the loader says of a program: the real files it opens, and the names it does not find.
pub(crate) fn listed(root: &Path, text: &str) -> (BTreeSet<ImagePath>, BTreeSet<String>) {
    let (mut files, mut missing) = (BTreeSet::new(), BTreeSet::new());
    for line in text.lines().map(str::trim) {
        let (name, found) = line.split_once(" => ").unwrap_or((line, line));
        let found = found.split(" (").next().unwrap();
        if found == "not found" {
            missing.insert(name.to_owned());
        } else if found.starts_with('/') {
            files.insert(real_path(root, found));
        }
    }
    (files, missing)
}

/// The same from the walk: what is in the memory of the first program, and its needs that nothing meets.
pub(crate) fn walked(found: &kimg_closure::Needs) -> (BTreeSet<ImagePath>, BTreeSet<String>) {
    let visit = &found.closure().visits()[0];
    // The loader itself is told of only where something needs it.
    let is_needed = |path: &ImagePath| {
        let mut needed = visit.needs.iter().filter(|n| matches!(n.reason, Reason::Needed { .. }));
        needed.any(|n| n.path() == Some(path))
    };
    let files = visit.objects.iter().skip(1).map(|o| o.path.clone());
    let files = files.filter(|path| visit.loader.as_ref() != Some(path) || is_needed(path)).collect();
    let unmet = visit.needs.iter().filter(|n| matches!(n.met, Met::Unmet { .. }));
    let needed = unmet.filter(|n| matches!(n.reason, Reason::Needed { .. }));
    (files, needed.map(|n| n.name.clone()).collect())
}

/// glibc's loader of this machine, if programs can be started with it in another root.
pub(crate) fn this_machine_s_loader() -> Option<Content> {
    if Platform::from_alpine(std::env::consts::ARCH) != Some(Platform::Amd64) {
        skipped("glibc's loader for x86_64 can't be started here");
        return None;
    }
    let Ok(bytes) = fs_err::read(LOADER) else {
        skipped("this machine has no glibc");
        return None;
    };
    if !Command::new("chroot").args(["/", "true"]).output().is_ok_and(|o| o.status.success()) {
        skipped("programs can't be started in another root: that takes root");
        return None;
    }
    if !Command::new("python3").arg("--version").output().is_ok_and(|o| o.status.success()) {
        skipped("python3 is not installed");
        return None;
    }
    Some(Content::from_bytes(bytes))
}

#[test]
fn made_up_searches_end_where_glibc_s_own_loader_ends() {
    let Some(loader) = this_machine_s_loader() else { return };
    let (whole, missing, cached) = (Cell::new(0), Cell::new(0), Cell::new(0));
    let mut runner = TestRunner::new(Config {
        cases: 150,
        max_shrink_iters: 50,
        failure_persistence: None,
        ..Config::default()
    });
    let result = runner.run(&made(), |made| {
        let mut tree = tree(&made, &loader);
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let root = fs_err::canonicalize(folder.path()).unwrap();
        lay_out(&tree.files, &root);
        if made.conf.is_some() {
            let made = Command::new("/sbin/ldconfig").arg("-X").arg("-r").arg(&root).output().unwrap();
            prop_assert!(made.status.success(), "{:?}", made);
            tree = tree.data("/etc/ld.so.cache", "made by ldconfig");
            cached.set(cached.get() + 1);
        }
        let output = kimg_testkit::output(&mut ldd(&root, &tree));
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let ours = walked(&tree.needs(&["/opt/bin/p"]));
        if !output.status.success() {
            // A path that can't be opened ends even the list, and so does anything that is not found in own folders.
            let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
            let name = complaint.split(": ").nth(2).unwrap_or_default().to_owned();
            prop_assert!(ours.1.contains(&name), "{:?}: {:?}", complaint, ours);
            return Ok(());
        }
        let theirs = listed(&root, &text);
        prop_assert_eq!(&ours, &theirs, "{}", text);
        let count = if theirs.1.is_empty() { &whole } else { &missing };
        count.set(count.get() + 1);
        Ok(())
    });
    if let Err(error) = result {
        panic!("{error}");
    }
    let (whole, missing) = (whole.get(), missing.get());
    assert!(whole > 20 && missing > 20, "{whole} whole, {missing} missing: too much alike to tell anything");
    assert!(cached.get() > 20, "only {} with a cache", cached.get());
}

fn glibc_tree() -> Tree {
    let soname = Some("ld-linux-x86-64.so.2".to_owned());
    Tree::new().elf(LOADER, &Elf { soname, ..Elf::library(Platform::Amd64) })
}

fn program(needs: &[&str]) -> Elf {
    Elf { interpreter: Some(LOADER.to_owned()), ..Elf::program(Platform::Amd64) }.needs(needs)
}

#[test]
fn runpath_is_not_handed_on_and_rpath_is() {
    let elf = |rpath: Option<&str>, runpath: Option<&str>| Elf {
        rpath: rpath.map(str::to_owned),
        runpath: runpath.map(str::to_owned),
        ..program(&["liba.so"])
    };
    let tree = |program: &Elf| {
        glibc_tree()
            .elf("/bin/p", program)
            .elf("/x/liba.so", &Elf::library(Platform::Amd64).needs(&["libb.so"]))
            .elf("/x/libb.so", &Elf::library(Platform::Amd64))
    };
    assert!(tree(&elf(Some("/x"), None)).close(&["/bin/p"]).is_ok());
    for runpath in [elf(None, Some("/x")), elf(Some("/x"), Some("/x"))] {
        let error = tree(&runpath).error("/bin/p");
        assert!(
            matches!(error.problem(), Problem::LibraryMissing { soname, .. } if soname == "libb.so"),
            "{error}"
        );
    }
}

#[test]
fn folders_for_certain_processors_are_passed_over() {
    let tree = glibc_tree()
        .elf("/bin/p", &Elf { runpath: Some("/opt/$PLATFORM:/opt".to_owned()), ..program(&["liba.so"]) })
        .elf("/opt/glibc-hwcaps/x86-64-v3/liba.so", &Elf::library(Platform::Amd64))
        .elf("/opt/x86_64/liba.so", &Elf::library(Platform::Amd64))
        .elf("/opt/liba.so", &Elf::library(Platform::Amd64));
    assert_eq!(tree.files(&["/bin/p"]), ["/bin/p", LOADER, "/opt/liba.so"]);
}

#[test]
fn a_program_without_common_folders_gets_the_cache_s_one_answer_or_none() {
    let only_own = Elf { flags_1: 0x800, ..program(&["liba.so"]) };
    let tree = || {
        glibc_tree()
            .elf("/bin/p", &only_own)
            .data("/etc/ld.so.conf", "/usr/lib/x86_64-linux-gnu\n/opt/lib\n")
            .data("/etc/ld.so.cache", "x")
            .elf("/opt/lib/liba.so", &Elf::library(Platform::Amd64))
    };
    assert!(tree().files(&["/bin/p"]).contains(&"/opt/lib/liba.so".to_owned()));
    let shadowed = tree().elf("/usr/lib/x86_64-linux-gnu/liba.so", &Elf::library(Platform::Amd64));
    assert!(matches!(shadowed.error("/bin/p").problem(), Problem::LibraryMissing { .. }));
}

#[test]
fn settings_that_nobody_put_into_the_cache_are_told() {
    let tree = glibc_tree()
        .elf("/bin/p", &program(&["liba.so"]))
        .data("/etc/ld.so.conf", "/opt/lib\n")
        .elf("/opt/lib/liba.so", &Elf::library(Platform::Amd64));
    let closure = tree.close(&["/bin/p"]).unwrap();
    assert!(
        matches!(&closure.findings()[0], Finding::LoaderCacheMissing { folder, .. } if folder == "/opt/lib")
    );
    let tree = tree.data("/etc/ld.so.cache", "x");
    let closure = tree.close(&["/bin/p"]).unwrap();
    assert!(closure.findings().is_empty() && closure.contains(&path("/etc/ld.so.cache")));
}

#[test]
fn what_is_no_elf_file_ends_the_search_and_what_is_foreign_does_not() {
    let tree = || {
        glibc_tree()
            .elf("/bin/p", &program(&["liba.so"]))
            .elf("/usr/lib/x86_64-linux-gnu/liba.so", &Elf::library(Platform::Amd64))
    };
    let foreign = tree().elf("/lib/x86_64-linux-gnu/liba.so", &Elf::library(Platform::ArmV7));
    assert!(foreign.files(&["/bin/p"]).contains(&"/usr/lib/x86_64-linux-gnu/liba.so".to_owned()));
    let text = tree().data("/lib/x86_64-linux-gnu/liba.so", "INPUT(liba.a)");
    assert!(matches!(text.error("/bin/p").problem(), Problem::NotALibrary { .. }));
}

#[test]
fn a_library_by_itself_is_searched_for_as_the_root_s_only_loader_does() {
    let alone = |tree: Tree| {
        let tree = tree.elf("/x/libp.so", &Elf::library(Platform::Amd64).needs(&["libc.so.6"]));
        let mut needs = tree.needs(&["/x/libp.so"]).closure().visits()[0].clone();
        (needs.dialect.take(), needs.loader)
    };
    let mut only_glibc = glibc_tree().elf("/lib/x86_64-linux-gnu/libc.so.6", &Elf::library(Platform::Amd64));
    assert_eq!(alone(Tree::new()).0, Some(Dialect::Musl));
    only_glibc.files.remove(&path("/lib/ld-musl-x86_64.so.1"));
    assert_eq!(alone(only_glibc), (Some(Dialect::Glibc), Some(path(LOADER))));
}
