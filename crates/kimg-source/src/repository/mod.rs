//! One Alpine repository: `<location>/<arch>/APKINDEX.tar.gz` and the packages beside it, at one place or at several
//! mirrors of it.
//!
//! What comes from a mirror is verified before it counts as an answer: a mirror with wrong bytes is passed over like
//! one that can't be reached. So mirrors need not be trusted, nor be equally new.

mod index;
mod kept;
mod mirrors;

use std::path::Path;
use std::sync::Arc;

use fs_err as fs;
use kimg_apk::{KeyRing, Limits, Listing, Package, Record, read_package};
use kimg_core::{Digest, Platform};
use tokio::sync::mpsc::UnboundedSender;

use crate::cache::note_use;
pub use crate::fetch::Transfer;
use crate::fetch::Wanted;
use crate::location::Location;
use crate::{Cache, Fetcher, SourceError};
pub use index::{FetchedIndex, IndexOrigin, RolledBack, Seen};
pub use kept::kept_record;
use mirrors::Failures;

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
    /// Hears how far each file is: when it begins, ten times a second at most, and when it is whole.
    pub watch: Option<UnboundedSender<Transfer>>,
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

    /// A package of the index, verified along the whole chain and unpacked into the cache; from the first mirror that
    /// has it with the right bytes.
    ///
    /// With an index that is not signed the package has to carry a good signature by one of the keys.
    pub async fn package(
        &self,
        record: &Record,
        platform: Platform,
        keys: &KeyRing,
        reader: &Reader,
    ) -> Result<Fetched, SourceError> {
        let wish = Wish { record, platform, keys, reader, signed: self.signed };
        if let Some(package) = wish.restore() {
            return Ok(Fetched { package, from_cache: true });
        }
        let mut failures = Failures::of(format!("a good package {}", record.id()));
        let mut found = wish.cached(&mut failures).await?;
        for mirror in &self.mirrors {
            if found.is_some() {
                break;
            }
            failures.warn(mirror);
            match wish.at(mirror).await {
                Ok(package) => found = Some(package),
                Err(error) => failures.pass_over(mirror, error, reader)?,
            }
        }
        let Some(package) = found else { return Err(failures.into_error()) };
        wish.keep(&package)?;
        Ok(Fetched { package, from_cache: false })
    }
}

/// A package that is wanted.
struct Wish<'a> {
    record: &'a Record,
    platform: Platform,
    keys: &'a KeyRing,
    reader: &'a Reader,
    /// Whether the record is from a signed index.
    signed: bool,
}

impl Wish<'_> {
    fn identity(&self) -> Option<String> {
        self.record.identity.as_ref().map(ToString::to_string)
    }

    /// Names the unpacked package by what vouches for it: the identity in a signed index, or else the keys that were
    /// trusted when its own signature was verified.
    fn key(&self) -> Option<Digest> {
        let (arch, id, size) = (self.platform.alpine(), self.record.id(), self.record.size);
        let own = if self.signed { String::new() } else { format!("\n{}", self.keys.digest()) };
        Some(Digest::of(format!("{LISTING}\n{arch}\n{id}\n{}\n{size}{own}", self.identity()?)))
    }

    fn restore(&self) -> Option<Package> {
        let listing = self.reader.cache.record::<Listing>("unpacked", &self.key()?)?;
        listing.restore(|digest, size| self.reader.cache.content(digest, size))
    }

    fn keep(&self, package: &Package) -> Result<(), SourceError> {
        match self.key() {
            Some(key) => self.reader.cache.keep("unpacked", &key, &package.listing()),
            None => Ok(()),
        }
    }

    /// Where the downloaded package is kept: only one whose identity is known can be told from others.
    fn kept(&self) -> Option<std::path::PathBuf> {
        Some(self.reader.cache.package_path(&self.identity()?, self.record.size))
    }

    /// The package as an earlier run downloaded it. One that was changed since is fetched again.
    async fn cached(&self, failures: &mut Failures) -> Result<Option<Package>, SourceError> {
        let Some(kept) = self.kept().filter(|kept| kept.is_file()) else { return Ok(None) };
        if let Ok(file) = fs::File::open(&kept) {
            note_use(&file);
        }
        let location = Location::Path(kept);
        match self.read(&location, &location).await {
            Ok(package) => Ok(Some(package)),
            Err(error) => {
                failures.note("the cache".into(), error);
                Ok(None)
            }
        }
    }

    async fn at(&self, mirror: &Location) -> Result<Package, SourceError> {
        let location = mirror.below(&[self.platform.alpine(), &self.record.file_name()]);
        let Location::Remote(url) = &location else { return self.read(&location, &location).await };
        let (fetcher, cache) = (&self.reader.fetcher, &self.reader.cache);
        if fetcher.is_offline() {
            return Err(SourceError::Offline { what: format!("the package {location}") });
        }
        if let Some(error) = fetcher.given_up(&location) {
            return Err(error);
        }
        let limit = self.record.size.clamp(1, self.reader.limits.package_size);
        let wanted = Wanted { url, limit, watch: self.reader.watch.as_ref() };
        let partial = cache.partial_path(&location);
        loop {
            let download = fetcher.download(&wanted, &partial, &cache.scratch()).await?;
            let file = Location::Path(download.path().to_owned());
            match (self.read(&file, &location).await, self.kept()) {
                (Ok(package), Some(kept)) => {
                    download.keep(&kept)?;
                    return Ok(package);
                }
                // What an earlier run began may be of another file by now.
                (Err(_), _) if download.resumed() => download.discard()?,
                (result, _) => {
                    download.discard()?;
                    return result;
                }
            }
        }
    }

    /// Reads and verifies the package in a file; in errors it is called by `location`.
    async fn read(&self, file: &Location, location: &Location) -> Result<Package, SourceError> {
        let Location::Path(path) = file else {
            return Err(SourceError::Missing { what: "the package".into(), path: file.to_string() });
        };
        let (path, signed, platform) = (path.clone(), self.signed, self.platform);
        let mut record = self.record.clone();
        let identity = record.identity;
        if !signed {
            // Nobody vouched for it: without an identity to expect, the package's own signature has to be good.
            record.identity = None;
        }
        let (record, keys, limits) = (Arc::new(record), self.keys.clone(), self.reader.limits);
        let mut contents = self.reader.cache.contents();
        let read = blocking(move || {
            let bytes = read_file("the package", &path, limits.package_size)?;
            Ok(read_package(&bytes, &keys, Some(&record), platform.alpine(), &limits, &mut contents))
        });
        let what = format!("package {location}");
        let package = read.await??.map_err(|source| SourceError::Apk { what: what.clone(), source })?;
        match (identity, package.record.identity) {
            (Some(expected), Some(found)) if expected != found => {
                Err(SourceError::Mismatch { what, expected: expected.to_string(), found: found.to_string() })
            }
            _ => Ok(package),
        }
    }
}

/// Hashing and unpacking would hold up the network: they run on threads of their own.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, SourceError> {
    tokio::task::spawn_blocking(work).await.map_err(|error| SourceError::Disk {
        what: "unpacking was cut short".into(),
        source: std::io::Error::other(error),
    })
}

fn read_file(what: &str, path: &Path, limit: u64) -> Result<Vec<u8>, SourceError> {
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
