//! Programs of one's own, beside or instead of a package's: a file, an address with its SHA-256, a member of an archive.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod program;

use std::fmt::Write as _;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use kimg_core::{Digest, Platform};
use kimg_testkit::{FolderServer, Layout, Real};

const FLANNEL: &str = "{\"cniVersion\":\"1.0.0\",\"supportedVersions\":[\"1.0.0\"]}\n";
const CRICTL: &str = "crictl version stand-in\n";

/// Small static programs, one for each platform, that stand for the two that the real repository has not.
fn stand_ins(folder: &Path) {
    for platform in Platform::DEFAULT {
        for (name, says) in [("flannel", FLANNEL), ("crictl", CRICTL)] {
            let file = folder.join(format!("{name}-{}", platform.short()));
            fs_err::write(&file, kimg_testkit::sample::elf::Program::fixed(platform, says).build()).unwrap();
            fs_err::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).unwrap();
        }
    }
}

/// Builds `kubeadm-cni` and gives the layout, with both programs said to be there by the report.
fn build(real: &Real, folder: &Path) -> Layout {
    let mut kimg = program::kimg_on(real, folder, "build");
    let report =
        program::json(kimg.args(["--variant", "kubeadm-cni", "--pack", "never", "--format", "json"]));
    for image in report["images"].as_array().unwrap() {
        let missing: Vec<_> =
            image["missing"].as_array().unwrap().iter().map(|m| m["what"].clone()).collect();
        assert_eq!(missing, ["conntrack"], "{}", image["platform"]);
    }
    Layout::open(folder.join("out"))
}

/// Both programs start in the images of every platform.
fn both_start(layout: &Layout, folder: &Path) {
    let built = program::indexes(layout).remove("kubeadm-cni").unwrap();
    for platform in Platform::DEFAULT {
        let unpacked = folder.join(format!("image-{}", platform.short()));
        let root = kimg_testkit::umoci_unpack(layout.folder(), &built.name, platform, &unpacked);
        let Some(root) = root else { return };
        for (path, says) in [("/opt/cni/bin/flannel", FLANNEL), ("/usr/bin/crictl", CRICTL)] {
            let Some(output) = root.run(&[path], &[("CNI_COMMAND", "VERSION")]) else { return };
            assert_eq!(String::from_utf8_lossy(&output.stdout), says, "{path} on {platform}");
        }
    }
}

#[test]
fn a_file_joins_the_image_of_its_platform() {
    let Some(real) = kimg_testkit::real() else { return };
    let folder = program::folder();
    stand_ins(folder.path());
    let mut toml = String::new();
    for platform in Platform::DEFAULT {
        let short = platform.short();
        for (name, install) in [("flannel", "/opt/cni/bin/flannel"), ("crictl", "/usr/bin/crictl")] {
            let table = format!(
                "name = '{name}'\npath = '{name}-{short}'\ninstall = '{install}'\nplatform = '{short}'"
            );
            writeln!(toml, "[[program]]\n{table}").unwrap();
        }
    }
    fs_err::write(folder.path().join("kimg.toml"), toml).unwrap();
    both_start(&build(&real, folder.path()), folder.path());
}

#[test]
fn an_address_and_a_member_of_an_archive_join_the_image() {
    let Some(real) = kimg_testkit::real() else { return };
    let folder = program::folder();
    let served = program::folder();
    stand_ins(served.path());
    let server = FolderServer::new(served.path());
    let mut toml = String::new();
    for platform in Platform::DEFAULT {
        let short = platform.short();
        let archive = served.path().join(format!("crictl-{short}.tar.gz"));
        let mut tar = Command::new("tar");
        tar.arg("-czf").arg(&archive).arg("-C").arg(served.path());
        kimg_testkit::run(
            tar.arg(format!("--transform=s,crictl-{short},bin/crictl,")).arg(format!("crictl-{short}")),
        );
        for (file, member, install) in [
            (format!("flannel-{short}"), "", "/opt/cni/bin/flannel"),
            (format!("crictl-{short}.tar.gz"), "member = 'bin/crictl'\n", "/usr/bin/crictl"),
        ] {
            let sha256 = Digest::of(fs_err::read(served.path().join(&file)).unwrap()).hex();
            let url = server.url(&file);
            let table =
                format!("name = '{file}'\nurl = '{url}'\nsha256 = '{sha256}'\n{member}install = '{install}'");
            writeln!(toml, "[[program]]\n{table}\nplatform = '{short}'").unwrap();
        }
    }
    fs_err::write(folder.path().join("kimg.toml"), toml).unwrap();
    both_start(&build(&real, folder.path()), folder.path());
    // Contents are kept by their digest, so an earlier run may have saved the way: but never twice in one run.
    assert!(server.asked().len() <= 6, "{:?}", server.asked());
}

#[test]
fn an_address_whose_bytes_have_another_sha256_is_refused() {
    let Some(real) = kimg_testkit::real() else { return };
    let folder = program::folder();
    let served = program::folder();
    stand_ins(served.path());
    let server = FolderServer::new(served.path());
    let wrong = Digest::of("something else").hex();
    let toml = format!(
        "[[program]]\nname = 'crictl'\nurl = '{}'\nsha256 = '{wrong}'\ninstall = '/usr/bin/crictl'\n",
        server.url("crictl-amd64")
    );
    fs_err::write(folder.path().join("kimg.toml"), toml).unwrap();
    let mut kimg = program::kimg_on(&real, folder.path(), "build");
    let story =
        program::failure(kimg.args(["--variant", "kubeadm", "--arch", "amd64", "--pack", "never"]), 10);
    let found = Digest::of(fs_err::read(served.path().join("crictl-amd64")).unwrap()).hex();
    assert!(story.contains(&wrong) && story.contains(&found), "{story}");
    assert!(!folder.path().join("out").exists());
}

#[test]
fn a_program_of_ones_own_takes_the_place_of_a_packages() {
    let Some(real) = kimg_testkit::real() else { return };
    let folder = program::folder();
    stand_ins(folder.path());
    let toml = "[[program]]\nname = 'bridge'\npath = 'flannel-amd64'\ninstall = '/opt/cni/bin/bridge'\nplatform = 'amd64'\n";
    fs_err::write(folder.path().join("kimg.toml"), toml).unwrap();
    let mut kimg = program::kimg_on(&real, folder.path(), "build");
    program::success(kimg.args(["--variant", "cni", "--arch", "amd64", "--pack", "never"]));
    let layout = Layout::open(folder.path().join("out"));
    let built = program::indexes(&layout).remove("cni").unwrap();
    let unpacked = folder.path().join("image");
    let root = kimg_testkit::umoci_unpack(layout.folder(), &built.name, Platform::Amd64, &unpacked);
    let Some(root) = root else { return };
    let Some(output) = root.run(&["/opt/cni/bin/bridge"], &[]) else { return };
    assert_eq!(String::from_utf8_lossy(&output.stdout), FLANNEL);
    assert!(root.has("/opt/cni/bin/loopback"), "the others are the package's");
}

#[test]
fn an_address_without_a_sha256_is_refused() {
    let folder = program::folder();
    let toml =
        "[[program]]\nname = 'crictl'\nurl = 'http://127.0.0.1:1/crictl'\ninstall = '/usr/bin/crictl'\n";
    fs_err::write(folder.path().join("kimg.toml"), toml).unwrap();
    let story = program::failure(&mut program::kimg_sample(folder.path(), "build"), 2);
    assert!(story.contains("SHA-256"), "{story}");
}
