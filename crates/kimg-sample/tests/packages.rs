//! What the built packages are to tar, gzip and openssl.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod judges;

use std::path::Path;
use std::process::Command;

use fs_err as fs;
use kimg_core::Platform;
use kimg_sample::Signer;
use kimg_sample::package::{BuiltPackage, PackageBuilder, TarEntry};
use kimg_sample::repository::RepositoryBuilder;

/// A package with one of everything.
fn package() -> BuiltPackage {
    let long = format!("usr/share/{}/name", "long".repeat(30));
    PackageBuilder::new("everything", "1.2.3-r4", Platform::ArmV7)
        .description("one of everything")
        .depends(["so:libc.musl-armv7.so.1", "busybox>=1.36"])
        .provides(["cmd:tool=1.2.3-r4"])
        .install_if(["one", "two=2"])
        .replaces(["older"])
        .replaces_priority(3)
        .provider_priority(7)
        .triggers(["/bin", "/sbin"])
        .script("post-install", "#!/bin/sh\n")
        .entry(TarEntry::program("usr/bin/tool", "tool\n").mode(0o4755))
        .entry(TarEntry::hardlink("usr/bin/same", "usr/bin/tool").mode(0o4755))
        .entry(TarEntry::symlink("usr/bin/link", "tool"))
        .entry(TarEntry::file("etc/secret", "x").mode(0o640).owner(12, 34))
        .entry(TarEntry::directory("tmp").mode(0o1777))
        .entry(TarEntry::file("usr/bin/ping", "ping").xattr("security.capability", [1, 0, 0, 2, 0, 32]))
        .entry(TarEntry::file(long, "long"))
        .build(&Signer::sample())
}

fn listing(folder: &Path, member: &[u8]) -> String {
    fs::write(folder.join("member"), member).unwrap();
    judges::output(
        Command::new("tar")
            .args(["--warning=no-unknown-keyword", "--numeric-owner", "--utc", "-tvzf"])
            .arg(folder.join("member")),
    )
}

#[test]
fn tar_lists_every_kind_of_entry_with_its_mode_owner_and_target() {
    let folder = tempfile::tempdir().unwrap();
    let listed = listing(folder.path(), package().members()[2]);
    let long = format!("usr/share/{}", "long".repeat(30));
    let expected = format!(
        "\
drwxr-xr-x 0/0 0 usr/
drwxr-xr-x 0/0 0 usr/bin/
-rwsr-xr-x 0/0 5 usr/bin/tool
hrwsr-xr-x 0/0 0 usr/bin/same link to usr/bin/tool
lrwxrwxrwx 0/0 0 usr/bin/link -> tool
drwxr-xr-x 0/0 0 etc/
-rw-r----- 12/34 1 etc/secret
drwxrwxrwt 0/0 0 tmp/
-rw-r--r-- 0/0 4 usr/bin/ping
drwxr-xr-x 0/0 0 usr/share/
drwxr-xr-x 0/0 0 {long}/
-rw-r--r-- 0/0 4 {long}/name
"
    );
    // Without columns' widths and the time, which is the same for all.
    let squeezed: String = listed
        .lines()
        .map(|line| {
            line.split_whitespace().collect::<Vec<_>>().join(" ").replace(" 2025-01-01 00:00", "") + "\n"
        })
        .collect();
    assert_eq!(squeezed, expected);
}

#[test]
fn tar_restores_what_only_pax_records_hold() {
    let Some(python) = judges::program("python3") else { return };
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("data"), package().members()[2]).unwrap();
    let script = "import sys,tarfile\nfor m in tarfile.open(sys.argv[1]):\n  \
                  for k,v in sorted(m.pax_headers.items()): print(m.name[-12:],k,ascii(v) if 'cap' in k else v[-20:])";
    let shown = judges::output(Command::new(python).args(["-c", script]).arg(folder.path().join("data")));
    // SHA-1 of "tool\n", of the link's target "tool", of "ping"; none for folders and hard links.
    assert!(shown.contains("usr/bin/tool APK-TOOLS.checksum.SHA1"), "{shown}");
    assert!(shown.contains("usr/bin/link APK-TOOLS.checksum.SHA1"), "{shown}");
    assert!(!shown.contains("usr/bin/same APK-TOOLS"), "{shown}");
    assert!(!shown.contains("tmp APK-TOOLS"), "{shown}");
    assert!(shown.contains("SCHILY.xattr.security.capability '\\x01\\x00\\x00\\x02\\x00 '"), "{shown}");
}

