//! Shell scripts in UPX's place, and what the gate makes of what they leave. The programs are for x86-64.
#![cfg(target_arch = "x86_64")]
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod programs;

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use kimg_core::{Content, Platform};
use kimg_pack::{Difference, Mode, Outcome, PackError, PlainReason, Runners, Started, Upx};
use programs::{Elf, Question, say, say_once, say_the_time};

/// A packer that does what a shell script says. In its folder lies `made`, the file that it may give as its result.
struct Script {
    folder: tempfile::TempDir,
    upx: Upx,
}

/// A packer that packs as the script says, and unpacks as it should.
fn script(text: &str, made: &[u8]) -> Script {
    let unpack =
        "case \"$*\" in *' -d '*) cp MADE.plain unpacked; exit;; esac; cp plain MADE.plain 2>/dev/null";
    whole_script(&format!("{unpack}\n{text}"), made)
}

fn whole_script(text: &str, made: &[u8]) -> Script {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("upx");
    let made_at = folder.path().join("made");
    fs_err::write(&made_at, made).unwrap();
    // Written by another process: on this one's other threads programs are started while this file is open.
    let text = text.replace("MADE", made_at.to_str().unwrap());
    let writer = format!("cat > '{}' <<'EOF'\n#!/bin/sh\n{text}\nEOF\n", path.display());
    assert!(std::process::Command::new("/bin/sh").args(["-c", &writer]).status().unwrap().success());
    fs_err::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    Script { folder, upx: Upx { path, version: "4.2.2".into() } }
}

impl Script {
    fn named(self, version: &str) -> Self {
        Self { upx: Upx { version: version.into(), ..self.upx }, folder: self.folder }
    }

    fn on(&self, question: &Question<'_>) -> Outcome {
        question.ask(Some(&self.upx)).unwrap()
    }

    /// What becomes of a program that says "plain".
    fn outcome(&self) -> Outcome {
        self.on(&Question::new(&Content::from_bytes(Elf::default().bytes())))
    }

    fn reason(&self) -> PlainReason {
        match self.outcome() {
            Outcome::Plain { why } => why,
            packed @ Outcome::Packed { .. } => panic!("{packed}"),
        }
    }
}

fn smaller(code: Vec<u8>) -> Vec<u8> {
    Elf { code, size: 5_000, ..Elf::default() }.bytes()
}

