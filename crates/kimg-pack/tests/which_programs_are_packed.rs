//! What the gate says of a program before a packer sees it, and of a packer that is not there.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod programs;

use kimg_core::variant::Probe;
use kimg_core::{Classified, Content, ErrorClass, Platform};
use kimg_pack::{Mode, Outcome, PackError, Packing, PlainReason, Runners, Settings};
use programs::sectioned::{NOTE, PROGBITS, droppable, section, with_sections};
use programs::{Elf, Question};
use proptest::prelude::*;

fn reason(question: &Question<'_>) -> PlainReason {
    match question.ask(None).unwrap() {
        Outcome::Plain { why } => why,
        packed @ Outcome::Packed { .. } => panic!("{packed}"),
    }
}

fn reason_of(elf: &Elf) -> PlainReason {
    reason(&Question::new(&Content::from_bytes(elf.bytes())))
}

const DT_SONAME: u64 = 14;
const DT_FLAGS_1: u64 = 0x6fff_fffb;
const DF_1_PIE: u64 = 0x0800_0000;

#[test]
fn programs_static_and_dynamic_get_as_far_as_the_packer() {
    assert_eq!(reason_of(&Elf::default()), PlainReason::NoPacker);
    let dynamic = Elf { interpreter: Some("/lib/ld-musl-x86_64.so.1"), ..Elf::default() };
    assert_eq!(reason_of(&dynamic), PlainReason::NoPacker);
    let pie = Elf { kind: 3, dynamic: vec![(DT_FLAGS_1, DF_1_PIE)], ..dynamic };
    assert_eq!(reason_of(&pie), PlainReason::NoPacker);
}

#[test]
fn a_static_pie_stays_plain() {
    let elf = Elf { kind: 3, dynamic: vec![(DT_FLAGS_1, DF_1_PIE), (0, 0)], ..Elf::default() };
    assert_eq!(reason_of(&elf), PlainReason::StaticPie);
}

#[test]
fn libraries_stay_plain_even_those_with_an_interpreter() {
    assert_eq!(reason_of(&Elf { kind: 3, ..Elf::default() }), PlainReason::SharedLibrary);
    let libc = Elf {
        kind: 3,
        interpreter: Some("/lib64/ld-linux-x86-64.so.2"),
        dynamic: vec![(DT_SONAME, 1)],
        ..Elf::default()
    };
    assert_eq!(reason_of(&libc), PlainReason::SharedLibrary);
}

#[test]
fn modules_objects_and_core_dumps_are_told_from_programs() {
    let object = Elf { kind: 1, ..Elf::default() };
    let module = with_sections(&object, &[section(".modinfo", PROGBITS, b"license=GPL\0")]);
    for packing in [Packing::UPX, Packing::STRIP, Packing::STRIP_UPX] {
        let of = |bytes: Vec<u8>| reason(&Question { packing, ..Question::new(&Content::from_bytes(bytes)) });
        // With a signature behind it, as modules have.
        let signed = [module.clone(), b"~Module signature appended~\n".to_vec()].concat();
        assert_eq!((of(module.clone()), of(signed)), (PlainReason::KernelModule, PlainReason::KernelModule));
        assert_eq!(of(object.bytes()), PlainReason::ObjectFile);
        // A BPF program is an object for a processor of its own.
        assert_eq!(of(Elf { kind: 1, machine: 247, ..Elf::default() }.bytes()), PlainReason::ObjectFile);
        assert_eq!(of(Elf { kind: 4, ..Elf::default() }.bytes()), PlainReason::NotAProgram);
    }
}

#[test]
fn what_upx_has_packed_stays_as_it_is() {
    let mut at_the_end = Elf::default().bytes();
    let end = at_the_end.len() - 36;
    at_the_end[end..end + 4].copy_from_slice(b"UPX!");
    let behind_the_headers = Elf { code: b"\0\0\0\0UPX!".to_vec(), ..Elf::default() }.bytes();
    for bytes in [at_the_end, behind_the_headers] {
        assert_eq!(reason(&Question::new(&Content::from_bytes(bytes))), PlainReason::AlreadyPacked);
    }
}

#[test]
fn programs_with_privileges_are_stripped_at_most() {
    let content = Content::from_bytes(with_sections(&Elf::default(), &droppable()));
    let question =
        |mode, packing| Question { mode, packing, runners: Runners::none(), ..Question::new(&content) };
    for mode in [0o4755, 0o2755, 0o6711] {
        let why = reason(&question(mode, Packing::UPX));
        assert_eq!(why, PlainReason::Setuid { mode });
        assert!(why.to_string().contains(&format!("(mode {mode:04o})")), "{why}");
        let stripped = question(mode, Packing::STRIP).ask(None).unwrap();
        assert!(matches!(stripped, Outcome::Packed { .. }), "{stripped}");
    }
    assert_eq!(reason(&question(0o1755, Packing::UPX)), PlainReason::NoPacker);
    let xattrs = |name: &str| [(name.to_owned(), vec![1, 0, 0, 2])].into();
    let capable = |packing| Question { xattrs: xattrs("security.capability"), ..question(0o755, packing) };
    assert_eq!(reason(&capable(Packing::STRIP_UPX)), PlainReason::Capabilities);
    assert!(matches!(capable(Packing::STRIP).ask(None), Ok(Outcome::Packed { .. })));
    for packing in [Packing::UPX, Packing::STRIP] {
        let signed = Question { xattrs: xattrs("security.ima"), ..question(0o755, packing) };
        assert_eq!(reason(&signed), PlainReason::Signed { attribute: "security.ima".into() });
    }
}

