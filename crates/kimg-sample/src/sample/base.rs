//! What lies below everything: the C library, busybox, folders, users, certificates, and the tools of util-linux.

use super::maker::{Maker, SamplePackage};
use crate::elf::{loader, musl_libc_name, musl_loader_path};
use crate::package::TarEntry;

const BUSYBOX: &str = "1.37.0-r20";
const BASELAYOUT: &str = "3.7.0-r0";
const UTIL_LINUX: &str = "2.41.2-r0";

/// Applets, by the paths under which busybox' installation links them. A fuller program stands for `mount`,
/// `umount` and `modprobe` where another package has one.
const APPLETS: &str = "\
bin/ash
bin/cat
bin/cp
bin/ln
bin/ls
bin/mkdir
bin/mount
bin/rm
bin/umount
bin/uname
sbin/modprobe
usr/bin/awk
usr/bin/du
usr/bin/env
usr/bin/find
usr/bin/nsenter
usr/bin/which
";

const PASSWD: &str = "\
root:x:0:0:root (sample):/root:/bin/sh
nobody:x:65534:65534:nobody (sample):/:/sbin/nologin
";

const GROUP: &str = "\
root:x:0:root
shadow:x:42:
nobody:x:65534:
";

const PROTOCOLS: &str = "\
# SAMPLE
ip	0	IP
icmp	1	ICMP
tcp	6	TCP
udp	17	UDP
ipv6-icmp	58	IPv6-ICMP
sctp	132	SCTP
";

const SERVICES: &str = "\
# SAMPLE
domain		53/tcp
domain		53/udp
http		80/tcp
https		443/tcp
kubelet		10250/tcp
";

const CERTIFICATES: &str = "\
# SAMPLE: this bundle holds no certificate, so nobody is trusted by it.
# A build from Alpine's repositories has Mozilla's certificates here.
";

pub(super) fn packages(maker: Maker) -> Vec<SamplePackage> {
    let mut packages = vec![
        musl(maker),
        busybox(maker),
        busybox_binsh(maker),
        baselayout(maker),
        baselayout_data(maker),
        maker
            .package("ca-certificates-bundle", "20250911-r0", "the CA certificates")
            .text("etc/ssl/certs/ca-certificates.crt", CERTIFICATES)
            .link("etc/ssl/cert.pem", "certs/ca-certificates.crt"),
        // The same library in two versions, as real repositories have it.
        maker.package("zlib", "1.3.1-r1", "zlib").library("usr/lib", "libz.so.1", "1.3.1", &[]),
        maker.package("zlib", "1.3.1-r2", "zlib").library("usr/lib", "libz.so.1", "1.3.1", &[]),
        maker
            .package("coreutils", "9.8-r1", "coreutils")
            .program("usr/bin/du", &[])
            .program("usr/bin/nice", &[])
            .program("bin/cp", &[])
            .program("bin/ln", &[])
            .program("bin/uname", &[]),
        maker.package("findutils", "4.10.0-r0", "findutils").program("usr/bin/find", &[]),
    ];
    packages.extend(util_linux(maker));
    packages
}

fn musl(maker: Maker) -> SamplePackage {
    let loader_path = musl_loader_path(maker.platform);
    let loader_name = loader_path.trim_start_matches("/lib/");
    let libc = musl_libc_name(maker.platform);
    maker
        .package("musl", "1.2.5-r21", "musl, whose loader loads no library")
        .with(|p| {
            p.provides([format!("so:{libc}=1")])
                .entry(TarEntry::program(format!("lib/{loader_name}"), loader(maker.platform)))
        })
        .link(&format!("lib/{libc}"), loader_name)
        .link("usr/bin/ldd", &loader_path)
}

fn busybox(maker: Maker) -> SamplePackage {
    maker
        .package("busybox", BUSYBOX, "busybox")
        .program("bin/busybox", &[])
        .text("etc/busybox-paths.d/busybox", APPLETS)
        .text("etc/securetty", "# SAMPLE: needed by nobody\n")
        .with(|p| p.script("post-install", "#!/bin/busybox sh\n# SAMPLE\nexec /bin/busybox --install -s\n"))
}

