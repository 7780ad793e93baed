//! Broken ELF files: each is an error or reads as something, never a panic, and what a loader needs never vanishes.

use kimg_closure::{ElfError, FileFacts, Problem, read_elf};
use kimg_core::{Classified, Content, ErrorClass, Platform};
use proptest::prelude::*;

use crate::elf_writer::Elf;
use crate::trees::{HERE, Tree, program};

fn elf() -> Elf {
    let note = Some(r#"[{"soname":["libz.so.1"]}]"#.to_owned());
    let elf =
        Elf { note, runpath: Some("$ORIGIN".to_owned()), soname: Some("s".to_owned()), ..Elf::program(HERE) };
    elf.needs(&["liba.so.1", "libc.so"])
}

fn error(bytes: Vec<u8>) -> String {
    read_elf(&Content::from_bytes(bytes)).expect_err("read, though it is broken").to_string()
}

/// Puts other bytes where the first occurrence of some lies.
fn replaced(mut bytes: Vec<u8>, from: &[u8], to: &[u8]) -> Vec<u8> {
    let at = bytes.windows(from.len()).position(|w| w == from).unwrap();
    bytes[at..at + to.len()].copy_from_slice(to);
    bytes
}

/// The bytes of the file's program header of a kind, with one of its 8-byte fields replaced (offset in the entry).
fn with_segment_field(kind: u32, field: usize, value: u64) -> Vec<u8> {
    let mut bytes = elf().bytes();
    let at = (64..).step_by(56).find(|at| bytes[*at..*at + 4] == kind.to_le_bytes()).unwrap();
    bytes[at + field..at + field + 8].copy_from_slice(&value.to_le_bytes());
    bytes
}

#[test]
fn a_loader_s_name_outside_the_file_or_without_an_end_is_an_error() {
    assert!(
        error(with_segment_field(3, 8, 1 << 40))
            .contains("PT_INTERP (25 bytes at 1099511627776) lies outside")
    );
    assert!(error(with_segment_field(3, 8, u64::MAX)).contains("lies outside the file"));
    assert!(error(with_segment_field(3, 32, 10)).contains("PT_INTERP does not end with a zero"));
    assert!(error(with_segment_field(3, 32, 1 << 30)).contains("more than the limit of 4096"));
    assert!(error(replaced(elf().bytes(), b"/lib/ld-musl", b"\0")).contains("PT_INTERP is not a path"));
}

#[test]
fn needs_that_point_outside_are_an_error_and_not_forgotten() {
    // DT_NEEDED is tag 1, and the first entry of the dynamic part; its value 1 is the first string.
    let needed = [1_u64.to_le_bytes(), 1_u64.to_le_bytes()].concat();
    let away = [1_u64.to_le_bytes(), 9999_u64.to_le_bytes()].concat();
    assert!(error(replaced(elf().bytes(), &needed, &away)).contains("DT_NEEDED points to 9999"));
    assert!(
        error(with_segment_field(2, 16, 1 << 40))
            .contains("PT_DYNAMIC lies in no loaded segment, or only in part")
    );
    assert!(error(with_segment_field(2, 32, 64)).contains("PT_DYNAMIC has no DT_NULL"));
    assert!(error(replaced(elf().bytes(), b"liba.so.1", b"\xff\xfe")).contains("DT_NEEDED is not UTF-8"));
}

#[test]
fn a_file_cut_off_anywhere_in_what_a_loader_reads_is_an_error() {
    let bytes = elf().bytes();
    let sections = bytes.len() - 64;
    for length in 4..sections {
        let read = read_elf(&Content::from_bytes(&bytes[..length]));
        assert!(read.is_err(), "cut at {length} of {sections}: {read:?}");
    }
    assert!(read_elf(&Content::from_bytes(&bytes[..sections])).is_ok());
}

#[test]
fn a_broken_file_in_the_tree_is_named_with_the_way_to_it() {
    let cut = elf().bytes()[..100].to_vec();
    let tree = Tree::new().elf("/bin/p", &program(&["libx.so"])).entry(
        "/lib/libx.so",
        kimg_core::Entry::file(Content::from_bytes(cut), 0o755, crate::trees::origin()),
    );
    let error = tree.error("/bin/p");
    assert!(matches!(error.problem(), Problem::Unreadable { source: ElfError::Malformed { .. }, .. }));
    assert_eq!(error.class(), ErrorClass::Malformed);
    assert!(
        error.to_string().contains("; `/lib/libx.so` is needed by `/bin/p` (root: is wanted)"),
        "{error}"
    );
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let _ = FileFacts::read(&Content::from_bytes(bytes));
    }

    #[test]
    fn arbitrary_bytes_behind_an_elf_header_never_panic(
        class in 0_u8..4, order in 0_u8..4, bytes in proptest::collection::vec(any::<u8>(), 0..600),
    ) {
        let head = [b"\x7fELF", &[class, order, 1, 0][..], &[0; 8], &[3, 0]].concat();
        let _ = read_elf(&Content::from_bytes([head, bytes].concat()));
    }

    #[test]
    fn flipped_and_cut_files_never_panic_and_stay_within_their_bounds(
        flips in proptest::collection::vec((0_usize..1000, any::<u8>()), 1..8),
        cut in 0_usize..1000,
        bits in prop::sample::select(vec![Platform::Amd64, Platform::ArmV7]),
    ) {
        let elf = Elf { bits64: bits.elf_is_64(), machine: bits.elf_machine(), ..elf() };
        let mut bytes = elf.bytes();
        for (at, value) in flips {
            let at = at % bytes.len();
            bytes[at] = value;
        }
        bytes.truncate(bytes.len() - cut.min(bytes.len()) * usize::from(cut % 3 == 0));
        let limit = bytes.len();
        if let Ok(Some(facts)) = read_elf(&Content::from_bytes(bytes)) {
            // Strings can be shared between entries, but never be longer than the file.
            prop_assert!(facts.needed.iter().all(|n| n.len() < limit));
        }
    }

    #[test]
    fn real_programs_with_flipped_bytes_never_panic(flips in proptest::collection::vec((0_usize..8192, any::<u8>()), 1..6)) {
        let Ok(mut bytes) = fs_err::read("/bin/true") else { return Ok(()) };
        for (at, value) in flips {
            let at = at % bytes.len();
            bytes[at] = value;
        }
        let _ = read_elf(&Content::from_bytes(bytes));
    }
}
