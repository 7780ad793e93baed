//! Every variant over the genuine, signed indexes of Alpine 3.19 (main and community, more than 20,000 packages):
//! what the default source is like. There are no packages to them here, so this goes as far as the choice.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::sync::Arc;

use kimg_apk::{Limits, Repository, Solver, read_index};
use kimg_build::variants::Variants;
use kimg_build::wishes::wishes;
use kimg_core::{Platform, variant};
use kimg_source::keys;

fn alpine() -> Option<Vec<Repository>> {
    let real = kimg_testkit::real()?;
    let keys = keys::alpine(Platform::Amd64).unwrap();
    let repository = |name: &str| {
        let path = real.dir().join("index/v3.19").join(name).join("x86_64/APKINDEX.tar.gz");
        let index = read_index(&fs_err::read(path).unwrap(), &keys, &Limits::default()).unwrap();
        Repository { name: name.into(), tag: None, index: Arc::new(index) }
    };
    Some(["main", "community"].map(repository).into())
}

#[test]
fn alpine_has_everything_that_any_variant_wants_and_it_goes_together() {
    let Some(repositories) = alpine() else { return };
    let solver = Solver::for_arch(&repositories, "x86_64");
    let known = Variants::built_in().unwrap();
    for name in &known.order {
        let variant = variant::resolve(name, &known.written).unwrap();
        let wanted = wishes(&variant, Platform::Amd64, &solver, &[]).unwrap();
        assert_eq!(wanted.version.to_string(), "v1.28.4", "{name}");
        // conntrack-tools, ipset, cri-tools, flannel's plugin and both forms of iptables: nothing optional is missing.
        assert_eq!(wanted.missing, [], "{name}");
        let chosen = solver.solve(&wanted.world, &[]).unwrap();
        let packages: BTreeSet<_> = chosen.packages.iter().map(|p| p.record.name.as_str()).collect();
        assert!(packages.is_superset(&expected(name)), "{name}: {packages:?}");
    }
}

/// Packages that have to be among the chosen ones. In 3.19 `mount` and `nsenter` have left util-linux's own package,
/// and du, find and socat are wanted by older versions of Kubernetes only.
fn expected(variant: &str) -> BTreeSet<&'static str> {
    let mut packages: BTreeSet<_> = match variant {
        "kube-proxy" => {
            ["kube-proxy", "iptables", "iptables-legacy", "ipset", "conntrack-tools", "kmod"].into()
        }
        _ => ["kubelet", "mount", "umount", "blkid", "util-linux-misc", "iptables", "conntrack-tools"].into(),
    };
    if variant.starts_with("kubeadm") {
        packages.extend(["kubeadm", "cri-tools", "socat", "ethtool"]);
    }
    if variant.ends_with("cni") || variant == "flannel" {
        packages.extend(["cni-plugins", "cni-plugin-flannel"]);
    }
    packages
}
