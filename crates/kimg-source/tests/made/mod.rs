//! Small signed repositories, mirrors of them, and what they are read with.

#![allow(dead_code, reason = "each test file uses a part of it")]

use std::path::Path;
use std::time::Duration;

use kimg_apk::{KeyRing, Limits, Record};
use kimg_core::Platform;
use kimg_sample::Signer;
use kimg_sample::package::{BuiltPackage, PackageBuilder, TarEntry};
use kimg_sample::repository::RepositoryBuilder;
use kimg_source::repository::{Fetched, FetchedIndex, Reader};
use kimg_source::{Cache, Fetcher, Location, Repository, SourceError};
use kimg_testkit::{FolderServer, TempDir, tempdir};

pub(crate) const PLATFORM: Platform = Platform::ArmV7;
pub(crate) const INDEX: &str = "armv7/APKINDEX.tar.gz";

/// Bytes that don't compress, other ones for each seed.
pub(crate) fn noise(seed: u64, size: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    std::iter::repeat_with(next).flatten().take(size).collect()
}

/// A package with one program of so many bytes.
pub(crate) fn package(name: &str, size: usize) -> BuiltPackage {
    package_by(&Signer::sample(), name, size)
}

pub(crate) fn package_by(signer: &Signer, name: &str, size: usize) -> BuiltPackage {
    let bytes = noise(name.bytes().map(u64::from).sum(), size);
    PackageBuilder::new(name, "1.0-r0", PLATFORM)
        .entry(TarEntry::program(format!("usr/bin/{name}"), bytes))
        .build(signer)
}

/// Lays a repository out whose newest package was built at that time; the signature is the sample's.
pub(crate) fn lay_out(folder: &Path, newest: u64, packages: impl IntoIterator<Item = BuiltPackage>) {
    let built = packages.into_iter().map(|mut package| {
        package.set_field('t', newest.to_string());
        package
    });
    let repository = RepositoryBuilder::new(Signer::sample()).description(format!("state of {newest}"));
    repository.packages(PLATFORM, built).build().write_to(folder).unwrap();
}

/// A mirror with two packages, `a` of 300 kB and `b` of 10 kB.
pub(crate) struct Mirror {
    pub(crate) folder: TempDir,
    pub(crate) server: FolderServer,
}

impl Mirror {
    pub(crate) fn new(newest: u64) -> Self {
        let folder = tempdir().unwrap();
        lay_out(folder.path(), newest, [package("a", 300_000), package("b", 10_000)]);
        let server = FolderServer::new(folder.path());
        Self { folder, server }
    }

    pub(crate) fn location(&self) -> Location {
        self.server.url("").parse().unwrap()
    }
}

pub(crate) fn keys() -> KeyRing {
    let mut keys = KeyRing::new();
    let signer = Signer::sample();
    keys.add(signer.key_name(), signer.public_pem()).unwrap();
    keys
}

/// Three attempts with short waits.
pub(crate) fn fetcher() -> Fetcher {
    Fetcher::new(3).first_wait(Duration::from_millis(1))
}

pub(crate) fn reader(folder: &Path) -> Reader {
    let cache = Cache::open(&folder.join("cache")).unwrap();
    Reader { fetcher: fetcher(), cache, limits: Limits::default(), watch: None }
}

pub(crate) fn offline(reader: &Reader) -> Reader {
    Reader { fetcher: Fetcher::offline(), ..reader.clone() }
}

pub(crate) fn mirrors(mirrors: impl IntoIterator<Item = Location>) -> Repository {
    Repository { mirrors: mirrors.into_iter().collect(), tag: None, signed: true }
}

/// An address where nobody listens.
pub(crate) fn dead() -> Location {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    format!("http://{}/alpine", listener.local_addr().unwrap()).parse().unwrap()
}

pub(crate) async fn index(repository: &Repository, reader: &Reader) -> Result<FetchedIndex, SourceError> {
    repository.index(PLATFORM, &keys(), reader).await
}

pub(crate) async fn fetch(
    repository: &Repository,
    name: &str,
    reader: &Reader,
) -> Result<Fetched, SourceError> {
    let index = index(repository, reader).await?.index;
    repository.package(record(&index, name), PLATFORM, &keys(), reader).await
}

pub(crate) fn record<'a>(index: &'a kimg_apk::Index, name: &str) -> &'a Record {
    index.packages.iter().find(|record| record.name == name).unwrap()
}

/// The bytes of the package's program.
pub(crate) fn program(fetched: &Fetched) -> Vec<u8> {
    let content = fetched.package.entries.iter().find_map(|(_, entry)| match &entry.kind {
        kimg_core::Kind::File { content, .. } => Some(content.clone()),
        _ => None,
    });
    content.unwrap().read(1 << 30).unwrap()
}
