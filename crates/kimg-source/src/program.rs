//! Programs of one's own: from a path, an address with its SHA-256, or a member of a tar archive.

use std::io::Read;

use fs_err as fs;
use kimg_core::{Content, ContentSink, Digest, ImagePath};
use serde::{Deserialize, Serialize};

use crate::fetch::Wanted;
use crate::location::Location;
use crate::repository::Reader;
use crate::{Cache, SourceError};

/// A program that is no package's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program {
    /// What it is called in reports.
    pub name: String,
    /// The file, or the archive that holds it.
    pub location: Location,
    /// The SHA-256 of what lies at the location; always known for an address.
    pub sha256: Option<Digest>,
    /// The path inside the archive, if it is one: a tar, gzipped or not.
    pub member: Option<String>,
    /// Where it stands in the image.
    pub install: ImagePath,
}

/// What the cache keeps of a program that was fetched: the digest is what keeps its content there.
#[derive(Debug, Serialize, Deserialize)]
struct Kept {
    digest: Digest,
    size: u64,
}

/// A program larger than this is refused: 1 GiB.
const LIMIT: u64 = 1 << 30;

impl Program {
    /// Reads or fetches the program, compares its SHA-256 and keeps its bytes in the cache.
    ///
    /// Gives the content and the SHA-256 of what lay at the location, for the lock.
    pub async fn load(&self, reader: &Reader) -> Result<(Content, Digest), SourceError> {
        let whole = self.whole(reader).await?;
        let digest = whole.digest();
        Ok((self.member_of(whole, &reader.cache)?, digest))
    }

    /// As [`Program::whole`], also for an address whose SHA-256 is not known: what is there now is taken, and it is for
    /// the caller to pin it.
    pub async fn whole_or_first(&self, reader: &Reader) -> Result<Content, SourceError> {
        if self.sha256.is_some() || !self.location.is_remote() {
            return self.whole(reader).await;
        }
        // What was fetched before from this very address is as good, until somebody says what it should be.
        let key = Digest::of(format!("kimg first fetched program 1\n{}", self.location));
        let kept = reader.cache.record::<Kept>("program", &key);
        if let Some(content) = kept.and_then(|k| reader.cache.content(k.digest, k.size)) {
            return Ok(content);
        }
        let content = self.fetch(None, reader).await?;
        reader.cache.keep("program", &key, &Kept { digest: content.digest(), size: content.size() })?;
        Ok(content)
    }

    /// What lies at the location as it is, an archive as a whole; compared and kept as [`Program::load`] does.
    pub async fn whole(&self, reader: &Reader) -> Result<Content, SourceError> {
        let what = format!("program {}", self.name);
        let cache = &reader.cache;
        if let (Location::Remote(_), Some(expected)) = (&self.location, self.sha256) {
            let key = Digest::of(format!("kimg fetched program 2\n{expected}"));
            let kept = cache.record::<Kept>("program", &key).and_then(|k| cache.content(k.digest, k.size));
            if let Some(content) = kept {
                return Ok(content);
            }
            let content = self.fetch(Some(expected), reader).await?;
            cache.keep("program", &key, &Kept { digest: content.digest(), size: content.size() })?;
            return Ok(content);
        }
        let Location::Path(path) = &self.location else {
            return Err(SourceError::Mismatch {
                what,
                expected: "the SHA-256 of the file at an address".into(),
                found: "none".into(),
            });
        };
        if !path.is_file() {
            return Err(SourceError::Missing { what, path: path.display().to_string() });
        }
        let mut file = fs::File::open(path).map_err(SourceError::disk(format!("reading {what}")))?;
        let content = self.keep(cache, &mut file)?;
        self.compare(content.digest())?;
        Ok(content)
    }

    /// Fetches the file. What an earlier run began may be of another file by now: then it is fetched as a whole.
    async fn fetch(&self, expected: Option<Digest>, reader: &Reader) -> Result<Content, SourceError> {
        let Location::Remote(url) = &self.location else {
            return Err(SourceError::Offline { what: format!("program {}", self.name) });
        };
        let partial = reader.cache.partial_path(&self.location);
        let wanted = Wanted { url, limit: LIMIT, watch: reader.watch.as_ref() };
        loop {
            let download = reader.fetcher.download(&wanted, &partial, &reader.cache.scratch()).await?;
            let mut file =
                fs::File::open(download.path()).map_err(SourceError::disk("reading a download"))?;
            let content = self.keep(&reader.cache, &mut file)?;
            let resumed = download.resumed();
            download.discard()?;
            match self.compare(content.digest()) {
                Err(_) if Some(content.digest()) != expected && resumed => {}
                compared => return compared.map(|()| content),
            }
        }
    }