fn busybox_binsh(maker: Maker) -> SamplePackage {
    maker.package("busybox-binsh", BUSYBOX, "busybox as the shell").link("bin/sh", "/bin/busybox").with(|p| {
        p.origin("busybox")
            .depends([format!("busybox={BUSYBOX}")])
            .provides(["/bin/sh"])
            .provider_priority(100)
    })
}

fn baselayout(maker: Maker) -> SamplePackage {
    let folders =
        ["dev", "etc/apk", "home", "mnt", "opt", "proc", "run", "srv", "sys", "usr/local/bin", "var/log"];
    maker.package("alpine-baselayout", BASELAYOUT, "Alpine's folders").link("var/run", "../run").with(|p| {
        p.depends([format!("alpine-baselayout-data={BASELAYOUT}"), "/bin/sh".to_owned()])
            .entries(folders.map(TarEntry::directory))
            .entry(TarEntry::directory("root").mode(0o700))
            .entry(TarEntry::directory("tmp").mode(0o1777))
            .entry(TarEntry::directory("var/tmp").mode(0o1777))
            .entry(TarEntry::file("etc/motd", "SAMPLE: needed by nobody\n"))
    })
}

fn baselayout_data(maker: Maker) -> SamplePackage {
    maker
        .package("alpine-baselayout-data", BASELAYOUT, "Alpine's users, groups, protocols and services")
        .text("etc/group", GROUP)
        .text("etc/hosts", "# SAMPLE\n127.0.0.1	localhost\n::1	localhost\n")
        .text("etc/passwd", PASSWD)
        .text("etc/protocols", PROTOCOLS)
        .text("etc/services", SERVICES)
        .text("etc/shells", "# SAMPLE\n/bin/sh\n")
        .link("etc/mtab", "/proc/mounts")
        .with(|p| {
            let shadow = TarEntry::file("etc/shadow", "root:*::0:::::\nnobody:!::0:::::\n");
            p.origin("alpine-baselayout").entry(shadow.mode(0o640).owner(0, 42))
        })
}

/// The tools are packages of their own since Alpine 3.17, which come by themselves where util-linux is wanted as a whole.
fn util_linux(maker: Maker) -> Vec<SamplePackage> {
    let package = |name: &str| maker.package(name, UTIL_LINUX, "util-linux").with(|p| p.origin("util-linux"));
    let tool = |name: &str| package(name).with(|p| p.install_if([format!("util-linux={UTIL_LINUX}")]));
    let manual = |package: SamplePackage, name: &str| {
        package.text(&format!("usr/share/man/man8/{name}.8"), "SAMPLE: a manual page, needed by nobody\n")
    };
    vec![
        package("libuuid").library("usr/lib", "libuuid.so.1", "1.3.0", &[]),
        package("libblkid").library("usr/lib", "libblkid.so.1", "1.1.0", &[]),
        package("libmount").library("usr/lib", "libmount.so.1", "1.1.0", &["libblkid.so.1"]),
        package("libsmartcols").library("usr/lib", "libsmartcols.so.1", "1.1.0", &[]),
        manual(tool("mount"), "mount")
            .program("bin/mount", &["libmount.so.1"])
            .with(|p| p.entry(TarEntry::directory("etc/fstab.d"))),
        manual(tool("umount"), "umount").program("bin/umount", &["libmount.so.1"]),
        tool("blkid").program("sbin/blkid", &["libblkid.so.1"]),
        tool("findmnt").program("usr/bin/findmnt", &["libmount.so.1", "libsmartcols.so.1"]),
        tool("util-linux-misc")
            .program("usr/bin/nsenter", &[])
            .program("usr/bin/unshare", &[])
            .program("sbin/fsck", &["libmount.so.1", "libblkid.so.1"])
            .program("sbin/mkfs", &["libuuid.so.1"]),
        package("util-linux").text("usr/share/doc/util-linux/README", "SAMPLE: needed by nobody\n"),
    ]
}
