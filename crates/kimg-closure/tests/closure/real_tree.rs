//! Trees of real packages, and closures laid out on the disk for the judges.

use std::io::{self, Read, Write as _};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::{Arc, OnceLock};

use kimg_closure::{Closure, MemoryFacts, Request, Root, Rules, close};
use kimg_core::variant::COMMAND_PATH;
use kimg_core::{
    Content, ContentSource, DigestWriter, Entry, FileTree, ImagePath, Kind, Origin, Platform, ReadSeek,
};

use crate::trees::path;

/// Says visibly that a test was skipped; with `KIMG_REQUIRE_ALL=1` that is a failure.
pub(crate) fn skipped(why: &str) {
    assert!(std::env::var_os("KIMG_REQUIRE_ALL").is_none_or(|v| v != "1"), "KIMG_REQUIRE_ALL=1, but {why}");
    let _ = writeln!(io::stderr(), "SKIPPED: {why}");
}

/// All packages of a platform laid over each other, read once for all tests; `None` after a visible skip.
pub(crate) fn packages(platform: Platform) -> Option<Arc<FileTree>> {
    static TREES: [OnceLock<Option<Arc<FileTree>>>; 3] = [const { OnceLock::new() }; 3];
    let index = Platform::DEFAULT.iter().position(|p| *p == platform).unwrap();
    let tree = TREES[index].get_or_init(|| {
        let folder =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/real/repo").join(platform.alpine());
        folder.is_dir().then(|| Arc::new(read_packages(&folder, platform)))
    });
    if tree.is_none() {
        skipped("there is no assembled repository in target/real: run `assemble` of the real input");
    }
    tree.clone()
}

fn read_packages(folder: &Path, platform: Platform) -> FileTree {
    let store = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("closure-{}", platform.short()));
    fs_err::create_dir_all(&store).unwrap();
    let mut names: Vec<PathBuf> = fs_err::read_dir(folder).unwrap().map(|e| e.unwrap().path()).collect();
    names.sort();
    let mut tree = FileTree::new();
    for apk in names.iter().filter(|n| n.extension().is_some_and(|e| e == "apk")) {
        let name = apk.file_stem().unwrap().to_string_lossy().into_owned();
        let origin = Origin::Package { name, version: String::new() };
        let unpacked =
            flate2::bufread::MultiGzDecoder::new(io::BufReader::new(fs_err::File::open(apk).unwrap()));
        for member in tar::Archive::new(unpacked).entries().unwrap() {
            let mut member = member.unwrap();
            let at = member.path().unwrap().to_string_lossy().into_owned();
            if at.starts_with('.') && !at.contains('/') {
                continue;
            }
            let at = path(&at);
            let mode = member.header().mode().unwrap();
            let entry = match member.header().entry_type() {
                tar::EntryType::Directory => Entry { mode, ..Entry::directory(origin.clone()) },
                tar::EntryType::Symlink => {
                    let target = member.link_name().unwrap().unwrap().to_string_lossy().into_owned();
                    Entry::symlink(target, origin.clone())
                }
                tar::EntryType::Link => {
                    let first = path(&member.link_name().unwrap().unwrap().to_string_lossy());
                    tree.get(&first).unwrap().clone()
                }
                _ => Entry::file(stored(&store, &mut member), mode, origin.clone()),
            };
            tree.insert(at, entry);
        }
    }
    // What busybox' install script does.
    let list =
        tree.get(&path("/etc/busybox-paths.d/busybox")).unwrap().content().unwrap().read(1 << 20).unwrap();
    for applet in String::from_utf8(list).unwrap().lines() {
        if tree.get(&path(applet)).is_none() {
            tree.insert(path(applet), Entry::symlink("/bin/busybox", Origin::generated("applet")));
        }
    }
    tree.add_parents(&Origin::generated("test"));
    tree
}

/// Keeps small files in memory and large ones below the target folder, each by its digest.
fn stored(store: &Path, reader: &mut dyn Read) -> Content {
    let mut first = Vec::new();
    reader.take(1 << 20).read_to_end(&mut first).unwrap();
    if first.len() < 1 << 20 {
        return Content::from_bytes(first);
    }
    let file = tempfile::NamedTempFile::new_in(store).unwrap();
    let mut writer = DigestWriter::new(file);
    writer.write_all(&first).unwrap();
    io::copy(reader, &mut writer).unwrap();
    let (file, digest, size) = writer.finish();
    let target = store.join(digest.hex());
    file.persist(&target).unwrap();
    Content::new(digest, size, Arc::new(OnDisk(target)))
}

