//! What real apk 2.12.7 says of the sample: it verifies all packages and installs them, and refuses a stranger's.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod judges;

use std::path::Path;
use std::process::Command;

use fs_err as fs;
use kimg_core::Platform;
use kimg_sample::package::{PackageBuilder, TarEntry};
use kimg_sample::repository::RepositoryBuilder;
use kimg_sample::{Sample, Signer, sample};

/// A root with apk, the sample at `/sample` and no keys but the sample's.
fn judge(sample: &Sample) -> Option<tempfile::TempDir> {
    let real = judges::real()?;
    if !judges::may_chroot() {
        return None;
    }
    let root = tempfile::tempdir().unwrap();
    let archive = real.join("minirootfs/alpine-minirootfs-3.15.11-x86_64.tar.gz");
    judges::output(Command::new("tar").arg("-xzf").arg(archive).arg("-C").arg(root.path()));
    fs::remove_dir_all(root.path().join("etc/apk")).unwrap();
    sample.write_to(&root.path().join("sample")).unwrap();
    let keys = root.path().join("etc/apk/keys");
    fs::create_dir_all(&keys).unwrap();
    for (name, pem) in &sample.keys {
        fs::write(keys.join(name), pem).unwrap();
    }
    Some(root)
}

/// Starts a command in the root.
fn inside(root: &Path, script: &str) -> std::process::Output {
    Command::new("chroot").arg(root).args(["/bin/sh", "-ec", script]).output().unwrap()
}

fn text(output: &std::process::Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn apk_verifies_every_package_of_the_sample() {
    let sample = sample();
    let Some(root) = judge(&sample) else { return };
    let output = inside(root.path(), "cd /sample/repo; apk verify */*.apk");
    let said = text(&output);
    assert!(output.status.success(), "{said}");
    assert_eq!(said.lines().count(), sample.files.len() - Platform::DEFAULT.len(), "{said}");
    assert!(said.lines().all(|line| line.ends_with(".apk: 0 - OK")), "{said}");
}

#[test]
fn apk_installs_the_sample_for_every_platform_without_a_warning() {
    let Some(root) = judge(&sample()) else { return };
    for platform in Platform::DEFAULT {
        let arch = platform.alpine();
        let output = inside(
            root.path(),
            &format!(
                "mkdir -p /{arch}/etc/apk; cp -r /etc/apk/keys /{arch}/etc/apk/; \
                 apk add --root /{arch} --initdb --arch {arch} --no-network; \
                 apk add --root /{arch} --arch {arch} --no-network --no-scripts -X /sample/repo \
                 kubelet kubeadm kube-proxy cni-plugins cni-plugin-flannel util-linux iptables-legacy ipset kmod \
                 alpine-baselayout ca-certificates-bundle kubectl coreutils findutils"
            ),
        );
        let said = text(&output);
        assert!(output.status.success(), "{arch}: {said}");
        assert!(!said.contains("WARNING") && !said.contains("ERROR"), "{arch}: {said}");
        // util-linux brings its tools, and of two versions the newer one comes.
        for line in
            ["Installing mount (2.41.2-r0)", "Installing zlib (1.3.1-r2)", "Installing kubelet (1.34.2-r0)"]
        {
            assert!(said.contains(line), "{arch}: `{line}` is not in {said}");
        }
        assert!(!said.contains("kubelet-openrc"), "{arch}: {said}");
    }
    // On the kernel itself, not under an emulator: a dynamic program through the sample's loader.
    let output =
        inside(root.path(), "test $(uname -m) != x86_64 || chroot /x86_64 /usr/bin/kubelet --version");
    assert!(output.status.success(), "{}", text(&output));
    if cfg!(target_arch = "x86_64") {
        assert!(text(&output).starts_with("kubelet sample v1.34.2 (linux/amd64)"), "{}", text(&output));
    }
}

#[test]
fn apk_keeps_modes_owners_links_and_long_names() {
    let signer = Signer::sample();
    let Some(root) = judge(&Sample { files: std::collections::BTreeMap::new(), keys: sample().keys }) else {
        return;
    };
    let long = "d".repeat(120);
    let package = PackageBuilder::new("everything", "1-r0", Platform::Amd64)
        .entry(TarEntry::program("usr/bin/tool", "tool\n").mode(0o4755))
        .entry(TarEntry::hardlink("usr/bin/same", "usr/bin/tool").mode(0o4755))
        .entry(TarEntry::symlink("usr/bin/link", "tool"))
        .entry(TarEntry::file("etc/secret", "x").mode(0o640).owner(12, 34))
        .entry(TarEntry::file(format!("{long}/name"), "long\n"))
        .build(&signer);
    let repository = RepositoryBuilder::new(signer).package(Platform::Amd64, package).build();
    repository.write_to(&root.path().join("sample/repo")).unwrap();
    let output = inside(
        root.path(),
        &format!(
            "mkdir -p /new/etc/apk; cp -r /etc/apk/keys /new/etc/apk/; \
             apk add -q --root /new --initdb --arch x86_64 --no-network; \
             apk add -q --root /new --arch x86_64 --no-network -X /sample/repo everything; cd /new; \
             stat -c '%a %u:%g %h' usr/bin/tool etc/secret; readlink usr/bin/link; cat {long}/name"
        ),
    );
    assert_eq!(text(&output), "4755 0:0 2\n640 12:34 1\ntool\nlong\n");
}

#[test]
fn apk_refuses_what_a_stranger_signed() {
    let sample = sample();
    let Some(root) = judge(&sample) else { return };
    let honest = PackageBuilder::new("one", "1-r0", Platform::Amd64).build(&Signer::stranger());
    let trusted = Signer::sample();
    let liar = Signer::stranger().with_key_name(trusted.key_name());
    let lying = PackageBuilder::new("two", "1-r0", Platform::Amd64).build(&liar);
    fs::write(root.path().join("one.apk"), &honest.bytes).unwrap();
    fs::write(root.path().join("two.apk"), &lying.bytes).unwrap();
    // The one by an unknown name, the other under the sample's name but with another key.
    for name in ["one", "two"] {
        let output = inside(root.path(), &format!("apk verify /{name}.apk"));
        assert!(!output.status.success(), "{name}: {}", text(&output));
        assert_eq!(text(&output).trim_end(), format!("/{name}.apk: 0 - UNTRUSTED"));
    }
}
