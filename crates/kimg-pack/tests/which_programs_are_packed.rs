//! What the gate says of a program before a packer sees it, and of a packer that is not there.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod programs;

use kimg_core::variant::Probe;
use kimg_core::{Classified, Content, ErrorClass, Platform};
use kimg_pack::{Mode, Outcome, PackError, PlainReason, Settings};
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
