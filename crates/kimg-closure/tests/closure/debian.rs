//! A root made of Debian packages, as it would be before an image: every ELF file in it against glibc's real loader of
//! that root, which also binds all symbols, and every program against `lddtree`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use kimg_closure::{
    Dialect, FileType, Files as _, Finding, FolderRoot, Found, MemoryFacts, Request, Rules, check, needs,
};
use kimg_core::{ImagePath, Platform};

use crate::glibc_loader::{LOADER, listed, real_path, this_machine_s_loader, walked};
use crate::real_tree::skipped;
use crate::trees::{as_roots, path};

/// The root, where glibc's loader can be asked about it.
fn debian_root() -> Option<PathBuf> {
    this_machine_s_loader()?;
    kimg_testkit::debian_root()
}

/// What the loader of the root says: its list, and the symbols that it does not find when it binds everything.
fn asked(root: &Path, file: &ImagePath) -> (bool, String, BTreeSet<(ImagePath, String)>) {
    let ask = "import os, sys; os.chroot(sys.argv[1]); os.chdir('/'); \
               os.execve(sys.argv[2], sys.argv[2:4], dict(s.split('=') for s in sys.argv[4:]))";
    let mut command = Command::new("python3");
    command
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .args(["-c", ask])
        .arg(root)
        .args([LOADER, file.as_str()]);
    command.args(["LD_TRACE_LOADED_OBJECTS=1", "LD_WARN=yes", "LD_BIND_NOW=yes"]);
    let output = kimg_testkit::output(&mut command);
    let mut symbols = BTreeSet::new();
    for line in
        String::from_utf8_lossy(&output.stderr).lines().chain(String::from_utf8_lossy(&output.stdout).lines())
    {
        let Some(rest) = line.strip_prefix("undefined symbol: ") else { continue };
        let (symbol, object) = rest.split_once('\t').unwrap_or((rest, ""));
        let symbol = symbol.split(", ").next().unwrap();
        let object = object.trim_matches(['(', ')']);
        symbols.insert((real_path(root, object), symbol.to_owned()));
    }
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    (output.status.success(), text, symbols)
}

fn lddtree(root: &Path, file: &ImagePath) -> BTreeSet<ImagePath> {
    let mut command = Command::new("/usr/bin/python3");
    command.args(["/usr/bin/lddtree", "-R"]).arg(root).arg(file.relative());
    let output = command.current_dir(root).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let found = text.lines().skip(1).filter_map(|line| Some(line.trim().split_once(" => ")?.1));
    let found = found
        .filter(|found| *found != "None")
        .map(|found| real_path(root, found.strip_prefix(root.to_str().unwrap()).unwrap_or(found)));
    found.collect()
}

fn judged(step: usize) {
    let Some(root) = debian_root() else { return };
    let files = FolderRoot::open(&root).unwrap();
    let usr = path("/usr");
    let all: Vec<ImagePath> = files
        .below(&usr)
        .filter(|(_, found)| matches!(found, Found::File { .. }))
        .map(|(at, _)| at)
        .filter(|at| fs_err::read(root.join(at.relative())).is_ok_and(|b| b.starts_with(b"\x7fELF")))
        .collect();
    assert!(all.len() > 300, "only {}", all.len());
    let has_lddtree = Path::new("/usr/bin/lddtree").exists();
    if !has_lddtree {
        skipped("lddtree is not installed");
    }
    let (mut judged, mut programs, mut lacking) = (0, 0, 0);
    for file in all.iter().step_by(step) {
        let facts = MemoryFacts::default();
        let found = needs(&Request {
            tree: &files,
            platform: Platform::Amd64,
            roots: &as_roots(&[file.as_str()]),
            rules: &Rules::none(),
            library_path: &[],
            facts: &facts,
        });
        let visit = &found.closure().visits()[0];
        if visit.dialect.is_none() || visit.loader.as_ref() == Some(file) {
            continue;
        }
        assert_eq!(visit.dialect, Some(Dialect::Glibc), "{file}");
        let (success, text, symbols) = asked(&root, file);
        assert!(success, "{file}: {text}");
        let (mut files_loaded, missing) = walked(&found);
        // Name services are loaded when they are asked, which the loader does not tell.
        files_loaded.retain(|p| visit.objects.iter().any(|o| o.at_start && o.path == *p));
        assert_eq!((files_loaded.clone(), missing), listed(&root, &text), "{file}");
        let ours: BTreeSet<_> = check(found.closure(), &files)
            .into_iter()
            .filter_map(|finding| match finding {
                Finding::SymbolMissing { program, of, symbol, .. } if program == *file => Some((of, symbol)),
                Finding::VersionMissing { .. } | Finding::SymbolsUnreadable { .. } => panic!("{finding}"),
                _ => None,
            })
            .collect();
        assert_eq!(ours, symbols, "{file}");
        lacking += usize::from(!symbols.is_empty());
        if visit.what == FileType::Program && has_lddtree && found.unmet().next().is_none() {
            let mut theirs = lddtree(&root, file);
            let loader = visit.loader.clone().unwrap();
            files_loaded.remove(&loader);
            theirs.remove(&loader);
            assert_eq!(files_loaded, theirs, "lddtree: {file}");
            programs += 1;
        }
        judged += 1;
    }
    println!(
        "{judged} of {} ELF files, no difference: {programs} also by lddtree; {lacking} lack symbols",
        all.len()
    );
    assert!(judged * step * 2 > all.len() && programs > 5, "{judged} {programs}");
}

#[test]
fn every_file_of_a_debian_root_loads_what_glibc_s_loader_loads() {
    judged(12);
}

#[test]
#[ignore = "a minute, and much of it lddtree's: in .ci/proofs"]
fn every_single_file_of_a_debian_root_loads_what_glibc_s_loader_loads() {
    judged(1);
}

#[test]
fn the_name_services_of_a_debian_root_come_along_where_they_are_asked() {
    let Some(root) = debian_root() else { return };
    let files = FolderRoot::open(&root).unwrap();
    let facts = MemoryFacts::default();
    let closed = |program: &str| {
        let roots = as_roots(&[program]);
        needs(&Request {
            tree: &files,
            platform: Platform::Amd64,
            roots: &roots,
            rules: &Rules::none(),
            library_path: &[],
            facts: &facts,
        })
    };
    let module = path("/usr/lib/x86_64-linux-gnu/libnss_systemd.so.2");
    let asking = closed("/usr/bin/id");
    assert!(asking.closure().contains(&module) && asking.closure().contains(&path("/etc/nsswitch.conf")));
    let missing = asking.closure().findings().iter();
    let missing: Vec<_> = missing
        .filter(|f| matches!(f, Finding::NameServiceMissing { soname, .. } if soname == "libnss_sss.so.2"))
        .collect();
    assert_eq!(missing.len(), 1, "{:?}", asking.closure().findings());
    assert!(!closed("/usr/bin/true").closure().contains(&module));
}
