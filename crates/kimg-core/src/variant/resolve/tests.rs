use super::*;

fn variants(texts: &[&str]) -> BTreeMap<String, written::Variant> {
    texts
        .iter()
        .map(|t| toml::from_str::<written::Variant>(t).unwrap())
        .map(|v| (v.name.clone(), v))
        .collect()
}

const PLAIN: &str = r#"
    name = "plain"
    description = "kubelet"
    image = "kubelet"
    version-from = "kubelet"
    layer = [{ name = "base", holds = "base files" }, { name = "kubelet", holds = "kubelet" }]
    entrypoint = [{ words = ["/usr/bin/kubelet"] }]
    [[root]]
    command = "kubelet"
    reason = "the node agent"
    layer = "kubelet"
    daemon = true
    [[root]]
    command = "mount"
    reason = "mounts volumes"
    layer = "base"
"#;
const CNI: &str = r#"
    name = "cni"
    description = "kubelet and plugins"
    extends = ["plain"]
    tag-suffix = "cni"
    layer = [{ name = "cni", holds = "plugins" }]
    entrypoint = [{ before = "1.24", words = ["--network-plugin=cni"] }]
    root = [{ path = "/usr/libexec/cni/*", install = "/opt/cni/bin", reason = "a plugin", layer = "cni" }]
"#;
const BOTH: &str = r#"
    name = "both"
    description = "a diamond"
    extends = ["cni", "plain"]
"#;

#[test]
fn a_variant_takes_what_it_extends_once_and_sorts_roots_by_layer() {
    let both = resolve("both", &variants(&[PLAIN, CNI, BOTH])).unwrap();
    let names: Vec<_> = both.roots.iter().map(Root::name).collect();
    assert_eq!(names, ["mount", "kubelet", "/usr/libexec/cni/*"]);
    assert_eq!((both.image.as_str(), both.tag_suffix), ("kubelet", None));
    assert_eq!(both.layers.len(), 3);
}

#[test]
fn a_root_named_for_other_versions_stands_beside_the_first() {
    let later = r#"
        name = "later"
        description = "mount moves"
        extends = ["plain"]
        root = [{ command = "mount", reason = "elsewhere", layer = "kubelet", since = "1.24" }]
    "#;
    let plain =
        PLAIN.replace("reason = \"mounts volumes\"", "reason = \"mounts volumes\"\nbefore = \"1.24\"");
    let later = resolve("later", &variants(&[&plain, later])).unwrap();
    let layer_of_mount = |version: &str| {
        let roots = later.roots_for(&version.parse().unwrap());
        roots.iter().filter(|r| r.name() == "mount").map(|r| r.layer.clone()).collect::<Vec<_>>()
    };
    assert_eq!(layer_of_mount("1.20.2"), ["base"]);
    assert_eq!(layer_of_mount("1.24.0"), ["kubelet"]);
}

#[test]
fn words_come_and_go_with_the_version() {
    let cni = resolve("cni", &variants(&[PLAIN, CNI])).unwrap();
    let words = |version: &str| cni.entrypoint_for(&version.parse().unwrap()).join(" ");
    assert_eq!(words("1.20.2"), "/usr/bin/kubelet --network-plugin=cni");
    assert_eq!(words("1.24.0"), "/usr/bin/kubelet");
}

#[test]
fn words_for_a_runtime_are_not_the_image_s_own() {
    let text = PLAIN.replace(
        "entrypoint = [{ words = [\"/usr/bin/kubelet\"] }]",
        "entrypoint = [{ words = [\"/usr/bin/kubelet\"] }, { runtime = \"crio\", words = [\"--x\"] }]",
    );
    let plain = resolve("plain", &variants(&[&text])).unwrap();
    let version = "1.34.2".parse().unwrap();
    assert_eq!(plain.entrypoint_for(&version), ["/usr/bin/kubelet"]);
    assert_eq!(plain.arguments_for(&version, crate::variant::Runtime::Crio), ["--x"]);
    assert!(plain.arguments_for(&version, crate::variant::Runtime::Docker).is_empty());
}

#[test]
fn mounts_and_files_that_can_t_be_meant_are_refused() {
    let problem = |addition: &str| {
        resolve("plain", &variants(&[&format!("{PLAIN}\n{addition}")])).unwrap_err().to_string()
    };
    for path in ["relative", "/a:b", "/a,b", "/{unknown}", "/a/../b", "/a/"] {
        let said = problem(&format!("[[mount]]\npath = \"{path}\"\nreason = \"r\""));
        assert!(said.contains("variant `plain`"), "{path}: {said}");
    }
    let good = format!("{PLAIN}\n[[mount]]\npath = \"/a/{{snapshotter}}\"\nreason = \"r\"");
    assert_eq!(resolve("plain", &variants(&[&good])).unwrap().mounts.len(), 1);
    let file = "[[file]]\npath = \"/x\"\ntext = \"\"\nlayer = \"base\"\nreason = \"r\"\nwith = [\"nobody\"]";
    assert!(problem(file).contains("which is no root"));
}

#[test]
fn unknown_names_cycles_and_missing_layers_are_said() {
    let all = variants(&[PLAIN, CNI]);
    let error = resolve("cnj", &all).unwrap_err();
    assert_eq!(error.hint().unwrap(), "the variants are cni, plain");
    let selfish = variants(&["name = 'a'\ndescription = ''\nextends = ['a']"]);
    assert_eq!(resolve("a", &selfish), Err(VariantError::Cycle("a".into())));
    let lost = PLAIN.replace("layer = \"base\"", "layer = \"bass\"");
    assert_eq!(
        resolve("plain", &variants(&[&lost])).unwrap_err().to_string(),
        "variant `plain`: there is no layer `bass`"
    );
}

#[test]
fn a_portable_variant_takes_units_as_systemd_compares_them() {
    let table = "[portable]\nprefixes = ['kubelet']\ndescription = 'kubelet with a runtime'\n";
    let portable = |table: &str| {
        let text = PLAIN.replacen("[[root]]", &format!("{table}[[root]]"), 1);
        resolve("plain", &variants(&[&text])).map(|v| v.portable.unwrap())
    };
    let good = portable(table).unwrap();
    for (name, taken) in [
        ("kubelet.service", true),
        ("kubelet-containerd.service", true),
        ("kubelet@1.service", true),
        ("kubelets.service", false),
        ("containerd.service", false),
    ] {
        assert_eq!(good.takes(name), taken, "{name}");
    }
    for (wrong, said) in [
        (table.replace("'kubelet']", "'crio']"), "`kubelet` is not among its prefixes"),
        (table.replace("'kubelet']", "'a_b']"), "prefix `a_b`"),
        (table.replace("a runtime", "a \"b\""), "its description"),
        (format!("{table}suffix = 'x_y'\n"), "suffix `x_y`"),
    ] {
        let error = portable(&wrong).unwrap_err().to_string();
        assert!(error.contains(said), "{wrong}: {error}");
    }
}

#[test]
fn a_misspelt_setting_is_an_error_and_not_ignored() {
    assert!(toml::from_str::<written::Variant>("name = 'a'\ndescription = ''\nentry-point = []").is_err());
}
