//! A node and kube-proxy against a real API server.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod node_machine;
mod program;

use std::process::Command;

use kimg_core::Platform;
use kimg_testkit::{Root, both, run, tool};
use node_machine::certificates::kubelet_conf;
use node_machine::cluster::SERVER;
use node_machine::{ADAPTATIONS, NodeMachine, Part, adapted};
use serde_json::{Value, json};

/// A network of pods of this machine, as its owner sets it up.
const NETWORK: &str = r#"{ "cniVersion": "0.4.0", "name": "pods", "plugins": [
  { "type": "bridge", "bridge": "cni0", "isGateway": true, "ipMasq": false,
    "ipam": { "type": "host-local", "ranges": [[{ "subnet": "10.88.0.0/24" }]], "routes": [{ "dst": "0.0.0.0/0" }] } }
] }"#;

/// Bound to the node by who makes it, as there is no scheduler.
const POD: &str = "
apiVersion: v1
kind: Pod
metadata: { name: web, namespace: default }
spec:
  nodeName: node1
  containers:
  - name: web
    image: localhost:5000/pod:1
    command:
    - /bin/busybox
    - sh
    - -c
    - >-
      echo serving;
      while :; do printf 'HTTP/1.0 200 OK\\r\\n\\r\\nserved by a pod\\n' | /bin/busybox nc -l -p 80; done
";

/// Several objects in one text.
fn list(items: &[Value]) -> String {
    json!({ "apiVersion": "v1", "kind": "List", "items": items }).to_string()
}

/// What the controller of endpoints would make of the pod.
fn service(address: &str) -> String {
    let metadata = json!({ "name": "web", "namespace": "default" });
    let labels = json!({ "kubernetes.io/service-name": "web" });
    let slice = json!({
        "apiVersion": "discovery.k8s.io/v1beta1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": { "name": "web", "namespace": "default", "labels": labels },
        "endpoints": [{ "addresses": [address], "conditions": { "ready": true } }],
        "ports": [{ "port": 80, "protocol": "TCP", "name": "" }],
    });
    let service = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": metadata,
        "spec": { "clusterIP": "10.0.0.77", "ports": [{ "port": 80, "targetPort": 80 }] },
    });
    list(&[service, slice])
}

