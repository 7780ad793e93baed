//! squashfs images beside squashfs-tools and the kernel, which know nothing of kimg.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Cursor;
use std::path::{Path, PathBuf};
use std::process::Command;

use kimg_core::{Content, Entry, ImagePath, Kind, Origin, Platform};
use kimg_rootfs::squashfs::{Codec, Options, write};
use kimg_rootfs::{Entries, RootfsError};
use kimg_testkit::{TempDir, output, run, skip, superuser, tempdir, tool};

const MADE: u64 = 1_640_995_200;

fn path(text: &str) -> ImagePath {
    ImagePath::new(text).unwrap()
}

fn origin() -> Origin {
    Origin::generated("test")
}

/// Bytes that compress a little, differently for each seed.
fn bytes(seed: u32, size: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(2_654_435_761).max(1);
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state
    };
    let mut all = Vec::with_capacity(size + 8);
    while all.len() < size {
        match next() % 3 {
            0 => all.extend(b"kubelet "),
            _ => all.extend(next().to_le_bytes()),
        }
    }
    all.truncate(size);
    all
}

/// A tree with everything that a package can bring, and with sizes around those of blocks.
fn tree() -> Entries {
    let mut entries = BTreeMap::new();
    let mut root = Entry::directory(origin());
    root.mtime = 5;
    entries.insert(ImagePath::root(), root);
    for folder in ["/empty", "/many", "/etc", "/var", "/var/tmp", "/usr", "/usr/bin"] {
        let mut folder_entry = Entry::directory(origin());
        folder_entry.mode = if folder == "/var/tmp" { 0o1777 } else { 0o755 };
        entries.insert(path(folder), folder_entry);
    }
    let sizes = [0, 1, 5000, (1 << 20) - 1, 1 << 20, (1 << 20) + 1, (3 << 20) + 77_777];
    for (place, size) in sizes.into_iter().enumerate() {
        let mut content = bytes(u32::try_from(place).unwrap() + 1, size);
        if size > 4 {
            content[..4].copy_from_slice(b"\x7fELF");
        }
        let mut file = Entry::file(Content::from_bytes(content), 0o755, origin());
        file.mtime = MADE + 1000;
        entries.insert(path(&format!("/usr/bin/{size}")), file);
    }
    // More blocks than are compressed at once.
    let large = Content::from_bytes(bytes(9, 1000).repeat(20_000));
    entries.insert(path("/usr/bin/large"), Entry::file(large, 0o755, origin()));
    // The first block of the two is the same, and all else is not.
    let mut twin = bytes(7, (3 << 20) + 77_777);
    twin[..4].copy_from_slice(b"\x7fELF");
    *twin.last_mut().unwrap() ^= 1;
    entries.insert(path("/usr/bin/twin"), Entry::file(Content::from_bytes(twin), 0o4755, origin()));
    // More names than a header of a listing takes, and than an inode's short form.
    for number in 0..3000 {
        let name = format!("/many/a-rather-long-name-that-fills-listings-{number:04}");
        let mut file = Entry::file(Content::from_bytes(format!("{}", number % 100)), 0o640, origin());
        (file.uid, file.gid) = (1000 + number % 3, 65534);
        entries.insert(path(&name), file);
    }
    let mut first = Entry::file(Content::from_bytes("shared"), 0o600, origin());
    first.kind = Kind::File { content: Content::from_bytes("shared"), inode: Some(path("/etc/a")) };
    for name in ["/etc/a", "/etc/b", "/usr/c"] {
        entries.insert(path(name), first.clone());
    }
    entries.insert(path("/etc/link"), Entry::symlink("../usr/bin/5000", origin()));
    let mut capable = Entry::file(Content::from_bytes("ping"), 0o755, origin());
    let capability = [1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    capable.xattrs.insert("security.capability".into(), capability.into());
    capable.xattrs.insert("user.note".into(), b"a note".into());
    entries.insert(path("/usr/bin/capable"), capable);
    entries
}

fn image(codec: &str, platform: Platform) -> Vec<u8> {
    let options = Options { codec: codec.parse().unwrap(), platform, made: MADE, epoch: Some(MADE) };
    write(&tree(), &options, Cursor::new(Vec::new())).unwrap().into_inner()
}

fn on_disk(image: &[u8]) -> (TempDir, PathBuf) {
    let folder = tempdir().unwrap();
    let file = folder.path().join("image.raw");
    fs_err::write(&file, image).unwrap();
    (folder, file)
}

/// What `unsquashfs -lln` says of every entry: kind and mode, owners, size, time and name.
fn expected() -> Vec<String> {
    let letters = |entry: &Entry| {
        let mut text = String::from(match &entry.kind {
            Kind::Directory => "d",
            Kind::File { .. } => "-",
            Kind::Symlink { .. } => "l",
        });
        for shift in [6, 3, 0] {
            let bits = entry.mode >> shift & 7;
            text.push(if bits & 4 > 0 { 'r' } else { '-' });
            text.push(if bits & 2 > 0 { 'w' } else { '-' });
            text.push(match (shift, bits & 1 > 0) {
                (6, true) if entry.mode & 0o4000 > 0 => 's',
                (0, true) if entry.mode & 0o1000 > 0 => 't',
                (_, true) => 'x',
                (_, false) => '-',
            });
        }
        text
    };
    let time = |seconds: u64| if seconds >= MADE { "2022-01-01 00:00" } else { "1970-01-01 00:00" };
    let mut lines = Vec::new();
    for (path, entry) in &tree() {
        let mut line = format!("{} {}/{}", letters(entry), entry.uid, entry.gid);
        if let Some(content) = entry.content() {
            let _ = write!(line, " {}", content.size());
        }
        let _ = write!(line, " {} root{}", time(entry.mtime), path.as_str().trim_end_matches('/'));
        if let Some(target) = entry.target() {
            let _ = write!(line, " -> {target}");
        }
        lines.push(line);
    }
    lines
}

fn listed(unsquashfs: &Path, image: &Path) -> Vec<String> {
    let listed = run(Command::new(unsquashfs).args(["-lln", "-d", "root"]).arg(image).env("TZ", "UTC"));
    let lines = listed.lines().filter(|line| line.contains("root"));
    let words = |line: &str| {
        let mut words: Vec<_> = line.split_whitespace().collect();
        // The size of a folder is that of its listing, of a link that of its target.
        if !line.starts_with('-') {
            words.remove(2);
        }
        words.join(" ")
    };
    lines.map(words).collect()
}

#[test]
fn unsquashfs_sees_every_path_mode_owner_size_and_time_and_gives_every_byte_back() {
    let Some(unsquashfs) = tool("unsquashfs") else { return };
    for (codec, platform) in [
        ("xz:0", Platform::Amd64),
        ("xz:0", Platform::ArmV7),
        ("xz:0", Platform::Arm64),
        ("zstd:1", Platform::Amd64),
    ] {
        let (folder, file) = on_disk(&image(codec, platform));
        let mut seen = listed(&unsquashfs, &file);
        let mut wanted = expected();
        seen.sort();
        wanted.sort();
        assert_eq!(seen, wanted, "{codec}");
        let mut unpack = Command::new(&unsquashfs);
        unpack.args(["-no-progress", "-no-xattrs", "-d"]).arg(folder.path().join("root")).arg(&file);
        run(&mut unpack);
        for (path, entry) in &tree() {
            if let Some(content) = entry.content() {
                let there = fs_err::read(folder.path().join("root").join(path.relative())).unwrap();
                assert!(there == content.read(u64::MAX).unwrap(), "{codec}: {path} has other bytes");
            }
        }
    }
}

#[test]
fn the_kernel_mounts_it_with_links_that_share_a_file_and_with_capabilities() {
    let (Some(mount), Some(umount), Some(getfattr)) = (tool("mount"), tool("umount"), tool("getfattr"))
    else {
        return;
    };
    if !superuser() {
        return;
    }
    for codec in ["xz:0", "zstd:1"] {
        let (folder, file) = on_disk(&image(codec, Platform::Amd64));
        let at = folder.path().join("at");
        fs_err::create_dir(&at).unwrap();
        let mounted =
            output(Command::new(&mount).args(["-t", "squashfs", "-o", "loop,ro"]).arg(&file).arg(&at));
        if !mounted.status.success() {
            skip(format_args!("squashfs can't be mounted here: {}", kimg_testkit::both(&mounted)));
            return;
        }
        let looked = std::panic::catch_unwind(|| look(&at, &getfattr));
        run(Command::new(&umount).arg(&at));
        looked.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    }
}

fn look(at: &Path, getfattr: &Path) {
    use std::os::unix::fs::MetadataExt;
    let mut names = 0;
    for (path, entry) in &tree() {
        let here = at.join(path.relative());
        let found = fs_err::symlink_metadata(&here).unwrap();
        assert_eq!(
            (found.mode() & 0o7777, found.uid(), found.gid()),
            (entry.mode, entry.uid, entry.gid),
            "{path}"
        );
        if let Some(content) = entry.content() {
            assert!(fs_err::read(&here).unwrap() == content.read(u64::MAX).unwrap(), "{path}");
        }
        names += 1;
    }
    assert_eq!(names, tree().len());
    let inode = |name: &str| fs_err::metadata(at.join(name)).map(|m| (m.ino(), m.nlink())).unwrap();
    assert_eq!(inode("etc/a"), inode("etc/b"));
    assert_eq!(inode("etc/a"), inode("usr/c"));
    assert_eq!(inode("etc/a").1, 3);
    assert_eq!(fs_err::read_dir(at.join("many")).unwrap().count(), 3000);
    let said =
        run(Command::new(getfattr).args(["-d", "-m", "-", "-e", "hex"]).arg(at.join("usr/bin/capable")));
    assert!(said.contains("security.capability=0x0100000200200000"), "{said}");
    assert!(said.contains("user.note=0x61206e6f7465"), "{said}");
}

#[test]
fn the_number_of_threads_changes_no_byte() {
    let with = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| image("xz:0", Platform::Amd64))
    };
    let one = with(1);
    assert!(one == with(4));
    assert_eq!(one.len() % 4096, 0);
}

#[test]
fn what_squashfs_can_not_hold_is_refused_with_its_name() {
    let refused = |entries: &Entries| {
        let options = Options { codec: Codec::default(), platform: Platform::Amd64, made: 0, epoch: None };
        match write(entries, &options, Cursor::new(Vec::new())).unwrap_err() {
            RootfsError::Unwritable { path, problem, .. } => format!("{path}: {problem}"),
            other => panic!("{other}"),
        }
    };
    let file = || Entry::file(Content::from_bytes("x"), 0o644, origin());
    let one = |name: &str, entry: Entry| refused(&BTreeMap::from([(path(name), entry)]));
    assert_eq!(one("/a/b", file()), "/a/b: `/a`, which it lies in, is no folder");
    assert!(one("/a", Entry::symlink("", origin())).contains("no path"));
    let mut odd = file();
    odd.xattrs.insert("system.posix_acl_access".into(), vec![1]);
    assert!(one("/a", odd).contains("system.posix_acl_access"));
    let mut odd = file();
    odd.mode = 0o10_0644;
    assert!(one("/a", odd).contains("100644"));
}
