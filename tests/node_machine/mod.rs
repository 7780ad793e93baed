//! A node on a machine of its own: containerd, a registry, and the kubelet as `kimg node` says.

#![allow(dead_code, reason = "each test program uses a part of it")]

pub(crate) mod certificates;
pub(crate) mod cluster;

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kimg_core::Platform;
use kimg_testkit::{Machine, Real, TempDir, both, run, tool};
use serde_json::Value;

use self::certificates::{CLIENT, Certificates, kubelet_conf};
use crate::program;

/// What is done otherwise than `kimg node` says, as the machine that tests run on is no whole one. Nothing else is.
pub(crate) const ADAPTATIONS: &[Adaptation] = &[
    Adaptation {
        to: Part::Script,
        from: "\"CAP_SYS_RESOURCE\", ",
        into: "",
        why: "this machine may lack the capability, and runc gives none that it has not",
    },
    Adaptation {
        to: Part::Config,
        from: "cgroupDriver: cgroupfs\n",
        into: "cgroupDriver: cgroupfs\ncgroupsPerQOS: false\nenforceNodeAllocatable: []\n",
        why: "not every controller is at hand whose cgroups the kubelet would want for classes of pods",
    },
    Adaptation {
        to: Part::Config,
        from: "staticPodPath:",
        into: "failSwapOn: false\nevictionHard: { memory.available: 1Mi, nodefs.available: 1%, imagefs.available: 1% }\nstaticPodPath:",
        why: "the machine may swap, and others may have filled its disk",
    },
    Adaptation {
        to: Part::Manifest,
        from: "    mode: iptables\n",
        into: "    mode: iptables\n    conntrack: { maxPerCore: 0 }\n",
        why: "how many connections are tracked is a setting of the real machine, not of a network of its own",
    },
];

/// The same, where there is no API server.
pub(crate) const WITHOUT_API_SERVER: &[Adaptation] = &[Adaptation {
    to: Part::Config,
    from: "mode: Webhook\n",
    into: "mode: AlwaysAllow\n",
    why: "nobody is there to ask what somebody may do",
}];

/// Of which text something is done otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    /// What `kimg node run` prints.
    Script,
    /// What `kimg node config` prints.
    Config,
    /// What `kimg node manifest` prints.
    Manifest,
}

/// One thing that is done otherwise.
#[derive(Debug)]
pub(crate) struct Adaptation {
    pub(crate) to: Part,
    pub(crate) from: &'static str,
    pub(crate) into: &'static str,
    pub(crate) why: &'static str,
}

/// A text with what this machine forces.
pub(crate) fn adapted(mut text: String, part: Part, all: &[Adaptation]) -> String {
    for adaptation in all.iter().filter(|adaptation| adaptation.to == part) {
        assert!(text.contains(adaptation.from), "{:?} is not in\n{text}", adaptation.from);
        text = text.replace(adaptation.from, adaptation.into);
    }
    text
}

/// containerd's own settings: what a machine's owner decides.
const CONTAINERD: &str = r#"version = 2
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "localhost:5000/pod:1"
  # this machine may not lower what the kernel sets, for which runc would want CAP_SYS_RESOURCE
  restrict_oom_score_adj = true
"#;

const REGISTRY: &str = r#"{"version": "0.1", "log": {"level": "error"}, "http": {"addr": "127.0.0.1:5000"},
 "storage": {"filesystem": {"rootdirectory": "/var/lib/registry"}}}
"#;

static ALONE: Mutex<()> = Mutex::new(());

/// A machine with containerd and a registry, and images in a folder beside it.
pub(crate) struct NodeMachine {
    pub(crate) machine: Machine,
    pub(crate) real: Real,
    pub(crate) folder: TempDir,
    pub(crate) certificates: Certificates,
    /// The last answer of the kubelet or the API server.
    said: RefCell<String>,
    /// Cgroups are those of the real machine: two kubelets at once would have the same.
    _alone: MutexGuard<'static, ()>,
}

