//! What people get for a machine, as snapshots; and what holds for every version and runtime.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;

use kimg_core::variant::{CgroupDriver, Runtime, written};
use kimg_core::{KubernetesVersion, Platform, Variant, variant};
use kimg_node::manifest::{Manifest, ProxyMode};
use kimg_node::{Choices, Engine, JoinWords, Node, Wish, cni, compose, oci, run, unit};

const WRITTEN: [&str; 8] = [
    include_str!("../../../variants/plain.toml"),
    include_str!("../../../variants/flannel.toml"),
    include_str!("../../../variants/cni.toml"),
    include_str!("../../../variants/kubeadm.toml"),
    include_str!("../../../variants/kubeadm-cni.toml"),
    include_str!("../../../variants/kube-proxy.toml"),
    include_str!("../../../variants/portable-base.toml"),
    include_str!("../../../variants/portable.toml"),
];

const NODES: [&str; 5] = ["plain", "flannel", "cni", "kubeadm", "kubeadm-cni"];

fn resolved(name: &str) -> Variant {
    let all: BTreeMap<String, written::Variant> = WRITTEN
        .iter()
        .map(|text| toml::from_str::<written::Variant>(text).unwrap())
        .map(|variant| (variant.name.clone(), variant))
        .collect();
    variant::resolve(name, &all).unwrap()
}

fn version(text: &str) -> KubernetesVersion {
    text.parse().unwrap()
}

fn node(name: &str, kubernetes: &str, choices: Choices) -> Node {
    let variant = resolved(name);
    let suffix = variant.tag_suffix.as_deref().map(|suffix| format!("-{suffix}")).unwrap_or_default();
    let image = format!("ghcr.io/acme/kubelet:v{kubernetes}{suffix}");
    let wish = Wish { variant: &variant, version: version(kubernetes), image, choices, join: None };
    Node::new(&wish).unwrap()
}

/// Every minor version from the first that is supported to ones that do not exist yet.
fn every_minor() -> impl Iterator<Item = KubernetesVersion> {
    (18..=45).map(|minor| KubernetesVersion::new(1, minor, 3))
}

#[test]
fn docker_with_plugins_of_its_kubelet_explained() {
    insta::assert_snapshot!(run(&node("cni", "1.23.17", Choices::of(Runtime::Docker))).to_shell(true));
}

#[test]
fn containerd_with_plugins_of_its_own() {
    insta::assert_snapshot!(run(&node("cni", "1.34.2", Choices::of(Runtime::Containerd))).to_shell(false));
}

#[test]
fn podman_beside_crio_joins_by_kubeadm() {
    let variant = resolved("kubeadm-cni");
    let join = ["kubeadm", "join", "10.0.0.1:6443", "--token", "abcdef.0123456789abcdef"].map(str::to_owned);
    let wish = Wish {
        variant: &variant,
        version: version("1.30.1"),
        image: "ghcr.io/acme/kubelet:v1.30.1-kubeadm-cni".into(),
        choices: Choices { cgroup_driver: CgroupDriver::Systemd, ..Choices::of(Runtime::Crio) },
        join: Some(JoinWords::new(&join).unwrap()),
    };
    insta::assert_snapshot!(run(&Node::new(&wish).unwrap()).to_shell(true));
}

#[test]
fn units_for_each_engine() {
    let units = Runtime::ALL.map(|runtime| unit::service(&node("plain", "1.34.2", Choices::of(runtime))));
    insta::assert_snapshot!(units.join("\n# ---\n\n"));
}

#[test]
fn a_quadlet() {
    insta::assert_snapshot!(unit::quadlet(&node("plain", "1.34.2", Choices::of(Runtime::Crio))));
}

#[test]
fn a_compose_file() {
    insta::assert_snapshot!(compose::file(&node("flannel", "1.23.17", Choices::of(Runtime::Docker))));
}

#[test]
fn kube_proxy_and_the_rights_of_nodes() {
    let manifest = Manifest {
        version: version("1.34.2"),
        image: "ghcr.io/acme/kube-proxy:v1.34.2".into(),
        platforms: Platform::DEFAULT.to_vec(),
        server: "https://10.0.0.1:6443".into(),
        cluster_cidr: Some("10.244.0.0/16".into()),
        mode: ProxyMode::Ipvs,
        command: resolved("kube-proxy").entrypoint_for(&version("1.34.2")),
    };
    insta::assert_snapshot!(manifest.to_yaml().unwrap());
    let nowhere = Manifest { server: "10.0.0.1".into(), ..manifest };
    assert!(nowhere.to_yaml().unwrap_err().to_string().contains("no address of an API server"));
}

