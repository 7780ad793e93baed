//! `kimg slim`: what is left of roots and images is unpacked by `umoci`, and its programs are started in a chroot.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod program;

use std::collections::BTreeSet;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;
use std::process::Command;

use assert_cmd::Command as Kimg;
use kimg_core::{Digest, Platform};
use kimg_testkit::{
    Layout, Root, TempDir, both, debian_root, run, skopeo_copy, superuser, tool, umoci_stack, umoci_unpack,
};
use serde_json::Value;

/// The tag of the image that each test makes smaller.
const ONE: &str = "x/plain:one";

fn slim(folder: &Path, input: impl AsRef<Path>) -> Kimg {
    let mut kimg = program::kimg(folder);
    kimg.arg("slim").arg(input.as_ref());
    kimg
}

/// What `kimg slim` tells of the one platform that it made.
fn told(kimg: &mut Kimg) -> Value {
    let report = program::json(kimg.args(["--format", "json"]));
    assert_eq!(report["images"].as_array().unwrap().len(), 1);
    report["images"][0].clone()
}

fn kept(image: &Value) -> BTreeSet<String> {
    image["kept"].as_array().unwrap().iter().map(|one| one["path"].as_str().unwrap().to_owned()).collect()
}

/// The paths of which something is unknown.
fn unknown(image: &Value, what: &str) -> BTreeSet<String> {
    let all = image["unknown"].as_array().unwrap().iter().filter(|one| one["unknown"] == what);
    all.map(|one| one["path"].as_str().unwrap().to_owned()).collect()
}

/// Starts a program in an unpacked image, where it has to succeed.
fn started(root: &Root, program: &[&str]) -> Option<String> {
    let output = root.run(program, &[])?;
    assert!(output.status.success(), "{program:?}: {}", both(&output));
    Some(String::from_utf8(output.stdout).unwrap().trim().to_owned())
}

/// A layout `images` with kimg's own plain, for all platforms, under one name.
fn plain() -> Option<TempDir> {
    let real = kimg_testkit::real()?;
    let folder = program::folder();
    let mut kimg = program::kimg_on(&real, folder.path(), "build");
    program::success(kimg.args([
        "--variant",
        "plain",
        "--pack",
        "never",
        "-q",
        "-o",
        "type=oci,dest=images",
    ]));
    Some(folder)
}

/// One image of a layout: its manifest and its config.
fn image(layout: &Path, platform: Platform) -> (Value, Value) {
    let layout = Layout::open(layout);
    layout.check();
    let manifest = layout.manifest(layout.names()[0].1, platform).unwrap();
    (layout.json(manifest), layout.config(manifest))
}

#[test]
fn programs_of_a_debian_root_run_in_what_is_left_of_it() {
    let Some(debian) = debian_root() else { return };
    let folder = program::folder();
    let mut kimg = slim(folder.path(), &debian);
    kimg.args([
        "--root",
        "ls",
        "--root",
        "/bin/bash",
        "--root",
        "id",
        "-o",
        "type=oci,dest=out",
        "--tag",
        "a:1",
    ]);
    let told = told(&mut kimg);
    let kept = kept(&told);
    assert!(kept.contains("/bin") && kept.contains("/usr/bin/bash"), "the link on the way stays: {kept:?}");
    assert!(kept.len() < 30 && told["before"]["files"].as_u64().unwrap() > 3000, "{kept:?}");
    let (after, gone) = (&told["after"]["files"], &told["gone"]["files"]);
    assert_eq!(told["before"]["files"].as_u64(), Some(after.as_u64().unwrap() + gone.as_u64().unwrap()));
    assert_eq!(after.as_u64(), Some(kept.len() as u64));
    assert!(unknown(&told, "loads").contains("/usr/bin/bash"), "{}", told["unknown"]);
    assert!(unknown(&told, "starts").contains("/usr/bin/bash") && !kept.contains("/usr/bin/cat"));

    let unpacked =
        umoci_unpack(&folder.path().join("out"), "a:1", Platform::Amd64, &folder.path().join("root"));
    let Some(root) = unpacked else { return };
    let Some(listed) = started(&root, &["/bin/ls", "/usr/bin"]) else { return };
    assert_eq!(listed, "bash\nid\nls");
    assert_eq!(started(&root, &["/bin/bash", "-c", "echo $((6 * 7)) $BASH_VERSION"]).unwrap()[..5], *"42 5.");
    assert!(
        started(&root, &["id"]).unwrap().starts_with("uid=0(root) gid=0(root)"),
        "by the name service that comes with glibc"
    );
    println!("{} → {}: {} bytes to pull", told["before"], told["after"], told["pull"]);
}

