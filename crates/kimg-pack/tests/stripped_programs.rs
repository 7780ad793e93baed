//! What is left of programs whose unmapped sections are dropped; `object` and GNU strip give a second opinion.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod programs;

use std::path::{Path, PathBuf};
use std::process::Command;

use kimg_core::{Content, Platform};
use kimg_pack::{Outcome, Packing, PlainReason, Runners, Started};
use kimg_testkit::{run, tool};
use object::{Object, ObjectSection};
use programs::Elf;
use programs::loads::{assert_loads_alike, without_table_fields};
use programs::sectioned::{NOTE, PROGBITS, RELA, Section, droppable, section, with_sections};
use programs::{Question, say};
use proptest::prelude::*;

/// What becomes of a program that is only stripped, and not started.
fn strip(bytes: &[u8], platform: Platform) -> Result<Vec<u8>, PlainReason> {
    let content = Content::from_bytes(bytes);
    let mut question = Question::new(&content);
    (question.packing, question.probe, question.platform) = (Packing::STRIP, None, platform);
    match question.ask(None).unwrap() {
        Outcome::Packed { content, packing, .. } => {
            assert_eq!(packing, Packing::STRIP);
            Ok(content.read(1 << 30).unwrap())
        }
        Outcome::Plain { why } => Err(why),
    }
}

#[test]
fn symbols_and_debug_information_are_dropped_and_the_rest_is_kept() {
    let mut sections = droppable();
    sections.push(section(".note.stapsdt", NOTE, b"a probe"));
    sections.push(Section { align: 16, ..section(".payload", PROGBITS, b"read from the file") });
    for is_64 in [true, false] {
        let machine = if is_64 { 62 } else { 40 };
        let platform = if is_64 { Platform::Amd64 } else { Platform::ArmV7 };
        let plain = with_sections(&Elf { is_64, machine, ..Elf::default() }, &sections);
        let stripped = strip(&plain, platform).unwrap();
        assert_loads_alike(&plain, &stripped);
        let file = object::File::parse(&*stripped).unwrap();
        let names: Vec<_> = file.sections().map(|s| s.name().unwrap()).collect();
        assert_eq!(names, [".text", ".note.stapsdt", ".payload", ".shstrtab"]);
        assert_eq!(strip(&stripped, platform), Err(PlainReason::NothingToStrip));
    }
}

#[test]
fn a_stripped_program_is_started_where_it_has_a_probe() {
    let plain = with_sections(&Elf::default(), &droppable());
    let content = Content::from_bytes(plain);
    let mut question = Question::new(&content);
    // A daemon too: its pages stay as they were.
    (question.packing, question.daemon) = (Packing::STRIP, true);
    let outcome = question.ask(None).unwrap();
    if cfg!(target_arch = "x86_64") {
        assert_eq!(outcome.to_string(), "0.0 → 0.0 MB, stripped, answers as before");
    }
    question.probe = None;
    let outcome = question.ask(None).unwrap();
    assert_eq!(outcome.to_string(), "0.0 → 0.0 MB, stripped, not started here: it has no probe");
}

#[test]
fn what_has_nothing_to_drop_stays_plain() {
    assert_eq!(strip(&Elf::default().bytes(), Platform::Amd64), Err(PlainReason::NothingToStrip));
    let plain = with_sections(&Elf::default(), &[section(".note", NOTE, b"a note")]);
    assert_eq!(strip(&plain, Platform::Amd64), Err(PlainReason::NothingToStrip));
}

#[test]
fn what_may_read_its_own_symbols_stays_plain_while_it_has_some() {
    for words in ["debug/elf.(*File).Symbols", "debug/gosym.(*Table).init", "\0.symtab\0"] {
        let elf = Elf { code: say(words, 0), ..Elf::default() };
        let why = strip(&with_sections(&elf, &droppable()), Platform::Amd64).unwrap_err();
        assert!(matches!(why, PlainReason::ReadsSymbols(by) if words.contains(by)), "{why}");
        let without = with_sections(&elf, &[section(".comment", PROGBITS, &[7; 300])]);
        assert!(strip(&without, Platform::Amd64).is_ok());
    }
}

