//! Real programs of three architectures, packed by the real UPX and started natively and under qemu.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod programs;

use std::io::Read;

use kimg_core::variant::Probe;
use kimg_core::{Content, Digest, ImagePath, Platform};
use kimg_pack::{Outcome, PlainReason, Runners, Settings, Started, Upx};
use kimg_testkit::{Real, debian_plugins, real, skip, tool};
use programs::Question;

fn upx() -> Option<Upx> {
    tool("upx")?;
    Upx::find(&std::env::var_os("PATH")?).expect("the installed UPX says its version")
}

/// A file of a package (apk-tools: gzip streams one behind the other, which hold one tar archive).
fn file(real: &Real, platform: Platform, package: &str, path: &str) -> Content {
    let stream = fs_err::File::open(real.package(platform, package)).expect("the package can be read");
    let mut archive = tar::Archive::new(flate2::read::MultiGzDecoder::new(stream));
    archive.set_ignore_zeros(true);
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        if entry.path().unwrap().to_str() == Some(path) {
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes).unwrap();
            return Content::from_bytes(bytes);
        }
    }
    panic!("{path} is not in {package}");
}

fn version_probe() -> Probe {
    Probe { arguments: Vec::new(), environment: [("CNI_COMMAND".to_owned(), "VERSION".to_owned())].into() }
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
        let content = file(&real, platform, "cni-plugins", "usr/libexec/cni/bridge");
        let mut question = Question::new(&content);
        question.platform = platform;
        question.path = "/opt/cni/bin/bridge";
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
    let content = file(&real, Platform::Amd64, "cni-plugins", "usr/libexec/cni/static");
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
            file(&real, platform, "musl", interpreter.trim_start_matches('/')),
        )];
        let content = file(&real, platform, "iproute2", "sbin/ip");
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
    let content = file(&real, Platform::Amd64, "coreutils", "bin/coreutils");
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