#[test]
fn the_same_root_gives_the_same_image_and_a_smaller_one_gets_no_smaller() {
    let Some(debian) = debian_root() else { return };
    let folder = program::folder();
    let slimmed = |input: &Path, name: &str| {
        let output = format!("type=oci,dest={name}");
        told(slim(folder.path(), input).args(["--root", "ls", "--root", "mount", "-o", &output]))
    };
    let (first, again) = (slimmed(&debian, "a"), slimmed(&debian, "b"));
    assert_eq!(first, again);
    assert_eq!(program::files(&folder.path().join("a")), program::files(&folder.path().join("b")));
    let from_image =
        told(slim(folder.path(), "a").args(["--root", "ls", "--root", "mount", "-o", "type=oci,dest=c"]));
    assert_eq!(from_image["gone"]["files"], 0);
    assert_eq!(kept(&from_image), kept(&first));
    let layer = |name: &str| image(&folder.path().join(name), Platform::Amd64).0["layers"].clone();
    assert_eq!(layer("a"), layer("c"));
}

#[test]
fn an_image_of_a_node_is_cut_down_to_its_iptables_for_every_platform() {
    let Some(folder) = plain() else { return };
    let told = program::json(
        slim(folder.path(), "images")
            .args(["--root", "iptables", "-o", "type=oci,dest=out", "--tag", "a:1"])
            .args(["--format", "json"]),
    );
    let platforms: Vec<&str> =
        told["images"].as_array().unwrap().iter().map(|i| i["platform"].as_str().unwrap()).collect();
    assert_eq!(platforms, ["linux/amd64", "linux/arm64", "linux/arm/v7"]);
    for (one, platform) in told["images"].as_array().unwrap().iter().zip(Platform::DEFAULT) {
        let kept = kept(one);
        assert!(!kept.contains("/usr/bin/kubelet") && kept.contains("/usr/lib/xtables/libxt_comment.so"));
        let notes = one["notes"].to_string();
        assert!(notes.contains("still runs `/usr/bin/kubelet`"), "{notes}");
        assert_eq!(unknown(one, "loads"), BTreeSet::new(), "a rule names what iptables loads");
        let (_, before) = image(&folder.path().join("images"), platform);
        let (manifest, after) = image(&folder.path().join("out"), platform);
        assert_eq!(before["config"], after["config"]);
        assert_eq!(
            (&before["architecture"], &before["variant"]),
            (&after["architecture"], &after["variant"])
        );
        assert_eq!(
            (&after["history"].as_array().unwrap().len(), &manifest["layers"].as_array().unwrap().len()),
            (&1, &1)
        );
        assert_eq!(after["history"][0]["created_by"], "kimg slim --root iptables");

        let place = folder.path().join(platform.alpine());
        let Some(root) = umoci_unpack(&folder.path().join("out"), "a:1", platform, &place) else { return };
        let Some(help) = started(&root, &["iptables", "-m", "comment", "--help"]) else { return };
        assert!(help.contains("comment match options"), "{help}");
        assert_eq!(root.musl_list("/sbin/iptables").unwrap(), Vec::<String>::new());
    }
}

#[test]
fn without_roots_what_the_config_runs_stays_and_a_go_program_is_called_unknown() {
    let Some(folder) = plain() else { return };
    let told = told(slim(folder.path(), "images").args([
        "--arch",
        "amd64",
        "-o",
        "type=oci,dest=out",
        "--tag",
        "a:1",
    ]));
    let kept = kept(&told);
    assert!(kept.contains("/usr/bin/kubelet") && !kept.contains("/sbin/iptables"), "{kept:?}");
    let go: BTreeSet<_> = unknown(&told, "go").union(&unknown(&told, "static")).cloned().collect();
    assert_eq!(go, BTreeSet::from(["/usr/bin/kubelet".to_owned()]));
    let unpacked =
        umoci_unpack(&folder.path().join("out"), "a:1", Platform::Amd64, &folder.path().join("root"));
    let Some(root) = unpacked else { return };
    let Some(version) = started(&root, &["kubelet", "--version"]) else { return };
    assert_eq!(version, "Kubernetes v1.20.2");
}

