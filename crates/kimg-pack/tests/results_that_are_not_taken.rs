//! What packers, shell scripts among them, give as their result, and what the gate makes of it. The programs are for
//! x86-64.
#![cfg(target_arch = "x86_64")]
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod programs;

use std::time::Duration;

use kimg_core::{Content, ImagePath, Platform};
use kimg_pack::{Difference, Outcome, PlainReason, Runners, Started};
use programs::script::{COPY, Script, script, smaller, whole_script};
use programs::{Elf, Question, say, say_once, say_the_time};

#[test]
fn a_smaller_program_that_answers_alike_is_packed() {
    let made = smaller(say("plain", 0));
    let outcome = script(COPY, &made).outcome();
    let Outcome::Packed { content, plain_size, packed_size, started, .. } = &outcome else {
        panic!("{outcome}")
    };
    assert_eq!(content.read(10_000).unwrap(), made);
    assert_eq!((*plain_size, *packed_size), (20_000, 5_000));
    assert!(started.times().is_some());
    assert_eq!(outcome.to_string(), "0.0 → 0.0 MB, answers as before");
    assert!(outcome.may_be_kept());
}

#[test]
fn a_program_that_says_something_else_stays_plain() {
    let outcome = script(COPY, &smaller(say("other", 0))).outcome();
    assert_eq!(
        outcome.to_string(),
        "plain: packed one did not answer as before: its standard output differs"
    );
    // It is the program's own doing, and so will be the next time.
    assert!(outcome.may_be_kept());
}

#[test]
fn a_program_that_ends_otherwise_stays_plain() {
    let why = script(COPY, &smaller(say("plain", 3))).reason();
    let (plain, packed) = ("exit code 0".to_owned(), "exit code 3".to_owned());
    assert_eq!(why, PlainReason::OtherAnswer(Difference::End { plain, packed }));
}

#[test]
fn a_program_that_crashes_stays_plain() {
    let crash = vec![0x0f, 0x0b];
    let why = script(COPY, &smaller(crash)).reason();
    assert_eq!(why.to_string(), "packed one did not start: signal 4");
}

#[test]
fn a_program_that_hangs_stays_plain() {
    let hang = vec![0xeb, 0xfe];
    let content = Content::from_bytes(Elf::default().bytes());
    let mut question = Question::new(&content);
    question.settings.probe_time_limit = Duration::from_millis(300);
    let outcome = script(COPY, &smaller(hang)).on(&question);
    assert_eq!(outcome.to_string(), "plain: packed one did not start: it took longer than 0.3 s");
}

#[test]
fn a_program_that_never_answers_twice_alike_stays_plain() {
    let content = Content::from_bytes(Elf { code: say_the_time(), ..Elf::default() }.bytes());
    let outcome = script(COPY, &smaller(say_the_time())).on(&Question::new(&content));
    assert_eq!(outcome, Outcome::Plain { why: PlainReason::Unsteady });
}

#[test]
fn a_program_in_the_place_of_another_has_to_answer_as_that_whatever_else_it_is() {
    let program = |code: Vec<u8>| Content::from_bytes(Elf { code, ..Elf::default() }.bytes());
    let path = ImagePath::new("/usr/bin/program").unwrap();
    let answers = |alone: &Content, other: &Content, daemon: bool| {
        let question = Question { daemon, ..Question::new(alone) };
        let scratch = tempfile::tempdir().unwrap();
        let candidate = question.candidate(&path);
        let verdict = kimg_pack::same_answers(&candidate, other, &question.settings, scratch.path());
        assert_eq!(fs_err::read_dir(scratch.path()).unwrap().count(), 0);
        verdict.unwrap().map(|started| started.times().is_some())
    };
    let (plain, other) = (program(say("plain", 0)), program(say("other", 0)));
    // Neither smaller nor packed, and a daemon: only what it answers counts.
    let larger = Content::from_bytes(Elf { code: say("plain", 0), size: 30_000, ..Elf::default() }.bytes());
    assert_eq!(answers(&plain, &larger, true), Ok(true));
    assert_eq!(answers(&plain, &other, false), Err(PlainReason::OtherAnswer(Difference::Output)));
    let now = program(say_the_time());
    assert_eq!(answers(&now, &now, false), Err(PlainReason::Unsteady));
    assert!(matches!(
        answers(&Content::from_bytes(b"#!/bin/sh\n".to_vec()), &plain, false),
        Err(PlainReason::Script)
    ));
}

