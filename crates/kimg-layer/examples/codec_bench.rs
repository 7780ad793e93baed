//! Size and time of layers by codec, level, window and order, beside the bare `gzip` and `zstd`, as Markdown.
//!
//! `codec_bench [REPOSITORY [CODEC…]]`: real programs out of an assembled repository (`target/real/repo/x86_64` by
//! itself): the CNI plugins as one layer, and kubelet, kubeadm and the plugins as one. With codecs named, only these.
//! Times are those of the processor, all threads together, and of the clock.

use std::error::Error;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use kimg_core::{Content, Digest, Entry, ImagePath, Origin};
use kimg_layer::{Entries, Options, Order};
use libdeflater::{CompressionLvl, Compressor};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let repository = match arguments.first() {
        Some(given) => PathBuf::from(given),
        None => PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../target/real/repo/x86_64"),
    };
    let plugins = programs(&repository, &["cni-plugins"])?;
    let everything = programs(&repository, &["kubelet", "kubeadm", "cni-plugins"])?;

    let named: Vec<&str> = arguments.iter().skip(1).map(String::as_str).collect();
    let fast = ["gzip:1", "gzip:6", "gzip:9", "gzip:10", "gzip:12", "zstd:3", "zstd:9"];
    let slow = ["zstd:17", "zstd:19", "zstd:19:window=16MiB", "zstd:19:window=64MiB"];
    let tools = ["gzip -6", "gzip -9", "zstd -3", "zstd -19", "zstd -19 --long=26"];
    if named.is_empty() {
        cut(&plugins)?;
    }
    println!("\n## The CNI plugins, one layer\n");
    match &named[..] {
        [] => table(&plugins, &[&fast[..], &slow].concat(), &tools)?,
        named => table(&plugins, named, &[])?,
    }
    println!("\n## kubelet, kubeadm and the CNI plugins, one layer\n");
    match &named[..] {
        [] => table(&everything, &fast, &tools[..3]),
        named => table(&everything, named, &[]),
    }
}

/// The large files of some packages.
fn programs(repository: &Path, names: &[&str]) -> Result<Entries, Box<dyn Error>> {
    let mut entries = Entries::new();
    for found in fs_err::read_dir(repository)? {
        let found = found?;
        let name = found.file_name().to_string_lossy().into_owned();
        // `kubeadm-1.20.2-r0.apk`
        if !names.iter().any(|wanted| name.rsplitn(3, '-').last() == Some(wanted)) {
            continue;
        }
        let file = fs_err::File::open(found.path())?;
        let mut archive = tar::Archive::new(flate2::bufread::MultiGzDecoder::new(io::BufReader::new(file)));
        for entry in archive.entries()? {
            let mut entry = entry?;
            if entry.size() > 1 << 20 {
                let path = ImagePath::new(&entry.path()?.to_string_lossy())?;
                let mut bytes = Vec::new();
                entry.read_to_end(&mut bytes)?;
                entries
                    .insert(path, Entry::file(Content::from_bytes(bytes), 0o755, Origin::generated("bench")));
            }
        }
    }
    if entries.is_empty() {
        return Err(format!("{} holds none of {names:?}", repository.display()).into());
    }
    Ok(entries)
}

/// What it costs to cut the archive into pieces.
fn cut(entries: &Entries) -> Result<(), Box<dyn Error>> {
    let tar = archive(entries)?;
    println!("## gzip of pieces of one size, {} bytes of archive\n", tar.len());
    println!("| pieces of | level | bytes | more than in one piece |\n| --- | --- | --- | --- |");
    for level in [6, 9, 12] {
        let size = |size: usize| -> Result<usize, Box<dyn Error>> {
            let mut sum = 0;
            for piece in tar.chunks(size) {
                let level = CompressionLvl::new(level).map_err(|_| "no such level")?;
                let mut compressor = Compressor::new(level);
                let mut out = vec![0; compressor.gzip_compress_bound(piece.len())];
                sum += compressor.gzip_compress(piece, &mut out)?;
            }
            Ok(sum)
        };
        let whole = size(tar.len())?;
        println!("| all | {level} | {whole} | |");
        for mib in [8, 4, 2, 1] {
            let cut = size(mib << 20)?;
            println!("| {mib} MiB | {level} | {cut} | {:+.3} % |", 100.0 * ratio(cut, whole) - 100.0);
        }
    }
    Ok(())
}

