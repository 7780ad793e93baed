//! What each way to pack a program gives: `pack_bench [FILE [WORD…]]`, or what stripping saves: `pack_bench strip`.
//!
//! FILE is a static program for one of kimg's platforms, and WORD… the arguments with which it is started harmlessly
//! (`--version` if there are none). Without FILE, it is kubeadm and the CNI plugin bridge out of the real packages
//! for x86-64. `strip` reads all programs and libraries of the real packages for all platforms.

use std::collections::BTreeMap;
use std::io::{Read, Write};

use flate2::Compression;
use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;
use kimg_core::variant::Probe;
use kimg_core::{Content, ImagePath, MemorySink, Platform};
use kimg_pack::{Candidate, Measured, Outcome, Packing, Runners, Settings, Upx, measure, pack};
use kimg_testkit::{Real, real};

type Failure = Box<dyn std::error::Error>;

const DECISIONS: [&str; 8] = [
    "plain",
    "strip",
    "upx -7",
    "upx -9",
    "upx -9 --lzma",
    "upx --best --lzma",
    "strip + upx -9",
    "strip + upx --best --lzma",
];
/// Starts of which the median counts.
const STARTS: usize = 15;
/// From how many bytes saved on a file has a line of its own.
const MUCH: u64 = 100_000;

fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1);
    match arguments.next() {
        Some(word) if word == "strip" => strip_table(&real().ok_or("the real packages are not there")?),
        Some(file) => {
            let words: Vec<String> = arguments.collect();
            let words = if words.is_empty() { vec!["--version".into()] } else { words };
            let content = Content::from_bytes(fs_err::read(&file)?);
            let probe = Probe { arguments: words, ..Probe::default() };
            head();
            lines("/program", &content, platform(&content)?, &probe, &[])
        }
        None => {
            let real = real().ok_or("the real packages are not there")?;
            let one = |package: &str, path: &str| -> Result<Content, Failure> {
                let files = files(&real, Platform::Amd64, package)?;
                files.into_iter().find(|(name, _)| name == path).map(|(_, c)| c).ok_or("no such file".into())
            };
            let musl = "/lib/ld-musl-x86_64.so.1";
            let libraries = [(musl.parse()?, one("musl", musl)?)];
            let version = Probe { arguments: vec!["version".into()], ..Probe::default() };
            let environment = [("CNI_COMMAND".to_owned(), "VERSION".to_owned())].into();
            let cni = Probe { arguments: Vec::new(), environment };
            head();
            let kubeadm = one("kubeadm", "/usr/bin/kubeadm")?;
            lines("/usr/bin/kubeadm", &kubeadm, Platform::Amd64, &version, &libraries)?;
            let bridge = one("cni-plugins", "/usr/libexec/cni/bridge")?;
            lines("/usr/libexec/cni/bridge", &bridge, Platform::Amd64, &cni, &[])
        }
    }
}

fn head() {
    println!("median of {STARTS} starts; sizes in bytes, memory in MB\n");
    println!("| program | decision | size | gzip -9 | packed in | start | memory | verdict |");
    println!("| --- | --- | ---: | ---: | ---: | ---: | ---: | --- |");
}

/// Prints a line for each decision on a program.
fn lines(
    path: &str,
    content: &Content,
    platform: Platform,
    probe: &Probe,
    libraries: &[(ImagePath, Content)],
) -> Result<(), Failure> {
    let search_path = std::env::var_os("PATH").unwrap_or_default();
    let upx = Upx::find(&search_path)?;
    let (path, scratch) = (ImagePath::new(path)?, tempfile::tempdir()?);
    let candidate = Candidate {
        path: &path,
        content,
        platform,
        packing: Packing::PLAIN,
        daemon: false,
        mode: 0o755,
        xattrs: &BTreeMap::new(),
        probe: Some(probe),
        libraries,
        runners: &Runners::find(&search_path),
    };
    let settings = Settings { minimum_size: 0, ..Settings::default() };
    for decision in DECISIONS {
        let decision = [decision.parse()?];
        // One by one: a line is seen as soon as it is known.
        for one in
            measure(&candidate, &decision, upx.as_ref(), &settings, STARTS, scratch.path(), &mut MemorySink)?
        {
            println!("| {} {}", path.file_name().unwrap_or_default(), line(&one)?);
        }
    }
    Ok(())
}

