//! Blobs on their way in.

use std::collections::BTreeMap;
use std::io::{self, Read, Write as _};

use kimg_core::{Digest, DigestWriter};

use super::store::{Content, Spool};

/// An upload that is open.
#[derive(Debug)]
pub(super) struct Upload {
    pub(super) repository: String,
    writer: DigestWriter<Spool>,
    pub(super) size: u64,
    /// Chunks that came.
    pub(super) chunks: u64,
}

impl Upload {
    /// Takes a body, up to a point if one is said, from whereon it is not read.
    pub(super) fn receive(&mut self, body: &mut impl Read, stop_after: Option<u64>) -> io::Result<()> {
        let mut piece = vec![0; 64 << 10];
        let mut left = stop_after.unwrap_or(u64::MAX);
        while left > 0 {
            let most = usize::try_from(left).unwrap_or(usize::MAX).min(piece.len());
            let read = body.read(&mut piece[..most])?;
            if read == 0 {
                break;
            }
            self.writer.write_all(&piece[..read])?;
            self.size += read as u64;
            left -= read as u64;
        }
        Ok(())
    }

    /// What came, and its digest.
    pub(super) fn finish(self) -> (Content, Digest) {
        let (spool, digest, size) = self.writer.finish();
        (spool.content(size), digest)
    }
}

/// The uploads that are open.
#[derive(Debug, Default)]
pub(super) struct Uploads {
    open: BTreeMap<String, Upload>,
    count: usize,
}

impl Uploads {
    /// Opens one; gives its name.
    pub(super) fn begin(&mut self, repository: &str) -> String {
        self.count += 1;
        let name = format!("upload-{}", self.count);
        let writer = DigestWriter::new(Spool::Memory(Vec::new()));
        self.open
            .insert(name.clone(), Upload { repository: repository.to_owned(), writer, size: 0, chunks: 0 });
        name
    }

    /// Takes one out, to work on.
    pub(super) fn take(&mut self, name: &str) -> Option<Upload> {
        self.open.remove(name)
    }

    pub(super) fn put_back(&mut self, name: &str, upload: Upload) {
        self.open.insert(name.to_owned(), upload);
    }

    /// How much came.
    pub(super) fn size(&self, name: &str) -> Option<u64> {
        self.open.get(name).map(|upload| upload.size)
    }
}
