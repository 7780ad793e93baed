//! What nodes pull with: containerd, podman and buildah take each kind of layer from a registry, the one with the longest
//! window too, and what they unpack is what was built.

#![expect(clippy::unwrap_used, reason = "a test that can't be set up has failed")]

mod program;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use kimg_core::{Digest, Platform};
use kimg_testkit::{DockerRegistry, Layout, run, superuser, tool};
use program::{answer, kimg_on, kimg_talk, success};

/// How layers are compressed, and the platforms that are pulled: gzip as every client takes it, and zstd with a window of
/// 64 MiB in one layer that is longer than that.
const KINDS: [(&str, &str, &str); 2] =
    [("gzip", "gzip:1", "shared"), ("zstd", "zstd:1:window=64MiB", "single")];
const PLATFORMS: [Platform; 2] = [Platform::Amd64, Platform::ArmV7];

/// What lies in a folder: files by their digests, links by what they lead to, folders by nothing.
type Found = BTreeMap<PathBuf, String>;

/// Pulls an image and gives what it unpacked.
type Pull = Box<dyn Fn(&str, Platform) -> Found>;

#[test]
fn what_clients_pull_and_unpack_is_what_was_built() {
    let Some(real) = kimg_testkit::real() else { return };
    let Some(registry) = DockerRegistry::plain() else { return };
    if !superuser() {
        return;
    }
    let folder = program::folder();
    let clients: [(&str, Option<Pull>); 3] = [
        ("containerd", containerd(&folder.path().join("containerd"))),
        ("podman", podman("podman", &folder.path().join("podman"))),
        ("buildah", podman("buildah", &folder.path().join("buildah"))),
    ];
    for (kind, codec, layers) in KINDS {
        let out = folder.path().join(kind);
        let mut build = kimg_on(&real, folder.path(), "build");
        build.args(["--variant", "plain", "--pack", "never", "--compression", codec, "--layers", layers]);
        build.args(PLATFORMS.iter().flat_map(|platform| ["--arch".to_owned(), platform.to_string()]));
        success(build.arg("-o").arg(format!("type=oci,dest={}", out.display())));
        let to = format!("{}/acme/{kind}", registry.name());
        let pushed = answer(kimg_talk(folder.path(), "push").arg(&out).arg(&to));
        let of_blobs = pushed.story.lines().filter(|line| line.contains(&format!("MB: sent to {to} (")));
        assert!(pushed.code == 0 && of_blobs.count() >= 2, "a line for each large blob: {}", pushed.story);
        let layout = Layout::open(&out);
        let (name, index) = layout.names().swap_remove(0);
        let reference = format!("{to}:{}", name.rsplit_once(':').unwrap().1);
        for platform in PLATFORMS {
            let layers = layout.layers(layout.manifest(index, platform).unwrap());
            let expected = unpacked(&layout, &layers, &folder.path().join(format!("{kind}-{platform:?}")));
            assert!(expected.len() > 40 && expected.contains_key(Path::new("usr/bin/kubelet")));
            for (client, pull) in &clients {
                let Some(pull) = pull else { continue };
                assert_eq!(pull(&reference, platform), expected, "{client}, {kind}, {platform}");
            }
        }
    }
}

/// What lies in a folder, and no step out of it.
fn found(folder: &Path) -> Found {
    let mut found = Found::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in fs_err::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            let kind = fs_err::symlink_metadata(&path).unwrap().file_type();
            let what = if kind.is_dir() {
                folders.push(path.clone());
                String::new()
            } else if kind.is_symlink() {
                fs_err::read_link(&path).unwrap().display().to_string()
            } else {
                Digest::of(fs_err::read(&path).unwrap()).to_string()
            };
            found.insert(path.strip_prefix(folder).unwrap().to_owned(), what);
        }
    }
    found
}

/// Layers as tar, gzip and zstd unpack them.
fn unpacked(layout: &Layout, layers: &[Digest], into: &Path) -> Found {
    fs_err::create_dir_all(into).unwrap();
    for layer in layers {
        let blob = layout.blob(*layer);
        let zstd = fs_err::read(&blob).unwrap().starts_with(&[0x28, 0xb5, 0x2f, 0xfd]);
        let how = if zstd { "zstd --long=27 -d" } else { "gzip -d" };
        run(Command::new("tar").args(["-I", how, "-xf"]).arg(blob).arg("-C").arg(into));
    }
    found(into)
}

