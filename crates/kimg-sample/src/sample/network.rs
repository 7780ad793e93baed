//! Packet filters and network tools, with plugins that no need leads to.

use super::maker::{Maker, SamplePackage};
use crate::package::TarEntry;

const IPTABLES: &str = "1.8.11-r1";
const IPROUTE2: &str = "6.17.0-r0";
const XTABLES: &str = "libxtables.so.12";

/// Matches and targets, files in `/usr/lib/xtables`: those that rules ask for, and three that nobody needs
/// (ipvs, time, u32).
const PLUGINS: [&str; 31] = [
    "libip6t_REJECT",
    "libip6t_hl",
    "libip6t_icmp6",
    "libip6t_rt",
    "libipt_REJECT",
    "libipt_icmp",
    "libxt_CONNMARK",
    "libxt_CT",
    "libxt_LOG",
    "libxt_MARK",
    "libxt_NAT",
    "libxt_addrtype",
    "libxt_comment",
    "libxt_connmark",
    "libxt_conntrack",
    "libxt_ipvs",
    "libxt_limit",
    "libxt_mark",
    "libxt_multiport",
    "libxt_nfacct",
    "libxt_physdev",
    "libxt_recent",
    "libxt_rpfilter",
    "libxt_sctp",
    "libxt_set",
    "libxt_standard",
    "libxt_statistic",
    "libxt_tcp",
    "libxt_time",
    "libxt_u32",
    "libxt_udp",
];

/// Names for the same plugin.
const PLUGIN_LINKS: [(&str, &str); 6] = [
    ("libxt_DNAT", "libxt_NAT"),
    ("libxt_MASQUERADE", "libxt_NAT"),
    ("libxt_NOTRACK", "libxt_CT"),
    ("libxt_REDIRECT", "libxt_NAT"),
    ("libxt_SNAT", "libxt_NAT"),
    ("libxt_state", "libxt_conntrack"),
];

pub(super) fn packages(maker: Maker) -> Vec<SamplePackage> {
    let mut packages = firewall(maker);
    packages.extend(tools(maker));
    packages
}

/// iptables as Alpine cuts it from 3.19 on: the nft form is the default, the legacy form a package of its own.
fn firewall(maker: Maker) -> Vec<SamplePackage> {
    let package = |name: &str| maker.package(name, IPTABLES, "iptables").with(|p| p.origin("iptables"));

    let mut iptables = package("iptables")
        .program("usr/sbin/xtables-nft-multi", &[XTABLES, "libmnl.so.0", "libnftnl.so.11"])
        .text("etc/ethertypes", "# SAMPLE\nIPv4	0800\nARP	0806\nIPv6	86DD\n")
        .with(|p| {
            let script = "#!/bin/sh\n# SAMPLE: needed by nobody\n";
            p.depends(["/bin/sh"]).entry(TarEntry::program("usr/sbin/iptables-apply", script))
        });
    let mut legacy = package("iptables-legacy")
        .program("usr/sbin/xtables-legacy-multi", &[XTABLES, "libip4tc.so.2", "libip6tc.so.2"])
        .with(|p| p.depends([format!("iptables={IPTABLES}")]));
    for family in ["iptables", "ip6tables"] {
        for what in ["", "-save", "-restore"] {
            iptables = iptables
                .link(&format!("usr/sbin/{family}{what}"), "xtables-nft-multi")
                .link(&format!("usr/sbin/{family}-nft{what}"), "xtables-nft-multi");
            legacy = legacy.link(&format!("usr/sbin/{family}-legacy{what}"), "xtables-legacy-multi");
        }
    }
    for name in PLUGINS {
        iptables = iptables.plugin(&format!("usr/lib/xtables/{name}.so"), &[XTABLES]);
    }
    for (name, target) in PLUGIN_LINKS {
        iptables = iptables.link(&format!("usr/lib/xtables/{name}.so"), &format!("{target}.so"));
    }

    vec![
        iptables,
        legacy,
        package("libxtables").library("usr/lib", XTABLES, "12.7.0", &[]),
        package("libip4tc").library("usr/lib", "libip4tc.so.2", "2.0.0", &[]),
        package("libip6tc").library("usr/lib", "libip6tc.so.2", "2.0.0", &[]),
        maker.package("libmnl", "1.0.5-r2", "libmnl").library("usr/lib", "libmnl.so.0", "0.2.0", &[]),
        maker.package("libnftnl", "1.3.0-r0", "libnftnl").library(
            "usr/lib",
            "libnftnl.so.11",
            "11.7.0",
            &["libmnl.so.0"],
        ),
    ]
}

fn tools(maker: Maker) -> Vec<SamplePackage> {
    let iproute2 = |name: &str| maker.package(name, IPROUTE2, "iproute2").with(|p| p.origin("iproute2"));
    vec![
        maker
            .package("ipset", "7.24-r0", "ipset")
            .library("usr/lib", "libipset.so.13", "13.8.0", &["libmnl.so.0"])
            .program("usr/sbin/ipset", &["libipset.so.13", "libmnl.so.0"]),
        maker.package("libnfnetlink", "1.0.2-r3", "libnfnetlink").library(
            "usr/lib",
            "libnfnetlink.so.0",
            "0.2.0",
            &[],
        ),
        maker.package("libnetfilter_conntrack", "1.1.0-r0", "libnetfilter_conntrack").library(
            "usr/lib",
            "libnetfilter_conntrack.so.3",
            "3.8.0",
            &["libnfnetlink.so.0", "libmnl.so.0"],
        ),
        maker
            .package("conntrack-tools", "1.4.8-r0", "conntrack-tools")
            .program("usr/sbin/conntrack", &["libnetfilter_conntrack.so.3", "libmnl.so.0"])
            .program("usr/sbin/conntrackd", &["libnetfilter_conntrack.so.3", "libnfnetlink.so.0"]),
        maker.package("ethtool", "6.15-r0", "ethtool").program("usr/sbin/ethtool", &["libmnl.so.0"]),
        maker.package("libcrypto3", "3.5.4-r0", "OpenSSL").library("usr/lib", "libcrypto.so.3", "3", &[]),
        maker.package("libssl3", "3.5.4-r0", "OpenSSL").library(
            "usr/lib",
            "libssl.so.3",
            "3",
            &["libcrypto.so.3"],
        ),
        maker
            .package("socat", "1.8.0.3-r1", "socat")
            .program("usr/bin/socat1", &["libssl.so.3", "libcrypto.so.3"])
            .link("usr/bin/socat", "socat1"),
        iproute2("iproute2")
            .program("usr/sbin/bridge", &["libmnl.so.0"])
            .with(|p| p.depends(["iproute2-minimal", "iproute2-tc"])),
        iproute2("iproute2-minimal").program("sbin/ip", &["libmnl.so.0"]),
        iproute2("iproute2-tc").program("sbin/tc", &["libmnl.so.0", XTABLES]),
        maker
            .package("kmod", "34.2-r0", "kmod")
            .program("bin/kmod", &["libcrypto.so.3", "libz.so.1"])
            .link("sbin/modprobe", "../bin/kmod")
            .link("sbin/insmod", "../bin/kmod"),
    ]
}
