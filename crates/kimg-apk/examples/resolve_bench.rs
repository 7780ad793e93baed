//! How long it takes from a cold process to a set of packages, beside the real apk 2.12.
//!
//! ```text
//! cargo run --release -p kimg-apk --example resolve_bench -- 21
//! ```
//!
//! Both read Alpine 3.19's own signed indexes, main and community, verify their signatures and choose packages for
//! `kubeadm kubelet`: apk as `apk add --simulate`, kimg as this program started anew with `--once`. They take turns,
//! so that whatever else the machine does falls on both, and they must choose the same packages. The disk's cache is
//! warm for both.
//!
//! Wants the real input (`$KIMG_REAL`, or `../shared/real` beside the checkout) and root, for `chroot`.

#![expect(clippy::cast_precision_loss, reason = "figures to look at")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use fs_err as fs;
use kimg_apk::{Dependency, KeyRing, Limits, Repository, Solver, read_index};

type Failure = Box<dyn std::error::Error>;

const REPOSITORIES: [&str; 2] = ["main", "community"];
const WISHES: [&str; 2] = ["kubeadm", "kubelet"];

fn main() -> Result<(), Failure> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/real");
    let input = std::env::var_os("KIMG_REAL").map_or(beside, PathBuf::from);
    match std::env::args().nth(1).as_deref() {
        Some("--once") => once(&input),
        times => compare(&input, times.map_or(Ok(21), str::parse)?),
    }
}

fn index_file(input: &Path, repository: &str) -> PathBuf {
    input.join("index/v3.19").join(repository).join("x86_64/APKINDEX.tar.gz")
}

fn keys_folder(input: &Path) -> PathBuf {
    input.join("alpine-keys/x86_64")
}

/// What is measured: prints the chosen packages, one a line, and on standard error how long each step took.
fn once(input: &Path) -> Result<(), Failure> {
    let start = Instant::now();
    let mut keys = KeyRing::new();
    for file in fs::read_dir(keys_folder(input))? {
        let file = file?;
        keys.add(&file.file_name().to_string_lossy(), &fs::read_to_string(file.path())?)?;
    }
    let mut repositories = Vec::new();
    for name in REPOSITORIES {
        let index = read_index(&fs::read(index_file(input, name))?, &keys, &Limits::default())?;
        repositories.push(Repository { name: name.to_owned(), tag: None, index: Arc::new(index) });
    }
    let read = start.elapsed();
    let solver = Solver::for_arch(&repositories, "x86_64");
    let ready = start.elapsed();
    let wishes = WISHES.iter().map(|wish| wish.parse()).collect::<Result<Vec<Dependency>, _>>()?;
    let solution = solver.solve(&wishes, &[])?;
    let solved = start.elapsed();
    for chosen in &solution.packages {
        println!("{}", chosen.record.id());
    }
    let records: usize = repositories.iter().map(|repository| repository.index.packages.len()).sum();
    let micros = |duration: Duration| duration.as_micros();
    eprintln!(
        "{records} {} {} {}",
        micros(read),
        micros(ready.saturating_sub(read)),
        micros(solved.saturating_sub(ready))
    );
    // As a program that is done would: nothing is gained by giving the memory back piece by piece.
    std::process::exit(0);
}

/// A program in the contest, and what it took.
struct Contestant {
    name: &'static str,
    command: Command,
    /// Finds the package in a line that it printed.
    package: fn(&str) -> Option<String>,
    walls: Vec<Duration>,
    /// Processor time of all runs.
    busy: Duration,
    peak_kib: u64,
    chosen: BTreeSet<String>,
    steps: Vec<[u64; 4]>,
}

impl Contestant {
    fn new(name: &'static str, mut command: Command, package: fn(&str) -> Option<String>) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Self {
            name,
            command,
            package,
            walls: Vec::new(),
            busy: Duration::ZERO,
            peak_kib: 0,
            chosen: BTreeSet::new(),
            steps: Vec::new(),
        }
    }

    /// Runs it once for the clock.
    fn run(&mut self) -> Result<(), Failure> {
        let (before, start) = (children_busy()?, Instant::now());
        let output = self.command.output()?;
        self.walls.push(start.elapsed());
        self.busy += children_busy()?.saturating_sub(before);
        let errors = String::from_utf8_lossy(&output.stderr);
        if !output.status.success() {
            return Err(format!("{}: {errors}", self.name).into());
        }
        self.chosen = String::from_utf8_lossy(&output.stdout).lines().filter_map(self.package).collect();
        let steps: Vec<u64> = errors.split_whitespace().filter_map(|word| word.parse().ok()).collect();
        self.steps.extend(<[u64; 4]>::try_from(steps));
        Ok(())
    }

    /// Runs it once for its memory: the kernel keeps the peak, which is asked for until the process is gone.
    fn weigh(&mut self) -> Result<(), Failure> {
        let mut child = self.command.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
        let status = format!("/proc/{}/status", child.id());
        while child.try_wait()?.is_none() {
            let text = fs::read_to_string(&status).unwrap_or_default();
            let peak = text.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB"));
            self.peak_kib = self.peak_kib.max(peak.map_or(Ok(0), |peak| peak.trim().parse())?);
        }
        self.command.stdout(Stdio::piped()).stderr(Stdio::piped());
        Ok(())
    }

    fn least(&self) -> f64 {
        self.walls.iter().min().map_or(f64::NAN, |wall| wall.as_secs_f64() * 1e3)
    }

    fn mean_busy(&self) -> f64 {
        self.busy.as_secs_f64() * 1e3 / self.walls.len() as f64
    }

    fn median(&self) -> f64 {
        let mut walls = self.walls.clone();
        walls.sort();
        walls.get(walls.len() / 2).map_or(f64::NAN, |wall| wall.as_secs_f64() * 1e3)
    }
}

