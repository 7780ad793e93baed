//! Peak memory and speed of [`kimg_layer::write`] with a large layer, beside the bare compressors, as Markdown.
//!
//! `memory_bench [MIB] [CODEC…]`: a layer of one file with so many MiB (2048 by itself), generated while it is
//! read. Each measurement is a process of its own. "Bare" is the same bytes straight into libdeflate, or into zstd
//! with the same level and window: no archive, no digests, one thread.

use std::error::Error;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::process::Command;
use std::sync::Arc;
use std::time::Instant;

use kimg_core::{Content, ContentSource, DigestWriter, Entry, ImagePath, Origin, ReadSeek};
use kimg_layer::{Codec, Entries, Options, Order};
use libdeflater::{CompressionLvl, Compressor};

/// The file repeats itself after this many bytes: the first round costs zstd's slow levels as much as a program does,
/// the others are found in any window from 8 MiB on, so that 2 GiB of them take minutes instead of half an hour.
const ROUND: usize = 6 << 20;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [one, mib, codec, threads] = &arguments[..]
        && one == "--one"
    {
        return one_measurement(mib.parse()?, codec.parse()?, threads.parse()?);
    }
    let mib = arguments.first().map_or("2048", String::as_str);
    let codecs: Vec<&str> = match arguments.get(1..) {
        Some(named) if !named.is_empty() => named.iter().map(String::as_str).collect(),
        _ => vec![
            "gzip:6",
            "gzip:9",
            "gzip:12",
            "zstd:3",
            "zstd:19",
            "zstd:19:window=64MiB",
            "zstd:22:window=64MiB",
        ],
    };
    let all = rayon::current_num_threads();
    println!("| {mib} MiB | threads | MB/s | peak memory, MiB |\n| --- | --- | --- | --- |");
    for codec in codecs {
        // 0 is the bare compressor.
        let threads = if codec.starts_with("gzip") { vec![0, 1, all] } else { vec![0, 1] };
        for threads in threads {
            let threads = threads.to_string();
            let status =
                Command::new(std::env::current_exe()?).args(["--one", mib, codec, &threads]).status()?;
            if !status.success() {
                return Err(format!("{codec} failed").into());
            }
        }
    }
    Ok(())
}

fn one_measurement(mib: u64, codec: Codec, threads: usize) -> Result<(), Box<dyn Error>> {
    let mut file = Generated { round: round().into(), size: mib << 20, at: 0 };
    let (began, name) = if threads == 0 {
        let began = Instant::now();
        bare(&mut file, codec)?;
        (began, format!("bare {codec}"))
    } else {
        let mut hash = DigestWriter::new(io::sink());
        io::copy(&mut file.clone(), &mut hash)?;
        let content = Content::new(hash.finish().1, file.size, Arc::new(file.clone()));
        let entry = Entry::file(content, 0o644, Origin::generated("bench"));
        let entries = Entries::from([(ImagePath::new("/large")?, entry)]);
        let options = Options { codec, order: Order::Alike, epoch: None };
        // With the thread that writes there is one more: it compresses, too, when the others are busy.
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build()?;
        let began = Instant::now();
        let (_, info) = pool.install(|| kimg_layer::write(&entries, &options, io::sink()))?;
        assert_eq!(info.tar_size, file.size + 3 * 512, "a header and the end");
        (began, codec.to_string())
    };
    #[expect(clippy::cast_precision_loss, reason = "for a table")]
    let speed = file.size as f64 / 1e6 / began.elapsed().as_secs_f64();
    println!("| {name} | {} | {speed:.0} | {} |", threads.max(1), peak()? >> 10);
    Ok(())
}

fn bare(file: &mut Generated, codec: Codec) -> Result<(), Box<dyn Error>> {
    match codec {
        Codec::Gzip { level } => {
            let mut block = Vec::new();
            loop {
                block.clear();
                file.take(2 << 20).read_to_end(&mut block)?;
                if block.is_empty() {
                    return Ok(());
                }
                let level = CompressionLvl::new(i32::try_from(level)?).map_err(|_| "no such level")?;
                let mut compressor = Compressor::new(level);
                let mut out = vec![0; compressor.gzip_compress_bound(block.len())];
                compressor.gzip_compress(&block, &mut out)?;
            }
        }
        Codec::Zstd { level, window } => {
            let mut encoder = zstd::Encoder::new(io::sink(), level)?;
            encoder.include_checksum(true)?;
            if let Some(window) = window {
                encoder.window_log(window.bytes().ilog2())?;
                encoder.long_distance_matching(true)?;
            }
            io::copy(file, &mut encoder)?;
            encoder.finish()?.flush()?;
            Ok(())
        }
    }
}

/// Bytes that compress about as well as programs do.
fn round() -> Vec<u8> {
    let mut state = 88_172_645_463_325_252_u64;
    let mut bytes = Vec::with_capacity(ROUND + 8);
    while bytes.len() < ROUND {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        let word = (state % 5_000).wrapping_mul(2_654_435_761).to_le_bytes();
        bytes.extend_from_slice(if state >> 63 == 0 { &word[..4] } else { &word[..7] });
    }
    bytes.truncate(ROUND);
    bytes
}

/// A large file that lies nowhere.
#[derive(Debug, Clone)]
struct Generated {
    round: Arc<[u8]>,
    size: u64,
    at: u64,
}

impl Read for Generated {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.size - self.at).unwrap_or(usize::MAX);
        let from = usize::try_from(self.at % ROUND as u64).unwrap_or(0);
        let bytes = &self.round[from..];
        let count = bytes.len().min(left).min(buffer.len());
        buffer[..count].copy_from_slice(&bytes[..count]);
        self.at += count as u64;
        Ok(count)
    }
}

impl Seek for Generated {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        match to {
            SeekFrom::Start(at) => self.at = at.min(self.size),
            SeekFrom::Current(_) | SeekFrom::End(_) => return Err(io::ErrorKind::Unsupported.into()),
        }
        Ok(self.at)
    }
}

impl ContentSource for Generated {
    fn open(&self) -> io::Result<Box<dyn ReadSeek>> {
        Ok(Box::new(self.clone()))
    }
}

/// The most memory that this process ever had, in KiB (`proc_pid_status(5)`, `VmHWM`).
fn peak() -> Result<u64, Box<dyn Error>> {
    let status = fs_err::read_to_string("/proc/self/status")?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).ok_or("no VmHWM")?;
    Ok(line.split_whitespace().nth(1).ok_or("no number")?.parse()?)
}
