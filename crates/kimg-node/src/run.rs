//! The commands that bring a kubelet up on a machine.

use kimg_core::variant::MountKind;

use crate::{Command, Engine, Mount, Node, Privilege, Script, Step, Word, cni, oci};

/// Everything that is done on the machine, in its order.
pub fn run(node: &Node) -> Script {
    let mut script = Script::default();
    for command in prepare(node) {
        script.run("What is mounted has to be there.", command);
    }
    if let (Some((path, text)), None) = (&node.config, &node.join) {
        script.steps.push(Step::Write {
            why: "The kubelet's configuration, where the machine has none.".into(),
            path: path.clone(),
            text: text.clone(),
            keep: true,
        });
    }
    if node.engine == Engine::Ctr {
        script.run("The image.", pull(node));
    }
    script.steps.extend(cni::steps(node));
    match node.engine {
        Engine::Docker | Engine::Podman => start(node, &mut script),
        Engine::Ctr => start_with_ctr(node, &mut script),
    }
    script
}

/// Folders and lock files that have to be there before anything starts, also after each start of the machine.
pub(crate) fn prepare(node: &Node) -> Vec<Command> {
    let paths =
        |kind| node.mounts.iter().filter(move |mount| mount.kind == kind).map(|mount| mount.path.as_str());
    let mut commands = Vec::new();
    let mut folders: Vec<&str> = paths(MountKind::Folder).collect();
    if node.engine == Engine::Ctr {
        folders.extend([oci::ROOT, oci::FOLDER]);
    }
    if !folders.is_empty() {
        commands.push(Command::new(["mkdir", "-p"].into_iter().chain(folders)));
    }
    let locks: Vec<&str> = paths(MountKind::Lock).collect();
    if !locks.is_empty() {
        commands.push(Command::new(["touch"].into_iter().chain(locks)));
    }
    commands
}

fn start(node: &Node, script: &mut Script) {
    let mut kubelet = Command::new([node.engine.program(), "run"]);
    kubelet.because("--detach", "it goes on when the shell is left");
    kubelet.because(
        "--restart=always",
        match node.engine {
            Engine::Podman => {
                "it starts again when it ends, and with the machine if podman-restart.service is enabled"
            }
            _ => "it starts again when it ends, and with the machine",
        },
    );
    kubelet.because(format!("--name={}", node.name), "what it is called in `logs` and `stop`");
    container(node, &mut kubelet);
    let joins = node.join.is_some();
    let why = if joins {
        "The kubelet: it starts again and again until kubeadm has written its files."
    } else {
        "The kubelet."
    };
    script.run(why, kubelet);
    if let Some(join) = &node.join {
        let mut kubeadm = Command::new([node.engine.program(), "run"]);
        kubeadm.because("--rm", "it runs once");
        kubeadm.because("--entrypoint=kubeadm", "in the place of the kubelet");
        privileges_and_mounts(node, &mut kubeadm);
        kubeadm.word(&node.image);
        kubeadm.word("join");
        for word in join.words() {
            kubeadm.word(word);
        }
        script.run(JOIN, kubeadm);
    }
}

const JOIN: &str = "Joins the cluster. kubeadm says that it finds no init system, and waits for the kubelet.";

/// Privileges, mounts, the image and what the node adds to its entrypoint.
pub(crate) fn container(node: &Node, command: &mut Command) {
    privileges_and_mounts(node, command);
    command.word(&node.image);
    command.words.extend(node.arguments.iter().cloned());
}

fn privileges_and_mounts(node: &Node, command: &mut Command) {
    for privilege in Privilege::ALL {
        command.because(privilege.option(), privilege.reason());
    }
    for mount in &node.mounts {
        command.because(mount_option(mount), &mount.reason);
    }
}

/// `--volume` makes a folder of what is missing; `--mount` fails, as is right for a file that somebody else makes.
fn mount_option(mount: &Mount) -> String {
    let Mount { path, .. } = mount;
    if mount.kind == MountKind::File {
        let read_only = if mount.read_only { ",readonly" } else { "" };
        let shared = if mount.shared { ",bind-propagation=rshared" } else { "" };
        return format!("--mount=type=bind,source={path},target={path}{read_only}{shared}");
    }
    let options = mount_options(mount);
    if options.is_empty() {
        format!("--volume={path}:{path}")
    } else {
        format!("--volume={path}:{path}:{options}")
    }
}

/// `ro`, `rshared`, both or nothing.
pub(crate) fn mount_options(mount: &Mount) -> String {
    let words = [mount.read_only.then_some("ro"), mount.shared.then_some("rshared")];
    words.into_iter().flatten().collect::<Vec<_>>().join(",")
}

fn start_with_ctr(node: &Node, script: &mut Script) {
    let mut write = |why: &str, name: &str, words: &[&str]| {
        let text = oci::text(node, name, words);
        script.steps.push(Step::Write { why: why.into(), path: oci::path(name), text, keep: false });
    };
    let why = "The kubelet's container: `ctr` has no option for a root that shares its mounts.";
    write(why, &node.name, &node.command());
    let join = format!("{}-join", node.name);
    if let Some(words) = &node.join {
        let words = ["kubeadm", "join"].into_iter().chain(words.words().iter().map(String::as_str));
        write("kubeadm's.", &join, &words.collect::<Vec<_>>());
    }
    script.run("Its root, out of the image.", mount_root(node));
    let mut kubelet = ctr(&["run"]);
    kubelet.because("--detach", "it goes on when the shell is left");
    kubelet.word(format!("--config={}", oci::path(&node.name)));
    let log = format!("file:///var/log/{}.log", node.name);
    kubelet
        .because("--label=containerd.io/restart.status=running", "containerd starts it again when it ends");
    kubelet.word("--label=containerd.io/restart.policy=always");
    kubelet.word(format!("--label=containerd.io/restart.loguri={log}"));
    kubelet.because(format!("--log-uri={log}"), "where its log goes");
    kubelet.word(&node.name);
    script.run("The kubelet.", kubelet);
    if node.join.is_some() {
        let config = format!("--config={}", oci::path(&join));
        script.run(JOIN, ctr(&["run", "--rm", &config, &join]));
    }
}

/// Pulls the image, for the machine's own platform.
pub(crate) fn pull(node: &Node) -> Command {
    let mut pull = ctr(&["images", "pull"]);
    pull.words.extend(snapshotter(node));
    pull.word(&node.image);
    pull
}

/// The option for a snapshotter that is not `ctr`'s own choice.
pub(crate) fn snapshotter(node: &Node) -> Option<Word> {
    let text = format!("--snapshotter={}", node.snapshotter);
    let why = Some("what containerd is set up with".to_owned());
    (node.snapshotter != "overlayfs").then_some(Word { text, why })
}

/// Mounts the image's root.
pub(crate) fn mount_root(node: &Node) -> Command {
    let mut mount = ctr(&["images", "mount"]);
    mount.words.extend(snapshotter(node));
    mount.because("--rw", "mount points are made in it");
    mount.word(&node.image).word(oci::ROOT);
    mount
}

/// `ctr` in a namespace of its own.
pub(crate) fn ctr(words: &[&str]) -> Command {
    let mut command = Command::new(["ctr"]);
    command.because(
        format!("--namespace={}", oci::NAMESPACE),
        "not k8s.io, where the kubelet would collect its own image as unused",
    );
    for word in words {
        command.word(*word);
    }
    command
}
