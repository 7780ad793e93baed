//! From an image to a running node: what a person types on the machine, and why each word is there.
//!
//! A [`Wish`] (which variant and version, which container runtime) becomes a [`Node`]: the words that the kubelet starts
//! with, the paths of the machine that it works with, the privileges that it needs. From a node follow texts, by pure
//! functions; nothing outside is reached:
//!
//! | text | function |
//! | --- | --- |
//! | the commands, for Docker, podman or containerd | [`run`] |
//! | the container as an OCI runtime spec | [`oci::spec`] |
//! | a systemd unit, a quadlet for podman | [`unit::service`], [`unit::quadlet`] |
//! | a compose file | [`compose::file`] |
//! | the step that brings CNI plugins to the machine | [`cni::copy`] |
//! | the kubelet's configuration | [`Node::config`] |
//! | kube-proxy's `DaemonSet` and what nodes may do when they join | [`manifest::Manifest`] |
//!
//! What an image expects of its machine is data of its variant: `[[mount]]` and `[[entrypoint]]`. What is here is how
//! the container engines want it said.
//!
//! Two programs are told apart that are often one: the [`Engine`] starts the kubelet's own container, the
//! [`Runtime`](kimg_core::variant::Runtime) runs pods. podman has no interface for a kubelet, and CRI-O none for people,
//! so these two work together.

pub mod cni;
pub mod compose;
mod engine;
mod error;
pub mod manifest;
mod node;
pub mod oci;
mod run;
mod shell;
pub mod unit;
mod wish;
mod yaml;

pub use engine::Engine;
pub use error::NodeError;
pub use node::{Mount, Node, Privilege};
pub use run::run;
pub use shell::{Command, Script, Step, Word, quote};
pub use wish::{Choices, JoinWords, Wish};
