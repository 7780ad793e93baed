//! One request, with who asks; and the same again as long as that may help.

use std::time::{Duration, SystemTime};

use kimg_source::fetch::retry::{Patience, retry_after};
use reqwest::header::{AUTHORIZATION, CONTENT_LENGTH, HeaderMap, LOCATION};
use reqwest::{Method, Response, StatusCode, Url};

use super::answer::{Stalled, network};
use super::ask::Authority;
use super::challenge::challenge;
use super::{Ask, Host, Received, Transport, answer};
use crate::RegistryError;

/// Why a request came to nothing.
#[derive(Debug)]
pub(crate) enum Failure {
    /// It may come to something later.
    Passing(RegistryError, Option<Duration>),
    /// Who asks was not accepted; there is something new to tell.
    Again(RegistryError),
    /// It won't.
    Lasting(RegistryError),
}

impl From<RegistryError> for Failure {
    fn from(error: RegistryError) -> Self {
        match error {
            RegistryError::Network { .. } | RegistryError::Busy { .. } => Self::Passing(error, None),
            other => Self::Lasting(other),
        }
    }
}

/// How often in a row a request is made again because who asks was not accepted.
pub(crate) const RENEWALS: u32 = 2;

/// More redirects than this lead nowhere.
const REDIRECTS: usize = 10;

impl Transport {
    pub(crate) fn patience(&self) -> Patience {
        Patience::new(self.options.attempts.max(1), self.options.first_wait)
    }

    /// Asks until there is an answer that another attempt would not change: any status but 401, 408, 429 and 5xx.
    pub(crate) async fn call(&self, host: &Host, ask: Ask) -> Result<Received, RegistryError> {
        let mut patience = self.patience();
        let mut renewals = 0;
        loop {
            match self.once(host, &ask).await {
                Ok(received) => return Ok(received),
                Err(Failure::Again(_)) if renewals < RENEWALS => renewals += 1,
                Err(Failure::Passing(error, asked_for)) => wait(&mut patience, error, 0, asked_for).await?,
                Err(Failure::Again(error) | Failure::Lasting(error)) => return Err(error),
            }
        }
    }

    /// The same, and all of the answer, which is asked for again when it breaks off.
    pub(crate) async fn read(
        &self,
        host: &Host,
        ask: Ask,
        limit: u64,
    ) -> Result<(StatusCode, HeaderMap, Vec<u8>), RegistryError> {
        let mut patience = self.patience();
        loop {
            let received = self.call(host, ask.clone()).await?;
            if !received.status.is_success() {
                return Err(answer::refused(received, &ask.doing).await);
            }
            let (status, headers) = (received.status, received.headers().clone());
            match received.bytes(limit, &ask.doing).await {
                Ok(bytes) => return Ok((status, headers, bytes)),
                Err(error @ RegistryError::Network { .. }) => wait(&mut patience, error, 0, None).await?,
                Err(error) => return Err(error),
            }
        }
    }

    /// Asks once.
    pub(crate) async fn once(&self, host: &Host, ask: &Ask) -> Result<Received, Failure> {
        let mut url = ask.url.clone();
        for _ in 0..=REDIRECTS {
            let own = host.owns(&url);
            let authority = match (&ask.authority, &ask.scope) {
                (Some(authority), _) => Some(authority.clone()),
                (None, Some(scope)) if own => self.authority(host, scope).await?,
                _ => None,
            };
            let response = self.send(host, ask, &url, authority.as_ref()).await?;
            let status = response.status();
            if ask.follow && status.is_redirection() && status != StatusCode::NOT_MODIFIED {
                url = next(&url, &response, host, &ask.doing)?;
                continue;
            }
            let challenge =
                (status == StatusCode::UNAUTHORIZED && own).then(|| challenge(response.headers()));
            let asked_for = retry_after(response.headers(), SystemTime::now());
            let received = Received::new(response, authority.clone(), self.options.stalled_after);
            if let (Some(challenge), Some(scope)) = (challenge, &ask.scope) {
                let again = self.refused(host, scope, authority.as_ref(), challenge).await;
                let error = answer::refused(received, &ask.doing).await;
                return Err(if again { Failure::Again(error) } else { Failure::Lasting(error) });
            }
            if matches!(status.as_u16(), 408 | 429 | 500..=599) {
                return Err(Failure::Passing(answer::refused(received, &ask.doing).await, asked_for));
            }
            return Ok(received);
        }
        let problem = format!("more than {REDIRECTS} redirects");
        Err(Failure::Lasting(RegistryError::Protocol { doing: ask.doing.clone(), problem }))
    }

