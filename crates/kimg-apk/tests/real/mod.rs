//! Where the real input of these tests lies, and what happens when it is not there.
#![allow(dead_code, unreachable_pub, reason = "each test program uses its own part of this")]
#![allow(clippy::unwrap_used, clippy::missing_panics_doc, reason = "a test that can't be set up has failed")]

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use kimg_apk::{Index, KeyRing, Limits, Record, read_index};
use kimg_core::{Content, ContentSink, ContentSource, DigestWriter, ImagePath, MemorySink, ReadSeek};

/// Says visibly that a test was skipped; with `KIMG_REQUIRE_ALL=1` that is a failure.
pub fn skipped(why: &str) {
    assert!(
        std::env::var_os("KIMG_REQUIRE_ALL").is_none_or(|v| v != "1"),
        "SKIPPED, but KIMG_REQUIRE_ALL=1: {why}"
    );
    eprintln!("SKIPPED: {why}");
}

/// The folder of real input.
pub fn input() -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/real");
    let folder = std::env::var_os("KIMG_REAL").map_or(beside, PathBuf::from);
    if folder.is_dir() {
        return Some(folder);
    }
    skipped(&format!("there is no real input in {}", folder.display()));
    None
}

/// The assembled repository: `target/real`, with `repo/<arch>` and `keys`.
pub fn assembled() -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/real");
    if folder.join("repo").is_dir() {
        return Some(folder);
    }
    skipped("there is no assembled repository in target/real: run `../shared/real/assemble target/real`");
    None
}

/// All keys of a folder.
pub fn keys(folder: &Path) -> KeyRing {
    let mut ring = KeyRing::new();
    for file in fs_err::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        ring.add(name, &fs_err::read_to_string(&path).unwrap()).unwrap();
    }
    ring
}

/// One architecture of a signed repository.
pub struct Repository {
    pub folder: PathBuf,
    pub arch: String,
    pub keys: KeyRing,
    pub index: Index,
}

impl Repository {
    pub fn open(folder: PathBuf, arch: &str, keys: KeyRing) -> Self {
        let bytes = fs_err::read(folder.join("APKINDEX.tar.gz")).unwrap();
        let index = read_index(&bytes, &keys, &Limits::default()).unwrap();
        Self { folder, arch: arch.to_owned(), keys, index }
    }

    pub fn bytes(&self, record: &Record) -> Vec<u8> {
        fs_err::read(self.folder.join(record.file_name())).unwrap()
    }

    /// The newest package of each name.
    pub fn newest(&self) -> BTreeMap<&str, &Record> {
        let mut found: BTreeMap<&str, &Record> = BTreeMap::new();
        for record in &self.index.packages {
            let slot = found.entry(&record.name).or_insert(record);
            if slot.version < record.version {
                *slot = record;
            }
        }
        found
    }
}

/// The genuine repositories, signed by Alpine.
pub fn genuine() -> Option<Vec<Repository>> {
    let input = input()?;
    let one = |release: &str, arch: &str| {
        Repository::open(
            input.join("signed").join(release).join(arch),
            arch,
            keys(&input.join("alpine-keys").join(arch)),
        )
    };
    Some(vec![one("v3.19", "x86_64"), one("v3.13", "aarch64")])
}

/// One architecture of the assembled repository.
pub fn of_arch(arch: &str) -> Option<Repository> {
    let folder = assembled()?;
    Some(Repository::open(folder.join("repo").join(arch), arch, keys(&folder.join("keys"))))
}

/// Keeps the bytes of small files, which laying packages out may want to read; those of large ones are hashed and let
/// go.
pub struct SmallOnly;

impl ContentSink for SmallOnly {
    fn store(&mut self, path: &ImagePath, reader: &mut dyn Read) -> std::io::Result<Content> {
        let mut start = Vec::new();
        (&mut *reader).take(1 << 16).read_to_end(&mut start)?;
        if start.len() < 1 << 16 {
            return MemorySink.store(path, &mut &start[..]);
        }
        let mut writer = DigestWriter::new(std::io::sink());
        std::io::copy(&mut (&start[..]).chain(reader), &mut writer)?;
        let (_, digest, size) = writer.finish();
        Ok(Content::new(digest, size, Arc::new(Nothing)))
    }
}

#[derive(Debug)]
struct Nothing;

impl ContentSource for Nothing {
    fn open(&self) -> std::io::Result<Box<dyn ReadSeek>> {
        Err(std::io::Error::other("nothing was kept"))
    }
}
