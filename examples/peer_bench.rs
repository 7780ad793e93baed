//! Measures kimg beside `buildah` and `umoci` with the same files, and beside the bare compressor with the same bytes.
//!
//! ```text
//! cargo build --release --bin kimg --example peer_bench
//! target/release/examples/peer_bench            # three runs of everything, in turn; the median counts
//! target/release/examples/peer_bench --quick    # once, for amd64, without the growth
//! target/release/examples/peer_bench --pack     # what is built again and grows, with UPX too: long
//! target/release/examples/peer_bench 5          # five runs
//! ```
//!
//! Real packages, every figure from this run. kimg's cold time begins with an empty cache and no lock: it has the packages'
//! choice, verification and unpacking in it. The peers are given the files in a folder, the very files of kimg's own image; what
//! making that folder takes is not counted. "From files" is kimg with the same start: packages lie verified and unpacked in
//! its cache, and no layer does. Peak memory is that of the largest process, as `time` reports it.

#[path = "bench/bare.rs"]
mod bare;
mod bench;
#[path = "bench/changed.rs"]
mod changed;
#[path = "bench/peers.rs"]
mod peers;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context as _, Result, bail};
use kimg_core::{Digest, Platform};
use kimg_testkit::Layout;

use bench::{Bench, Run, Times, Wanted, images, layers, mb, unique_files};
use peers::Peer;

/// The largest image.
const ONE: &str = "kubeadm-cni";

/// The platform of what is measured on one.
const PLATFORM: Platform = Platform::Amd64;

/// How kimg compresses: its default, the level that the peers have, and zstd as quick as it is used.
const CODECS: [&str; 3] = ["gzip", "gzip:6", "zstd:3"];

/// What changes: a package, and the file of it that does. Small programs of the lowest layer; what is updated most often,
/// of which one path lies in kubelet's layer; the largest program that stands in two images.
const CHANGES: [(&str, &str); 3] = [
    ("util-linux", "usr/bin/nsenter"),
    ("ca-certificates-bundle", "etc/ssl/certs/ca-certificates.crt"),
    ("kubeadm", "usr/bin/kubeadm"),
];

/// How often the build without any change is repeated in each run: it is so short.
const WARM: usize = 5;

/// What is to be measured.
struct Choice {
    runs: usize,
    quick: bool,
    pack: bool,
}

fn main() -> Result<ExitCode> {
    let mut choice = Choice { runs: 3, quick: false, pack: false };
    for word in std::env::args().skip(1) {
        match (word.as_str(), word.parse()) {
            ("--quick", _) => (choice.quick, choice.runs) = (true, 1),
            ("--pack", _) => choice.pack = true,
            (_, Ok(runs @ 1..)) => choice.runs = runs,
            _ => bail!("usage: peer_bench [--quick] [--pack] [RUNS]"),
        }
    }
    let Some(bench) = Bench::new(&[])? else { return Ok(ExitCode::SUCCESS) };
    let peers = Peer::installed();
    let cores = std::thread::available_parallelism()?;
    println!("{cores} cores, {} runs in turn, medians; {}", choice.runs, bench.kimg.display());

    let session = Session { bench, peers, choice };
    let roots = session.roots()?;
    session.one_image(&roots)?;
    session.six_images(&roots)?;
    session.changes(&roots)?;
    session.warm()?;
    if !session.choice.quick {
        session.growth()?;
    }
    Ok(ExitCode::SUCCESS)
}

/// One run of the whole.
struct Session {
    bench: Bench,
    peers: Vec<Peer>,
    choice: Choice,
}

/// What was measured of one contestant, in every run.
#[derive(Default)]
struct Measured {
    runs: Vec<Times>,
    bytes: u64,
}

/// The folders with the files of the images of one platform, by variant.
type Roots = BTreeMap<String, PathBuf>;

