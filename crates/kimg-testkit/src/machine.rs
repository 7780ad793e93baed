//! A machine of its own for a test: processes, mounts, network and name are apart from those of the real one.
//!
//! `/etc`, `/var`, `/opt` and `/usr` are the real ones with everything that is written kept aside, `/run` is empty, the network
//! has a loopback and a card that leads nowhere. So a test can do what a person does on a machine, at the very paths and ports that the person
//! would use, and nothing of it is left when the machine is dropped: its first process ends, and with it all others.

use std::cell::RefCell;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::{both, output, skip, superuser, tool};

/// Run by the first process: `$1` is a folder for what is written, `$2` the machine's name.
const INIT: &str = r#"
set -e
mount -t tmpfs -o mode=755 tmpfs "$1"
for folder in etc var opt usr; do
  mkdir -p "$1/$folder/upper" "$1/$folder/work"
  mount -t overlay -o "lowerdir=/$folder,upperdir=$1/$folder/upper,workdir=$1/$folder/work" overlay "/$folder"
done
# where containerd makes overlays, which can't lie on another
mkdir -p /var/lib/containerd
mount -t tmpfs -o mode=755 tmpfs /var/lib/containerd
mount -t tmpfs -o mode=755 tmpfs /run
mount --make-rshared /
hostname "$2"
ip link set lo up
ip link add eth0 type veth peer name nowhere
ip link set nowhere up
ip address add 192.168.7.2/24 dev eth0
ip link set eth0 up
ip route add default via 192.168.7.1
# questions to clouds and name servers get their refusal at once
ip route add unreachable 169.254.0.0/16
echo "nameserver 127.0.0.1" >/etc/resolv.conf
printf '127.0.0.1 localhost\n192.168.7.2 %s\n' "$2" >/etc/hosts
echo up >"$1/up"
while :; do sleep 1000 & wait; done
"#;

/// Namespaces with a first process in them.
#[derive(Debug)]
pub struct Machine {
    unshare: Child,
    /// The first process, as the real machine numbers it.
    init: u32,
    folder: TempDir,
    daemons: RefCell<Vec<(String, Child)>>,
}

