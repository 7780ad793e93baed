//! What the built ELF files are to kernels, loaders and readelf.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod judges;

use std::path::Path;
use std::process::Command;

use fs_err as fs;
use kimg_core::Platform;
use kimg_sample::elf::{Library, Program, loader, musl_libc_name, musl_loader_path};

const ALL: [Platform; 4] = [Platform::Amd64, Platform::Arm64, Platform::ArmV7, Platform::ArmV6];

/// Writes a program and what it asks for below a folder.
fn lay_out(folder: &Path, platform: Platform, program: &Program) {
    judges::write_program(&folder.join("program"), &program.build());
    judges::write_program(&folder.join(&musl_loader_path(platform)[1..]), &loader(platform));
}

#[test]
fn a_static_program_prints_its_text_whatever_its_arguments() {
    for platform in ALL {
        let folder = tempfile::tempdir().unwrap();
        let mut program = Program::fixed(platform, "a program\nof two lines\n");
        for position_independent in [false, true] {
            program.position_independent = position_independent;
            judges::write_program(&folder.path().join("program"), &program.build());
            let path = folder.path().join("program");
            let Some(output) = judges::start(platform, folder.path(), &path, &["--version", "", "x"]) else {
                return;
            };
            assert_eq!(String::from_utf8_lossy(&output.stdout), program.text, "{platform}");
            assert_eq!(output.status.code(), Some(0), "{platform}");
        }
    }
}

#[test]
fn a_dynamic_program_starts_through_the_loader() {
    for platform in ALL {
        let folder = tempfile::tempdir().unwrap();
        let program = Program::dynamic(platform, ["libnowhere.so.1"], "reached its entry\n");
        lay_out(folder.path(), platform, &program);
        for arguments in [&[][..], &["one"], &["one", "two", "three"]] {
            let path = folder.path().join("program");
            let Some(output) = judges::start(platform, folder.path(), &path, arguments) else { return };
            assert_eq!(String::from_utf8_lossy(&output.stdout), "reached its entry\n", "{platform}");
            assert_eq!(output.status.code(), Some(0), "{platform}");
        }
    }
}

#[test]
fn a_dynamic_program_does_not_start_without_its_loader() {
    for platform in [Platform::Arm64, Platform::ArmV7] {
        let folder = tempfile::tempdir().unwrap();
        lay_out(folder.path(), platform, &Program::dynamic(platform, ["libx.so"], "reached its entry\n"));
        fs::remove_file(folder.path().join(&musl_loader_path(platform)[1..])).unwrap();
        let path = folder.path().join("program");
        let Some(output) = judges::start(platform, folder.path(), &path, &[]) else { return };
        assert!(!output.status.success() && output.stdout.is_empty(), "{platform}: {output:?}");
    }
}

#[test]
fn the_loader_started_by_itself_says_that_it_is_a_sample() {
    for platform in ALL {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("loader");
        judges::write_program(&path, &loader(platform));
        let Some(output) = judges::start(platform, folder.path(), &path, &["--list", "x"]) else { return };
        assert!(String::from_utf8_lossy(&output.stdout).contains("sample loader"), "{platform}: {output:?}");
        assert_eq!(output.status.code(), Some(127), "{platform}");
    }
}