const COPY: &str = "cp MADE packed";

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
fn a_packer_that_changes_what_it_was_given_is_found_out() {
    // Both files now say "other": compared with each other they are alike.
    let why = script("cp MADE packed; cp MADE plain", &smaller(say("other", 0))).reason();
    assert_eq!(why, PlainReason::OtherAnswer(Difference::Output));
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
fn a_refusal_is_told_from_a_failure() {
    let refusal = "echo 'upx: plain: CantPackException: bad DT_HASH' >&2; exit 1";
    assert_eq!(script(refusal, b"").reason().to_string(), "upx refused: CantPackException: bad DT_HASH");
    assert_eq!(script("exit 1", b"").reason().to_string(), "upx failed: exit code 1");
    assert_eq!(script("kill -KILL $$", b"").reason().to_string(), "upx failed: signal 9");
}

#[test]
fn a_packer_that_hangs_is_ended_whether_it_likes_to_or_not() {
    let content = Content::from_bytes(Elf::default().bytes());
    let mut question = Question::new(&content);
    question.settings.time_limit = Duration::from_millis(300);
    for text in ["sleep 60", "trap '' TERM INT HUP; while :; do sleep 0.1; done"] {
        let start = Instant::now();
        let outcome = script(text, b"").on(&question);
        assert!(start.elapsed() < Duration::from_secs(30));
        assert_eq!(outcome.to_string(), "plain: upx failed: it took longer than 0.3 s");
        assert!(!outcome.may_be_kept());
    }
}

/// Whether a process whose arguments hold this word runs.
fn runs(word: &str) -> bool {
    let processes = fs_err::read_dir("/proc").unwrap().flatten();
    let arguments = processes.filter_map(|process| fs_err::read(process.path().join("cmdline")).ok());
    arguments.map(|words| String::from_utf8_lossy(&words).into_owned()).any(|words| words.contains(word))
}

#[test]
fn what_a_packer_leaves_running_is_ended() {
    let of_this_run = 300.0 + f64::from(std::process::id()) / 1e7;
    // In its group; in a session of its own; in one that has closed its outputs; in one that has left the folder.
    let ways = [
        "sleep NUMBER & ",
        "setsid sleep NUMBER & ",
        "setsid sleep NUMBER > /dev/null 2>&1 & ",
        "(cd /; exec setsid sleep NUMBER > /dev/null 2>&1) & ",
        "(setsid sh -c 'while :; do setsid sleep NUMBER & sleep 0.01; done' &) & ",
    ];
    for (place, way) in ways.iter().enumerate() {
        let number = format!("{:.7}", of_this_run + place as f64);
        let text = format!("{} sleep 0.2; {COPY}", way.replace("NUMBER", &number));
        let outcome = script(&text, &smaller(say("plain", 0))).outcome();
        assert!(matches!(outcome, Outcome::Packed { .. }), "{way}: {outcome}");
        assert!(!runs(&number), "{way} was left running");
    }
}

#[test]
fn a_packer_that_fills_the_disk_is_stopped() {
    let one = script("head -c 50000000 /dev/zero > packed", b"").reason();
    // Stopped at the limit on file sizes, whatever the script makes of it.
    assert!(one == PlainReason::NotSmaller || matches!(one, PlainReason::PackerFailed(_)), "{one}");
    let itself = script("exec head -c 50000000 /dev/zero > packed", b"").reason();
    assert_eq!(itself.to_string(), "upx failed: it wrote too large a file");
    let many = "i=0; while :; do head -c 200000 /dev/zero > f$i; i=$((i+1)); done";
    assert_eq!(script(many, b"").reason().to_string(), "upx failed: it filled its folder");
    let deep = "i=0; while :; do mkdir d; cd d; head -c 200000 /dev/zero > f; done";
    assert_eq!(script(deep, b"").reason().to_string(), "upx failed: it filled its folder");
}

#[test]
fn a_packer_that_takes_too_much_memory_does_not_get_it() {
    let content = Content::from_bytes(Elf::default().bytes());
    let mut question = Question::new(&content);
    question.settings.memory_limit = 32 << 20;
    // tail keeps the only line, which never ends. The limits have come before tail, however busy the machine.
    let outcome =
        script("sleep 0.5; head -c 300000000 /dev/zero | tail -n 1 | head -c 9 > packed", b"").on(&question);
    assert_eq!(outcome.to_string(), "plain: upx failed: its result is not an ELF program");
    // UPX's own words for it are no word about the program.
    let text = "echo 'upx: plain: OutOfMemoryException: out of memory' >&2; exit 1";
    assert!(script(text, b"").reason().is_failure());
}

#[test]
fn a_packer_that_never_stops_talking_is_stopped() {
    let endless = script("exec yes", b"").reason();
    assert!(endless.to_string().starts_with("upx failed: it wrote "), "{endless}");
    let long = script(&format!("{COPY}; yes | head -n 100000"), &smaller(say("plain", 0))).reason();
    assert_eq!(long.to_string(), "upx failed: it wrote more than 64 KiB");
}

#[test]
fn links_that_a_packer_leaves_lead_nothing_astray() {
    let outside = tempfile::tempdir().unwrap();
    let victim = outside.path().join("victim");
    fs_err::write(&victim, "unchanged").unwrap();
    let outcome = |text: &str| {
        let text = text
            .replace("VICTIM", victim.to_str().unwrap())
            .replace("OUTSIDE", outside.path().to_str().unwrap());
        let made = smaller(say("plain", 0));
        let outcome = script(&text, &made).outcome();
        let Outcome::Packed { content, .. } = &outcome else { panic!("{text}: {outcome}") };
        assert_eq!(content.read(10_000).unwrap(), made, "{text}");
        assert_eq!(fs_err::read_to_string(&victim).unwrap(), "unchanged", "{text}");
        assert_eq!(fs_err::read_dir(outside.path()).unwrap().count(), 1, "{text}");
    };
    outcome(&format!("{COPY}; ln -sf VICTIM plain"));
    outcome(&format!("{COPY}; ln -s OUTSIDE root"));
    outcome(&format!("rm plain; {COPY}; mkfifo plain"));
    // Another name of the result is not the file that is started or shipped.
    outcome(&format!("{COPY}; ln packed other; (sleep 0.1; echo late > other) &"));
}

#[test]
fn what_a_packer_writes_elsewhere_changes_no_image() {
    let elsewhere = tempfile::tempdir().unwrap();
    let at = elsewhere.path().join("usr/bin/program");
    let text = format!(
        "mkdir -p {0}; cp plain {0}/program; echo > {1}/mark",
        at.parent().unwrap().display(),
        elsewhere.path().display()
    );
    assert_eq!(script(&text, b"").reason().to_string(), "upx failed: it wrote nothing");
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
                assert!(why.is_failure() && !kimg_testkit::superuser(), "{mode}: {outcome}")
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
fn a_packer_sees_nothing_of_the_environment() {
    let text = format!("[ -z \"$HOME$CARGO_MANIFEST_DIR$UPX\" ] || exit 9; {COPY}");
    assert!(std::env::var_os("CARGO_MANIFEST_DIR").is_some());
    assert!(matches!(script(&text, &smaller(say("plain", 0))).outcome(), Outcome::Packed { .. }));
}

#[test]
fn required_packing_fails_with_a_broken_packer_and_not_with_a_stubborn_program() {
    let content = Content::from_bytes(Elf::default().bytes());
    let mut question = Question::new(&content);
    question.settings.mode = Mode::Require;
    let error = question.ask(Some(&script("exit 1", b"").upx)).unwrap_err();
    assert!(matches!(error, PackError::Required { .. }), "{error}");
    assert_eq!(script("cp plain packed", b"").on(&question), Outcome::Plain { why: PlainReason::NotSmaller });
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
fn the_options_of_the_settings_are_the_packers_options() {
    let content = Content::from_bytes(Elf::default().bytes());
    let mut question = Question::new(&content);
    question.packing = "upx -9 --lzma".parse().unwrap();
    let text =
        format!("[ \"$*\" = '-qq --no-color --no-progress -9 --lzma -o packed plain' ] || exit 9; {COPY}");
    let outcome = script(&text, &smaller(say("plain", 0))).on(&question);
    assert!(matches!(outcome, Outcome::Packed { .. }), "{outcome}");
}

#[test]
fn a_upx_says_its_version_or_is_none() {
    let said = |text: &str| {
        let script = script(text, b"");
        let found = Upx::find(script.folder.path().as_os_str());
        found.map(|upx| upx.map(|upx| upx.version)).map_err(|error| error.to_string())
    };
    assert_eq!(said("[ \"$*\" = --version ] && echo upx 4.2.4; echo more"), Ok(Some("4.2.4".into())));
    let counting = "echo >> COUNT; echo upx 4.2.$(wc -l < COUNT)";
    let folder = tempfile::tempdir().unwrap();
    let error = said(&counting.replace("COUNT", folder.path().join("n").to_str().unwrap())).unwrap_err();
    assert!(error.ends_with("found `4.2.1`, and then `4.2.2`"), "{error}");
    let error = said("echo hello").unwrap_err();
    assert!(error.ends_with("expected a first line like `upx 4.2.4`, found `hello`"), "{error}");
    assert!(said("exit 7").unwrap_err().ends_with("found exit code 7"));
    assert_eq!(Upx::find(Path::new("/nonexistent").as_os_str()).unwrap(), None);
}
