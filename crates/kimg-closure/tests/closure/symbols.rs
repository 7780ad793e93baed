//! Symbols and their versions: what is read, with the `object` crate as a second opinion, and what is missing, with
//! the real loader as the judge. The libraries are made by the linker that Rust links with anyway.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use kimg_closure::{
    Finding, FolderRoot, MemoryFacts, Request, Rules, When, check, needs, read_elf, read_symbols,
};
use kimg_core::{Content, Platform};
use object::read::elf::{Dyn as _, ElfFile, FileHeader, ProgramHeader as _, Sym as _};
use object::{Endianness, Object as _, ObjectSymbol as _};
use proptest::prelude::*;

use crate::elf_writer::Elf;
use crate::glibc_loader::{LOADER, this_machine_s_loader};
use crate::real_tree::{packages, skipped};
use crate::trees::as_roots;

/// The names that the `object` crate finds defined, by way of section headers, which no loader reads.
fn object_s_names<E: FileHeader<Endian = Endianness>>(bytes: &[u8]) -> Option<BTreeSet<String>> {
    let file = ElfFile::<E>::parse(bytes).ok()?;
    let known = |s: &object::read::elf::ElfSymbol<'_, '_, E>| {
        let raw = s.elf_symbol();
        let (kind, binding) = (raw.st_type().0, raw.st_bind().0);
        !s.is_undefined()
            && matches!(kind, 0 | 1 | 2 | 5 | 6 | 10)
            && matches!(binding, 1 | 2 | 10)
            && (s.address() != 0 || kind == 6 || raw.st_shndx(file.endian()).0 == 0xfff1)
    };
    Some(file.dynamic_symbols().filter(known).map(|s| s.name().unwrap_or_default().to_owned()).collect())
}

#[test]
fn the_object_crate_finds_the_same_symbols_in_every_real_file() {
    let mut compared = 0;
    for platform in Platform::DEFAULT {
        let Some(tree) = packages(platform) else { return };
        for (at, entry) in tree.iter() {
            let Some(content) = entry.content().filter(|c| c.size() < 8 << 20) else { continue };
            let bytes = content.read(8 << 20).unwrap();
            if !bytes.starts_with(b"\x7fELF") {
                continue;
            }
            let Some(ours) = read_symbols(content).unwrap_or_else(|e| panic!("{at}: {e}")) else { continue };
            let theirs = if platform.elf_is_64() {
                object_s_names::<object::elf::FileHeader64<Endianness>>(&bytes)
            } else {
                object_s_names::<object::elf::FileHeader32<Endianness>>(&bytes)
            };
            let theirs = theirs.unwrap_or_else(|| panic!("{at}"));
            assert_eq!(ours.defined_names(), theirs.len(), "{platform}: {at}");
            for name in &theirs {
                assert!(!ours.definitions(name).is_empty(), "{platform}: {at}: {name}");
            }
            compared += 1;
        }
    }
    assert!(compared > 300, "only {compared}");
}

proptest! {
    #[test]
    fn the_object_crate_reads_the_same_needs(
        needs in proptest::collection::vec("[a-z]{1,12}\\.so", 0..6),
        soname in proptest::option::of("[a-z]{1,12}"),
        bits64: bool, big: bool,
    ) {
        let elf = Elf { bits64, big, soname: soname.clone(), ..Elf::library(Platform::Amd64) };
        let words: Vec<&str> = needs.iter().map(String::as_str).collect();
        let bytes = elf.needs(&words).bytes();
        let ours = read_elf(&Content::from_bytes(bytes.clone())).unwrap().unwrap();
        let theirs = if bits64 {
            second_opinion::<object::elf::FileHeader64<Endianness>>(&bytes)
        } else {
            second_opinion::<object::elf::FileHeader32<Endianness>>(&bytes)
        };
        prop_assert_eq!(&ours.needed, &theirs);
        prop_assert_eq!(&ours.needed, &needs);
        prop_assert_eq!(ours.soname, soname);
    }
}

