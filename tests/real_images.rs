//! Every variant on every architecture, built from real packages and judged by programs that know nothing of kimg.
//!
//! Programs are packed where UPX is installed: what starts here is what a node would start.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod program;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::OnceLock;

use kimg_core::Platform;
use kimg_testkit::{Layout, Root, both};
use program::{Built, CNI_PLUGINS};
use serde_json::Value;

/// The whole matrix, built once for all tests of this file.
struct Matrix {
    layout: Layout,
    indexes: BTreeMap<String, Built>,
    report: Value,
}

fn matrix() -> Option<&'static Matrix> {
    static MATRIX: OnceLock<Option<Matrix>> = OnceLock::new();
    MATRIX.get_or_init(build).as_ref()
}

fn build() -> Option<Matrix> {
    let real = kimg_testkit::real()?;
    let folder = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("real-images");
    if folder.exists() {
        fs_err::remove_dir_all(&folder).unwrap();
    }
    fs_err::create_dir_all(&folder).unwrap();
    let report = program::json(program::kimg_on(&real, &folder, "build").args(["--format", "json"]));
    let layout = Layout::open(folder.join("out"));
    let indexes = program::indexes(&layout);
    Some(Matrix { layout, indexes, report })
}

impl Matrix {
    /// The report's part on one image.
    fn image(&self, variant: &str, platform: Platform) -> &Value {
        let all = self.report["images"].as_array().unwrap();
        let platform = platform.to_string();
        all.iter().find(|i| i["variant"] == variant && i["platform"] == *platform).unwrap()
    }
}

/// A program, what it is started with, and what it has to say.
type Probe = (&'static [&'static str], &'static str);

const NODE: &[Probe] = &[
    (&["/usr/bin/kubelet", "--version"], "Kubernetes v1.20.2"),
    (&["mount", "--version"], "mount from util-linux"),
    (&["umount", "--version"], "umount from util-linux"),
    (&["blkid", "--version"], "blkid from util-linux"),
    (&["nsenter", "--version"], "nsenter from util-linux"),
    (&["socat", "-V"], "socat version"),
    (&["du", "--version"], "du (GNU coreutils)"),
    (&["find", "--version"], "find (GNU findutils)"),
];

const IPTABLES: &[Probe] = &[
    (&["iptables", "--version"], "iptables v1."),
    (&["iptables", "-m", "comment", "--help"], "comment match options"),
    (&["iptables", "-j", "MASQUERADE", "--help"], "MASQUERADE target options"),
    (&["ip6tables", "--version"], "ip6tables v1."),
    (&["ip6tables", "-m", "comment", "--help"], "comment match options"),
    (&["iptables-save", "--version"], "iptables-save v1."),
    (&["iptables-restore", "--version"], "iptables-restore v1."),
];

const KUBEADM: &[Probe] = &[
    (&["kubeadm", "version"], "v1.20.2"),
    (&["ip", "-V"], "ip utility, iproute2"),
    (&["tc", "-V"], "tc utility, iproute2"),
    (&["ethtool", "--version"], "ethtool version"),
    (&["uname", "-s"], "Linux"),
];

const KUBE_PROXY: &[Probe] = &[
    (&["/usr/local/bin/kube-proxy", "--version"], "Kubernetes v1.20.2"),
    (&["modprobe", "--version"], "kmod version"),
    (&["iptables-legacy-save", "--version"], "iptables-save v1."),
];

fn probes(variant: &str) -> Vec<Probe> {
    let mut all = IPTABLES.to_vec();
    if variant == "kube-proxy" {
        all.extend(KUBE_PROXY);
        return all;
    }
    all.extend(NODE);
    if variant.starts_with("kubeadm") {
        all.extend(KUBEADM);
    }
    all
}

/// The plugins that have to be in `/opt/cni/bin`.
fn plugins(variant: &str) -> BTreeSet<&'static str> {
    match variant {
        "cni" | "kubeadm-cni" => CNI_PLUGINS.into(),
        "flannel" => ["bridge", "host-local", "loopback", "portmap"].into(),
        _ => BTreeSet::new(),
    }
}

