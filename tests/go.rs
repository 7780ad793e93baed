//! Programs that are compiled from Go source join the images: CNI plugins of Debian's source package, for processors
//! that this machine has not, and what can go wrong on the way there.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod go_source;
mod program;

use std::path::Path;
use std::process::{Command as Process, Stdio};
use std::time::{Duration, Instant};

use assert_cmd::Command;
use go_source::{OF_FLANNEL, file_of, hello, plugins, sample};
use kimg_core::{Digest, Platform};
use kimg_testkit::{Layout, TempDir};
use serde_json::Value;

#[test]
fn plugins_of_debians_source_run_on_arm_and_are_compiled_once() {
    let Some(real) = kimg_testkit::real() else { return };
    let Some(path) = kimg_testkit::go_path() else { return };
    let folder = program::folder();
    let Some(settings) = plugins(folder.path()) else { return };
    fs_err::write(folder.path().join("kimg.toml"), settings).unwrap();
    let cache = folder.path().join("cache");
    let build = |command: &str| {
        let mut kimg = program::kimg(folder.path());
        kimg.args([command, "--variant", "flannel", "--arch", "armv7", "--arch", "arm64", "--cache-dir"]);
        kimg.arg(&cache).args(["--progress", "plain", "-r"]).arg(real.repo()).arg("-k").arg(real.keys());
        kimg.env("PATH", &path);
        kimg
    };
    let first = program::answer(build("build").args(["--pack", "never", "--format", "json"]));
    assert_eq!(first.code, 0, "{}", first.story);
    println!("{}", first.story);
    let report: Value = serde_json::from_str(&first.out).unwrap();
    for image in report["images"].as_array().unwrap() {
        let parts =
            image["contributors"].as_array().unwrap().iter().map(|part| part["name"].as_str().unwrap());
        let parts: Vec<_> = parts.collect();
        assert!(
            OF_FLANNEL.iter().all(|name| parts.contains(name)) && !parts.contains(&"cni-plugins"),
            "{parts:?}"
        );
    }

    let layout = Layout::open(folder.path().join("out"));
    let built = program::indexes(&layout).remove("flannel").unwrap();
    for platform in [Platform::ArmV7, Platform::Arm64] {
        let unpacked = folder.path().join(format!("root-{}", platform.short()));
        let root = kimg_testkit::umoci_unpack(layout.folder(), &built.name, platform, &unpacked);
        let Some(root) = root else { return };
        if go_source::plugins_answer(&root).is_none() {
            return;
        }
        let listed = fs_err::read_dir(root.folder().join("opt/cni/bin")).unwrap().count();
        assert_eq!(listed, OF_FLANNEL.len(), "{platform}: nothing of the package's is beside them");
    }
    // What has C in it loads musl, which is in the image; the closure has all of it.
    let loopback = file_of(&layout, "flannel", Platform::ArmV7, "/opt/cni/bin/loopback").unwrap();
    let names_loader = loopback.windows(23).any(|window| window == b"/lib/ld-musl-armhf.so.1");
    assert!(names_loader, "loopback is not linked against musl");
    assert_eq!(program::answer(&mut build("check")).code, 0);

    // Again, with nothing compiled; and without a compiler at all where the lock says what was used.
    let lock = fs_err::read_to_string(folder.path().join("kimg.lock")).unwrap();
    assert!(lock.starts_with("# ") && lock.contains("version = 4\n"), "{lock}");
    for name in ["toolchain = \"go1.", ", zig 0.", "result = \"sha256:"] {
        assert!(lock.contains(name), "no {name} in\n{lock}");
    }
    for path in [path.as_os_str(), "/nonexistent".as_ref()] {
        let mut again = build("build");
        again.args(["--pack", "never", "--locked", "--format", "json"]).env("PATH", path);
        let begun = Instant::now();
        let again = program::answer(&mut again);
        assert_eq!(again.code, 0, "{}", again.story);
        assert!(again.story.contains("compiled before with go1."), "{}", again.story);
        assert!(!again.story.contains(", with go1."), "{}", again.story);
        println!("again: {:.1} s", begun.elapsed().as_secs_f32());
        let now: Value = serde_json::from_str(&again.out).unwrap();
        assert_eq!(now["images"][0]["digest"], report["images"][0]["digest"]);
    }

    // Another compiler than the locked one is refused before it is started.
    fs_err::write(folder.path().join("kimg.lock"), lock.replace("zig 0.", "zig 9.")).unwrap();
    let story = program::failure(build("build").args(["--pack", "never", "--locked"]), 41);
    assert!(story.contains("loopback was compiled with go1.") && story.contains("zig 9."), "{story}");
}