    async fn send(
        &self,
        host: &Host,
        ask: &Ask,
        url: &Url,
        authority: Option<&Authority>,
    ) -> Result<Response, Failure> {
        let lax = self.lax.as_ref().filter(|_| host.lax && host.owns(url));
        let mut request = lax
            .unwrap_or(&self.http)
            .request(ask.method.clone(), url.clone())
            .headers(ask.headers.clone())
            .body(ask.payload.body(&ask.sent));
        if ask.method != Method::GET && ask.method != Method::HEAD {
            request = request.header(CONTENT_LENGTH, ask.payload.len());
        }
        if let Some(header) = authority.and_then(|authority| authority.header.clone()) {
            request = request.header(AUTHORIZATION, header);
        }
        let sending = request.send();
        tokio::pin!(sending);
        let mut seen = ask.sent.bytes();
        loop {
            // Not a time-out of the whole: a large blob may take hours, as long as it moves.
            match tokio::time::timeout(self.options.stalled_after, &mut sending).await {
                Ok(Ok(response)) => return Ok(response),
                Ok(Err(error)) => {
                    let lasting = error.is_builder();
                    let error = network(&ask.doing, error.without_url());
                    return Err(if lasting { Failure::Lasting(error) } else { error.into() });
                }
                Err(_) => {
                    let moved = ask.sent.bytes();
                    if moved == seen {
                        return Err(network(&ask.doing, Stalled(self.options.stalled_after)).into());
                    }
                    seen = moved;
                }
            }
        }
    }
}

/// Waits before the next attempt, or gives the error back if there shall be none. An attempt that brought another MiB
/// does not count.
pub(crate) async fn wait(
    patience: &mut Patience,
    error: RegistryError,
    brought: u64,
    asked_for: Option<Duration>,
) -> Result<(), RegistryError> {
    let Some(pause) = patience.after(brought, asked_for) else {
        let attempts = patience.failed().max(1);
        return Err(match error {
            RegistryError::Network { doing, source, .. } => {
                RegistryError::Network { doing, attempts, source }
            }
            RegistryError::Busy { doing, status, said, .. } => {
                RegistryError::Busy { doing, status, said, attempts }
            }
            other => other,
        });
    };
    tracing::info!("{error}; trying again in {:.1} s", pause.as_secs_f32());
    tokio::time::sleep(pause).await;
    Ok(())
}

/// Where a redirect leads, if it may be followed: never from TLS to plain HTTP.
fn next(from: &Url, response: &Response, host: &Host, doing: &str) -> Result<Url, Failure> {
    let wrong = |problem: &str| {
        let (doing, problem) = (doing.to_owned(), problem.to_owned());
        Failure::Lasting(RegistryError::Protocol { doing, problem })
    };
    let location = response.headers().get(LOCATION).and_then(|value| value.to_str().ok());
    let location = location.ok_or_else(|| wrong("it redirects to nowhere"))?;
    let url = from.join(location).map_err(|_| wrong("it redirects to what is no address"))?;
    match url.scheme() {
        "https" => Ok(url),
        "http" if from.scheme() == "http" && host.is_plain() => Ok(url),
        "http" => Err(wrong("it redirects from https to http")),
        _ => Err(wrong("it redirects to what is no HTTP address")),
    }
}
