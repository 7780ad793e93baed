//! Blobs on their way here: bounded, hashed, resumed where they break off.

use std::fmt::Display;
use std::io::Write;

use kimg_core::{Digest, DigestWriter};
use reqwest::{Method, StatusCode};

use crate::RegistryError;
use crate::manifests::Place;
use crate::transport::{Ask, MAX_MANIFEST, Scope, refused, wait};

impl Place<'_> {
    /// A config or another small blob.
    pub(crate) async fn small_blob(&self, digest: Digest, size: u64) -> Result<Vec<u8>, RegistryError> {
        if size > MAX_MANIFEST {
            let what = format!("the blob {digest}");
            return Err(RegistryError::TooLarge { what, limit: format!("{MAX_MANIFEST} bytes") });
        }
        let mut bytes = Vec::new();
        self.blob(digest, size, &mut |piece| {
            bytes.extend_from_slice(piece);
            std::future::ready(Ok(()))
        })
        .await?;
        let found = Digest::of(&bytes);
        if found == digest { Ok(bytes) } else { Err(self.differs(digest, digest, found)) }
    }

    /// Reads a blob and hashes it.
    pub(crate) async fn hash_blob(&self, digest: Digest, size: u64) -> Result<(), RegistryError> {
        let mut writer = DigestWriter::new(std::io::sink());
        self.blob(digest, size, &mut |piece| {
            let written = writer.write_all(piece);
            std::future::ready(written.map_err(RegistryError::from))
        })
        .await?;
        let (_, found, _) = writer.finish();
        if found == digest { Ok(()) } else { Err(self.differs(digest, digest, found)) }
    }

    pub(crate) fn differs(
        &self,
        digest: Digest,
        expected: impl Display,
        found: impl Display,
    ) -> RegistryError {
        RegistryError::mismatch(format!("the blob {digest} of {}", self.repository), expected, found)
    }

    /// Gives a blob piece by piece, exactly as many bytes as it should have. What it hashes to is for the caller to see.
    pub(crate) async fn blob<F: Future<Output = Result<(), RegistryError>>>(
        &self,
        digest: Digest,
        size: u64,
        take: &mut impl FnMut(&[u8]) -> F,
    ) -> Result<(), RegistryError> {
        let url = self.host.url(self.repository, &format!("blobs/{digest}"))?;
        let plain = Ask::scoped(Method::GET, url, &Scope::pull(self.repository)).follow();
        let mut patience = self.transport.patience();
        let mut done = 0;
        loop {
            let mut ask = plain.clone();
            if done > 0 {
                ask = ask.header("range", &format!("bytes={done}-"));
            }
            let mut received = self.transport.call(self.host, ask).await?;
            let resumed = done > 0 && received.status == StatusCode::PARTIAL_CONTENT;
            // What is there already comes again, and is passed over.
            let mut over = if resumed { 0 } else { done };
            if resumed
                && !received
                    .header("content-range")
                    .is_some_and(|it| it.starts_with(&format!("bytes {done}-")))
            {
                let problem = "it sent another part than was asked for".to_owned();
                return Err(RegistryError::Protocol { doing: plain.doing.clone(), problem });
            }
            if !received.status.is_success() || (received.status == StatusCode::PARTIAL_CONTENT && !resumed) {
                return Err(refused(received, &plain.doing).await);
            }
            let coming = received.content_length().map(|length| if resumed { done + length } else { length });
            if let Some(coming) = coming.filter(|coming| *coming != size) {
                return Err(self.differs(digest, format!("{size} bytes"), coming));
            }
            let failure = loop {
                match received.piece(&plain.doing).await {
                    Ok(Some(piece)) => {
                        let piece = piece.as_ref();
                        let skipped = usize::try_from(over).unwrap_or(usize::MAX).min(piece.len());
                        over -= skipped as u64;
                        let piece = &piece[skipped..];
                        done += piece.len() as u64;
                        if done > size {
                            return Err(self.differs(digest, format!("{size} bytes"), "more"));
                        }
                        take(piece).await?;
                    }
                    Ok(None) if done == size => return Ok(()),
                    Ok(None) => return Err(self.differs(digest, format!("{size} bytes"), done)),
                    Err(error) => break error,
                }
            };
            if done == size {
                return Ok(());
            }
            wait(&mut patience, failure, done, None).await?;
        }
    }
}
