//! Shell scripts in UPX's place that hang, flood, fill, and leave things behind. The programs are for x86-64.
#![cfg(target_arch = "x86_64")]
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod programs;

use std::path::Path;
use std::time::{Duration, Instant};

use kimg_core::Content;
use kimg_pack::{Difference, Mode, Outcome, PackError, PlainReason, Upx};
use programs::script::{COPY, script, smaller};
use programs::{Elf, Question, say};

#[test]
fn a_packer_that_changes_what_it_was_given_is_found_out() {
    // Both files now say "other": compared with each other they are alike.
    let why = script("cp MADE packed; cp MADE plain", &smaller(say("other", 0))).reason();
    assert_eq!(why, PlainReason::OtherAnswer(Difference::Output));
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
    let of_this_run = f64::from(std::process::id()) / 1e7;
    // In its group; in a session of its own; in one that has closed its outputs; in one that has left the folder.
    let ways = [
        "sleep NUMBER & ",
        "setsid sleep NUMBER & ",
        "setsid sleep NUMBER > /dev/null 2>&1 & ",
        "(cd /; exec setsid sleep NUMBER > /dev/null 2>&1) & ",
        "(setsid sh -c 'while :; do setsid sleep NUMBER & sleep 0.01; done' &) & ",
    ];
    for (seconds, way) in (300..).zip(ways) {
        let number = format!("{:.7}", f64::from(seconds) + of_this_run);
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
