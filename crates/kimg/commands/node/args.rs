//! The arguments of `kimg node`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use kimg_core::variant::{CgroupDriver, Runtime};
use kimg_core::{KubernetesVersion, Platform};

use crate::args::{Format, TextOrJson};

#[derive(Debug, Args)]
pub(crate) struct NodeArgs {
    #[command(subcommand)]
    pub(super) what: What,
}

#[derive(Debug, Subcommand)]
pub(super) enum What {
    /// Print the commands that start a kubelet on a machine, to be pasted or piped into `sh -e`
    #[command(after_help = EXAMPLES)]
    Run(RunArgs),
    /// Print a systemd unit that starts the kubelet with the machine
    Unit(UnitArgs),
    /// Print a compose file
    Compose(MachineArgs),
    /// Print the kubelet's container as an OCI runtime spec, for `ctr run --config`
    Spec(MachineArgs),
    /// Print the kubelet's default configuration for this version and runtime
    Config(MachineArgs),
    /// Print the step that brings the CNI plugins of an image to the machine's /opt/cni/bin
    Cni(ScriptArgs),
    /// Print kube-proxy's DaemonSet, and the rights with which nodes join
    Manifest(ManifestArgs),
    /// List every path of the machine that an image works with
    Paths(PathsArgs),
}

const EXAMPLES: &str = "\
Examples:
  kimg node run --image ghcr.io/acme/kubelet:v1.34.2 --runtime containerd
  kimg node run --image ghcr.io/acme/kubelet:v1.23.17-cni --runtime docker --explain
  kimg node run --image ghcr.io/acme/kubelet:v1.34.2-kubeadm-cni --runtime crio \\
      --kubeadm-join 10.0.0.1:6443 --token … --discovery-token-ca-cert-hash sha256:…";

/// Which image a node runs.
#[derive(Debug, Args)]
pub(super) struct ImageArgs {
    /// The image, as the machine names it; what `kimg build` calls it when not given
    #[arg(long, value_name = "REFERENCE")]
    pub(super) image: Option<String>,

    /// The version of Kubernetes; what the image's tag says when not given
    #[arg(long, value_name = "VERSION")]
    pub(super) kubernetes: Option<KubernetesVersion>,

    /// The variant; what the image's tag says when not given
    #[arg(long, value_name = "NAME")]
    pub(super) variant: Option<String>,

    /// The settings file; kimg.toml in this folder when it is there
    #[arg(long, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
}

/// What the machine has.
#[derive(Debug, Args)]
pub(super) struct MachineArgs {
    #[command(flatten)]
    pub(super) image: ImageArgs,

    /// The container runtime of the machine. podman is taken as the program beside CRI-O, and crio started by podman
    #[arg(long, value_enum, default_value_t = RuntimeArg::Containerd)]
    pub(super) runtime: RuntimeArg,

    /// What the kubelet talks to, where that is another one: Docker's machine with containerd, podman's with containerd
    #[arg(long, value_name = "RUNTIME")]
    pub(super) cri: Option<Runtime>,

    /// Who makes cgroups, as the runtime is set up: cgroupfs or systemd
    #[arg(long, value_name = "DRIVER", default_value_t)]
    pub(super) cgroup_driver: CgroupDriver,

    /// Docker's storage driver, as `docker info` says it
    #[arg(long, value_name = "NAME", default_value = "overlay2")]
    pub(super) storage_driver: String,

    /// containerd's snapshotter
    #[arg(long, value_name = "NAME", default_value = "overlayfs")]
    pub(super) snapshotter: String,

    /// What the kubelet's container is called
    #[arg(long, value_name = "NAME", default_value = "kubeletd")]
    pub(super) name: String,

    /// A further path of the machine to mount: what the kubelet's configuration names, volumes of type hostPath
    #[arg(long, value_name = "PATH")]
    pub(super) with: Vec<String>,

    /// A path that is not mounted, as the machine has none
    #[arg(long, value_name = "PATH")]
    pub(super) without: Vec<String>,

    /// A further argument of the kubelet
    #[arg(long = "argument", value_name = "WORD", allow_hyphen_values = true)]
    pub(super) arguments: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum RuntimeArg {
    Docker,
    Containerd,
    Podman,
    Crio,
}

#[derive(Debug, Args)]
pub(super) struct ScriptArgs {
    #[command(flatten)]
    pub(super) machine: MachineArgs,

    /// Say above each command why its words are there
    #[arg(long)]
    pub(super) explain: bool,

    /// Print shell commands, or each word with its reason as JSON
    #[arg(long, value_enum, default_value_t = TextOrJson::Table)]
    pub(super) format: TextOrJson,
}

#[derive(Debug, Args)]
pub(super) struct RunArgs {
    #[command(flatten)]
    pub(super) script: ScriptArgs,

    /// Join a cluster: the words behind `kubeadm join`, up to the end of the line
    #[arg(long, value_name = "WORDS", num_args = 1.., allow_hyphen_values = true)]
    pub(super) kubeadm_join: Option<Vec<String>>,
}

#[derive(Debug, Args)]
pub(super) struct UnitArgs {
    #[command(flatten)]
    pub(super) machine: MachineArgs,

    /// A quadlet for /etc/containers/systemd, of which podman makes the unit
    #[arg(long)]
    pub(super) quadlet: bool,
}

#[derive(Debug, Args)]
pub(super) struct ManifestArgs {
    /// kube-proxy's image; what `kimg build` calls it when not given
    #[arg(long, value_name = "REFERENCE")]
    pub(super) image: Option<String>,

    /// The version of Kubernetes; what the image's tag says when not given
    #[arg(long, value_name = "VERSION")]
    pub(super) kubernetes: Option<KubernetesVersion>,

    /// The API server's address as nodes reach it: https://10.0.0.1:6443
    #[arg(long, value_name = "ADDRESS")]
    pub(super) server: String,

    /// The range of the pods' addresses
    #[arg(long, value_name = "CIDR")]
    pub(super) cluster_cidr: Option<String>,

    /// How kube-proxy does its work
    #[arg(long, value_enum, default_value_t = ProxyModeArg::Iptables)]
    pub(super) proxy_mode: ProxyModeArg,

    /// An architecture that the image is there for; amd64, arm64 and armv7 when not given
    #[arg(long = "arch", value_name = "ARCH")]
    pub(super) architectures: Vec<Platform>,

    /// The settings file; kimg.toml in this folder when it is there
    #[arg(long, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum ProxyModeArg {
    Iptables,
    Ipvs,
}

#[derive(Debug, Args)]
pub(super) struct PathsArgs {
    /// Only those of this variant
    #[arg(long, value_name = "NAME")]
    pub(super) variant: Option<String>,

    /// Only those that this version of Kubernetes works with
    #[arg(long, value_name = "VERSION")]
    pub(super) kubernetes: Option<KubernetesVersion>,

    /// The settings file; kimg.toml in this folder when it is there
    #[arg(long, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,

    /// How to print the list
    #[arg(long, value_enum, default_value_t = Format::Table)]
    pub(super) format: Format,
}