#[derive(Debug)]
struct OnDisk(PathBuf);

impl ContentSource for OnDisk {
    fn open(&self) -> io::Result<Box<dyn ReadSeek>> {
        Ok(Box::new(fs_err::File::open(&self.0)?))
    }
}

/// Closes over commands, found as a shell would find them.
pub(crate) fn close_commands(tree: &FileTree, platform: Platform, commands: &[&str]) -> Closure {
    let roots: Vec<Root> = commands
        .iter()
        .map(|name| {
            let places = COMMAND_PATH.iter().map(|folder| path(&format!("{folder}/{name}")));
            let at =
                places.into_iter().find(|p| tree.get(p).is_some()).unwrap_or_else(|| panic!("no {name}"));
            Root { path: at, name: (*name).to_owned(), reason: "a node wants it".to_owned() }
        })
        .collect();
    let facts = MemoryFacts::default();
    let rules = Rules::builtin();
    let request = Request { tree, platform, roots: &roots, rules: &rules, library_path: &[], facts: &facts };
    close(&request).unwrap_or_else(|error| panic!("{platform}: {error}"))
}

/// A root folder that holds a closure and nothing else (save the emulator, where one is needed).
pub(crate) struct Laid {
    folder: tempfile::TempDir,
    emulator: Option<&'static str>,
    platform: Platform,
}

impl Laid {
    /// Lays a closure out; `None` after a visible skip when this machine can't run programs in it.
    pub(crate) fn new(tree: &FileTree, closure: &Closure, platform: Platform) -> Option<Self> {
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        for (at, _) in closure.iter() {
            let entry = tree.get(at).unwrap();
            let place = folder.path().join(at.relative());
            match &entry.kind {
                Kind::Directory => fs_err::create_dir_all(&place).unwrap(),
                Kind::Symlink { target } => symlink(target, &place).unwrap(),
                Kind::File { content, .. } => {
                    content.copy_to(fs_err::File::create(&place).unwrap()).unwrap();
                    fs_err::set_permissions(&place, PermissionsExt::from_mode(entry.mode)).unwrap();
                }
            }
        }
        let native = Platform::from_alpine(std::env::consts::ARCH) == Some(platform);
        let emulator = (!native).then(|| platform.qemu());
        let laid = Self { folder, emulator, platform };
        if let Some(emulator) = emulator {
            let program = Path::new("/usr/bin").join(emulator);
            if !program.exists() {
                skipped(&format!("{emulator} is not installed"));
                return None;
            }
            fs_err::copy(program, laid.place(&path("/.emulator"))).unwrap();
        }
        let start = laid.run(&["/bin/busybox", "true"]);
        if !start.as_ref().is_ok_and(|o| o.status.success()) {
            skipped(&format!("programs can't be started in another root: {start:?}"));
            return None;
        }
        Some(laid)
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn place(&self, at: &ImagePath) -> PathBuf {
        self.folder.path().join(at.relative())
    }

    /// Runs a command line in the root.
    pub(crate) fn run(&self, words: &[&str]) -> io::Result<Output> {
        let mut command = Command::new("chroot");
        command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").arg(self.folder.path());
        if self.emulator.is_some() {
            command.arg("/.emulator");
        }
        command.args(words);
        kimg_testkit::until_it_starts(|| command.output())
    }

    /// What the platform's own loader says about a program or plugin: the paths it loads, or its complaint.
    pub(crate) fn list(&self, file: &str) -> Result<Vec<String>, String> {
        let loader = format!("/lib/ld-musl-{}.so.1", self.platform.musl());
        let output = self.run(&[&loader, "--list", file]).unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
        if !output.status.success() || complaint.contains("Error") {
            return Err(format!("{}\n{text}{complaint}", output.status));
        }
        let found = text.lines().filter_map(|line| line.split_once(" => ")?.1.split_whitespace().next());
        Ok(found.map(str::to_owned).collect())
    }
}
