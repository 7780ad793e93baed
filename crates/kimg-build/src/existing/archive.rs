//! Archives of images, read where they lie: what is in them, and at which byte.

use std::collections::BTreeMap;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::Path;

use fs_err::File;
use tar::EntryType;

use super::{ReadError, Stored};

/// More entries than any archive of images has.
const MAX_ENTRIES: usize = 100_000;

/// The files of an archive by their names, `./` taken away.
pub(super) type Contents = BTreeMap<String, Stored>;

/// Where each file of a tar lies in it. Only headers are read.
pub(super) fn contents(path: &Path) -> Result<Contents, ReadError> {
    let name = path.display().to_string();
    let wrong = |problem: String, hint: Option<&str>| ReadError::NotAnArchive {
        archive: name.clone(),
        expected: "an archive of images",
        problem,
        hint: hint.map(str::to_owned),
    };
    let mut file = File::open(path)?;
    let mut first = Vec::new();
    file.by_ref().take(4).read_to_end(&mut first)?;
    if first.starts_with(&[0x1f, 0x8b]) || first == [0x28, 0xb5, 0x2f, 0xfd] {
        return Err(wrong("it is compressed as a whole".into(), Some("unpack it first: gzip -d, zstd -d")));
    }
    file.seek(SeekFrom::Start(0))?;

    let malformed = |error: std::io::Error| wrong(error.to_string(), None);
    let mut archive = tar::Archive::new(file);
    let (mut found, mut links) = (Contents::new(), Vec::new());
    // Raw: names of blobs are short, so what stands in front of an entry says nothing about it that is needed here.
    for (number, entry) in archive.entries_with_seek().map_err(malformed)?.raw(true).enumerate() {
        if number >= MAX_ENTRIES {
            return Err(ReadError::Limit { place: name, what: "entries", limit: MAX_ENTRIES as u64 });
        }
        let entry = entry.map_err(malformed)?;
        let as_text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_start_matches("./").to_owned();
        let at = as_text(&entry.header().path_bytes());
        match entry.header().entry_type() {
            EntryType::Regular | EntryType::Continuous => {
                let offset = entry.raw_file_position();
                found.insert(at, Stored { file: path.to_owned(), offset, size: entry.size() });
            }
            EntryType::Symlink | EntryType::Link => {
                let target = entry.header().link_name_bytes().map(|target| as_text(&target));
                links.extend(target.map(|target| (at, target)));
            }
            _ => {}
        }
    }
    // `docker save` of old wrote a layer that it had written before as a link to that, one folder over.
    for (at, target) in links {
        let target = target.trim_start_matches("../").to_owned();
        if let Some(stored) = found.get(&target).cloned() {
            found.entry(at).or_insert(stored);
        }
    }
    Ok(found)
}

impl Stored {
    /// The bytes as a stream.
    ///
    /// # Errors
    /// The disk.
    pub fn open(&self) -> std::io::Result<std::io::Take<File>> {
        let mut file = File::open(&self.file)?;
        file.seek(SeekFrom::Start(self.offset))?;
        Ok(file.take(self.size))
    }

    /// The bytes in memory, if they are at most so many.
    pub(super) fn read(&self, limit: u64) -> Result<Vec<u8>, ReadError> {
        if self.size > limit {
            let place = self.file.display().to_string();
            return Err(ReadError::Limit { place, what: "bytes in one description of an image", limit });
        }
        let mut bytes = Vec::new();
        self.open()?.read_to_end(&mut bytes)?;
        Ok(bytes)
    }
}
