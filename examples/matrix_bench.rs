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

mod bench;

use std::collections::{BTreeMap, BTreeSet};
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, Result, bail};
use kimg_core::Platform;
use kimg_testkit::Layout;

use bench::{Bench, Run, Times, Wanted, layers, mb};

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
    let Some(bench) = Bench::new(&["gzip"])? else { return Ok(ExitCode::SUCCESS) };
    println!("{} cores, {}", std::thread::available_parallelism()?, bench.kimg.display());

    let cold = bench.build("cold", &wanted("cache", "never"))?;
    let warm = bench.build("warm", &wanted("cache", "never"))?;
    let gzip = gzip(&bench, &cold.layout)?;
    println!(
        "\n{:<26}{:>9}{:>9}{:>14}{:>13}{:>9}",
        "", "wall s", "CPU s", "peak memory", "from cache", "× gzip"
    );
    print("18 images, cold", &cold, &gzip);
    print("18 images, warm", &warm, &gzip);
    gzip.print();
    let mut images = cold;
    if pack {
        images = packed(&bench, &gzip)?;
    }
    println!(
        "\nCompressed / extracted MB, beside the earlier way on the same inputs{}",
        if pack { "" } else { "; kimg here without packing" }
    );
    print_sizes(&images.layout)?;
    Ok(ExitCode::SUCCESS)
}

/// `gzip -6` over the same bytes.
struct Gzip {
    times: Times,
    files: usize,
    bytes: u64,
}

/// Cold and warm with packing; UPX's own time is taken by a stand-in before it on the PATH.
fn packed(bench: &Bench, gzip: &Gzip) -> Result<Run> {
    let (path, log) = bench.timed_upx("packed")?;
    let wanted = || Wanted { search_path: Some(path.clone()), ..wanted("cache-packed", "require") };
    let cold = bench.build("packed", &wanted())?;
    print("18 images packed, cold", &cold, gzip);
    let upx = Times::read_all(&log)?;
    let runs = upx.len();
    let Times { wall, processor, peak } = Times::sum(upx);
    println!("{:<26}{wall:>9.1}{processor:>9.1}{peak:>10.0} MiB", format!("  of it UPX, {runs} runs"));
    print("18 images packed, warm", &bench.build("packed-again", &wanted())?, gzip);
    Ok(cold)
}

/// Unpacks every layer once and compresses every file of them once.
fn gzip(bench: &Bench, layout: &Layout) -> Result<Gzip> {
    let unpacked = bench.unpack("unpacked", layout)?;
    let (files, bytes) = bench::unique_files(unpacked.values())?;
    let mut command = bench.timed("gzip");
    let (times, _) = bench.times(command.args(["-6", "-n", "-c"]).args(&files).stdout(Stdio::null()))?;
    Ok(Gzip { times, files: files.len(), bytes })
}

fn wanted<'a>(cache: &'a str, pack: &str) -> Wanted<'a> {
    let flags = ["--compression", "gzip", "--pack", pack].map(str::to_owned).to_vec();
    Wanted { cache, flags, ..Wanted::default() }
}

fn print(name: &str, run: &Run, gzip: &Gzip) {
    let (hits, all) = count_cached(&run.story);
    let Times { wall, processor, peak } = run.times;
    let ratio = wall / gzip.times.wall;
    let cached = format!("{hits} of {all}");
    println!("{name:<26}{wall:>9.1}{processor:>9.1}{peak:>10.0} MiB{cached:>13}{ratio:>9.2}");
}

impl Gzip {
    fn print(&self) {
        println!(
            "{:<26}{:>9.1}{:>9.1}{:>10.0} MiB{:>13}{:>9.2}   {} files, {:.0} MB",
            "gzip -6, one core",
            self.times.wall,
            self.times.processor,
            self.times.peak,
            "",
            1.0,
            self.files,
            mb(self.bytes)
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
