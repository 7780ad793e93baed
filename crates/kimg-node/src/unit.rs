//! systemd units: a service around the engine's command, and a quadlet, which podman's generator makes a service of.
//!
//! Source of the quoting: systemd.service(5), "Command lines", and systemd.syntax(7).

use std::fmt::Write as _;

use kimg_core::variant::Runtime;

use crate::run::{container, ctr, mount_options, mount_root, prepare};
use crate::shell::folded;
use crate::{Command, Engine, Node, Privilege, oci};

/// `NAME.service`: starts the kubelet with the machine, and again when it ends.
pub fn service(node: &Node) -> String {
    let mut text = head(node);
    text.push_str("\n[Service]\n");
    for command in prepare(node) {
        exec(&mut text, "ExecStartPre=", &command);
    }
    match node.engine {
        Engine::Docker | Engine::Podman => with_client(node, &mut text),
        Engine::Ctr => with_ctr(node, &mut text),
    }
    text.push_str(TAIL);
    text
}

/// `NAME.container`, for `/etc/containers/systemd` (podman 4.4 and later; podman-systemd.unit(5)).
pub fn quadlet(node: &Node) -> String {
    let mut text = head(node);
    text.push_str("\n[Container]\n");
    let _ = writeln!(text, "Image={}\nContainerName={}", node.image, node.name);
    let _ = writeln!(text, "# {}\nNetwork=host", Privilege::Network.reason());
    for privilege in Privilege::ALL.into_iter().filter(|privilege| *privilege != Privilege::Network) {
        let _ = writeln!(text, "# {}\nPodmanArgs={}", privilege.reason(), privilege.option());
    }
    for mount in &node.mounts {
        let options = mount_options(mount);
        let end = if options.is_empty() { String::new() } else { format!(":{options}") };
        let _ = writeln!(text, "# {}\nVolume={}:{}{end}", mount.reason, mount.path, mount.path);
    }
    if !node.arguments.is_empty() {
        let words: Vec<String> = node.arguments.iter().map(|word| quote(&word.text)).collect();
        let _ = writeln!(text, "Exec={}", words.join(" "));
    }
    text.push_str("\n[Service]\n");
    for command in prepare(node) {
        exec(&mut text, "ExecStartPre=", &command);
    }
    text.push_str(TAIL);
    text
}

const TAIL: &str = "Restart=always\nRestartSec=10\n\n[Install]\nWantedBy=multi-user.target\n";

fn head(node: &Node) -> String {
    let engine = match node.engine {
        Engine::Docker => Some("docker.service"),
        Engine::Ctr => Some("containerd.service"),
        Engine::Podman => None,
    };
    let runtime = match node.runtime {
        Runtime::Docker => "docker.service",
        Runtime::Containerd => "containerd.service",
        Runtime::Crio => "crio.service",
    };
    let mut needed = vec![runtime];
    needed.extend(engine.filter(|engine| *engine != runtime));
    let needed = needed.join(" ");
    format!(
        "[Unit]\nDescription=Kubernetes kubelet {version} in a container\n\
         Documentation=https://kubernetes.io/docs/reference/command-line-tools-reference/kubelet/\n\
         Requires={needed}\nWants=network-online.target\nAfter={needed} network-online.target\n\
         StartLimitIntervalSec=0\n",
        version = node.version,
    )
}

fn with_client(node: &Node, text: &mut String) {
    let program = node.engine.program();
    exec(text, "ExecStartPre=-", &Command::new([program, "rm", "--force", &node.name]));
    let mut kubelet = Command::new([program, "run", "--rm", &format!("--name={}", node.name)]);
    container(node, &mut kubelet);
    exec(text, "ExecStart=", &kubelet);
    exec(text, "ExecStop=", &Command::new([program, "stop", &node.name]));
}

fn with_ctr(node: &Node, text: &mut String) {
    let spec = oci::path(&node.name);
    let _ = writeln!(text, "# The container is written in {spec}, as `kimg node spec` prints it.");
    let leftovers = [
        ctr(&["tasks", "kill", "--signal=SIGKILL", &node.name]),
        ctr(&["containers", "rm", &node.name]),
        ctr(&["images", "unmount", "--rm", oci::ROOT]),
    ];
    for command in &leftovers {
        exec(text, "ExecStartPre=-", command);
    }
    exec(text, "ExecStartPre=", &mount_root(node));
    exec(text, "ExecStart=", &ctr(&["run", "--rm", &format!("--config={spec}"), &node.name]));
    exec(text, "ExecStopPost=-", &ctr(&["images", "unmount", "--rm", oci::ROOT]));
}

fn exec(text: &mut String, key: &str, command: &Command) {
    let words: Vec<String> = command.words.iter().map(|word| quote(&word.text)).collect();
    let _ = writeln!(text, "{key}{}", folded(&words, " \\\n  "));
}

/// A word of a command line in a unit: `%` and `$` are doubled, and what else is no plain character stands in quotes
/// (systemd.service(5), "Command lines"; systemd.unit(5), "Specifiers").
pub fn quote(word: &str) -> String {
    let doubled = word.replace('%', "%%").replace('$', "$$");
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,@%$+{}".contains(c);
    if !word.is_empty() && doubled.chars().all(plain) {
        return doubled;
    }
    let mut quoted = String::from("\"");
    for c in doubled.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            '\n' => quoted.push_str("\\n"),
            '\t' => quoted.push_str("\\t"),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_a_unit_mean_themselves() {
        assert_eq!(quote("--label=a=b"), "--label=a=b");
        assert_eq!(quote("$HOME 100%"), "\"$$HOME 100%%\"");
        assert_eq!(quote("a \"b\" \\c"), r#""a \"b\" \\c""#);
        assert_eq!(quote(""), "\"\"");
        assert_eq!(quote("a\nb"), r#""a\nb""#);
    }
}
