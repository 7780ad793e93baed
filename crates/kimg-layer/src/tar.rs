//! Writes archives entry by entry: headers, contents of exactly the announced size, the end.

use std::io::{self, Write};

use kimg_core::ImagePath;

use crate::LayerError;
use crate::header::{BLOCK, Header, padding};

/// Writes a tar archive whose bytes depend on nothing but what is given: owner 0, time 0, no names of users.
///
/// For archives that hold images. Layers have modes, owners and more, and are written by [`crate::write()`].
#[derive(Debug)]
pub struct TarWriter<W: Write> {
    out: W,
}

impl<W: Write> TarWriter<W> {
    /// An archive that goes to this writer.
    pub fn new(out: W) -> Self {
        Self { out }
    }

    /// A folder with mode 0755.
    pub fn directory(&mut self, path: &ImagePath) -> Result<(), LayerError> {
        let name = format!("{}/", path.relative());
        self.header(&Header { name: &name, kind: b'5', mode: 0o755, ..Header::default() })
    }

    /// A file with mode 0644 and `size` bytes, which `fill` writes.
    ///
    /// # Errors
    /// What `fill` gives, [`LayerError::ContentSize`] when it wrote more or less, [`LayerError::Output`].
    pub fn file<E: From<LayerError>>(
        &mut self,
        path: &ImagePath,
        size: u64,
        fill: impl FnOnce(&mut dyn Write) -> Result<(), E>,
    ) -> Result<(), E> {
        self.header(&Header { name: path.relative(), kind: b'0', mode: 0o644, size, ..Header::default() })?;
        self.body(path, size, fill)
    }

    /// Ends the archive with its two zero blocks and gives the writer back.
    pub fn finish(mut self) -> Result<W, LayerError> {
        self.out.write_all(&[0; 2 * BLOCK]).map_err(LayerError::Output)?;
        Ok(self.out)
    }

    fn header(&mut self, header: &Header<'_>) -> Result<(), LayerError> {
        self.encoded(&header.encode())
    }

    /// A header as it is.
    pub(crate) fn encoded(&mut self, header: &[u8]) -> Result<(), LayerError> {
        self.out.write_all(header).map_err(LayerError::Output)
    }

    pub(crate) fn body<E: From<LayerError>>(
        &mut self,
        path: &ImagePath,
        size: u64,
        fill: impl FnOnce(&mut dyn Write) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut body = Body { out: &mut self.out, left: size, too_much: 0, failed: None };
        let filled = fill(&mut body);
        let Body { left, too_much, failed, .. } = body;
        // Whoever fills can't tell a full disk from bytes that can't be read: here it is known.
        if let Some(error) = failed {
            return Err(LayerError::Output(error).into());
        }
        filled?;
        if left > 0 || too_much > 0 {
            let found = size - left + too_much;
            return Err(LayerError::ContentSize { path: path.clone(), expected: size, found }.into());
        }
        self.out.write_all(&[0; BLOCK][..padding(size)]).map_err(LayerError::Output)?;
        Ok(())
    }
}

/// Passes on as many bytes as were announced, counts the others, and keeps the error of the output.
struct Body<'a, W> {
    out: &'a mut W,
    left: u64,
    too_much: u64,
    failed: Option<io::Error>,
}

impl<W: Write> Write for Body<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = usize::try_from(self.left).unwrap_or(usize::MAX).min(bytes.len());
        if room == 0 {
            self.too_much += bytes.len() as u64;
            return Ok(bytes.len());
        }
        match self.out.write(&bytes[..room]) {
            Ok(0) => {
                self.failed = Some(io::ErrorKind::WriteZero.into());
                Ok(0)
            }
            Ok(written) => {
                self.left -= written as u64;
                Ok(written)
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Err(error),
            Err(error) => {
                let kind = error.kind();
                self.failed = Some(error);
                Err(kind.into())
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(size: u64, bytes: &str) -> Result<Vec<u8>, LayerError> {
        let mut archive = TarWriter::new(Vec::new());
        archive.file(&ImagePath::new("a").unwrap(), size, |out| {
            out.write_all(bytes.as_bytes()).map_err(LayerError::Output)
        })?;
        archive.finish()
    }

    #[test]
    fn contents_of_another_size_than_announced_are_refused() {
        assert_eq!(file(3, "abc").unwrap().len(), 4 * BLOCK);
        assert!(matches!(file(3, "ab"), Err(LayerError::ContentSize { expected: 3, found: 2, .. })));
        assert!(matches!(file(3, "abcde"), Err(LayerError::ContentSize { expected: 3, found: 5, .. })));
        assert!(matches!(file(0, "a"), Err(LayerError::ContentSize { expected: 0, found: 1, .. })));
    }

    #[test]
    fn a_full_disk_is_told_from_a_content_that_can_not_be_read() {
        let mut room = [0; BLOCK + 2];
        let content = kimg_core::Content::from_bytes("abc");
        let path = ImagePath::new("a").unwrap();
        let error = TarWriter::new(&mut room[..])
            .file(&path, 3, |out| {
                content.copy_to(out).map_err(|source| LayerError::Content { path: path.clone(), source })
            })
            .unwrap_err();
        assert!(matches!(error, LayerError::Output(_)), "{error:?}");
    }
}
