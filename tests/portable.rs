//! Portable services, which a real systemd attaches.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod program;

use std::path::{Path, PathBuf};
use std::process::Command;

use kimg_core::Platform;
use kimg_testkit::{Layout, RepositoryCopy, both, in_systemd, output, run, superuser, tool};
use program::{QUICK, build};

fn only_file(folder: &Path) -> PathBuf {
    let files: Vec<_> = fs_err::read_dir(folder).unwrap().map(|file| file.unwrap().path()).collect();
    let [one] = &files[..] else { panic!("{files:?}") };
    one.clone()
}

#[test]
fn what_the_portable_form_adds_to_kubeadm_cni_is_a_runtime_units_and_places() {
    let Some(real) = kimg_testkit::real() else { return };
    let folder = program::folder();
    let outputs = ["--arch=amd64", "-o", "type=rootfs-tar,dest=tar"];
    build(&real, folder.path(), &[&["--variant=portable", "--variant=kubeadm-cni"][..], &outputs].concat());
    let names = |variant: &str| {
        let file = folder.path().join(format!("tar/kubelet_1.20.2-{variant}_amd64.tar"));
        let mut archive = tar::Archive::new(fs_err::File::open(file).unwrap());
        let names = archive.entries().unwrap().map(|entry| {
            let path = entry.unwrap().path().unwrap().display().to_string();
            format!("/{}", path.trim_start_matches("./").trim_end_matches('/'))
        });
        names.collect::<Vec<_>>()
    };
    let base = names("kubeadm-cni");
    let mut added: Vec<_> = names("portable").into_iter().filter(|name| !base.contains(name)).collect();
    let mut expected = vec![
        "/bin/cp",
        "/bin/ln",
        "/dev",
        "/etc/cni",
        "/etc/cni/net.d",
        "/etc/containerd",
        "/etc/hosts",
        "/etc/kubernetes",
        "/etc/machine-id",
        "/etc/resolv.conf",
        "/lib/modules",
        "/proc",
        "/sys",
        "/usr/bin/containerd",
        "/usr/bin/containerd-shim-runc-v2",
        "/usr/bin/runc",
        "/usr/lib/os-release",
        "/usr/lib/systemd",
        "/usr/lib/systemd/system",
        "/usr/lib/systemd/system/kubelet-join.service",
        "/usr/lib/systemd/system/kubelet-runtime.service",
        "/usr/lib/systemd/system/kubelet-setup.service",
        "/usr/lib/systemd/system/kubelet.service",
        "/usr/share",
        "/usr/share/containerd",
        "/usr/share/containerd/config.toml",
        "/usr/share/kubelet",
        "/usr/share/kubelet/config.yaml",
        "/var/tmp",
    ];
    expected.sort_unstable();
    added.sort_unstable();
    assert_eq!(added, expected);
    assert!(base.iter().all(|name| names("portable").contains(name)));
}

#[test]
fn systemds_own_tools_accept_the_image_and_its_units() {
    let Some(real) = kimg_testkit::real() else { return };
    let (Some(unsquashfs), Some(analyze), Some(dissect)) =
        (tool("unsquashfs"), tool("systemd-analyze"), tool("systemd-dissect"))
    else {
        return;
    };
    let folder = program::folder();
    build(&real, folder.path(), &["--arch=amd64", "-o", &format!("type=portable,dest=raw,{QUICK}")]);
    let image = only_file(&folder.path().join("raw"));
    assert_eq!(image.file_name().unwrap(), "kubelet_1.20.2_x86-64.raw");

    let cat = |path: &str| run(Command::new(&unsquashfs).arg("-cat").arg(&image).arg(path));
    let release = cat("usr/lib/os-release");
    for line in [
        "ID=alpine\n",
        "PORTABLE_PREFIXES=\"kubelet\"\n",
        "PORTABLE_PRETTY_NAME=\"kubelet v1.20.2 with containerd\"\n",
        "IMAGE_VERSION=1.20.2\n",
    ] {
        assert!(release.contains(line), "{release}");
    }
    assert_eq!(cat("etc/resolv.conf") + &cat("etc/machine-id"), "");
    let listed = run(Command::new(&unsquashfs).arg("-lln").arg(&image));
    for (mode, path) in [
        ("drwxrwxrwt 0/0", "squashfs-root/tmp"),
        ("drwxrwxrwt 0/0", "squashfs-root/var/tmp"),
        ("drwxr-xr-x 0/0", "squashfs-root/proc"),
        ("-rwxr-xr-x 0/0", "squashfs-root/usr/bin/kubelet"),
        ("-rwxr-xr-x 0/0", "squashfs-root/opt/cni/bin/bridge"),
        ("-rw-r--r-- 0/0", "squashfs-root/usr/lib/systemd/system/kubelet.service"),
        ("lrwxrwxrwx 0/0", "squashfs-root/etc/os-release -> ../usr/lib/os-release"),
    ] {
        let found = listed.lines().any(|line| line.starts_with(mode) && line.ends_with(&format!(" {path}")));
        assert!(found, "{mode} {path}\n{listed}");
    }

    let tree = folder.path().join("tree");
    run(Command::new(&unsquashfs).args(["-q", "-n", "-no-xattrs", "-d"]).arg(&tree).arg(&image));
    for unit in ["kubelet-setup", "kubelet-runtime", "kubelet", "kubelet-join"] {
        let mut verify = Command::new(&analyze);
        verify.arg("verify").arg(format!("--root={}", tree.display()));
        let verified =
            output(verify.args(["--man=no", "--recursive-errors=no"]).arg(format!("{unit}.service")));
        assert!(verified.status.success() && both(&verified).is_empty(), "{unit}: {}", both(&verified));
    }
    if superuser() {
        let said = run(Command::new(dissect).arg("--no-pager").arg(&image));
        assert!(said.contains("✓ portable service"), "{said}");
    }
}