#[test]
fn another_folder_and_another_cache_give_the_same_program_with_c_in_it() {
    let Some(path) = kimg_testkit::go_path() else { return };
    let mut programs = Vec::new();
    for name in ["one", "another/further down"] {
        let (outer, cache) = (program::folder(), TempDir::new().unwrap());
        let folder = outer.path().join(name);
        fs_err::create_dir_all(&folder).unwrap();
        let settings = hello(&folder, "cgo = true");
        fs_err::write(folder.join("kimg.toml"), settings).unwrap();
        let main = folder.join("hello/main.go");
        let with_c = "package main\n\n/*\n#include <stdio.h>\nstatic void hello() { puts(__FILE__); }\n*/\nimport \"C\"\n\nfunc main() { C.hello() }\n";
        fs_err::write(main, with_c).unwrap();
        program::success(sample(&folder, &path).env("KIMG_CACHE_DIR", cache.path()));
        let layout = Layout::open(folder.join("out"));
        let Some(bytes) = file_of(&layout, "plain", Platform::Arm64, "/usr/bin/hello") else { return };
        programs.push(bytes);
    }
    assert!(programs[0] == programs[1], "another folder gives other bytes");
}

#[test]
fn several_versions_in_one_run_share_what_is_equal_and_have_a_lock_each() {
    let Some(path) = kimg_testkit::go_path() else { return };
    let folder = program::folder();
    for version in ["1.33.6", "1.34.2"] {
        go_source::stand_in(&folder.path().join(format!("kubernetes-{version}")), version);
    }
    let settings = "[[go]]\npreset = 'kubernetes'\nsource = 'kubernetes-{version}'\ncgo = false\n";
    fs_err::write(folder.path().join("kimg.toml"), settings).unwrap();
    let build = |more: &[&str]| {
        let mut kimg = program::kimg(folder.path());
        kimg.args([
            "build",
            "--sample",
            "--arch",
            "arm64",
            "--pack",
            "never",
            "--variant",
            "plain",
            "--variant",
        ]);
        kimg.args(["kubeadm", "--progress", "plain", "--kubernetes", "1.34.2,1.33.6"]).args(more);
        kimg.env("KIMG_CACHE_DIR", folder.path().join("cache")).env("PATH", &path);
        kimg
    };
    let answer = program::answer(build(&[]).args(["--format", "json"]));
    assert_eq!(answer.code, 0, "{}", answer.story);
    assert!(!answer.story.contains("kube-proxy"), "compiled what no image asks for: {}", answer.story);
    let reports: Vec<Value> = serde_json::from_str(&answer.out).unwrap();
    let versions: Vec<_> = reports.iter().map(|report| report["kubernetes"][0].clone()).collect();
    assert_eq!(versions, ["v1.34.2", "v1.33.6"]);
    let layer = |version: usize, name: &str| {
        let layers = reports[version]["images"][0]["layers"].as_array().unwrap();
        layers.iter().find(|layer| layer["name"] == name).unwrap()["digest"].clone()
    };
    assert_eq!(layer(0, "base"), layer(1, "base"));
    assert_ne!(layer(0, "kubelet"), layer(1, "kubelet"));

    let layout = Layout::open(folder.path().join("out"));
    for (tag, says) in [("v1.34.2-sample", "kubelet 1.34.2\n"), ("v1.33.6-sample", "kubelet 1.33.6\n")] {
        let unpacked = folder.path().join(tag);
        let name = format!("kubelet:{tag}");
        let root = kimg_testkit::umoci_unpack(layout.folder(), &name, Platform::Arm64, &unpacked);
        let Some(root) = root else { return };
        let Some(output) = root.run(&["/usr/bin/kubelet", "--version"], &[]) else { return };
        assert_eq!(String::from_utf8_lossy(&output.stdout), says);
    }
    // The size matrix groups them, the newest first.
    let mut matrix = program::kimg(folder.path());
    let matrix = program::success(matrix.args(["matrix", "--format", "csv"]));
    let tags = ["v1.34.2-sample", "v1.34.2-kubeadm-sample", "v1.33.6-sample", "v1.33.6-kubeadm-sample"];
    let places: Vec<_> = tags.iter().map(|tag| matrix.find(&format!("kubelet:{tag}"))).collect();
    assert!(places.iter().all(Option::is_some) && places.is_sorted(), "{matrix}");

    // The same again: nothing is compiled. An archive holds only one of them.
    assert!(program::answer(&mut build(&[])).story.contains("compiled before with go1."));
    let story = program::failure(&mut build(&["-o", "type=oci-archive,dest=x.tar"]), 2);
    assert!(story.contains("one file holds one build"), "{story}");
    let story = program::failure(&mut build(&["--lock", "kimg.lock"]), 2);
    assert!(story.contains("one lock"), "{story}");
}

