//! The bytes of regular files, without holding them.

use std::fmt;
use std::io::{self, Cursor, Read, Seek};
use std::sync::Arc;

use crate::{Digest, ImagePath};

/// Something that can be read and sought in.
pub trait ReadSeek: Read + Seek + Send {}
impl<T: Read + Seek + Send> ReadSeek for T {}

/// Where the bytes of a [`Content`] lie: memory, a file of the content store, …
pub trait ContentSource: Send + Sync + fmt::Debug {
    /// Opens the bytes at their start.
    fn open(&self) -> io::Result<Box<dyn ReadSeek>>;
}

/// The bytes of one regular file: its digest and size, and where to read them when they are wanted.
///
/// Cheap to clone. Two contents are equal when their digests are.
#[derive(Clone, Debug)]
pub struct Content {
    digest: Digest,
    size: u64,
    source: Arc<dyn ContentSource>,
}

/// Why the bytes of a content could not be had.
#[derive(Debug, thiserror::Error)]
pub enum ContentError {
    /// Reading failed.
    #[error("reading the content {digest}")]
    Io {
        /// The content.
        digest: Digest,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The stored bytes are no longer the ones that were put there.
    #[error("the stored content {expected} has changed: its bytes now hash to {found}")]
    Changed {
        /// The digest it is stored under.
        expected: Digest,
        /// The digest of what was read.
        found: Digest,
    },
    /// More bytes than the caller wants to hold.
    #[error("the content {digest} has {size} bytes, more than the limit of {limit}")]
    TooLarge {
        /// The content.
        digest: Digest,
        /// Its size in bytes.
        size: u64,
        /// The caller's limit in bytes.
        limit: u64,
    },
}

impl crate::Classified for ContentError {
    fn class(&self) -> crate::ErrorClass {
        match self {
            Self::Io { .. } => crate::ErrorClass::LocalIo,
            Self::Changed { .. } => crate::ErrorClass::Verification,
            Self::TooLarge { .. } => crate::ErrorClass::Limit,
        }
    }
}

impl Content {
    /// A content held in memory.
    pub fn from_bytes(bytes: impl Into<Vec<u8>>) -> Self {
        let bytes: Arc<[u8]> = bytes.into().into();
        Self { digest: Digest::of(&bytes), size: bytes.len() as u64, source: Arc::new(Memory(bytes)) }
    }

    /// A content that lies elsewhere. Whoever makes it has hashed the bytes.
    pub fn new(digest: Digest, size: u64, source: Arc<dyn ContentSource>) -> Self {
        Self { digest, size, source }
    }

    /// The SHA-256 of the bytes.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// The number of bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Opens the bytes for reading and seeking. Nothing is verified: use [`Content::copy_to`] where the bytes go on.
    pub fn open(&self) -> Result<Box<dyn ReadSeek>, ContentError> {
        self.source.open().map_err(|source| ContentError::Io { digest: self.digest, source })
    }

    /// Copies the bytes to a writer and compares size and digest on the way.
    ///
    /// On an error, some bytes may have been written: the caller throws its output away.
    pub fn copy_to(&self, mut writer: impl io::Write) -> Result<(), ContentError> {
        let io_error = |source| ContentError::Io { digest: self.digest, source };
        let mut reader = self.open()?.take(self.size.saturating_add(1));
        let mut hashing = crate::DigestWriter::new(&mut writer);
        let mut buffer = vec![0; 128 * 1024];
        loop {
            let read = match reader.read(&mut buffer) {
                Ok(0) => break,
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(io_error(error)),
            };
            io::Write::write_all(&mut hashing, &buffer[..read]).map_err(io_error)?;
        }
        let (_, found, _) = hashing.finish();
        if found == self.digest {
            Ok(())
        } else {
            Err(ContentError::Changed { expected: self.digest, found })
        }
    }

    /// All bytes in memory, verified, if they are at most `limit`.
    pub fn read(&self, limit: u64) -> Result<Vec<u8>, ContentError> {
        if self.size > limit {
            return Err(ContentError::TooLarge { digest: self.digest, size: self.size, limit });
        }
        let mut bytes = Vec::with_capacity(usize::try_from(self.size).unwrap_or(0));
        self.copy_to(&mut bytes)?;
        Ok(bytes)
    }
}

impl PartialEq for Content {
    fn eq(&self, other: &Self) -> bool {
        self.digest == other.digest
    }
}

impl Eq for Content {}

#[derive(Debug)]
struct Memory(Arc<[u8]>);

impl ContentSource for Memory {
    fn open(&self) -> io::Result<Box<dyn ReadSeek>> {
        Ok(Box::new(Cursor::new(self.0.clone())))
    }
}

/// A place that takes the bytes of files as they are read out of a package or an archive.
pub trait ContentSink {
    /// Stores everything that `reader` gives. `path` is only for messages: it never decides where the bytes go.
    fn store(&mut self, path: &ImagePath, reader: &mut dyn Read) -> io::Result<Content>;
}

/// Keeps every content in memory: for tests, and for small packages.
#[derive(Debug, Default, Clone, Copy)]
pub struct MemorySink;

impl ContentSink for MemorySink {
    fn store(&mut self, _path: &ImagePath, reader: &mut dyn Read) -> io::Result<Content> {
        let mut bytes = Vec::new();
        reader.read_to_end(&mut bytes)?;
        Ok(Content::from_bytes(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changed_bytes_are_noticed_when_they_are_copied() {
        let claimed = Digest::of("what was stored");
        let content = Content::new(claimed, 5, Arc::new(Memory(Arc::from(&b"other"[..]))));
        assert!(
            matches!(content.read(100), Err(ContentError::Changed { expected, .. }) if expected == claimed)
        );
    }

    #[test]
    fn a_limit_is_kept_before_anything_is_read() {
        assert!(matches!(
            Content::from_bytes("abc").read(2),
            Err(ContentError::TooLarge { size: 3, limit: 2, .. })
        ));
        assert_eq!(Content::from_bytes("abc").read(3).unwrap(), b"abc");
    }
}
