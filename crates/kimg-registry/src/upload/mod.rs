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
//!
//! `session` opens uploads and asks how far they came, `send` sends bytes; here is what follows what.

mod send;
mod session;

use std::sync::Arc;

use kimg_core::Digest;
use kimg_layer::BlobStore;
use reqwest::Method;

use crate::progress::{How, Watch};
use crate::transport::{
    Ask, Failure, Host, RENEWALS, Received, Scope, Transport, refused, same_digest, wait,
};
use crate::{Journal, RegistryError, Repository};
use session::{Mount, Session};

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

    /// Sends what is missing.
    async fn attempt(&self, session: &mut Option<Session>, whole: &mut bool) -> Result<(), Failure> {
        self.open(session, whole).await?;
        let failure = match self.rest(session, *whole).await {
            Ok(()) => return Ok(()),
            Err(failure) => failure,
        };
        if !*whole && matches!(failure, Failure::Lasting(RegistryError::Refused { .. })) {
            // Some registries take no chunks, or no second one.
            tracing::debug!("{} takes no chunks", self.repository);
            *whole = true;
            *session = None;
            self.open(session, whole).await?;
            return self.rest(session, true).await.map_err(|failure| self.forget_if_gone(session, failure));
        }
        Err(self.forget_if_gone(session, failure))
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