#[test]
fn garbage_nothing_and_links_are_no_results() {
    let reason = |text: &str| script(text, &smaller(say("plain", 0))).reason().to_string();
    assert_eq!(reason("echo garbage > packed"), "upx failed: its result is not an ELF program");
    let half = reason("head -c 3000 MADE > packed");
    assert_eq!(half, "upx failed: its result is a broken ELF file: it ends at 3000 and should at 5000");
    assert_eq!(reason("exit 0"), "upx failed: it wrote nothing");
    assert_eq!(reason("ln -s MADE packed"), "upx failed: its result is not a regular file");
    assert_eq!(reason("mkdir packed"), "upx failed: its result is not a regular file");
    assert_eq!(reason("mkfifo packed"), "upx failed: its result is not a regular file");
    assert_eq!(
        reason("mkdir -p packed/a; chmod 0 packed/a packed ."),
        "upx failed: its result is not a regular file"
    );
    if kimg_testkit::superuser() {
        assert_eq!(reason("mknod packed c 1 5"), "upx failed: its result is not a regular file");
    }
}

#[test]
fn a_program_for_another_processor_is_no_result() {
    let arm = Elf { machine: 183, size: 5_000, ..Elf::default() }.bytes();
    let why = script(COPY, &arm).reason();
    assert_eq!(why.to_string(), "upx failed: its result is for ELF machine 183, expected 62");
}

#[test]
fn a_result_of_the_same_size_is_not_taken() {
    assert_eq!(script("cp plain packed", b"").reason(), PlainReason::NotSmaller);
}

#[test]
fn the_mode_of_the_result_is_no_matter() {
    for mode in ["0000", "0200", "6777"] {
        let outcome =
            script(&format!("{COPY}; chmod {mode} packed plain"), &smaller(say("plain", 0))).outcome();
        match &outcome {
            Outcome::Packed { content, .. } => assert_eq!(content.size(), 5_000),
            // Who is not root can't read what nobody may.
            Outcome::Plain { why } => {
                assert!(why.is_failure() && !kimg_testkit::superuser(), "{mode}: {outcome}");
            }
        }
    }
}

#[test]
fn a_program_that_answers_only_once_stays_plain() {
    let content = Content::from_bytes(Elf::default().bytes());
    let mut question = Question::new(&content);
    question.settings.probe_time_limit = Duration::from_millis(500);
    let outcome = script(COPY, &smaller(say_once("plain"))).on(&question);
    assert_eq!(outcome.to_string(), "plain: packed one did not start: it took longer than 0.5 s");
}

#[test]
fn a_header_with_any_byte_changed_is_seen_to_start_or_stays_plain() {
    let made = smaller(say("plain", 0));
    // Also the first bytes of the code, and the text that it says.
    let content = Content::from_bytes(Elf::default().bytes());
    let mut question = Question::new(&content);
    question.settings.probe_time_limit = Duration::from_millis(500);
    for at in [
        0, 4, 5, 7, 16, 18, 24, 25, 32, 42, 52, 54, 56, 64, 68, 72, 74, 80, 88, 96, 97, 104, 112, 113, 120,
        131, 160,
    ] {
        let mut broken = made.clone();
        broken[at] ^= 0x41;
        match script(COPY, &broken).on(&question) {
            Outcome::Packed { started, .. } => {
                assert!(started.times().is_some(), "byte {at}: {started}");
            }
            Outcome::Plain { why } => assert!(
                matches!(why, PlainReason::PackerFailed(_) | PlainReason::OtherAnswer(_)),
                "byte {at}: {why}"
            ),
        }
    }
}

/// The real UPX, after which a shell script goes over its result.
fn real_upx_and(change: &str) -> Option<Script> {
    let upx = kimg_testkit::tool("upx")?;
    Some(whole_script(&format!("'{}' \"$@\" && {change}", upx.display()), b""))
}

#[test]
fn what_unpacks_to_another_program_stays_plain_even_where_nothing_can_be_started() {
    let content = Content::from_bytes(Elf::default().bytes());
    let question = Question { runners: Runners::none(), ..Question::new(&content) };
    let reason = |unpack: &str| {
        let text = format!("case \"$*\" in *' -d '*) {unpack};; *) {COPY};; esac");
        whole_script(&text, &smaller(say("other", 0))).on(&question).to_string()
    };
    assert_eq!(
        reason("cp MADE unpacked"),
        "plain: upx failed: unpacked again, its result is another program"
    );
    assert_eq!(reason(":"), "plain: upx failed: it wrote nothing");
    assert_eq!(reason("exit 3"), "plain: upx failed: exit code 3");
    assert_eq!(reason("mkfifo unpacked"), "plain: upx failed: its result is not a regular file");
}

