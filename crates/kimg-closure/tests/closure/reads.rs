//! What is read out of ELF files.

use kimg_closure::{ByteOrder, Class, ElfFacts, ElfKind, Priority, read_elf};
use kimg_core::{Content, Platform};

use crate::elf_writer::Elf;
use crate::trees::HERE;

fn facts(elf: &Elf) -> ElfFacts {
    read_elf(&elf.content()).unwrap().unwrap()
}

#[test]
fn both_classes_and_byte_orders_give_the_same_needs() {
    for (bits64, big) in [(true, false), (true, true), (false, false), (false, true)] {
        let elf = Elf {
            bits64,
            big,
            soname: Some("libx.so.1".to_owned()),
            rpath: Some("/a:$ORIGIN/b".to_owned()),
            runpath: Some("/c".to_owned()),
            ..Elf::library(HERE)
        };
        let read = facts(&elf.needs(&["liba.so", "libb.so.2"]));
        assert_eq!(read.class, if bits64 { Class::Bits64 } else { Class::Bits32 });
        assert_eq!(read.endianness, if big { ByteOrder::Big } else { ByteOrder::Little });
        assert_eq!(read.needed, ["liba.so", "libb.so.2"]);
        assert_eq!(read.soname.as_deref(), Some("libx.so.1"));
        assert_eq!((read.rpath.len(), read.search_path()), (2, &["/c".to_owned()][..]));
        assert_eq!((read.kind, read.max_align), (ElfKind::SharedLibrary, 0x1000));
    }
}

#[test]
fn programs_are_told_from_libraries() {
    let kind = |elf: Elf| facts(&elf).kind;
    assert_eq!(kind(Elf::program(HERE)), ElfKind::Dynamic);
    assert_eq!(kind(Elf::fixed(HERE)), ElfKind::Static);
    assert_eq!(kind(Elf { pie: true, ..Elf::library(HERE) }), ElfKind::StaticPie);
    assert_eq!(kind(Elf { dynamic: false, ..Elf::library(HERE) }), ElfKind::StaticPie);
    assert_eq!(kind(Elf::library(HERE).needs(&["libxtables.so.12"])), ElfKind::SharedLibrary);
    assert_eq!(kind(Elf { file_type: 1, ..Elf::library(HERE) }), ElfKind::Other);
}

#[test]
fn what_is_no_elf_file_is_none() {
    for bytes in [&b""[..], b"\x7fEL", b"#!/bin/sh\n", &[0; 1000]] {
        assert_eq!(read_elf(&Content::from_bytes(bytes)).unwrap(), None);
    }
}

#[test]
fn cut_off_section_headers_change_nothing() {
    let whole = Elf::program(HERE).needs(&["liba.so"]);
    let mut cut = whole.bytes();
    cut.truncate(cut.len() - 30);
    assert_eq!(read_elf(&Content::from_bytes(cut)).unwrap().unwrap().needed, facts(&whole).needed);
}

#[test]
fn a_string_that_reaches_from_one_segment_into_the_next_is_read_whole() {
    // As a tool that adds a segment in front leaves them: seen with a real `ip`.
    let elf = Elf { note: Some("[]".to_owned()), ..Elf::library(HERE) }.needs(&["libabc.so.1"]);
    let mut bytes = elf.bytes();
    let cut = bytes.windows(6).position(|w| w == b"libabc").unwrap() as u64 + 3;
    // Program headers of 56 bytes: the first is the whole file's, the second the note's.
    bytes[64 + 32..64 + 40].copy_from_slice(&cut.to_le_bytes());
    let rest = bytes.len() as u64 - cut;
    bytes[120..124].copy_from_slice(&1_u32.to_le_bytes());
    for (field, value) in [(8, cut), (16, 0x1000 + cut), (32, rest)] {
        bytes[120 + field..128 + field].copy_from_slice(&value.to_le_bytes());
    }
    assert_eq!(read_elf(&Content::from_bytes(bytes)).unwrap().unwrap().needed, ["libabc.so.1"]);
}

#[test]
fn appended_bytes_are_seen() {
    for sections in [true, false] {
        let elf = Elf { sections, ..Elf::fixed(Platform::ArmV7) };
        assert!(!facts(&elf).has_appended_data);
        let padded = [elf.bytes(), vec![0; 4000]].concat();
        assert!(!read_elf(&Content::from_bytes(padded)).unwrap().unwrap().has_appended_data);
        let longer = [elf.bytes(), b"payload".to_vec()].concat();
        assert!(read_elf(&Content::from_bytes(longer)).unwrap().unwrap().has_appended_data);
    }
}

#[test]
fn a_note_of_what_is_loaded_at_run_time_is_read() {
    let note = r#"[{"soname":["libzstd.so.1","libzstd.so.0"],"feature":"zstd","priority":"suggested"},{"soname":["libz.so.1"]}]"#;
    let read = facts(&Elf { note: Some(note.to_owned()), ..Elf::library(HERE) });
    assert_eq!(read.dlopen[0].soname, ["libzstd.so.1", "libzstd.so.0"]);
    assert_eq!(
        (read.dlopen[0].priority, read.dlopen[1].priority),
        (Priority::Suggested, Priority::Recommended)
    );
}

#[test]
fn facts_are_read_back_as_they_were_written() {
    let note = r#"[{"soname":["libz.so.1"],"feature":"z"}]"#;
    let read = facts(&Elf { note: Some(note.to_owned()), ..Elf::program(HERE).needs(&["libc.so"]) });
    let text = serde_json::to_string(&read).unwrap();
    assert_eq!(serde_json::from_str::<ElfFacts>(&text).unwrap(), read, "{text}");
}