    fn compare(&self, found: Digest) -> Result<(), SourceError> {
        match self.sha256 {
            Some(expected) if expected != found => Err(SourceError::Mismatch {
                what: format!("program {} at {}", self.name, self.location),
                expected: expected.to_string(),
                found: found.to_string(),
            }),
            _ => Ok(()),
        }
    }

    fn keep(&self, cache: &Cache, reader: &mut dyn Read) -> Result<Content, SourceError> {
        let what = format!("program {}", self.name);
        let mut bounded = reader.take(LIMIT + 1);
        let content = cache
            .contents()
            .store(&self.install, &mut bounded)
            .map_err(SourceError::disk(format!("keeping {what}")))?;
        if content.size() > LIMIT { Err(SourceError::TooLarge { what, limit: LIMIT }) } else { Ok(content) }
    }

    fn member_of(&self, content: Content, cache: &Cache) -> Result<Content, SourceError> {
        let Some(member) = &self.member else { return Ok(content) };
        let archive = |why: String| SourceError::Archive {
            what: format!("program {}: {}", self.name, self.location),
            why,
        };
        let wanted = member.trim_start_matches("./").trim_start_matches('/');
        let mut reader = content.open().map_err(|e| archive(e.to_string()))?;
        let mut magic = [0; 2];
        let gzipped = reader.read_exact(&mut magic).is_ok() && magic == [0x1f, 0x8b];
        reader.rewind().map_err(|e| archive(e.to_string()))?;
        let plain: Box<dyn Read> =
            if gzipped { Box::new(flate2::read::MultiGzDecoder::new(reader)) } else { Box::new(reader) };
        // Four times the limit: a bomb ends here, and an archive of several programs does not.
        let mut tar = tar::Archive::new(plain.take(4 * LIMIT));
        for entry in tar.entries().map_err(|e| archive(e.to_string()))? {
            let mut entry = entry.map_err(|e| archive(e.to_string()))?;
            let path = entry.path_bytes();
            let path = String::from_utf8_lossy(&path).trim_start_matches("./").to_owned();
            if path != wanted {
                continue;
            }
            if !entry.header().entry_type().is_file() {
                return Err(archive(format!("`{member}` is not a regular file")));
            }
            return self.keep(cache, &mut entry);
        }
        Err(archive(format!("it holds no `{member}`")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Fetcher;

    fn reader(folder: &std::path::Path) -> Reader {
        let cache = Cache::open(&folder.join("cache")).unwrap();
        Reader { fetcher: Fetcher::offline(), cache, limits: kimg_apk::Limits::default(), watch: None }
    }

    fn program(path: &std::path::Path, sha256: Option<Digest>, member: Option<&str>) -> Program {
        Program {
            name: "crictl".into(),
            location: Location::Path(path.to_owned()),
            sha256,
            member: member.map(str::to_owned),
            install: ImagePath::new("/usr/bin/crictl").unwrap(),
        }
    }

    fn archive() -> Vec<u8> {
        let mut tar =
            tar::Builder::new(flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast()));
        let mut header = tar::Header::new_gnu();
        header.set_size(7);
        header.set_mode(0o755);
        tar.append_data(&mut header, "bin/crictl", &b"program"[..]).unwrap();
        tar.into_inner().unwrap().finish().unwrap()
    }

    #[tokio::test]
    async fn a_member_of_an_archive_is_taken_out_and_the_archive_is_what_the_digest_names() {
        let folder = tempfile::tempdir().unwrap();
        let reader = reader(folder.path());
        let path = folder.path().join("crictl.tar.gz");
        fs::write(&path, archive()).unwrap();
        let wanted = program(&path, Some(Digest::of(archive())), Some("./bin/crictl"));
        let (content, digest) = wanted.load(&reader).await.unwrap();
        assert_eq!(content.read(100).unwrap(), b"program");
        assert_eq!(digest, Digest::of(archive()));

        let error = program(&path, None, Some("bin/other")).load(&reader).await.unwrap_err();
        assert!(error.to_string().contains("it holds no `bin/other`"), "{error}");
    }

    #[tokio::test]
    async fn another_digest_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let reader = reader(folder.path());
        let path = folder.path().join("crictl");
        fs::write(&path, "program").unwrap();
        let error = program(&path, Some(Digest::of("other")), None).load(&reader).await.unwrap_err();
        assert!(matches!(error, SourceError::Mismatch { .. }), "{error}");
    }
}
