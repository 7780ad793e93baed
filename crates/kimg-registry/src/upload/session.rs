//! Uploads that are open: how they are opened, by mounting or without, and how far they came.

use reqwest::{Method, Url};

use super::{Upload, unexpected};
use crate::transport::{Ask, Failure, Received, Scope, refused, same_digest};
use crate::{RegistryError, Repository};

/// An upload that is open.
pub(super) struct Session {
    pub(super) location: Url,
    /// Bytes that the registry has.
    pub(super) offset: u64,
    /// Whether bytes of an earlier attempt are in it.
    pub(super) resumed: bool,
    /// The smallest chunk that the registry takes, in bytes.
    pub(super) smallest: u64,
}

/// What came of mounting.
pub(super) enum Mount {
    /// The blob is there.
    Done,
    /// It has to be sent, to here.
    Opened(Session),
}

impl Upload<'_> {
    /// Whether the registry took the blob over from this repository.
    pub(crate) async fn taken_over(&self, source: &Repository) -> bool {
        matches!(self.mount(source).await, Ok(Mount::Done))
    }

    pub(super) async fn mount(&self, source: &Repository) -> Result<Mount, RegistryError> {
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
    pub(super) fn opened(&self, received: &Received) -> Result<Session, RegistryError> {
        let location = self.location(received)?.ok_or_else(|| RegistryError::Protocol {
            doing: format!("beginning an upload to {}", self.repository),
            problem: "the answer has no `Location`".into(),
        })?;
        self.note(&location);
        Ok(Session { location, offset: 0, resumed: false, smallest: 0 })
    }

    pub(super) fn location(&self, received: &Received) -> Result<Option<Url>, RegistryError> {
        received.header("location").map(|it| self.host.upload_location(received.url(), it)).transpose()
    }

    pub(super) fn note(&self, location: &Url) {
        if let Some(journal) = self.journal {
            journal.begun(self.repository, self.digest, location.as_str());
        }
    }

    /// An upload that an earlier run left open, if it still is.
    pub(super) async fn left_open(&self) -> Option<Session> {
        let location = self.journal?.upload(self.repository, self.digest)?;
        let location = Url::parse(&location).ok().filter(|location| self.host.owns(location))?;
        self.how_far(location).await.filter(|session| session.offset > 0)
    }

    /// How far an upload came; `None` if it is no longer open.
    pub(super) async fn how_far(&self, location: Url) -> Option<Session> {
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

    /// Opens an upload, if none is open.
    pub(super) async fn open(&self, session: &mut Option<Session>, whole: &mut bool) -> Result<(), Failure> {
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
}

/// The last byte that a registry has, of `0-99` or `bytes=0-99`.
pub(super) fn range_end(text: &str) -> Option<u64> {
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
