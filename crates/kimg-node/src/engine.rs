//! Who starts the kubelet's own container.

use std::fmt;

use kimg_core::variant::Runtime;
use serde::Serialize;

/// A program that starts containers for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Engine {
    /// `docker`
    Docker,
    /// `podman`
    Podman,
    /// `ctr`, containerd's own.
    Ctr,
}

impl Engine {
    /// The engine that a machine with this runtime has at hand.
    pub fn beside(runtime: Runtime) -> Self {
        match runtime {
            Runtime::Docker => Self::Docker,
            Runtime::Containerd => Self::Ctr,
            Runtime::Crio => Self::Podman,
        }
    }

    /// The runtime that a machine with this engine has, where nothing else is said.
    pub fn runtime(self) -> Runtime {
        match self {
            Self::Docker => Runtime::Docker,
            Self::Podman => Runtime::Crio,
            Self::Ctr => Runtime::Containerd,
        }
    }

    /// Its program.
    pub fn program(self) -> &'static str {
        match self {
            Self::Docker => "docker",
            Self::Podman => "podman",
            Self::Ctr => "ctr",
        }
    }
}

impl fmt::Display for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.program())
    }
}
