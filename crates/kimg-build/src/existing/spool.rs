//! The bytes of an image's files, one behind the other in a file that has no name and goes away with its last reader.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufWriter, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::Arc;

use kimg_core::{Content, ContentSink, ContentSource, Digest, DigestWriter, ImagePath, ReadSeek};

/// Takes the files of layers. The same bytes are kept once.
#[derive(Debug)]
pub struct Spool {
    file: Arc<File>,
    end: u64,
    known: HashMap<Digest, u64>,
}

impl Spool {
    /// A spool on the file system of this folder.
    ///
    /// # Errors
    /// A folder in which no file can be made.
    pub fn new(scratch: &Path) -> io::Result<Self> {
        Ok(Self { file: Arc::new(tempfile::tempfile_in(scratch)?), end: 0, known: HashMap::new() })
    }
}

impl ContentSink for Spool {
    fn store(&mut self, _path: &ImagePath, reader: &mut dyn Read) -> io::Result<Content> {
        // Reading is by offset, so the file's own place is the writer's alone.
        (&*self.file).seek(SeekFrom::Start(self.end))?;
        let mut writer = DigestWriter::new(BufWriter::with_capacity(128 * 1024, &*self.file));
        io::copy(reader, &mut writer)?;
        let (mut buffered, digest, size) = writer.finish();
        buffered.flush()?;
        let start = *self.known.entry(digest).or_insert(self.end);
        if start == self.end {
            self.end += size;
        }
        Ok(Content::new(digest, size, Arc::new(Piece { file: self.file.clone(), start, size })))
    }
}

/// One file's bytes.
#[derive(Debug, Clone)]
struct Piece {
    file: Arc<File>,
    start: u64,
    size: u64,
}

impl ContentSource for Piece {
    fn open(&self) -> io::Result<Box<dyn ReadSeek>> {
        Ok(Box::new(Opened { piece: self.clone(), at: 0 }))
    }
}

struct Opened {
    piece: Piece,
    at: u64,
}

impl Read for Opened {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.piece.size.saturating_sub(self.at);
        let room = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
        let read = self.piece.file.read_at(&mut buffer[..room], self.piece.start + self.at)?;
        self.at += read as u64;
        Ok(read)
    }
}

impl Seek for Opened {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let place = match to {
            SeekFrom::Start(place) => Some(place),
            SeekFrom::End(by) => self.piece.size.checked_add_signed(by),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
        };
        self.at = place.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_reads_as_it_was_stored_and_the_same_bytes_lie_there_once() {
        let folder = tempfile::tempdir().unwrap();
        let mut spool = Spool::new(folder.path()).unwrap();
        let path = ImagePath::new("/x").unwrap();
        let mut store = |text: &str| spool.store(&path, &mut text.as_bytes()).unwrap();
        let (first, second, again, empty) = (store("first"), store("second one"), store("first"), store(""));
        let read = |content: &Content| String::from_utf8(content.read(100).unwrap()).unwrap();
        assert_eq!(
            [read(&first), read(&second), read(&again), read(&empty)],
            ["first", "second one", "first", ""]
        );
        assert_eq!(spool.end, 15);
        let mut opened = second.open().unwrap();
        let mut tail = String::new();
        opened.seek(SeekFrom::End(-3)).unwrap();
        opened.read_to_string(&mut tail).unwrap();
        assert_eq!(tail, "one");
        assert!(opened.seek(SeekFrom::Current(-11)).is_err());
    }
}