#[test]
fn archives_are_read_and_written_like_layouts() {
    let Some(folder) = plain() else { return };
    if tool("skopeo").is_none() {
        return;
    }
    let name = Layout::open(folder.path().join("images")).names()[0].0.clone();
    let from = format!("oci:{}:{name}", folder.path().join("images").display());
    let mut layers = Vec::new();
    for kind in ["oci", "oci-archive", "docker-archive"] {
        let to = format!("{kind}:{}:{ONE}", folder.path().join(format!("in-{kind}")).display());
        skopeo_copy(&from, &to, Platform::Amd64).unwrap();
        let output = format!("type={kind},dest=out-{kind}");
        let input = format!("{kind}:in-{kind}");
        let said = program::success(
            slim(folder.path(), input).args(["--root", "iptables", "--tag", ONE, "-q", "-o", &output]),
        );
        assert!(said.starts_with(&format!("{ONE}@sha256:")), "{said}");
        // Read back by another: what lies in the archive is an image.
        let made = format!("{kind}:{}:{ONE}", folder.path().join(format!("out-{kind}")).display());
        let back = folder.path().join(format!("back-{kind}"));
        skopeo_copy(&made, &format!("oci:{}:back", back.display()), Platform::Amd64).unwrap();
        let layout = Layout::open(&back);
        let config = layout.config(layout.names()[0].1);
        layers.push(config["rootfs"]["diff_ids"].clone());
        assert_eq!(config["config"]["Entrypoint"][0], "/usr/bin/kubelet");
    }
    let several = ["--root", "iptables", "-o", "all", "-o", "type=docker-archive,dest=all.tar"];
    assert!(program::failure(slim(folder.path(), "images").args(several), 2).contains("holds one platform"));
    assert!(!folder.path().join("all").exists(), "neither of the two is written");
    assert!(layers.windows(2).all(|pair| pair[0] == pair[1]), "{layers:?}");
}

#[test]
fn owners_modes_attributes_and_links_of_a_folder_stay_and_nothing_outside_it_is_touched() {
    let Some(debian) = debian_root() else { return };
    if !superuser() || tool("umoci").is_none() {
        return;
    }
    let folder = program::folder();
    program::success(
        slim(folder.path(), &debian)
            .args(["--root", "bash", "--root", "ls", "-q", "-o", "small", "--tag", "a:1"]),
    );
    let unpacked =
        umoci_unpack(&folder.path().join("small"), "a:1", Platform::Amd64, &folder.path().join("in"));
    let root = unpacked.unwrap().folder().to_owned();
    fs_err::write(folder.path().join("outside"), "no file of the root").unwrap();
    let script = r#"
cd "$1"; mkdir -p srv/data run dev opt
printf '#!/bin/bash\nls /srv\n' > opt/start; chown 12:34 opt/start; chmod 4751 opt/start
ln opt/start opt/again; echo text > srv/data/file; chown 5:6 srv/data; chmod 1777 srv/data
ln -s ../../../../../../outside srv/data/escape; ln -s /srv/data/file srv/link; ln -s nowhere srv/broken
mkfifo run/pipe; mknod dev/null c 1 3; touch -d '1960-01-01' srv/data/old
python3 -c 'import os, socket; socket.socket(socket.AF_UNIX).bind("run/socket")
os.setxattr("opt/start", "user.kimg", b"a\0b")
os.setxattr("srv/data/file", "security.capability", bytes.fromhex("0100000200040000000000000000000000000000"))'
"#;
    run(Command::new("sh").args(["-ec", script, "sh"]).arg(&root));
    let told = told(slim(folder.path(), &root).args([
        "--root",
        "/opt/start",
        "--keep",
        "/srv",
        "--keep",
        "/opt/a*",
        "--keep",
        "/run",
        "-o",
        "out",
        "--tag",
        "a:1",
    ]));
    let passed: Vec<_> = told["passed_over"].as_array().unwrap().iter().map(|p| &p["path"]).collect();
    assert_eq!(passed, ["/dev/null", "/run/pipe", "/run/socket"]);
    assert_eq!(unknown(&told, "script"), BTreeSet::from(["/opt/again", "/opt/start"].map(str::to_owned)));
    assert!(!kept(&told).contains("/usr/bin/ls"), "what a script starts is not known");

    let after =
        umoci_unpack(&folder.path().join("out"), "a:1", Platform::Amd64, &folder.path().join("after"))
            .unwrap();
    let at = |path: &str| after.on_disk(path);
    let meta = |path: &str| fs_err::symlink_metadata(at(path)).unwrap();
    let start = meta("/opt/start");
    assert_eq!((start.mode() & 0o7777, start.uid(), start.gid(), start.nlink()), (0o4751, 12, 34, 2));
    assert_eq!(start.ino(), meta("/opt/again").ino());
    let data = meta("/srv/data");
    assert_eq!((data.permissions().mode() & 0o7777, data.uid(), data.gid()), (0o1777, 5, 6));
    assert_eq!((meta("/srv/data/old").mtime(), meta("/run").is_dir()), (0, true));
    let link = |path: &str| fs_err::read_link(at(path)).unwrap().display().to_string();
    assert_eq!(link("/srv/data/escape"), "../../../../../../outside");
    assert_eq!((link("/srv/broken"), link("/srv/link")), ("nowhere".into(), "/srv/data/file".into()));
    let attribute = "import os, sys; print(os.getxattr(sys.argv[1], sys.argv[2]).hex())";
    let attribute =
        |path: &str, name: &str| run(Command::new("python3").args(["-c", attribute]).arg(at(path)).arg(name));
    assert_eq!(attribute("/opt/start", "user.kimg").trim(), "610062");
    assert_eq!(
        attribute("/srv/data/file", "security.capability").trim(),
        "0100000200040000000000000000000000000000"
    );
    let digest = |path: &Path| Digest::of(fs_err::read(path).unwrap());
    assert_eq!(digest(&root.join("usr/bin/bash")), digest(&at("/usr/bin/bash")));
}