#[test]
fn relocations_that_speak_of_symbols_keep_them() {
    let mut sections = droppable();
    sections.push(Section { link: 2, ..section(".rela.text", RELA, &[0; 24]) });
    let why = strip(&with_sections(&Elf::default(), &sections), Platform::Amd64).unwrap_err();
    assert_eq!(why, PlainReason::UnmappedSection(".rela.text".into()));
}

#[test]
fn data_behind_or_between_sections_keep_it_plain() {
    let mut bytes = with_sections(&Elf::default(), &droppable());
    bytes.extend(b"PK\x05\x06");
    assert_eq!(strip(&bytes, Platform::Amd64), Err(PlainReason::DataBehind { bytes: 4 }));
    // Bytes that a section's header no longer knows of.
    let mut bytes = with_sections(&Elf::default(), &droppable());
    let at = bytes.len() - 64 * 3 + 32;
    bytes[at..at + 8].fill(0);
    assert!(matches!(strip(&bytes, Platform::Amd64), Err(PlainReason::DataBehind { .. })));
}

/// Compiles a C program; `None`, visibly, where there is no compiler.
fn compile(folder: &Path, name: &str, options: &[&str]) -> Option<PathBuf> {
    let (source, out) = (folder.join("source.c"), folder.join(name));
    let text = "#include <stdio.h>\nint answer(int x) { return x * 2; }\n\
                int main(void) { printf(\"%d\\n\", answer(21)); return 0; }\n";
    fs_err::write(&source, text).unwrap();
    run(Command::new(tool("cc")?).args(["-g", "-O1"]).args(options).arg("-o").arg(&out).arg(&source));
    Some(out)
}

#[test]
fn compiled_programs_are_as_small_as_gnu_strip_makes_them_and_answer_alike() {
    let Some(gnu_strip) = tool("strip") else { return };
    let folder = tempfile::tempdir().unwrap();
    let kinds: [(&str, &[&str]); 5] = [
        ("static", &["-static"]),
        ("dynamic", &["-no-pie"]),
        ("pie", &["-pie"]),
        ("static-pie", &["-static-pie"]),
        ("compressed", &["-static", "-gz"]),
    ];
    for (name, options) in kinds {
        let Some(path) = compile(folder.path(), name, options) else { return };
        let plain = fs_err::read(&path).unwrap();
        let platform = if cfg!(target_arch = "aarch64") { Platform::Arm64 } else { Platform::Amd64 };
        let stripped = strip(&plain, platform).unwrap_or_else(|why| panic!("{name}: {why}"));
        assert_loads_alike(&plain, &stripped);

        let judged = folder.path().join(format!("{name}-judged"));
        run(Command::new(&gnu_strip).arg("--strip-all").arg("-o").arg(&judged).arg(&path));
        let judged = fs_err::metadata(&judged).unwrap().len();
        // GNU strip keeps `.comment`, and aligns a little otherwise.
        assert!(
            stripped.len() as u64 <= judged + 64,
            "{name}: {} bytes, {judged} by GNU strip",
            stripped.len()
        );

        // Written by another process: on this one's other threads programs are started while this file is open.
        let (bytes, ours) = (folder.path().join("bytes"), folder.path().join(format!("{name}-ours")));
        fs_err::write(&bytes, &stripped).unwrap();
        run(Command::new("cp").arg(&path).arg(&ours));
        run(Command::new("cp").arg(&bytes).arg(&ours));
        assert_eq!(run(&mut Command::new(&ours)), run(&mut Command::new(&path)), "{name}");
        if let Some(readelf) = tool("readelf") {
            let said = kimg_testkit::output(Command::new(readelf).arg("-aW").arg(&ours));
            let said = kimg_testkit::both(&said);
            assert!(!said.contains("Warning") && !said.contains("Error"), "{name}: {said}");
        }
    }
}

