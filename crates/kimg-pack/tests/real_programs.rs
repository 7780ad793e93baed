//! Real programs of three architectures, packed by the real UPX and started natively and under qemu.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod programs;

use kimg_core::variant::Probe;
use kimg_core::{Content, Digest, ImagePath, MemorySink, Platform};
use kimg_pack::{Outcome, Packing, PlainReason, Runners, Settings, Started, Upx, measure};
use kimg_testkit::{Real, debian_plugins, real, skip, tool};
use programs::{Question, file_of, version_probe};

fn upx() -> Option<Upx> {
    tool("upx")?;
    Upx::find(&std::env::var_os("PATH")?).expect("the installed UPX says its version")
}

/// Whether this machine can start programs of a platform; else a visible skip.
fn can_start(platform: Platform) -> bool {
    platform.alpine() == std::env::consts::ARCH || tool(platform.qemu()).is_some()
}

#[test]
fn a_real_plugin_of_each_architecture_is_packed_and_answers_as_before() {
    let (Some(real), Some(upx)) = (real(), upx()) else { return };
    for platform in Platform::DEFAULT {
        if !can_start(platform) {
            continue;
        }
        let content = file_of(&real, platform, "cni-plugins", "usr/libexec/cni/static");
        let mut question = Question::new(&content);
        question.platform = platform;
        question.path = "/opt/cni/bin/static";
        question.probe = Some(version_probe());
        question.settings = Settings::default();
        let outcome = question.ask(Some(&upx)).unwrap();
        let Outcome::Packed { content: packed, plain_size, packed_size, started, .. } = &outcome else {
            panic!("{platform}: {outcome}")
        };
        assert_eq!(*plain_size, content.size());
        assert!(packed_size * 2 < *plain_size, "{platform}: {outcome}");
        assert_eq!(packed.size(), *packed_size);
        match started {
            Started::Natively(_) => assert_eq!(platform.alpine(), std::env::consts::ARCH),
            Started::UnderQemu(_) => assert_ne!(platform.alpine(), std::env::consts::ARCH),
            Started::NotHere(why) => panic!("{platform}: {why}"),
        }
    }
}

#[test]
fn the_same_program_is_packed_to_the_same_bytes_wherever_that_is_done() {
    let (Some(real), Some(upx)) = (real(), upx()) else { return };
    let content = file_of(&real, Platform::Amd64, "cni-plugins", "usr/libexec/cni/static");
    let digest = |path, runners| -> Digest {
        let mut question = Question::new(&content);
        (question.path, question.runners, question.probe) = (path, runners, Some(version_probe()));
        match question.ask(Some(&upx)).unwrap() {
            Outcome::Packed { content, .. } => content.digest(),
            plain @ Outcome::Plain { .. } => panic!("{plain}"),
        }
    };
    let here = Runners::find(&std::env::var_os("PATH").unwrap());
    assert_eq!(digest("/opt/cni/bin/static", here), digest("/static", Runners::none()));
}

#[test]
fn a_program_linked_against_musl_is_started_with_its_interpreter() {
    let (Some(real), Some(upx)) = (real(), upx()) else { return };
    for platform in Platform::DEFAULT {
        if !can_start(platform) {
            continue;
        }
        let interpreter = format!("/lib/ld-musl-{}.so.1", platform.musl());
        let libraries = vec![(
            ImagePath::new(&interpreter).unwrap(),
            file_of(&real, platform, "musl", interpreter.trim_start_matches('/')),
        )];
        let content = file_of(&real, platform, "iproute2", "sbin/ip");
        let mut question = Question::new(&content);
        (question.platform, question.libraries, question.path) = (platform, libraries, "/sbin/ip");
        question.probe = Some(Probe { arguments: vec!["-V".into()], ..Probe::default() });
        let outcome = question.ask(Some(&upx)).unwrap();
        let Outcome::Packed { started, .. } = &outcome else { panic!("{platform}: {outcome}") };
        if platform.alpine() == std::env::consts::ARCH {
            if let Started::NotHere(why) = started {
                return skip(format_args!("a dynamic program can't be started here: {why}"));
            }
            assert!(matches!(started, Started::Natively(_)), "{platform}: {outcome}");
        } else {
            assert!(matches!(started, Started::UnderQemu(_)), "{platform}: {outcome}");
        }
    }
}

#[test]
fn a_program_that_upx_refuses_stays_plain_with_its_words() {
    let (Some(real), Some(upx)) = (real(), upx()) else { return };
    let content = file_of(&real, Platform::Amd64, "coreutils", "bin/coreutils");
    let outcome = Question::new(&content).ask(Some(&upx)).unwrap();
    let Outcome::Plain { why: PlainReason::Refused(said) } = &outcome else { panic!("{outcome}") };
    assert!(said.starts_with("CantPackException"), "{said}");
}