impl Session {
    /// The files of each image, laid out from kimg's own layers.
    fn roots(&self) -> Result<Roots> {
        let built = self.bench.build("roots", &wanted("roots-cache", &["gzip:1"], None, "never"))?;
        let mut roots = Roots::new();
        for ((variant, _), layers) in images(&built.layout) {
            let root = self.bench.path(&format!("root-{variant}"));
            fs_err::create_dir_all(&root)?;
            for layer in layers {
                let mut tar = Command::new("tar");
                kimg_testkit::run(tar.arg("-xzpf").arg(built.layout.blob(layer)).arg("-C").arg(&root));
            }
            roots.insert(variant, root);
        }
        self.bench.remove("roots")?;
        self.bench.remove("roots-cache")?;
        Ok(roots)
    }

    fn one_image(&self, roots: &Roots) -> Result<()> {
        let root = roots.get(ONE).with_context(|| format!("there is no image {ONE}"))?;
        let table = self.against(&[root], Some(ONE))?;
        println!("\n## One image, {ONE} for {PLATFORM}, cold: {:.0} MB\n", mb(unique_files([root])?.1));
        self.show(&table);
        if self.choice.quick {
            return Ok(());
        }
        // They take so long because they make it smaller; once is enough to know how long.
        println!("\nOnce, and smaller: kimg as it builds when nothing is said.\n");
        let mut slow = BTreeMap::new();
        for (name, codec, pack) in [("gzip, packed", "gzip", "auto"), ("zstd, packed", "zstd", "auto")] {
            let run = self.cold("slow", codec, Some(ONE), pack)?;
            slow.insert(
                format!("kimg {name}"),
                Measured { runs: vec![run.times], bytes: blobs(&run.layout)? },
            );
        }
        for peer in &self.peers {
            slow.extend(table.iter().filter(|(name, _)| **name == label(*peer)).map(|(name, measured)| {
                (name.clone(), Measured { runs: measured.runs.clone(), bytes: measured.bytes })
            }));
        }
        self.show(&slow);
        Ok(())
    }

    fn six_images(&self, roots: &Roots) -> Result<()> {
        let all: Vec<&PathBuf> = roots.values().collect();
        let table = self.against(&all, None)?;
        println!(
            "\n## The {} images for {PLATFORM}, cold: kimg in one run, a peer once for each\n",
            all.len()
        );
        self.show(&table);
        Ok(())
    }

    /// kimg with each codec and each peer, in turn.
    fn against(&self, roots: &[&PathBuf], variant: Option<&str>) -> Result<BTreeMap<String, Measured>> {
        let mut table: BTreeMap<String, Measured> = BTreeMap::new();
        // Layers of a codec that is not measured: what is left in the cache of that are the packages.
        self.bench.build("cold", &wanted("files", &["gzip:1"], variant, "never"))?;
        for _ in 0..self.choice.runs {
            for codec in CODECS {
                let run = self.cold("cold", codec, variant, "never")?;
                table.entry(format!("kimg {codec}")).or_default().add(run.times, blobs(&run.layout)?);
                let run = self.given_files(codec, variant)?;
                let name = format!("kimg {codec}, from files");
                table.entry(name).or_default().add(run.times, blobs(&run.layout)?);
            }
            for peer in &self.peers {
                let (times, bytes) = self.peer(*peer, roots)?;
                table.entry(label(*peer)).or_default().add(times, bytes);
            }
        }
        self.bench.remove("files")?;
        Ok(table)
    }

    /// One platform's images of packages that are unpacked already.
    fn given_files(&self, codec: &str, variant: Option<&str>) -> Result<Run> {
        self.bench.remove("cold")?;
        self.bench.remove("cold-cache")?;
        let mut copy = Command::new("cp");
        kimg_testkit::run(copy.arg("-a").arg(self.bench.path("files")).arg(self.bench.path("cold-cache")));
        self.bench.build("cold", &wanted("cold-cache", &[codec], variant, "never"))
    }