impl Machine {
    /// Starts one, with folders below `folder`. `None` after a visible skip: without root's rights, or where the kernel or
    /// whoever runs this machine does not allow it.
    pub fn start(folder: &Path, name: &str) -> Option<Self> {
        let (unshare, _, _) = (tool("unshare")?, tool("nsenter")?, tool("ip")?);
        if !superuser() {
            return None;
        }
        let folder = TempDir::new_in(folder).expect("a folder can be made");
        let log = fs_err::File::create(folder.path().join("machine.log")).expect("the folder is ours");
        fs_err::create_dir(folder.path().join("written")).expect("the folder is ours");
        let mut command = Command::new(unshare);
        command.args([
            "--mount",
            "--pid",
            "--net",
            "--uts",
            "--ipc",
            "--fork",
            "--kill-child",
            "--mount-proc",
        ]);
        command
            .args(["--propagation", "private", "sh", "-c", INIT, "init"])
            .arg(folder.path().join("written"));
        command.arg(name).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log.into_parts().0);
        let unshare = command.process_group(0).spawn().expect("unshare can be started");
        let mut machine = Self { unshare, init: 0, folder, daemons: RefCell::default() };
        let up = machine.within(Duration::from_secs(10), |machine| {
            let children = format!("/proc/{0}/task/{0}/children", machine.unshare.id());
            let first = fs_err::read_to_string(children).ok()?.trim().parse().ok()?;
            machine.init = first;
            machine.path(&machine.written("up")).exists().then_some(())
        });
        if up.is_none() {
            let log = fs_err::read_to_string(machine.folder.path().join("machine.log")).unwrap_or_default();
            skip(format_args!("namespaces with a machine of their own can't be had here: {}", log.trim()));
            return None;
        }
        Some(machine)
    }

    fn written(&self, name: &str) -> String {
        self.folder.path().join("written").join(name).display().to_string()
    }

    /// A path of the machine, as this process reaches it.
    pub fn path(&self, path: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root{path}", self.init))
    }

    /// Writes a file of the machine, and the folders above it.
    pub fn write(&self, path: &str, text: &str) {
        let at = self.path(path);
        fs_err::create_dir_all(at.parent().expect("a file lies in a folder")).expect("the machine is there");
        fs_err::write(at, text).expect("the machine's folders can be written to");
    }

    /// A program, to be started on the machine.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("nsenter");
        command.args([
            "--target",
            &self.init.to_string(),
            "--mount",
            "--pid",
            "--net",
            "--uts",
            "--ipc",
            "--",
        ]);
        command.arg(program).stdin(Stdio::null());
        command
    }

    /// Runs shell commands as a person would who pastes them, but ends at the first that fails.
    pub fn sh(&self, script: &str) -> Output {
        output(self.command("sh").args(["-e", "-c", script]))
    }

    /// The same for commands that have to succeed, with what they print.
    pub fn success(&self, script: &str) -> String {
        let output = self.sh(script);
        assert!(output.status.success(), "{script}\n{}\n{}", output.status, both(&output));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Starts a program that stays; what it says goes into a [log](Self::log) of this name. It ends with the machine.
    pub fn daemon(&self, name: &str, command: &mut Command) {
        let log =
            fs_err::File::create(self.folder.path().join(format!("{name}.log"))).expect("the folder is ours");
        let log = log.into_parts().0;
        let again = log.try_clone().expect("a file can be opened twice");
        let child = command.stdout(log).stderr(again).spawn();
        let child = child.unwrap_or_else(|error| panic!("{command:?}: {error}"));
        self.daemons.borrow_mut().push((name.to_owned(), child));
    }

    /// Waits until a daemon has ended by itself, and says whether that was a success.
    pub fn ended_well(&self, name: &str) -> bool {
        let mut daemons = self.daemons.borrow_mut();
        let daemon = daemons.iter_mut().find(|(there, _)| there == name);
        let (_, child) = daemon.unwrap_or_else(|| panic!("there is no daemon {name}"));
        child.wait().expect("it is a child of this process").success()
    }

    /// What a daemon said so far.
    pub fn log(&self, name: &str) -> String {
        fs_err::read_to_string(self.folder.path().join(format!("{name}.log"))).unwrap_or_default()
    }

    /// Asks again and again until there is an answer, or the time is over.
    pub fn within<T>(&mut self, time: Duration, mut ask: impl FnMut(&mut Self) -> Option<T>) -> Option<T> {
        let begin = Instant::now();
        loop {
            if let Some(answer) = ask(self) {
                return Some(answer);
            }
            if begin.elapsed() > time {
                return None;
            }
            std::thread::sleep(Duration::from_millis(200));
        }
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // The kernel ends every process of the namespaces with the first one, and their mounts with the last.
        let _ = self.unshare.kill();
        let _ = self.unshare.wait();
        for (_, mut child) in self.daemons.take() {
            let _ = child.wait();
        }
        std::thread::sleep(Duration::from_millis(300));
        remove_cgroups();
    }
}

/// Cgroups are the one thing that namespaces of processes leave behind. Only empty ones can be removed.
fn remove_cgroups() {
    let Ok(controllers) = std::fs::read_dir("/sys/fs/cgroup") else { return };
    let mut roots = vec![PathBuf::from("/sys/fs/cgroup")];
    roots.extend(controllers.flatten().map(|entry| entry.path()));
    for root in roots {
        for name in ["kubeletd", "kubeletd-join", "k8s.io"] {
            remove_tree(&root.join(name));
        }
    }
}

fn remove_tree(folder: &Path) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for entry in entries.flatten().filter(|entry| entry.path().is_dir()) {
        remove_tree(&entry.path());
    }
    let _ = std::fs::remove_dir(folder);
}
