//! Kubernetes' own programs, the CNI plugins, crictl, and a container runtime.

use super::KUBERNETES_VERSION;
use super::maker::{Maker, SamplePackage};

/// The plugins of cni-plugins 1.8.0.
const CNI_PLUGINS: [&str; 18] = [
    "bandwidth",
    "bridge",
    "dhcp",
    "dummy",
    "firewall",
    "host-device",
    "host-local",
    "ipvlan",
    "loopback",
    "macvlan",
    "portmap",
    "ptp",
    "sbr",
    "static",
    "tap",
    "tuning",
    "vlan",
    "vrf",
];

/// As in Alpine: kubelet and the CNI plugins are linked against musl, the others are static.
pub(super) fn packages(maker: Maker) -> Vec<SamplePackage> {
    let version = format!("{KUBERNETES_VERSION}-r0");
    let package = |name: &str| maker.package(name, &version, "Kubernetes").with(|p| p.origin("kubernetes"));

    let mut cni_plugins = maker.package("cni-plugins", "1.8.0-r0", "the CNI plugins");
    for name in CNI_PLUGINS {
        cni_plugins = cni_plugins.program(&format!("usr/libexec/cni/{name}"), &[]);
    }
    vec![
        package("kubelet")
            .program("usr/bin/kubelet", &[])
            .text("usr/share/doc/kubelet/README", "SAMPLE: needed by nobody\n")
            .with(|p| p.depends(["iptables"])),
        // Comes by itself where openrc is; here it is nowhere.
        package("kubelet-openrc")
            .text("etc/conf.d/kubelet", "# SAMPLE: needed by nobody\n")
            .with(|p| p.depends(["openrc"]).install_if(["openrc".to_owned(), format!("kubelet={version}")])),
        package("kubeadm")
            .static_program("usr/bin/kubeadm")
            .with(|p| p.depends(["iproute2", "socat", "ethtool", "conntrack-tools", "cri-tools"])),
        package("kube-proxy").static_program("usr/bin/kube-proxy").with(|p| p.depends(["iptables"])),
        // Needed by nobody.
        package("kubectl").static_program("usr/bin/kubectl"),
        maker
            .package("cri-tools", "1.34.0-r0", "cri-tools")
            .static_program("usr/bin/crictl")
            .static_program("usr/bin/critest"),
        maker
            .package("containerd", "2.2.0-r0", "containerd")
            .static_program("usr/bin/containerd")
            .static_program("usr/bin/containerd-shim-runc-v2")
            .with(|p| p.depends(["runc"])),
        maker.package("runc", "1.4.0-r0", "runc").static_program("usr/bin/runc"),
        cni_plugins,
        maker
            .package("cni-plugin-flannel", "1.7.1-r0", "flannel's CNI plugin")
            .static_program("usr/libexec/cni/flannel"),
    ]
}