fn table(entries: &Entries, codecs: &[&str], tools: &[&str]) -> Result<(), Box<dyn Error>> {
    let tar = archive(entries)?;
    let mut file = tempfile::NamedTempFile::new()?;
    file.write_all(&tar)?;
    println!("{} bytes of archive, {} threads\n", tar.len(), rayon::current_num_threads());
    println!(
        "| | order | bytes | of the archive | processor, s | clock, s |\n| --- | --- | --- | --- | --- | --- |"
    );
    let row = |name: &str, order: &str, run: &mut dyn FnMut() -> Result<u64, Box<dyn Error>>| {
        let (began, cpu) = (Instant::now(), processor()?);
        let bytes = run()?;
        let (clock, cpu) = (began.elapsed().as_secs_f64(), processor()? - cpu);
        let share = 100.0 * ratio(usize::try_from(bytes)?, tar.len());
        println!("| {name} | {order} | {bytes} | {share:.2} % | {cpu:.1} | {clock:.1} |");
        Ok::<_, Box<dyn Error>>(())
    };
    for tool in tools {
        row(&format!("`{tool}`"), "path", &mut || run(tool, file.path()))?;
    }
    for codec in codecs {
        for order in [Order::Path, Order::Alike] {
            let options = Options { codec: codec.parse()?, order, epoch: Some(0) };
            row(codec, &order.to_string(), &mut || {
                Ok(kimg_layer::write(entries, &options, io::sink())?.1.size)
            })?;
        }
    }
    Ok(())
}

/// The archive, in the order of the paths.
fn archive(entries: &Entries) -> Result<Vec<u8>, Box<dyn Error>> {
    let options = Options { codec: "zstd:1".parse()?, order: Order::Path, epoch: Some(0) };
    let (blob, info) = kimg_layer::write(entries, &options, Vec::new())?;
    let mut tar = Vec::new();
    kimg_layer::decode(&blob[..], &info.media_type)?.read_to_end(&mut tar)?;
    assert_eq!(Digest::of(&tar), info.diff_id, "what is read is what was written");
    Ok(tar)
}

/// How many bytes a program makes of a file.
fn run(tool: &str, file: &Path) -> Result<u64, Box<dyn Error>> {
    let mut words = tool.split(' ');
    let program = words.next().ok_or("a program's name")?;
    let mut child = Command::new(program)
        .args(words)
        .arg("-c")
        .stdin(fs_err::File::open(file)?.into_file())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut out = child.stdout.take().ok_or("a pipe was asked for")?;
    let bytes = io::copy(&mut out, &mut io::sink())?;
    if child.wait()?.success() { Ok(bytes) } else { Err(format!("`{tool}` failed").into()) }
}

/// Seconds of processor time of this process and of the programs it has waited for (`proc_pid_stat(5)`).
fn processor() -> Result<f64, Box<dyn Error>> {
    let stat = fs_err::read_to_string("/proc/self/stat")?;
    // The name in parentheses may hold anything; `utime` is the 12th field after it, in hundredths.
    let fields = stat.rsplit(')').next().ok_or("no name")?.split_whitespace().skip(11).take(4);
    let ticks = fields.map(str::parse).collect::<Result<Vec<u32>, _>>()?;
    Ok(f64::from(ticks.iter().sum::<u32>()) / 100.0)
}

#[expect(clippy::cast_precision_loss, reason = "for a table")]
fn ratio(part: usize, whole: usize) -> f64 {
    part as f64 / whole as f64
}