#[test]
fn a_portable_kubelet_is_told_its_runtime_once() {
    let portable = resolved("portable");
    for version in every_minor() {
        let words = portable.entrypoint_for(&version);
        let count = |flag: &str| words.iter().filter(|word| word.split('=').next() == Some(flag)).count();
        assert_eq!(count("--container-runtime-endpoint"), 1, "{version}: {words:?}");
        assert_eq!(count("--container-runtime"), usize::from(version.minor() < 27), "{version}: {words:?}");
        assert_eq!(count("--network-plugin"), usize::from(version.minor() < 24), "{version}: {words:?}");
    }
}

#[test]
fn flags_come_and_go_with_the_version() {
    for (name, runtime) in NODES.iter().flat_map(|name| Runtime::ALL.map(|runtime| (*name, runtime))) {
        for version in every_minor() {
            let node = node(name, &version.to_string()[1..], Choices::of(runtime));
            let words = node.command();
            let has = |flag: &str| words.iter().any(|word| word.split('=').next() == Some(flag));
            let with_plugins = !["plain", "kubeadm"].contains(&name);
            let before = |minor| version.minor() < minor;
            let what = format!("{name} {version} {runtime}: {words:?}");
            // Dockershim and its flags left with 1.24, the choice of a runtime with 1.27.
            assert_eq!(has("--network-plugin"), with_plugins && before(24), "{what}");
            assert_eq!(has("--container-runtime"), runtime != Runtime::Docker && before(24), "{what}");
            // From 1.27 on the configuration names containerd; before 1.24 nothing names Docker.
            let endpoint = match runtime {
                Runtime::Docker => !before(24),
                Runtime::Containerd => before(27),
                Runtime::Crio => true,
            };
            assert_eq!(has("--container-runtime-endpoint"), endpoint, "{what}");
            for gone in
                ["--cni-bin-dir", "--cni-conf-dir", "--pod-infra-container-image", "--docker-endpoint"]
            {
                assert!(!has(gone), "{what}");
            }
            for always in ["--config", "--register-node", "--bootstrap-kubeconfig", "--kubeconfig"] {
                assert!(has(always), "{what}");
            }
            let (_, config) = node.config.as_ref().unwrap();
            assert_eq!(
                config.contains("\ncontainerRuntimeEndpoint: unix:///"),
                !before(27),
                "{what}\n{config}"
            );
            assert_eq!(
                node.plugins.is_some(),
                with_plugins && (runtime != Runtime::Docker || !before(24)),
                "{what}"
            );
        }
    }
}

#[test]
fn every_endpoint_that_is_named_lies_on_a_mounted_path() {
    for (runtime, version) in Runtime::ALL.into_iter().flat_map(|r| every_minor().map(move |v| (r, v))) {
        let node = node("plain", &version.to_string()[1..], Choices::of(runtime));
        let config = node.config.as_ref().map(|(_, text)| text.clone()).unwrap();
        let mut words = node.command().into_iter().rev();
        let flag = words.find_map(|word| word.strip_prefix("--container-runtime-endpoint=unix://"));
        let field = config.lines().find_map(|line| line.strip_prefix("containerRuntimeEndpoint: unix://"));
        // Dockershim needs no name of it.
        let socket = flag.or(field).unwrap_or("/var/run/docker.sock");
        assert!(flag.is_none() || field.is_none_or(|field| Some(field) == flag), "{version} {runtime}");
        let mounted = node
            .mounts
            .iter()
            .any(|mount| socket == mount.path || socket.starts_with(&format!("{}/", mount.path)));
        assert!(mounted, "{version} {runtime}: {socket}");
    }
}