impl NodeMachine {
    /// Starts one. `None` after a visible skip.
    pub(crate) fn start() -> Option<Self> {
        let real = kimg_testkit::real()?;
        let (registry, _, _, _) = (tool("docker-registry")?, tool("ctr")?, tool("skopeo")?, tool("curl")?);
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let folder = program::folder();
        let certificates = Certificates::new()?;
        let machine = Machine::start(folder.path(), "node1")?;
        let mut node = Self { machine, real, folder, certificates, said: RefCell::default(), _alone: alone };
        let programs = node.runtime();
        node.machine.write("/etc/containerd/config.toml", CONTAINERD);
        node.machine.write("/etc/docker-registry.json", REGISTRY);
        let mut serve = node.machine.command(registry);
        node.machine.daemon("registry", serve.args(["serve", "/etc/docker-registry.json"]));
        let mut containerd = node.machine.command(programs.join("containerd"));
        node.machine.daemon("containerd", containerd.env("PATH", path_with(&programs)));
        node.push(&pod_image(&node.real, node.folder.path()), "pod:1");
        node.wait_for("containerd", 20, |node| {
            node.machine.sh("ctr version >/dev/null").status.success().then_some(())
        });
        Some(node)
    }

    /// containerd and runc out of the real repository.
    fn runtime(&self) -> PathBuf {
        let programs = self.folder.path().join("runtime");
        fs_err::create_dir(&programs).unwrap();
        for package in ["containerd", "runc"] {
            let file = self.real.package(Platform::Amd64, package);
            run(Command::new("tar").arg("-xzf").arg(file).arg("-C").arg(&programs).arg("--warning=none"));
        }
        programs.join("usr/bin")
    }

    /// Builds variants with kimg and pushes them to the machine's registry, under their tags.
    pub(crate) fn publish(&self, variants: &[&str]) {
        let mut build = program::kimg_on(&self.real, self.folder.path(), "build");
        build.args(["--arch", "amd64", "--pack", "never"]);
        if let Some(path) = kimg_testkit::go_path() {
            // For settings that compile.
            build.env("PATH", path);
        }
        for variant in variants {
            build.args(["--variant", variant]);
        }
        program::success(&mut build);
        let mut push = self.machine.command(env!("CARGO_BIN_EXE_kimg"));
        push.arg("push").arg(self.folder.path().join("out")).arg("localhost:5000/kubelet");
        push.arg("--cache-dir").arg(program::shared_cache()).env("HOME", self.folder.path());
        run(&mut push);
    }

    /// Pushes an archive to the machine's registry.
    fn push(&mut self, archive: &Path, name: &str) {
        let copy = format!(
            "skopeo copy --quiet --insecure-policy --dest-tls-verify=false docker-archive:{} docker://localhost:5000/{name}",
            archive.display()
        );
        self.wait_for("the registry", 20, |node| node.machine.sh(&copy).status.success().then_some(()));
    }

    /// Writes what a node has that has joined: a certificate of its own, the cluster's, where the API server is.
    pub(crate) fn write_identity(&self, server: &str) {
        self.machine.write("/etc/kubernetes/pki/ca.crt", &self.certificates.text("ca.crt"));
        self.machine.write("/etc/kubernetes/kubelet.conf", &kubelet_conf(server));
        self.machine.write(CLIENT, &self.certificates.both("node"));
    }

    /// What a `kimg node` command prints.
    pub(crate) fn kimg_node(&self, words: &[&str]) -> String {
        program::success(program::kimg(self.folder.path()).arg("node").args(words))
    }

