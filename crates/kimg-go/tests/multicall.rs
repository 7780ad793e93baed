//! Several commands are really compiled as one program, and really started by each of their names.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command as Process;
use std::time::Duration;

use kimg_core::Platform;
use kimg_go::{
    Command, Compiled, GoError, Job, Layout, Link, Modules, Recipe, Source, Toolchain, compile,
    compile_as_one,
};
use kimg_testkit::{TempDir, tempdir, tool};

/// Says what was done before its main, in which order, and its version; ends with a code of its own.
fn main_of(name: &str, code: u8) -> String {
    format!(
        r#"package main

import "os"

var version = "none"
var said = []string{{"variable"}}

func init() {{ said = append(said, "first") }}

func helper() {{ main() }}

func main() {{
	if len(os.Args) > 2 {{ os.Args = os.Args[:2]; helper() }}
	os.Stdout.WriteString("{name} " + version)
	for _, word := range append(said, os.Args[1:]...) {{ os.Stdout.WriteString(" " + word) }}
	os.Stdout.WriteString("\n")
	os.Exit({code})
}}

func init() {{ said = append(said, "second") }}
"#
    )
}

const FURTHER: &str =
    "package main\n\n// Not for this system's name.\nfunc init() { said = append(said, \"third\") }\n";

/// Two commands, one of them the source's own root, that share names; with tests and with files for other systems.
fn source(folder: &Path) -> Source {
    let write = |path: &str, text: &str| {
        let path = folder.join(path);
        fs_err::create_dir_all(path.parent().unwrap()).unwrap();
        fs_err::write(path, text).unwrap();
    };
    write("go.mod", "module example.org/two\n\ngo 1.16\n");
    write("main.go", &main_of("one", 3));
    write("main_linux.go", FURTHER);
    write("main_windows.go", "package main\n\nfunc init() { nothing() }\n");
    write("main_test.go", "package main\n\nimport \"testing\"\n\nfunc TestIt(t *testing.T) {}\n");
    write("ignored.go", "//go:build ignore\n\npackage main\n\nfunc main() { nothing() }\n");
    write("cmd/another/another.go", &main_of("other", 4));
    write("cmd/flags/flags.go", FLAGS);
    write("cmd/more/more.go", &FLAGS.replace("false", "true").replace("say more", "say less"));
    write("logs/logs.go", LOGS);
    write("cmd/logged/logged.go", LOGGED);
    Source::Folder(folder.to_owned())
}

/// A variable that is a flag; another command has one of that name too.
const FLAGS: &str = r#"package main

import (
	"flag"
	"fmt"
	"os"
)

var verbose = flag.Bool("v", false, "say more")

func main() {
	flag.Parse()
	flag.VisitAll(func(f *flag.Flag) { fmt.Fprintln(os.Stdout, f.Name, f.Usage, f.DefValue, f.Value) })
	fmt.Fprintln(os.Stdout, *verbose, flag.NFlag())
}
"#;

/// A package that registers flags, as logging packages do, by way of a function of its own, and sets one of them.
const LOGS: &str = r#"package logs

import "flag"

var file = flag.String("log_dir", "", "where logs go")

func init() { register(); flag.Set("v", "true"); flag.Set("log_dir", "/x") }

func register() { flag.Bool("v", false, "log more") }

func File() string { return *file }
"#;

const LOGGED: &str = r#"package main

import (
	"flag"
	"fmt"
	"os"

	"example.org/two/logs"
)

func main() {
	flag.Parse()
	flag.Visit(func(f *flag.Flag) { fmt.Fprintln(os.Stdout, "set", f.Name) })
	flag.VisitAll(func(f *flag.Flag) { fmt.Fprintln(os.Stdout, f.Name, f.Usage, f.DefValue, f.Value) })
	fmt.Fprintln(os.Stdout, logs.File())
}
"#;

fn recipe(layout: Layout) -> Recipe {
    let command = |name: &str, package: &str| Command { name: name.into(), package: package.into() };
    Recipe {
        what: "two v1".into(),
        layout,
        commands: vec![command("one", "."), command("other", "cmd/another")],
        tags: vec![],
        variables: BTreeMap::from([("main.version".into(), "v1".into())]),
        cgo: false,
        link: Link::Dynamic,
        modules: Modules::Vendored,
    }
}

