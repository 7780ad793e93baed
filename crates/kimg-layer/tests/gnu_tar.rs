//! GNU tar as judge: it lists and unpacks a layer as it was meant.

#![expect(clippy::unwrap_used, reason = "a test that panics has failed, as it should")]

mod outside;

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::Command;

use kimg_core::{Content, Entry, ImagePath, Kind, MemorySink, Origin};
use kimg_layer::{Codec, Entries, LayerError, Limits, NodeKind, Options, read, read_upper, write};
use outside::{has, run, skip};

fn is_root() -> bool {
    let root = fs_err::metadata("/proc/self").unwrap().uid() == 0;
    if !root {
        skip("only root can set owners and security attributes");
    }
    root
}

fn path(text: &str) -> ImagePath {
    ImagePath::new(text).unwrap()
}

/// A version 2 capability: `cap_net_raw=ep` (`capabilities(7)`, "File capability extended attribute versioning").
const NET_RAW: [u8; 20] = [1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

fn sample() -> Entries {
    let origin = Origin::generated("test");
    let file = |bytes: &str, mode| Entry::file(Content::from_bytes(bytes), mode, origin.clone());
    let hard = |bytes: &str| {
        let kind = Kind::File { content: Content::from_bytes(bytes), inode: Some(path("/bin/one")) };
        Entry { kind, ..file(bytes, 0o755) }
    };
    let long = format!("/{}/{}", "folder".repeat(20), "é".repeat(70));
    let mut entries = Entries::from([
        (path("/bin"), Entry::directory(origin.clone())),
        (path("/bin/one"), hard("#!/bin/sh\n")),
        (path("/bin/two"), hard("#!/bin/sh\n")),
        (path("/bin/ping"), file("ping", 0o755)),
        (path("/bin/su"), file("su", 0o4755)),
        (path("/bin/sh"), Entry::symlink("one", origin.clone())),
        (path("/tmp"), Entry { mode: 0o1777, ..Entry::directory(origin.clone()) }),
        (path("/owned"), Entry { uid: 3_000_000, gid: 70_000, mtime: 1_600_000_000, ..file("o", 0o600) }),
        (path("/far"), Entry::symlink("t/".repeat(100), origin.clone())),
        (path(&long).parent().unwrap(), Entry::directory(origin.clone())),
        (path(&long), file("long", 0o644)),
    ]);
    entries.get_mut("/bin/ping").unwrap().xattrs.insert("security.capability".into(), NET_RAW.into());
    entries
}

fn stored(dir: &Path, codec: Codec) -> std::path::PathBuf {
    let (bytes, _) = write(&sample(), &Options { codec, ..Options::default() }, Vec::new()).unwrap();
    let file = dir.join("layer.tar");
    fs_err::write(&file, bytes).unwrap();
    file
}

#[test]
fn gnu_tar_lists_every_entry_as_it_was_meant() {
    if !has("tar") || !has("zstd") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let mut listings = Vec::new();
    for (codec, flag) in
        [(Codec::Gzip { level: 9 }, "--gzip"), (Codec::Zstd { level: 3, window: None }, "--zstd")]
    {
        let file = stored(dir.path(), codec);
        let list = ["--list", "--verbose", "--numeric-owner", "--quoting-style=literal", flag, "--file"];
        listings.push(run(Command::new("tar").args(list).arg(file)));
    }
    assert_eq!(listings[0], listings[1]);
    let folder = "folder".repeat(20);
    let lines: Vec<String> =
        listings[0].lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    let epoch = "1970-01-01 00:00";
    assert_eq!(
        lines,
        [
            format!("drwxr-xr-x 0/0 0 {epoch} bin/"),
            format!("-rwxr-xr-x 0/0 10 {epoch} bin/one"),
            format!("-rwxr-xr-x 0/0 4 {epoch} bin/ping"),
            format!("lrwxrwxrwx 0/0 0 {epoch} bin/sh -> one"),
            format!("-rwsr-xr-x 0/0 2 {epoch} bin/su"),
            format!("hrwxr-xr-x 0/0 0 {epoch} bin/two link to bin/one"),
            format!("lrwxrwxrwx 0/0 0 {epoch} far -> {}", "t/".repeat(100)),
            format!("drwxr-xr-x 0/0 0 {epoch} {folder}/"),
            format!("-rw-r--r-- 0/0 4 {epoch} {folder}/{}", "é".repeat(70)),
            "-rw------- 3000000/70000 1 2020-09-13 12:26 owned".to_owned(),
            format!("drwxrwxrwt 0/0 0 {epoch} tmp/"),
        ]
    );
}

#[test]
fn gnu_tar_unpacks_owners_setuid_links_and_capabilities() {
    if !has("tar") || !is_root() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let file = stored(dir.path(), Codec::default());
    let root = dir.path().join("root");
    fs_err::create_dir_all(&root).unwrap();
    run(Command::new("tar")
        .args([
            "--extract",
            "--gzip",
            "--numeric-owner",
            "--same-permissions",
            "--xattrs",
            "--xattrs-include=*",
        ])
        .arg("--directory")
        .arg(&root)
        .arg("--file")
        .arg(&file));
    let stat = |name: &str| fs_err::symlink_metadata(root.join(name)).unwrap();
    assert_eq!(stat("bin/su").permissions().mode() & 0o7777, 0o4755);
    assert_eq!(stat("tmp").permissions().mode() & 0o7777, 0o1777);
    let owned = stat("owned");
    assert_eq!((owned.uid(), owned.gid(), owned.mtime()), (3_000_000, 70_000, 1_600_000_000));
    assert_eq!((stat("bin/one").ino(), stat("bin/one").nlink()), (stat("bin/two").ino(), 2));
    assert_eq!(fs_err::read_link(root.join("bin/sh")).unwrap(), Path::new("one"));
    assert_eq!(fs_err::read(root.join("folder".repeat(20)).join("é".repeat(70))).unwrap(), b"long");

    if Command::new("getcap").arg("-h").output().is_err() {
        return skip("getcap is not installed: the capability was not looked at");
    }
    let said = run(Command::new("getcap").arg("-r").arg(&root));
    assert_eq!(said.trim(), format!("{} cap_net_raw=ep", root.join("bin/ping").display()));
}

#[test]
fn sparse_files_in_every_form_that_gnu_tar_writes_are_read_as_what_they_stand_for() {
    if !has("tar") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    // One with more pieces than a header holds, and than the block behind it does; one that is nothing but a hole.
    let mut many = vec![0; 60 * 65_536];
    for piece in 0..60 {
        many[piece * 65_536 + 100..][..4].copy_from_slice(b"here");
    }
    let long = format!("{}/long", "folder/".repeat(20));
    for (name, bytes) in [("many", &many), ("hole", &vec![0; 1 << 20]), (&long, &many[..400_000].to_vec())] {
        fs_err::create_dir_all(at(name).parent().unwrap()).unwrap();
        let file = fs_err::File::create(at(name)).unwrap();
        file.set_len(bytes.len() as u64).unwrap();
        for start in (0..bytes.len()).step_by(65_536).filter(|start| bytes[start + 100] != 0) {
            std::os::unix::fs::FileExt::write_all_at(file.file(), &bytes[start..start + 200], start as u64)
                .unwrap();
        }
        assert!(fs_err::read(at(name)).unwrap() == *bytes);
    }
    fs_err::write(at("plain"), "no hole in it").unwrap();
    let forms = [
        ["--format=gnu", "--sparse"],
        ["--format=posix", "--sparse-version=0.0"],
        ["--format=posix", "--sparse-version=0.1"],
        ["--format=posix", "--sparse-version=1.0"],
    ];
    for form in forms {
        // Not all file systems tell of holes: then tar looks for zeros itself.
        let mut tar = Command::new("tar");
        tar.args(["--create", "--sparse", "--hole-detection=raw"]).args(form);
        run(tar.args(["--file", "sparse.tar", "hole", "many", "folder", "plain"]).current_dir(dir.path()));
        let archive = fs_err::read(at("sparse.tar")).unwrap();
        assert!(archive.len() < many.len(), "{form:?}: {} bytes: tar wrote the holes", archive.len());
        let media_type = "application/vnd.oci.image.layer.v1.tar";
        let (entries, _) = read(&archive[..], media_type, &Limits::default(), &mut MemorySink).unwrap();
        assert_eq!(entries.values().filter(|entry| entry.content().is_some()).count(), 4, "{form:?}");
        for name in ["many", "hole", &long, "plain"] {
            let found = entries[&path(name)].content().unwrap().read(1 << 30).unwrap();
            assert!(found == fs_err::read(at(name)).unwrap(), "{form:?}: {name}: {} bytes", found.len());
        }
    }
}

#[test]
fn devices_pipes_and_links_to_files_of_other_layers_are_told_as_gnu_tar_wrote_them() {
    if !has("tar") || !is_root() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let script = "mknod -m 666 null c 1 3; mknod loop b 7 200; mkfifo pipe; echo x > first; ln first second; \
                  tar -cf whole.tar null loop pipe first second; tar --delete -f whole.tar first";
    run(Command::new("sh").args(["-ec", script]).current_dir(dir.path()));
    let archive = fs_err::read(dir.path().join("whole.tar")).unwrap();
    let media_type = "application/vnd.oci.image.layer.v1.tar";
    let layer = read_upper(&archive[..], media_type, &Limits::default(), &mut MemorySink).unwrap();
    assert_eq!(layer.links, [(path("second"), path("first"))].into());
    let kinds: Vec<NodeKind> = layer.nodes.values().map(|node| node.kind).collect();
    assert_eq!(kinds, [NodeKind::Block(7, 200), NodeKind::Character(1, 3), NodeKind::Pipe]);
    assert_eq!(layer.nodes[&path("null")].mode, 0o666);
    assert!(layer.entries.is_empty());
    let alone = read(&archive[..], media_type, &Limits::default(), &mut MemorySink).unwrap_err();
    assert!(matches!(alone, LayerError::Unsupported { .. }), "{alone}");
}