    /// A peer once for each folder, one after the other: what that takes, and the bytes.
    fn peer(&self, peer: Peer, roots: &[impl AsRef<Path>]) -> Result<(Times, u64)> {
        let (mut times, mut bytes) = (Vec::new(), 0);
        for root in roots {
            let (one, size) = peer.image(&self.bench, root.as_ref())?;
            times.push(one);
            bytes += size;
        }
        Ok((Times::sum(times), bytes))
    }

    /// One platform's images with nothing there; the output stays until the next build of this name.
    fn cold(&self, name: &str, codec: &str, variant: Option<&str>, pack: &str) -> Result<Run> {
        let cache = format!("{name}-cache");
        self.bench.remove(name)?;
        self.bench.remove(&cache)?;
        self.bench.build(name, &wanted(&cache, &[codec], variant, pack))
    }

    fn show(&self, table: &BTreeMap<String, Measured>) {
        print!("| | wall s | CPU s | peak MiB | MB |");
        let rule = "| --- | ---: | ---: | ---: | ---: |".to_owned();
        for peer in &self.peers {
            print!(" times as fast as {0} | size beside {0} |", peer.name());
        }
        println!("\n{rule}{}", " ---: | ---: |".repeat(self.peers.len()));
        for (name, measured) in table {
            let Times { wall, processor, peak } = measured.median();
            print!("| {name} | {wall:.2} | {processor:.2} | {peak:.0} | {:.2} |", mb(measured.bytes));
            for peer in &self.peers {
                let other = &table[&label(*peer)];
                let size = 100.0 * mb(measured.bytes) / mb(other.bytes);
                print!(" {:.2} | {size:.1} % |", other.median().wall / wall);
            }
            println!();
        }
    }

    fn changes(&self, roots: &Roots) -> Result<()> {
        let pack = self.choice.packing();
        println!("\n## Built again after one package changed, {PLATFORM}, gzip, packing: {pack}\n");
        println!(
            "The counters say what was done, of all that there is; the rest came from the cache. A peer does"
        );
        println!("again those images that hold the changed file.\n");
        print!("| changed | images | kimg s | packages fetched | programs packed | layers compressed |");
        for peer in &self.peers {
            print!(" {} s | times as fast |", peer.name());
        }
        println!("\n| --- | --- | ---: | ---: | ---: | ---: |{}", " ---: | ---: |".repeat(self.peers.len()));
        let (cache, mut number) = ("changes-cache", 0);
        self.bench.build("changes", &wanted(cache, &["gzip"], None, pack))?;
        for (package, file) in CHANGES {
            for (what, variant) in [("one", Some(ONE)), ("all", None)] {
                let held = |(name, root): &(&String, &PathBuf)| {
                    variant.is_none_or(|variant| variant == *name) && root.join(file).is_file()
                };
                let holders: Vec<&PathBuf> = roots.iter().filter(held).map(|(_, root)| root).collect();
                let (mut kimg, mut others, mut done) = (Measured::default(), BTreeMap::new(), String::new());
                for _ in 0..self.choice.runs {
                    number += 1;
                    let front = [changed::repository(&self.bench, &[PLATFORM], package, file, number)?];
                    for holder in &holders {
                        changed::change(&holder.join(file), number)?;
                    }
                    let again = Wanted { in_front: &front, ..wanted(cache, &["gzip"], variant, pack) };
                    let run = self.bench.build("changed", &again)?;
                    kimg.add(run.times, 0);
                    done = counters(&run.story);
                    for peer in &self.peers {
                        let (times, _) = self.peer(*peer, &holders)?;
                        others.entry(*peer).or_insert_with(Measured::default).add(times, 0);
                    }
                    self.bench.remove("changed")?;
                    self.bench.remove(&format!("changed-{number}"))?;
                }
                let wall = kimg.median().wall;
                let images =
                    if what == "one" { ONE.to_owned() } else { format!("all, {} hold it", holders.len()) };
                print!("| {package} | {images} | {wall:.2} | {done} |");
                for measured in others.values() {
                    let other = measured.median().wall;
                    print!(" {other:.2} | {:.1} |", other / wall);
                }
                println!();
            }
        }
        self.bench.remove("changes")?;
        self.bench.remove(cache)
    }

