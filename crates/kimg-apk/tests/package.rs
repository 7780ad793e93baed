//! What a package may hold and what it may not, with packages made for it.

#![expect(clippy::unwrap_used, reason = "a test that can't be set up has failed")]

mod made;

use kimg_apk::{KeyRing, Limits, Problem, read_index, read_package};
use kimg_core::{Classified, ErrorClass, ImagePath, Kind, MemorySink};
use made::{Made, entry, gzip, pax_record};
use proptest::prelude::*;
use tar::EntryType;

fn refused(made: &Made) -> (Problem, ErrorClass) {
    let error = made.read().unwrap_err();
    let class = error.class();
    assert!(error.to_string().starts_with("package x-1.0-r0: "), "{error}");
    (error.problem, class)
}

#[test]
fn device_nodes_and_pipes_are_refused_by_name() {
    for (kind, word) in [
        (EntryType::Char, "a character device"),
        (EntryType::Block, "a block device"),
        (EntryType::Fifo, "a named pipe"),
    ] {
        let (problem, class) = refused(&Made::new("x").raw(&entry(kind, "dev/thing", "", 0o600, b"", b"")));
        assert_eq!(class, ErrorClass::Malformed);
        assert!(problem.to_string().starts_with(&format!("`/dev/thing` is {word}")), "{problem}");
    }
}

#[test]
fn a_package_of_apk_3_is_refused_by_that_name() {
    for bytes in [&b"ADB.abcdef"[..], b"ADBd....", b"ADBc...."] {
        let error = read_package(bytes, &KeyRing::new(), None, "x86_64", &Limits::default(), &mut MemorySink)
            .unwrap_err();
        assert_eq!(error.to_string(), "the package: APK v3 is not supported yet");
        let error = read_index(bytes, &KeyRing::new(), &Limits::default()).unwrap_err();
        assert_eq!(error.to_string(), "the index: APK v3 is not supported yet");
    }
}

#[test]
fn without_an_index_an_unsigned_package_is_refused() {
    let (bytes, mut record) = Made::new("x").file("a", "1").build();
    record.identity = None;
    for expected in [None, Some(&record)] {
        let error =
            read_package(&bytes, &KeyRing::new(), expected, "x86_64", &Limits::default(), &mut MemorySink);
        let error = error.unwrap_err();
        assert!(
            matches!(error.problem, Problem::Unsigned) && error.class() == ErrorClass::Verification,
            "{error}"
        );
    }
}

#[test]
fn a_package_for_every_architecture_fits_and_one_for_another_does_not() {
    let (bytes, record) = Made::new("x").build();
    let error =
        read_package(&bytes, &KeyRing::new(), Some(&record), "armv7", &Limits::default(), &mut MemorySink)
            .unwrap_err();
    assert!(matches!(error.problem, Problem::Architecture { .. }), "{error}");
    let mut made = Made::new("x");
    made = made.info("arch = noarch");
    assert!(made.read().is_err(), "two architectures");
}

#[test]
fn a_file_or_link_without_checksum_or_with_a_wrong_one_is_refused() {
    let plain = Made::new("x").raw(&entry(EntryType::Regular, "a", "", 0o644, b"", b"1"));
    assert!(matches!(refused(&plain), (Problem::NoChecksum(_), ErrorClass::Verification)));
    let link = Made::new("x").raw(&entry(EntryType::Symlink, "a", "b", 0o777, b"", b""));
    assert!(matches!(refused(&link), (Problem::NoChecksum(_), ErrorClass::Verification)));
    let wrong = pax_record("APK-TOOLS.checksum.SHA1", hex::encode([7; 20]).as_bytes());
    for bytes in [
        entry(EntryType::Regular, "etc/a", "", 0o644, &wrong, b"1"),
        entry(EntryType::Symlink, "etc/a", "b", 0o777, &wrong, b""),
    ] {
        let (problem, class) = refused(&Made::new("x").raw(&bytes));
        assert_eq!(class, ErrorClass::Verification);
        assert!(problem.to_string().starts_with("`/etc/a` has the SHA-1 "), "{problem}");
        assert!(
            problem.to_string().ends_with("where its header says 0707070707070707070707070707070707070707")
        );
    }
}

#[test]
fn paths_that_leave_the_root_or_would_be_passed_over_are_refused() {
    for path in ["../a", "a/../../b", "/etc/a", "./etc/a", "etc//a", "a/\u{1}b"] {
        let (problem, class) = refused(&Made::new("x").file(path, "1"));
        assert!(
            matches!(problem, Problem::BadPath { .. }) && class == ErrorClass::Malformed,
            "{path}: {problem}"
        );
    }
}

#[test]
fn what_apk_passes_over_is_passed_over() {
    let package = Made::new("x")
        .file(".dummy", "1")
        .folder("var/empty", 0o755)
        .file("var/empty/.keep_dir", "")
        .package();
    let paths: Vec<_> = package.entries.iter().map(|(path, _)| path.to_string()).collect();
    assert_eq!(paths, ["/var/empty"]);
}

#[test]
fn a_hard_link_to_what_did_not_come_before_is_refused() {
    let (problem, _) = refused(&Made::new("x").hard_link("b", "a").file("a", "1"));
    assert_eq!(problem.to_string(), "`/b` is a hard link to `a`, which did not come before it");
    assert!(Made::new("x").folder("a", 0o755).hard_link("b", "a").read().is_err());
}

