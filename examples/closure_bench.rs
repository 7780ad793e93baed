//! How fast the closure of a kubeadm node with CNI plugins is, beside `lddtree` on the same root and the same programs:
//!
//! ```text
//! cargo run --release --example closure_bench
//! ```
//!
//! The root is what the packages of the variant `kubeadm-cni` hold, all of it, in a folder; roots and rules are the
//! variant's own. `lddtree` is given those of the roots that are ELF files: the plugins that rules name, scripts, data and
//! their links are kimg's alone. The whole is measured again with ten times as many files in the root that nothing needs.

use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use kimg_build::select::Selected;
use kimg_build::{Build, LockUse, Overrides, Project, Settings, Silent};
use kimg_closure::{FileFacts, Files, FolderRoot, Found, MemoryFacts, Request, Root, Rules, close};
use kimg_core::{FileTree, ImagePath, Kind, Platform, ReadSeek};
use kimg_source::{Cache, Fetcher};
use kimg_testkit::Real;

/// What is measured.
const VARIANT: &str = "kubeadm-cni";

/// Runs of which the median counts.
const RUNS: usize = 21;

fn main() -> Result<()> {
    let Some(real) = kimg_testkit::real() else { return Ok(()) };
    let scratch = tempfile::tempdir_in(kimg_testkit::workspace().join("target"))?;
    let node = Node::new(&real, scratch.path())?;
    let programs = node.programs()?;
    println!(
        "{VARIANT}: {} roots, {} of them ELF files, median of {RUNS} runs, one core\n",
        node.roots.len(),
        programs.len()
    );
    println!("| root | files in it | paths of the set | looked at | bytes read | kimg | lddtree | times |");
    println!("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |");
    let lddtree = lddtree(&node.folder, &programs)?;
    node.measured("as it is", lddtree)?;
    let count = files(&node.folder)?;
    let idle = node.folder.join("usr/share/idle");
    for number in 0..count * 10 {
        let folder = idle.join(format!("{}", number / 500));
        if number % 500 == 0 {
            fs_err::create_dir_all(&folder)?;
        }
        fs_err::write(folder.join(format!("{number}.so")), b"idle")?;
    }
    node.measured("with 10× more that nothing needs", lddtree)
}

/// The packages of the variant in a folder, and what is wanted of them.
struct Node {
    folder: PathBuf,
    roots: Vec<Root>,
    rules: Rules,
    /// How many paths the build itself takes, but for those that it writes.
    expected: usize,
}

impl Node {
    fn new(real: &Real, scratch: &Path) -> Result<Self> {
        let text = |path: PathBuf| path.into_os_string().into_string().ok().context("a path is not UTF-8");
        let flags = Overrides {
            variants: vec![VARIANT.to_owned()],
            platforms: vec![Platform::Amd64],
            repositories: vec![text(real.repo())?],
            keys: vec![real.keys()],
            ..Overrides::default()
        };
        let project = Project::new(&Settings::default(), Path::new(""), &flags)?;
        let build = Build {
            project: &project,
            cache: Cache::open(&scratch.join("cache"))?,
            fetcher: Fetcher::offline(),
            lock: LockUse::None,
            epoch: None,
            search_path: std::ffi::OsString::new(),
            events: &Silent,
        };
        let sets = build.file_sets()?;
        let [image] = &sets.images[..] else {
            bail!("{} images for one variant and platform", sets.images.len())
        };
        let folder = scratch.join("root");
        lay_out(&image.tree, &folder)?;
        Ok(Self { folder, roots: roots(image), rules: project.rules.clone(), expected: image.closure.len() })
    }

    /// The roots that `lddtree` can be asked about, as paths from the root on.
    fn programs(&self) -> Result<Vec<String>> {
        let files = FolderRoot::open(&self.folder)?;
        let mut programs = Vec::new();
        for root in &self.roots {
            let real = self.folder.join(root.path.relative());
            let is_file = fs_err::metadata(&real).is_ok_and(|metadata| metadata.is_file());
            let inside = fs_err::canonicalize(&real)?;
            let inside = inside.strip_prefix(self.folder.canonicalize()?).map(Path::to_owned);
            let Some(path) = inside.ok().and_then(|path| ImagePath::new(path.to_str()?).ok()) else {
                continue;
            };
            if is_file && matches!(FileFacts::read_at(&files, &path)?, FileFacts::Elf(_)) {
                programs.push(root.path.relative().to_owned());
            }
        }
        Ok(programs)
    }

