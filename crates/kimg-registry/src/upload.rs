//! One blob on its way into one repository (OCI distribution-spec, "Pushing a blob monolithically", "Pushing a blob in
//! chunks", "Mounting a blob from another repository").
//!
//! | what happens | what is done |
//! | --- | --- |
//! | the answer to the last request is lost | the blob is asked after before it is sent again |
//! | a chunk is cut off, or 429, 503 | the registry is asked how far it came, and it goes on there |
//! | the upload is no longer known | it begins again |
//! | 401 in the middle | a new token, and on with it |
//! | chunks are refused | the blob is sent as a whole |
//! | mounting is refused | the upload that was opened instead (202) is used, or a new one |

use std::path::PathBuf;
use std::sync::Arc;

use kimg_core::Digest;
use kimg_layer::BlobStore;
use reqwest::{Method, Url};

use crate::progress::{How, Progress, Watch};
use crate::transport::{
    Ask, Failure, Host, Payload, RENEWALS, Received, Scope, Sent, Transport, refused, same_digest, wait,
};
use crate::{Journal, RegistryError, Repository};

/// A blob and where it shall go.
pub(crate) struct Upload<'a> {
    pub(crate) transport: &'a Transport,
    pub(crate) host: &'a Host,
    pub(crate) repository: &'a Repository,
    pub(crate) store: &'a BlobStore,
    pub(crate) digest: Digest,
    pub(crate) size: u64,
    pub(crate) journal: Option<&'a Journal>,
    pub(crate) watch: Arc<dyn Watch>,
}

/// An upload that is open.
struct Session {
    location: Url,
    /// Bytes that the registry has.
    offset: u64,
    /// Whether bytes of an earlier attempt are in it.
    resumed: bool,
    /// The smallest chunk that the registry takes, in bytes.
    smallest: u64,
}

