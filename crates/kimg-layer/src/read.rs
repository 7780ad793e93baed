//! A compressed archive → entries. Everything is bounded, and nothing touches the disk.

use std::collections::BTreeMap;
use std::io::{self, Read};

use kimg_core::{ContentSink, Digest, DigestWriter, Entry, ImagePath, Kind, Origin};

use crate::header::{BLOCK, padding};
use crate::pax::{self, Records, XATTR};
use crate::{Entries, LayerError, decode};
use fields::Fields;

mod fields;

/// How much a layer may hold before reading it is given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Entries.
    pub entries: u64,
    /// Bytes of the uncompressed archive.
    pub tar_size: u64,
    /// Bytes of one file.
    pub file_size: u64,
    /// Bytes of one PAX header or GNU long name.
    pub header_size: u64,
}

impl Default for Limits {
    /// A million entries, 16 GiB in all, 4 GiB a file, 1 MiB a header.
    fn default() -> Self {
        Self { entries: 1_000_000, tar_size: 16 << 30, file_size: 4 << 30, header_size: 1 << 20 }
    }
}

/// Reads a layer: its entries, contents given to `sink`, and the digest of its archive (the diff ID).
///
/// Takes tar with PAX or GNU long names, plain or compressed, as [`decode`] does. A name said twice counts as
/// said last. Times lose their fractions; times before 1970 become 0. Whiteouts (`.wh.` names) are entries like others.
///
/// # Errors
/// Bytes that are no archive, an archive without its end, names that climb out, hard links to what isn't there,
/// devices and pipes, and anything beyond `limits`.
pub fn read<R: Read>(
    blob: R,
    media_type: &str,
    limits: &Limits,
    sink: &mut dyn ContentSink,
) -> Result<(Entries, Digest), LayerError> {
    let stream = Stream {
        inner: decode(blob, media_type)?,
        hash: DigestWriter::new(io::sink()),
        at: 0,
        limit: limits.tar_size,
        problem: None,
    };
    let mut reader = Reader { stream, limits, entries: Entries::new(), count: 0 };
    while reader.entry(sink)? {}
    // What follows the end belongs to the diff ID; and only the end of the compressed data has its checksum.
    let mut rest = [0; 8 * 1024];
    while reader.stream.some(&mut rest)? > 0 {}
    Ok((reader.entries, reader.stream.hash.finish().1))
}

/// The uncompressed archive: hashed, counted, bounded.
struct Stream<'a> {
    inner: Box<dyn Read + 'a>,
    hash: DigestWriter<io::Sink>,
    at: u64,
    limit: u64,
    /// Why the last read failed; a sink between may have wrapped what it was told.
    problem: Option<LayerError>,
}

impl Stream<'_> {
    fn some(&mut self, buffer: &mut [u8]) -> Result<usize, LayerError> {
        let read = loop {
            match self.inner.read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => break read.map_err(LayerError::Read)?,
            }
        };
        self.at += read as u64;
        if self.at > self.limit {
            return Err(LayerError::Limit { what: "bytes", limit: self.limit });
        }
        io::Write::write_all(&mut self.hash, &buffer[..read]).map_err(LayerError::Read)?;
        Ok(read)
    }

    fn exactly(&mut self, buffer: &mut [u8]) -> Result<(), LayerError> {
        let mut filled = 0;
        while filled < buffer.len() {
            match self.some(&mut buffer[filled..])? {
                0 => return Err(self.malformed("it ends in the middle of an entry")),
                read => filled += read,
            }
        }
        Ok(())
    }

    fn skip(&mut self, mut count: u64) -> Result<(), LayerError> {
        let mut buffer = [0; 8 * 1024];
        while count > 0 {
            let piece = usize::try_from(count).unwrap_or(usize::MAX).min(buffer.len());
            self.exactly(&mut buffer[..piece])?;
            count -= piece as u64;
        }
        Ok(())
    }

    fn malformed(&self, problem: impl Into<String>) -> LayerError {
        LayerError::Malformed { offset: self.at, problem: problem.into() }
    }
}