#[test]
fn objects_keep_their_symbols_and_libraries_need_not() {
    let folder = tempfile::tempdir().unwrap();
    let platform = if cfg!(target_arch = "aarch64") { Platform::Arm64 } else { Platform::Amd64 };
    let Some(object) = compile(folder.path(), "object.o", &["-c"]) else { return };
    assert_eq!(strip(&fs_err::read(object).unwrap(), platform), Err(PlainReason::ObjectFile));
    let Some(library) = compile(folder.path(), "library.so", &["-shared", "-fPIC"]) else { return };
    let plain = fs_err::read(library).unwrap();
    assert_loads_alike(&plain, &strip(&plain, platform).unwrap());
}

fn any_section() -> impl Strategy<Value = Section> {
    let names = [".debug_info", ".zdebug_line", ".comment", ".note.x", ".payload", ".gnu_debuglink"];
    let name = prop::sample::select(names.to_vec());
    let bytes = prop::collection::vec(any::<u8>(), 0..300);
    (name, 0_u32..6, bytes).prop_map(|(name, align, bytes)| {
        let kind = if name == ".note.x" { NOTE } else { PROGBITS };
        Section { align: 1 << align, ..section(name, kind, &bytes) }
    })
}

/// What is stripped, if anything is, must still load alike.
fn check(plain: &[u8], platform: Platform) -> bool {
    let content = Content::from_bytes(plain);
    let mut question = Question { runners: Runners::none(), ..Question::new(&content) };
    (question.packing, question.platform) = (Packing::STRIP, platform);
    let Outcome::Packed { content: stripped, started, .. } = question.ask(None).unwrap() else {
        return false;
    };
    assert!(matches!(started, Started::NotHere(_)));
    assert!(stripped.size() < content.size());
    assert_loads_alike(plain, &stripped.read(1 << 30).unwrap());
    true
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn whatever_sections_there_are_what_is_mapped_stays(
        others in prop::collection::vec(any_section(), 0..8),
        with_symbols in any::<bool>(),
        is_64 in any::<bool>(),
    ) {
        let elf = Elf { is_64, machine: if is_64 { 62 } else { 40 }, size: 4_000, ..Elf::default() };
        let platform = if is_64 { Platform::Amd64 } else { Platform::ArmV7 };
        let mut sections = if with_symbols { droppable() } else { Vec::new() };
        sections.extend(others);
        let stripped = check(&with_sections(&elf, &sections), platform);
        prop_assert!(stripped || !with_symbols);
    }

    #[test]
    fn broken_headers_make_no_program_that_loads_otherwise(
        changes in prop::collection::vec((0_usize..700, any::<u8>()), 1..6),
        in_table in any::<bool>(),
    ) {
        let elf = Elf { size: 4_000, ..Elf::default() };
        let mut bytes = with_sections(&elf, &droppable());
        let size = bytes.len();
        for (at, byte) in changes {
            // Either in what comes first, or in the table of sections at the end.
            let at = if in_table { size - 448 + at % 448 } else { at % 120 };
            bytes[at] = byte;
        }
        let content = Content::from_bytes(bytes.clone());
        let mut question = Question { runners: Runners::none(), ..Question::new(&content) };
        question.packing = Packing::STRIP;
        if let Outcome::Packed { content: stripped, .. } = question.ask(None).unwrap() {
            let stripped = stripped.read(1 << 30).unwrap();
            let (mut before, mut after) = (bytes[..4_000].to_vec(), stripped[..4_000.min(stripped.len())].to_vec());
            for head in [&mut before, &mut after] {
                without_table_fields(head, true);
            }
            prop_assert!(before == after, "what was mapped has changed");
        }
    }
}