#[test]
fn a_plugin_linked_against_glibc_is_not_started_without_its_libraries() {
    let (Some(folder), Some(upx)) = (debian_plugins(), upx()) else { return };
    let content = Content::from_bytes(fs_err::read(folder.join("static")).unwrap());
    let mut question = Question::new(&content);
    question.packing = "upx -1".parse().unwrap();
    let outcome = question.ask(Some(&upx)).unwrap();
    match &outcome {
        Outcome::Packed { started: Started::NotHere(why), .. } => assert!(why.contains("not given"), "{why}"),
        Outcome::Plain { why: PlainReason::Refused(_) } => {}
        other => panic!("{other}"),
    }
}

#[test]
fn a_packed_program_is_not_packed_again() {
    let (Some(real), Some(upx)) = (real(), upx()) else { return };
    for platform in Platform::DEFAULT {
        let plain = file_of(&real, platform, "cni-plugins", "usr/libexec/cni/static");
        let question = |content| {
            let probe = Some(version_probe());
            Question { platform, probe, packing: "upx -1".parse().unwrap(), ..Question::new(content) }
        };
        let outcome = question(&plain).ask(Some(&upx)).unwrap();
        let Outcome::Packed { content: packed, .. } = outcome else { panic!("{platform}: {outcome}") };
        let again = question(&packed).ask(Some(&upx)).unwrap();
        assert_eq!(again, Outcome::Plain { why: PlainReason::AlreadyPacked }, "{platform}");
    }
}

#[test]
fn a_self_extractor_and_a_static_pie_of_a_real_compiler_stay_plain() {
    let (Some(cc), Some(upx)) = (tool("cc"), upx()) else { return };
    let folder = tempfile::tempdir().unwrap();
    let (source, out) = (folder.path().join("source.c"), folder.path().join("program"));
    fs_err::write(&source, "int main(void) { return 0; }\n").unwrap();
    let compiled = |options: &[&str]| {
        let mut command = std::process::Command::new(&cc);
        kimg_testkit::run(command.args(options).arg("-o").arg(&out).arg(&source));
        fs_err::read(&out).unwrap()
    };
    let outcome = |bytes: Vec<u8>| {
        let content = Content::from_bytes(bytes);
        let mut question = Question::new(&content);
        question.packing = "upx -1".parse().unwrap();
        if std::env::consts::ARCH == "aarch64" {
            question.platform = Platform::Arm64;
        }
        question.ask(Some(&upx)).unwrap()
    };
    let plain = compiled(&["-static"]);
    assert!(matches!(outcome(plain.clone()), Outcome::Packed { .. }));
    let zip = [plain, b"PK\x05\x06".to_vec(), vec![0; 18]].concat();
    assert_eq!(outcome(zip), Outcome::Plain { why: PlainReason::DataBehind { bytes: 22 } });
    assert_eq!(outcome(compiled(&["-static-pie"])), Outcome::Plain { why: PlainReason::StaticPie });
    let library = outcome(compiled(&["-shared", "-fPIC"]));
    assert_eq!(library, Outcome::Plain { why: PlainReason::SharedLibrary });
}

#[test]
fn decisions_are_measured_one_by_one() {
    let (Some(real), Some(upx)) = (real(), upx()) else { return };
    let plain = file_of(&real, Platform::Amd64, "cni-plugins", "usr/libexec/cni/static");
    let question = Question { probe: Some(version_probe()), ..Question::new(&plain) };
    let decisions = ["plain", "strip", "upx -1", "strip + upx -1"].map(|text| text.parse().unwrap());
    let (path, scratch) = ("/opt/cni/bin/static".parse().unwrap(), tempfile::tempdir().unwrap());
    let candidate = question.candidate(&path);
    let measured = |upx, starts| {
        let settings = &question.settings;
        measure(&candidate, &decisions, upx, settings, starts, scratch.path(), &mut MemorySink).unwrap()
    };
    let rows = measured(Some(&upx), 3);
    assert_eq!(rows.iter().map(|row| row.packing).collect::<Vec<_>>(), decisions);
    assert_eq!(rows[0].outcome, Outcome::Plain { why: PlainReason::Decided });
    // Go's linker has left nothing that nobody maps.
    assert_eq!(rows[1].outcome, Outcome::Plain { why: PlainReason::NothingToStrip });
    assert_eq!(rows[1].starts, Err("it stays plain".into()));
    for row in &rows[2..] {
        assert!(matches!(row.outcome, Outcome::Packed { .. }), "{}", row.outcome);
        assert!(row.content.size() < plain.size());
        assert!(row.pack_time > std::time::Duration::ZERO);
    }
    if can_start(Platform::Amd64) {
        for row in [&rows[0], &rows[2], &rows[3]] {
            let starts = row.starts.as_ref().unwrap();
            assert_eq!((starts.count, starts.under_qemu), (3, std::env::consts::ARCH != "x86_64"));
            assert!(starts.median > std::time::Duration::ZERO && starts.peak_memory.is_none_or(|m| m > 0));
        }
    }
    let rows = measured(None, 0);
    assert_eq!(rows[2].outcome, Outcome::Plain { why: PlainReason::NoPacker });
    assert_eq!(rows[0].starts, Err("no start was asked for".into()));
    assert_eq!(fs_err::read_dir(scratch.path()).unwrap().count(), 0);
}

