//! `kimg node`: what is typed on a machine, and why each word is there.

mod name;
mod paths;

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand, ValueEnum};
use kimg_build::Project;
use kimg_core::variant::{CgroupDriver, Runtime, resolve};
use kimg_core::{KubernetesVersion, Platform, Variant};
use kimg_node::manifest::{Manifest, ProxyMode};
use kimg_node::{Choices, Engine, JoinWords, Node, NodeError, Script, Wish, cni, compose, oci, unit};
use serde_json::json;

use crate::args::{Format, TextOrJson};
use crate::commands::setting::settings;
use crate::failure::{Failure, classified};

#[derive(Debug, Args)]
pub(crate) struct NodeArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
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
struct ImageArgs {
    /// The image, as the machine names it; what `kimg build` calls it when not given
    #[arg(long, value_name = "REFERENCE")]
    image: Option<String>,

    /// The version of Kubernetes; what the image's tag says when not given
    #[arg(long, value_name = "VERSION")]
    kubernetes: Option<KubernetesVersion>,

    /// The variant; what the image's tag says when not given
    #[arg(long, value_name = "NAME")]
    variant: Option<String>,

    /// The settings file; kimg.toml in this folder when it is there
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// What the machine has.
#[derive(Debug, Args)]
struct MachineArgs {
    #[command(flatten)]
    image: ImageArgs,

    /// The container runtime of the machine. podman is taken as the program beside CRI-O, and crio started by podman
    #[arg(long, value_enum, default_value_t = RuntimeArg::Containerd)]
    runtime: RuntimeArg,

    /// What the kubelet talks to, where that is another one: Docker's machine with containerd, podman's with containerd
    #[arg(long, value_name = "RUNTIME")]
    cri: Option<Runtime>,

    /// Who makes cgroups, as the runtime is set up: cgroupfs or systemd
    #[arg(long, value_name = "DRIVER", default_value_t)]
    cgroup_driver: CgroupDriver,

    /// Docker's storage driver, as `docker info` says it
    #[arg(long, value_name = "NAME", default_value = "overlay2")]
    storage_driver: String,

    /// containerd's snapshotter
    #[arg(long, value_name = "NAME", default_value = "overlayfs")]
    snapshotter: String,

    /// What the kubelet's container is called
    #[arg(long, value_name = "NAME", default_value = "kubeletd")]
    name: String,

    /// A further path of the machine to mount: what the kubelet's configuration names, volumes of type hostPath
    #[arg(long, value_name = "PATH")]
    with: Vec<String>,

    /// A path that is not mounted, as the machine has none
    #[arg(long, value_name = "PATH")]
    without: Vec<String>,

    /// A further argument of the kubelet
    #[arg(long = "argument", value_name = "WORD", allow_hyphen_values = true)]
    arguments: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum RuntimeArg {
    Docker,
    Containerd,
    Podman,
    Crio,
}

#[derive(Debug, Args)]
struct ScriptArgs {
    #[command(flatten)]
    machine: MachineArgs,

    /// Say above each command why its words are there
    #[arg(long)]
    explain: bool,

    /// Print shell commands, or each word with its reason as JSON
    #[arg(long, value_enum, default_value_t = TextOrJson::Table)]
    format: TextOrJson,
}

#[derive(Debug, Args)]
struct RunArgs {
    #[command(flatten)]
    script: ScriptArgs,

    /// Join a cluster: the words behind `kubeadm join`, up to the end of the line
    #[arg(long, value_name = "WORDS", num_args = 1.., allow_hyphen_values = true)]
    kubeadm_join: Option<Vec<String>>,
}

#[derive(Debug, Args)]
struct UnitArgs {
    #[command(flatten)]
    machine: MachineArgs,

    /// A quadlet for /etc/containers/systemd, of which podman makes the unit
    #[arg(long)]
    quadlet: bool,
}

#[derive(Debug, Args)]
struct ManifestArgs {
    /// kube-proxy's image; what `kimg build` calls it when not given
    #[arg(long, value_name = "REFERENCE")]
    image: Option<String>,

    /// The version of Kubernetes; what the image's tag says when not given
    #[arg(long, value_name = "VERSION")]
    kubernetes: Option<KubernetesVersion>,

    /// The API server's address as nodes reach it: https://10.0.0.1:6443
    #[arg(long, value_name = "ADDRESS")]
    server: String,

    /// The range of the pods' addresses
    #[arg(long, value_name = "CIDR")]
    cluster_cidr: Option<String>,

    /// How kube-proxy does its work
    #[arg(long, value_enum, default_value_t = ProxyModeArg::Iptables)]
    proxy_mode: ProxyModeArg,

    /// An architecture that the image is there for; amd64, arm64 and armv7 when not given
    #[arg(long = "arch", value_name = "ARCH")]
    architectures: Vec<Platform>,

    /// The settings file; kimg.toml in this folder when it is there
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum ProxyModeArg {
    Iptables,
    Ipvs,
}

#[derive(Debug, Args)]
struct PathsArgs {
    /// Only those of this variant
    #[arg(long, value_name = "NAME")]
    variant: Option<String>,

