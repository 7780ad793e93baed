//! A node as it follows from its variant: words, mounts, privileges.

use kimg_core::variant::{Locate, MountKind, MountRule, Runtime};
use kimg_core::{ImagePath, KubernetesVersion, Variant};
use serde::Serialize;

use crate::{Choices, Engine, JoinWords, NodeError, Wish, Word};

/// A path of the machine that the container sees.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Mount {
    /// On the machine and in the container.
    pub path: String,
    /// What is there.
    pub kind: MountKind,
    /// Whether mounts below it are seen on both sides.
    pub shared: bool,
    /// Whether the container may only read it.
    pub read_only: bool,
    /// Why.
    pub reason: String,
}

/// Something of the machine that the container is not kept apart from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Privilege {
    /// Every capability and device.
    Everything,
    /// Its network.
    Network,
    /// Its processes.
    Processes,
    /// Its name.
    HostName,
    /// Its tree of cgroups.
    Cgroups,
}

impl Privilege {
    /// All of them: a kubelet needs each.
    pub const ALL: [Self; 5] =
        [Self::Everything, Self::Network, Self::Processes, Self::HostName, Self::Cgroups];

    /// Why a kubelet needs it.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Everything => "the kubelet mounts volumes, makes cgroups and sets sysctls of the machine",
            Self::Network => "the node's address and the port 10250 are the kubelet's, and it probes pods",
            Self::Processes => "the kubelet looks after processes of pods and of the runtime",
            Self::HostName => "the node registers under the machine's name",
            Self::Cgroups => "pods get their cgroups in the machine's tree, not below the container's own",
        }
    }

    /// The option of `docker` and `podman`.
    pub(crate) fn option(self) -> &'static str {
        match self {
            Self::Everything => "--privileged",
            Self::Network => "--network=host",
            Self::Processes => "--pid=host",
            Self::HostName => "--uts=host",
            Self::Cgroups => "--cgroupns=host",
        }
    }
}

/// A node: everything that the texts of this crate say.
#[derive(Debug, Clone, Serialize)]
pub struct Node {
    /// The name of its container.
    pub name: String,
    /// The image, as the engine names it.
    pub image: String,
    /// The variant's name.
    pub variant: String,
    /// Of which Kubernetes.
    pub version: KubernetesVersion,
    /// What the kubelet talks to.
    pub runtime: Runtime,
    /// What starts its container.
    pub engine: Engine,
    /// containerd's snapshotter.
    pub snapshotter: String,
    /// What the image starts.
    pub entrypoint: Vec<String>,
    /// What the node adds.
    pub arguments: Vec<Word>,
    /// The image's environment, as `NAME=value`.
    pub environment: Vec<String>,
    /// Paths of the machine, in their order.
    pub mounts: Vec<Mount>,
    /// Where the kubelet reads its configuration, and what it is where the machine has none.
    pub config: Option<(String, String)>,
    /// The folder with CNI plugins that the runtime starts, and the image has.
    pub plugins: Option<String>,
    /// How it joins a cluster, if by kubeadm.
    pub join: Option<JoinWords>,
}

impl Node {
    /// The node that a wish comes to.
    pub fn new(wish: &Wish<'_>) -> Result<Self, NodeError> {
        let Wish { variant, version, choices, .. } = wish;
        if variant.mounts.is_empty() {
            return Err(NodeError::Variant {
                variant: variant.name.clone(),
                problem: "says of no path that it works with: it is no node".into(),
                hint: "name one with a kubelet, such as plain; kube-proxy runs as a DaemonSet: `kimg node manifest`".into(),
            });
        }
        let has =
            |command: &str| variant.roots_for(version).iter().any(|root| is_command(&root.locate, command));
        if wish.join.is_some() && !has("kubeadm") {
            return Err(NodeError::Variant {
                variant: variant.name.clone(),
                problem: "has no kubeadm to join with".into(),
                hint: "take kubeadm or kubeadm-cni, here with `--variant` and in the image's tag".into(),
            });
        }
        image_is_one_word(&wish.image)?;
        plain_word(&choices.storage_driver, "a storage driver")?;
        plain_word(&choices.snapshotter, "a snapshotter")?;
        let entrypoint = variant.entrypoint_for(version);
        let arguments = arguments(variant, version, choices);
        let config = config(variant, version, choices, &entrypoint);
        Ok(Self {
            name: plain_word(&choices.name, "the name of a container")?,
            image: wish.image.clone(),
            variant: variant.name.clone(),
            version: version.clone(),
            runtime: choices.runtime,
            engine: choices.engine,
            snapshotter: choices.snapshotter.clone(),
            entrypoint,
            arguments,
            environment: variant.environment.iter().map(|(name, value)| format!("{name}={value}")).collect(),
            mounts: mounts(variant, version, choices)?,
            config,
            plugins: plugins(variant, version, choices.runtime),
            join: wish.join.clone(),
        })
    }

    /// Every word that the kubelet starts with, the program first.
    pub fn command(&self) -> Vec<&str> {
        let added = self.arguments.iter().map(|word| word.text.as_str());
        self.entrypoint.iter().map(String::as_str).chain(added).collect()
    }
}

