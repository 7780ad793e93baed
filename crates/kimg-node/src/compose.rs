//! A compose file, for `docker compose` and `podman-compose`.
//!
//! Source: <https://github.com/compose-spec/compose-spec/blob/main/05-services.md>.

use std::fmt::Write as _;

use kimg_core::variant::MountKind;

use crate::run::mount_options;
use crate::yaml::scalar;
use crate::{Mount, Node, Privilege};

/// `compose.yaml`.
pub fn file(node: &Node) -> String {
    let mut text = format!(
        "# The kubelet {} by `docker compose up --detach`.\nservices:\n  {}:\n    image: {}\n",
        node.version,
        node.name,
        scalar(&node.image),
    );
    let _ = writeln!(text, "    container_name: {}\n    restart: always", node.name);
    for privilege in Privilege::ALL {
        let _ = writeln!(text, "    # {}\n    {}", privilege.reason(), key(privilege));
    }
    if !node.arguments.is_empty() {
        text.push_str("    command:\n");
        for word in &node.arguments {
            let _ = writeln!(text, "    - {}", scalar(&word.text));
        }
    }
    text.push_str("    volumes:\n");
    for mount in &node.mounts {
        volume(mount, &mut text);
    }
    text
}

fn key(privilege: Privilege) -> &'static str {
    match privilege {
        Privilege::Everything => "privileged: true",
        Privilege::Network => "network_mode: host",
        Privilege::Processes => "pid: host",
        Privilege::HostName => "uts: host",
        Privilege::Cgroups => "cgroup: host",
    }
}

/// The short form makes a folder of what is missing; the long one fails, as is right for a file that somebody else makes.
fn volume(mount: &Mount, text: &mut String) {
    let path = &mount.path;
    let _ = writeln!(text, "    # {}", mount.reason);
    if mount.kind != MountKind::File {
        let options = mount_options(mount);
        let end = if options.is_empty() { options } else { format!(":{options}") };
        let _ = writeln!(text, "    - {}", scalar(&format!("{path}:{path}{end}")));
        return;
    }
    let path = scalar(path);
    let _ = writeln!(text, "    - type: bind\n      source: {path}\n      target: {path}");
    if mount.read_only {
        text.push_str("      read_only: true\n");
    }
    if mount.shared {
        text.push_str("      bind:\n        propagation: rshared\n");
    }
}
