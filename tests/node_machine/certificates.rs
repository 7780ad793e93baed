//! The certificates of a cluster, by openssl: an authority, a node, somebody who may do everything.

use std::path::PathBuf;
use std::process::Command;

use kimg_testkit::{TempDir, run, tool};

/// PEM files in a folder of their own.
pub(crate) struct Certificates {
    folder: TempDir,
}

impl Certificates {
    /// Makes them. `None` after a visible skip.
    pub(crate) fn new() -> Option<Self> {
        tool("openssl")?;
        let all = Self { folder: kimg_testkit::tempdir().unwrap() };
        let mut authority = openssl(&["req", "-x509", "-days", "2", "-subj", "/CN=kubernetes"]);
        run(authority
            .args(NEW_KEY)
            .arg("-keyout")
            .arg(all.file("ca.key"))
            .arg("-out")
            .arg(all.file("ca.crt")));
        all.issue("node", "/O=system:nodes/CN=system:node:node1", None);
        all.issue("admin", "/O=system:masters/CN=admin", None);
        Some(all)
    }

    /// A certificate and its key, `NAME.crt` and `NAME.key`.
    pub(crate) fn issue(&self, name: &str, subject: &str, addresses: Option<&str>) {
        let (key, request) = (self.file(&format!("{name}.key")), self.file(&format!("{name}.csr")));
        let mut ask = openssl(&["req", "-new", "-subj", subject]);
        if let Some(addresses) = addresses {
            ask.arg("-addext").arg(format!("subjectAltName={addresses}"));
        }
        run(ask.args(NEW_KEY).arg("-keyout").arg(key).arg("-out").arg(&request));
        let mut sign =
            openssl(&["x509", "-req", "-days", "2", "-CAcreateserial", "-copy_extensions", "copy"]);
        sign.arg("-CA")
            .arg(self.file("ca.crt"))
            .arg("-CAkey")
            .arg(self.file("ca.key"))
            .arg("-in")
            .arg(request);
        run(sign.arg("-out").arg(self.file(&format!("{name}.crt"))));
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn text(&self, name: &str) -> String {
        fs_err::read_to_string(self.file(name)).unwrap()
    }

    /// Certificate and key in one file, as the kubelet keeps its own.
    pub(crate) fn both(&self, name: &str) -> String {
        self.text(&format!("{name}.crt")) + &self.text(&format!("{name}.key"))
    }
}

const NEW_KEY: [&str; 5] = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];

fn openssl(words: &[&str]) -> Command {
    let mut command = Command::new("openssl");
    command.args(words);
    command
}

/// What a joined node has in `/etc/kubernetes/kubelet.conf`.
pub(crate) fn kubelet_conf(server: &str) -> String {
    let pem = CLIENT;
    format!(
        "apiVersion: v1\nkind: Config\nclusters:\n- name: test\n  cluster: {{ server: '{server}', \
         certificate-authority: /etc/kubernetes/pki/ca.crt }}\ncontexts:\n- name: test\n  context: {{ cluster: test, \
         user: node }}\ncurrent-context: test\nusers:\n- name: node\n  user: {{ client-certificate: {pem}, \
         client-key: {pem} }}\n"
    )
}

/// Where the kubelet keeps its certificate.
pub(crate) const CLIENT: &str = "/var/lib/kubelet/pki/kubelet-client-current.pem";
