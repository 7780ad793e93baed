//! What people read when nothing fits: whole texts, over Alpine 3.19's own indexes.

mod real;
mod worlds;

use kimg_apk::{InstalledPackage, Record, Solver};
use kimg_core::Classified;

use worlds::verdict::{alpine_3_19, wishes};

/// A world, the message, and the hint.
const REFUSED: &[(&str, &str, Option<&str>)] = &[
    (
        "busybox !musl",
        "nothing fits `so:libc.musl-x86_64.so.1`, wanted by busybox-1.36.1-r19 → world\n  \
         musl-1.2.4_git20230717-r4 is against `!musl`, wanted by world",
        None,
    ),
    (
        "kubelet !iptables",
        "nothing fits `iptables`, wanted by kubelet-1.28.4-r3 → world\n  \
         iptables-1.8.10-r3 is against `!iptables`, wanted by world",
        None,
    ),
    (
        "kubelet~1.27 kubeadm~1.28",
        "nothing fits `kubelet~1.27`, wanted by world\n  \
         kubelet-1.28.4-r3 is another version",
        None,
    ),
    (
        "gnome !gtk4.0",
        "nothing fits `so:libgtk-4.so.1`, wanted by gnome-control-center-45.2-r0 → gnome-45.0-r0 → world\n  \
         gtk4.0-4.12.5-r0 is against `!gtk4.0`, wanted by world",
        None,
    ),
    (
        "nginx !libssl3",
        "nothing fits `nginx`, wanted by world\n  \
         nginx-1.24.0-r16 was tried: nothing fits `so:libssl.so.3`, wanted by nginx-1.24.0-r16 → world\n    \
         libssl3-3.1.5-r0 is against `!libssl3`, wanted by world\n  \
         openresty-1.21.4.3-r0 was tried: nothing fits `so:libssl.so.3`, wanted by openresty-1.21.4.3-r0 → world\n    \
         libssl3-3.1.5-r0 is against `!libssl3`, wanted by world",
        None,
    ),
    (
        "openssh-client !openssh-client-default !openssh-client-krb5",
        "nothing fits `openssh-client`, wanted by world\n  \
         openssh-client-default-9.6_p1-r0 is against `!openssh-client-default`, wanted by world\n  \
         openssh-client-krb5-9.6_p1-r0 is against `!openssh-client-krb5`, wanted by world",
        None,
    ),
    (
        "nodejs-current=21.7.2-r0 nodejs<21",
        "nothing fits `nodejs<21`, wanted by world\n  \
         nodejs-20.12.1-r0 can't be beside nodejs-current-21.7.2-r0, wanted by world: both are `cmd:node`\n  \
         nodejs-current-21.7.2-r0 provides nodejs without a version",
        None,
    ),
    (
        "mariadb-client cmd:mysql<8",
        "nothing fits `mariadb-client`, wanted by world\n  \
         mariadb-client-10.11.6-r0 is against `cmd:mysql<8`, wanted by world",
        None,
    ),
    (
        "docker !containerd",
        "nothing fits `docker`, wanted by world\n  \
         docker-25.0.5-r1 was tried: nothing fits `containerd`, wanted by docker-engine-25.0.5-r1 → docker-25.0.5-r1 → world\n    \
         containerd-1.7.10-r3 is against `!containerd`, wanted by world\n  \
         podman-docker-4.8.3-r3 only shares the name, and is not chosen by itself",
        None,
    ),
    ("kubelt", "no package provides `kubelt`, wanted by world", Some("there is `kubelet`, `cmd:kubelet`")),
];

#[test]
fn a_refusal_names_the_wishes_that_collide_and_the_packages_between() {
    let Some((_, repositories)) = alpine_3_19() else { return };
    let solver = Solver::for_arch(&repositories, "x86_64");
    let mut differ = Vec::new();
    for (world, message, hint) in REFUSED {
        let (text, found_hint) = match solver.solve(&wishes(world), &[]) {
            Err(error) => (error.to_string().replacen("can't choose packages: ", "", 1), error.hint()),
            Ok(_) => ("an answer".to_owned(), None),
        };
        if text != *message || found_hint.as_deref() != *hint {
            differ.push(format!("{world}\n{text}\nhint: {found_hint:?}\n"));
        }
    }
    assert!(differ.is_empty(), "{}", differ.join("\n"));
}

#[test]
fn a_refusal_says_what_is_in_the_way_because_it_is_installed() {
    let Some((_, repositories)) = alpine_3_19() else { return };
    let mut old = Record::new("libssl3", "3.0.1-r0".parse().unwrap());
    old.provides.push("so:libssl.so.3=3".parse().unwrap());
    let installed = [InstalledPackage::new(old)];
    let solver = Solver::for_arch(&repositories, "x86_64");
    let error = solver.solve_onto(&installed, &wishes("curl libssl3=3.0.1-r0 openssl"), &[]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "can't choose packages: libssl3-3.0.1-r0, wanted by world, is against `libssl3=3.1.5-r0`, wanted by openssl-3.1.5-r0 → world"
    );
}