impl Upload<'_> {
    /// Brings the blob into the repository, where it is not: from one of these repositories of the same registry if that
    /// goes, and else from the disk.
    pub(crate) async fn run(&self, mount_from: &[Repository]) -> Result<How, RegistryError> {
        let mut session = self.left_open().await;
        if session.is_none() {
            for source in mount_from {
                match self.mount(source).await {
                    Ok(Mount::Done) => return Ok(self.done(How::Mounted(source.clone()))),
                    Ok(Mount::Opened(opened)) => {
                        session = Some(opened);
                        break;
                    }
                    Err(error) => tracing::debug!("mounting from {source}: {error}"),
                }
            }
        }
        let mut patience = self.transport.patience();
        // Tokens may expire any number of times, as long as it goes on in between.
        let (mut renewals, mut renewed_at) = (0, 0);
        let mut whole = self.size <= self.transport.options.chunk_above;
        loop {
            let failure = match self.attempt(&mut session, &mut whole).await {
                Ok(()) => return Ok(self.done(How::Sent)),
                Err(failure) => failure,
            };
            let offset = session.as_ref().map_or(0, |session| session.offset);
            let again = matches!(failure, Failure::Again(_));
            match failure {
                Failure::Lasting(error) => return Err(error),
                Failure::Again(error) => {
                    renewals = if offset > renewed_at { 1 } else { renewals + 1 };
                    renewed_at = offset;
                    if renewals > RENEWALS {
                        return Err(error);
                    }
                }
                Failure::Passing(error, asked_for) => {
                    wait(&mut patience, error, offset, asked_for).await?;
                    // It may have arrived, and only the answer was lost.
                    if self.is_there().await? {
                        return Ok(self.done(How::Sent));
                    }
                }
            }
            session = match session {
                // Of what was sent as a whole, nothing is sure to be there.
                Some(session) if whole && session.offset == 0 => {
                    again.then_some(Session { resumed: true, ..session })
                }
                Some(session) => self.how_far(session.location).await,
                None => None,
            };
        }
    }

    fn done(&self, how: How) -> How {
        if let Some(journal) = self.journal {
            journal.there(self.repository, self.digest);
        }
        how
    }

    fn scope(&self) -> Scope {
        Scope::push(self.repository)
    }

    /// Whether the repository has the blob, with its size.
    pub(crate) async fn is_there(&self) -> Result<bool, RegistryError> {
        let url = self.host.url(self.repository, &format!("blobs/{}", self.digest))?;
        let ask = Ask::scoped(Method::HEAD, url, &self.scope()).follow();
        let doing = ask.doing.clone();
        let received = self.transport.call(self.host, ask).await?;
        match received.status.as_u16() {
            200..=299 => {
                same_digest(&received, self.digest, &format!("the blob {}", self.digest))?;
                match received.content_length() {
                    Some(size) if size != self.size => {
                        let what = format!("the size of the blob {} in {}", self.digest, self.repository);
                        Err(RegistryError::mismatch(what, self.size, size))
                    }
                    _ => Ok(true),
                }
            }
            404 => Ok(false),
            _ => Err(refused(received, &doing).await),
        }
    }

    /// Whether the registry took the blob over from this repository.
    pub(crate) async fn taken_over(&self, source: &Repository) -> bool {
        matches!(self.mount(source).await, Ok(Mount::Done))
    }

    async fn mount(&self, source: &Repository) -> Result<Mount, RegistryError> {
        let mut url = self.host.url(self.repository, "blobs/uploads/")?;
        let digest = self.digest.to_string();
        url.query_pairs_mut().append_pair("mount", &digest).append_pair("from", source.path());
        let ask = Ask::scoped(Method::POST, url, &Scope::mount(self.repository, source));
        let doing = ask.doing.clone();
        let received = self.transport.call(self.host, ask).await?;
        match received.status.as_u16() {
            201 => {
                same_digest(&received, self.digest, &format!("the blob {}", self.digest))?;
                Ok(Mount::Done)
            }
            202 => Ok(Mount::Opened(self.opened(&received)?)),
            _ => Err(refused(received, &doing).await),
        }
    }

    /// The upload that an answer opens.
    fn opened(&self, received: &Received) -> Result<Session, RegistryError> {
        let location = self.location(received)?.ok_or_else(|| RegistryError::Protocol {
            doing: format!("beginning an upload to {}", self.repository),
            problem: "the answer has no `Location`".into(),
        })?;
        self.note(&location);
        Ok(Session { location, offset: 0, resumed: false, smallest: 0 })
    }

    fn location(&self, received: &Received) -> Result<Option<Url>, RegistryError> {
        received.header("location").map(|it| self.host.upload_location(received.url(), it)).transpose()
    }

    fn note(&self, location: &Url) {
        if let Some(journal) = self.journal {
            journal.begun(self.repository, self.digest, location.as_str());
        }
    }

    /// An upload that an earlier run left open, if it still is.
    async fn left_open(&self) -> Option<Session> {
        let location = self.journal?.upload(self.repository, self.digest)?;
        let location = Url::parse(&location).ok().filter(|location| self.host.owns(location))?;
        self.how_far(location).await.filter(|session| session.offset > 0)
    }

    /// How far an upload came; `None` if it is no longer open.
    async fn how_far(&self, location: Url) -> Option<Session> {
        let lost = || {
            if let Some(journal) = self.journal {
                journal.lost(self.repository, self.digest);
            }
        };
        let ask = Ask::scoped(Method::GET, location.clone(), &self.scope());
        let received = match self.transport.call(self.host, ask).await {
            Ok(received) if received.status.is_success() => received,
            Ok(_) | Err(_) => {
                lost();
                return None;
            }
        };
        let end = received.header("range").and_then(range_end);
        // `0-0` is said of nothing at all too.
        let offset = end.map_or(0, |end| if end == 0 { 0 } else { end + 1 });
        if offset > self.size {
            lost();
            return None;
        }
        let location = self.location(&received).ok().flatten().unwrap_or(location);
        Some(Session { location, offset, resumed: true, smallest: 0 })
    }

    /// Sends what is missing.
    async fn attempt(&self, session: &mut Option<Session>, whole: &mut bool) -> Result<(), Failure> {
        self.open(session, whole).await?;
        let failure = match self.rest(session, *whole).await {
            Ok(()) => return Ok(()),
            Err(failure) => failure,
        };
        let first = session.as_ref().is_some_and(|session| session.offset == 0 && !session.resumed);
        if first && !*whole && matches!(failure, Failure::Lasting(RegistryError::Refused { .. })) {
            // Some registries take no chunks.
            tracing::debug!("{} takes no chunks", self.repository);
            *whole = true;
            *session = None;
            self.open(session, whole).await?;
            return self.rest(session, true).await.map_err(|failure| self.forget_if_gone(session, failure));
        }
        Err(self.forget_if_gone(session, failure))
    }

    /// Opens an upload, if none is open.
    async fn open(&self, session: &mut Option<Session>, whole: &mut bool) -> Result<(), Failure> {
        if session.is_some() {
            return Ok(());
        }
        let url = self.host.url(self.repository, "blobs/uploads/")?;
        let ask = Ask::scoped(Method::POST, url, &self.scope());
        let doing = ask.doing.clone();
        let received = self.transport.call(self.host, ask).await?;
        if received.status.as_u16() != 202 {
            return Err(unexpected(received, &doing).await);
        }
        let smallest = received.header("oci-chunk-min-length").and_then(|text| text.trim().parse().ok());
        *whole |= smallest.is_some_and(|smallest: u64| smallest >= self.size);
        *session = Some(Session { smallest: smallest.unwrap_or(0), ..self.opened(&received)? });
        Ok(())
    }

    async fn rest(&self, session: &mut Option<Session>, whole: bool) -> Result<(), Failure> {
        let Some(open) = session else { return Ok(()) };
        while (!whole || open.offset > 0) && open.offset < self.size {
            self.chunk(open).await?;
        }
        self.close(open).await
    }

    /// Begins again where the registry knows nothing of an upload any more, or where what it took of an earlier attempt
    /// may be wrong.
    fn forget_if_gone(&self, session: &mut Option<Session>, failure: Failure) -> Failure {
        let resumed = session.as_ref().is_some_and(|session| session.resumed || session.offset > 0);
        match failure {
            Failure::Lasting(error @ RegistryError::NotFound { .. }) => {
                *session = None;
                Failure::Passing(error, None)
            }
            Failure::Lasting(error @ (RegistryError::Refused { .. } | RegistryError::Mismatch { .. }))
                if resumed =>
            {
                *session = None;
                Failure::Passing(error, None)
            }
            Failure::Lasting(error @ RegistryError::Refused { .. }) => {
                // Who is wrong: the registry, or the file?
                match self.store.copy_to(self.digest, self.size, std::io::sink()) {
                    Ok(()) => Failure::Lasting(error),
                    Err(damaged) => Failure::Lasting(damaged.into()),
                }
            }
            other => other,
        }
    }

    /// The next chunk (`PATCH`).
    async fn chunk(&self, open: &mut Session) -> Result<(), Failure> {
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
    async fn close(&self, open: &Session) -> Result<(), Failure> {
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

    fn part(&self, offset: u64, length: u64) -> Payload {
        let path: PathBuf = self.store.path(self.digest);
        Payload::File { path, offset, length }
    }

    fn sent(&self, base: u64) -> Sent {
        let (watch, digest, size) = (Arc::clone(&self.watch), self.digest, self.size);
        let done = std::sync::atomic::AtomicU64::new(base);
        Sent::watched(move |bytes| {
            let done = done.fetch_add(bytes, std::sync::atomic::Ordering::Relaxed) + bytes;
            watch.tell(&Progress::Moved { digest, done, size });
        })
    }
}

enum Mount {
    Done,
    Opened(Session),
}

async fn unexpected(received: Received, doing: &str) -> Failure {
    let success = received.status.is_success() || received.status.is_redirection();
    let status = received.status.as_u16();
    match refused(received, doing).await {
        RegistryError::Refused { doing, .. } if success => {
            let problem = format!("it answered {status}, which means something else");
            Failure::Lasting(RegistryError::Protocol { doing, problem })
        }
        error => Failure::from(error),
    }
}

/// The last byte that a registry has, of `0-99` or `bytes=0-99`.
fn range_end(text: &str) -> Option<u64> {
    let text = text.trim();
    let (first, last) = text.strip_prefix("bytes=").unwrap_or(text).split_once('-')?;
    (first == "0").then(|| last.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_read_as_registries_write_it() {
        assert_eq!(range_end("0-99"), Some(99));
        assert_eq!(range_end(" bytes=0-0 "), Some(0));
        for wrong in ["", "5-9", "0-", "0--1", "99", "0-99999999999999999999", "a-b"] {
            assert_eq!(range_end(wrong), None, "{wrong}");
        }
    }
}