/// podman or buildah, with a store of its own by plain folders. `None` after a visible skip.
fn podman(name: &'static str, folder: &Path) -> Option<Pull> {
    let program = tool(name)?;
    let folder = folder.to_owned();
    Some(Box::new(move |reference, platform| {
        let ask = |words: &[&str]| {
            let mut command = Command::new(&program);
            command.args(["--storage-driver", "vfs", "--root"]).arg(folder.join("store"));
            run(command.arg("--runroot").arg(folder.join("run")).args(words)).trim().to_owned()
        };
        ask(&["pull", "--quiet", "--tls-verify=false", "--platform", &platform.to_string(), reference]);
        if name == "podman" {
            let found = found(Path::new(&ask(&["image", "mount", reference])));
            ask(&["image", "unmount", "--all"]);
            ask(&["rmi", "--all", "--force"]);
            return found;
        }
        let container = ask(&["from", "--pull-never", reference]);
        let found = found(Path::new(&ask(&["mount", &container])));
        ask(&["rm", &container]);
        ask(&["rmi", "--all", "--force"]);
        found
    }))
}

/// A containerd of its own, which ends with the test. `None` after a visible skip.
struct Containerd {
    child: Child,
    folder: PathBuf,
    /// Sockets have short names.
    sockets: kimg_testkit::TempDir,
}

fn containerd(folder: &Path) -> Option<Pull> {
    let (program, _) = (tool("containerd")?, tool("ctr")?);
    fs_err::create_dir_all(folder).unwrap();
    let sockets = kimg_testkit::tempdir().unwrap();
    let at = |folder: &Path, name: &str| folder.join(name).display().to_string();
    // What needs more than this machine may have, and what is not needed to pull.
    let others = ["grpc.v1.cri", "snapshotter.v1.btrfs", "snapshotter.v1.zfs", "snapshotter.v1.devmapper"];
    let others = others.map(|name| format!("\"io.containerd.{name}\"")).join(", ");
    let config = format!(
        "version = 2\nroot = {:?}\nstate = {:?}\ndisabled_plugins = [{others}]\n[grpc]\naddress = {:?}\n[ttrpc]\naddress = {:?}\n",
        at(folder, "root"),
        at(folder, "state"),
        at(sockets.path(), "grpc"),
        at(sockets.path(), "ttrpc"),
    );
    fs_err::write(folder.join("config.toml"), config).unwrap();
    let log = fs_err::File::create(folder.join("log")).unwrap();
    let mut command = Command::new(program);
    command.arg("--config").arg(folder.join("config.toml")).stdin(Stdio::null()).stdout(Stdio::null());
    let child = command.stderr(log.into_parts().0).spawn().unwrap();
    let server = Containerd { child, folder: folder.to_owned(), sockets };
    let ready = || server.ctr().arg("version").output().unwrap().status.success();
    for _ in 0..300 {
        if ready() {
            break;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    assert!(ready(), "{}", fs_err::read_to_string(folder.join("log")).unwrap());
    Some(Box::new(move |reference, platform| server.pull(reference, platform)))
}

impl Containerd {
    fn ctr(&self) -> Command {
        let mut command = Command::new("ctr");
        command.arg("--address").arg(self.sockets.path().join("grpc"));
        command
    }

    fn pull(&self, reference: &str, platform: Platform) -> Found {
        let platform = platform.to_string();
        let how = ["--snapshotter", "native", "--platform", &platform];
        run(self.ctr().args(["images", "pull", "--plain-http"]).args(how).arg(reference));
        let place = self.folder.join("mounted");
        fs_err::create_dir_all(&place).unwrap();
        run(self.ctr().args(["images", "mount"]).args(how).arg(reference).arg(&place));
        let found = found(&place);
        run(self.ctr().args(["images", "unmount", "--rm", "--snapshotter", "native"]).arg(&place));
        run(self.ctr().args(["images", "rm", "--sync", reference]));
        found
    }
}

impl Drop for Containerd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