fn is_command(locate: &Locate, name: &str) -> bool {
    matches!(locate, Locate::Command(command) if command == name)
}

fn arguments(variant: &Variant, version: &KubernetesVersion, choices: &Choices) -> Vec<Word> {
    let rules = variant.entrypoint.iter();
    let rules = rules.filter(|rule| rule.runtime == Some(choices.runtime) && rule.range.holds(version));
    let by_rule = rules
        .flat_map(|rule| rule.words.iter().map(|text| Word { text: text.clone(), why: rule.reason.clone() }));
    let asked = choices.arguments.iter().map(|text| Word { text: text.clone(), why: None });
    by_rule.chain(asked).collect()
}

/// The folder of plugins, where the image has some and the runtime starts them, not the kubelet.
fn plugins(variant: &Variant, version: &KubernetesVersion, runtime: Runtime) -> Option<String> {
    let folder = ImagePath::new("/opt/cni/bin").ok()?;
    let has = variant.roots_for(version).iter().any(|root| root.install.as_ref() == Some(&folder));
    let words = variant.entrypoint_for(version);
    let kubelet_starts_them =
        runtime == Runtime::Docker && words.iter().any(|word| word == "--network-plugin=cni");
    (has && !kubelet_starts_them).then(|| folder.to_string())
}

fn mounts(
    variant: &Variant,
    version: &KubernetesVersion,
    choices: &Choices,
) -> Result<Vec<Mount>, NodeError> {
    let mut mounts: Vec<Mount> = Vec::new();
    let rules = variant.mounts.iter();
    for rule in rules.filter(|rule| rule.holds(version, choices.runtime, choices.cgroup_driver)) {
        let path = filled(rule, choices);
        let unwanted = choices.without.contains(&path) || (rule.optional && !choices.with.contains(&path));
        if unwanted {
            continue;
        }
        mounts.retain(|mount| mount.path != path);
        mounts.push(Mount {
            path,
            kind: rule.kind,
            shared: rule.shared,
            read_only: rule.read_only,
            reason: rule.reason.clone(),
        });
    }
    for path in &choices.with {
        if mounts.iter().any(|mount| mount.path == *path) {
            continue;
        }
        mounts.push(further(path)?);
    }
    // A mount hides what was mounted below it before.
    mounts.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(mounts)
}

/// The path of a rule on this machine.
fn filled(rule: &MountRule, choices: &Choices) -> String {
    rule.path
        .replace(MountRule::PLACEHOLDERS[0], &choices.storage_driver)
        .replace(MountRule::PLACEHOLDERS[1], &choices.snapshotter)
}

/// A path that no rule knows.
fn further(path: &str) -> Result<Mount, NodeError> {
    let clean = ImagePath::new(path).ok().filter(|clean| clean.as_str() == path && !clean.is_root());
    if clean.is_none() || path.contains([':', ',', '\n']) {
        return Err(NodeError::wish(
            format!("`{path}` can't be mounted"),
            "name an absolute path without `:`, `,` and `..`",
        ));
    }
    Ok(Mount {
        path: path.to_owned(),
        kind: MountKind::File,
        shared: false,
        read_only: false,
        reason: "asked for".into(),
    })
}

/// The kubelet's configuration: the image's default, which a mounted `/var/lib/kubelet` hides, for this machine.
fn config(
    variant: &Variant,
    version: &KubernetesVersion,
    choices: &Choices,
    entrypoint: &[String],
) -> Option<(String, String)> {
    let path = entrypoint.iter().find_map(|word| word.strip_prefix("--config="))?;
    let files = variant.files_for(version);
    let rule = files.iter().find(|(file, _)| file.as_str() == path).map(|(_, rule)| *rule)?;
    let words = variant.arguments_for(version, choices.runtime);
    let endpoint = words.iter().find_map(|word| word.strip_prefix("--container-runtime-endpoint="));
    let line = |line: &str| match (line.split_once(':').map(|(key, _)| key), endpoint) {
        (Some("cgroupDriver"), _) => format!("cgroupDriver: {}\n", choices.cgroup_driver),
        (Some("containerRuntimeEndpoint"), Some(endpoint)) => {
            format!("containerRuntimeEndpoint: {endpoint}\n")
        }
        _ => format!("{line}\n"),
    };
    Some((path.to_owned(), rule.text.lines().map(line).collect()))
}

fn plain_word(word: &str, what: &str) -> Result<String, NodeError> {
    let good = word.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b))
        && word.starts_with(|first: char| first.is_ascii_alphanumeric());
    if good {
        Ok(word.to_owned())
    } else {
        Err(NodeError::wish(format!("`{word}` is not {what}"), "use letters, digits, `-` and `_`"))
    }
}

fn image_is_one_word(image: &str) -> Result<(), NodeError> {
    let good = !image.is_empty()
        && !image.starts_with('-')
        && image.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.:/@".contains(&b));
    if good {
        Ok(())
    } else {
        Err(NodeError::wish(format!("`{image}` is no image"), "name it as ghcr.io/acme/kubelet:v1.34.2-cni"))
    }
}
