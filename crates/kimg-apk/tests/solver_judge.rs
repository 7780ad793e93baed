//! The solver against the real apk 2.12.7 over worlds that people ask for: with Alpine 3.19's own indexes,
//! and with the assembled repository. What differs, and how that is checked, stands in `solver_worlds`, where
//! worlds are drawn by lot.

mod real;
mod worlds;

use std::sync::Arc;

use kimg_apk::Repository;

use worlds::judge::Judge;
use worlds::verdict::{Base, alpine_3_19, compare};

/// What images of Kubernetes nodes are made of, and what is hard to choose in Alpine 3.19.
const WORLDS_OF_ALPINE: &[&str] = &[
    "kubeadm kubelet",
    "kubelet kubeadm cni-plugins cri-tools",
    "kube-proxy ip6tables",
    "containerd runc",
    "iptables iproute2 ethtool socat conntrack-tools ebtables util-linux",
    "cmd:mount cmd:umount cmd:blkid cmd:modprobe",
    "cmd:iptables cmd:ip cmd:find /bin/sh",
    "nfs-utils e2fsprogs xfsprogs",
    "docs kubelet containerd",
    "openrc bash bash-completion docker",
    "/bin/sh dash-binsh",
    "busybox-binsh coreutils",
    "postgresql",
    "postgresql15 cmd:psql",
    "opensmtpd",
    "pc:librtmp",
    "java-jre-headless",
    "cmd:syslogd initramfs-generator linux-virt",
    "cmd:sway",
    "cmd:node py3-yaml",
    "kubelet=1.0",
    "kubelet~1.28 kubeadm>=1.28",
    "busybox !musl",
    "gthumb-full",
    "cmd:vi",
    "alpine-base !busybox",
];

/// Those of them in which apk 2.12 misses an `install_if`.
const MISSED_IN_ALPINE: &[&str] = &["cmd:sway"];

/// The same over the assembled repository.
const WORLDS_OF_THE_REPOSITORY: &[&str] = &[
    "kubelet",
    "kubeadm kubelet cni-plugins",
    "kube-proxy cmd:iptables cmd:ip6tables",
    "cmd:mount cmd:modprobe /bin/sh",
    "busybox ca-certificates",
    "containerd runc iproute2 socat ethtool ebtables",
    "zlib<1.2.13 kmod",
    "so:libz.so.1",
    "cmd:nothing",
];

/// All of them as apk does, but for these, in which it misses an `install_if`.
#[track_caller]
fn agreed(judge: &Judge, repositories: &[Repository], worlds: &[&str], missed: &[&str]) {
    let verdict = compare(judge, repositories, &Base::default(), worlds);
    let differ = [verdict.unexplained, verdict.only_apk_refuses].concat();
    assert!(differ.is_empty(), "{}", differ.join("\n"));
    assert_eq!(verdict.missed_install_if, missed);
}

#[test]
fn worlds_over_alpine_3_19_are_resolved_as_apk_does() {
    let Some((paths, repositories)) = alpine_3_19() else { return };
    let Some(judge) = Judge::new(&[&paths[0], &paths[1]]) else { return };
    agreed(&judge, &repositories, WORLDS_OF_ALPINE, MISSED_IN_ALPINE);
}

#[test]
fn worlds_over_the_assembled_repository_are_resolved_as_apk_does() {
    let Some(repository) = real::of_arch("x86_64") else { return };
    let Some(judge) = Judge::new(&[&repository.folder.join("APKINDEX.tar.gz")]) else { return };
    let repositories =
        [Repository { name: "assembled".to_owned(), tag: None, index: Arc::new(repository.index.clone()) }];
    agreed(&judge, &repositories, WORLDS_OF_THE_REPOSITORY, &[]);
}