type Build = fn(&Job<'_>) -> Result<Compiled, GoError>;

fn build(
    recipe: &Recipe,
    source: &Source,
    platform: Platform,
    work: &Path,
    how: &[Build],
) -> Result<Vec<Compiled>, GoError> {
    let toolchain = toolchain().unwrap();
    let facts = source.facts("two")?;
    let unpacked = source.unpack(recipe, &facts, source.digest("two")?, work)?;
    let job = Job {
        recipe,
        commands: &recipe.commands,
        source: &unpacked,
        facts: &facts,
        platform,
        go: toolchain.go_for("two", facts.needed.as_ref())?,
        zig: toolchain.zig.as_ref(),
        gopath: &[],
        work,
        log: &work.join("log"),
        limit: Duration::from_secs(300),
    };
    how.iter().map(|how| how(&job)).collect()
}

fn toolchain() -> Option<Toolchain> {
    Some(Toolchain::find(tool("go")?.parent()?.as_os_str()))
}

const ONE: Build = |job| compile_as_one(job, "two");

/// What a program says and how it ends, started by a name.
fn started(program: &Path, platform: Platform, name: &str, arguments: &[&str]) -> Option<(String, i32)> {
    let emulator = tool(platform.qemu())?;
    let output = Process::new(emulator).args(["-0", name]).arg(program).args(arguments).output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    Some((String::from_utf8(said).unwrap(), output.status.code().unwrap()))
}

#[test]
fn each_program_does_by_its_name_what_it_does_alone() {
    if toolchain().is_none() {
        return;
    }
    for (platform, layout) in [(Platform::Arm64, Layout::Gopath(None)), (Platform::ArmV7, Layout::Modules)] {
        let mut programs = Vec::new();
        let folders = if platform == Platform::ArmV7 { &["one", "another/deeper"][..] } else { &["one"] };
        for name in folders {
            let folder = tempdir().unwrap();
            let work = folder.path().join("work").join(name);
            fs_err::create_dir_all(&work).unwrap();
            let recipe = recipe(layout.clone());
            let source = source(&folder.path().join(name));
            let before = source.digest("two").unwrap();
            // The plain ones after it: the source is as it was.
            let built = build(&recipe, &source, platform, &work, &[ONE, compile]).unwrap();
            assert_eq!(source.digest("two").unwrap(), before);
            let one = built[0].path("two");
            for (name, code) in [("one", 3), ("other", 4)] {
                let alone = started(&built[1].path(name), platform, name, &["x"]);
                let Some(alone) = alone else { return };
                let third = if name == "one" { " third" } else { "" };
                assert_eq!(alone, (format!("{name} v1 variable first second{third} x\n"), code));
                let path = format!("/opt/some where/{name}");
                assert_eq!(started(&one, platform, &path, &["x"]).unwrap(), alone, "{platform}");
                assert_eq!(
                    started(&one, platform, "/x/two", &[name, "x", "y"]).unwrap(),
                    alone,
                    "{platform}"
                );
            }
            for arguments in [&[][..], &["three", "one"]] {
                let (said, code) = started(&one, platform, "two", arguments).unwrap();
                assert!(code == 2 && said.contains("one, other: start it by one"), "{code}: {said}");
            }
            let size = |program: &Path| fs_err::metadata(program).unwrap().len();
            let both = size(&built[1].path("one")) + size(&built[1].path("other"));
            assert!(size(&one) * 4 < both * 3, "{} and {both}", size(&one));
            programs.push(fs_err::read(one).unwrap());
            assert!(!work.join("log").exists(), "a log of what went well");
        }
        assert!(programs[0] == programs[programs.len() - 1], "another folder gives other bytes");
    }
}

#[test]
fn each_program_has_the_flags_that_it_has_alone() {
    if toolchain().is_none() {
        return;
    }
    let (folder, work) = (tempdir().unwrap(), tempdir().unwrap());
    let mut recipe = recipe(Layout::Modules);
    for name in ["flags", "more", "logged"] {
        recipe.commands.push(Command { name: name.into(), package: format!("cmd/{name}") });
    }
    let built =
        build(&recipe, &source(folder.path()), Platform::Amd64, work.path(), &[ONE, compile]).unwrap();
    for (name, arguments) in [
        ("flags", &["-v"][..]),
        ("flags", &["-log_dir=/y"]),
        ("more", &[]),
        ("logged", &[]),
        ("logged", &["-log_dir", "/y", "-v=false"]),
        ("logged", &["-help"]),
    ] {
        let start = |program: &Path| started(program, Platform::Amd64, name, arguments);
        let Some(alone) = start(&built[1].path(name)) else { return };
        assert!(alone.0.contains(if name == "logged" { "log_dir" } else { "v" }), "{alone:?}");
        assert_eq!(start(&built[0].path("two")).unwrap(), alone, "{name} {arguments:?}");
    }
}

#[test]
fn what_can_not_be_one_program_is_said_and_where() {
    if toolchain().is_none() {
        return;
    }
    let refused = |more: &dyn Fn(&Path, &mut Recipe)| -> String {
        let (folder, work) = (TempDir::new().unwrap(), tempdir().unwrap());
        let mut recipe = recipe(Layout::Modules);
        source(folder.path());
        more(folder.path(), &mut recipe);
        let source = Source::Folder(folder.path().to_owned());
        let error = build(&recipe, &source, Platform::Arm64, work.path(), &[ONE]).unwrap_err();
        assert!(matches!(error, GoError::NotOne { .. }), "{error}");
        error.to_string()
    };
    let said = refused(&|folder, _| fs_err::create_dir(folder.join("kimg_multicall")).unwrap());
    assert!(said.ends_with("its folder kimg_multicall is in the way"), "{said}");
}