fn second_opinion<E: FileHeader<Endian = Endianness>>(bytes: &[u8]) -> Vec<String> {
    let header = E::parse(bytes).unwrap();
    let endian = header.endian().unwrap();
    let segments = header.program_headers(endian, bytes).unwrap();
    let entries = segments.iter().find_map(|s| s.dynamic(endian, bytes).unwrap()).unwrap();
    let value = |tag| entries.iter().find(|d| d.tag(endian) == tag).map(|d| d.val(endian)).unwrap();
    let (at, size) = (value(object::elf::DT_STRTAB), value(object::elf::DT_STRSZ));
    let strings = segments.iter().find_map(|s| s.data_range(endian, bytes, at, size).unwrap()).unwrap();
    let name = |at: u64| {
        let rest = &strings[usize::try_from(at).unwrap()..];
        String::from_utf8(rest.split(|b| *b == 0).next().unwrap().to_vec()).unwrap()
    };
    let needed = entries.iter().filter(|d| d.tag(endian) == object::elf::DT_NEEDED);
    needed.map(|d| name(d.val(endian))).collect()
}

/// A root with this machine's C library, and programs and libraries compiled into it.
struct Compiled {
    folder: tempfile::TempDir,
}

impl Compiled {
    fn new() -> Option<Self> {
        this_machine_s_loader()?;
        if !Command::new("cc").arg("--version").output().is_ok_and(|o| o.status.success()) {
            skipped("there is no C compiler");
            return None;
        }
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        for (from, to) in
            [(LOADER, LOADER), ("/lib/x86_64-linux-gnu/libc.so.6", "/lib/x86_64-linux-gnu/libc.so.6")]
        {
            let to = folder.path().join(&to[1..]);
            fs_err::create_dir_all(to.parent().unwrap()).unwrap();
            fs_err::copy(from, to).unwrap();
        }
        fs_err::create_dir_all(folder.path().join("usr/lib")).unwrap();
        Some(Self { folder })
    }

