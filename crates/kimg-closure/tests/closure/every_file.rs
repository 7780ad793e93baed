//! Every ELF file of every real package against both judges, file by file: the platform's own loader with `--list`
//! (under qemu-user where it is foreign), which also binds all symbols, and `lddtree`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Mutex;

use kimg_closure::{
    FileType, Finding, FolderRoot, MemoryFacts, Met, Needs, Reason, Request, Rules, check, needs, read_elf,
};
use kimg_core::{FileTree, ImagePath, Platform};

use crate::glibc_loader::real_path;
use crate::loader::lay_out;
use crate::real_tree::{packages, skipped};
use crate::trees::{as_roots, path};

/// All packages of a platform as one root on the disk.
struct Whole {
    folder: tempfile::TempDir,
    root: PathBuf,
    platform: Platform,
    emulated: bool,
}

/// What is loaded for a file, what is not found, and which symbols (of which object) nothing defines.
#[derive(Debug, PartialEq, Eq, Default)]
struct Answer {
    files: BTreeSet<ImagePath>,
    missing: BTreeSet<String>,
    symbols: BTreeSet<(ImagePath, String)>,
}

impl Whole {
    fn new(tree: &FileTree, platform: Platform) -> Option<Self> {
        if !Command::new("chroot").args(["/", "true"]).output().is_ok_and(|o| o.status.success()) {
            skipped("programs can't be started in another root: that takes root");
            return None;
        }
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let root = fs_err::canonicalize(folder.path()).unwrap();
        lay_out(tree, &root);
        let emulated = Platform::from_alpine(std::env::consts::ARCH) != Some(platform);
        if emulated {
            let program = Path::new("/usr/bin").join(platform.qemu());
            if !program.exists() {
                skipped(&format!("{} is not installed", platform.qemu()));
                return None;
            }
            fs_err::copy(program, root.join(".emulator")).unwrap();
        }
        Some(Self { folder, root, platform, emulated })
    }

    fn loader(&self) -> String {
        format!("/lib/ld-musl-{}.so.1", self.platform.musl())
    }

    fn real(&self, found: &str) -> ImagePath {
        real_path(&self.root, found)
    }

    /// What the platform's own loader says; `None` for a file that it says is no dynamic program.
    fn asked(&self, file: &ImagePath) -> Option<Answer> {
        let mut command = Command::new("chroot");
        command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").arg(&self.root);
        if self.emulated {
            command.arg("/.emulator");
        }
        let output = kimg_testkit::output(command.arg(self.loader()).args(["--list", file.as_str()]));
        let Output { stdout, stderr, .. } = &output;
        let (text, complaint) = (String::from_utf8_lossy(stdout), String::from_utf8_lossy(stderr));
        if complaint.contains("Not a valid dynamic program") {
            return None;
        }
        let mut answer = Answer::default();
        for line in text.lines() {
            let Some((_, found)) = line.split_once(" => ") else { continue };
            answer.files.insert(self.real(found.split(" (").next().unwrap()));
        }
        answer.files.remove(&path(&self.loader()));
        for line in complaint.lines() {
            if let Some(rest) = line.strip_prefix("Error loading shared library ") {
                answer.missing.insert(rest.split(": ").next().unwrap().to_owned());
            } else if let Some(rest) = line.strip_prefix("Error relocating ") {
                let mut words = rest.split(": ");
                let (object, symbol) = (words.next().unwrap(), words.next().unwrap());
                answer.symbols.insert((self.real(object), symbol.to_owned()));
            } else {
                panic!("{file}: {line}");
            }
        }
        Some(answer)
    }

    /// What lddtree says of a program: the files that it finds, without the loader, which it knows by no other name.
    fn lddtree(&self, file: &ImagePath) -> BTreeSet<ImagePath> {
        let mut command = Command::new("/usr/bin/python3");
        command.args(["/usr/bin/lddtree", "-R"]).arg(&self.root).arg(file.relative());
        let output = command.current_dir(&self.root).output().unwrap();
        assert!(output.status.success(), "{file}: {output:?}");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let found = text.lines().skip(1).filter_map(|line| Some(line.trim().split_once(" => ")?.1));
        let found = found.filter(|found| *found != "None");
        let real =
            found.map(|found| self.real(found.strip_prefix(self.root.to_str().unwrap()).unwrap_or(found)));
        real.filter(|p| *p != path(&self.loader())).collect()
    }