/// Reads the image with skopeo, unpacks it with umoci, and judges the root that comes out.
fn judge(variant: &str, platform: Platform) {
    let Some(matrix) = matrix() else { return };
    let built = &matrix.indexes[variant];
    let reference = format!("oci:{}:{}", matrix.layout.folder().display(), built.name);
    let Some(seen) = kimg_testkit::skopeo_inspect(&reference, platform) else { return };
    assert_eq!(seen["Architecture"], platform.oci_architecture());
    assert_eq!(seen["Os"], "linux");
    assert_eq!(seen["Labels"]["io.kimg.variant"], variant);
    assert_eq!(seen["Labels"]["org.opencontainers.image.version"], "v1.20.2");

    let folder = program::folder();
    let unpacked = folder.path().join("image");
    let Some(root) = kimg_testkit::umoci_unpack(matrix.layout.folder(), &built.name, platform, &unpacked)
    else {
        return;
    };
    starts_what_it_is_for(&root, variant);
    answers_as_cni_plugins_do(&root, variant);
    resolves_every_library(&root);
    starts_its_entrypoint(&root, matrix, built, variant);
}

fn starts_what_it_is_for(root: &Root, variant: &str) {
    for (words, said) in probes(variant) {
        let Some(output) = root.run(words, &[]) else { return };
        let text = both(&output);
        assert!(text.contains(said), "{words:?}: {}\n{text}", output.status);
        assert!(output.status.success(), "{words:?}: {}\n{text}", output.status);
    }
}

