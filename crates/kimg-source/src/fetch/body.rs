//! Where the bytes of an answer go, and what must be true for more of them to be put behind those that are there.

use std::io::{self, Seek, SeekFrom, Write};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use fs_err as fs;
use reqwest::header::{DATE, ETAG, HeaderMap, LAST_MODIFIED};
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};
use tempfile::TempPath;

use super::retry::date;

/// What a server says of a file, to tell later whether it is still the same (RFC 9110, 8.8).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Validators {
    pub(super) etag: Option<String>,
    pub(super) last_modified: Option<String>,
    /// Whether the answer was sent at least a second after `last_modified`: only then did nothing change within the
    /// same second (RFC 9110, 8.8.2.2).
    settled: bool,
}

impl Validators {
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let text = |name| headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let settled = match (date(headers, &LAST_MODIFIED), date(headers, &DATE)) {
            (Some(changed), Some(sent)) => sent.duration_since(changed).as_secs() >= 1,
            _ => false,
        };
        Self { etag: text(ETAG), last_modified: text(LAST_MODIFIED), settled }
    }

    /// For `If-Range`: what holds byte for byte. A weak tag does not (RFC 9110, 13.1.5).
    pub(super) fn strong(&self) -> Option<&str> {
        match &self.etag {
            Some(etag) if !etag.starts_with("W/") => Some(etag),
            _ if self.settled => self.last_modified.as_deref(),
            _ => None,
        }
    }
}

/// The bytes of one file that have come so far.
#[derive(Debug)]
pub(super) struct Body {
    store: Store,
    len: u64,
    pub(super) validators: Validators,
    /// Whether its beginning is older than this transfer.
    pub(super) resumed: bool,
}

#[derive(Debug)]
enum Store {
    Memory(Vec<u8>),
    File { file: fs::File, place: Place },
}

/// Where a file lies until it is whole.
#[derive(Debug)]
enum Place {
    /// Where another run finds it, with a note of its validators beside it. The file is locked.
    Lasting { path: PathBuf, note: PathBuf },
    /// Where it goes with this run.
    Passing(TempPath),
}

impl Body {
    pub(super) fn memory() -> Self {
        Self { store: Store::Memory(Vec::new()), len: 0, validators: Validators::default(), resumed: false }
    }

    /// The file at `path` with what an earlier run left in it. While another process writes it, a file in `scratch`.
    pub(super) fn file(path: &Path, scratch: &Path) -> io::Result<Self> {
        let file = fs::OpenOptions::new().create(true).truncate(false).read(true).write(true).open(path)?;
        let locked = flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok();
        // It may have become whole, and been renamed, between opening and locking.
        let still_there = || Ok::<_, io::Error>(fs::metadata(path)?.ino() == file.metadata()?.ino());
        if !locked || !still_there().unwrap_or(false) {
            let (file, path) = tempfile::NamedTempFile::new_in(scratch)?.into_parts();
            let file = fs::File::from_parts(file, &path);
            let store = Store::File { file, place: Place::Passing(path) };
            return Ok(Self { store, len: 0, validators: Validators::default(), resumed: false });
        }
        let note = path.with_extension("json");
        let validators: Option<Validators> =
            fs::read(&note).ok().and_then(|text| serde_json::from_slice(&text).ok());
        let len = file.metadata()?.len();
        let place = Place::Lasting { path: path.to_owned(), note };
        let mut body = Self {
            store: Store::File { file, place },
            len,
            validators: Validators::default(),
            resumed: true,
        };
        match validators.filter(|validators| validators.strong().is_some()) {
            Some(validators) if len > 0 => body.validators = validators,
            _ => body.restart(Validators::default())?,
        }
        if let Store::File { file, .. } = &mut body.store {
            file.seek(SeekFrom::End(0))?;
        }
        Ok(body)
    }

    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// Throws away what is there, for a file with these validators.
    pub(super) fn restart(&mut self, validators: Validators) -> io::Result<()> {
        match &mut self.store {
            Store::Memory(bytes) => bytes.clear(),
            Store::File { file, place } => {
                // In this order: there is never a note beside bytes that it does not speak of.
                if let Place::Lasting { note, .. } = &*place {
                    remove(note)?;
                }
                file.set_len(0)?;
                file.rewind()?;
                if let Place::Lasting { note, .. } = &*place
                    && validators.strong().is_some()
                {
                    fs::write(note, serde_json::to_vec(&validators)?)?;
                }
            }
        }
        (self.len, self.resumed, self.validators) = (0, false, validators);
        Ok(())
    }

    pub(super) fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        match &mut self.store {
            Store::Memory(memory) => memory.extend_from_slice(bytes),
            // Into the page cache: not worth a thread of its own.
            Store::File { file, .. } => file.write_all(bytes)?,
        }
        self.len += bytes.len() as u64;
        Ok(())
    }

    pub(super) fn into_bytes(self) -> Vec<u8> {
        match self.store {
            Store::Memory(bytes) => bytes,
            Store::File { .. } => Vec::new(),
        }
    }

    pub(super) fn path(&self) -> &Path {
        match &self.store {
            Store::Memory(_) => Path::new(""),
            Store::File { place: Place::Lasting { path, .. }, .. } => path,
            Store::File { place: Place::Passing(path), .. } => path,
        }
    }

    /// Gives the whole file its lasting name.
    pub(super) fn keep(self, name: &Path) -> io::Result<()> {
        match self.store {
            Store::Memory(_) => Ok(()),
            Store::File { place: Place::Lasting { path, note }, file } => {
                remove(&note)?;
                fs::rename(path, name)?;
                drop(file);
                Ok(())
            }
            Store::File { place: Place::Passing(path), .. } => path.persist(name).map_err(|e| e.error),
        }
    }

    /// Removes the file.
    pub(super) fn discard(self) -> io::Result<()> {
        match self.store {
            Store::File { place: Place::Lasting { path, note }, file } => {
                remove(&note)?;
                remove(&path)?;
                drop(file);
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