#[test]
fn what_is_missing_is_named_and_nothing_is_written() {
    let Some(debian) = debian_root() else { return };
    let folder = program::folder();
    let refused = |words: &[&str], code| program::failure(slim(folder.path(), &debian).args(words), code);
    let missing = refused(&["--root", "/usr/sbin/bash", "-o", "out"], 13);
    assert!(missing.contains("the root `/usr/sbin/bash` is not there: "), "{missing}");
    assert!(missing.contains("there is `/usr/bin/bash`"), "{missing}");
    assert!(refused(&["--root", "nonsuch", "-o", "out"], 13).contains("no program `nonsuch`"));
    assert!(refused(&["--root", "ls", "--keep", "/etc/shadow*", "-o", "out"], 13).contains("finds nothing"));
    assert!(refused(&["-o", "out"], 2).contains("neither entrypoint nor command"));
    assert!(refused(&["--root", "/usr", "-o", "out"], 2).contains("--keep /usr"));
    assert!(refused(&["--root", "ls", "--arch", "armv7", "-o", "out"], 13).contains("x86-64"));

    // A library that is not there: an error that shows the way, or told where that is allowed.
    let broken = folder.path().join("broken");
    run(Command::new("sh")
        .args(["-ec", "mkdir -p $2/usr/bin $2/lib64 $2/lib/x86_64-linux-gnu; cp $1/usr/bin/ls $2/usr/bin; \
               cp $1/lib64/ld-linux-x86-64.so.2 $2/lib64; cp $1/lib/x86_64-linux-gnu/libc.so.6 $2/lib/x86_64-linux-gnu", "sh"])
        .args([&debian, &broken]));
    let words = ["--root", "ls", "-o", "out"];
    let unresolved = program::failure(slim(folder.path(), "broken").args(words), 13);
    assert!(unresolved.contains("`/usr/bin/ls` needs `libselinux.so.1`"), "{unresolved}");
    assert!(unresolved.contains("--allow-unresolved"), "{unresolved}");
    assert!(!folder.path().join("out").exists(), "nothing is written");
    let allowed = told(slim(folder.path(), "broken").args(words).arg("--allow-unresolved"));
    assert!(allowed["unresolved"][0].as_str().unwrap().contains("libselinux.so.1"), "{allowed}");
    assert!(kept(&allowed).contains("/lib/x86_64-linux-gnu/libc.so.6"));
}

#[test]
fn an_image_is_never_put_in_the_place_of_the_one_it_comes_from() {
    let folder = program::folder();
    let mut kimg = program::kimg_sample(folder.path(), "build");
    program::success(kimg.args(["--variant", "plain", "--variant", "cni", "-q", "-o", "images"]));
    let layout = Layout::open(folder.path().join("images"));
    let several = program::failure(slim(folder.path(), "images").args(["-o", "out"]), 2);
    assert!(several.contains("several images") && several.contains(&layout.names()[0].0), "{several}");
    let one = format!("oci:images:{}", layout.names()[0].0);
    let before = program::files(layout.folder());
    let refused = program::failure(slim(folder.path(), &one).args(["-o", "images"]), 2);
    assert!(refused.contains("would take its place"), "{refused}");
    assert_eq!(program::files(layout.folder()), before);
    program::success(slim(folder.path(), &one).args(["-o", "images", "--tag", "small:1"]));
    assert_eq!(layout.names().len(), Layout::open(folder.path().join("images")).names().len());
    assert!(layout.names().iter().any(|(name, _)| name == "small:1"));
    assert!(program::files(layout.folder()).len() > before.len());
    let none = program::failure(slim(folder.path(), &one).args(["-o", "out", "--arch", "armv6"]), 13);
    assert!(none.contains("has no image for linux/arm/v6") && none.contains("linux/arm/v7"), "{none}");
}