#[test]
fn a_real_program_with_symbols_is_stripped_and_answers_as_before() {
    let Some(real) = real() else { return };
    // One of each class; the third has its turn below.
    for platform in [Platform::Amd64, Platform::ArmV7] {
        strip_and_start(&real, platform, "kubeadm");
    }
}

#[test]
#[ignore = "starts the largest programs under qemu: a minute"]
fn the_largest_programs_are_stripped_and_answer_as_before() {
    let Some(real) = real() else { return };
    for platform in Platform::DEFAULT {
        for program in ["kubelet", "kubeadm", "kube-proxy"] {
            strip_and_start(&real, platform, program);
        }
    }
}

fn strip_and_start(real: &Real, platform: Platform, program: &str) {
    if can_start(platform) {
        let path = format!("/usr/bin/{program}");
        let interpreter = format!("/lib/ld-musl-{}.so.1", platform.musl());
        let content = file_of(real, platform, program, &path[1..]);
        let mut question = Question::new(&content);
        (question.platform, question.path, question.packing) = (platform, &path, Packing::STRIP);
        let loader = file_of(real, platform, "musl", interpreter.trim_start_matches('/'));
        question.libraries = vec![(interpreter.parse().unwrap(), loader)];
        let word = if program == "kubeadm" { "version" } else { "--version" };
        question.probe = Some(Probe { arguments: vec![word.into()], ..Probe::default() });
        let outcome = question.ask(None).unwrap();
        let Outcome::Packed { content: stripped, started, .. } = &outcome else {
            panic!("{platform}: {outcome}")
        };
        assert!(stripped.size() * 10 < content.size() * 9, "{platform}: {outcome}");
        if let Started::NotHere(why) = started {
            skip(format_args!("stripped {program} for {platform} can't be started here: {why}"));
        }
        let (plain, stripped) = (content.read(1 << 30).unwrap(), stripped.read(1 << 30).unwrap());
        programs::loads::assert_loads_alike(&plain, &stripped);
        // Traces of panics and `go version` need these.
        let file = object::File::parse(&*stripped).unwrap();
        for name in [".gopclntab", ".note.go.buildid", ".go.buildinfo"] {
            assert!(object::Object::section_by_name(&file, name).is_some(), "{platform}: {name}");
        }
    }
}

#[test]
#[ignore = "reads all files of the real packages of three architectures: a minute"]
fn whatever_is_stripped_of_all_real_files_loads_as_before() {
    let Some(real) = real() else { return };
    let mut stripped_files = 0;
    for platform in Platform::DEFAULT {
        for entry in fs_err::read_dir(real.repo().join(platform.alpine())).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_none_or(|extension| extension != "apk") {
                continue;
            }
            for (name, content) in programs::elf_files_of(&path) {
                let mut question = Question { runners: Runners::none(), ..Question::new(&content) };
                (question.platform, question.packing, question.probe) = (platform, Packing::STRIP, None);
                match question.ask(None).unwrap() {
                    Outcome::Packed { content: stripped, .. } => {
                        let (plain, stripped) =
                            (content.read(1 << 30).unwrap(), stripped.read(1 << 30).unwrap());
                        programs::loads::assert_loads_alike(&plain, &stripped);
                        stripped_files += 1;
                    }
                    Outcome::Plain { why } => {
                        assert_eq!(why, PlainReason::NothingToStrip, "{} {name}", path.display());
                    }
                }
            }
        }
    }
    // kubelet, kubeadm and kube-proxy at least.
    assert!(stripped_files >= 9, "{stripped_files}");
}