#[test]
fn readelf_finds_every_need_and_nothing_to_complain_of() {
    let Some(readelf) = judges::program("readelf") else { return };
    for platform in ALL {
        let folder = tempfile::tempdir().unwrap();
        let dynamic = Program {
            rpath: Some("/opt/old".to_owned()),
            runpath: Some("$ORIGIN/../lib".to_owned()),
            ..Program::dynamic(platform, ["libb.so.2", "liba.so.1"], "text\n")
        };
        let files = [
            ("dynamic", dynamic.build()),
            ("fixed", Program::fixed(platform, "text\n").build()),
            ("library", Library::new(platform, "libx.so.1", ["liby.so.2"]).build()),
            ("plugin", Library::plugin(platform, ["libx.so.1"]).build()),
            ("loader", loader(platform)),
        ];
        let read = |name: &str| {
            let path = folder.path().join(name);
            let output = Command::new(&readelf).args(["-W", "-h", "-l", "-d"]).arg(path).output().unwrap();
            assert!(output.status.success(), "{platform} {name}");
            assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{platform} {name}");
            String::from_utf8(output.stdout).unwrap()
        };
        for (name, bytes) in &files {
            fs::write(folder.path().join(name), bytes).unwrap();
            read(name);
        }

        let shown = read("dynamic");
        let machine = match platform {
            Platform::Amd64 => "X86-64",
            Platform::Arm64 => "AArch64",
            Platform::ArmV7 | Platform::ArmV6 => "ARM",
        };
        assert!(shown.lines().any(|l| l.contains("Machine:") && l.ends_with(machine)), "{shown}");
        assert!(
            shown.contains(&format!("[Requesting program interpreter: {}]", musl_loader_path(platform))),
            "{shown}"
        );
        assert_eq!(named(&shown, "NEEDED"), ["libb.so.2", "liba.so.1"]);
        assert_eq!(named(&shown, "RPATH"), ["/opt/old"]);
        assert_eq!(named(&shown, "RUNPATH"), ["$ORIGIN/../lib"]);

        assert!(read("fixed").contains("There is no dynamic section in this file."));
        assert_eq!(named(&read("library"), "SONAME"), ["libx.so.1"]);
        assert_eq!(named(&read("library"), "NEEDED"), ["liby.so.2"]);
        assert!(named(&read("plugin"), "SONAME").is_empty());
        assert_eq!(named(&read("loader"), "SONAME"), [musl_libc_name(platform)]);
    }
}

/// The names in brackets of readelf's lines for a dynamic tag.
fn named(shown: &str, tag: &str) -> Vec<String> {
    shown
        .lines()
        .filter(|line| line.contains(&format!("({tag})")))
        .filter_map(|line| Some(line.rsplit_once('[')?.1.trim_end_matches(']').to_owned()))
        .collect()
}

#[test]
fn musls_own_loader_loads_the_program_and_every_library_it_needs() {
    let Some(real) = judges::real() else { return };
    for platform in Platform::DEFAULT {
        let folder = tempfile::tempdir().unwrap();
        let loader = folder.path().join(&musl_loader_path(platform)[1..]);
        let archive = format!("minirootfs/alpine-minirootfs-3.15.11-{}.tar.gz", platform.alpine());
        judges::output(
            Command::new("tar")
                .arg("-xzf")
                .arg(real.join(archive))
                .arg("-C")
                .arg(folder.path())
                .arg(format!(".{}", musl_loader_path(platform))),
        );
        let libc = musl_libc_name(platform);
        let write = |name: &str, bytes: Vec<u8>| judges::write_program(&folder.path().join(name), &bytes);
        write("program", Program::dynamic(platform, ["liba.so.1", &libc], "loaded\n").build());
        write("liba.so.1", Library::new(platform, "liba.so.1", ["libb.so.2", &libc]).build());
        write("libb.so.2", Library::new(platform, "libb.so.2", [&libc]).build());

        let library_path = folder.path().display().to_string();
        let program = folder.path().join("program").display().to_string();
        let listed = judges::start(
            platform,
            folder.path(),
            &loader,
            &["--library-path", &library_path, "--list", &program],
        );
        let Some(listed) = listed else { return };
        let text = String::from_utf8_lossy(&listed.stdout).into_owned();
        assert!(listed.status.success(), "{platform}: {listed:?}");
        for library in ["liba.so.1", "libb.so.2"] {
            assert!(text.contains(&format!("{library} => {library_path}/{library}")), "{platform}: {text}");
        }

        // Not only listed: relocated and started, through the real loader.
        let started =
            judges::start(platform, folder.path(), &loader, &["--library-path", &library_path, &program]);
        assert_eq!(started.map(|o| o.stdout).as_deref(), Some(&b"loaded\n"[..]), "{platform}");

        fs::remove_file(folder.path().join("libb.so.2")).unwrap();
        let broken =
            judges::start(platform, folder.path(), &loader, &["--library-path", &library_path, &program]);
        assert!(broken.is_some_and(|o| !o.status.success()), "{platform}: started without libb.so.2");
    }
}