/// What the controllers of DaemonSets and of service accounts' tokens would make of the manifest: a pod on the node, with
/// the token where pods have it.
fn proxy_pod(node: &NodeMachine, set: &Value) -> String {
    let request = r#"{"apiVersion":"authentication.k8s.io/v1","kind":"TokenRequest","spec":{}}"#;
    let token = "/api/v1/namespaces/kube-system/serviceaccounts/kube-proxy/token";
    let answer: Value =
        serde_json::from_str(&node.kubectl(&["create", "--raw", token], Some(request))).unwrap();
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "kube-proxy-token", "namespace": "kube-system" },
        "stringData": { "token": answer["status"]["token"], "ca.crt": node.certificates.text("ca.crt") },
    });
    let template = &set["spec"]["template"];
    let mut spec = template["spec"].clone();
    spec["nodeName"] = "node1".into();
    spec["volumes"]
        .as_array_mut()
        .unwrap()
        .push(json!({ "name": "token", "secret": { "secretName": "kube-proxy-token" } }));
    let mounts = spec["containers"][0]["volumeMounts"].as_array_mut().unwrap();
    mounts.push(json!({ "name": "token", "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount" }));
    let metadata =
        json!({ "name": "kube-proxy", "namespace": "kube-system", "labels": template["metadata"]["labels"] });
    let pod = json!({ "apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec });
    list(&[secret, pod])
}

#[test]
#[ignore = "a whole node with an API server: about a minute"]
fn a_node_registers_and_runs_a_pod_and_kube_proxy_leads_a_service_to_it() {
    let Some(save) = tool("iptables-legacy-save") else { return };
    let Some(mut node) = NodeMachine::start() else { return };
    if node.start_control_plane().is_none() {
        return;
    }
    node.publish(&["cni", "kube-proxy"]);
    let words = ["--image", "localhost:5000/kubelet:v1.20.2-cni", "--runtime", "containerd"];
    let config = node.kimg_node(&[&["config"][..], &words].concat());
    node.machine.write("/var/lib/kubelet/config.yaml", &adapted(config, Part::Config, ADAPTATIONS));
    node.machine.write("/etc/cni/net.d/10-pods.conflist", NETWORK);
    node.write_identity(SERVER);
    let script = node.kimg_node(&[&["run"][..], &words].concat());
    node.machine.success(&adapted(script, Part::Script, ADAPTATIONS));

    // The node.
    let known = node.wait_for("node that is ready", 60, |node| {
        let known = node.object(&["node", "node1"])?;
        let conditions = known["status"]["conditions"].as_array()?.clone();
        conditions.iter().any(|c| c["type"] == "Ready" && c["status"] == "True").then_some(known)
    });
    let info = &known["status"]["nodeInfo"];
    assert_eq!(
        (&info["kubeletVersion"], &info["architecture"]),
        (&"v1.20.2".into(), &"amd64".into()),
        "{info}"
    );
    assert_eq!(
        info["containerRuntimeVersion"].as_str().unwrap().split('~').next(),
        Some("containerd://1.6.20")
    );
    assert_eq!(known["metadata"]["labels"]["kubernetes.io/arch"], "amd64");

    // A pod with a network of its own, by the plugins that the image brought.
    node.kubectl(&["apply"], Some(POD));
    let pod = node.wait_until_running("default", "web");
    let address = pod["status"]["podIP"].as_str().unwrap().to_owned();
    assert!(address.starts_with("10.88.0."), "{address}");
    let log = node.wait_for("log of the pod", 10, |node| {
        node.try_kubectl(&["logs", "web"], None).filter(|log| !log.is_empty())
    });
    assert_eq!(log, "serving\n");

    // kube-proxy, with the rights that the manifest gives it.
    let words = ["manifest", "--image", "localhost:5000/kube-proxy:v1.20.2", "--server", SERVER];
    let manifest = adapted(node.kimg_node(&words), Part::Manifest, ADAPTATIONS);
    node.kubectl(&["apply"], Some(&manifest));
    let set = node.object(&["daemonset", "kube-proxy", "--namespace", "kube-system"]).unwrap();
    node.kubectl(&["apply"], Some(&proxy_pod(&node, &set)));
    node.kubectl(&["apply"], Some(&service(&address)));
    node.wait_until_running("kube-system", "kube-proxy");
    let logs = ["logs", "kube-proxy", "--namespace", "kube-system"];
    let rules = node.wait_for("rules of the service", 60, |node| {
        let rules = both(&kimg_testkit::output(&mut node.machine.command(&save)));
        let there = rules.contains("KUBE-SEP-").then_some(rules);
        // What a failure shows.
        if there.is_none() {
            node.try_kubectl(&logs, None);
        }
        there
    });
    assert!(
        rules.contains("-d 10.0.0.77/32") && rules.contains(&format!("--to-destination {address}:80")),
        "{rules}"
    );
    let served = node.wait_for("answer of the service", 20, |node| {
        let answer = node.machine.sh("curl --silent --fail --max-time 5 http://10.0.0.77/");
        answer.status.success().then(|| both(&answer))
    });
    assert_eq!(served, "served by a pod\n");
}

/// What kubeadm's preflight would not let pass here, with the reason.
const IGNORED: [(&str, &str); 3] = [
    ("FileExisting-conntrack", "the test repository has no conntrack"),
    ("FileExisting-crictl", "nor crictl"),
    ("SystemVerification", "kubeadm 1.20 knows no kernel like this one"),
];

/// What `kubeadm init` writes into a cluster, and its owner decides: done by the very kubeadm of the image.
fn prepare_cluster(node: &NodeMachine, root: &Root) {
    let kubelet = "apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\ncgroupDriver: cgroupfs\n\
                   staticPodPath: /etc/kubernetes/manifests\n";
    let config = format!(
        "apiVersion: kubeadm.k8s.io/v1beta2\nkind: InitConfiguration\nbootstrapTokens: [{{ token: {TOKEN} }}]\n\
         nodeRegistration: {{ criSocket: /run/containerd/containerd.sock }}\n---\n\
         apiVersion: kubeadm.k8s.io/v1beta2\nkind: ClusterConfiguration\nkubernetesVersion: v1.20.2\n\
         controlPlaneEndpoint: 192.168.7.2:6443\n---\n{}",
        adapted(kubelet.to_owned(), Part::Config, ADAPTATIONS)
    );
    fs_err::write(root.on_disk("/kubeadm.yaml"), config).unwrap();
    fs_err::create_dir_all(root.on_disk("/etc/kubernetes/pki")).unwrap();
    fs_err::write(root.on_disk("/etc/kubernetes/pki/ca.crt"), node.certificates.text("ca.crt")).unwrap();
    fs_err::write(root.on_disk("/admin.pem"), node.certificates.both("admin")).unwrap();
    let conf = kubelet_conf(SERVER).replace(node_machine::certificates::CLIENT, "/admin.pem");
    fs_err::write(root.on_disk("/etc/kubernetes/admin.conf"), conf).unwrap();
    for phase in [["upload-config", "all"].as_slice(), &["bootstrap-token"]] {
        let mut kubeadm = node.machine.command("chroot");
        kubeadm.arg(root.folder()).args(["/usr/bin/kubeadm", "init", "phase"]).args(phase);
        run(kubeadm.args(["--config=/kubeadm.yaml", "--kubeconfig=/etc/kubernetes/admin.conf"]));
    }
}

const TOKEN: &str = "abcdef.0123456789abcdef";

/// What the controller manager would do about a node's request: approve and sign it. Gives the request's name.
fn sign_requests(node: &NodeMachine) -> Option<String> {
    let all = node.object(&["certificatesigningrequests"])?;
    let mut request = all["items"].as_array()?.iter().find(|r| r["status"]["certificate"].is_null())?.clone();
    let name = request["metadata"]["name"].as_str()?.to_owned();
    node.kubectl(&["certificate", "approve", &name], None);
    request = node.object(&["certificatesigningrequest", &name])?;
    let asked = request["spec"]["request"].as_str()?;
    let folder = node.folder.path();
    let sign = format!(
        "cd {folder} && echo {asked} | base64 -d >node.csr && printf 'extendedKeyUsage=clientAuth' >usage && \
         openssl x509 -req -days 2 -in node.csr -CA {ca} -CAkey {key} -CAcreateserial -extfile usage | base64 -w0",
        folder = folder.display(),
        ca = node.certificates.file("ca.crt").display(),
        key = node.certificates.file("ca.key").display(),
    );
    request["status"]["certificate"] = run(Command::new("sh").args(["-c", &sign])).into();
    let path = format!("/apis/certificates.k8s.io/v1/certificatesigningrequests/{name}/status");
    node.kubectl(&["replace", "--raw", &path], Some(&request.to_string()));
    Some(name)
}

#[test]
#[ignore = "a whole node with an API server: about a minute"]
fn a_node_joins_by_the_kubeadm_of_its_image() {
    let Some(mut node) = NodeMachine::start() else { return };
    if node.start_control_plane().is_none() {
        return;
    }
    node.publish(&["kubeadm-cni"]);
    let (out, unpacked) = (node.folder.path().join("out"), node.folder.path().join("image"));
    let name = "kubelet:v1.20.2-kubeadm-cni";
    let Some(root) = kimg_testkit::umoci_unpack(&out, name, Platform::Amd64, &unpacked) else { return };
    prepare_cluster(&node, &root);
    // The cluster is told by a file: to tell it by the token alone, the controller manager would have to sign it.
    let authority = run(Command::new("base64").arg("-w0").arg(node.certificates.file("ca.crt")));
    let discovery = format!(
        "apiVersion: v1\nkind: Config\nclusters: [{{ name: '', cluster: {{ server: '{SERVER}', \
         certificate-authority-data: {authority} }} }}]\n"
    );
    node.machine.write("/etc/kubernetes/discovery.conf", &discovery);
    let ignored = IGNORED.map(|(check, _)| check).join(",");
    let image = format!("localhost:5000/{name}");
    let words = ["run", "--runtime", "containerd", "--image", &image, "--kubeadm-join", "kubeadm", "join"];
    let join = ["--discovery-file", "/etc/kubernetes/discovery.conf", "--tls-bootstrap-token", TOKEN];
    let ignore = ["--ignore-preflight-errors", &ignored];
    let script = node.kimg_node(&[&words[..], &join, &ignore].concat());
    let script = adapted(script, Part::Script, ADAPTATIONS);
    let mut commands = node.machine.command("sh");
    let mut running = node.machine.daemon("join", commands.args(["-e", "-c", &script]));
    node.wait_for("request for a certificate", 90, |node| {
        assert!(node.machine.sh("true").status.success());
        sign_requests(node)
    });
    let joined = node.wait_for("end of kubeadm", 90, |node| {
        let log = node.machine.log("join");
        (log.contains("This node has joined the cluster") || log.contains("error execution")).then_some(log)
    });
    assert!(joined.contains("This node has joined the cluster"), "{joined}\n{}", node.logs());
    assert!(running.wait().unwrap().success(), "{}", node.machine.log("join"));
    let known = node.wait_for("node", 30, |node| node.object(&["node", "node1"]));
    assert_eq!(known["status"]["nodeInfo"]["kubeletVersion"], "v1.20.2");
    let socket = &known["metadata"]["annotations"]["kubeadm.alpha.kubernetes.io/cri-socket"];
    assert!(socket.as_str().unwrap().ends_with("/run/containerd/containerd.sock"), "{socket}");
    // The plugins were brought by the same script.
    assert!(node.machine.path("/opt/cni/bin/bridge").exists());
}