    fn warm(&self) -> Result<()> {
        let (platforms, pack) = (self.choice.platforms(), self.choice.packing());
        println!("\n## Built again with nothing changed, gzip, packing: {pack}\n");
        println!("| images | cold s | again, ms | % of cold | CPU ms | peak MiB | made anew |");
        println!("| ---: | ---: | ---: | ---: | ---: | ---: | ---: |");
        let build = || {
            let wanted = Wanted { flags: flags(&["gzip"], None, &platforms, pack), ..cached("warm-cache") };
            self.bench.build("warm", &wanted)
        };
        let (mut cold, mut again, mut anew) = (Measured::default(), Measured::default(), 0);
        let mut count = 0;
        for _ in 0..self.choice.runs {
            self.bench.remove("warm")?;
            self.bench.remove("warm-cache")?;
            let first = build()?;
            cold.add(first.times, 0);
            count = images(&first.layout).len();
            for _ in 0..WARM {
                // `time` counts in hundredths, which is too coarse here.
                let begin = std::time::Instant::now();
                let run = build()?;
                let wall = begin.elapsed().as_secs_f64();
                again.add(Times { wall, ..run.times }, 0);
                anew += run.story.matches("\"from_cache\":false").count();
            }
        }
        let (cold, Times { wall, processor, peak }) = (cold.median().wall, again.median());
        println!(
            "| {count} | {cold:.2} | {:.0} | {:.2} | {:.0} | {peak:.0} | {anew} |",
            1000.0 * wall,
            100.0 * wall / cold,
            1000.0 * processor
        );
        self.bench.remove("warm")?;
        self.bench.remove("warm-cache")
    }

    /// How the time grows with images and cores, beside the compressor alone; with packing also beside UPX alone.
    fn growth(&self) -> Result<()> {
        let pack = self.choice.packing();
        println!("\n## How the time grows, cold, gzip:{}, packing: {pack}\n", bare::LEVEL);
        println!(
            "Alone: libdeflate over the unique bytes in memory, on as many threads; with packing also the CPU"
        );
        println!("time of all runs of UPX, divided by the threads.\n");
        println!(
            "| images | threads | unique MB | kimg s | CPU s | peak MiB | alone s | ratio | beside 1 thread |"
        );
        println!("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |");
        let every = Platform::DEFAULT;
        let variants = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let sizes = [
            ("1", Some(variants(&[ONE])), &[PLATFORM][..]),
            ("2", Some(variants(&["plain", ONE])), &[PLATFORM][..]),
            ("6", None, &[PLATFORM][..]),
            ("18", None, &every[..]),
        ];
        for (count, variants, platforms) in sizes {
            let mut single = None;
            for threads in [1, 2] {
                let (mut kimg, mut alone, mut unique) = (Measured::default(), Vec::new(), 0);
                for _ in 0..self.choice.runs {
                    let (run, upx) = self.grown(variants.as_deref(), platforms, threads)?;
                    kimg.add(run.times, 0);
                    let unpacked = self.bench.unpack("growth-unpacked", &run.layout)?;
                    let (files, bytes) = unique_files(unpacked.values())?;
                    unique = bytes;
                    #[expect(clippy::cast_precision_loss, reason = "a number of threads")]
                    alone.push(bare::gzip(&files, threads)? + upx / threads as f64);
                    self.bench.remove("growth-unpacked")?;
                }
                alone.sort_by(f64::total_cmp);
                let alone = alone[alone.len() / 2];
                let Times { wall, processor, peak } = kimg.median();
                let first: f64 = *single.get_or_insert(wall);
                println!(
                    "| {count} | {threads} | {:.0} | {wall:.2} | {processor:.2} | {peak:.0} | {alone:.2} | {:.2} | {:.2} |",
                    mb(unique),
                    wall / alone,
                    first / wall
                );
            }
        }
        Ok(())
    }