#[test]
fn hard_links_of_hard_links_are_one_inode() {
    let package = Made::new("x").file("a", "1").hard_link("b", "a").hard_link("c", "b").package();
    let a = ImagePath::new("a").unwrap();
    for (path, entry) in &package.entries {
        assert!(matches!(&entry.kind, Kind::File { inode: Some(first), .. } if *first == a), "{path}");
    }
}

#[test]
fn extended_attributes_keep_their_bytes() {
    let capability = b"\x01\0\0\x02\n\0\0\n\xff=\0";
    let pax = pax_record("SCHILY.xattr.security.capability", capability);
    let package = Made::new("x").file_with("bin/ping", 0o4755, &pax, b"ELF").package();
    let (_, entry) = &package.entries[0];
    assert_eq!(entry.xattrs["security.capability"], capability);
    assert_eq!(entry.mode, 0o4755);
}

#[test]
fn long_names_come_from_pax_records_and_from_gnu_headers() {
    let long = format!("usr/share/{}/{}", "d".repeat(120), "f".repeat(120));
    let by_pax =
        Made::new("x").file_with("short", 0o644, &pax_record("path", long.as_bytes()), b"1").package();
    assert_eq!(by_pax.entries[0].0.relative(), long);
    let gnu = [long.as_bytes(), b"\0"].concat();
    let by_gnu = Made::new("x")
        .raw(&entry(EntryType::GNULongName, "././@LongLink", "", 0, b"", &gnu))
        .file("short", "1")
        .package();
    assert_eq!(by_gnu.entries[0].0.relative(), long);
}

#[test]
fn two_sizes_for_one_file_are_refused() {
    let (problem, _) = refused(&Made::new("x").file_with("a", 0o644, &pax_record("size", b"3"), b"12"));
    assert!(problem.to_string().contains("it has two sizes"), "{problem}");
    assert!(Made::new("x").file_with("a", 0o644, &pax_record("size", b"2"), b"12").read().is_ok());
}

#[test]
fn a_tar_that_ends_within_a_file_is_refused() {
    let mut cut = Made::new("x").file("a", "1");
    let whole = entry(EntryType::Regular, "b", "", 0o644, b"", &[1; 4000]);
    cut = cut.raw(&whole[..1000]);
    assert!(matches!(refused(&cut).0, Problem::Tar { .. } | Problem::NoChecksum(_)));
    let hidden = Made::new("x").raw(&[0; 1024]).file("a", "after the end");
    assert!(refused(&hidden).0.to_string().contains("bytes after its end"));
}

/// A sink that stops early, and one that is full.
struct Broken(bool);

impl kimg_core::ContentSink for Broken {
    fn store(
        &mut self,
        _: &ImagePath,
        reader: &mut dyn std::io::Read,
    ) -> std::io::Result<kimg_core::Content> {
        let mut one = [0; 1];
        reader.read_exact(&mut one)?;
        if self.0 { Ok(kimg_core::Content::from_bytes(one)) } else { Err(std::io::Error::other("disk full")) }
    }
}

#[test]
fn a_sink_that_does_not_keep_a_file_is_no_fault_of_the_package() {
    let (bytes, record) = Made::new("x").file("a", "123").build();
    for stops in [true, false] {
        let sink = &mut Broken(stops);
        let error = read_package(&bytes, &KeyRing::new(), Some(&record), "x86_64", &Limits::default(), sink)
            .unwrap_err();
        assert!(
            matches!(error.problem, Problem::Store { .. }) && error.class() == ErrorClass::LocalIo,
            "{error:?}"
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300), wrap in 0..4_usize) {
        let valid = Made::new("x").file("a", "1").build().0;
        let bytes = match wrap {
            0 => bytes,
            1 => gzip(&bytes),
            2 => [gzip(&entry(EntryType::Regular, ".PKGINFO", "", 0, b"", &bytes)), gzip(&bytes)].concat(),
            _ => [&valid[..], &bytes].concat(),
        };
        let _ = read_package(&bytes, &KeyRing::new(), None, "x86_64", &Limits::default(), &mut MemorySink);
        let _ = read_index(&bytes, &KeyRing::new(), &Limits::default());
    }

    #[test]
    fn a_damaged_data_tar_never_panics(at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut data = [
            entry(EntryType::Directory, "d", "", 0o755, b"", b""),
            entry(EntryType::Regular, "d/f", "", 0o644, &pax_record("APK-TOOLS.checksum.SHA1", &[b'0'; 40]), b"12"),
            entry(EntryType::Link, "d/h", "d/f", 0o644, b"", b""),
        ].concat();
        let at = at.index(data.len());
        data[at] = byte;
        let _ = Made::new("x").raw(&data).read();
    }

    #[test]
    fn what_is_packed_is_read_back(files in prop::collection::btree_map("[a-z]{1,8}/[a-z]{1,8}", prop::collection::vec(any::<u8>(), 0..3000), 0..8)) {
        let mut made = Made::new("x");
        for (path, bytes) in &files {
            made = made.file_with(path, 0o640, b"", bytes);
        }
        let package = made.package();
        prop_assert_eq!(package.entries.len(), files.len());
        for ((path, entry), (wanted, bytes)) in package.entries.iter().zip(&files) {
            prop_assert_eq!(path.relative(), wanted);
            prop_assert_eq!(&entry.content().unwrap().read(1 << 20).unwrap(), bytes);
            prop_assert_eq!(entry.mode, 0o640);
        }
    }
}