/// What a test of the README's commands does before them: a host that runs static pods, with what this machine lacks.
/// The kubelet wants `/dev/kmsg`, which systemd-nspawn has not, and cgroups of its own, which the rig has not.
const HOST: &str = r#"
set -u
ln -s /dev/null /dev/kmsg
ip link set lo up
mkdir -p /etc/kubernetes/manifests /etc/default /var/lib/kubelet
cat > /var/lib/kubelet/config.yaml <<END
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
authentication: { anonymous: { enabled: true }, webhook: { enabled: false } }
authorization: { mode: AlwaysAllow }
cgroupDriver: cgroupfs
cgroupsPerQOS: false
enforceNodeAllocatable: []
failSwapOn: false
staticPodPath: /etc/kubernetes/manifests
END
echo 'KUBELET_EXTRA_ARGS=--bootstrap-kubeconfig= --kubeconfig= --register-node=false' > /etc/default/kubelet
# Waits for something to become true.
await() { for try in $(seq 300); do eval "$1" > /dev/null 2>&1 && return 0; sleep 0.2; done; echo "NOT: $1"; return 1; }
pid() { systemctl show -p MainPID --value "$1"; }
space() { readlink /proc/$(pid "$1")/ns/mnt; }
healthy() { await '[ "$(curl -s http://127.0.0.1:10248/healthz)" = ok ]' && echo "$1: healthy"; }
"#;

/// The commands of the README, in a machine that systemd has booted.
const LIFE: &str = r#"
portablectl inspect ./old/kubelet_1.20.2_x86-64.raw
portablectl attach --profile=trusted --enable --now ./old/kubelet_1.20.2_x86-64.raw || exit 1
healthy attached
echo "states: $(systemctl is-active kubelet-setup kubelet-runtime kubelet kubelet-join | tr '\n' ' ')"
echo "enabled: $(ls /etc/systemd/system.attached/multi-user.target.wants | tr '\n' ' ')"
echo "configuration: $(head -1 /etc/containerd/config.toml); kept: $(grep -c AlwaysAllow /var/lib/kubelet/config.yaml)"
echo "plugins: $(ls /var/lib/cni/bin | wc -l)"
[ "$(space kubelet)" = "$(space kubelet-runtime)" ] && echo "one namespace"
nsenter --mount=/run/kubelet/namespace /usr/bin/kubeadm version -o short
nsenter --mount=/run/kubelet/namespace /bin/mount -t tmpfs tmpfs /var/lib/kubelet/volume-plugins
grep -c ' /var/lib/kubelet/volume-plugins ' /proc/$(pid kubelet-runtime)/mountinfo
echo "pods: $(curl -sk https://127.0.0.1:10250/pods)"

cat > /etc/kubernetes/join.yaml <<END
apiVersion: kubeadm.k8s.io/v1beta2
kind: JoinConfiguration
discovery:
  bootstrapToken: { token: abcdef.0123456789abcdef, apiServerEndpoint: "127.0.0.1:1", unsafeSkipCAVerification: true }
nodeRegistration: { criSocket: /run/containerd/containerd.sock }
END
systemctl start --no-block kubelet-join
await 'journalctl -o cat -u kubelet-join | grep "Running pre-flight checks"' && echo "joining"
systemctl stop kubelet-join
rm /etc/kubernetes/join.yaml

# As a shim of a pod does, it lives in the group of the runtime, and longer than the runtime.
sleep 600 &
shim=$!
echo $shim > "/sys/fs/cgroup$(systemctl show -p ControlGroup --value kubelet-runtime)/cgroup.procs"

