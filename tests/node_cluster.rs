//! A node and kube-proxy against a real API server.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod go_source;
mod node_machine;
mod program;

use std::process::Command;

use kimg_core::Platform;
use kimg_testkit::{both, run, tool};
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

/// What the controllers of daemon sets and of service accounts' tokens would make of the manifest: a pod on the node, with
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
    let Some(node) = NodeMachine::start() else { return };
    a_node_with_a_pod_and_a_service(node);
}

#[test]
#[ignore = "a whole node with an API server: about a minute, and some to compile"]
fn so_does_a_node_whose_programs_are_one() {
    let Some(node) = NodeMachine::start() else { return };
    let Some(settings) = go_source::kubernetes(go_source::As::One) else { return };
    fs_err::write(node.folder.path().join("kimg.toml"), settings).unwrap();
    let Some(node) = a_node_with_a_pod_and_a_service(node) else { return };
    // It is one program here, on the machine too, where the plugins were brought to.
    let layout = kimg_testkit::Layout::open(node.folder.path().join("out"));
    let name = program::indexes(&layout).remove("kube-proxy").unwrap().name;
    let root = node.folder.path().join("kube-proxy");
    let Some(root) = kimg_testkit::umoci_unpack(layout.folder(), &name, Platform::Amd64, &root) else {
        return;
    };
    let link = fs_err::read_link(root.folder().join("usr/local/bin/kube-proxy")).unwrap();
    assert_eq!(link, std::path::Path::new("/usr/bin/kubernetes"));
    assert!(node.machine.path("/opt/cni/bin/cni-plugins").exists());
}

/// All of it; `None` after a visible skip.
fn a_node_with_a_pod_and_a_service(mut node: NodeMachine) -> Option<NodeMachine> {
    let save = tool("iptables-legacy-save")?;
    node.start_control_plane()?;
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
    Some(node)
}

/// What kubeadm's preflight would not let pass here, with the reason.
const IGNORED: [(&str, &str); 2] = [
    ("FileExisting-conntrack", "the test repository has no conntrack"),
    ("FileExisting-crictl", "nor crictl"),
];

/// What `kubeadm init` writes into a cluster. The test repository's own kubeadm can't: it is compiled by a newer Go
/// than it was written for, and crashes wherever it writes a map.
fn prepare_cluster(node: &NodeMachine) {
    let kubelet = "apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\ncgroupDriver: cgroupfs\n\
                   cgroupsPerQOS: false\nenforceNodeAllocatable: []\nfailSwapOn: false\nrotateCertificates: true\n\
                   authentication: { x509: { clientCAFile: /etc/kubernetes/pki/ca.crt } }\n\
                   staticPodPath: /etc/kubernetes/manifests\n";
    let cluster = "apiVersion: kubeadm.k8s.io/v1beta2\nkind: ClusterConfiguration\nkubernetesVersion: v1.20.2\n\
                   controlPlaneEndpoint: 192.168.7.2:6443\nclusterName: kubernetes\n";
    let status = "apiVersion: kubeadm.k8s.io/v1beta2\nkind: ClusterStatus\n\
                  apiEndpoints: { master: { advertiseAddress: 192.168.7.2, bindPort: 6443 } }\n";
    let map = |namespace: &str, name: &str, data: Value| {
        let metadata = json!({ "name": name, "namespace": namespace });
        json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data })
    };
    let (id, secret) = TOKEN.split_once('.').unwrap();
    let token = json!({
        "apiVersion": "v1", "kind": "Secret", "type": "bootstrap.kubernetes.io/token",
        "metadata": { "name": format!("bootstrap-token-{id}"), "namespace": "kube-system" },
        "stringData": { "token-id": id, "token-secret": secret, "usage-bootstrap-authentication": "true" },
    });
    let all = [
        map(
            "kube-system",
            "kubeadm-config",
            json!({ "ClusterConfiguration": cluster, "ClusterStatus": status }),
        ),
        map("kube-system", "kubelet-config-1.20", json!({ "kubelet": kubelet })),
        map("kube-public", "cluster-info", json!({ "kubeconfig": discovery(node) })),
        token,
    ];
    node.kubectl(&["apply"], Some(&list(&all)));
    for words in [
        "role config --namespace=kube-system --verb=get --resource=configmaps",
        "rolebinding config --namespace=kube-system --role=config --group=system:bootstrappers --group=system:nodes",
        "clusterrole nodes --verb=get --resource=nodes",
        "clusterrolebinding nodes --clusterrole=nodes --group=system:bootstrappers",
        "role info --namespace=kube-public --verb=get --resource=configmaps",
        "rolebinding info --namespace=kube-public --role=info --user=system:anonymous",
    ] {
        let words: Vec<&str> = ["create"].into_iter().chain(words.split(' ')).collect();
        node.kubectl(&words, None);
    }
    // That who has a token may ask for a certificate is what the manifest says.
    let image = "localhost:5000/kube-proxy:v1.20.2";
    node.kubectl(&["apply"], Some(&node.kimg_node(&["manifest", "--image", image, "--server", SERVER])));
}

