//! Measures the build of the whole matrix on real packages: six images, three architectures.
//!
//! ```text
//! cargo build --release --bin kimg --example matrix_bench
//! target/release/examples/matrix_bench            # without packing
//! target/release/examples/matrix_bench --pack     # with UPX too: some minutes
//! ```
//!
//! Cold means an empty cache folder, and the table shows it: nothing came from the cache. Beside kimg stands `gzip -6` on
//! one core over the same bytes: every regular file of the images, each once. Peak memory is the largest resident set
//! of one process, kimg's or one that it started, as `time` reports it.

#![allow(clippy::cast_precision_loss, reason = "these are figures for people")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail};
use kimg_core::{Digest, Platform};
use kimg_testkit::{Layout, Real, TempDir};

/// Bytes that the earlier way of making these images comes to on the same inputs, compressed and extracted: the whole
/// Alpine base, whole packages, `upx --best` for kubeadm and the plugins, one gzip -6 layer. It takes 14 minutes an
/// architecture for UPX alone, so it is not repeated here.
const EARLIER: [(&str, [(u64, u64); 3]); 5] = [
    ("plain", [(25_504_289, 83_343_360), (23_568_181, 88_872_960), (24_399_998, 84_879_360)]),
    ("flannel", [(29_550_737, 87_490_560), (27_288_586, 92_702_720), (28_213_227, 88_801_280)]),
    ("cni", [(43_833_953, 102_092_800), (40_400_519, 106_188_800), (41_573_808, 102_533_120)]),
    ("kubeadm", [(36_393_111, 94_679_040), (32_940_867, 98_713_600), (33_761_911, 94_679_040)]),
    ("kubeadm-cni", [(54_722_775, 113_428_480), (49_773_205, 116_029_440), (50_935_721, 112_332_800)]),
];

fn main() -> Result<ExitCode> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let pack = match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => false,
        ["--pack"] => true,
        _ => bail!("usage: matrix_bench [--pack]"),
    };
    let Some(bench) = Bench::new()? else { return Ok(ExitCode::SUCCESS) };
    println!("{} cores, {}", std::thread::available_parallelism()?, bench.kimg.display());

    let cold = bench.build("cold", "cache", &["--pack", "never"], None)?;
    let warm = bench.build("warm", "cache", &["--pack", "never"], None)?;
    let gzip = bench.gzip(&cold.layout)?;
    println!(
        "\n{:<26}{:>9}{:>9}{:>14}{:>13}{:>9}",
        "", "wall s", "CPU s", "peak memory", "from cache", "× gzip"
    );
    cold.print("18 images, cold", &gzip);
    warm.print("18 images, warm", &gzip);
    gzip.print();
    let mut images = cold;
    if pack {
        images = bench.packed(&gzip)?;
    }
    println!(
        "\nCompressed / extracted MB, beside the earlier way on the same inputs{}",
        if pack { "" } else { "; kimg here without packing" }
    );
    print_sizes(&images.layout)?;
    Ok(ExitCode::SUCCESS)
}

/// Where things lie.
struct Bench {
    real: Real,
    kimg: PathBuf,
    folder: TempDir,
}

/// What `time` says of a run.
struct Run {
    wall: f64,
    processor: f64,
    /// In MiB.
    peak: f64,
    /// Packages, programs and layers taken from the cache, and all of them.
    cached: (usize, usize),
    layout: Layout,
}

/// `gzip -6` over the same bytes.
struct Gzip {
    wall: f64,
    processor: f64,
    /// In MiB.
    peak: f64,
    files: usize,
    bytes: u64,
}