/// A layout `images` as others make them, under the name `a`: Alpine's base, over it layers that GNU tar wrote, with a hard
/// link to a file of the base, a sparse file, a device and a pipe.
fn foreign() -> Option<TempDir> {
    let real = kimg_testkit::real()?;
    if !superuser() {
        return None;
    }
    let folder = program::folder();
    let script = r#"
gzip -dc "$1" > base.tar; mkdir -p top/bin top/usr/local/bin top/usr/share top/dev
tar -xf base.tar -C top ./bin/busybox; ln top/bin/busybox top/usr/local/bin/uname
truncate -s 3M top/usr/share/sparse; printf 'far behind' >> top/usr/share/sparse
mknod -m 666 top/dev/null c 1 3; mkfifo top/dev/pipe
tar -cf link.tar -C top bin/busybox usr/local/bin/uname; tar --delete -f link.tar bin/busybox
tar --format=posix --sparse --hole-detection=raw --numeric-owner -cf top.tar -C top usr/share dev
"#;
    run(Command::new("sh")
        .args(["-ec", script, "sh"])
        .arg(real.minirootfs(Platform::Amd64))
        .current_dir(folder.path()));
    let layers = ["base.tar", "link.tar", "top.tar"].map(|layer| folder.path().join(layer));
    umoci_stack(&folder.path().join("images"), "a", &layers)?;
    Some(folder)
}

#[test]
fn hard_links_into_other_layers_and_sparse_files_are_read_as_umoci_unpacks_them() {
    let Some(folder) = foreign() else { return };
    let at = |name: &str| folder.path().join(name);
    let words = ["--root", "uname", "--keep", "/usr/share/sparse", "-o", "type=oci,dest=out", "--tag", "a:1"];
    let told = told(slim(folder.path(), "oci:images:a").args(words));
    let kept = kept(&told);
    assert!(kept.contains("/usr/local/bin/uname") && !kept.contains("/bin/busybox"), "{kept:?}");
    let passed = serde_json::json!([
        { "path": "/dev/null", "why": "a device" },
        { "path": "/dev/pipe", "why": "a named pipe" },
    ]);
    assert_eq!(told["passed_over"], passed);

    let unpacked =
        |layout: &str, name: &str, to: &str| umoci_unpack(&at(layout), name, Platform::Amd64, &at(to));
    let (Some(before), Some(after)) = (unpacked("images", "a", "before"), unpacked("out", "a:1", "after"))
    else {
        return;
    };
    for path in ["/usr/local/bin/uname", "/usr/share/sparse"] {
        let digest = |root: &Root| Digest::of(fs_err::read(root.on_disk(path)).unwrap());
        assert_eq!(digest(&before), digest(&after), "{path}");
    }
    assert_eq!(fs_err::metadata(after.on_disk("/usr/share/sparse")).unwrap().len(), (3 << 20) + 10);
    assert_eq!(started(&after, &["uname"]).unwrap(), "Linux");
}

#[test]
fn a_device_is_refused_where_it_would_stay_and_two_images_that_differ_in_one_are_not_called_equal() {
    let Some(folder) = foreign() else { return };
    let words = ["--root", "uname", "--keep", "/dev", "-o", "out"];
    let refused = program::failure(slim(folder.path(), "oci:images:a").args(words), 2);
    assert!(refused.contains("`--keep /dev` would keep `/dev/null`, which is a device"), "{refused}");
    assert!(refused.contains("--allow-unresolved"), "{refused}");
    assert!(!folder.path().join("out").exists(), "nothing is written");
    let allowed = told(slim(folder.path(), "oci:images:a").args(words).arg("--allow-unresolved"));
    assert!(allowed["notes"].to_string().contains("passes `/dev/null` over, a device"), "{allowed}");

    let diff = |b: &str| {
        let mut kimg = program::kimg(folder.path());
        kimg.args(["diff", "oci:images:a", b, "--exit-code"]);
        kimg
    };
    program::success(&mut diff("oci:images:a"));
    let differs = program::failure(&mut diff("oci:out"), 11);
    assert!(differs.contains("`/dev/null` is a device that differs between the two"), "{differs}");
}
