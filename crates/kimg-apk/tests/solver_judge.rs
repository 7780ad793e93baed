//! The solver against the real apk 2.12.7: over Alpine 3.19's own indexes, and over the assembled repository.
//!
//! One difference is known, and apk's own later cases (`installif6`) side with what is done here: 2.12.7 misses an
//! `install_if` whose conditions all come in only because others need them.

#![expect(clippy::unwrap_used, reason = "a test that can't be set up has failed")]

mod real;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use kimg_apk::{Dependency, Repository, Solution, Solver};
use tempfile::TempDir;

use real::skipped;

/// What images of Kubernetes nodes are made of, and what is hard to choose in Alpine 3.19.
const WORLDS_OF_ALPINE: &[&str] = &[
    "kubeadm kubelet",
    "kubelet kubeadm cni-plugins cri-tools",
    "kube-proxy ip6tables",
    "containerd runc",
    "iptables iproute2 ethtool socat conntrack-tools ebtables util-linux",
    "cmd:mount cmd:umount cmd:blkid cmd:modprobe",
    "cmd:iptables cmd:ip cmd:find /bin/sh",
    "nfs-utils e2fsprogs xfsprogs",
    "docs kubelet containerd",
    "openrc bash bash-completion docker",
    "/bin/sh dash-binsh",
    "busybox-binsh coreutils",
    "postgresql",
    "postgresql15 cmd:psql",
    "opensmtpd",
    "pc:librtmp",
    "java-jre-headless",
    "cmd:syslogd initramfs-generator linux-virt",
    "cmd:sway",
    "cmd:node py3-yaml",
    "kubelet=1.0",
    "kubelet~1.28 kubeadm>=1.28",
    "busybox !musl",
    "gthumb-full",
    "cmd:vi",
    "alpine-base !busybox",
];

/// The same over the assembled repository.
const WORLDS_OF_THE_REPOSITORY: &[&str] = &[
    "kubelet",
    "kubeadm kubelet cni-plugins",
    "kube-proxy cmd:iptables cmd:ip6tables",
    "cmd:mount cmd:modprobe /bin/sh",
    "busybox ca-certificates",
    "containerd runc iproute2 socat ethtool ebtables",
    "zlib<1.2.13 kmod",
    "so:libz.so.1",
    "cmd:nothing",
];

/// A root with the real apk in it.
struct Judge {
    root: TempDir,
}

impl Judge {
    /// With these indexes at `/0`, `/1`, …; `None`, visibly, where it can't be.
    fn new(indexes: &[&Path]) -> Option<Self> {
        let input = real::input()?;
        if !fs_err::read_to_string("/proc/self/status").unwrap().contains("\nUid:\t0\t0\t") {
            skipped("chroot wants root");
            return None;
        }
        let judge = Self { root: TempDir::new().unwrap() };
        let root = judge.root.path();
        let minirootfs = input.join("minirootfs/alpine-minirootfs-3.15.11-x86_64.tar.gz");
        let unpacked = Command::new("tar").arg("xzf").arg(minirootfs).arg("-C").arg(root).status().unwrap();
        assert!(unpacked.success());
        let mut repositories = Vec::new();
        for (number, index) in indexes.iter().enumerate() {
            let folder = root.join(number.to_string()).join("x86_64");
            fs_err::create_dir_all(&folder).unwrap();
            fs_err::copy(index, folder.join("APKINDEX.tar.gz")).unwrap();
            repositories.push(format!("/{number}\n"));
        }
        // In this order: what is given by `-X` comes the other way round in 2.12.
        fs_err::write(root.join("repositories"), repositories.concat()).unwrap();
        judge.apk(&["add", "--initdb"]);
        Some(judge)
    }

    fn apk(&self, arguments: &[&str]) -> String {
        let mut command = Command::new("chroot");
        command.arg(self.root.path()).args([
            "/sbin/apk",
            "--root",
            "/out",
            "--arch",
            "x86_64",
            "--no-network",
        ]);
        command.args(["--allow-untrusted", "--repositories-file", "/repositories"]).args(arguments);
        let output = command.stdin(Stdio::null()).output().unwrap();
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
    }