/// One file's bytes, for the sink.
struct File<'a, 'b> {
    stream: &'a mut Stream<'b>,
    left: u64,
}

impl Read for File<'_, '_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let room = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        if room == 0 {
            return Ok(0);
        }
        let problem = match self.stream.some(&mut buffer[..room]) {
            Ok(0) => self.stream.malformed("it ends in the middle of a file"),
            Ok(read) => {
                self.left -= read as u64;
                return Ok(read);
            }
            Err(problem) => problem,
        };
        let told = io::Error::new(io::ErrorKind::InvalidData, problem.to_string());
        self.stream.problem = Some(problem);
        Err(told)
    }
}

struct Reader<'a> {
    stream: Stream<'a>,
    limits: &'a Limits,
    entries: Entries,
    count: u64,
}

/// What headers before an entry's own say about it.
#[derive(Default)]
struct Before {
    records: Records,
    long_name: Option<Vec<u8>>,
    long_link: Option<Vec<u8>>,
}

impl Reader<'_> {
    /// Reads one entry with everything that belongs to it; false at the end of the archive.
    fn entry(&mut self, sink: &mut dyn ContentSink) -> Result<bool, LayerError> {
        let mut before = Before::default();
        loop {
            let mut block = [0; BLOCK];
            self.stream.exactly(&mut block)?;
            if block == [0; BLOCK] {
                return Ok(false);
            }
            let fields = Fields::parse(&block).map_err(|problem| self.stream.malformed(problem))?;
            self.count += 1;
            if self.count > self.limits.entries {
                return Err(LayerError::Limit { what: "entries", limit: self.limits.entries });
            }
            match fields.kind {
                b'x' => before.records = self.records(fields.size)?,
                // Global records: only a comment (git writes one) can be passed over safely.
                b'g' => {
                    if self.records(fields.size)?.keys().any(|key| key != "comment") {
                        return Err(self.stream.malformed("a global PAX header that changes other entries"));
                    }
                }
                b'L' => before.long_name = Some(self.text(fields.size)?),
                b'K' => before.long_link = Some(self.text(fields.size)?),
                _ => {
                    self.own(fields, before, sink)?;
                    return Ok(true);
                }
            }
        }
    }

    fn records(&mut self, size: u64) -> Result<Records, LayerError> {
        let bytes = self.header_bytes(size)?;
        pax::decode(&bytes).map_err(|problem| self.stream.malformed(problem))
    }

    fn text(&mut self, size: u64) -> Result<Vec<u8>, LayerError> {
        let mut bytes = self.header_bytes(size)?;
        bytes.truncate(bytes.iter().position(|b| *b == 0).unwrap_or(bytes.len()));
        Ok(bytes)
    }

    fn header_bytes(&mut self, size: u64) -> Result<Vec<u8>, LayerError> {
        let limit = self.limits.header_size;
        let length = usize::try_from(size).ok().filter(|_| size <= limit);
        let length = length.ok_or(LayerError::Limit { what: "bytes in one header", limit })?;
        let mut bytes = vec![0; length];
        self.stream.exactly(&mut bytes)?;
        self.stream.skip(padding(size) as u64)?;
        Ok(bytes)
    }

    fn own(&mut self, fields: Fields, before: Before, sink: &mut dyn ContentSink) -> Result<(), LayerError> {
        let Before { mut records, long_name, long_link } = before;
        let name = records.remove("path").or(long_name).unwrap_or(fields.name);
        let path = ImagePath::new(&self.utf8(name)?)?;
        let link = self.utf8(records.remove("linkpath").or(long_link).unwrap_or(fields.link))?;
        let uid = self.number(&mut records, "uid", fields.uid)?;
        let gid = self.number(&mut records, "gid", fields.gid)?;
        let size = self.number(&mut records, "size", fields.size)?;
        let mtime = self.number(&mut records, "mtime", fields.mtime)?;
        if records.keys().any(|key| key.starts_with("GNU.sparse.")) {
            return Err(LayerError::Unsupported { path, what: "sparse file".into() });
        }
        let too_large =
            |what| self.stream.malformed(format!("`{path}` has the {what} number {}", uid.max(gid)));
        let entry = Entry {
            kind: Kind::Directory,
            mode: fields.mode & 0o7777,
            uid: u32::try_from(uid).map_err(|_| too_large("user"))?,
            gid: u32::try_from(gid).map_err(|_| too_large("group"))?,
            mtime,
            xattrs: records
                .into_iter()
                .filter_map(|(key, value)| Some((key.strip_prefix(XATTR)?.to_owned(), value)))
                .collect::<BTreeMap<_, _>>(),
            origin: Origin::generated("read from a layer"),
        };
        let directory = fields.kind == b'5' || path.is_root();
        let regular = matches!(fields.kind, b'0' | b'\0' | b'7') && !directory;
        if !regular && size != 0 {
            // Readers disagree on whether these bytes are there.
            return Err(self.stream.malformed(format!("`{path}` is no file and has {size} bytes")));
        }
        let kind = match fields.kind {
            _ if regular => self.file(&path, size, sink)?,
            _ if directory => Kind::Directory,
            b'1' => return self.link(path, &link),
            b'2' => Kind::Symlink { target: link },
            other => {
                let what = match other {
                    b'3' | b'4' => "device".to_owned(),
                    b'6' => "named pipe".to_owned(),
                    _ => format!("entry of the kind {:?}", char::from(other)),
                };
                return Err(LayerError::Unsupported { path, what });
            }
        };
        self.entries.insert(path, Entry { kind, ..entry });
        Ok(())
    }

    fn file(&mut self, path: &ImagePath, size: u64, sink: &mut dyn ContentSink) -> Result<Kind, LayerError> {
        if size > self.limits.file_size {
            return Err(LayerError::Limit { what: "bytes in one file", limit: self.limits.file_size });
        }
        let mut file = File { stream: &mut self.stream, left: size };
        let stored = sink.store(path, &mut file);
        let left = file.left;
        if let Some(problem) = self.stream.problem.take() {
            return Err(problem);
        }
        let content = stored.map_err(LayerError::Disk)?;
        if left > 0 || content.size() != size {
            let problem = format!("`{path}` has {size} bytes, of which {} were taken", size - left);
            return Err(self.stream.malformed(problem));
        }
        self.stream.skip(padding(size) as u64)?;
        Ok(Kind::File { content, inode: None })
    }

    /// A further name of a file: what it is comes from the file, whatever the link's own header says.
    fn link(&mut self, path: ImagePath, target: &str) -> Result<(), LayerError> {
        let target = ImagePath::new(target)?;
        let Some(Entry { kind: Kind::File { inode, .. }, .. }) = self.entries.get_mut(&target) else {
            return Err(self
                .stream
                .malformed(format!("`{path}` is a hard link to `{target}`, which is no file before it")));
        };
        inode.get_or_insert_with(|| target.clone());
        if path != target {
            let entry = self.entries[&target].clone();
            self.entries.insert(path, entry);
        }
        Ok(())
    }

    fn utf8(&self, bytes: Vec<u8>) -> Result<String, LayerError> {
        String::from_utf8(bytes).map_err(|error| {
            self.stream
                .malformed(format!("the name {:?} is not UTF-8", String::from_utf8_lossy(error.as_bytes())))
        })
    }

    /// A number's record, which counts more than the header's field. Fractions are cut off; what is below zero is 0.
    fn number(&self, records: &mut Records, key: &str, field: u64) -> Result<u64, LayerError> {
        let Some(value) = records.remove(key) else { return Ok(field) };
        let text = String::from_utf8_lossy(&value);
        let whole = text.split('.').next().unwrap_or_default();
        let number = if key == "mtime" && whole.starts_with('-') { Some(0) } else { whole.parse().ok() };
        number.ok_or_else(|| self.stream.malformed(format!("the PAX record {key}={text:?} is no number")))
    }
}

#[cfg(test)]
mod tests;
