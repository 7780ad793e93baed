//! `kimg needs`: what a file needs, held against `lddtree` and the loader of this machine, in every format.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod program;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use kimg_core::Platform;
use kimg_testkit::{TempDir, run, tool};
use serde_json::Value;

/// Alpine's own base root, unpacked.
fn alpine(platform: Platform) -> Option<(TempDir, PathBuf)> {
    let real = kimg_testkit::real()?;
    let folder = program::folder();
    let root = folder.path().join("root");
    fs_err::create_dir(&root).unwrap();
    run(Command::new("tar").arg("-xzf").arg(real.minirootfs(platform)).arg("-C").arg(&root));
    Some((folder, root))
}

fn needs(root: &Path, file: &str) -> assert_cmd::Command {
    let mut kimg = program::kimg(root.parent().unwrap());
    kimg.args(["needs", "--root"]).arg(root).arg(file);
    kimg
}

/// The names by which libraries are asked for; those that musl takes as itself are left out, as `lddtree` knows nothing of that.
fn asked(graph: &Value) -> BTreeSet<String> {
    let edges = graph["edges"].as_array().unwrap().iter().filter(|edge| edge["how"] == "needed");
    edges.map(|edge| edge["asked"].as_str().unwrap().to_owned()).filter(|name| !is_libc(name)).collect()
}

fn is_libc(name: &str) -> bool {
    name.starts_with("libc.")
}

#[test]
fn the_libraries_are_those_that_lddtree_finds_on_every_architecture() {
    for platform in Platform::DEFAULT {
        let Some((_folder, root)) = alpine(platform) else { return };
        let Some(lddtree) = tool("lddtree") else { return };
        let text = run(Command::new("/usr/bin/python3")
            .arg(lddtree)
            .arg("-R")
            .arg(&root)
            .arg("sbin/apk")
            .current_dir(&root));
        let judged: BTreeSet<String> = text
            .lines()
            .skip(1)
            .filter_map(|line| line.trim().split(" => ").next())
            .filter(|name| !is_libc(name) && !name.starts_with("ld-musl"))
            .map(str::to_owned)
            .collect();
        let graph = program::json(needs(&root, "/sbin/apk").args(["--no-rules", "--format", "json"]));
        assert_eq!(asked(&graph), judged, "{platform}\n{text}");
        assert!(judged.len() >= 3, "{text}");
        assert_eq!(graph["unresolved"].as_array().unwrap().len(), 0);
    }
}

#[test]
fn a_missing_library_is_marked_in_every_format_and_in_the_exit_code() {
    let Some((_folder, root)) = alpine(Platform::ArmV7) else { return };
    program::success(&mut needs(&root, "/sbin/apk"));
    fs_err::remove_file(root.join("lib/libz.so.1")).unwrap();
    for (format, mark) in [
        ("table", "libz.so.1  ✗ unresolved: not in /lib, /usr/local/lib, /usr/lib"),
        ("dot", "\"libz.so.1\" [style=\"rounded,dashed\", color=red"),
        ("svg", "class=\"box unresolved\""),
        ("json", "\"unresolved\": [\n    \"libz.so.1\"\n  ]"),
    ] {
        let answer = program::answer(needs(&root, "/sbin/apk").args(["--format", format]));
        assert_eq!(answer.code, 1, "{format}: {}", answer.story);
        assert!(answer.out.contains(mark), "{format}: {}", answer.out);
    }
}

#[test]
fn graphviz_and_an_xml_parser_read_what_is_drawn() {
    let Some((folder, root)) = alpine(Platform::Amd64) else { return };
    let svg = program::success(needs(&root, "/sbin/apk").args(["--format", "svg"]));
    assert_eq!(
        svg,
        program::success(needs(&root, "/sbin/apk").args(["--format", "svg"])),
        "it is the same each time"
    );
    let picture = folder.path().join("apk.svg");
    fs_err::write(&picture, svg).unwrap();
    let count = "import sys, xml.etree.ElementTree as t; r = t.parse(sys.argv[1]).getroot(); \
                 print(r.tag, len(r.findall('.//{http://www.w3.org/2000/svg}rect')))";
    let read = run(Command::new("python3").args(["-c", count]).arg(&picture));
    let graph = program::json(needs(&root, "/sbin/apk").args(["--format", "json"]));
    let nodes = graph["nodes"].as_array().unwrap();
    let kinds: BTreeSet<&str> = nodes.iter().map(|node| node["kind"].as_str().unwrap()).collect();
    assert_eq!(read.trim(), format!("{{http://www.w3.org/2000/svg}}svg {}", nodes.len() + kinds.len()));

    let Some(dot) = tool("dot") else { return };
    let text = folder.path().join("apk.dot");
    fs_err::write(&text, program::success(needs(&root, "/sbin/apk").args(["--format", "dot"]))).unwrap();
    let plain = run(Command::new(dot).arg("-Tplain").arg(&text));
    assert_eq!(plain.lines().filter(|line| line.starts_with("node ")).count(), nodes.len(), "{plain}");
}