/// Processor time of all children that are gone (`proc_pid_stat(5)`, `cutime` and `cstime`, in hundredths of a second).
fn children_busy() -> Result<Duration, Failure> {
    let text = fs::read_to_string("/proc/self/stat")?;
    let fields = text.rsplit_once(") ").ok_or("/proc/self/stat has another form")?.1.split(' ');
    let ticks: u64 = fields.skip(13).take(2).map(str::parse::<u64>).sum::<Result<_, _>>()?;
    Ok(Duration::from_millis(ticks * 10))
}

fn compare(input: &Path, times: usize) -> Result<(), Failure> {
    let root = tempfile::tempdir()?;
    let apk = Contestant::new("apk 2.12.7", apk_in(root.path(), input)?, |line| {
        let (name, version) = line.split_once(" Installing ")?.1.split_once(" (")?;
        Some(format!("{name}-{}", version.strip_suffix(')')?))
    });
    let mut this = Command::new(std::env::current_exe()?);
    this.arg("--once").env("KIMG_REAL", input);
    let kimg = Contestant::new("kimg", this, |line| Some(line.to_owned()));
    let mut both = [apk, kimg];
    for contestant in &mut both {
        contestant.weigh()?;
    }
    for _ in 0..times.max(1) {
        for contestant in &mut both {
            contestant.run()?;
        }
    }
    let [apk, kimg] = &both;
    if apk.chosen != kimg.chosen || kimg.chosen.is_empty() {
        return Err(format!("apk chose {:?}, kimg {:?}", apk.chosen, kimg.chosen).into());
    }

    println!("`{}` from a cold process, {times} times in turn\n", WISHES.join(" "));
    println!("| program | least | median | processor time | peak memory | packages |");
    println!("| --- | ---: | ---: | ---: | ---: | ---: |");
    for one in &both {
        let mib = one.peak_kib as f64 / 1024.0;
        let (least, median, busy, packages) = (one.least(), one.median(), one.mean_busy(), one.chosen.len());
        println!(
            "| {} | {least:.1} ms | {median:.1} ms | {busy:.1} ms | {mib:.1} MiB | {packages} |",
            one.name
        );
    }
    let (least, median) = (apk.least() / kimg.least(), apk.median() / kimg.median());
    println!(
        "| times as fast | {least:.1} | {median:.1} | {:.1} | | |\n",
        apk.mean_busy() / kimg.mean_busy()
    );
    steps(input, kimg)
}

/// Where kimg's time goes: the quickest run.
fn steps(input: &Path, kimg: &Contestant) -> Result<(), Failure> {
    let Some([records, read, ready, solved]) =
        kimg.steps.iter().min_by_key(|steps| steps[1..].iter().sum::<u64>())
    else {
        return Err("kimg did not say how long its steps took".into());
    };
    let mut packed = 0;
    let mut unpacked = 0;
    for name in REPOSITORIES {
        let bytes = fs::read(index_file(input, name))?;
        packed += bytes.len();
        unpacked += std::io::copy(&mut flate2::read::MultiGzDecoder::new(&bytes[..]), &mut std::io::sink())?;
    }
    let seconds = *read as f64 / 1e6;
    println!("| step of kimg's quickest run | took | |");
    println!("| --- | ---: | --- |");
    println!(
        "| read, verify, unpack and parse both indexes | {:.1} ms | {records} records, {:.1} MB packed, {:.1} MB of text: {:.0} MB/s, {:.0} records/s |",
        seconds * 1e3,
        packed as f64 / 1e6,
        unpacked as f64 / 1e6,
        unpacked as f64 / 1e6 / seconds,
        *records as f64 / seconds,
    );
    println!("| make the solver ready | {:.1} ms | |", *ready as f64 / 1e3);
    println!("| solve | {:.1} ms | {} packages |", *solved as f64 / 1e3, kimg.chosen.len());
    Ok(())
}

/// Unpacks Alpine's minirootfs with its apk, the indexes and the keys.
fn apk_in(root: &Path, input: &Path) -> Result<Command, Failure> {
    let minirootfs = input.join("minirootfs/alpine-minirootfs-3.15.11-x86_64.tar.gz");
    let mut tar = Command::new("tar");
    run(tar.arg("xzf").arg(minirootfs).arg("-C").arg(root))?;
    let mut list = String::new();
    for name in REPOSITORIES {
        let folder = root.join(name).join("x86_64");
        fs::create_dir_all(&folder)?;
        fs::copy(index_file(input, name), folder.join("APKINDEX.tar.gz"))?;
        list.extend(["/", name, "\n"]);
    }
    fs::write(root.join("repositories"), list)?;
    let keys = root.join("out/etc/apk/keys");
    fs::create_dir_all(&keys)?;
    for file in fs::read_dir(keys_folder(input))? {
        let file = file?;
        fs::copy(file.path(), keys.join(file.file_name()))?;
    }
    let apk = |arguments: &[&str]| {
        let mut command = Command::new("chroot");
        command.arg(root).args(["/sbin/apk", "--root", "/out", "--arch", "x86_64", "--no-network"]);
        command.args(["--repositories-file", "/repositories"]).args(arguments);
        command
    };
    run(&mut apk(&["add", "--initdb"]))?;
    Ok(apk(&[&["add", "--simulate"], &WISHES[..]].concat()))
}

fn run(command: &mut Command) -> Result<(), Failure> {
    let output = command.output()?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("{command:?}: {}", String::from_utf8_lossy(&output.stderr)).into())
}
