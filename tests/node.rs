//! A kubelet that is brought up by what `kimg node` prints runs a pod.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod node_machine;
mod program;

use node_machine::{ADAPTATIONS, NodeMachine, Part, WITHOUT_API_SERVER, adapted};

/// A pod of the network that the machine has. Its volume is a mount that the kubelet makes, in its container, below
/// `/var/lib/kubelet`: the runtime, outside, sees it only if that folder is shared on both sides.
const STATIC_POD: &str = "
apiVersion: v1
kind: Pod
metadata: { name: hello, namespace: default }
spec:
  hostNetwork: true
  volumes: [{ name: data, emptyDir: { medium: Memory } }]
  containers:
  - name: hello
    image: localhost:5000/pod:1
    command: [/bin/busybox, sh, -c, 'echo hello from the pod; /bin/busybox grep /data /proc/mounts; exec /bin/busybox sleep 1000000']
    volumeMounts: [{ name: data, mountPath: /data }]
";

#[test]
fn a_static_pod_runs_on_a_node_that_is_brought_up_as_kimg_says() {
    let Some(mut node) = NodeMachine::start() else { return };
    node.publish(&["plain"]);
    let image = "localhost:5000/kubelet:v1.20.2";
    let words = ["--image", image, "--runtime", "containerd"];
    let config = node.kimg_node(&[&["config"][..], &words].concat());
    let config = adapted(adapted(config, Part::Config, ADAPTATIONS), Part::Config, WITHOUT_API_SERVER);
    node.machine.write("/var/lib/kubelet/config.yaml", &config);
    // An API server that nobody listens for: a static pod needs none.
    node.write_identity("https://127.0.0.1:1");
    node.machine.write("/etc/kubernetes/manifests/hello.yaml", STATIC_POD);

    let script = node.kimg_node(&[&["run"][..], &words].concat());
    node.machine.success(&adapted(script, Part::Script, ADAPTATIONS));

    let pod = node.wait_for_pod("hello-node1", 60);
    assert_eq!(pod["spec"]["nodeName"], "node1");
    let log = node.wait_for("log of the pod", 10, |node| {
        node.kubelet("/containerLogs/default/hello-node1/hello").filter(|log| log.lines().count() > 1)
    });
    assert!(log.starts_with("hello from the pod\n"), "{log}");
    assert!(log.contains("tmpfs /data tmpfs"), "what the kubelet mounts does not reach the pod: {log}");
}
