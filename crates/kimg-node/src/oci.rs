//! The kubelet's container as an OCI runtime spec, for engines whose options say less: `ctr run --config`.
//!
//! Source: <https://github.com/opencontainers/runtime-spec/blob/v1.0.2/config.md>. `ctr` has no option for
//! `linux.rootfsPropagation`; without it runc makes the whole root a slave of the machine's, and what the kubelet
//! mounts for a pod is never seen by the runtime.

use serde_json::{Value, json};

use crate::{Mount, Node};

/// containerd's namespace of the kubelet's own image and container.
pub const NAMESPACE: &str = "kubelet";

/// Where the image's root is mounted.
pub const ROOT: &str = "/run/kubeletd/rootfs";

/// Where specs are written.
pub const FOLDER: &str = "/etc/kubeletd";

/// Every capability of Linux 5.9 and later (`linux/capability.h`).
const CAPABILITIES: &[&str] = &[
    "CAP_AUDIT_CONTROL",
    "CAP_AUDIT_READ",
    "CAP_AUDIT_WRITE",
    "CAP_BLOCK_SUSPEND",
    "CAP_BPF",
    "CAP_CHECKPOINT_RESTORE",
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_DAC_READ_SEARCH",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_IPC_LOCK",
    "CAP_IPC_OWNER",
    "CAP_KILL",
    "CAP_LEASE",
    "CAP_LINUX_IMMUTABLE",
    "CAP_MAC_ADMIN",
    "CAP_MAC_OVERRIDE",
    "CAP_MKNOD",
    "CAP_NET_ADMIN",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_BROADCAST",
    "CAP_NET_RAW",
    "CAP_PERFMON",
    "CAP_SETFCAP",
    "CAP_SETGID",
    "CAP_SETPCAP",
    "CAP_SETUID",
    "CAP_SYSLOG",
    "CAP_SYS_ADMIN",
    "CAP_SYS_BOOT",
    "CAP_SYS_CHROOT",
    "CAP_SYS_MODULE",
    "CAP_SYS_NICE",
    "CAP_SYS_PACCT",
    "CAP_SYS_PTRACE",
    "CAP_SYS_RAWIO",
    "CAP_SYS_RESOURCE",
    "CAP_SYS_TIME",
    "CAP_SYS_TTY_CONFIG",
    "CAP_WAKE_ALARM",
];

/// The file of a container's spec.
pub fn path(name: &str) -> String {
    format!("{FOLDER}/{name}.json")
}

/// The spec of a container of this name, with the node's privileges and mounts, that starts these words.
///
/// It has a mount namespace and no other: network, processes, name and cgroups are the machine's.
pub fn spec(node: &Node, name: &str, words: &[&str]) -> Value {
    json!({
        "ociVersion": "1.0.2",
        "process": {
            "user": { "uid": 0, "gid": 0 },
            "args": words,
            "env": node.environment,
            "cwd": "/",
            "capabilities": {
                "bounding": CAPABILITIES, "effective": CAPABILITIES, "permitted": CAPABILITIES,
            },
        },
        "root": { "path": ROOT },
        "mounts": mounts(&node.mounts),
        "linux": {
            "namespaces": [{ "type": "mount" }],
            "rootfsPropagation": "rshared",
            "cgroupsPath": format!("/{name}"),
            "resources": { "devices": [{ "allow": true, "access": "rwm" }] },
        },
    })
}

/// What Docker and podman give every container, and the node's own.
fn mounts(own: &[Mount]) -> Vec<Value> {
    let of_the_machine = |path: &str, option: &str| json!({ "destination": path, "type": "bind", "source": path, "options": ["rbind", option] });
    let mut all = vec![
        json!({ "destination": "/proc", "type": "proc", "source": "proc", "options": ["nosuid", "noexec", "nodev"] }),
        of_the_machine("/dev", "rslave"),
        of_the_machine("/sys", "rslave"),
        json!({ "destination": "/run", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "nodev", "mode=755"] }),
        of_the_machine("/etc/hosts", "ro"),
        of_the_machine("/etc/resolv.conf", "ro"),
    ];
    for mount in own {
        let mut options = vec!["rbind", if mount.shared { "rshared" } else { "rprivate" }];
        options.extend(mount.read_only.then_some("ro"));
        all.push(
            json!({ "destination": mount.path, "type": "bind", "source": mount.path, "options": options }),
        );
    }
    all
}

/// The spec as it is written into a file: as few lines as fit 120 characters.
pub fn text(node: &Node, name: &str, words: &[&str]) -> String {
    let mut text = String::new();
    write(&spec(node, name, words), 0, &mut text);
    text.push('\n');
    text
}

fn write(value: &Value, depth: usize, out: &mut String) {
    let indent = "  ".repeat(depth + 1);
    let (open, close, items) = match value {
        Value::Object(map) => {
            let item = |(key, value): (&String, _)| {
                format!("{}: {}", Value::from(key.as_str()), nested(value, depth))
            };
            ('{', '}', map.iter().map(item).collect())
        }
        Value::Array(list) => ('[', ']', list.iter().map(|value| nested(value, depth)).collect::<Vec<_>>()),
        other => return out.push_str(&other.to_string()),
    };
    let whole = format!("{open} {} {close}", items.join(", "));
    if items.is_empty() || (whole.len() + indent.len() < 120 && !whole.contains('\n')) {
        return out.push_str(&whole);
    }
    let words = value.as_array().is_some_and(|list| list.iter().all(Value::is_string));
    out.push(open);
    let mut line = 1_000;
    for (number, item) in items.iter().enumerate() {
        out.push_str(if number == 0 { "" } else { "," });
        if words && line + item.len() < 100 {
            out.push(' ');
        } else {
            out.push('\n');
            out.push_str(&indent);
            line = indent.len();
        }
        out.push_str(item);
        line += item.len() + 2;
    }
    out.push('\n');
    out.push_str(&"  ".repeat(depth));
    out.push(close);
}

fn nested(value: &Value, depth: usize) -> String {
    let mut text = String::new();
    write(value, depth + 1, &mut text);
    text
}
