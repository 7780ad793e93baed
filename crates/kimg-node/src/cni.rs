//! CNI plugins: from the image to the machine, where the runtime starts them.
//!
//! A minimal image has no program that copies, so the engine does it.

use crate::run::{ctr, pull, snapshotter};
use crate::{Command, Engine, Node, NodeError, Script, Step};

/// The folder into which an image is mounted to copy from it.
const MOUNTED: &str = "/run/kubeletd/cni";

/// The step alone: for machines whose kubelet is started otherwise, and for upgrades.
pub fn copy(node: &Node) -> Result<Script, NodeError> {
    let steps = steps(node);
    if steps.is_empty() {
        return Err(NodeError::Variant {
            variant: node.variant.clone(),
            problem: "brings no CNI plugins to the machine".into(),
            hint: "take flannel, cni or kubeadm-cni; with Docker below Kubernetes 1.24 the kubelet starts them itself, in its image"
                .into(),
        });
    }
    let mut script = Script::default();
    if node.engine == Engine::Ctr {
        script.run("The image.", pull(node));
    }
    script.steps.extend(steps);
    Ok(script)
}

/// What brings the plugins to the machine; nothing where the image has none, or the kubelet starts them itself.
pub(crate) fn steps(node: &Node) -> Vec<Step> {
    let Some(folder) = &node.plugins else { return Vec::new() };
    let from = format!("{}-cni", node.name);
    let program = node.engine.program();
    let commands = match node.engine {
        Engine::Docker | Engine::Podman => vec![
            Command::new(["mkdir", "-p", folder]),
            Command::new([program, "create", &format!("--name={from}"), &node.image]),
            Command::new([program, "cp", &format!("{from}:{folder}/."), folder]),
            Command::new([program, "rm", &from]),
        ],
        Engine::Ctr => vec![
            Command::new(["mkdir", "-p", folder, MOUNTED]),
            mount(node),
            Command::new(["cp", "-R", &format!("{MOUNTED}{folder}/."), folder]),
            ctr(&["images", "unmount", "--rm", MOUNTED]),
        ],
    };
    let why = format!("The CNI plugins: {} starts them, out of the machine's {folder}.", node.runtime);
    commands.into_iter().map(|command| Step::Run { why: why.clone(), command }).collect()
}

fn mount(node: &Node) -> Command {
    let mut mount = ctr(&["images", "mount"]);
    mount.words.extend(snapshotter(node));
    mount.word(&node.image).word(MOUNTED);
    mount
}
