//! A root made of Debian packages, for what is linked against glibc.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use crate::{find_tool, skip, workspace};

/// What a node has of it, with a program that has its own folder of libraries (systemd) and plugins (iptables).
const PACKAGES: [&str; 57] = [
    "libc6",
    "libc-bin",
    "coreutils",
    "libselinux1",
    "libpcre2-8-0",
    "libacl1",
    "libattr1",
    "libgmp10",
    "bash",
    "libtinfo6",
    "systemd",
    "libsystemd0",
    "libsystemd-shared",
    "libkmod2",
    "libapparmor1",
    "libseccomp2",
    "liblz4-1",
    "libzstd1",
    "liblzma5",
    "libgcrypt20",
    "libgpg-error0",
    "libip4tc2",
    "libip6tc2",
    "libcryptsetup12",
    "libfdisk1",
    "libssl3",
    "util-linux",
    "mount",
    "libmount1",
    "libblkid1",
    "libsmartcols1",
    "libuuid1",
    "libudev1",
    "libcap2",
    "libcap-ng0",
    "libcrypt1",
    "libpam0g",
    "libaudit1",
    "iproute2",
    "libbpf1",
    "libelf1",
    "libmnl0",
    "libdb5.3",
    "libxtables12",
    "zlib1g",
    "iptables",
    "libnftnl11",
    "libnfnetlink0",
    "libnetfilter-conntrack3",
    "perl-base",
    "libgcc-s1",
    "libnss-systemd",
    "libcap2-bin",
    "libtirpc3",
    "kmod",
    "ethtool",
    "conntrack",
];

/// What libc-bin has aside, for its install script to copy.
const NAME_SERVICES: &str = "passwd: files systemd\ngroup: files systemd\nhosts: files dns sss\n";

/// The root, made under `target/` out of the packages of this machine's own mirror where that was not done yet; else a
/// visible skip. Nobody writes into it.
pub fn debian_root() -> Option<PathBuf> {
    static ROOT: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    match ROOT.get_or_init(make) {
        Ok(root) => Some(root.clone()),
        Err(why) => {
            skip(why);
            None
        }
    }
}

fn make() -> Result<PathBuf, String> {
    let target = workspace().join("target");
    let root = target.join("debian-root");
    if !is_whole(&root) {
        let (Some(apt), Some(_)) = (find_tool("apt-get"), find_tool("dpkg-deb")) else {
            return Err("no Debian root can be made: apt-get or dpkg-deb is not installed".to_owned());
        };
        let packages = tempfile::tempdir_in(&target).expect("target/ can be written to");
        let mut fetch = Command::new(apt);
        fetch.args(["-q", "download"]).args(PACKAGES).current_dir(packages.path());
        if !fetch.output().is_ok_and(|output| output.status.success()) {
            return Err("no Debian root can be made: `apt-get download` fails".to_owned());
        }
        let made = tempfile::tempdir_in(&target).expect("target/ can be written to");
        unpack(packages.path(), made.path());
        // Another process may have been sooner: then this one's is taken away again.
        let renamed = fs_err::rename(made.path(), &root);
        assert!(is_whole(&root), "{} could not be made: {renamed:?}", root.display());
    }
    root.canonicalize().map_err(|error| error.to_string())
}

fn is_whole(root: &Path) -> bool {
    root.join("usr/bin/bash").is_file() && root.join("etc/nsswitch.conf").is_file()
}

fn unpack(packages: &Path, root: &Path) {
    let script = "for d in bin sbin lib lib64; do mkdir -p \"$1/usr/$d\"; ln -s usr/$d \"$1/$d\"; done; \
                  for p in *.deb; do dpkg-deb --fsys-tarfile $p | tar -x --keep-directory-symlink -C \"$1\"; done";
    crate::run(Command::new("sh").args(["-ec", script, "sh"]).arg(root).current_dir(packages));
    fs_err::create_dir_all(root.join("etc")).expect("the root is ours");
    fs_err::write(root.join("etc/nsswitch.conf"), NAME_SERVICES).expect("the root is ours");
}
