//! HTTP, as far as fetching files needs it: limits, time-outs, retries, proxies from the environment.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use reqwest::{Client, Response, StatusCode, header};

use crate::SourceError;

/// Fetches files over HTTP and HTTPS.
///
/// Proxies come from `HTTPS_PROXY`, `HTTP_PROXY` and `NO_PROXY`; certificates are checked against the
/// system's store (`SSL_CERT_FILE` names another one). Redirects are followed, ten at most.
///
/// TLS is set up when the first file is fetched: who reads folders only needs no certificates.
#[derive(Debug, Clone)]
pub struct Fetcher {
    /// `None`: nothing may be fetched.
    client: Option<Arc<OnceLock<Client>>>,
    attempts: u32,
}

/// How long to wait before the second attempt; each later wait is twice as long.
const FIRST_WAIT: Duration = Duration::from_millis(500);

/// A server may ask for patience, but not for more than this.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

impl Fetcher {
    /// A fetcher that tries each file this often, at least once.
    pub fn new(attempts: u32) -> Self {
        Self { client: Some(Arc::default()), attempts: attempts.max(1) }
    }

    /// A fetcher that refuses to fetch: whatever is wanted has to be in the cache.
    pub fn offline() -> Self {
        Self { client: None, attempts: 1 }
    }

    /// Whether nothing may be fetched.
    pub fn is_offline(&self) -> bool {
        self.client.is_none()
    }

    /// The bytes at an address, if they are at most `limit`.
    pub async fn get(&self, url: &str, limit: u64) -> Result<Vec<u8>, SourceError> {
        let Some(cell) = &self.client else {
            return Err(SourceError::Offline { what: url.to_owned() });
        };
        let client = if let Some(client) = cell.get() {
            client
        } else {
            let made = client(url)?;
            cell.get_or_init(|| made)
        };
        let mut wait = FIRST_WAIT;
        let mut attempt = 1;
        loop {
            let failure = match self.once(client, url, limit).await {
                Ok(bytes) => return Ok(bytes),
                Err(failure) => failure,
            };
            if attempt >= self.attempts || !failure.passing {
                return Err(match failure.error {
                    SourceError::Network { url, source, .. } => {
                        SourceError::Network { url, attempts: attempt, source }
                    }
                    other => other,
                });
            }
            let pause = failure.retry_after.unwrap_or(wait).min(LONGEST_WAIT);
            tracing::info!("{}; trying again in {:.1} s", failure.error, pause.as_secs_f32());
            tokio::time::sleep(pause).await;
            wait *= 2;
            attempt += 1;
        }
    }

    async fn once(&self, client: &Client, url: &str, limit: u64) -> Result<Vec<u8>, Failure> {
        let network = |source: reqwest::Error| Failure {
            error: SourceError::Network {
                url: url.to_owned(),
                attempts: 1,
                source: source.without_url().into(),
            },
            passing: true,
            retry_after: None,
        };
        let mut response = client.get(url).send().await.map_err(network)?;
        let status = response.status();
        if !status.is_success() {
            return Err(Failure {
                error: SourceError::Status { url: url.to_owned(), status: status.as_u16() },
                passing: status.is_server_error()
                    || matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT),
                retry_after: retry_after(&response),
            });
        }
        let too_large = || Failure {
            error: SourceError::TooLarge { what: url.to_owned(), limit },
            passing: false,
            retry_after: None,
        };
        if response.content_length().is_some_and(|length| length > limit) {
            return Err(too_large());
        }
        let mut bytes = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(network)? {
            if (bytes.len() + chunk.len()) as u64 > limit {
                return Err(too_large());
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok(bytes)
    }
}

fn client(url: &str) -> Result<Client, SourceError> {
    // The first to come installs ring as the process's provider; one that is there already is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    Client::builder()
        .user_agent(concat!("kimg/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(Duration::from_secs(20))
        .read_timeout(Duration::from_secs(60))
        .build()
        .map_err(|error| SourceError::Network { url: url.to_owned(), attempts: 1, source: error.into() })
}

struct Failure {
    error: SourceError,
    /// Whether the same request may succeed later.
    passing: bool,
    retry_after: Option<Duration>,
}

/// `Retry-After` in its form of seconds (RFC 9110, 10.2.3).
fn retry_after(response: &Response) -> Option<Duration> {
    let seconds = response.headers().get(header::RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests;
