//! Small programs are really compiled, with the go and zig of this machine, and really started.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;
use std::process::Command as Process;
use std::time::Duration;

use kimg_core::Platform;
use kimg_go::{
    Command, Compiled, GoError, GoVersion, Job, Layout, Link, Modules, Recipe, Source, Toolchain, compile,
};
use kimg_testkit::{tempdir, tool};

const MAIN: &str = r#"package main

import "os"

var version = "none"

func main() { os.Stdout.WriteString("hello " + version + "\n") }
"#;

fn recipe() -> Recipe {
    Recipe {
        what: "hello v1".into(),
        layout: Layout::Modules,
        commands: vec![Command { name: "hello".into(), package: "cmd/hello".into() }],
        tags: vec![],
        variables: BTreeMap::from([("main.version".into(), "v1".into())]),
        cgo: false,
        link: Link::Dynamic,
        modules: Modules::Vendored,
    }
}

fn source(folder: &Path, main: &str) -> Source {
    fs_err::create_dir_all(folder.join("cmd/hello")).unwrap();
    fs_err::write(folder.join("go.mod"), "module example.org/hello\n\ngo 1.15\n").unwrap();
    fs_err::write(folder.join("cmd/hello/main.go"), main).unwrap();
    Source::Folder(folder.to_owned())
}

/// The toolchain, with what `.ci/setup` fetched.
fn toolchain() -> Option<Toolchain> {
    let go = tool("go")?;
    let path =
        std::env::join_paths([go.parent()?, &kimg_testkit::workspace().join("target/tools/bin")]).unwrap();
    Some(Toolchain::find(&path))
}

fn build(
    recipe: &Recipe,
    source: &Source,
    platform: Platform,
    work: &Path,
    limit: Duration,
) -> Result<Compiled, GoError> {
    let toolchain = toolchain().unwrap();
    let facts = source.facts("hello")?;
    let unpacked = source.unpack(recipe, &facts, source.digest("hello")?, work)?;
    compile(&Job {
        recipe,
        commands: &recipe.commands,
        source: &unpacked,
        facts: &facts,
        platform,
        go: toolchain.go_for("hello", facts.needed.as_ref())?,
        zig: toolchain.zig.as_ref(),
        gopath: &[],
        work,
        log: &work.join("log"),
        limit,
    })
}

const MINUTES: Duration = Duration::from_secs(300);

#[test]
fn a_program_starts_on_its_platform_says_its_version_and_is_the_same_from_any_folder() {
    if toolchain().is_none() {
        return;
    }
    for platform in Platform::DEFAULT {
        let mut programs = Vec::new();
        for name in ["one", "another/deeper"] {
            let folder = tempdir().unwrap();
            let (place, work) = (folder.path().join(name), folder.path().join("work").join(name));
            fs_err::create_dir_all(&work).unwrap();
            let compiled = build(&recipe(), &source(&place, MAIN), platform, &work, MINUTES).unwrap();
            let program = compiled.path("hello");
            let Some(emulator) = tool(platform.qemu()) else { return };
            let said = kimg_testkit::run(Process::new(emulator).arg(&program));
            assert_eq!(said, "hello v1\n", "{platform}");
            programs.push(fs_err::read(program).unwrap());
            assert!(!work.join("log").exists(), "a log of what went well");
        }
        assert!(programs[0] == programs[1], "{platform}: another folder gives other bytes");
    }
}

#[test]
fn what_the_compiler_says_last_is_in_the_error_and_all_of_it_in_the_log() {
    if toolchain().is_none() {
        return;
    }
    let folder = tempdir().unwrap();
    let main = MAIN.replace("os.Stdout", "os.Printnothing");
    let source = source(&folder.path().join("source"), &main);
    let error = build(&recipe(), &source, Platform::Arm64, folder.path(), MINUTES).unwrap_err();
    let GoError::Failed { ending, last, log, .. } = &error else { panic!("{error}") };
    assert!(ending.starts_with("exit code "), "{ending}");
    assert!(last.iter().any(|line| line.contains("Printnothing")), "{last:?}");
    assert!(fs_err::read_to_string(log).unwrap().contains("Printnothing"));
    assert!(error.to_string().contains(&log.display().to_string()), "{error}");
}

