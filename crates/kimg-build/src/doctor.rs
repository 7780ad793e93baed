//! Which outside programs this machine has: what is compiled, packed, started and judged with.

use std::ffi::OsStr;
use std::path::PathBuf;

use kimg_core::Platform;
use kimg_go::Toolchain;
use kimg_go::toolchain::program;
use serde::Serialize;

/// A program that kimg can use, and what became of looking for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Tool {
    /// Its name.
    pub name: String,
    /// What kimg does with it, or its tests.
    pub used_for: &'static str,
    /// Where it is; `None`: it is not there.
    pub path: Option<PathBuf>,
    /// What it says its version is.
    pub version: Option<String>,
    /// How to get it.
    pub get: &'static str,
}

/// A program that is asked for its version by an argument.
struct Asked {
    name: &'static str,
    argument: &'static str,
    used_for: &'static str,
    get: &'static str,
}

const ASKED: [Asked; 3] = [
    Asked {
        name: "upx",
        argument: "--version",
        used_for: "packs programs",
        get: "apt-get install upx-ucl (Debian 12: backports)",
    },
    Asked {
        name: "skopeo",
        argument: "--version",
        used_for: "reads images (tests)",
        get: "apt-get install skopeo",
    },
    Asked {
        name: "mksquashfs",
        argument: "-version",
        used_for: "makes a squashfs (tests)",
        get: "apt-get install squashfs-tools",
    },
];

/// Looks for everything in the search path (`PATH`), and for Go where it is installed beside it.
pub fn look(search_path: &OsStr) -> Vec<Tool> {
    let Toolchain { go, zig, .. } = Toolchain::find(search_path);
    let get_go = "apt-get install golang-go (newer: backports)";
    let mut tools = vec![];
    for go in &go {
        tools.push(Tool {
            name: "go".into(),
            used_for: "compiles Go programs",
            path: Some(go.path.clone()),
            version: Some(go.text.trim_start_matches("go").to_owned()),
            get: get_go,
        });
    }
    if go.is_empty() {
        let used_for = "compiles Go programs";
        tools.push(Tool { name: "go".into(), used_for, path: None, version: None, get: get_go });
    }
    let (path, version) = zig.map(|zig| (zig.path, zig.version)).unzip();
    tools.push(Tool {
        name: "zig".into(),
        used_for: "compiles their C parts",
        path,
        version,
        get: "pip install ziglang",
    });
    for platform in Platform::DEFAULT {
        tools.push(ask(
            search_path,
            platform.qemu(),
            "--version",
            "starts what was packed",
            "apt-get install qemu-user-static",
        ));
    }
    for asked in ASKED {
        tools.push(ask(search_path, asked.name, asked.argument, asked.used_for, asked.get));
    }
    tools
}

fn ask(search_path: &OsStr, name: &str, argument: &str, used_for: &'static str, get: &'static str) -> Tool {
    let path = program(search_path, name);
    let home = [("HOME", OsStr::new("/nonexistent"))];
    let said = path.as_ref().and_then(|path| kimg_go::run::answer(path, &[argument], &home));
    Tool { name: name.to_owned(), used_for, path, version: said.as_deref().and_then(version_in), get }
}

/// The first word of a text that looks like a version.
fn version_in(text: &str) -> Option<String> {
    let words = text.split(|c: char| c.is_whitespace() || "(),".contains(c));
    let mut versions = words
        .map(|word| word.trim_start_matches('v'))
        .filter(|word| word.starts_with(|c: char| c.is_ascii_digit()) && word.contains('.'));
    versions.next().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_found_in_what_programs_say_of_themselves() {
        for (said, version) in [
            ("upx 4.2.2\nUCL data compression library 1.03\n", Some("4.2.2")),
            ("qemu-arm version 7.2.22 (Debian 1:7.2+dfsg-7+deb12u18)\n", Some("7.2.22")),
            ("mksquashfs version 4.5.1 (2022/03/17)\n", Some("4.5.1")),
            ("a program\n", None),
        ] {
            assert_eq!(version_in(said).as_deref(), version, "{said}");
        }
    }

    #[test]
    fn what_is_not_there_is_listed_with_how_to_get_it() {
        let nothing = tempfile::tempdir().unwrap();
        let tools = look(nothing.path().as_os_str());
        let zig = tools.iter().find(|tool| tool.name == "zig").unwrap();
        assert_eq!((&zig.path, zig.get), (&None, "pip install ziglang"));
        assert!(tools.iter().any(|tool| tool.name == "qemu-arm-static" && tool.path.is_none()));
    }
}
