//! Files that somebody made to break a reader: more than a hundred, each read, walked and checked, in a tree and in a
//! folder on the disk, beside which lies what must never be reached.

use std::collections::BTreeSet;

use kimg_closure::{
    ElfError, FolderRoot, Met, Needs, Request, Rules, check, needs, platform_of, read_elf, read_symbols,
};
use kimg_core::{Content, Entry, Platform};

use crate::elf_writer::Elf;
use crate::loader::lay_out;
use crate::trees::{HERE, Tree, as_roots, library, origin, path, program};

/// A small file with one of everything.
fn whole(platform: Platform) -> Vec<u8> {
    let elf = Elf {
        note: Some(r#"[{"soname":["libz.so.1"]}]"#.to_owned()),
        runpath: Some("$ORIGIN".to_owned()),
        soname: Some("s".to_owned()),
        ..Elf::program(platform)
    };
    elf.needs(&["liba.so.1", "libc.so"]).bytes()
}

/// What counts and addresses are replaced by.
fn values(size: usize) -> [u64; 8] {
    let size = size as u64;
    [0, 1, size - 1, size, 0x7fff_ffff, 0xffff_ffff, 1 << 63, u64::MAX]
}

/// Every field of the headers and of the dynamic part, each with every one of the bad values.
fn corpus(platform: Platform) -> Vec<(String, Vec<u8>)> {
    let good = whole(platform);
    let wide = platform.elf_is_64();
    let (header, segment, word) = if wide { (64, 56, 8) } else { (52, 32, 4) };
    let mut fields = Vec::new();
    let in_header: &[(usize, usize)] = if wide {
        &[(16, 2), (20, 4), (32, 8), (40, 8), (54, 2), (56, 2), (58, 2), (60, 2)]
    } else {
        &[(16, 2), (20, 4), (28, 4), (32, 4), (42, 2), (44, 2), (46, 2), (48, 2)]
    };
    fields.extend(in_header.iter().map(|(at, size)| (format!("header at {at}"), *at, *size)));
    for index in 0..4 {
        let start = header + index * segment;
        let places: &[usize] = if wide { &[8, 16, 32, 40, 48] } else { &[4, 8, 16, 20, 28] };
        fields.push((format!("type of segment {index}"), start, 4));
        fields.extend(places.iter().map(|at| (format!("segment {index} at {at}"), start + at, word)));
    }
    let dynamic = header + 3 * segment;
    let offset = if wide { 8 } else { 4 };
    let number = |at: usize| good[at..at + word].iter().rev().fold(0_usize, |n, b| n << 8 | usize::from(*b));
    let (start, size) = (number(dynamic + offset), number(dynamic + if wide { 32 } else { 16 }));
    for at in (start..start + size).step_by(word) {
        fields.push((format!("dynamic part at {}", at - start), at, word));
    }
    let mut all = Vec::new();
    for (name, at, size) in fields {
        for value in values(good.len()) {
            let mut bytes = good.clone();
            bytes[at..at + size].copy_from_slice(&value.to_le_bytes()[..size]);
            if bytes != good {
                all.push((format!("{platform}: {name} = {value:#x}"), bytes));
            }
        }
    }
    all
}

/// Walks and checks a tree in memory and on the disk: nothing is reached that is not in it, and both say the same.
fn walked(name: &str, tree: &Tree) -> Needs {
    let found = tree.needs(&["/bin/p"]);
    let outside = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    for (at, text) in [("etc/passwd", "outside"), ("lib/liba.so.1", "outside"), ("libx.so", "outside")] {
        let place = outside.path().join(at);
        fs_err::create_dir_all(place.parent().unwrap()).unwrap();
        fs_err::write(place, text).unwrap();
    }
    let root = outside.path().join("root");
    fs_err::create_dir(&root).unwrap();
    lay_out(&tree.files, &root);
    let folder = FolderRoot::open(&root).unwrap();
    let facts = kimg_closure::MemoryFacts::default();
    let on_disk = needs(&Request {
        tree: &folder,
        platform: tree.platform,
        roots: &as_roots(&["/bin/p"]),
        rules: &Rules::none(),
        library_path: &tree.library_path,
        facts: &facts,
    });
    for (path, _) in found.closure().iter() {
        assert!(tree.files.get(path).is_some(), "{name}: {path} is not in the tree");
    }
    assert_eq!(found.closure().visits(), on_disk.closure().visits(), "{name}");
    assert_eq!(found.problems().len(), on_disk.problems().len(), "{name}");
    assert_eq!(check(found.closure(), &tree.files), check(on_disk.closure(), &folder), "{name}");
    let _ = platform_of(&folder, &path("/bin/p"));
    found
}

fn with(platform: Platform, bytes: &[u8]) -> Tree {
    let broken = || Entry::file(Content::from_bytes(bytes), 0o755, origin());
    Tree::of(platform)
        .entry("/bin/p", broken())
        .elf("/bin/user", &Elf::program(platform).needs(&["libbroken.so"]))
        .entry("/lib/libbroken.so", broken())
        .elf("/lib/liba.so.1", &Elf::library(platform))
}

#[test]
fn every_field_with_a_bad_value_is_an_error_or_a_reading_within_bounds() {
    let (mut read, mut refused) = (0, 0);
    for platform in [Platform::Amd64, Platform::ArmV7] {
        for (name, bytes) in corpus(platform) {
            let content = Content::from_bytes(bytes.clone());
            match read_elf(&content) {
                Ok(Some(facts)) => {
                    assert!(facts.needed.iter().all(|n| n.len() <= 4096), "{name}");
                    read += 1;
                }
                Ok(None) => panic!("{name}: no ELF file any more"),
                Err(ElfError::Malformed { .. } | ElfError::TooLarge { .. }) => refused += 1,
                Err(other) => panic!("{name}: {other}"),
            }
            let _ = read_symbols(&content);
            let tree = with(platform, &bytes);
            let found = tree.needs(&["/bin/p", "/bin/user"]);
            assert!(found.closure().iter().all(|(path, _)| tree.files.get(path).is_some()), "{name}");
            check(found.closure(), &tree.files);
        }
    }
    assert!(read > 100 && refused > 100, "{read} read, {refused} refused");
}

#[test]
fn each_bit_of_a_small_file_flipped_never_breaks_the_reader() {
    for platform in [Platform::Amd64, Platform::ArmV7] {
        let good = whole(platform);
        let facts = read_elf(&Content::from_bytes(good.clone())).unwrap().unwrap();
        let mut changed = 0;
        for at in 0..good.len() {
            for bit in 0..8 {
                let mut bytes = good.clone();
                bytes[at] ^= 1 << bit;
                let content = Content::from_bytes(bytes);
                changed += usize::from(!matches!(read_elf(&content), Ok(Some(read)) if read == facts));
                let _ = read_symbols(&content);
            }
        }
        assert!(changed > good.len(), "only {changed} flips were noticed");
    }
}

/// Names and paths that lead out of the root, or nowhere.
fn leading_out() -> Vec<(&'static str, Tree)> {
    let library_in_etc = || library(&[]);
    let elf = |elf: Elf| Tree::new().elf("/bin/p", &elf).elf("/etc/passwd", &library_in_etc());
    let runpath = |text: &str| Elf { runpath: Some(text.to_owned()), ..program(&["libx.so"]) };
    let interpreter = |text: &str| Elf { interpreter: Some(text.to_owned()), ..program(&[]) };
    let long = "x".repeat(300);
    let many: Vec<String> = (0..2000).map(|n| format!("lib{n}.so")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let deep = format!("/{}", "../".repeat(900));
    vec![
        ("a need above the root", elf(program(&["../../etc/passwd"]))),
        ("an absolute need above the root", elf(program(&["/../../../etc/passwd"]))),
        ("a need with a line feed", elf(program(&["lib\nx.so"]))),
        ("an empty need", elf(program(&[""]))),
        ("a need of a dot", elf(program(&["."]))),
        ("a need of two dots", elf(program(&[".."]))),
        ("a need of the root", elf(program(&["/"]))),
        ("a long need", elf(program(&[&long]))),
        ("needs without number", elf(program(&many))),
        ("the need of itself", elf(program(&["/bin/p"]))),
        ("a run path above the root", elf(runpath("/../..:$ORIGIN/../../..:/lib/../../.."))),
        ("a run path of dots", elf(runpath("/lib/../".repeat(90).as_str()))),
        ("a run path of one letter", elf(runpath("$"))),
        ("a run path of an open brace", elf(runpath("${ORIGIN"))),
        ("a relative run path", elf(runpath("../../..:."))),
        ("a loader above the root", elf(interpreter("/../../../etc/passwd"))),
        ("a relative loader", elf(interpreter("../etc/passwd"))),
        ("a loader that is a folder", elf(interpreter("/etc"))),
        ("a loader that is the program", elf(interpreter("/bin/p"))),
        ("a loader deep in dots", elf(interpreter(&deep))),
        ("a glibc loader above the root", elf(interpreter("/../../lib64/ld-linux-x86-64.so.2"))),
        (
            "a link out of the root",
            Tree::new().elf("/bin/p", &program(&["libx.so"])).link("/lib/libx.so", "../../../../libx.so"),
        ),
        (
            "a folder that is a link out of the root",
            Tree::new().elf("/bin/p", &runpath("/opt")).link("/opt", "../../.."),
        ),
        (
            "links in a circle",
            Tree::new()
                .elf("/bin/p", &program(&["libx.so"]))
                .link("/lib/libx.so", "liby.so")
                .link("/lib/liby.so", "libx.so"),
        ),
        ("folders in a circle", Tree::new().elf("/bin/p", &runpath("/a/x")).link("/a", "/b").link("/b", "a")),
        ("a script that starts itself", Tree::new().script("/bin/p", "#!/bin/p\n")),
        ("a script outside", Tree::new().script("/bin/p", "#!/../../etc/passwd\n")),
        (
            "a command outside",
            Tree::new()
                .script("/bin/p", "#!/usr/bin/env ../../etc/passwd\n")
                .elf("/usr/bin/env", &program(&[])),
        ),
        (
            "a path file of dots",
            elf(program(&["libx.so"])).data("/etc/ld-musl-x86_64.path", "/../..\n../..\n/lib/../../..\n"),
        ),
    ]
}

#[test]
fn no_name_leads_out_of_the_root() {
    let cases = leading_out();
    let mut unmet = BTreeSet::new();
    for (name, tree) in &cases {
        let found = walked(name, tree);
        if found.unmet().next().is_some() || !found.problems().is_empty() {
            unmet.insert(*name);
        }
        for visit in found.closure().visits() {
            for need in &visit.needs {
                if let Met::By { path, .. } = &need.met {
                    assert!(path.is_root() || tree.files.get(path).is_some(), "{name}: {path}");
                }
            }
        }
    }
    // `..` stops at the root, so an absolute path above it is one inside it.
    for met in ["an absolute need above the root", "a loader above the root", "the need of itself"] {
        assert!(!unmet.contains(met) || met == "a loader above the root", "{met}");
    }
    for lost in [
        "a need above the root",
        "a link out of the root",
        "links in a circle",
        "a glibc loader above the root",
    ] {
        assert!(unmet.contains(lost), "{lost} was met");
    }
}

#[test]
fn libraries_that_need_each_other_in_a_great_ring_end() {
    let mut tree = Tree::new().elf("/bin/p", &program(&["lib0.so"]));
    for n in 0..300 {
        let next = format!("lib{}.so", (n + 1) % 300);
        tree = tree.elf(&format!("/lib/lib{n}.so"), &Elf::library(HERE).needs(&[&next, "lib0.so"]));
    }
    assert_eq!(tree.needs(&["/bin/p"]).closure().visits()[0].objects.len(), 301);
}

#[test]
fn pipes_and_devices_in_a_folder_are_not_opened() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let tree = Tree::new().elf("/bin/p", &program(&["libpipe.so"]));
    lay_out(&tree.files, folder.path());
    let made = std::process::Command::new("mkfifo").arg(folder.path().join("lib/libpipe.so")).status();
    if !made.is_ok_and(|status| status.success()) {
        return crate::real_tree::skipped("mkfifo makes no pipe here");
    }
    let files = FolderRoot::open(folder.path()).unwrap();
    let facts = kimg_closure::MemoryFacts::default();
    let found = needs(&Request {
        tree: &files,
        platform: HERE,
        roots: &as_roots(&["/bin/p"]),
        rules: &Rules::none(),
        library_path: &[],
        facts: &facts,
    });
    assert!(found.problems()[0].to_string().contains("libpipe.so"), "{:?}", found.problems());
}