#[test]
fn a_script_needs_its_interpreter_and_what_env_starts() {
    let Some((_folder, root)) = alpine(Platform::Amd64) else { return };
    fs_err::write(root.join("usr/bin/start"), "#!/usr/bin/env sh\nexec kubelet\n").unwrap();
    run(Command::new("chmod").arg("755").arg(root.join("usr/bin/start")));
    let tree = program::success(&mut needs(&root, "/usr/bin/start"));
    assert!(tree.starts_with(" /usr/bin/start") && tree.lines().next().unwrap().contains("script"), "{tree}");
    assert!(tree.contains("interpreter") && tree.contains("/bin/busybox"), "{tree}");
    assert!(tree.contains("everything resolves") && tree.contains("linux/amd64"), "{tree}");
    fs_err::write(root.join("usr/bin/start"), "#!/usr/bin/env nonsuch\n").unwrap();
    let answer = program::answer(&mut needs(&root, "/usr/bin/start"));
    assert_eq!(answer.code, 1, "{}", answer.story);
    assert!(answer.out.contains("nonsuch"), "{}", answer.out);
}

#[test]
fn a_program_of_this_machine_needs_what_its_own_loader_says() {
    let Some(ldd) = tool("ldd") else { return };
    let judged = run(Command::new(ldd).arg("/bin/ls"));
    let judged: BTreeSet<String> = judged
        .lines()
        .filter_map(|line| line.trim().split_once(" => "))
        .map(|(name, _)| name.to_owned())
        .collect();
    let folder = program::folder();
    let mut kimg = program::kimg(folder.path());
    let graph = program::json(kimg.args(["needs", "/bin/ls", "--no-rules", "--format", "json"]));
    // What is loaded later, the loader does not say: only what is needed by what is needed.
    let edges = graph["edges"].as_array().unwrap();
    let mut reached = BTreeSet::from([graph["nodes"][0]["name"].as_str().unwrap().to_owned()]);
    let mut asked = BTreeSet::new();
    for _ in edges {
        for edge in edges.iter().filter(|e| e["how"] == "needed" || e["how"] == "link") {
            if reached.contains(edge["from"].as_str().unwrap()) {
                reached.insert(edge["to"].as_str().unwrap().to_owned());
                asked.extend((edge["how"] == "needed").then(|| edge["asked"].as_str().unwrap().to_owned()));
            }
        }
    }
    assert!(!judged.is_empty() && judged.is_subset(&asked), "{judged:?}\n{asked:?}");
    assert!(asked.difference(&judged).all(|name| name.starts_with("ld-")), "{judged:?}\n{asked:?}");
}

#[test]
fn a_file_for_another_machine_is_listed_and_not_looked_up() {
    let Some((_folder, root)) = alpine(Platform::ArmV7) else { return };
    let mut kimg = program::kimg(&root);
    let text = program::success(kimg.args(["needs", "sbin/apk"]));
    assert!(text.contains("libz.so.1") && text.contains("listed, not looked up"), "{text}");
    assert!(text.contains("--root DIR") && text.contains("linux/arm/v7"), "{text}");
}

#[test]
fn what_is_not_there_is_an_error_with_a_hint() {
    let folder = program::folder();
    let story = program::failure(program::kimg(folder.path()).args(["needs", "nonsuch"]), 30);
    assert!(story.contains("nonsuch") && story.contains("--root DIR"), "{story}");
    let story =
        program::failure(program::kimg(folder.path()).args(["needs", "--root", "nowhere", "/bin/sh"]), 30);
    assert!(story.contains("nowhere") && story.contains("root file system"), "{story}");
    let story = program::failure(program::kimg(folder.path()).args(["needs", "--root", ".", "/bin/sh"]), 13);
    assert!(story.contains("`/bin/sh` is not in ."), "{story}");
}