fn answers_as_cni_plugins_do(root: &Root, variant: &str) {
    let there: BTreeSet<String> = match fs_err::read_dir(root.on_disk("/opt/cni/bin")) {
        Ok(entries) => entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect(),
        Err(_) => BTreeSet::new(),
    };
    assert_eq!(there, plugins(variant).into_iter().map(str::to_owned).collect());
    for plugin in there {
        let path = format!("/opt/cni/bin/{plugin}");
        let asked = root.answer(&[&path], &[("CNI_COMMAND", "VERSION")], r#"{"cniVersion":"1.0.0"}"#);
        let Some(output) = asked else { return };
        assert!(output.status.success(), "{path}: {}", both(&output));
        let said: Value = serde_json::from_slice(&output.stdout).unwrap();
        let versions = said["supportedVersions"].as_array().unwrap();
        assert!(versions.contains(&"1.0.0".into()), "{path}: {said}");
    }
}

fn resolves_every_library(root: &Root) {
    let elfs = root.all_dynamic_elfs();
    // Of iptables alone there are thirty plugins: fewer files would mean that nothing was looked at.
    assert!(elfs.len() > 30, "{elfs:?}");
    let mut unresolved = Vec::new();
    for elf in &elfs {
        let Some(wrong) = root.musl_list(&elf.path) else { return };
        unresolved.extend(wrong.into_iter().map(|line| format!("{}: {line}", elf.path)));
        if elf.interpreter.is_some() {
            let Some(wrong) = root.lddtree(&elf.path) else { return };
            unresolved.extend(wrong.into_iter().map(|line| format!("{}: lddtree: {line}", elf.path)));
        }
    }
    assert!(unresolved.is_empty(), "{unresolved:#?}");
}

fn starts_its_entrypoint(root: &Root, matrix: &Matrix, built: &Built, variant: &str) {
    let manifest = matrix.layout.manifest(built.digest, root.platform()).unwrap();
    let config = matrix.layout.config(manifest);
    let entrypoint = config["config"]["Entrypoint"].as_array().unwrap();
    let Some(output) = root.run(&[entrypoint[0].as_str().unwrap(), "--version"], &[]) else { return };
    assert_eq!(String::from_utf8_lossy(&output.stdout), "Kubernetes v1.20.2\n");
    // The flag that made the kubelet exit from 1.24 on is one that 1.20 needs for its plugins.
    let network_plugin = entrypoint.contains(&"--network-plugin=cni".into());
    assert_eq!(network_plugin, !plugins(variant).is_empty(), "{entrypoint:?}");
}

macro_rules! every_program_and_library_is_there_in {
    ($($module:ident: $variant:literal),*) => {$(
        mod $module {
            use super::{Platform, judge};

            #[test]
            fn every_program_starts_and_every_library_resolves_on_amd64() {
                judge($variant, Platform::Amd64);
            }

            #[test]
            fn every_program_starts_and_every_library_resolves_on_arm64() {
                judge($variant, Platform::Arm64);
            }

            #[test]
            fn every_program_starts_and_every_library_resolves_on_armv7() {
                judge($variant, Platform::ArmV7);
            }
        }
    )*};
}

every_program_and_library_is_there_in! {
    plain: "plain",
    flannel: "flannel",
    cni: "cni",
    kubeadm: "kubeadm",
    kubeadm_cni: "kubeadm-cni",
    kube_proxy: "kube-proxy"
}

#[test]
fn what_no_repository_has_is_listed_and_nothing_else() {
    let Some(matrix) = matrix() else { return };
    let wanted: [(&str, &[&str]); 6] = [
        ("plain", &["conntrack"]),
        ("flannel", &["/usr/libexec/cni/flannel", "conntrack"]),
        ("cni", &["/usr/libexec/cni/flannel", "conntrack"]),
        ("kubeadm", &["conntrack", "crictl"]),
        ("kubeadm-cni", &["/usr/libexec/cni/flannel", "conntrack", "crictl"]),
        ("kube-proxy", &["conntrack", "ipset", "iptables-nft-save"]),
    ];
    for (variant, wanted) in wanted {
        for platform in Platform::DEFAULT {
            let missing = matrix.image(variant, platform)["missing"].as_array().unwrap();
            let mut names: Vec<_> = missing.iter().map(|m| m["what"].as_str().unwrap()).collect();
            names.sort_unstable();
            assert_eq!(names, wanted, "{variant} for {platform}");
        }
    }
}

#[test]
fn no_library_and_no_plugin_is_there_that_nothing_needs() {
    let Some(matrix) = matrix() else { return };
    let folder = program::folder();
    for variant in ["kubeadm-cni", "kube-proxy"] {
        let (name, unpacked) = (&matrix.indexes[variant].name, folder.path().join(variant));
        let root = kimg_testkit::umoci_unpack(matrix.layout.folder(), name, Platform::Amd64, &unpacked);
        let Some(root) = root else { return };
        let libraries = names(&root, "/lib").chain(names(&root, "/usr/lib")).filter(|path| {
            // Programs name musl by one of its own names, for which its loader opens no file.
            path.contains(".so") && !path.starts_with("/lib/ld-musl-") && !path.starts_with("/lib/libc.musl-")
        });
        let libraries: Vec<String> = libraries.collect();
        assert!(libraries.len() > 5, "{libraries:?}");
        for library in libraries {
            let away = root.on_disk("/away");
            fs_err::rename(root.on_disk(&library), &away).unwrap();
            let elfs = root.all_dynamic_elfs();
            let unresolved =
                elfs.iter().find(|elf| root.musl_list(&elf.path).is_some_and(|wrong| !wrong.is_empty()));
            assert!(unresolved.is_some(), "{variant}: nothing needs {library}");
            fs_err::rename(&away, root.on_disk(&library)).unwrap();
        }
        let plugins: Vec<String> = names(&root, "/usr/lib/xtables").collect();
        assert!(plugins.len() > 20, "{plugins:?}");
        let help = |plugin: &str| {
            let extension = plugin.rsplit('_').next().unwrap().trim_end_matches(".so");
            let words = match extension {
                "standard" => ["-j", "ACCEPT", "--help"],
                target if target.chars().all(char::is_uppercase) => ["-j", target, "--help"],
                _ => ["-m", extension, "--help"],
            };
            let program = if plugin.contains("ip6t_") { "ip6tables" } else { "iptables" };
            both(&root.run(&[&[program][..], &words].concat(), &[]).unwrap())
        };
        let said: Vec<String> = plugins.iter().map(|plugin| help(plugin)).collect();
        for plugin in &plugins {
            let (path, away) = (root.on_disk(plugin), root.on_disk("/away"));
            fs_err::rename(&path, &away).unwrap();
            let same = plugins.iter().zip(&said).all(|(other, said)| help(other) == *said);
            assert!(!same, "{variant}: {plugin} is not what any option is read from");
            fs_err::rename(&away, &path).unwrap();
        }
    }
}

/// The files and links of a folder, as paths inside the root.
fn names(root: &Root, folder: &str) -> impl Iterator<Item = String> {
    let mut found: Vec<String> = fs_err::read_dir(root.on_disk(folder))
        .unwrap()
        .map(Result::unwrap)
        .filter(|entry| !entry.path().is_dir())
        .map(|entry| format!("{folder}/{}", entry.file_name().to_str().unwrap()))
        .collect();
    found.sort();
    found.into_iter()
}

#[test]
fn every_blob_is_what_its_name_says_and_every_size_of_the_report_is_true() {
    let Some(matrix) = matrix() else { return };
    matrix.layout.check();
    for (variant, built) in &matrix.indexes {
        for platform in Platform::DEFAULT {
            let manifest = matrix.layout.manifest(built.digest, platform).unwrap();
            let told = matrix.image(variant, platform);
            assert_eq!(told["digest"], manifest.to_string());
            let layers = matrix.layout.layers(manifest);
            let compressed: u64 =
                layers.iter().map(|l| fs_err::metadata(matrix.layout.blob(*l)).unwrap().len()).sum();
            assert_eq!(told["compressed"], compressed, "{variant} for {platform}");
            let extracted: usize = layers
                .iter()
                .map(|l| {
                    std::process::Command::new("gzip")
                        .arg("-dc")
                        .arg(matrix.layout.blob(*l))
                        .output()
                        .unwrap()
                })
                .map(|unpacked| unpacked.stdout.len())
                .sum();
            assert_eq!(told["extracted"], extracted, "{variant} for {platform}");
        }
    }
}

#[test]
fn the_whole_matrix_is_pushed_and_skopeo_finds_each_platform_s_layers() {
    let Some(matrix) = matrix() else { return };
    let Some(registry) = kimg_testkit::DockerRegistry::plain() else { return };
    let folder = program::folder();
    let to = format!("{}/acme/kubelet", registry.name());
    program::success(program::kimg_talk(folder.path(), "push").arg(matrix.layout.folder()).arg(&to));
    let exact: Vec<_> =
        matrix.layout.names().into_iter().filter(|(name, _)| name.contains("alpine")).collect();
    assert_eq!(exact.len(), 6, "{exact:?}");
    for (name, index) in exact {
        for platform in Platform::DEFAULT {
            let reference = format!("docker://{}/acme/{name}", registry.name());
            let Some(seen) = kimg_testkit::skopeo_inspect(&reference, platform) else { return };
            let layers = matrix.layout.layers(matrix.layout.manifest(index, platform).unwrap());
            let layers: Vec<Value> = layers.iter().map(|layer| layer.to_string().into()).collect();
            assert_eq!(seen["Layers"], Value::Array(layers), "{name} for {platform}");
        }
    }
}

#[test]
fn a_node_that_has_plain_pulls_only_further_layers_for_the_others() {
    let Some(matrix) = matrix() else { return };
    for platform in Platform::DEFAULT {
        let layers = |variant: &str| {
            let manifest = matrix.layout.manifest(matrix.indexes[variant].digest, platform).unwrap();
            // The last layer records what is in the image, so it is each image's own.
            let mut layers = matrix.layout.layers(manifest);
            layers.pop();
            layers
        };
        let plain = layers("plain");
        for variant in ["flannel", "cni", "kubeadm", "kubeadm-cni"] {
            assert!(layers(variant).starts_with(&plain), "{variant} for {platform}");
        }
    }
}

#[test]
fn the_real_apk_reads_the_package_database_and_finds_every_file_as_it_was_recorded() {
    let Some(real) = kimg_testkit::real() else { return };
    let Some(matrix) = matrix() else { return };
    for (variant, platform) in [("kubeadm-cni", Platform::Amd64), ("kube-proxy", Platform::ArmV7)] {
        let Some(alpine) = kimg_testkit::AlpineRoot::new(&real) else { return };
        let folder = program::folder();
        let unpacked = folder.path().join("image");
        let name = &matrix.indexes[variant].name;
        let unpacked = kimg_testkit::umoci_unpack(matrix.layout.folder(), name, platform, &unpacked);
        let Some(root) = unpacked else { return };
        alpine.share(root.folder(), "/image");
        let Some(packages) = alpine.apk_lines(&["--root", "/image", "info"]) else { return };
        let contributors = matrix.image(variant, platform)["contributors"].as_array().unwrap();
        let named: BTreeSet<&str> = contributors.iter().filter_map(|c| c["name"].as_str()).collect();
        assert!(packages.iter().any(|p| p == "musl") && packages.len() > 5, "{packages:?}");
        let unknown: Vec<_> = packages.iter().filter(|p| !named.contains(p.as_str())).collect();
        assert!(unknown.is_empty(), "apk sees packages that the report does not name: {unknown:?}");
        // `U` a changed file, `D` a missing one, `X` one whose mode differs: with no difference there is no such line.
        let audit = ["--root", "/image", "audit", "--system", "--recursive", "--check-permissions"];
        let Some(differences) = alpine.apk_lines(&audit) else { return };
        let wrong: Vec<_> = differences.iter().filter(|line| !line.starts_with("A ")).collect();
        assert!(wrong.is_empty(), "{variant} for {platform}: {wrong:#?}");
    }
}
