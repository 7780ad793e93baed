//! A control plane on the machine: etcd and a real API server. There is no controller manager: what one would do, tests do,
//! and say so.

use std::process::Command;

use kimg_testkit::{both, output, run, tool};
use serde_json::Value;

use super::NodeMachine;

/// The machine's address, at which the API server listens.
pub(crate) const SERVER: &str = "https://192.168.7.2:6443";

impl NodeMachine {
    /// Starts etcd and the API server. `None` after a visible skip.
    pub(crate) fn start_control_plane(&mut self) -> Option<()> {
        let (etcd, _, _) = (tool("etcd")?, tool("kubectl")?, tool("xz")?);
        let server = self.folder.path().join("kube-apiserver");
        let packed = self.real.dir().join("programs/kube-apiserver-amd64.xz");
        let unpack = format!("xz -dc {} >{1} && chmod +x {1}", packed.display(), server.display());
        run(Command::new("sh").args(["-c", &unpack]));
        self.certificates.issue(
            "server",
            "/CN=kube-apiserver",
            Some("IP:192.168.7.2,IP:10.0.0.1,DNS:kubernetes"),
        );

        let mut etcd = self.machine.command(etcd);
        etcd.args([
            "--data-dir=/var/lib/etcd",
            "--unsafe-no-fsync",
            "--listen-peer-urls=http://127.0.0.1:2380",
        ]);
        etcd.args([
            "--listen-client-urls=http://127.0.0.1:2379",
            "--advertise-client-urls=http://127.0.0.1:2379",
        ]);
        self.machine.daemon("etcd", &mut etcd);
        let file = |name: &str| self.certificates.file(name).display().to_string();
        let mut api = self.machine.command(server);
        api.args([
            "--etcd-servers=http://127.0.0.1:2379",
            "--secure-port=6443",
            "--advertise-address=192.168.7.2",
        ]);
        api.args(["--authorization-mode=Node,RBAC", "--enable-admission-plugins=NodeRestriction"]);
        // Its tokens are made by the controller manager.
        api.args(["--disable-admission-plugins=ServiceAccount", "--enable-bootstrap-token-auth"]);
        api.args([
            "--service-cluster-ip-range=10.0.0.0/24",
            "--allow-privileged=true",
            "--cert-dir=/run/api",
        ]);
        api.arg("--service-account-issuer=https://kubernetes.default.svc");
        for (flag, name) in [
            ("client-ca-file", "ca.crt"),
            ("tls-cert-file", "server.crt"),
            ("tls-private-key-file", "server.key"),
            ("service-account-key-file", "server.crt"),
            ("service-account-signing-key-file", "server.key"),
            ("kubelet-client-certificate", "admin.crt"),
            ("kubelet-client-key", "admin.key"),
        ] {
            api.arg(format!("--{flag}={}", file(name)));
        }
        self.machine.daemon("kube-apiserver", &mut api);
        self.wait_for("API server", 60, |node| {
            node.try_kubectl(&["get", "--raw=/readyz"], None).filter(|said| said == "ok")
        });
        Some(())
    }

    /// What kubectl says, if it succeeds. `input` is a file's text, which it gets with `-f`.
    pub(crate) fn try_kubectl(&self, words: &[&str], input: Option<&str>) -> Option<String> {
        let mut kubectl = self.machine.command("kubectl");
        kubectl.arg(format!("--server={SERVER}")).env("HOME", self.folder.path());
        for (flag, name) in [
            ("certificate-authority", "ca.crt"),
            ("client-certificate", "admin.crt"),
            ("client-key", "admin.key"),
        ] {
            kubectl.arg(format!("--{flag}={}", self.certificates.file(name).display()));
        }
        kubectl.args(words);
        if let Some(text) = input {
            let file = self.folder.path().join("kubectl-input");
            fs_err::write(&file, text).unwrap();
            kubectl.arg("-f").arg(file);
        }
        let answer = output(&mut kubectl);
        *self.said.borrow_mut() = format!("{kubectl:?}: {}", both(&answer));
        answer.status.success().then(|| String::from_utf8_lossy(&answer.stdout).into_owned())
    }

    /// The same, where it has to succeed.
    pub(crate) fn kubectl(&self, words: &[&str], input: Option<&str>) -> String {
        self.try_kubectl(words, input).unwrap_or_else(|| panic!("{}", self.said.borrow()))
    }

    /// An object, as the API server has it.
    pub(crate) fn object(&self, words: &[&str]) -> Option<Value> {
        serde_json::from_str(&self.try_kubectl(&[&["get", "--output=json"], words].concat(), None)?).ok()
    }

    /// Waits until the API server has heard that a pod runs.
    pub(crate) fn wait_until_running(&mut self, namespace: &str, name: &str) -> Value {
        self.wait_for(&format!("pod {name} that runs"), 60, |node| {
            let pod = node.object(&["pod", name, "--namespace", namespace])?;
            (pod["status"]["phase"] == "Running").then_some(pod)
        })
    }
}