#[test]
fn a_source_with_another_sha256_is_refused() {
    let Some(path) = kimg_testkit::go_path() else { return };
    let folder = program::folder();
    let wrong = Digest::of("something else").hex();
    hello(folder.path(), "");
    let archive = folder.path().join("hello.tar.gz");
    kimg_testkit::run(
        Process::new("tar").current_dir(folder.path()).arg("-czf").args([&archive, Path::new("hello")]),
    );
    let right = Digest::of(fs_err::read(&archive).unwrap()).hex();
    for (source, sha256, code) in
        [("hello.tar.gz", &wrong, 10), ("hello", &wrong, 10), ("hello.tar.gz", &right, 0)]
    {
        let settings = hello(folder.path(), &format!("sha256 = '{sha256}'"));
        let settings = settings.replace("source = 'hello'", &format!("source = '{source}'"));
        fs_err::write(folder.path().join("kimg.toml"), settings).unwrap();
        let answer = program::answer(&mut sample(folder.path(), &path));
        assert_eq!(answer.code, code, "{source}: {}", answer.story);
        assert!(code == 0 || answer.story.contains(&wrong), "{}", answer.story);
    }
}

#[test]
fn a_go_that_is_too_old_and_a_zig_that_is_not_there_are_named_with_what_to_do() {
    let Some(path) = kimg_testkit::go_path() else { return };
    let folder = program::folder();
    let settings = hello(folder.path(), "");
    fs_err::write(folder.path().join("kimg.toml"), &settings).unwrap();
    fs_err::write(folder.path().join("hello/go.mod"), "module example.org/hello\n\ngo 1.99\n").unwrap();
    let story = program::failure(&mut sample(folder.path(), &path), 31);
    assert!(story.contains("needs Go 1.99 or newer (its go.mod says so); found go1."), "{story}");
    assert!(story.contains(" help: install Go 1.99"), "{story}");

    let settings = hello(folder.path(), "cgo = true");
    fs_err::write(folder.path().join("kimg.toml"), settings).unwrap();
    let only_go = TempDir::new().unwrap();
    let go = fs_err::canonicalize(kimg_testkit::tool("go").unwrap()).unwrap();
    fs_err::os::unix::fs::symlink(go, only_go.path().join("go")).unwrap();
    let story = program::failure(&mut sample(folder.path(), only_go.path().as_os_str()), 31);
    assert!(story.contains("needs zig") && story.contains("pip install ziglang"), "{story}");
}

#[test]
fn a_build_that_fails_shows_its_last_lines_and_where_all_of_them_are() {
    let Some(path) = kimg_testkit::go_path() else { return };
    let folder = program::folder();
    let settings = hello(folder.path(), "");
    fs_err::write(folder.path().join("kimg.toml"), settings).unwrap();
    fs_err::write(folder.path().join("hello/main.go"), "package main\n\nfunc main() { nothing() }\n")
        .unwrap();
    let story = program::failure(&mut sample(folder.path(), &path), 31);
    assert!(story.contains("main.go:3:15: undefined: nothing"), "{story}");
    let log = story.lines().find_map(|line| line.trim().strip_prefix("all of it: ")).unwrap();
    assert!(fs_err::read_to_string(log).unwrap().contains("undefined: nothing"), "{log}");
    assert!(!folder.path().join("out").exists() && !folder.path().join("kimg.lock").exists());
}