    /// The packages that apk would install, or none where it refuses.
    fn packages(&self, world: &str) -> Option<BTreeSet<String>> {
        let arguments: Vec<&str> = ["add", "--simulate"].into_iter().chain(world.split(' ')).collect();
        let printed = self.apk(&arguments);
        if printed.contains("ERROR") {
            return None;
        }
        let line = |line: &str| {
            let (name, version) = line.split_once(" Installing ")?.1.split_once(" (")?;
            Some(format!("{name}-{}", version.strip_suffix(')')?))
        };
        Some(printed.lines().filter_map(line).collect())
    }
}

/// The packages that are only there because of an `install_if`.
fn pulled_in(solution: &Solution) -> BTreeSet<String> {
    let mut wanted: BTreeMap<&str, bool> =
        solution.packages.iter().map(|chosen| (chosen.record.name.as_str(), false)).collect();
    loop {
        let more: Vec<&str> = solution
            .packages
            .iter()
            .filter(|chosen| !wanted[chosen.record.name.as_str()])
            .filter(|chosen| {
                chosen.because.iter().any(|reason| match reason.split_once(" needs ") {
                    Some((by, _)) => wanted[by],
                    None => reason.starts_with("world: "),
                })
            })
            .map(|chosen| chosen.record.name.as_str())
            .collect();
        if more.is_empty() {
            break;
        }
        wanted.extend(more.into_iter().map(|name| (name, true)));
    }
    let packages = solution.packages.iter().filter(|chosen| !wanted[chosen.record.name.as_str()]);
    packages.map(|chosen| chosen.record.id()).collect()
}

fn compare(judge: &Judge, repositories: &[Repository], worlds: &[&str]) {
    let solver = Solver::for_arch(repositories, "x86_64");
    let mut differences = Vec::new();
    // apk takes half a second to read Alpine's indexes: it runs twice at a time.
    let (first, second) = worlds.split_at(worlds.len() / 2);
    let ask = |worlds: &[&str]| -> Vec<_> { worlds.iter().map(|world| judge.packages(world)).collect() };
    let answers = std::thread::scope(|scope| {
        let first = scope.spawn(|| ask(first));
        let second = ask(second);
        [first.join().unwrap(), second].concat()
    });
    for (world, theirs) in worlds.iter().zip(answers) {
        let wishes: Vec<Dependency> = world.split(' ').map(|wish| wish.parse().unwrap()).collect();
        let found = solver.solve(&wishes, &[]);
        let ours: Option<BTreeSet<String>> = found
            .as_ref()
            .ok()
            .map(|solution| solution.packages.iter().map(|chosen| chosen.record.id()).collect());
        let same = match (&ours, &theirs, &found) {
            (Some(ours), Some(theirs), Ok(solution)) => {
                let more: BTreeSet<String> = ours.difference(theirs).cloned().collect();
                theirs.is_subset(ours) && more.is_subset(&pulled_in(solution))
            }
            (None, None, _) => true,
            _ => false,
        };
        if !same {
            differences.push(format!("{world}\n  apk  {theirs:?}\n  kimg {found:?}"));
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

#[test]
fn worlds_over_alpine_3_19_are_resolved_as_apk_does() {
    let Some(input) = real::input() else { return };
    let paths =
        ["main", "community"].map(|name| input.join("index/v3.19").join(name).join("x86_64/APKINDEX.tar.gz"));
    let Some(judge) = Judge::new(&[&paths[0], &paths[1]]) else { return };
    let keys = real::keys(&input.join("alpine-keys/x86_64"));
    let limits = kimg_apk::Limits::default();
    let repositories = paths.map(|path| {
        let index = kimg_apk::read_index(&fs_err::read(&path).unwrap(), &keys, &limits).unwrap();
        assert!(index.packages.len() > 5000 && index.unusable.is_empty());
        Repository { name: path.display().to_string(), tag: None, index: Arc::new(index) }
    });
    compare(&judge, &repositories, WORLDS_OF_ALPINE);
}

#[test]
fn worlds_over_the_assembled_repository_are_resolved_as_apk_does() {
    let Some(repository) = real::of_arch("x86_64") else { return };
    let Some(judge) = Judge::new(&[&repository.folder.join("APKINDEX.tar.gz")]) else { return };
    let repositories =
        [Repository { name: "assembled".to_owned(), tag: None, index: Arc::new(repository.index.clone()) }];
    compare(&judge, &repositories, WORLDS_OF_THE_REPOSITORY);
}
