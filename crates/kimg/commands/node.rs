//! `kimg node`: what is typed on a machine, and why each word is there.

mod args;
mod name;
mod paths;

use std::io::Write as _;
use std::process::ExitCode;

use kimg_build::Project;
use kimg_core::variant::resolve;
use kimg_core::{Platform, Variant};
use kimg_node::manifest::{Manifest, ProxyMode};
use kimg_node::{Choices, Engine, JoinWords, Node, NodeError, Script, Wish, cni, compose, oci, unit};
use serde_json::json;

pub(crate) use self::args::NodeArgs;
use self::args::{MachineArgs, ManifestArgs, ProxyModeArg, RuntimeArg, ScriptArgs, What};
use crate::args::TextOrJson;
use crate::commands::setting::settings;
use crate::failure::{Failure, classified};

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
    if variant.portable.is_some() {
        return Err(Failure::usage(format!("`{}` is run by systemd, and not in a container", variant.name))
            .hint("portablectl attaches what `kimg build -o type=portable,dest=images` makes of it"));
    }
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
