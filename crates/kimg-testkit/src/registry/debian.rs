//! Debian's `docker-registry` (distribution 2.8.2), the program, on the loopback address.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use serde_json::json;
use tempfile::TempDir;

use crate::server::tls;
use crate::tool;

/// A `docker-registry` with a storage of its own. Ends, and is gone, when dropped.
#[derive(Debug)]
pub struct DockerRegistry {
    child: Child,
    address: SocketAddr,
    folder: TempDir,
}

impl DockerRegistry {
    /// The name that a registry with a password knows.
    pub const USER: &str = "kimg";
    /// Its password, which is published here and so worth nothing.
    pub const PASSWORD: &str = "hunter2-of-kimg";
    /// `htpasswd -nbB` of both.
    const HTPASSWD: &str = "kimg:$2y$04$abcdefghijklmnopqrstuudnba3Vq3whZt34uu6vQcv.IRxwH/Dka\n";

    /// Starts one that anybody may use. `None` after a visible skip.
    pub fn plain() -> Option<Self> {
        Self::start(false, false)
    }

    /// Starts one that wants [`Self::USER`] and [`Self::PASSWORD`]. `None` after a visible skip.
    pub fn with_password() -> Option<Self> {
        Self::start(true, false)
    }

    /// Starts one behind TLS, with a certificate of [`FolderServer::authority`](crate::FolderServer::authority).
    /// `None` after a visible skip.
    pub fn over_tls() -> Option<Self> {
        Self::start(false, true)
    }

    fn start(password: bool, secure: bool) -> Option<Self> {
        let program = tool("docker-registry")?;
        let folder = crate::tempdir().expect("a folder can be made");
        let at = |name: &str| folder.path().join(name);
        let write =
            |name: &str, text: &str| fs_err::write(at(name), text).expect("the folder can be written to");
        let mut http = json!({ "addr": "127.0.0.1:0", "secret": "worthless" });
        if secure {
            write("certificate.pem", tls::CERTIFICATE);
            write("key.pem", tls::KEY);
            http["tls"] = json!({ "certificate": at("certificate.pem"), "key": at("key.pem") });
        }
        let mut config = json!({
            "version": "0.1",
            "log": { "level": "info", "formatter": "json", "accesslog": { "disabled": true } },
            "storage": { "filesystem": { "rootdirectory": at("storage") }, "delete": { "enabled": true } },
            "http": http,
        });
        if password {
            write("htpasswd", Self::HTPASSWD);
            config["auth"] = json!({ "htpasswd": { "realm": "kimg's tests", "path": at("htpasswd") } });
        }
        // JSON is YAML.
        write("config.yml", &config.to_string());
        let mut child = Command::new(program)
            .arg("serve")
            .arg(at("config.yml"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("docker-registry can be started");
        let mut lines = BufReader::new(child.stderr.take().expect("its standard error is piped")).lines();
        let mut said = String::new();
        let address = loop {
            let Some(Ok(line)) = lines.next() else { panic!("docker-registry ended:\n{said}") };
            // `listening on 127.0.0.1:39507`, or `…, tls`.
            let port = line
                .split_once("listening on 127.0.0.1:")
                .map(|(_, rest)| rest.chars().take_while(char::is_ascii_digit).collect::<String>());
            if let Some(port) = port.and_then(|port| port.parse().ok()) {
                break SocketAddr::from(([127, 0, 0, 1], port));
            }
            said.push_str(&line);
            said.push('\n');
        };
        // What it says from now on must not fill the pipe.
        std::thread::spawn(move || lines.for_each(drop));
        Some(Self { child, address, folder })
    }

    /// `127.0.0.1:PORT`, as it stands in references.
    pub fn name(&self) -> String {
        self.address.to_string()
    }

    /// The file in which it keeps a blob.
    pub fn blob(&self, digest: kimg_core::Digest) -> std::path::PathBuf {
        let hex = digest.hex();
        let blobs = self.folder.path().join("storage/docker/registry/v2/blobs/sha256");
        blobs.join(&hex[..2]).join(&hex).join("data")
    }
}

impl Drop for DockerRegistry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