#[test]
fn sections_that_nobody_knows_keep_it_unpacked() {
    let with = |more| {
        let mut sections = droppable();
        sections.push(more);
        sections.push(section(".ARM.attributes", 0x7000_0003, b"A"));
        reason(&Question::new(&Content::from_bytes(with_sections(&Elf::default(), &sections))))
    };
    let why = with(section(".payload\x1b[31m", PROGBITS, b"data"));
    assert_eq!(why, PlainReason::UnmappedSection(".payload[31m".into()));
    for known in [section(".payload", PROGBITS, b""), section(".note.stapsdt", NOTE, b"probe")] {
        assert_eq!(with(known), PlainReason::NoPacker);
    }
}

#[test]
fn a_decision_for_plain_is_followed() {
    let content = Content::from_bytes(Elf::default().bytes());
    let outcome = Question { packing: Packing::PLAIN, ..Question::new(&content) }.ask(None).unwrap();
    assert_eq!((outcome.to_string().as_str(), outcome.may_be_kept()), ("plain: as decided", true));
}

#[test]
fn data_behind_the_elf_part_keep_it_plain_and_the_zeros_of_a_last_page_do_not() {
    let mut bytes = Elf::default().bytes();
    bytes.extend(vec![0; 4096]);
    assert_eq!(reason(&Question::new(&Content::from_bytes(bytes.clone()))), PlainReason::NoPacker);
    bytes.extend(b"PK\x05\x06");
    let why = reason(&Question::new(&Content::from_bytes(bytes)));
    assert_eq!(why, PlainReason::DataBehind { bytes: 4100 });
}

#[test]
fn scripts_and_broken_files_stay_plain() {
    let of = |bytes: &[u8]| reason(&Question::new(&Content::from_bytes(bytes))).to_string();
    assert_eq!(of(b"#!/bin/sh\necho\n"), "a script");
    assert_eq!(of(b"just text"), "not an ELF program");
    assert_eq!(of(b""), "not an ELF program");
    assert!(of(&Elf::default().bytes()[..70]).starts_with("a broken ELF file: "));
}

#[test]
fn a_program_for_another_processor_or_class_stays_plain() {
    let arm = Content::from_bytes(Elf { machine: 40, is_64: false, ..Elf::default() }.bytes());
    let why = reason(&Question::new(&arm));
    assert_eq!(why, PlainReason::OtherPlatform { expected: Platform::Amd64, machine: 40 });
    assert_eq!(reason(&Question { platform: Platform::ArmV7, ..Question::new(&arm) }), PlainReason::NoPacker);
    let mut big_endian = Elf::default().bytes();
    big_endian[5] = 2;
    assert!(matches!(
        reason(&Question::new(&Content::from_bytes(big_endian))),
        PlainReason::NotElf(_) | PlainReason::OtherPlatform { .. } | PlainReason::NotAProgram
    ));
    // x32: the machine of amd64 in a 32-bit file.
    let x32 = Elf { is_64: false, ..Elf::default() };
    assert!(matches!(reason_of(&x32), PlainReason::OtherPlatform { machine: 62, .. }));
}

#[test]
fn daemons_small_programs_and_those_without_a_probe_stay_plain() {
    let content = Content::from_bytes(Elf::default().bytes());
    let question = || Question::new(&content);
    assert_eq!(reason(&Question { daemon: true, ..question() }), PlainReason::Daemon);
    assert_eq!(reason(&Question { probe: None, ..question() }), PlainReason::NoProbe);
    let small = reason(&Question { settings: Settings::default(), ..question() });
    assert_eq!(small, PlainReason::TooSmall { minimum: 1 << 20 });
    assert_eq!(small.to_string(), "smaller than 1 MiB");
}

#[test]
fn without_upx_programs_stay_plain_and_required_packing_fails() {
    let content = Content::from_bytes(Elf::default().bytes());
    let with = |mode| Question {
        settings: Settings { mode, minimum_size: 0, ..Settings::default() },
        probe: Some(Probe::default()),
        ..Question::new(&content)
    };
    let outcome = with(Mode::Auto).ask(None).unwrap();
    assert_eq!(outcome.to_string(), "plain: upx was not found");
    assert!(!outcome.may_be_kept());
    let error = with(Mode::Require).ask(None).unwrap_err();
    assert!(matches!(error, PackError::Required { why: PlainReason::NoPacker, .. }), "{error}");
    assert_eq!(error.to_string(), "`/usr/bin/program` has to be packed, but upx was not found");
    assert_eq!((error.class(), error.hint().is_some()), (ErrorClass::External, true));
    assert_eq!(reason(&with(Mode::Never)), PlainReason::NotWanted);
}

#[test]
fn required_packing_still_leaves_daemons_and_scripts_plain() {
    let settings = Settings { mode: Mode::Require, minimum_size: 0, ..Settings::default() };
    let content = Content::from_bytes("#!/bin/sh\n");
    let script = Question { settings: settings.clone(), ..Question::new(&content) };
    assert_eq!(reason(&script), PlainReason::Script);
    assert_eq!(reason(&Question { daemon: true, settings, ..Question::new(&content) }), PlainReason::Daemon);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn no_bytes_make_the_gate_panic(
        changes in prop::collection::vec((0_usize..300, any::<u8>()), 0..12),
        is_64 in any::<bool>(),
        length in 0_usize..20_100,
    ) {
        let elf = Elf { is_64, interpreter: Some("/lib/ld"), dynamic: vec![(DT_FLAGS_1, DF_1_PIE)], ..Elf::default() };
        let mut bytes = elf.bytes();
        for (at, byte) in changes {
            bytes[at] = byte;
        }
        bytes.resize(length, 7);
        let content = Content::from_bytes(bytes);
        let outcome = Question::new(&content).ask(None).unwrap();
        let is_plain = matches!(outcome, Outcome::Plain { .. });
        prop_assert!(is_plain);
    }
}
