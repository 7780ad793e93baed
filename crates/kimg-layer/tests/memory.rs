//! Memory while a layer is written. Alone in its process: what other tests hold would be counted too.

#![expect(clippy::unwrap_used, reason = "a test that panics has failed, as it should")]

use std::io::{self, Read};
use std::sync::Arc;

use kimg_core::{Content, ContentSource, Entry, ImagePath, Origin, ReadSeek};
use kimg_layer::{Codec, Entries, Options, write};

/// Gives any number of bytes without holding them, a few at a time.
#[derive(Debug, Clone, Copy)]
struct Endless {
    size: u64,
    at: u64,
}

impl Read for Endless {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = buffer.len().min(40_001).min(usize::try_from(self.size - self.at).unwrap());
        buffer[..count].fill(u8::try_from(self.size % 251).unwrap());
        self.at += count as u64;
        Ok(count)
    }
}

impl io::Seek for Endless {
    fn seek(&mut self, _: io::SeekFrom) -> io::Result<u64> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

impl ContentSource for Endless {
    fn open(&self) -> io::Result<Box<dyn ReadSeek>> {
        Ok(Box::new(*self))
    }
}

#[test]
fn a_large_file_streams_through() {
    let large = Endless { size: 100 << 20, at: 0 };
    let mut hash = kimg_core::DigestWriter::new(io::sink());
    io::copy(&mut { large }, &mut hash).unwrap();
    let content = Content::new(hash.finish().1, large.size, Arc::new(large));
    let entries = Entries::from([(
        ImagePath::new("/x").unwrap(),
        Entry::file(content, 0o644, Origin::generated("test")),
    )]);
    let options = Options { codec: Codec::Gzip { level: 1 }, ..Options::default() };
    let before = peak_memory();
    let (_, info) = write(&entries, &options, io::sink()).unwrap();
    assert_eq!(info.tar_size, large.size + 3 * 512);
    let grown = peak_memory() - before;
    assert!(grown < 32 << 10, "{grown} kiB");
}

/// The most memory that this process ever had, in kiB (`proc_pid_status(5)`, `VmHWM`).
fn peak_memory() -> u64 {
    let status = fs_err::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|l| l.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}
