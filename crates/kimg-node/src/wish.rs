//! What a node is wanted to be.

use kimg_core::variant::{CgroupDriver, Runtime};
use kimg_core::{KubernetesVersion, Variant};
use serde::Serialize;

use crate::{Engine, NodeError};

/// What is set up on the machine, and what somebody wants otherwise than it follows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choices {
    /// What the kubelet talks to.
    pub runtime: Runtime,
    /// What starts the kubelet's container.
    pub engine: Engine,
    /// Who makes cgroups; the runtime has to be set up for the same.
    pub cgroup_driver: CgroupDriver,
    /// Docker's storage driver.
    pub storage_driver: String,
    /// containerd's snapshotter.
    pub snapshotter: String,
    /// The name of the kubelet's container.
    pub name: String,
    /// Further paths to mount, and optional ones that are to be.
    pub with: Vec<String>,
    /// Paths that are not to be mounted.
    pub without: Vec<String>,
    /// Words behind all others of the kubelet.
    pub arguments: Vec<String>,
}

impl Choices {
    /// What holds for a runtime where nothing else is said.
    pub fn of(runtime: Runtime) -> Self {
        Self {
            runtime,
            engine: Engine::beside(runtime),
            cgroup_driver: CgroupDriver::Cgroupfs,
            storage_driver: "overlay2".into(),
            snapshotter: "overlayfs".into(),
            name: "kubeletd".into(),
            with: Vec::new(),
            without: Vec::new(),
            arguments: Vec::new(),
        }
    }
}

/// The words behind `kubeadm join`, as `kubeadm token create --print-join-command` prints them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct JoinWords(Vec<String>);

impl JoinWords {
    /// Takes them with or without `kubeadm join` itself.
    pub fn new(words: &[String]) -> Result<Self, NodeError> {
        let rest = match words {
            [first, second, rest @ ..] if first == "kubeadm" && second == "join" => rest,
            [first, rest @ ..] if first == "join" => rest,
            all => all,
        };
        if rest.is_empty() {
            return Err(NodeError::wish(
                "nothing says what to join",
                "`kubeadm token create --print-join-command` on a control plane prints it",
            ));
        }
        Ok(Self(rest.to_vec()))
    }

    /// The words.
    pub fn words(&self) -> &[String] {
        &self.0
    }
}

/// Which node is wanted.
#[derive(Debug, Clone)]
pub struct Wish<'a> {
    /// What its image holds.
    pub variant: &'a Variant,
    /// Of which Kubernetes.
    pub version: KubernetesVersion,
    /// The image, as the engine names it.
    pub image: String,
    /// The machine.
    pub choices: Choices,
    /// How it joins a cluster, if by kubeadm.
    pub join: Option<JoinWords>,
}