/// A cluster without anybody in it, as a kubeconfig says it.
fn discovery(node: &NodeMachine) -> String {
    format!(
        "apiVersion: v1\nkind: Config\nclusters: [{{ name: '', cluster: {{ server: '{SERVER}', \
         certificate-authority-data: {} }} }}]\n",
        authority(node)
    )
}

/// The same with somebody in it, who has nothing but the token.
fn bootstrap_conf(node: &NodeMachine) -> String {
    discovery(node).replace("name: ''", "name: join")
        + &format!(
            "contexts: [{{ name: join, context: {{ cluster: join, user: join }} }}]\ncurrent-context: join\n\
             users: [{{ name: join, user: {{ token: {TOKEN} }} }}]\n"
        )
}

/// The authority's certificate as a kubeconfig holds it.
fn authority(node: &NodeMachine) -> String {
    run(Command::new("base64").arg("-w0").arg(node.certificates.file("ca.crt")))
}

const IMAGE: &str = "localhost:5000/kubelet:v1.20.2-kubeadm-cni";

/// A map, and so said by a flag and not in the configuration that kubeadm writes.
const EVICTIONS: &str = "--eviction-hard=memory.available<1Mi,nodefs.available<1%,imagefs.available<1%";

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
    prepare_cluster(&node);
    // What the owner of a machine does for its pods' network; kubeadm's preflight asks for it.
    node.machine.success("echo 1 >/proc/sys/net/ipv4/ip_forward");
    // The cluster is told by a file: to tell it by the token alone, the controller manager would have to sign it.
    node.machine.write("/etc/kubernetes/discovery.conf", &discovery(&node));
    let ignored = IGNORED.map(|(check, _)| check).join(",");
    let words = ["run", "--image", IMAGE, "--argument", EVICTIONS];
    let words = [&words[..], &["--kubeadm-join", "kubeadm", "join"]].concat();
    let join = ["--discovery-file", "/etc/kubernetes/discovery.conf", "--tls-bootstrap-token", TOKEN];
    let ignore = ["--ignore-preflight-errors", &ignored];
    let script = node.kimg_node(&[&words[..], &join, &ignore].concat());
    let script = adapted(script, Part::Script, ADAPTATIONS);
    let mut commands = node.machine.command("sh");
    node.machine.daemon("join", commands.args(["-e", "-c", &script]));
    let kubeadm = node.wait_for("end of kubeadm, or of its preflight", 60, |node| {
        let log = node.machine.log("join");
        ["WriteConfigToDisk", "[kubelet-start] Starting the kubelet", "error execution"]
            .iter()
            .any(|end| log.contains(end))
            .then_some(log)
    });
    assert!(!kubeadm.contains("error execution"), "{kubeadm}");
    assert!(kubeadm.contains("[preflight] Reading configuration from the cluster"), "{kubeadm}");
    // It has told the cluster from others.
    assert_eq!(
        fs_err::read_to_string(node.machine.path("/etc/kubernetes/pki/ca.crt")).unwrap(),
        node.certificates.text("ca.crt")
    );
    // Then the test repository's kubeadm crashes, as it writes a map: what a whole one would leave is written for it.
    let crashed = kubeadm.contains("WriteConfigToDisk");
    if crashed {
        let config = node.kimg_node(&["config", "--image", IMAGE]);
        node.machine.write("/etc/kubernetes/bootstrap-kubelet.conf", &bootstrap_conf(&node));
        node.machine.write("/var/lib/kubelet/config.yaml", &adapted(config, Part::Config, ADAPTATIONS));
    }
    // The kubelet, which had started again and again, goes on from there.
    node.wait_for("request for a certificate", 60, sign_requests);
    let known = node.wait_for("node", 60, |node| node.object(&["node", "node1"]));
    assert_eq!(known["status"]["nodeInfo"]["kubeletVersion"], "v1.20.2");
    assert!(node.machine.path("/etc/kubernetes/kubelet.conf").exists());
    assert_eq!(node.machine.ended_well("join"), !crashed, "{}", node.machine.log("join"));
    // The plugins were brought by the same script.
    assert!(node.machine.path("/opt/cni/bin/bridge").exists());
}
