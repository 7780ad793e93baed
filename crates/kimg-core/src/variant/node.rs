//! What a variant says about the machine that its container runs on: mounts, by version and runtime.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::{VersionRange, written};
use crate::{ImagePath, KubernetesVersion};

/// A word that names none of a few choices.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is none of {choices}")]
pub struct NodeChoiceError {
    text: String,
    choices: &'static str,
}

/// The container runtime that the kubelet talks to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Runtime {
    /// Docker Engine: by the kubelet's own dockershim below 1.24, by cri-dockerd from then on.
    Docker,
    /// containerd.
    Containerd,
    /// CRI-O.
    Crio,
}

impl Runtime {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Docker, Self::Containerd, Self::Crio];
}

impl fmt::Display for Runtime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Docker => "docker",
            Self::Containerd => "containerd",
            Self::Crio => "crio",
        })
    }
}

impl FromStr for Runtime {
    type Err = NodeChoiceError;

    fn from_str(text: &str) -> Result<Self, NodeChoiceError> {
        match text {
            "docker" => Ok(Self::Docker),
            "containerd" => Ok(Self::Containerd),
            "crio" | "cri-o" => Ok(Self::Crio),
            _ => Err(NodeChoiceError { text: text.to_owned(), choices: "docker, containerd and crio" }),
        }
    }
}

/// Who makes cgroups: kubelet and runtime have to agree.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CgroupDriver {
    /// The kubelet itself, in `/sys/fs/cgroup`.
    #[default]
    Cgroupfs,
    /// systemd, asked by the kubelet.
    Systemd,
}

impl fmt::Display for CgroupDriver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Cgroupfs => "cgroupfs",
            Self::Systemd => "systemd",
        })
    }
}

impl FromStr for CgroupDriver {
    type Err = NodeChoiceError;

    fn from_str(text: &str) -> Result<Self, NodeChoiceError> {
        match text {
            "cgroupfs" => Ok(Self::Cgroupfs),
            "systemd" => Ok(Self::Systemd),
            _ => Err(NodeChoiceError { text: text.to_owned(), choices: "cgroupfs and systemd" }),
        }
    }
}

/// What is at a path of the machine.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MountKind {
    /// A folder, which is made where it is missing.
    #[default]
    Folder,
    /// An empty file, which is made where it is missing.
    Lock,
    /// A file or socket that somebody else made: where it is missing, nothing starts.
    File,
}

/// A path of the machine that a container of the variant sees under the same name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MountRule {
    /// The versions of Kubernetes that want it.
    pub range: VersionRange,
    /// The runtime with which it is wanted.
    pub runtime: Option<Runtime>,
    /// The cgroup driver with which it is wanted.
    pub cgroup_driver: Option<CgroupDriver>,
    /// Where it is; may hold `{storage-driver}` and `{snapshotter}`.
    pub path: String,
    /// What is there.
    pub kind: MountKind,
    /// Whether mounts below it are seen on both sides (`rshared`).
    pub shared: bool,
    /// Whether the container may only read it.
    pub read_only: bool,
    /// Whether it is mounted only where somebody asks for it.
    pub optional: bool,
    /// Why it is wanted.
    pub reason: String,
    /// Where it is written that it is wanted.
    pub source: Option<String>,
}

impl MountRule {
    /// The words that stand for what a machine has set up.
    pub const PLACEHOLDERS: [&str; 2] = ["{storage-driver}", "{snapshotter}"];

    pub(super) fn checked(written: written::Mount, range: VersionRange) -> Result<Self, String> {
        let filled =
            Self::PLACEHOLDERS.iter().fold(written.path.clone(), |path, word| path.replace(word, "x"));
        let clean = ImagePath::new(&filled).map_err(|e| e.to_string())?;
        // Words of runtimes' own mount syntax: a path with them would be read as something else.
        if clean.as_str() != filled || filled.contains([':', ',', '{', '}', '\n']) {
            return Err(format!("`{}` is no path that can be mounted", written.path));
        }
        Ok(Self {
            range,
            runtime: written.runtime,
            cgroup_driver: written.cgroup_driver,
            path: written.path,
            kind: written.kind,
            shared: written.shared,
            read_only: written.read_only,
            optional: written.optional,
            reason: written.reason,
            source: written.source,
        })
    }

    /// Whether a node with this version, runtime and cgroup driver wants it.
    pub fn holds(&self, version: &KubernetesVersion, runtime: Runtime, driver: CgroupDriver) -> bool {
        self.range.holds(version)
            && self.runtime.is_none_or(|wanted| wanted == runtime)
            && self.cgroup_driver.is_none_or(|wanted| wanted == driver)
    }
}