#[test]
fn every_rule_that_depends_on_the_version_says_where_that_is_written() {
    for name in NODES.into_iter().chain(["kube-proxy"]) {
        let variant = resolved(name);
        let ranges = variant.entrypoint.iter().map(|rule| (&rule.range, &rule.source, rule.words.join(" ")));
        let files = variant.files.iter().map(|rule| (&rule.range, &rule.source, rule.path.to_string()));
        let mut rules = 0;
        for (range, source, what) in ranges.chain(files) {
            rules += 1;
            let source = source.as_deref().unwrap_or_default();
            assert!(source.starts_with("https://"), "{name}: {what} {range:?}");
        }
        assert!(rules >= 2, "{name}");
    }
}

#[test]
fn only_what_the_machine_has_is_mounted() {
    let paths = |choices: Choices| -> Vec<String> {
        node("plain", "1.34.2", choices).mounts.into_iter().map(|mount| mount.path).collect()
    };
    let of = Choices::of(Runtime::Containerd);
    let usual = paths(of.clone());
    assert!(usual.contains(&"/etc/machine-id".into()) && !usual.contains(&"/var/lib/dbus/machine-id".into()));
    assert!(
        !usual.iter().any(|path| path.contains("docker") || path.contains("crio") || path == "/run/systemd")
    );
    let other = Choices {
        without: vec!["/etc/machine-id".into()],
        with: vec!["/var/lib/dbus/machine-id".into(), "/srv/data".into()],
        snapshotter: "native".into(),
        cgroup_driver: CgroupDriver::Systemd,
        ..of.clone()
    };
    let other = paths(other);
    assert!(!other.contains(&"/etc/machine-id".into()) && other.contains(&"/var/lib/dbus/machine-id".into()));
    assert!(other.contains(&"/srv/data".into()) && other.contains(&"/run/systemd".into()));
    assert!(other.contains(&"/var/lib/containerd/io.containerd.snapshotter.v1.native".into()));
    assert!(other.is_sorted(), "a mount hides what was mounted below it before");
}

#[test]
fn what_can_t_be_meant_is_refused_with_a_hint() {
    let variant = resolved("plain");
    let refused = |change: &dyn Fn(&mut Wish<'_>)| {
        let mut wish = Wish {
            variant: &variant,
            version: version("1.34.2"),
            image: "kubelet:v1.34.2".into(),
            choices: Choices::of(Runtime::Docker),
            join: None,
        };
        change(&mut wish);
        Node::new(&wish).unwrap_err().to_string()
    };
    assert!(refused(&|wish| wish.image = "--privileged".into()).contains("no image"));
    assert!(refused(&|wish| wish.image = "a b".into()).contains("no image"));
    assert!(refused(&|wish| wish.choices.name = "../x".into()).contains("name of a container"));
    assert!(refused(&|wish| wish.choices.snapshotter = "a:b".into()).contains("snapshotter"));
    assert!(refused(&|wish| wish.choices.with = vec!["/a:/b".into()]).contains("can't be mounted"));
    assert!(refused(&|wish| wish.choices.with = vec!["/a/../b".into()]).contains("can't be mounted"));
    let join = JoinWords::new(&["10.0.0.1:6443".into()]).unwrap();
    assert!(refused(&|wish| wish.join = Some(join.clone())).contains("no kubeadm"));
    assert!(JoinWords::new(&["kubeadm".into(), "join".into()]).is_err());
    let plain = node("plain", "1.34.2", Choices::of(Runtime::Docker));
    assert!(cni::copy(&plain).unwrap_err().to_string().contains("no CNI plugins"));
    let dockershim = node("cni", "1.23.17", Choices::of(Runtime::Docker));
    assert!(cni::copy(&dockershim).is_err());
}

#[test]
fn the_spec_shares_what_is_mounted_below_the_kubelet_s_folder() {
    let node = node("plain", "1.20.2", Choices::of(Runtime::Containerd));
    let spec = oci::spec(&node, &node.name, &node.command());
    assert_eq!(spec["linux"]["rootfsPropagation"], "rshared");
    let mounts = spec["mounts"].as_array().unwrap();
    let of =
        |path: &str| mounts.iter().find(|mount| mount["destination"] == path).unwrap()["options"].to_string();
    assert!(of("/var/lib/kubelet").contains("rshared") && of("/etc/machine-id").contains("ro"));
    assert_eq!(
        serde_json::from_str::<serde_json::Value>(&oci::text(&node, &node.name, &node.command())).unwrap(),
        spec
    );
    assert_eq!(node.engine, Engine::Ctr);
}