#[test]
fn a_build_that_takes_too_long_is_ended() {
    if toolchain().is_none() {
        return;
    }
    let folder = tempdir().unwrap();
    let source = source(&folder.path().join("source"), MAIN);
    let limit = Duration::from_millis(300);
    let error = build(&recipe(), &source, Platform::ArmV7, folder.path(), limit).unwrap_err();
    assert!(matches!(error, GoError::TimeLimit { .. }), "{error}");
}

#[test]
fn a_source_that_needs_modules_is_not_compiled_without_being_asked_to_download_them() {
    if toolchain().is_none() {
        return;
    }
    let folder = tempdir().unwrap();
    let source = source(folder.path(), MAIN);
    let needs = "module example.org/hello\n\ngo 1.15\n\nrequire example.org/other v1.0.0\n";
    fs_err::write(folder.path().join("go.mod"), needs).unwrap();
    let hash = "h1:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=";
    let sums = format!("example.org/other v1.0.0 {hash}\nexample.org/other v1.0.0/go.mod {hash}\n");
    fs_err::write(folder.path().join("go.sum"), sums).unwrap();
    let work = tempdir().unwrap();
    let error = build(&recipe(), &source, Platform::Amd64, work.path(), MINUTES).unwrap_err();
    assert!(matches!(error, GoError::NotVendored { .. }), "{error}");
}

/// A source of several modules, as Kubernetes' from 1.30 on; from Go 1.22 on with all of them in `vendor/`.
#[test]
fn a_workspace_is_built_with_the_modules_that_lie_in_it() {
    let Some(toolchain) = toolchain() else { return };
    let go = toolchain.go_for("hello", None).unwrap();
    let folder = tempdir().unwrap();
    let main = MAIN.replace("import \"os\"", "import (\n\t\"os\"\n\n\t\"example.org/lib\"\n)");
    let source = source(folder.path(), &main.replace("hello ", "hello \" + lib.Word + \" "));
    let write = |name: &str, text: &str| {
        fs_err::create_dir_all(folder.path().join(name).parent().unwrap()).unwrap();
        fs_err::write(folder.path().join(name), text).unwrap();
    };
    let vendored = go.version >= GoVersion::new(1, 22, 0);
    let version = if vendored { "1.22" } else { "1.18" };
    write("go.mod", &format!("module example.org/hello\n\ngo {version}\n"));
    write("go.work", &format!("go {version}\n\nuse (\n\t.\n\t./staging/lib\n)\n"));
    write("staging/lib/go.mod", &format!("module example.org/lib\n\ngo {version}\n"));
    write("staging/lib/lib.go", "package lib\n\nconst Word = \"of several modules\"\n");
    if vendored {
        write("vendor/modules.txt", "## workspace\n");
    }
    let facts = source.facts("hello").unwrap();
    assert!(facts.workspace && facts.vendored == vendored, "{facts:?}");
    let work = tempdir().unwrap();
    let compiled = build(&recipe(), &source, Platform::Arm64, work.path(), MINUTES).unwrap();
    let Some(emulator) = tool(Platform::Arm64.qemu()) else { return };
    let said = kimg_testkit::run(Process::new(emulator).arg(compiled.path("hello")));
    assert_eq!(said, "hello of several modules v1\n");
}

#[test]
fn c_in_it_needs_zig() {
    let Some(go) = tool("go") else { return };
    let folder = tempdir().unwrap();
    let only_go: OsString = tempdir().unwrap().path().into();
    let found = Toolchain::find(&only_go);
    assert!(found.zig.is_none());
    let source = source(&folder.path().join("source"), MAIN);
    let facts = source.facts("hello").unwrap();
    let recipe = Recipe { cgo: true, ..recipe() };
    let unpacked = source.unpack(&recipe, &facts, source.digest("hello").unwrap(), folder.path()).unwrap();
    let error = compile(&Job {
        recipe: &recipe,
        commands: &recipe.commands,
        source: &unpacked,
        facts: &facts,
        platform: Platform::Arm64,
        go: &kimg_go::Go::at(&go).unwrap(),
        zig: None,
        gopath: &[],
        work: folder.path(),
        log: &folder.path().join("log"),
        limit: MINUTES,
    })
    .unwrap_err();
    assert!(matches!(error, GoError::NoZig { .. }), "{error}");
}
