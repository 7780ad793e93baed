//! What a cluster needs for such nodes: kube-proxy's `DaemonSet`, and the rights with which nodes join.

use std::fmt::Write as _;

use kimg_core::{KubernetesVersion, Platform};

use crate::NodeError;
use crate::yaml::{indented, scalar};

/// How kube-proxy does its work.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ProxyMode {
    /// By rules of iptables.
    #[default]
    Iptables,
    /// By the kernel's own balancer.
    Ipvs,
}

/// Objects for `kubectl apply`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// Of which Kubernetes.
    pub version: KubernetesVersion,
    /// kube-proxy's image: one index for all platforms.
    pub image: String,
    /// The platforms that the image is there for.
    pub platforms: Vec<Platform>,
    /// The API server's address as nodes reach it, before there are services: `https://10.0.0.1:6443`.
    pub server: String,
    /// The range of the pods' addresses, if services tell them from others.
    pub cluster_cidr: Option<String>,
    /// How kube-proxy does its work.
    pub mode: ProxyMode,
    /// How kube-proxy starts: the image's entrypoint.
    pub command: Vec<String>,
}

/// The group of everybody who shows a bootstrap token (Kubernetes, "Authenticating with Bootstrap Tokens").
const BOOTSTRAPPERS: &str = "system:bootstrappers";

impl Manifest {
    /// The objects as YAML, each its own document.
    pub fn to_yaml(&self) -> Result<String, NodeError> {
        if !self.server.starts_with("https://") || self.server.contains(char::is_whitespace) {
            return Err(NodeError::wish(
                format!("`{}` is no address of an API server", self.server),
                "say it as `--server https://10.0.0.1:6443`",
            ));
        }
        let documents = [
            SERVICE_ACCOUNT.to_owned(),
            binding(
                "kimg:node-proxier",
                "kube-proxy reads services and endpoints",
                "system:node-proxier",
                "  kind: ServiceAccount\n  name: kube-proxy\n  namespace: kube-system\n",
            ),
            self.config_map(),
            self.daemon_set(),
            binding(
                "kimg:node-bootstrapper",
                "who has a bootstrap token may ask for a node's certificate",
                "system:node-bootstrapper",
                &group(BOOTSTRAPPERS),
            ),
            binding(
                "kimg:node-autoapprove-bootstrap",
                "and the cluster signs a node's first certificate",
                "system:certificates.k8s.io:certificatesigningrequests:nodeclient",
                &group(BOOTSTRAPPERS),
            ),
            binding(
                "kimg:node-autoapprove-certificate-rotation",
                "and the next ones, for a node that has one",
                "system:certificates.k8s.io:certificatesigningrequests:selfnodeclient",
                &group("system:nodes"),
            ),
        ];
        Ok(documents.join("---\n"))
    }

    fn config_map(&self) -> String {
        let mode = match self.mode {
            ProxyMode::Iptables => "iptables",
            ProxyMode::Ipvs => "ipvs",
        };
        let cidr = self.cluster_cidr.as_deref().map(|cidr| format!("clusterCIDR: {}\n", scalar(cidr)));
        let config = format!(
            "apiVersion: kubeproxy.config.k8s.io/v1alpha1\nkind: KubeProxyConfiguration\n\
             clientConnection:\n  kubeconfig: /var/lib/kube-proxy/kubeconfig.conf\n{}mode: {mode}\n",
            cidr.unwrap_or_default(),
        );
        let kubeconfig = format!(
            "apiVersion: v1\nkind: Config\nclusters:\n- name: default\n  cluster:\n    \
             certificate-authority: /var/run/secrets/kubernetes.io/serviceaccount/ca.crt\n    server: {}\n\
             contexts:\n- name: default\n  context:\n    cluster: default\n    user: default\n\
             current-context: default\nusers:\n- name: default\n  user:\n    \
             tokenFile: /var/run/secrets/kubernetes.io/serviceaccount/token\n",
            scalar(&self.server),
        );
        format!(
            "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: kube-proxy\n  namespace: kube-system\n  labels:\n    \
             k8s-app: kube-proxy\ndata:\n  config.conf: |\n{}  kubeconfig.conf: |\n{}",
            indented(&config, 4),
            indented(&kubeconfig, 4),
        )
    }

    /// As `cmd/kubeadm/app/phases/addons/proxy` has it, on the platforms that the image is there for.
    fn daemon_set(&self) -> String {
        let mut command = String::new();
        for word in self.command.iter().map(String::as_str).chain(["--hostname-override=$(NODE_NAME)"]) {
            let _ = writeln!(command, "        - {}", scalar(word));
        }
        let mut architectures: Vec<&str> = self.platforms.iter().map(|p| p.oci_architecture()).collect();
        architectures.dedup();
        DAEMON_SET
            .replace("{image}", &scalar(&self.image))
            .replace("{version}", &self.version.to_string())
            .replace("{command}", &command)
            .replace("{architectures}", &architectures.join(", "))
    }
}

fn group(name: &str) -> String {
    format!("  kind: Group\n  name: {name}\n  apiGroup: rbac.authorization.k8s.io\n")
}

fn binding(name: &str, why: &str, role: &str, subject: &str) -> String {
    let subject = subject.replacen("  ", "- ", 1);
    format!(
        "# {why}\napiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRoleBinding\nmetadata:\n  name: {name}\n\
         roleRef:\n  apiGroup: rbac.authorization.k8s.io\n  kind: ClusterRole\n  name: {role}\nsubjects:\n{subject}"
    )
}

const SERVICE_ACCOUNT: &str = "\
apiVersion: v1
kind: ServiceAccount
metadata:
  name: kube-proxy
  namespace: kube-system
";

const DAEMON_SET: &str = "\
apiVersion: apps/v1
kind: DaemonSet
metadata:
  name: kube-proxy
  namespace: kube-system
  labels:
    k8s-app: kube-proxy
    app.kubernetes.io/version: {version}
spec:
  selector:
    matchLabels:
      k8s-app: kube-proxy
  updateStrategy:
    type: RollingUpdate
  template:
    metadata:
      labels:
        k8s-app: kube-proxy
    spec:
      priorityClassName: system-node-critical
      hostNetwork: true
      serviceAccountName: kube-proxy
      nodeSelector:
        kubernetes.io/os: linux
      affinity:
        nodeAffinity:
          requiredDuringSchedulingIgnoredDuringExecution:
            nodeSelectorTerms:
            - matchExpressions:
              - key: kubernetes.io/arch
                operator: In
                values: [{architectures}]
      tolerations:
      - operator: Exists
      containers:
      - name: kube-proxy
        image: {image}
        imagePullPolicy: IfNotPresent
        command:
{command}        env:
        - name: NODE_NAME
          valueFrom:
            fieldRef:
              fieldPath: spec.nodeName
        securityContext:
          privileged: true
        volumeMounts:
        - name: kube-proxy
          mountPath: /var/lib/kube-proxy
        # iptables' lock, which the kubelet and CNI plugins take too
        - name: xtables-lock
          mountPath: /run/xtables.lock
        # for modprobe
        - name: lib-modules
          mountPath: /lib/modules
          readOnly: true
      volumes:
      - name: kube-proxy
        configMap:
          name: kube-proxy
      - name: xtables-lock
        hostPath:
          path: /run/xtables.lock
          type: FileOrCreate
      - name: lib-modules
        hostPath:
          path: /lib/modules
";