#[test]
fn after_a_killed_build_nothing_runs_on_and_the_next_one_starts_anew() {
    let Some(path) = kimg_testkit::go_path() else { return };
    let folder = program::folder();
    let settings = hello(folder.path(), "");
    fs_err::write(folder.path().join("kimg.toml"), settings).unwrap();
    let mut kimg = sample(folder.path(), &path);
    let mut kimg = {
        let mut process = Process::new(kimg.get_program());
        process.args(kimg.get_args()).current_dir(folder.path()).env_clear();
        process.env("PATH", &path).env("HOME", folder.path());
        process
            .env("KIMG_CACHE_DIR", folder.path().join("cache"))
            .stderr(Stdio::null())
            .stdout(Stdio::null());
        drop(std::mem::replace(&mut kimg, Command::new("true")));
        process.spawn().unwrap()
    };
    // Into the compiler's work, and then as the kernel does when memory is short.
    let compiling = || compilers_in(folder.path());
    let begun = Instant::now();
    while compiling() == 0 {
        assert!(
            begun.elapsed() < Duration::from_secs(60) && kimg.try_wait().unwrap().is_none(),
            "it never compiled"
        );
        std::thread::sleep(Duration::from_millis(5));
    }
    kimg.kill().unwrap();
    kimg.wait().unwrap();
    let begun = Instant::now();
    while compiling() > 0 {
        assert!(begun.elapsed() < Duration::from_secs(10), "compilers run on after kimg was killed");
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(!folder.path().join("out").exists());
    program::success(&mut sample(folder.path(), &path));
    let scratch = fs_err::read_dir(folder.path().join("cache/v1/tmp")).unwrap().count();
    assert_eq!(scratch, 0, "what the killed one had begun is still there");
}

#[test]
fn preflight_says_from_where_each_program_comes_and_why_one_is_missing() {
    let Some(real) = kimg_testkit::real() else { return };
    // Compilers that only say their versions: none is started to compile.
    let says = |go: &str| {
        let folder = program::folder();
        for (name, says) in [("go", format!("go version {go} linux/amd64")), ("zig", "0.17.1".into())] {
            let file = folder.path().join(name);
            fs_err::write(&file, format!("#!/bin/sh\necho '{says}'\n")).unwrap();
            let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
            fs_err::set_permissions(&file, mode).unwrap();
        }
        folder
    };
    let (new, old) = (says("go1.99.0"), says("go1.19.8"));
    let path = new.path();
    let folder = program::folder();
    let preflight = |more: &[&str]| {
        let mut kimg = program::kimg_on(&real, folder.path(), "preflight");
        kimg.args(["--variant", "kubeadm", "--arch", "arm64", "--arch", "armv7"])
            .args(more)
            .env("PATH", path);
        kimg
    };
    let cells = program::json(&mut preflight(&["--kubernetes", "1.36.1,1.35.3", "--format", "json"]));
    let cells = cells.as_array().unwrap();
    assert_eq!(cells.len(), 4);
    let part = |cell: &Value, name: &str| {
        cell["programs"].as_array().unwrap().iter().find(|part| part["program"] == name).unwrap().clone()
    };
    for cell in cells {
        let version = cell["kubernetes"].as_str().unwrap();
        assert_eq!(part(cell, "kubelet")["from"], format!("kubernetes {version}, compiled"));
        let why = part(cell, "crictl")["why"].as_str().unwrap().to_owned();
        let gone = version == "v1.36.1" && cell["platform"] == "linux/arm/v7";
        assert_eq!(why.contains("no crictl for 32-bit ARM from 1.36 on"), gone, "{version}: {why}");
    }
    // Without a version the packages' own is meant.
    let cells = program::json(&mut preflight(&["--format", "json"]));
    assert!(part(&cells[0], "kubelet")["from"].as_str().unwrap().starts_with("package kubelet-1.20.2-r"));
    assert_eq!(program::answer(&mut preflight(&["--strict"])).code, 13);
    // With a source that is still to be fetched, it is known which Go it needs.
    let too_old = program::answer(preflight(&["--kubernetes", "1.34.2"]).env("PATH", old.path()));
    let needs = "compiling kubernetes v1.34.2 needs Go 1.24 or newer (upstream's go.mod says so);";
    let told = too_old.out.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(too_old.code == 13 && told.contains(needs), "{}", too_old.out);
    let no_compiler = program::answer(preflight(&["--kubernetes", "1.35.3"]).env("PATH", "/nonexistent"));
    assert_eq!(no_compiler.code, 13, "{}", no_compiler.story);
    assert!(no_compiler.out.contains("kubernetes v1.35.3 needs zig") || no_compiler.out.contains("needs Go"));
}

#[test]
fn versions_are_those_that_upstream_looks_after_beside_what_is_published() {
    let Some(registry) = kimg_testkit::DockerRegistry::plain() else { return };
    let folder = program::folder();
    let upstream = program::folder();
    for (file, version) in [
        ("stable", "v1.34.2"),
        ("stable-1.34", "v1.34.2"),
        ("stable-1.33", "v1.33.6"),
        ("stable-1.32", "v1.32.10"),
    ] {
        fs_err::write(upstream.path().join(format!("{file}.txt")), version).unwrap();
    }
    let server = kimg_testkit::FolderServer::new(upstream.path());
    let to = format!("{}/acme/kubelet", registry.name());
    let versions = |more: &[&str]| {
        let mut kimg = program::kimg_talk(folder.path(), "versions");
        kimg.args(["--upstream", server.url("").trim_end_matches('/'), "--published", &to]).args(more);
        kimg
    };
    assert_eq!(
        program::success(&mut versions(&["--new"])),
        "1.34.2,1.33.6,1.32.10\n",
        "nothing is there yet"
    );
    let mut publish = program::kimg_quick(folder.path(), "publish");
    program::success(publish.arg(&to).args(["--variant", "plain", "--arch", "amd64", "--partial"]));
    for tag in ["v1.34.2", "v1.33.5"] {
        let mut copy = program::kimg_talk(folder.path(), "copy");
        program::success(copy.args([format!("{to}:v1.34.2-sample"), format!("{to}:{tag}")]));
    }
    assert_eq!(program::success(&mut versions(&["--new"])), "1.33.6,1.32.10\n");
    let listed = program::json(&mut versions(&["--format", "json"]));
    assert_eq!(
        listed[1],
        serde_json::json!({
            "minor": "v1.33", "newest": "v1.33.6", "published": "v1.33.5", "new": true
        })
    );
    fs_err::write(upstream.path().join("stable-1.33.txt"), "v1.34.2").unwrap();
    program::failure(&mut versions(&[]), 10);
}

#[test]
fn doctor_lists_what_is_here_and_fails_only_for_what_is_required() {
    let folder = program::folder();
    let doctor = |more: &[&str]| {
        let mut kimg = program::kimg(folder.path());
        kimg.arg("doctor").args(more).env("PATH", folder.path());
        kimg
    };
    let listed = program::json(&mut doctor(&["--format", "json"]));
    let zig = listed.as_array().unwrap().iter().find(|tool| tool["name"] == "zig").unwrap();
    assert_eq!((&zig["path"], &zig["get"]), (&Value::Null, &"pip install ziglang".into()));
    assert_eq!(program::answer(&mut doctor(&["--require", "zig"])).code, 31);
    program::failure(&mut doctor(&["--require", "zag"]), 2);
    let Some(path) = kimg_testkit::go_path() else { return };
    let found = program::success(doctor(&["--require", "go", "--require", "zig"]).env("PATH", path));
    assert!(
        found.lines().any(|line| line.trim_start().starts_with("zig") && line.contains(" 0.")),
        "{found}"
    );
}

/// How many processes work in a folder.
fn compilers_in(folder: &Path) -> usize {
    let processes = fs_err::read_dir("/proc").unwrap().flatten();
    let works_there = processes.filter(|process| {
        let read = |name: &str| fs_err::read(process.path().join(name)).unwrap_or_default();
        let name = String::from_utf8_lossy(&read("comm")).trim().to_owned();
        let there = folder.join("cache").display().to_string();
        matches!(&*name, "go" | "compile" | "asm" | "link")
            && String::from_utf8_lossy(&read("environ")).contains(&there)
    });
    works_there.count()
}

#[test]
fn a_full_disk_is_said_and_leaves_nothing_half_made() {
    let Some(path) = kimg_testkit::go_path() else { return };
    if !kimg_testkit::superuser() {
        return;
    }
    let folder = program::folder();
    let settings = hello(folder.path(), "");
    fs_err::write(folder.path().join("kimg.toml"), settings).unwrap();
    fs_err::create_dir(folder.path().join("cache")).unwrap();
    let small = Mounted::new(&folder.path().join("cache"), "size=16m");
    let story = program::failure(&mut sample(folder.path(), &path), 30);
    assert!(story.contains("filled the disk") && story.contains("--cache-dir"), "{story}");
    assert!(!folder.path().join("out").exists() && !folder.path().join("kimg.lock").exists());
    kimg_testkit::run(Process::new("mount").args(["-o", "remount,size=1g"]).arg(&small.0));
    program::success(&mut sample(folder.path(), &path));
}

/// A small file system, which is gone when this is dropped.
struct Mounted(std::path::PathBuf);

impl Mounted {
    fn new(folder: &Path, options: &str) -> Self {
        kimg_testkit::run(Process::new("mount").args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(folder));
        Self(folder.to_owned())
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Process::new("umount").arg("-l").arg(&self.0).status();
    }
}
