//! What is left of a locked package when no index names it any more: its record in the cache, and its file as it was
//! downloaded.

use kimg_apk::{KeyRing, Record, read_package};
use kimg_core::{Digest, MemorySink, Platform};

use super::{Reader, Repository, Wish, blocking, read_file};
use crate::lock::LockedPackage;
use crate::{Location, SourceError};

/// The record of a locked package that was verified and unpacked in an earlier run, if all of it is still in the cache.
pub fn kept_record(locked: &LockedPackage, keys: &KeyRing, reader: &Reader) -> Option<Record> {
    let mut record = Record::new(locked.name.clone(), locked.version.parse().ok()?);
    record.identity = Some(locked.identity.parse().ok()?);
    record.size = locked.size;
    let package = [true, false].into_iter().find_map(|signed| {
        Wish { record: &record, platform: locked.platform, keys, reader, signed }.restore()
    })?;
    (package.digest == locked.sha256).then_some(package.record)
}

impl Repository {
    /// The file of a package that [`Repository::package`] gave, whose SHA-256 is therefore known: from the cache, or
    /// else from the first mirror that has it. The package must carry a good signature of its own, so that it can be
    /// trusted without the index.
    pub async fn file(
        &self,
        record: &Record,
        sha256: Digest,
        platform: Platform,
        keys: &KeyRing,
        reader: &Reader,
    ) -> Result<Vec<u8>, SourceError> {
        let wish = Wish { record, platform, keys, reader, signed: self.signed };
        let what = format!("the package {}", record.id());
        let limit = reader.limits.package_size;
        let cached = wish.kept().filter(|path| path.is_file()).map(Location::Path);
        let name = record.file_name();
        let places = self.mirrors.iter().map(|mirror| mirror.below(&[platform.alpine(), &name]));
        let mut last = SourceError::Offline { what: what.clone() };
        for place in cached.into_iter().chain(places) {
            let bytes = match &place {
                Location::Path(path) => read_file(&what, path, limit),
                Location::Remote(url) => reader.fetcher.get(url, record.size.clamp(1, limit)).await,
            };
            match bytes {
                Ok(bytes) if Digest::of(&bytes) == sha256 => {
                    return by_itself(bytes, record, platform, keys, reader).await;
                }
                Ok(bytes) => {
                    last = SourceError::Mismatch {
                        what: place.to_string(),
                        expected: sha256.to_string(),
                        found: Digest::of(&bytes).to_string(),
                    };
                }
                Err(error) => last = error,
            }
        }
        Err(last)
    }
}

/// Gives the bytes back if the package's own signature is good.
async fn by_itself(
    bytes: Vec<u8>,
    record: &Record,
    platform: Platform,
    keys: &KeyRing,
    reader: &Reader,
) -> Result<Vec<u8>, SourceError> {
    let (mut record, keys, limits) = (record.clone(), keys.clone(), reader.limits);
    let what = format!("package {}", record.id());
    record.identity = None;
    blocking(move || {
        read_package(&bytes, &keys, Some(&record), platform.alpine(), &limits, &mut MemorySink)
            .map(|_| bytes)
            .map_err(|source| SourceError::Apk { what, source })
    })
    .await?
}