    /// A cold build of these images on so many threads, and the CPU seconds of UPX.
    fn grown(
        &self,
        variants: Option<&[String]>,
        platforms: &[Platform],
        threads: usize,
    ) -> Result<(Run, f64)> {
        for name in ["growth", "growth-cache", "growth-bin", "growth-upx-times"] {
            self.bench.remove(name)?;
        }
        let mut flags = flags(&["gzip"], None, platforms, self.choice.packing());
        flags.extend(variants.into_iter().flatten().flat_map(|name| ["--variant".to_owned(), name.clone()]));
        flags.extend(["--threads".to_owned(), threads.to_string()]);
        let mut wanted = Wanted { flags, ..cached("growth-cache") };
        if !self.choice.pack {
            return Ok((self.bench.build("growth", &wanted)?, 0.0));
        }
        let (path, log) = self.bench.timed_upx("growth")?;
        wanted.search_path = Some(path);
        let run = self.bench.build("growth", &wanted)?;
        Ok((run, Times::sum(Times::read_all(&log)?).processor))
    }
}

impl Choice {
    /// What kimg is told for packing.
    fn packing(&self) -> &'static str {
        if self.pack { "auto" } else { "never" }
    }

    fn platforms(&self) -> Vec<Platform> {
        if self.quick { vec![PLATFORM] } else { Platform::DEFAULT.to_vec() }
    }
}

impl Measured {
    fn add(&mut self, times: Times, bytes: u64) {
        self.runs.push(times);
        self.bytes = bytes;
    }

    /// The run with the median of the times on the clock.
    fn median(&self) -> Times {
        let mut runs = self.runs.clone();
        runs.sort_by(|a, b| a.wall.total_cmp(&b.wall));
        runs.get(runs.len() / 2).copied().unwrap_or_default()
    }
}

fn label(peer: Peer) -> String {
    peer.name().to_owned()
}

fn cached(cache: &str) -> Wanted<'_> {
    Wanted { cache, ..Wanted::default() }
}

/// One platform's images, or one of them.
fn wanted<'a>(cache: &'a str, codec: &[&str], variant: Option<&str>, pack: &str) -> Wanted<'a> {
    Wanted { flags: flags(codec, variant, &[PLATFORM], pack), ..cached(cache) }
}

fn flags(codec: &[&str], variant: Option<&str>, platforms: &[Platform], pack: &str) -> Vec<String> {
    let mut flags = vec!["--pack".to_owned(), pack.to_owned()];
    flags.extend(codec.iter().flat_map(|codec| ["--compression".to_owned(), (*codec).to_owned()]));
    flags.extend(variant.into_iter().flat_map(|variant| ["--variant".to_owned(), variant.to_owned()]));
    flags.extend(platforms.iter().flat_map(|platform| ["--platform".to_owned(), platform.to_string()]));
    flags
}

/// The bytes of all layers of a layout, each once.
fn blobs(layout: &Layout) -> Result<u64> {
    let size = |digest: Digest| Ok(fs_err::metadata(layout.blob(digest))?.len());
    layers(layout).into_iter().map(size).sum()
}

/// What a build's story says was done: packages fetched, programs packed, layers compressed, each of how many.
fn counters(story: &str) -> String {
    let steps = ["fetched-package", "packed-program", "compressed-layer"].map(|step| {
        let step = format!("\"step\":\"{step}\"");
        let told: Vec<&str> = story.lines().filter(|line| line.contains(&step)).collect();
        let done = told.iter().filter(|line| line.contains("\"from_cache\":false")).count();
        (done, told.len())
    });
    // What is known of programs already is not told one by one.
    let [(fetched, packages), (packed, _), (compressed, layers)] = steps;
    format!("{fetched} of {packages} | {packed} | {compressed} of {layers}")
}
