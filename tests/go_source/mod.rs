//! Sources of Go programs, and the settings that compile them.

#![allow(dead_code, reason = "each test program uses a part of it")]

use std::ffi::OsStr;
use std::path::Path;
use std::process::Command as Process;

use assert_cmd::Command;
use kimg_core::Platform;
use kimg_testkit::{Layout, Root};
use serde_json::Value;

use crate::program;

/// The plugins of a flannel network: three without C, one with.
pub(crate) fn plugins(folder: &Path) -> Option<String> {
    let (plugins, gocode) = (kimg_testkit::debian_source("plugins")?, kimg_testkit::debian_source("gocode")?);
    // Where the source lies is not to be seen in what is compiled from it.
    kimg_testkit::run(Process::new("cp").arg("-r").args([&plugins, &folder.join("plugins")]));
    let table = |programs: &str, cgo: bool| {
        format!(
            "[[go]]\npreset = 'cni-plugins'\nversion = '1.1.1'\nsource = 'plugins'\nlayout = 'gopath'\n\
             gopath = ['{}']\nprograms = [{programs}]\ncgo = {cgo}\n",
            gocode.display()
        )
    };
    Some(table("'bridge', 'host-local', 'portmap'", false) + &table("'loopback'", true))
}

pub(crate) const OF_FLANNEL: [&str; 4] = ["bridge", "host-local", "loopback", "portmap"];

/// A small source of Go, and the settings that build `hello` out of it.
pub(crate) fn hello(folder: &Path, more: &str) -> String {
    let source = folder.join("hello");
    fs_err::create_dir_all(&source).unwrap();
    fs_err::write(source.join("go.mod"), "module example.org/hello\n\ngo 1.15\n").unwrap();
    let main = "package main\n\nimport \"os\"\n\nfunc main() { os.Stdout.WriteString(\"hello\\n\") }\n";
    fs_err::write(source.join("main.go"), main).unwrap();
    format!(
        "[[go]]\nname = 'hello'\nsource = 'hello'\n{more}\n\
         programs = [{{ name = 'hello', package = '.', install = '/usr/bin/hello' }}]\n"
    )
}

/// `kimg build` of the sample's plain image for arm64, in a folder with these settings and a cache of its own.
pub(crate) fn sample(folder: &Path, path: &OsStr) -> Command {
    let mut kimg = program::kimg(folder);
    kimg.args(["build", "--sample", "--variant", "plain", "--arch", "arm64", "--pack", "never"]);
    kimg.args(["--progress", "plain"]).env("KIMG_CACHE_DIR", folder.join("cache")).env("PATH", path);
    kimg
}

/// The bytes of a program of an image.
pub(crate) fn file_of(layout: &Layout, variant: &str, platform: Platform, path: &str) -> Option<Vec<u8>> {
    let folder = program::folder();
    let built = program::indexes(layout).remove(variant).unwrap();
    let root =
        kimg_testkit::umoci_unpack(layout.folder(), &built.name, platform, &folder.path().join("root"))?;
    Some(fs_err::read(root.folder().join(path.trim_start_matches('/'))).unwrap())
}

/// That each of these plugins in an image says which versions of the interface it knows; `None` after a visible skip.
pub(crate) fn plugins_answer(root: &Root) -> Option<()> {
    for name in OF_FLANNEL {
        let program = format!("/opt/cni/bin/{name}");
        let output = root.run(&[&program], &[("CNI_COMMAND", "VERSION")])?;
        let said: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        let versions = said["supportedVersions"].as_array().cloned().unwrap_or_default();
        assert!(versions.contains(&"1.0.0".into()), "{name}: {output:?}");
    }
    Some(())
}

/// Whether programs of a source are compiled each for itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum As {
    Each,
    One,
}

/// Settings that compile Kubernetes 1.20.2 and the CNI plugins of Debian's source packages.
pub(crate) fn kubernetes(how: As) -> Option<String> {
    let source = |name| kimg_testkit::debian_source(name);
    let (kubernetes, plugins, gocode) = (source("kubernetes.tar.gz")?, source("plugins")?, source("gocode")?);
    let one = how == As::One;
    Some(format!(
        "[[go]]\npreset = 'kubernetes'\nversion = '1.20.2'\nsource = '{}'\nmulticall = {one}\n\n\
         [[go]]\npreset = 'cni-plugins'\nversion = '1.1.1'\nsource = '{}'\nlayout = 'gopath'\n\
         gopath = ['{}']\nmulticall = {one}\n",
        kubernetes.display(),
        plugins.display(),
        gocode.display()
    ))
}

/// A source with the layout of Kubernetes' own, whose programs only say who they are.
pub(crate) fn stand_in(source: &Path, version: &str) {
    for name in ["kubelet", "kubeadm", "kube-proxy"] {
        let main = format!(
            "package main\n\nimport \"os\"\n\nfunc main() {{ os.Stdout.WriteString(\"{name} {version}\\n\") }}\n"
        );
        fs_err::create_dir_all(source.join("cmd").join(name)).unwrap();
        fs_err::write(source.join("cmd").join(name).join("main.go"), main).unwrap();
    }
    fs_err::write(source.join("go.mod"), "module k8s.io/kubernetes\n\ngo 1.15\n").unwrap();
}