#[test]
fn the_control_member_says_what_was_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let package = package();
    fs::write(folder.path().join("all.apk"), &package.bytes).unwrap();
    let pkginfo = judges::output(
        Command::new("tar")
            .arg("-xzOf")
            .arg(folder.path().join("all.apk"))
            .arg(".PKGINFO")
            .stderr(std::process::Stdio::null()),
    );
    for line in [
        "pkgname = everything",
        "pkgver = 1.2.3-r4",
        "arch = armv7",
        "size = 14",
        "depend = so:libc.musl-armv7.so.1",
        "depend = busybox>=1.36",
        "provides = cmd:tool=1.2.3-r4",
        "install_if = one two=2",
        "replaces = older",
        "replaces_priority = 3",
        "provider_priority = 7",
        "triggers = /bin /sbin",
    ] {
        assert!(pkginfo.lines().any(|l| l == line), "`{line}` is not in\n{pkginfo}");
    }
    assert!(listing(folder.path(), &package.bytes).contains(".post-install"));
}

#[test]
fn openssl_agrees_with_every_link_of_the_chain_of_trust() {
    let Some(openssl) = judges::program("openssl") else { return };
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, bytes: &[u8]| {
        fs::write(folder.path().join(name), bytes).unwrap();
        folder.path().join(name)
    };
    let digest = |kind: &str, name: &str| {
        let shown =
            judges::output(Command::new(&openssl).args(["dgst", kind, "-r"]).arg(folder.path().join(name)));
        shown.split(' ').next().unwrap().to_owned()
    };
    let package = package();
    let [signature, control, data] = package.members();
    write("control", control);
    write("data", data);

    // The signature is the one file of the first member, named after the key.
    let name = ".SIGN.RSA256.kimg-sample-worthless.rsa.pub";
    let member = write("signature.tar.gz", signature);
    let listed = listing(folder.path(), signature);
    assert!(listed.ends_with(&format!("{name}\n")) && listed.lines().count() == 1, "{listed}");
    judges::output(Command::new("tar").arg("-xzf").arg(member).arg("-C").arg(folder.path()).arg(name));
    let verify = |signer: &Signer| {
        let key = write("key.pem", signer.public_pem().as_bytes());
        Command::new(&openssl)
            .args(["dgst", "-sha256", "-verify"])
            .arg(key)
            .arg("-signature")
            .arg(folder.path().join(name))
            .arg(folder.path().join("control"))
            .output()
            .unwrap()
            .status
            .success()
    };
    assert!(verify(&Signer::sample()));
    assert!(!verify(&Signer::stranger()), "a stranger's key fits the sample's signature");

    let identity = package.fields.iter().find(|(letter, _)| *letter == 'C').unwrap().1.clone();
    let decoded = judges::output(Command::new("sh").args([
        "-c",
        "printf %s \"$1\" | base64 -d | od -An -v -tx1",
        "sh",
        &identity[2..],
    ]));
    assert_eq!(decoded.split_whitespace().collect::<String>(), digest("-sha1", "control"));

    let pkginfo = judges::output(
        Command::new("tar").arg("-xzOf").arg(write("control.tar.gz", control)).arg(".PKGINFO"),
    );
    assert!(pkginfo.contains(&format!("datahash = {}\n", digest("-sha256", "data"))), "{pkginfo}");
}

#[test]
fn an_index_holds_a_record_for_each_package_with_an_empty_line_behind() {
    let folder = tempfile::tempdir().unwrap();
    let package = package();
    let all_archs =
        PackageBuilder::new("text", "1-r0", Platform::ArmV7).arch("noarch").build(&Signer::sample());
    let repository = RepositoryBuilder::new(Signer::sample())
        .description("a test")
        .packages(Platform::ArmV7, [package.clone(), all_archs])
        .build();
    repository.write_to(folder.path()).unwrap();
    let index = judges::output(
        Command::new("tar").arg("-xzOf").arg(folder.path().join("armv7/APKINDEX.tar.gz")).arg("APKINDEX"),
    );
    let records: Vec<_> = index.split_terminator("\n\n").collect();
    assert_eq!(records.len(), 2, "{index}");
    assert!(records[0].contains(&format!("S:{}\nI:14\n", package.bytes.len())), "{index}");
    assert!(
        records[0].contains("k:7\nD:so:libc.musl-armv7.so.1 busybox>=1.36\np:cmd:tool=1.2.3-r4\ni:one two=2")
    );
    // Alpine's indexes name the folder's architecture even for packages that fit every one.
    assert!(records[1].contains("\nA:armv7\n"), "{index}");
}

#[test]
fn a_record_can_be_made_to_lie() {
    let mut package = package();
    package.set_field('S', "1");
    package.set_field('q', "new");
    assert!(package.record().contains("\nS:1\n") && package.record().ends_with("q:new\n"));
}