impl Bench {
    fn new() -> Result<Option<Self>> {
        let Some(real) = kimg_testkit::real() else { return Ok(None) };
        for tool in ["time", "gzip", "tar"] {
            if kimg_testkit::tool(tool).is_none() {
                return Ok(None);
            }
        }
        let own = std::env::current_exe()?;
        let kimg = own.ancestors().nth(2).map(|profile| profile.join("kimg")).unwrap_or_default();
        if !kimg.is_file() {
            bail!("{} is not there: cargo build --release --bin kimg", kimg.display());
        }
        // Under target/: /tmp may be memory, and small.
        let folder = TempDir::new_in(kimg_testkit::workspace().join("target"))?;
        Ok(Some(Self { real, kimg, folder }))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn build(&self, name: &str, cache: &str, flags: &[&str], path: Option<&str>) -> Result<Run> {
        let (out, times) = (self.path(&format!("{name}-out")), self.path(&format!("{name}-times")));
        let mut command = Command::new("time");
        command.args(["-f", "%e %U %S %M", "-o"]).arg(&times).arg(&self.kimg).arg("build");
        command.arg("-r").arg(self.real.repo()).arg("-k").arg(self.real.keys());
        command
            .arg("--cache-dir")
            .arg(self.path(cache))
            .arg("--lock")
            .arg(self.path(&format!("{name}.lock")));
        command.arg("-o").arg(format!("type=oci,dest={}", out.display()));
        command.args(["--compression", "gzip", "--progress", "json", "--format", "json"]).args(flags);
        if let Some(path) = path {
            command.env("PATH", path);
        }
        let output = command.current_dir(self.folder.path()).output()?;
        let story = String::from_utf8_lossy(&output.stderr);
        if !output.status.success() {
            bail!("kimg build: {}\n{story}", output.status);
        }
        let [wall, user, system, peak] = read_times(&times)?;
        let cached = count_cached(&story);
        Ok(Run { wall, processor: user + system, peak: peak / 1024.0, cached, layout: Layout::open(out) })
    }

    /// Cold and warm with packing; UPX's own time is taken by a stand-in before it on the PATH.
    fn packed(&self, gzip: &Gzip) -> Result<Run> {
        let Some(upx) = kimg_testkit::tool("upx") else { bail!("no UPX, no packing") };
        let (folder, log) = (self.path("bin"), self.path("upx-times"));
        fs_err::create_dir(&folder)?;
        let time = kimg_testkit::tool("time").context("time is not installed")?;
        let stand_in = format!(
            "#!/bin/sh\nexec {} -a -o {} -f '%e %U %S %M' {} \"$@\"\n",
            time.display(),
            log.display(),
            upx.display()
        );
        fs_err::write(folder.join("upx"), stand_in)?;
        let executable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        fs_err::set_permissions(folder.join("upx"), executable)?;
        let path = format!("{}:{}", folder.display(), std::env::var("PATH").unwrap_or_default());

        let cold = self.build("packed", "cache-packed", &["--pack", "require"], Some(&path))?;
        cold.print("18 images packed, cold", gzip);
        let (mut runs, mut wall, mut processor, mut peak) = (0, 0.0, 0.0, 0.0_f64);
        for line in fs_err::read_to_string(&log)?.lines() {
            let [elapsed, user, system, most] = figures(line)?;
            (runs, wall, processor, peak) =
                (runs + 1, wall + elapsed, processor + user + system, peak.max(most));
        }
        println!(
            "{:<26}{wall:>9.1}{processor:>9.1}{:>10.0} MiB",
            format!("  of it UPX, {runs} runs"),
            peak / 1024.0
        );
        self.build("packed-again", "cache-packed", &["--pack", "require"], Some(&path))?
            .print("18 images packed, warm", gzip);
        Ok(cold)
    }

    /// Unpacks every layer once and compresses every file of them once.
    fn gzip(&self, layout: &Layout) -> Result<Gzip> {
        let (mut seen, mut files, mut bytes) = (BTreeSet::new(), Vec::new(), 0);
        for layer in layers(layout) {
            let folder = self.path("unpacked").join(layer.hex());
            fs_err::create_dir_all(&folder)?;
            kimg_testkit::run(
                Command::new("tar").arg("-xmzf").arg(layout.blob(layer)).arg("-C").arg(&folder),
            );
            for file in regular_files(&folder)? {
                let content = fs_err::read(&file)?;
                if seen.insert(Digest::of(&content)) {
                    bytes += content.len() as u64;
                    files.push(file);
                }
            }
        }
        let times = self.path("gzip-times");
        let mut command = Command::new("time");
        command.args(["-f", "%e %U %S %M", "-o"]).arg(&times).args(["gzip", "-6", "-n", "-c"]).args(&files);
        let status = command.stdout(std::process::Stdio::null()).status()?;
        if !status.success() {
            bail!("gzip: {status}");
        }
        let [wall, user, system, peak] = read_times(&times)?;
        Ok(Gzip { wall, processor: user + system, peak: peak / 1024.0, files: files.len(), bytes })
    }
}

impl Run {
    fn print(&self, name: &str, gzip: &Gzip) {
        let (hits, all) = self.cached;
        println!(
            "{name:<26}{:>9.1}{:>9.1}{:>10.0} MiB{:>13}{:>9.2}",
            self.wall,
            self.processor,
            self.peak,
            format!("{hits} of {all}"),
            self.wall / gzip.wall
        );
    }
}

impl Gzip {
    fn print(&self) {
        println!(
            "{:<26}{:>9.1}{:>9.1}{:>10.0} MiB{:>13}{:>9.2}   {} files, {:.0} MB",
            "gzip -6, one core",
            self.wall,
            self.processor,
            self.peak,
            "",
            1.0,
            self.files,
            self.bytes as f64 / 1e6
        );
    }
}

/// Events of `--progress json` that say whether something came from the cache: the hits, and all of them.
fn count_cached(story: &str) -> (usize, usize) {
    let count = |from_cache: bool| story.matches(&format!("\"from_cache\":{from_cache}")).count();
    (count(true), count(true) + count(false))
}

fn print_sizes(layout: &Layout) -> Result<()> {
    let mut extracted = BTreeMap::new();
    for layer in layers(layout) {
        let mut gunzip = Command::new("gzip");
        let tar = gunzip.arg("-dc").arg(layout.blob(layer)).output()?;
        extracted.insert(layer, tar.stdout.len() as u64);
    }
    let mut printed = BTreeSet::new();
    for (name, index) in layout.names() {
        if !printed.insert(index) {
            continue;
        }
        for (column, platform) in Platform::DEFAULT.into_iter().enumerate() {
            let manifest =
                layout.manifest(index, platform).with_context(|| format!("{name}: no {platform}"))?;
            let layers = layout.layers(manifest);
            let compressed: u64 = layers
                .iter()
                .map(|l| fs_err::metadata(layout.blob(*l)).map(|m| m.len()))
                .sum::<std::io::Result<_>>()?;
            let whole: u64 = layers.iter().map(|l| extracted[l]).sum();
            let variant = layout.config(manifest)["config"]["Labels"]["io.kimg.variant"]
                .as_str()
                .unwrap_or_default()
                .to_owned();
            let earlier = EARLIER.iter().find(|(name, _)| *name == variant).map(|(_, sizes)| sizes[column]);
            let beside = earlier.map_or(String::new(), |(c, e)| {
                format!(
                    "{:>8.2} / {:>6.2}   {:>5.1} % / {:>5.1} %",
                    mb(c),
                    mb(e),
                    100.0 * mb(compressed) / mb(c),
                    100.0 * mb(whole) / mb(e)
                )
            });
            println!(
                "{variant:<13}{:<14}{:>7.2} / {:>6.2}   {beside}",
                platform.to_string(),
                mb(compressed),
                mb(whole)
            );
        }
    }
    Ok(())
}

fn mb(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}

/// The layers of all images, each once.
fn layers(layout: &Layout) -> BTreeSet<Digest> {
    let names = layout.names();
    let manifests = names
        .iter()
        .flat_map(|(_, index)| Platform::DEFAULT.map(|platform| layout.manifest(*index, platform)));
    manifests.flatten().flat_map(|manifest| layout.layers(manifest)).collect()
}

fn regular_files(folder: &Path) -> Result<Vec<PathBuf>> {
    let (mut files, mut folders) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(folder) = folders.pop() {
        for entry in fs_err::read_dir(folder)? {
            let entry = entry?;
            match entry.file_type()? {
                kind if kind.is_dir() => folders.push(entry.path()),
                kind if kind.is_file() => files.push(entry.path()),
                _ => {}
            }
        }
    }
    Ok(files)
}

/// The line that `time` wrote: wall, user and system seconds, and the peak in KiB.
fn read_times(file: &Path) -> Result<[f64; 4]> {
    let written = fs_err::read_to_string(file)?;
    figures(written.lines().last().unwrap_or_default())
}

fn figures(line: &str) -> Result<[f64; 4]> {
    let parsed: Vec<f64> = line.split(' ').map_while(|word| word.parse().ok()).collect();
    parsed.try_into().map_err(|_| anyhow::anyhow!("`{line}` is no line of figures"))
}
