//! What is sent: nothing, a few bytes, or a part of a file that is never in memory as a whole.

use std::io::SeekFrom;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::stream::try_unfold;
use reqwest::Body;
use tokio::fs::File;
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _};

/// The body of a request, which can be sent several times.
#[derive(Debug, Clone)]
pub(crate) enum Payload {
    /// Nothing.
    None,
    /// These bytes.
    Bytes(Arc<[u8]>),
    /// A part of a file.
    File {
        /// The file.
        path: PathBuf,
        /// Where the part begins.
        offset: u64,
        /// Its bytes.
        length: u64,
    },
}

/// Bytes that left this machine, as far as it knows; each piece is told to who watches.
#[derive(Clone, Default)]
pub(crate) struct Sent {
    bytes: Arc<AtomicU64>,
    watch: Option<Arc<dyn Fn(u64) + Send + Sync>>,
}

impl Sent {
    pub(crate) fn watched(watch: impl Fn(u64) + Send + Sync + 'static) -> Self {
        Self { bytes: Arc::default(), watch: Some(Arc::new(watch)) }
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    fn moved(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        if let Some(watch) = &self.watch {
            watch(bytes);
        }
    }
}

impl std::fmt::Debug for Sent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Sent").field(&self.bytes()).finish()
    }
}

/// A file is read in pieces of this many bytes.
const PIECE: u64 = 256 << 10;

impl Payload {
    pub(crate) fn bytes(bytes: Vec<u8>) -> Self {
        Self::Bytes(bytes.into())
    }

    pub(crate) fn len(&self) -> u64 {
        match self {
            Self::None => 0,
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::File { length, .. } => *length,
        }
    }

    pub(super) fn body(&self, sent: &Sent) -> Body {
        match self {
            Self::None => Body::default(),
            Self::Bytes(bytes) => {
                sent.moved(bytes.len() as u64);
                Body::from(bytes.to_vec())
            }
            Self::File { path, offset, length } => {
                let (path, offset, sent) = (path.clone(), *offset, sent.clone());
                Body::wrap_stream(try_unfold((None, *length), move |(file, left)| {
                    let (path, sent) = (path.clone(), sent.clone());
                    async move {
                        let mut file = match file {
                            _ if left == 0 => return Ok(None),
                            Some(file) => file,
                            None => opened(path, offset).await?,
                        };
                        let mut piece = vec![0; usize::try_from(left.min(PIECE)).unwrap_or(0)];
                        // A file that has become shorter ends the request with an error, not early.
                        file.read_exact(&mut piece).await?;
                        let length = piece.len() as u64;
                        sent.moved(length);
                        Ok::<_, std::io::Error>(Some((piece, (Some(file), left - length))))
                    }
                }))
            }
        }
    }
}

async fn opened(path: PathBuf, offset: u64) -> std::io::Result<File> {
    let mut file = File::open(path).await?;
    file.seek(SeekFrom::Start(offset)).await?;
    Ok(file)
}
