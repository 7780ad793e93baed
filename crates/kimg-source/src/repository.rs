//! One Alpine repository: `<location>/<arch>/APKINDEX.tar.gz` and the packages beside it.

use std::sync::Arc;

use fs_err as fs;
use kimg_apk::{Index, KeyRing, Limits, Listing, Package, Record, read_index, read_package};
use kimg_core::{Digest, Platform};
use tokio::sync::mpsc::UnboundedSender;

use crate::location::Location;
use crate::{Cache, Fetcher, SourceError};

/// An Alpine repository, with the tag (`@edge`) it is pinned under, if any.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repository {
    /// Where it lies, above the folders of the architectures: one place or several mirrors of it, the preferred one
    /// first; never empty.
    pub mirrors: Vec<Location>,
    /// Only wishes with this tag take packages from it.
    pub tag: Option<String>,
    /// Whether its index is signed. That of a vendored folder is not: there each package vouches for itself.
    pub signed: bool,
}

/// What a repository is read with.
#[derive(Debug, Clone)]
pub struct Reader {
    /// Fetches from mirrors.
    pub fetcher: Fetcher,
    /// Keeps what was fetched and unpacked.
    pub cache: Cache,
    /// Bounds of what is read.
    pub limits: Limits,
    /// Hears how far each file is.
    pub watch: Option<UnboundedSender<Transfer>>,
}

/// How far one file is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transfer {
    /// Its address.
    pub url: String,
    /// Bytes that are there.
    pub done: u64,
    /// Bytes of the whole, if the server said so.
    pub total: Option<u64>,
}

/// A package that was verified and unpacked, now or in an earlier run.
#[derive(Debug, Clone)]
pub struct Fetched {
    /// The package.
    pub package: Package,
    /// Whether it was unpacked already.
    pub from_cache: bool,
}

/// Bumped when the cached form of an unpacked package changes.
const LISTING: &str = "kimg unpacked package 1";

impl Repository {
    /// A signed repository without a tag at one place.
    pub fn at(location: Location) -> Self {
        Self { mirrors: vec![location], tag: None, signed: true }
    }

    /// What it is called in messages: the preferred mirror's address.
    pub fn name(&self) -> String {
        self.mirrors.first().map(ToString::to_string).unwrap_or_default()
    }

    /// The index for a platform, its signature verified.
    ///
    /// A mirror's index is fetched each time and kept for `--offline`.
    pub async fn index(
        &self,
        platform: Platform,
        keys: &KeyRing,
        reader: &Reader,
    ) -> Result<Index, SourceError> {
        let location = self.mirrors[0].below(&[platform.alpine(), "APKINDEX.tar.gz"]);
        let limit = reader.limits.index_size;
        let bytes = match &location {
            Location::Path(path) => read_file("the index", path, limit)?,
            Location::Remote(url) => {
                let kept = reader.cache.index_path(url);
                if reader.fetcher.is_offline() {
                    if !kept.is_file() {
                        return Err(SourceError::Offline { what: format!("the index {url}") });
                    }
                    read_file("the index", &kept, limit)?
                } else {
                    let bytes = reader.fetcher.get(url, limit).await?;
                    reader.cache.write(&kept, &bytes)?;
                    bytes
                }
            }
        };
        let (keys, limits) = (keys.clone(), reader.limits);
        blocking(move || read_index(&bytes, &keys, &limits))
            .await?
            .map_err(|source| SourceError::Apk { what: format!("index {location}"), source })
    }

    /// A package of the index, verified along the whole chain and unpacked into the cache.
    pub async fn package(
        &self,
        record: &Record,
        platform: Platform,
        keys: &KeyRing,
        reader: &Reader,
    ) -> Result<Fetched, SourceError> {
        let identity = record.identity.as_ref().map(ToString::to_string).unwrap_or_default();
        let key = Digest::of(format!(
            "{LISTING}\n{}\n{}\n{identity}\n{}",
            platform.alpine(),
            record.id(),
            record.size
        ));
        if !identity.is_empty()
            && let Some(listing) = reader.cache.record::<Listing>("unpacked", &key)
            && let Some(package) = listing.restore(|digest, size| reader.cache.content(digest, size))
        {
            return Ok(Fetched { package, from_cache: true });
        }

        let file_name = record.file_name();
        let location = self.mirrors[0].below(&[platform.alpine(), &file_name]);
        let kept = reader.cache.package_path(&identity, record.size);
        let mut bytes = match &location {
            Location::Path(path) => read_file("the package", path, reader.limits.package_size)?,
            Location::Remote(_) if kept.is_file() => {
                read_file("the package", &kept, reader.limits.package_size)?
            }
            Location::Remote(url) => self.fetch(url, record, reader).await?,
        };
        let result = unpack(bytes, record, platform, keys, reader).await?;
        let package = match (result, &location) {
            (Ok(package), _) => package,
            // A package in the cache may have been cut or changed since: the mirror has it whole.
            (Err(_), Location::Remote(url)) if kept.is_file() && !reader.fetcher.is_offline() => {
                bytes = self.fetch(url, record, reader).await?;
                unpack(bytes, record, platform, keys, reader)
                    .await?
                    .map_err(|source| apk_error(&location, source))?
            }
            (Err(source), _) => return Err(apk_error(&location, source)),
        };
        if !identity.is_empty() {
            reader.cache.keep("unpacked", &key, &package.listing())?;
        }
        Ok(Fetched { package, from_cache: false })
    }

    async fn fetch(&self, url: &str, record: &Record, reader: &Reader) -> Result<Vec<u8>, SourceError> {
        let limit = record.size.clamp(1, reader.limits.package_size);
        let bytes = reader.fetcher.get(url, limit).await?;
        let identity = record.identity.as_ref().map(ToString::to_string).unwrap_or_default();
        if !identity.is_empty() {
            reader.cache.write(&reader.cache.package_path(&identity, record.size), &bytes)?;
        }
        Ok(bytes)
    }
}

fn apk_error(location: &Location, source: kimg_apk::ApkError) -> SourceError {
    SourceError::Apk { what: format!("package {location}"), source }
}

async fn unpack(
    bytes: Vec<u8>,
    record: &Record,
    platform: Platform,
    keys: &KeyRing,
    reader: &Reader,
) -> Result<Result<Package, kimg_apk::ApkError>, SourceError> {
    let record = Arc::new(record.clone());
    let (keys, limits, mut contents) = (keys.clone(), reader.limits, reader.cache.contents());
    blocking(move || read_package(&bytes, &keys, Some(&record), platform.alpine(), &limits, &mut contents))
        .await
}

/// Hashing and unpacking would hold up the network: they run on threads of their own.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, SourceError> {
    tokio::task::spawn_blocking(work).await.map_err(|error| SourceError::Disk {
        what: "unpacking was cut short".into(),
        source: std::io::Error::other(error),
    })
}

fn read_file(what: &str, path: &std::path::Path, limit: u64) -> Result<Vec<u8>, SourceError> {
    let size = match fs::metadata(path) {
        Ok(found) if found.is_file() => found.len(),
        Ok(_) => return Err(SourceError::Missing { what: what.into(), path: path.display().to_string() }),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(SourceError::Missing { what: what.into(), path: path.display().to_string() });
        }
        Err(error) => return Err(SourceError::disk(format!("reading {what}"))(error)),
    };
    if size > limit {
        return Err(SourceError::TooLarge { what: format!("{what} {}", path.display()), limit });
    }
    fs::read(path).map_err(SourceError::disk(format!("reading {what}")))
}
