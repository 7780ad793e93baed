//! How fast closures are, beside `lddtree` for the same programs: `closure_bench ROOT PROGRAM…`
//!
//! ROOT is an unpacked root file system. Without arguments, a root is unpacked from the real packages of
//! `target/real/repo/x86_64` for the programs of a kubeadm image with CNI plugins. The whole is measured again with ten
//! times as many files in the root that nothing needs.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use kimg_closure::{Files, FolderRoot, Found, MemoryFacts, Request, Root, Rules, close};
use kimg_core::{ImagePath, Platform, ReadSeek};

type Failure = Box<dyn std::error::Error>;

/// The programs of the variant `kubeadm-cni`, as far as the real packages have them.
const PROGRAMS: [&str; 20] = [
    "/usr/bin/kubelet",
    "/usr/bin/kubeadm",
    "/bin/mount",
    "/bin/umount",
    "/usr/bin/nsenter",
    "/sbin/blkid",
    "/sbin/iptables",
    "/sbin/iptables-save",
    "/sbin/iptables-restore",
    "/sbin/ip6tables",
    "/usr/bin/socat",
    "/sbin/ip",
    "/sbin/tc",
    "/usr/sbin/ethtool",
    "/sbin/modprobe",
    "/usr/bin/find",
    "/sbin/ebtables-legacy",
    "/usr/libexec/cni/bridge",
    "/usr/libexec/cni/portmap",
    "/usr/libexec/cni/host-local",
];
/// Runs of which the median counts.
const RUNS: usize = 21;

fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1);
    let unpacked = tempfile::tempdir()?;
    let (root, programs) = match arguments.next() {
        Some(root) => (PathBuf::from(root), arguments.collect()),
        None => (unpack(unpacked.path())?, PROGRAMS.map(str::to_owned).to_vec()),
    };
    let programs: Vec<String> = programs
        .into_iter()
        .filter(|p| root.join(p.trim_start_matches('/')).symlink_metadata().is_ok())
        .collect();
    println!("{} programs, median of {RUNS} runs, one core\n", programs.len());
    println!("| root | files in it | paths of the set | looked at | bytes read | kimg | lddtree | times |");
    println!("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |");
    let lddtree = lddtree(&root, &programs)?;
    measured("as it is", &root, &programs, lddtree)?;
    let count = files(&root)?;
    let idle = root.join("usr/share/idle");
    for number in 0..count * 10 {
        let folder = idle.join(format!("{}", number / 500));
        if number % 500 == 0 {
            fs_err::create_dir_all(&folder)?;
        }
        fs_err::write(folder.join(format!("{number}.so")), b"idle")?;
    }
    measured("with 10× more that nothing needs", &root, &programs, lddtree)?;
    fs_err::remove_dir_all(&idle)?;
    Ok(())
}

fn measured(name: &str, root: &Path, programs: &[String], lddtree: Option<Duration>) -> Result<(), Failure> {
    let roots = programs
        .iter()
        .map(|p| Ok(Root { path: ImagePath::new(p)?, name: p.clone(), reason: "is measured".to_owned() }))
        .collect::<Result<Vec<_>, Failure>>()?;
    let mut times = Vec::new();
    let mut last = (0, 0, 0);
    for _ in 0..RUNS {
        let begin = Instant::now();
        // Nothing is remembered from run to run: every file is opened and read again.
        let files = Counted { files: FolderRoot::open(root)?, bytes: Arc::default() };
        let closure = close(&Request {
            tree: &files,
            platform: Platform::Amd64,
            roots: &roots,
            rules: &Rules::none(),
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
    println!(
        "| {name} | {} | {paths} | {looked} | {bytes} | {kimg:.2?} | {lddtree} | {ratio} |",
        files(root)?
    );
    Ok(())
}

/// lddtree over all programs in one run, the better of two.
fn lddtree(root: &Path, programs: &[String]) -> Result<Option<Duration>, Failure> {
    if !Path::new("/usr/bin/lddtree").exists() {
        return Ok(None);
    }
    let mut best = Duration::MAX;
    for _ in 0..2 {
        let mut command = Command::new("/usr/bin/python3");
        command.args(["/usr/bin/lddtree", "-R"]).arg(root).current_dir(root);
        command.args(programs.iter().map(|p| p.trim_start_matches('/')));
        let begin = Instant::now();
        let output = command.output()?;
        best = best.min(begin.elapsed());
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).into());
        }
    }
    Ok(Some(best))
}

/// Lays every real package over each other in a folder.
fn unpack(root: &Path) -> Result<PathBuf, Failure> {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/real/repo/x86_64");
    let mut packages: Vec<PathBuf> =
        fs_err::read_dir(repository)?.map(|e| Ok(e?.path())).collect::<io::Result<_>>()?;
    packages.sort();
    for package in packages.iter().filter(|p| p.extension().is_some_and(|e| e == "apk")) {
        let bytes = io::BufReader::new(fs_err::File::open(package)?);
        let mut archive = tar::Archive::new(flate2::bufread::MultiGzDecoder::new(bytes));
        archive.set_preserve_permissions(false);
        for member in archive.entries()? {
            let mut member = member?;
            if !member.path()?.to_string_lossy().starts_with('.') {
                member.unpack_in(root)?;
            }
        }
    }
    Ok(root.to_owned())
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