runtime=$(pid kubelet-runtime)
kill -9 "$runtime"
await '[ "$(pid kubelet-runtime)" != 0 ] && [ "$(pid kubelet-runtime)" != '$runtime' ]'
await '[ "$(space kubelet)" = "$(space kubelet-runtime)" ]' && echo "one namespace again"
healthy 'after the runtime died'

portablectl reattach --profile=trusted --enable --now ./new/kubelet_1.20.3_x86-64.raw || exit 1
await '[ "$(grep IMAGE_VERSION /proc/$(pid kubelet)/root/usr/lib/os-release)" = IMAGE_VERSION=1.20.3 ]'
healthy upgraded
kill -0 $shim && echo "a shim lives on"
echo "runs: $(grep IMAGE_VERSION /proc/$(pid kubelet)/root/usr/lib/os-release)"
portablectl --no-legend list

journalctl --sync
for unit in kubelet-runtime kubelet; do echo "journal of $unit"; journalctl --no-pager -o cat -u $unit; done
portablectl detach --enable --now ./new/kubelet_1.20.3_x86-64.raw || exit 1
await '[ ! -e /run/kubelet/namespace ]'
echo "detached: $(systemctl is-active kubelet-runtime kubelet | tr '\n' ' ')"
portablectl list
ls -d /etc/systemd/system.attached 2>/dev/null
exit 0
"#;

#[test]
fn a_portable_service_is_attached_runs_is_upgraded_and_detached() {
    let Some(real) = kimg_testkit::real() else { return };
    let folder = program::folder();
    let output = |to: &str| format!("type=portable,dest={to},{QUICK}");
    build(&real, folder.path(), &["--arch=amd64", "-o", &output("old")]);
    let newer = RepositoryCopy::new(&real, Platform::Amd64);
    newer.update("kubelet", "1.20.3-r0");
    let mut kimg = program::kimg(folder.path());
    kimg.arg("build").arg("-r").arg(newer.path()).arg("-k").arg(real.keys());
    kimg.arg("--cache-dir").arg(program::shared_cache());
    program::success(kimg.args(["--arch=amd64", "--pack=never", "-q", "-o", &output("new")]));

    let Some(life) = in_systemd(folder.path(), &format!("{HOST}{LIFE}")) else { return };
    let said = both(&life);
    assert!(life.status.success(), "{said}");
    let in_order = [
        // inspect
        "kubelet v1.20.2 with containerd",
        "kubelet-join.service",
        "kubelet-runtime.service",
        "kubelet-setup.service",
        "kubelet.service",
        // attach
        "attached: healthy",
        "states: active active active inactive ",
        "enabled: kubelet-join.service kubelet-runtime.service kubelet.service ",
        "configuration: version = 2; kept: 1",
        "plugins: 16",
        "one namespace\n",
        "v1.20.2\n",
        // What is mounted where the kubelet is, the runtime sees.
        "1\n",
        "pods: {\"kind\":\"PodList\"",
        "joining",
        "one namespace again",
        "after the runtime died: healthy",
        // reattach
        "upgraded: healthy",
        "a shim lives on",
        "runs: IMAGE_VERSION=1.20.3",
        "kubelet_1.20.3_x86-64 raw",
        "journal of kubelet-runtime",
        "starting containerd",
        "containerd successfully booted",
        "journal of kubelet\n",
        "Version: v1.20.2",
        "Starting kubelet main sync loop",
        // detach
        "detached: inactive inactive ",
        "No images.",
    ];
    let mut rest = &said[..];
    for text in in_order {
        let Some(at) = rest.find(text) else { panic!("no {text:?} in what is left of\n{said}") };
        rest = &rest[at + text.len()..];
    }
    assert!(!said.contains("NOT: ") && !rest.contains("system.attached\n"), "{said}");
}

#[test]
fn a_variant_without_units_is_no_portable_service_and_nothing_is_written() {
    let folder = program::folder();
    let mut kimg = program::kimg_sample(folder.path(), "build");
    let story = program::failure(kimg.args(["--variant", "cni", "-o", "type=portable,dest=p"]), 2);
    assert!(
        story.contains("`cni` is no portable service") && story.contains("--variant portable"),
        "{story}"
    );
    assert!(!folder.path().join("p").exists());
}

#[test]
fn a_release_of_all_images_leaves_the_portable_variants_out() {
    let folder = program::folder();
    let mut kimg = program::kimg_quick(folder.path(), "build");
    program::success(kimg.args(["--arch", "amd64", "-q"]));
    let layout = Layout::open(folder.path().join("out"));
    assert!(!layout.names().iter().any(|(name, _)| name.contains("portable")));
}