    /// Asks again and again; fails with everything that the machine's programs said.
    pub(crate) fn wait_for<T>(&mut self, what: &str, seconds: u64, ask: impl Fn(&Self) -> Option<T>) -> T {
        let begin = std::time::Instant::now();
        while begin.elapsed() < Duration::from_secs(seconds) {
            if let Some(answer) = ask(self) {
                return answer;
            }
            std::thread::sleep(Duration::from_millis(200));
        }
        panic!("no {what} within {seconds} s\n{}", self.logs());
    }

    pub(crate) fn logs(&self) -> String {
        let kubelet = self.machine.sh("cat /var/log/kubeletd.log 2>/dev/null || true");
        let last = |text: &str| -> String {
            let lines: Vec<&str> = text.lines().collect();
            lines[lines.len().saturating_sub(40)..].join("\n")
        };
        let (containerd, kubelet) = (last(&self.machine.log("containerd")), last(&both(&kubelet)));
        let api = last(&self.machine.log("kube-apiserver"));
        let join = last(&self.machine.log("join"));
        format!(
            "containerd:\n{containerd}\n\nAPI server:\n{api}\n\njoin:\n{join}\n\nkubelet:\n{kubelet}\n\nit answered: {}",
            self.said.borrow()
        )
    }

    /// A question to the kubelet's own API.
    pub(crate) fn kubelet(&self, path: &str) -> Option<String> {
        let [certificate, key] = ["admin.crt", "admin.key"].map(|name| self.certificates.file(name));
        let mut curl = self.machine.command("curl");
        curl.args(["--silent", "--show-error", "--fail", "--insecure", "--cert"]).arg(certificate);
        curl.arg("--key").arg(key).arg(format!("https://127.0.0.1:10250{path}"));
        let output = kimg_testkit::output(&mut curl);
        *self.said.borrow_mut() = both(&output);
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Waits until the kubelet says that a pod runs.
    pub(crate) fn wait_for_pod(&mut self, name: &str, seconds: u64) -> Value {
        self.wait_for(&format!("pod {name} that runs"), seconds, |node| {
            let pods: Value = serde_json::from_str(&node.kubelet("/pods")?).ok()?;
            let pods = pods["items"].as_array()?.clone();
            pods.into_iter()
                .find(|pod| pod["metadata"]["name"] == *name && pod["status"]["phase"] == "Running")
        })
    }
}

fn path_with(programs: &Path) -> String {
    format!("{}:{}", programs.display(), std::env::var("PATH").unwrap())
}

/// An image with busybox out of Alpine's own root: for pods, and for their sandboxes.
fn pod_image(real: &Real, folder: &Path) -> PathBuf {
    let at = folder.join("pod");
    let root = at.join("root");
    fs_err::create_dir_all(&root).unwrap();
    let mut unpack = Command::new("tar");
    unpack.arg("-xzf").arg(real.minirootfs(Platform::Amd64)).arg("-C").arg(&root);
    run(unpack.args(["./bin/busybox", "./lib/ld-musl-x86_64.so.1"]));
    run(Command::new("tar").arg("-C").arg(&root).arg("-cf").arg(at.join("layer.tar")).args(["bin", "lib"]));
    let layer = kimg_core::Digest::of(fs_err::read(at.join("layer.tar")).unwrap());
    let config = serde_json::json!({
        "architecture": "amd64", "os": "linux",
        "config": { "Entrypoint": ["/bin/busybox", "sleep", "1000000"] },
        "rootfs": { "type": "layers", "diff_ids": [layer] },
    });
    let manifest = serde_json::json!([
        { "Config": "config.json", "RepoTags": ["pod:1"], "Layers": ["layer.tar"] }
    ]);
    fs_err::write(at.join("config.json"), config.to_string()).unwrap();
    fs_err::write(at.join("manifest.json"), manifest.to_string()).unwrap();
    let archive = folder.join("pod.tar");
    let mut pack = Command::new("tar");
    pack.arg("-C").arg(&at).arg("-cf").arg(&archive);
    run(pack.args(["manifest.json", "config.json", "layer.tar"]));
    archive
}