#[test]
fn a_real_result_that_was_corrupted_stays_plain() {
    let Some(real) = kimg_testkit::real() else { return };
    let plugin = programs::file_of(&real, Platform::Amd64, "cni-plugins", "usr/libexec/cni/static");
    let mut question = Question::new(&plugin);
    question.packing = "upx -1".parse().unwrap();
    question.probe = Some(programs::version_probe());
    question.settings.probe_time_limit = Duration::from_secs(10);
    let change =
        |at: &str| format!("printf 'ABCDEFGH' | dd of=packed bs=1 seek=$(({at})) conv=notrunc 2>/dev/null");
    let entry = "$(od -An -tu8 -j24 -N8 packed) - $(od -An -tu8 -j136 -N8 packed)";
    let changes = [
        change("0"),
        change("24"),
        change("80"),
        // The code that unpacks, and what it unpacks: at the beginning, in the middle, near the end.
        change(entry),
        change("300"),
        change("$(stat -c %s packed) / 2"),
        change("$(stat -c %s packed) * 3 / 4"),
        "truncate -s -40000 packed".to_owned(),
        "truncate -s 4096 packed".to_owned(),
    ];
    for change in changes {
        let Some(packer) = real_upx_and(&change) else { return };
        for runners in [question.runners.clone(), Runners::none()] {
            let question = Question { runners, ..question.clone() };
            let outcome = packer.on(&question);
            // Only the code that unpacks is seen by nothing but a start.
            let unseen = change.contains("od") && question.runners == Runners::none();
            assert!(matches!(outcome, Outcome::Plain { .. }) || unseen, "{change}: {outcome}");
        }
    }
    let Some(untouched) = real_upx_and(":") else { return };
    assert!(matches!(untouched.on(&question), Outcome::Packed { .. }));
}

#[test]
fn what_can_not_be_started_here_is_packed_all_the_same() {
    let content = Content::from_bytes(Elf::default().bytes());
    let made = smaller(say("other", 0));
    let question = Question { runners: Runners::none(), ..Question::new(&content) };
    let outcome = script(COPY, &made).on(&question);
    assert_eq!(outcome.to_string(), "0.0 → 0.0 MB, not started here: qemu-x86_64-static was not found");

    // Its interpreter is no interpreter: the plain one does not start, which says nothing about the packed one.
    let dynamic = Elf { interpreter: Some("/lib/ld"), ..Elf::default() };
    let content = Content::from_bytes(dynamic.bytes());
    let mut question = Question::new(&content);
    assert!(script(COPY, &made).on(&question).to_string().ends_with("libraries were not given"));
    question.libraries = vec![("/lib/ld".parse().unwrap(), Content::from_bytes("no ELF file"))];
    let outcome = script(COPY, &made).on(&question);
    let Outcome::Packed { started: Started::NotHere(why), .. } = &outcome else { panic!("{outcome}") };
    assert!(why.contains("the plain one does not start here either"), "{why}");
}

#[test]
fn whole_pages_of_code_on_arm_are_refused_but_from_upx_4_2_4() {
    let arm = |size| Elf { machine: 40, is_64: false, align: 0x10000, size, ..Elf::default() }.bytes();
    let content = Content::from_bytes(arm(20_000));
    let question =
        || Question { platform: Platform::ArmV7, runners: Runners::none(), ..Question::new(&content) };
    let whole = script(COPY, &arm(8_192));
    assert_eq!(
        whole.on(&question()),
        Outcome::Plain { why: PlainReason::WholePages { upx: "4.2.2".into() } }
    );
    assert!(matches!(whole.named("4.2.4").on(&question()), Outcome::Packed { .. }));
    assert!(matches!(script(COPY, &arm(8_188)).on(&question()), Outcome::Packed { .. }));
}

#[test]
fn segments_that_64_kib_pages_can_not_map_are_refused_on_arm64() {
    let arm64 = |size, align| Elf { machine: 183, size, align, ..Elf::default() }.bytes();
    let content = Content::from_bytes(arm64(20_000, 0x10000));
    let question =
        Question { platform: Platform::Arm64, runners: Runners::none(), ..Question::new(&content) };
    let outcome = script(COPY, &arm64(5_000, 0x1000)).on(&question);
    assert_eq!(outcome, Outcome::Plain { why: PlainReason::LessAligned { plain: 0x10000, packed: 0x1000 } });
    assert!(matches!(script(COPY, &arm64(5_000, 0x10000)).on(&question), Outcome::Packed { .. }));
}

#[test]
fn what_no_kernel_maps_is_no_result() {
    let content = Content::from_bytes(Elf::default().bytes());
    let question = Question { runners: Runners::none(), ..Question::new(&content) };
    // Where the segment lies in memory, how much it takes there, and where the program begins.
    for (at, value) in [(80, 1_u8), (105, 0), (27, 1)] {
        let mut made = smaller(say("plain", 0));
        made[at] = value;
        let outcome = script(COPY, &made).on(&question).to_string();
        assert_eq!(outcome, "plain: upx failed: its result has segments that no kernel maps", "byte {at}");
    }
}
