//! The bytes of an archive as they come, and those of one file in it.

use std::io::{self, Read};

use kimg_core::{Digest, DigestWriter};

use crate::LayerError;

/// The uncompressed archive: hashed, counted, bounded.
pub(super) struct Stream<'a> {
    inner: Box<dyn Read + 'a>,
    hash: DigestWriter<io::Sink>,
    at: u64,
    /// Zeros of sparse files, which are in none of the bytes.
    holes: u64,
    limit: u64,
    /// Why the last read failed; a sink between may have wrapped what it was told.
    problem: Option<LayerError>,
}

impl<'a> Stream<'a> {
    pub(super) fn new(inner: Box<dyn Read + 'a>, limit: u64) -> Self {
        Self { inner, hash: DigestWriter::new(io::sink()), at: 0, holes: 0, limit, problem: None }
    }

    pub(super) fn some(&mut self, buffer: &mut [u8]) -> Result<usize, LayerError> {
        let read = loop {
            match self.inner.read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => break read.map_err(LayerError::Read)?,
            }
        };
        self.at += read as u64;
        self.bounded()?;
        io::Write::write_all(&mut self.hash, &buffer[..read]).map_err(LayerError::Read)?;
        Ok(read)
    }

    /// Counts zeros that a file has beside its bytes.
    pub(super) fn count_holes(&mut self, holes: u64) -> Result<(), LayerError> {
        self.holes = self.holes.saturating_add(holes);
        self.bounded()
    }

    fn bounded(&self) -> Result<(), LayerError> {
        if self.at.saturating_add(self.holes) > self.limit {
            return Err(LayerError::Limit { what: "bytes", limit: self.limit });
        }
        Ok(())
    }

    pub(super) fn exactly(&mut self, buffer: &mut [u8]) -> Result<(), LayerError> {
        let mut filled = 0;
        while filled < buffer.len() {
            match self.some(&mut buffer[filled..])? {
                0 => return Err(self.malformed("it ends in the middle of an entry")),
                read => filled += read,
            }
        }
        Ok(())
    }

    pub(super) fn skip(&mut self, mut count: u64) -> Result<(), LayerError> {
        let mut buffer = [0; 8 * 1024];
        while count > 0 {
            let piece = usize::try_from(count).unwrap_or(usize::MAX).min(buffer.len());
            self.exactly(&mut buffer[..piece])?;
            count -= piece as u64;
        }
        Ok(())
    }

    pub(super) fn malformed(&self, problem: impl Into<String>) -> LayerError {
        LayerError::Malformed { offset: self.at, problem: problem.into() }
    }

    /// What a reader between was told and could not say.
    pub(super) fn take_problem(&mut self) -> Option<LayerError> {
        self.problem.take()
    }

    /// The digest of all of it: what follows the end of the archive belongs to it, and only the end of compressed data has
    /// its checksum.
    pub(super) fn finish(mut self) -> Result<Digest, LayerError> {
        let mut rest = [0; 8 * 1024];
        while self.some(&mut rest)? > 0 {}
        Ok(self.hash.finish().1)
    }
}

/// One file's bytes, for the sink.
pub(super) struct File<'a, 'b> {
    stream: &'a mut Stream<'b>,
    left: u64,
}

impl<'a, 'b> File<'a, 'b> {
    pub(super) fn new(stream: &'a mut Stream<'b>, size: u64) -> Self {
        Self { stream, left: size }
    }

    /// How many of its bytes were not read yet.
    pub(super) fn left(&self) -> u64 {
        self.left
    }
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