    fn place(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn cc(&self, out: &str, code: &str, options: &[&str]) -> &Self {
        let source = self.place("source.c");
        fs_err::write(&source, code).unwrap();
        let mut command = Command::new("cc");
        command.args(["-fPIC", "-fno-builtin", "-o"]).arg(self.place(out)).arg(&source).args(options);
        let made = command.current_dir(self.folder.path()).output().unwrap();
        assert!(made.status.success(), "{made:?}");
        self
    }

    fn library(&self, name: &str, code: &str, options: &[&str]) -> &Self {
        let soname = format!("-Wl,-soname,{name}");
        self.cc(&format!("usr/lib/{name}"), code, &[&["-shared", &soname], options].concat())
    }

    fn findings(&self) -> Vec<Finding> {
        let files = FolderRoot::open(self.folder.path()).unwrap();
        let facts = MemoryFacts::default();
        let found = needs(&Request {
            tree: &files,
            platform: Platform::Amd64,
            roots: &as_roots(&["/p"]),
            rules: &Rules::none(),
            library_path: &[],
            facts: &facts,
        });
        assert!(found.problems().is_empty(), "{:?}", found.problems());
        check(found.closure(), &files)
    }

    /// How the program ends.
    fn run(&self) -> (bool, String) {
        let output = kimg_testkit::output(Command::new("chroot").arg(self.folder.path()).arg("/p"));
        (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
    }
}

fn versions(folder: &Path, text: &str) -> String {
    fs_err::write(folder.join("map"), text).unwrap();
    "-Wl,--version-script=map".to_owned()
}

#[test]
fn a_version_that_the_library_no_longer_defines_is_found_as_the_loader_finds_it() {
    let Some(root) = Compiled::new() else { return };
    let map = versions(root.folder.path(), "V1 { global: f; }; V2 { global: g; } V1;");
    root.library("libv.so.1", "int f(void){return 0;} int g(void){return 0;}", &[&map]);
    root.cc("p", "int f(void); int g(void); int main(void){return f()+g();}", &["usr/lib/libv.so.1"]);
    assert_eq!((root.findings(), root.run()), (Vec::new(), (true, String::new())));

    let map = versions(root.folder.path(), "V1 { global: f; g; };");
    root.library("libv.so.1", "int f(void){return 0;} int g(void){return 0;}", &[&map]);
    let findings = root.findings();
    let version = findings.iter().find_map(|f| match f {
        Finding::VersionMissing { library, version, .. } => Some((library.to_string(), version.as_str())),
        _ => None,
    });
    assert_eq!(version, Some(("/usr/lib/libv.so.1".to_owned(), "V2")), "{findings:?}");
    assert!(findings.iter().any(
        |f| matches!(f, Finding::SymbolMissing { symbol, version: Some(v), .. } if symbol == "g" && v == "V2")
    ));
    let (success, complaint) = root.run();
    assert!(!success && complaint.contains("version `V2' not found"), "{complaint}");
}

#[test]
fn a_symbol_that_nothing_defines_shows_at_the_start_or_at_the_first_call() {
    let ends = |binding: &str, call: &str| {
        let root = Compiled::new()?;
        root.library("libv.so.1", "int f(void){return 0;} int g(void){return 0;}", &[]);
        let code = format!("int f(void); int g(void); int main(int n, char **a){{return f() + ({call});}}");
        root.cc("p", &code, &["usr/lib/libv.so.1", binding, "-fplt"]);
        assert!(root.findings().is_empty(), "{:?}", root.findings());
        root.library("libv.so.1", "int f(void){return 0;}", &[]);
        let findings = root.findings();
        let [Finding::SymbolMissing { symbol, when, .. }] = findings.as_slice() else {
            panic!("{findings:?}")
        };
        assert_eq!(symbol, "g");
        Some((*when, root.run()))
    };
    let Some((when, (success, complaint))) = ends("-Wl,-z,now", "n > 1 ? g() : 0") else { return };
    assert_eq!((when, success), (When::Started, false), "{complaint}");
    assert!(complaint.contains("undefined symbol: g"), "{complaint}");
    // Not called, not missed.
    let (when, (success, complaint)) = ends("-Wl,-z,lazy", "n > 1 ? g() : 0").unwrap();
    assert_eq!((when, success), (When::FirstCalled, true), "{complaint}");
    let (when, (success, _)) = ends("-Wl,-z,lazy", "g()").unwrap();
    assert_eq!((when, success), (When::FirstCalled, false));
    // Data is bound at the start.
    let (when, (success, _)) = ends("-Wl,-z,lazy", "n > 1 ? *(int *)&g : 0").unwrap();
    assert_eq!((when, success), (When::Started, false));
}

#[test]
fn every_program_of_the_real_packages_finds_its_symbols_except_where_it_is_cut() {
    let Some(tree) = packages(Platform::Amd64) else { return };
    let closure =
        crate::real_tree::close_commands(&tree, Platform::Amd64, &["mount", "iptables", "ip", "kubelet"]);
    assert_eq!(check(&closure, &*tree), []);
    // The same programs with another library under the name of one of them.
    let mut other = (*tree).clone();
    let library = kimg_core::ImagePath::new("/usr/lib/libxtables.so.12").unwrap();
    let end = tree.resolve(&library).unwrap().path;
    let zlib = tree.resolve(&kimg_core::ImagePath::new("/lib/libz.so.1").unwrap()).unwrap().path;
    other.insert(end.clone(), tree.get(&zlib).unwrap().clone());
    let closure = crate::real_tree::close_commands(&other, Platform::Amd64, &["iptables"]);
    let mut counts = BTreeMap::new();
    for finding in check(&closure, &other) {
        if let Finding::SymbolMissing { of, when, .. } = finding {
            *counts.entry((of.as_str().contains("/xtables/"), when)).or_insert(0) += 1;
        }
    }
    assert!(counts.get(&(false, When::Started)).is_some_and(|n| *n > 10), "{counts:?}");
    assert!(counts.get(&(true, When::Loaded)).is_some_and(|n| *n > 100), "{counts:?}");
}
