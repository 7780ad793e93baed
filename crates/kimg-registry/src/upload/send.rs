//! A blob's bytes on their way: in chunks, or as a whole.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use reqwest::Method;

use super::session::{Session, range_end};
use super::{Upload, unexpected};
use crate::RegistryError;
use crate::progress::Progress;
use crate::transport::{Ask, Failure, Payload, Sent, same_digest};

impl Upload<'_> {
    /// The next chunk (`PATCH`).
    pub(super) async fn chunk(&self, open: &mut Session) -> Result<(), Failure> {
        let length = self.transport.options.chunk.max(open.smallest).max(1).min(self.size - open.offset);
        let last = open.offset + length - 1;
        let ask = Ask::scoped(Method::PATCH, open.location.clone(), &self.scope())
            .header("content-type", "application/octet-stream")
            .header("content-range", &format!("{}-{last}", open.offset))
            .body(self.part(open.offset, length))
            .watched(self.sent(open.offset));
        let received = self.transport.once(self.host, &ask).await?;
        if received.status.as_u16() != 202 {
            return Err(unexpected(received, &ask.doing).await);
        }
        let wrong = |said: &str| {
            let problem = format!("it has the bytes `{said}`, expected 0-{last}");
            Failure::Passing(RegistryError::Protocol { doing: ask.doing.clone(), problem }, None)
        };
        let end = match received.header("range") {
            // Without the header everything was taken; the digest will tell.
            None => last,
            Some(said) => range_end(said).ok_or_else(|| wrong("no range"))?,
        };
        if let Some(location) = self.location(&received)? {
            open.location = location;
            self.note(&open.location);
        }
        if end == last {
            open.offset = end + 1;
            return Ok(());
        }
        open.resumed = true;
        Err(wrong(&format!("0-{end}")))
    }

    /// The end of an upload (`PUT`), with all of the blob if nothing of it was sent.
    pub(super) async fn close(&self, open: &Session) -> Result<(), Failure> {
        let mut url = open.location.clone();
        url.query_pairs_mut().append_pair("digest", &self.digest.to_string());
        let left = self.size - open.offset;
        let payload = if left > 0 { self.part(open.offset, left) } else { Payload::None };
        let ask = Ask::scoped(Method::PUT, url, &self.scope())
            .header("content-type", "application/octet-stream")
            .body(payload)
            .watched(self.sent(open.offset));
        let received = self.transport.once(self.host, &ask).await?;
        if !matches!(received.status.as_u16(), 201 | 204) {
            return Err(unexpected(received, &ask.doing).await);
        }
        Ok(same_digest(&received, self.digest, &format!("the blob {}", self.digest))?)
    }

    pub(super) fn part(&self, offset: u64, length: u64) -> Payload {
        let path = self.store.path(self.digest);
        Payload::File { path, offset, length }
    }

    pub(super) fn sent(&self, base: u64) -> Sent {
        let (watch, digest, size) = (Arc::clone(&self.watch), self.digest, self.size);
        let done = AtomicU64::new(base);
        Sent::watched(move |bytes| {
            let done = done.fetch_add(bytes, Ordering::Relaxed) + bytes;
            watch.tell(&Progress::Moved { digest, done, size });
        })
    }
}