    /// Only those that this version of Kubernetes works with
    #[arg(long, value_name = "VERSION")]
    kubernetes: Option<KubernetesVersion>,

    /// The settings file; kimg.toml in this folder when it is there
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,

    /// How to print the list
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
}

pub(crate) fn run(args: &NodeArgs) -> Result<ExitCode, Failure> {
    let text = match &args.what {
        What::Run(args) => {
            let join = args.kubeadm_join.as_deref().map(JoinWords::new).transpose()?;
            let node = node(&args.script.machine, join)?;
            script(&node, &kimg_node::run(&node), &args.script)?
        }
        What::Cni(args) => {
            let node = node(&args.machine, None)?;
            script(&node, &cni::copy(&node)?, args)?
        }
        What::Unit(args) => {
            let node = node(&args.machine, None)?;
            if args.quadlet && node.engine != Engine::Podman {
                return Err(Failure::usage("a quadlet is for podman").hint("say `--runtime podman`"));
            }
            if args.quadlet { unit::quadlet(&node) } else { unit::service(&node) }
        }
        What::Compose(args) => {
            let node = node(args, None)?;
            if node.engine == Engine::Ctr {
                return Err(Failure::usage("containerd alone reads no compose file")
                    .hint("say `--runtime docker` or `--runtime podman`"));
            }
            compose::file(&node)
        }
        What::Spec(args) => {
            let node = node(args, None)?;
            oci::text(&node, &node.name, &node.command())
        }
        What::Config(args) => {
            let node = node(args, None)?;
            node.config.map(|(_, text)| text).ok_or_else(|| {
                Failure::usage(format!("the variant `{}` has no configuration of its own", node.variant))
            })?
        }
        What::Manifest(args) => manifest(args)?,
        What::Paths(args) => return paths::run(args),
    };
    std::io::stdout().lock().write_all(text.as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

fn script(node: &Node, script: &Script, args: &ScriptArgs) -> Result<String, Failure> {
    if args.format == TextOrJson::Table {
        return Ok(script.to_shell(args.explain));
    }
    let data = json!({ "node": node, "command": node.command(), "steps": script });
    Ok(serde_json::to_string_pretty(&data).map_err(std::io::Error::from)? + "\n")
}

fn node(args: &MachineArgs, join: Option<JoinWords>) -> Result<Node, Failure> {
    let engine = match args.runtime {
        RuntimeArg::Docker => Engine::Docker,
        RuntimeArg::Containerd => Engine::Ctr,
        RuntimeArg::Podman | RuntimeArg::Crio => Engine::Podman,
    };
    let (settings, folder, _) = settings(args.image.config.as_deref())?;
    let known = Project::known_variants(&settings, &folder)?;
    let named = name::Named::read(args.image.image.as_deref());
    let variants: Vec<Variant> = known
        .order
        .iter()
        .map(|name| resolve(name, &known.written))
        .collect::<Result<_, _>>()
        .map_err(kimg_build::BuildError::from)?;
    let variant = match &args.image.variant {
        Some(name) => &resolve(name, &known.written).map_err(kimg_build::BuildError::from)?,
        None => named.variant(&variants, if join.is_some() { "kubeadm" } else { "plain" }),
    };
    let version = named.version(args.image.kubernetes.as_ref())?;
    let image =
        args.image.image.clone().unwrap_or_else(|| name::of(variant, &version, settings.publish.as_deref()));
    let choices = Choices {
        runtime: args.cri.unwrap_or_else(|| engine.runtime()),
        engine,
        cgroup_driver: args.cgroup_driver,
        storage_driver: args.storage_driver.clone(),
        snapshotter: args.snapshotter.clone(),
        name: args.name.clone(),
        with: args.with.clone(),
        without: args.without.clone(),
        arguments: args.arguments.clone(),
    };
    Ok(Node::new(&Wish { variant, version, image, choices, join })?)
}

fn manifest(args: &ManifestArgs) -> Result<String, Failure> {
    let (settings, folder, _) = settings(args.config.as_deref())?;
    let known = Project::known_variants(&settings, &folder)?;
    let variant = resolve("kube-proxy", &known.written).map_err(kimg_build::BuildError::from)?;
    let version = name::Named::read(args.image.as_deref()).version(args.kubernetes.as_ref())?;
    let manifest = Manifest {
        image: args
            .image
            .clone()
            .unwrap_or_else(|| name::of(&variant, &version, settings.publish.as_deref())),
        platforms: if args.architectures.is_empty() {
            Platform::DEFAULT.to_vec()
        } else {
            args.architectures.clone()
        },
        server: args.server.clone(),
        cluster_cidr: args.cluster_cidr.clone(),
        mode: match args.proxy_mode {
            ProxyModeArg::Iptables => ProxyMode::Iptables,
            ProxyModeArg::Ipvs => ProxyMode::Ipvs,
        },
        command: variant.entrypoint_for(&version),
        version,
    };
    Ok(manifest.to_yaml()?)
}

impl From<NodeError> for Failure {
    fn from(error: NodeError) -> Self {
        classified(&error)
    }
}