    fn measured(&self, name: &str, lddtree: Option<Duration>) -> Result<()> {
        let mut times = Vec::new();
        let mut last = (0, 0, 0);
        for _ in 0..RUNS {
            let begin = Instant::now();
            // Nothing is remembered from run to run: every file is opened and read again.
            let files = Counted { files: FolderRoot::open(&self.folder)?, bytes: Arc::default() };
            let closure = close(&Request {
                tree: &files,
                platform: Platform::Amd64,
                roots: &self.roots,
                rules: &self.rules,
                library_path: &[],
                facts: &MemoryFacts::default(),
            })?;
            times.push(begin.elapsed());
            last = (closure.len(), files.files.looked_at(), files.bytes.load(Ordering::Relaxed));
        }
        times.sort();
        let kimg = times[RUNS / 2];
        let (lddtree, ratio) = match lddtree {
            Some(time) => (format!("{time:.1?}"), format!("{:.0}", time.as_secs_f64() / kimg.as_secs_f64())),
            None => ("not installed".to_owned(), "–".to_owned()),
        };
        let (paths, looked, bytes) = last;
        if paths != self.expected {
            bail!("the build takes {} paths, and here are {paths}", self.expected);
        }
        let count = files(&self.folder)?;
        println!("| {name} | {count} | {paths} | {looked} | {bytes} | {kimg:.2?} | {lddtree} | {ratio} |");
        Ok(())
    }
}

/// The roots of the image that its packages hold; what kimg writes itself is in no package.
fn roots(image: &Selected) -> Vec<Root> {
    let all = image.roots.iter();
    all.map(|r| Root { path: r.path.clone(), name: r.name.clone(), reason: r.reason.clone() }).collect()
}

/// Writes a tree into a folder.
fn lay_out(tree: &FileTree, folder: &Path) -> Result<()> {
    fs_err::create_dir_all(folder)?;
    for (path, entry) in tree.iter() {
        let place = folder.join(path.relative());
        match &entry.kind {
            Kind::Directory => fs_err::create_dir_all(place)?,
            Kind::Symlink { target } => fs_err::os::unix::fs::symlink(target, place)?,
            Kind::File { content, .. } => {
                content.copy_to(fs_err::File::create(&place)?)?;
                fs_err::set_permissions(place, std::fs::Permissions::from_mode(entry.mode & 0o777))?;
            }
        }
    }
    Ok(())
}

/// lddtree over all programs in one run, the better of two.
fn lddtree(root: &Path, programs: &[String]) -> Result<Option<Duration>> {
    if !Path::new("/usr/bin/lddtree").exists() {
        return Ok(None);
    }
    let mut best = Duration::MAX;
    for _ in 0..2 {
        let mut command = Command::new("/usr/bin/python3");
        command.args(["/usr/bin/lddtree", "-R"]).arg(root).current_dir(root);
        command.args(programs);
        let begin = Instant::now();
        let output = command.output()?;
        best = best.min(begin.elapsed());
        if !output.status.success() {
            bail!("{}", String::from_utf8_lossy(&output.stderr));
        }
    }
    Ok(Some(best))
}

fn files(folder: &Path) -> io::Result<usize> {
    let mut count = 0;
    for entry in fs_err::read_dir(folder)? {
        let entry = entry?;
        count += if entry.file_type()?.is_dir() { files(&entry.path())? } else { 1 };
    }
    Ok(count)
}

/// Counts the bytes that are read.
struct Counted {
    files: FolderRoot,
    bytes: Arc<AtomicU64>,
}

impl Files for Counted {
    fn look(&self, path: &ImagePath) -> Option<Found> {
        self.files.look(path)
    }

    fn open(&self, path: &ImagePath) -> io::Result<Box<dyn ReadSeek>> {
        Ok(Box::new(CountedFile { file: self.files.open(path)?, bytes: self.bytes.clone() }))
    }

    fn below<'a>(&'a self, folder: &'a ImagePath) -> Box<dyn Iterator<Item = (ImagePath, Found)> + 'a> {
        self.files.below(folder)
    }
}

/// One open file of them.
struct CountedFile {
    file: Box<dyn ReadSeek>,
    bytes: Arc<AtomicU64>,
}

impl io::Read for CountedFile {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read(buffer)?;
        self.bytes.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }
}

impl io::Seek for CountedFile {
    fn seek(&mut self, position: io::SeekFrom) -> io::Result<u64> {
        self.file.seek(position)
    }
}