    fn walk(&self, file: &ImagePath) -> (FileType, Answer) {
        let files = FolderRoot::open(self.folder.path()).unwrap();
        let facts = MemoryFacts::default();
        let found: Needs = needs(&Request {
            tree: &files,
            platform: self.platform,
            roots: &as_roots(&[file.as_str()]),
            rules: &Rules::none(),
            library_path: &[],
            facts: &facts,
        });
        let visit = &found.closure().visits()[0];
        let at_start = visit.objects.iter().skip(1).filter(|o| o.at_start);
        let unmet = visit.needs.iter().filter(|n| matches!(n.met, Met::Unmet { .. }));
        let needed = unmet.filter(|n| matches!(n.reason, Reason::Needed { .. }));
        let symbols = check(found.closure(), &files).into_iter().filter_map(|finding| match finding {
            Finding::SymbolMissing { program, of, symbol, .. } if program == *file => Some((of, symbol)),
            _ => None,
        });
        let answer = Answer {
            files: at_start.map(|o| o.path.clone()).collect(),
            missing: needed.map(|n| n.name.clone()).collect(),
            symbols: symbols.collect(),
        };
        (visit.what, answer)
    }
}

/// Judges every `step`th file, on two threads.
fn judged(platform: Platform, step: usize) {
    let Some(tree) = packages(platform) else { return };
    let Some(whole) = Whole::new(&tree, platform) else { return };
    let elfs = tree.iter().filter(|(_, e)| e.content().is_some_and(|c| read_elf(c).unwrap().is_some()));
    let all: Vec<&ImagePath> = elfs.map(|(at, _)| at).collect();
    assert!(all.len() > 200, "{platform}: only {} ELF files", all.len());
    let lddtree = Path::new("/usr/bin/lddtree").exists();
    if !lddtree {
        skipped("lddtree is not installed");
    }
    let queue = Mutex::new(all.iter().step_by(step));
    let counts = Mutex::new((0, 0, 0, 0));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let Some(file) = queue.lock().unwrap().next() else { return };
                    if file.as_str() == whole.loader() {
                        continue;
                    }
                    let (what, ours) = whole.walk(file);
                    let theirs = whole.asked(file);
                    if theirs.is_none() {
                        assert!(
                            matches!(what, FileType::StaticProgram | FileType::Data),
                            "{platform}: {file}: {what:?}"
                        );
                    }
                    let program = what == FileType::Program;
                    if program && lddtree {
                        assert_eq!(ours.files, whole.lddtree(file), "{platform}: lddtree: {file}");
                    }
                    let mut counts = counts.lock().unwrap();
                    counts.0 += 1;
                    counts.1 += usize::from(theirs.is_none());
                    counts.2 += usize::from(theirs.as_ref().is_some_and(|t| !t.symbols.is_empty()));
                    counts.3 += usize::from(program);
                    assert_eq!(ours, theirs.unwrap_or_default(), "{platform}: {file}");
                }
            });
        }
    });
    let (judged, fixed, lacking, programs) = counts.into_inner().unwrap();
    println!(
        "{platform}: {judged} of {} ELF files, no difference: {programs} programs (also by lddtree), {fixed} \
         that load nothing, {lacking} libraries that expect symbols of their host",
        all.len()
    );
    assert!(judged + 1 >= all.len() / step, "{judged}");
}

#[test]
fn every_real_file_loads_what_its_own_loader_loads_on_amd64() {
    judged(Platform::Amd64, 4);
}

#[test]
fn every_real_file_loads_what_its_own_loader_loads_on_arm64() {
    judged(Platform::Arm64, 15);
}

#[test]
fn every_real_file_loads_what_its_own_loader_loads_on_armv7() {
    judged(Platform::ArmV7, 15);
}

#[test]
#[ignore = "two minutes: in .ci/proofs"]
fn every_real_file_of_every_platform_loads_what_its_own_loader_loads() {
    for platform in Platform::DEFAULT {
        judged(platform, 1);
    }
}