fn line(one: &Measured) -> Result<String, Failure> {
    let (mut start, mut memory) = (String::new(), String::new());
    if let Ok(starts) = &one.starts {
        let how = if starts.under_qemu { " under qemu" } else { "" };
        start = format!("{:.1} ms{how}", starts.median.as_secs_f64() * 1000.0);
        memory = starts.peak_memory.map_or(String::new(), megabytes);
    }
    let verdict = match &one.outcome {
        Outcome::Packed { started, .. } => started.to_string(),
        Outcome::Plain { why } => format!("plain: {why}"),
    };
    Ok(format!(
        "| `{}` | {} | {} | {:.1} s | {start} | {memory} | {verdict} |",
        one.packing,
        grouped(one.content.size()),
        grouped(gzipped(&one.content)?),
        one.pack_time.as_secs_f64(),
    ))
}

/// Prints what stripping saves on the files of all real packages.
fn strip_table(real: &Real) -> Result<(), Failure> {
    println!("| package | file | platform | plain | stripped | gzip -9 of plain | of stripped |");
    println!("| --- | --- | --- | ---: | ---: | ---: | ---: |");
    let (settings, scratch) = (Settings { minimum_size: 0, ..Settings::default() }, tempfile::tempdir()?);
    let (mut others, mut saved, mut refused) = (0, 0, BTreeMap::new());
    for platform in Platform::DEFAULT {
        let mut packages: Vec<String> = fs_err::read_dir(real.repo().join(platform.alpine()))?
            .flatten()
            .filter_map(|entry| entry.file_name().to_str().map(str::to_owned))
            .filter(|name| name != "APKINDEX.tar.gz")
            .collect();
        packages.sort();
        for package in packages {
            let stream = fs_err::File::open(real.repo().join(platform.alpine()).join(&package))?;
            for (path, content) in unpacked(stream)? {
                let candidate = Candidate {
                    path: &path.parse()?,
                    content: &content,
                    platform,
                    packing: Packing::STRIP,
                    daemon: false,
                    mode: 0o755,
                    xattrs: &BTreeMap::new(),
                    probe: None,
                    libraries: &[],
                    runners: &Runners::none(),
                };
                match pack(&candidate, None, &settings, scratch.path(), &mut MemorySink)? {
                    Outcome::Packed { content: stripped, plain_size, packed_size, .. }
                        if plain_size - packed_size >= MUCH =>
                    {
                        println!(
                            "| {package} | {path} | {platform} | {} | {} | {} | {} |",
                            grouped(plain_size),
                            grouped(packed_size),
                            grouped(gzipped(&content)?),
                            grouped(gzipped(&stripped)?),
                        );
                    }
                    Outcome::Packed { plain_size, packed_size, .. } => {
                        others += 1;
                        saved += plain_size - packed_size;
                    }
                    Outcome::Plain { why } => *refused.entry(why.to_string()).or_insert(0) += 1,
                }
            }
        }
    }
    println!("\n{others} other files: {} bytes saved in all", grouped(saved));
    for (why, count) in refused {
        println!("{count} files stay as they are: {why}");
    }
    Ok(())
}

/// The ELF files of a package.
fn files(real: &Real, platform: Platform, package: &str) -> Result<Vec<(String, Content)>, Failure> {
    unpacked(fs_err::File::open(real.package(platform, package))?)
}

/// The ELF files of an archive as apk-tools writes them: gzip streams one behind the other.
fn unpacked(stream: impl Read) -> Result<Vec<(String, Content)>, Failure> {
    let mut archive = tar::Archive::new(MultiGzDecoder::new(stream));
    archive.set_ignore_zeros(true);
    let mut files = Vec::new();
    for entry in archive.entries()? {
        let mut entry = entry?;
        let path = format!("/{}", entry.path()?.display());
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes)?;
        if bytes.starts_with(b"\x7fELF") {
            files.push((path, Content::from_bytes(bytes)));
        }
    }
    Ok(files)
}

/// For which platform an ELF file is, by its `e_machine`.
fn platform(content: &Content) -> Result<Platform, Failure> {
    let bytes = content.read(content.size())?;
    let machine = bytes.get(18..20).map(|two| u16::from_le_bytes([two[0], two[1]]));
    let found = Platform::DEFAULT.into_iter().find(|platform| Some(platform.elf_machine()) == machine);
    found.ok_or("not a program for any of kimg's platforms".into())
}

fn gzipped(content: &Content) -> Result<u64, Failure> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(&content.read(content.size())?)?;
    Ok(encoder.finish()?.len() as u64)
}

/// Decimal megabytes with one digit behind the point.
fn megabytes(bytes: u64) -> String {
    let tenths = (bytes + 50_000) / 100_000;
    format!("{}.{}", tenths / 10, tenths % 10)
}

/// A number with commas.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}
