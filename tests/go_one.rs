//! Programs that are compiled as one, and compiled programs that another machine takes over.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod go_source;
mod program;

use std::ffi::OsStr;
use std::path::Path;

use assert_cmd::Command;
use go_source::{OF_FLANNEL, file_of, hello, plugins, sample, stand_in};
use kimg_core::Platform;
use kimg_testkit::{DockerRegistry, FolderServer, Layout};
use serde_json::Value;

/// The plugins without C in one, and the one with C for itself.
fn as_one(settings: &str) -> String {
    settings.replacen("cgo = false\n", "cgo = false\nmulticall = true\n", 1)
}

#[test]
fn plugins_in_one_program_answer_each_by_its_name_and_are_packed_as_before() {
    let Some(real) = kimg_testkit::real() else { return };
    let Some(path) = kimg_testkit::go_path() else { return };
    let folder = program::folder();
    let Some(settings) = plugins(folder.path()) else { return };
    fs_err::write(folder.path().join("kimg.toml"), as_one(&settings)).unwrap();
    let build = |command: &str| {
        let mut kimg = program::kimg(folder.path());
        kimg.args([command, "--variant", "flannel", "--arch", "armv7", "--cache-dir"]);
        kimg.arg(folder.path().join("cache")).args(["--progress", "plain", "-r"]).arg(real.repo());
        kimg.arg("-k").arg(real.keys()).env("PATH", &path);
        kimg
    };
    let first = program::answer(build("build").args(["--format", "json"]));
    assert_eq!(first.code, 0, "{}", first.story);
    println!("{}", first.story);
    let report: Value = serde_json::from_str(&first.out).unwrap();
    let joined = &report["joined"][0];
    let alone = joined["programs"].as_array().unwrap().iter().map(|it| it["size"].as_u64().unwrap());
    let (one, apart) = (joined["size"].as_u64().unwrap(), alone.sum::<u64>());
    assert!(one * 2 < apart, "{one} bytes as one, {apart} apart");
    assert!(
        first.story.contains("bridge, host-local and portmap of cni-plugins v1.1.1 for linux/arm/v7 are one")
    );

    // The one is a layer of its own, and packed with a probe of one of its programs.
    let image = &report["images"][0];
    let layers = image["layers"].as_array().unwrap();
    let names: Vec<_> = layers.iter().map(|layer| layer["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["base", "kubelet", "cni-plugins", "cni-core", "record"]);
    let packed = image["packed"].as_array().unwrap();
    let packed = packed.iter().find(|it| it["path"] == "/opt/cni/bin/cni-plugins").unwrap();
    assert_eq!(packed["plain"], one);
    assert!(packed["packed"].as_u64().is_some_and(|size| size < one), "{packed}");

    let layout = Layout::open(folder.path().join("out"));
    let name = program::indexes(&layout).remove("flannel").unwrap().name;
    let unpacked = folder.path().join("root");
    let root = kimg_testkit::umoci_unpack(layout.folder(), &name, Platform::ArmV7, &unpacked);
    let Some(root) = root else { return };
    if go_source::plugins_answer(&root).is_none() {
        return;
    }
    for name in OF_FLANNEL {
        let link = fs_err::read_link(root.folder().join(format!("opt/cni/bin/{name}"))).ok();
        let expected = (name != "loopback").then(|| Path::new("cni-plugins").to_owned());
        assert_eq!(link, expected, "{name}");
    }
    assert_eq!(program::answer(&mut build("check")).code, 0);
    let why = program::success(build("why").arg("/opt/cni/bin/cni-plugins"));
    assert!(why.starts_with("`/opt/cni/bin/cni-plugins` is where `bridge` (root: the CNI plugin"), "{why}");

    // Again: nothing is compiled, and the same is told of both ways.
    let again = program::answer(build("build").args(["--format", "json", "--locked"]));
    assert!(again.code == 0 && !again.story.contains(", with go1."), "{}", again.story);
    let now: Value = serde_json::from_str(&again.out).unwrap();
    assert_eq!(now["joined"], report["joined"]);
}

/// Two programs of one source, whose variables may register flags.
fn two(folder: &Path, variable: &str) {
    let settings = hello(folder, "");
    let one = "programs = [{ name = 'hello', package = '.', install = '/usr/bin/hello' },";
    let both = format!(
        "multicall = true\n{one} {{ name = 'bye', package = 'bye', install = '/usr/local/bin/bye' }}]"
    );
    let (head, _) = settings.split_once("programs = ").unwrap();
    fs_err::write(folder.join("kimg.toml"), format!("{head}{both}\n")).unwrap();
    let main = format!(
        "package main\n\nimport (\n\t\"flag\"\n\t\"os\"\n)\n\n{variable}\n\nfunc main() {{ flag.Parse(); os.Stdout.WriteString(\"bye\\n\") }}\n"
    );
    fs_err::create_dir_all(folder.join("hello/bye")).unwrap();
    fs_err::write(folder.join("hello/bye/main.go"), main).unwrap();
}

/// A kubelet that says which program it is a part of.
const SAYS_WHERE: &str = r#"package main

import (
	"os"
	"runtime/debug"
)

func main() {
	info, _ := debug.ReadBuildInfo()
	os.Stdout.WriteString("kubelet of " + info.Path + "\n")
}
"#;

#[test]
fn a_program_that_answers_otherwise_as_part_of_the_one_stays_alone() {
    let Some(path) = kimg_testkit::go_path() else { return };
    if kimg_testkit::tool(Platform::Arm64.qemu()).is_none() {
        return;
    }
    let folder = program::folder();
    let source = folder.path().join("kubernetes-1.34.2");
    stand_in(&source, "1.34.2");
    let settings = "kubernetes = '1.34.2'\n\n[[go]]\npreset = 'kubernetes'\nsource = 'kubernetes-{version}'\n\
                    cgo = false\nmulticall = ['kubelet', 'kubeadm']\n";
    fs_err::write(folder.path().join("kimg.toml"), settings).unwrap();
    let build = || {
        let answer = program::answer(sample(folder.path(), &path).args(["--format", "json"]));
        assert_eq!(answer.code, 0, "{}", answer.story);
        let report: Value = serde_json::from_str(&answer.out).unwrap();
        let layers = report["images"][0]["layers"].as_array().unwrap();
        // The lowest, so that it is stored once for images that differ in everything else.
        (answer.story, layers[0]["name"] == "kubernetes")
    };
    let (story, one) = build();
    assert!(
        one && story.contains("kubelet and kubeadm of kubernetes v1.34.2 for linux/arm64 are one"),
        "{story}"
    );
    fs_err::write(source.join("cmd/kubelet/main.go"), SAYS_WHERE).unwrap();
    let (story, one) = build();
    let why = "each for itself: kubelet does not answer as it does alone: what it prints differs";
    assert!(!one && story.contains(why), "{story}");
}

#[test]
fn programs_that_can_not_be_one_are_compiled_each_for_itself_and_that_is_said_each_time() {
    let Some(path) = kimg_testkit::go_path() else { return };
    let folder = program::folder();
    two(folder.path(), "");
    let place = |name: &str| folder.path().join("hello/bye").join(name);
    fs_err::create_dir_all(place("internal/cmd")).unwrap();
    fs_err::rename(place("main.go"), place("internal/cmd/main.go")).unwrap();
    let settings = fs_err::read_to_string(folder.path().join("kimg.toml")).unwrap();
    let settings = settings.replace("package = 'bye'", "package = 'bye/internal/cmd'");
    fs_err::write(folder.path().join("kimg.toml"), settings).unwrap();
    for tries in ["with", "compiled before with"] {
        let answer = program::answer(sample(folder.path(), &path).args(["--format", "json"]));
        assert_eq!(answer.code, 0, "{}", answer.story);
        assert!(answer.story.contains(&format!("2 programs of hello for linux/arm64, {tries} go1.")));
        let told =
            "hello and bye of hello for linux/arm64 can't be one program, and are built each for itself: ";
        let why = answer.story.lines().find_map(|line| line.split_once(told)).map(|(_, why)| why.to_owned());
        assert!(why.is_some_and(|why| why.contains("use of internal package")), "{}", answer.story);
        let report: Value = serde_json::from_str(&answer.out).unwrap();
        assert_eq!(report["joined"][0]["size"], Value::Null);
    }
    let layout = Layout::open(folder.path().join("out"));
    let Some(bytes) = file_of(&layout, "plain", Platform::Arm64, "/usr/bin/hello") else { return };
    assert!(bytes.starts_with(b"\x7fELF"));
}

#[test]
fn links_to_one_program_lead_there_from_wherever_they_are() {
    let Some(path) = kimg_testkit::go_path() else { return };
    let folder = program::folder();
    two(folder.path(), "");
    program::success(&mut sample(folder.path(), &path));
    let layout = Layout::open(folder.path().join("out"));
    let name = program::indexes(&layout).remove("plain").unwrap().name;
    let unpacked = folder.path().join("root");
    let Some(root) = kimg_testkit::umoci_unpack(layout.folder(), &name, Platform::Arm64, &unpacked) else {
        return;
    };
    let link = |path: &str| fs_err::read_link(root.folder().join(path)).unwrap();
    // The source has the name of one of its programs.
    assert_eq!(link("usr/bin/hello"), Path::new("hello-multicall"));
    assert_eq!(link("usr/local/bin/bye"), Path::new("/usr/bin/hello-multicall"));
    for (program, says) in [("/usr/bin/hello", "hello\n"), ("/usr/local/bin/bye", "bye\n")] {
        let Some(output) = root.run(&[program], &[]) else { return };
        assert_eq!(String::from_utf8_lossy(&output.stdout), says, "{output:?}");
    }
    let mut build = sample(folder.path(), &path);
    program::success(build.args(["--sbom", "spdx", "--statements", "said"]));
    let said = fs_err::read_dir(folder.path().join("said")).unwrap().flatten().next().unwrap();
    let sbom: Value = serde_json::from_slice(&fs_err::read(said.path()).unwrap()).unwrap();
    let packages = sbom["packages"].as_array().unwrap().iter().map(|it| it["name"].as_str().unwrap());
    let of_source: Vec<_> =
        packages.filter(|name| ["hello", "bye", "hello-multicall"].contains(name)).collect();
    assert_eq!(of_source, ["bye", "hello", "hello-multicall"]);
}

/// A machine with a cache of its own that takes part in a registry's.
fn machine(folder: &Path, path: &OsStr, name: &str, more: &[&str]) -> Command {
    let mut kimg = program::kimg(folder);
    kimg.args(["build", "--sample", "--variant", "plain", "--arch", "arm64", "--pack", "never"]);
    kimg.args(["--progress", "plain", "--retry-times", "0", "--lock", "kimg.lock"]).args(more);
    kimg.env("KIMG_CACHE_DIR", folder.join(name)).env("PATH", path);
    kimg
}

#[test]
fn what_one_machine_compiled_another_takes_over_where_the_lock_knows_it() {
    let Some(registry) = DockerRegistry::plain() else { return };
    let Some(path) = kimg_testkit::go_path() else { return };
    let folder = program::folder();
    two(folder.path(), "");
    let cache = format!("{}/acme/kubelet:cache", registry.name());
    let build = |name, path: &OsStr, more: &[&str]| {
        let args = [&["--cache-from", &cache, "--format", "json"], more].concat();
        program::answer(&mut machine(folder.path(), path, name, &args))
    };
    let first = build("one", &path, &["--cache-to", &cache]);
    assert_eq!(first.code, 0, "{}", first.story);
    let digest = |answer: &program::Answer| {
        let report: Value = serde_json::from_str(&answer.out).unwrap_or_else(|_| panic!("{}", answer.story));
        assert!(report["joined"][0]["programs"][0]["size"].is_u64(), "{report}");
        (report["images"][0]["digest"].clone(), report["joined"].clone())
    };

    // Without a compiler, by the lock alone.
    let second = build("two", OsStr::new("/nonexistent"), &["--locked"]);
    assert_eq!((second.code, digest(&second)), (0, digest(&first)), "{}", second.story);
    assert!(second.story.contains("compiled before with go1."), "{}", second.story);

    // Without a lock it is not believed, unless those who write the cache are.
    let lock = folder.path().join("kimg.lock");
    let locked = fs_err::read_to_string(&lock).unwrap();
    fs_err::remove_file(&lock).unwrap();
    let third = build("three", &path, &[]);
    assert_eq!((third.code, digest(&third)), (0, digest(&first)), "{}", third.story);
    assert!(third.story.contains("the lock does not say what comes of that"), "{}", third.story);
    fs_err::remove_file(&lock).unwrap();
    let fourth = build("four", &path, &["--trust-cache"]);
    assert!(fourth.code == 0 && fourth.story.contains("compiled before with go1."), "{}", fourth.story);

    // A lock that says something else: it is compiled, and then the lock is what is wrong.
    let result = locked.lines().find_map(|line| line.strip_prefix("result = ")).unwrap();
    let other = format!("\"sha256:{}\"", "0".repeat(64));
    fs_err::write(&lock, locked.replace(result, &other)).unwrap();
    let fifth = build("five", &path, &["--locked"]);
    assert_eq!(fifth.code, 41, "{}", fifth.story);
    assert!(fifth.story.contains("the lock says that it becomes") && fifth.story.contains("other bytes"));
}

#[test]
fn a_source_is_fetched_by_its_address_compared_and_pinned() {
    let Some(path) = kimg_testkit::go_path() else { return };
    let (folder, upstream) = (program::folder(), program::folder());
    hello(upstream.path(), "");
    let archive = upstream.path().join("hello-1.0.0.tar.gz");
    let mut tar = std::process::Command::new("tar");
    kimg_testkit::run(tar.current_dir(upstream.path()).arg("-czf").arg(&archive).arg("hello"));
    let right = kimg_core::Digest::of(fs_err::read(&archive).unwrap());
    let server = FolderServer::new(upstream.path());
    let settings = |sha256: &str| {
        hello(folder.path(), &format!("version = '1.0.0'\nsha256 = '{sha256}'"))
            .replace("source = 'hello'", &format!("source = '{}'", server.url("hello-{version}.tar.gz")))
    };
    let write = |sha256: &str| fs_err::write(folder.path().join("kimg.toml"), settings(sha256)).unwrap();
    write(&"0".repeat(64));
    let story = program::failure(&mut sample(folder.path(), &path), 10);
    assert!(story.contains(&right.hex()), "{story}");
    write(&right.hex());
    program::success(&mut sample(folder.path(), &path));
    // From the cache, when nobody answers any more.
    drop(server);
    program::success(sample(folder.path(), &path).arg("--offline"));
}

/// Writes a module into the folder of a proxy as go asks for it, and prints the lines of a go.sum.
const PROXY: &str = r#"
import base64, hashlib, os, sys, zipfile
folder = os.path.join(sys.argv[1], "example.org/other/@v")
os.makedirs(folder)
module = b"module example.org/other\n\ngo 1.15\n"
files = {"go.mod": module, "other.go": b"package other\n\nconst Word = \"downloaded\"\n"}
def hashed(files):
    lines = "".join("%s  %s\n" % (hashlib.sha256(files[name]).hexdigest(), name) for name in sorted(files))
    return "h1:" + base64.b64encode(hashlib.sha256(lines.encode()).digest()).decode()
named = {"example.org/other@v1.0.0/" + name: text for name, text in files.items()}
with zipfile.ZipFile(os.path.join(folder, "v1.0.0.zip"), "w") as archive:
    for name, text in named.items():
        archive.writestr(name, text)
open(os.path.join(folder, "v1.0.0.info"), "w").write('{"Version": "v1.0.0"}')
open(os.path.join(folder, "v1.0.0.mod"), "wb").write(module)
print("example.org/other v1.0.0 " + hashed(named))
print("example.org/other v1.0.0/go.mod " + hashed({"go.mod": module}))
"#;

#[test]
fn modules_are_downloaded_only_where_that_is_said_and_are_those_of_go_sum() {
    let (Some(path), Some(python)) = (kimg_testkit::go_path(), kimg_testkit::tool("python3")) else { return };
    let (folder, proxy) = (program::folder(), program::folder());
    let sums = kimg_testkit::run(std::process::Command::new(python).args(["-c", PROXY]).arg(proxy.path()));
    let settings = |more: &str| {
        fs_err::write(folder.path().join("kimg.toml"), hello(folder.path(), more)).unwrap();
        let write =
            |name: &str, text: &str| fs_err::write(folder.path().join("hello").join(name), text).unwrap();
        write("go.mod", "module example.org/hello\n\ngo 1.15\n\nrequire example.org/other v1.0.0\n");
        let main = "package main\n\nimport (\n\t\"os\"\n\n\t\"example.org/other\"\n)\n\nfunc main() { os.Stdout.WriteString(other.Word + \"\\n\") }\n";
        write("main.go", main);
    };
    let go_sum = |text: &str| fs_err::write(folder.path().join("hello/go.sum"), text).unwrap();
    let build = || {
        let mut kimg = sample(folder.path(), &path);
        kimg.env("GOPROXY", format!("file://{}", proxy.path().display()));
        kimg
    };
    settings("");
    go_sum(&sums);
    let story = program::failure(&mut build(), 13);
    assert!(story.contains("modules = \"download\""), "{story}");
    settings("modules = 'download'");
    let (first, _) = sums.split_once("h1:").unwrap();
    go_sum(&sums.replacen(&sums[first.len()..first.len() + 6], "h1:AAA", 1));
    let story = program::failure(&mut build(), 31);
    assert!(story.contains("checksum mismatch"), "{story}");
    go_sum(&sums);
    program::success(&mut build());
    let layout = Layout::open(folder.path().join("out"));
    let name = program::indexes(&layout).remove("plain").unwrap().name;
    let unpacked = folder.path().join("root");
    let Some(root) = kimg_testkit::umoci_unpack(layout.folder(), &name, Platform::Arm64, &unpacked) else {
        return;
    };
    let Some(output) = root.run(&["/usr/bin/hello"], &[]) else { return };
    assert_eq!(String::from_utf8_lossy(&output.stdout), "downloaded\n", "{output:?}");
    // Read-only, as go leaves them, downloaded modules would stay behind.
    let scratch = fs_err::read_dir(folder.path().join("cache/v1/tmp")).unwrap().count();
    assert_eq!(scratch, 0);
}
