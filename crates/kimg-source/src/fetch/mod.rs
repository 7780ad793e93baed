//! HTTP, as far as fetching files needs it: limits, time-outs, retries, resumption, conditional requests, proxies
//! from the environment.
//!
//! | what is promised | where |
//! | --- | --- |
//! | which redirects are followed | `client` |
//! | how often and after which waits it is tried again, `Retry-After` | `retry` |
//! | what is there already is not asked for again, and never spliced with another file | `body` |
//! | who watches hears of it | `progress` |

mod body;
mod client;
mod progress;
pub mod retry;

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, SystemTime};

use reqwest::header::{CONTENT_RANGE, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, RANGE};
use reqwest::{Client, RequestBuilder, Response, StatusCode};
use tokio::sync::mpsc::UnboundedSender;

use crate::location::redacted;
use crate::{Location, SourceError};
use body::Body;
pub(crate) use body::Validators;
use progress::Meter;
pub use progress::Transfer;
use retry::Patience;

/// Fetches files over HTTP and HTTPS.
///
/// Proxies come from `HTTPS_PROXY`, `HTTP_PROXY` and `NO_PROXY`; certificates are checked against the
/// system's store (`SSL_CERT_FILE` names another one). Redirects are followed, ten at most, and never from https to
/// http.
///
/// What fails in passing (no connection, a cut one, 408, 429, 5xx) is tried again after 0.5 s, 1 s, 2 s, … or
/// after what the server asks for, a minute at most. A transfer that was cut goes on where it ended, if the server can do
/// that and the file is still the same; one that brought another MiB is not counted as failed.
///
/// TLS is set up when the first file is fetched: who reads folders only needs no certificates. Clones share the
/// connections, and what is known of hosts that can't be reached.
#[derive(Debug, Clone)]
pub struct Fetcher {
    /// `None`: nothing may be fetched.
    client: Option<Arc<OnceLock<Client>>>,
    attempts: u32,
    first_wait: Duration,
    /// Why hosts were given up in this run, by their origin.
    given_up: Arc<Mutex<BTreeMap<String, String>>>,
}

/// How long to wait before the second attempt; each later wait is twice as long.
const FIRST_WAIT: Duration = Duration::from_millis(500);

/// What is asked for.
pub(crate) struct Wanted<'a> {
    pub(crate) url: &'a str,
    /// At most this many bytes.
    pub(crate) limit: u64,
    pub(crate) watch: Option<&'a UnboundedSender<Transfer>>,
}

/// The answer to a conditional request.
#[derive(Debug)]
pub(crate) enum Answer {
    /// The file is the one that the validators are of.
    Same,
    /// It is another one.
    New(Vec<u8>, Validators),
}

/// A file that was fetched, before anybody looked whether it is the right one.
#[derive(Debug)]
pub(crate) struct Download(Body);

impl Download {
    /// Where it lies.
    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    /// Whether its beginning is from an earlier run: if it is wrong, fetching it as a whole may help.
    pub(crate) fn resumed(&self) -> bool {
        self.0.resumed
    }

    /// Gives it its lasting name.
    pub(crate) fn keep(self, name: &Path) -> Result<(), SourceError> {
        self.0.keep(name).map_err(SourceError::disk(format!("naming {}", name.display())))
    }

    /// Removes it.
    pub(crate) fn discard(self) -> Result<(), SourceError> {
        self.0.discard().map_err(SourceError::disk("removing a download"))
    }
}

impl Fetcher {
    /// A fetcher that tries each file this often, at least once.
    pub fn new(attempts: u32) -> Self {
        Self {
            client: Some(Arc::default()),
            attempts: attempts.max(1),
            first_wait: FIRST_WAIT,
            given_up: Arc::default(),
        }
    }

    /// A fetcher that refuses to fetch: whatever is wanted has to be in the cache.
    pub fn offline() -> Self {
        Self { client: None, ..Self::new(1) }
    }

    /// The same fetcher with another wait before the second attempt; each later one is twice as long.
    pub fn first_wait(self, first_wait: Duration) -> Self {
        Self { first_wait, ..self }
    }

    /// Whether nothing may be fetched.
    pub fn is_offline(&self) -> bool {
        self.client.is_none()
    }

    /// The bytes at an address, if they are at most `limit`.
    pub async fn get(&self, url: &str, limit: u64) -> Result<Vec<u8>, SourceError> {
        let mut body = Body::memory();
        self.fetch(&Wanted { url, limit, watch: None }, None, &mut body).await?;
        Ok(body.into_bytes())
    }

    /// The bytes at an address, unless they are the ones whose validators are known.
    pub(crate) async fn get_if_changed(
        &self,
        wanted: &Wanted<'_>,
        known: Option<&Validators>,
    ) -> Result<Answer, SourceError> {
        let mut body = Body::memory();
        Ok(match self.fetch(wanted, known, &mut body).await? {
            Came::Unchanged => Answer::Same,
            Came::Whole => {
                let validators = std::mem::take(&mut body.validators);
                Answer::New(body.into_bytes(), validators)
            }
        })
    }

    /// Fetches into the file `partial` and goes on with what an earlier run left there; while another process writes
    /// it, into a file in `scratch`.
    pub(crate) async fn download(
        &self,
        wanted: &Wanted<'_>,
        partial: &Path,
        scratch: &Path,
    ) -> Result<Download, SourceError> {
        if self.is_offline() {
            return Err(SourceError::Offline { what: redacted(wanted.url).into_owned() });
        }
        let mut body = Body::file(partial, scratch)
            .map_err(SourceError::disk(format!("opening {}", partial.display())))?;
        self.fetch(wanted, None, &mut body).await?;
        Ok(Download(body))
    }

    /// Why a host is not asked any more, if it is not.
    pub(crate) fn given_up(&self, location: &Location) -> Option<SourceError> {
        let origin = location.origin()?;
        let given_up = self.given_up.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        given_up.get(&origin).map(|why| SourceError::GivenUp { origin: origin.clone(), why: why.clone() })
    }

    /// Remembers a host that can't be reached, or can't answer, for the rest of this run.
    pub(crate) fn give_up(&self, location: &Location, error: &SourceError) {
        let dead = match error {
            SourceError::Network { .. } => true,
            SourceError::Status { status, .. } => passing(*status),
            _ => false,
        };
        if let Some(origin) = location.origin().filter(|_| dead) {
            let mut given_up = self.given_up.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            given_up.entry(origin).or_insert_with(|| error.whole());
        }
    }

    async fn fetch(
        &self,
        wanted: &Wanted<'_>,
        known: Option<&Validators>,
        body: &mut Body,
    ) -> Result<Came, SourceError> {
        let Some(cell) = &self.client else {
            return Err(SourceError::Offline { what: redacted(wanted.url).into_owned() });
        };
        let client = if let Some(client) = cell.get() {
            client
        } else {
            let made = client::client(wanted.url)?;
            cell.get_or_init(|| made)
        };
        let mut patience = Patience::new(self.attempts, self.first_wait);
        let mut meter = Meter::new(wanted.watch, wanted.url);
        meter.tell(body.len(), None);
        loop {
            let failure = match once(client, wanted, known, body, &mut meter).await {
                Ok(came) => return Ok(came),
                Err(failure) => failure,
            };
            let wait = if failure.passing { patience.after(body.len(), failure.retry_after) } else { None };
            let Some(wait) = wait else {
                return Err(match failure.error {
                    SourceError::Network { url, source, .. } => {
                        SourceError::Network { url, attempts: patience.failed().max(1), source }
                    }
                    other => other,
                });
            };
            tracing::info!("{}; trying again in {:.1} s", failure.error.whole(), wait.as_secs_f32());
            tokio::time::sleep(wait).await;
        }
    }
}

/// What a successful request came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Came {
    Unchanged,
    Whole,
}

/// One request, and its answer into the body.
async fn once(
    client: &Client,
    wanted: &Wanted<'_>,
    known: Option<&Validators>,
    body: &mut Body,
    meter: &mut Meter<'_>,
) -> Result<Came, Failure> {
    let network = |source: reqwest::Error| Failure {
        passing: !source.is_redirect() && !source.is_builder(),
        retry_after: None,
        error: wanted.network(source.without_url()),
    };
    let request = conditions(client.get(wanted.url), known, body);
    let mut response = request.send().await.map_err(network)?;
    let status = response.status();
    if status == StatusCode::NOT_MODIFIED && known.is_some() && body.len() == 0 {
        meter.tell(0, Some(0));
        return Ok(Came::Unchanged);
    }
    let disk =
        |error| Failure::lasting(SourceError::disk(format!("keeping {}", redacted(wanted.url)))(error));
    let total;
    if status == StatusCode::PARTIAL_CONTENT || status == StatusCode::RANGE_NOT_SATISFIABLE {
        let range = content_range(&response);
        let same = status == StatusCode::PARTIAL_CONTENT
            && matches!(range, Some((Some(first), _)) if first == body.len());
        total = range.and_then(|(_, total)| total);
        if status == StatusCode::RANGE_NOT_SATISFIABLE && total == Some(body.len()) {
            // Everything had come already.
            meter.tell(body.len(), total);
            return Ok(Came::Whole);
        }
        if !same {
            body.restart(Validators::default()).map_err(disk)?;
            let why =
                io::Error::other(format!("the server answered {status} with another part than asked for"));
            return Err(Failure { error: wanted.network(why), passing: true, retry_after: None });
        }
    } else if status.is_success() {
        total = response.content_length();
        body.restart(Validators::of(response.headers())).map_err(disk)?;
    } else {
        return Err(Failure {
            error: SourceError::Status { url: redacted(wanted.url).into_owned(), status: status.as_u16() },
            passing: passing(status.as_u16()),
            retry_after: retry::retry_after(response.headers(), SystemTime::now()),
        });
    }
    let too_large = || {
        let what = redacted(wanted.url).into_owned();
        Failure::lasting(SourceError::TooLarge { what, limit: wanted.limit })
    };
    if total.is_some_and(|total| total > wanted.limit) {
        return Err(too_large());
    }
    while let Some(chunk) = response.chunk().await.map_err(network)? {
        if body.len() + chunk.len() as u64 > wanted.limit {
            return Err(too_large());
        }
        body.append(&chunk).map_err(disk)?;
        meter.moved(body.len(), total);
    }
    if let Some(total) = total.filter(|total| *total != body.len()) {
        let why = io::Error::other(format!("{} of {total} bytes came", body.len()));
        return Err(Failure { error: wanted.network(why), passing: true, retry_after: None });
    }
    meter.tell(body.len(), total);
    Ok(Came::Whole)
}

/// Asks for what is missing if something is there, and else only for what is not known already.
fn conditions(request: RequestBuilder, known: Option<&Validators>, body: &Body) -> RequestBuilder {
    if let Some(validator) = body.validators.strong().filter(|_| body.len() > 0) {
        return request.header(RANGE, format!("bytes={}-", body.len())).header(IF_RANGE, validator);
    }
    let Some(known) = known.filter(|_| body.len() == 0) else { return request };
    let request = match &known.etag {
        Some(etag) => request.header(IF_NONE_MATCH, etag),
        None => request,
    };
    match &known.last_modified {
        Some(date) => request.header(IF_MODIFIED_SINCE, date),
        None => request,
    }
}

/// The first byte and the length of the whole in `Content-Range` (RFC 9110, 14.4): `bytes 5-9/10`, `bytes */10`.
fn content_range(response: &Response) -> Option<(Option<u64>, Option<u64>)> {
    let text = response.headers().get(CONTENT_RANGE)?.to_str().ok()?;
    let (range, total) = text.trim().strip_prefix("bytes ")?.split_once('/')?;
    let first = range.split_once('-').and_then(|(first, _)| first.trim().parse().ok());
    Some((first, total.trim().parse().ok()))
}

/// Whether a host that answers so may answer otherwise later.
fn passing(status: u16) -> bool {
    matches!(status, 408 | 429 | 500..=599)
}

impl Wanted<'_> {
    fn network(&self, why: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> SourceError {
        SourceError::Network { url: redacted(self.url).into_owned(), attempts: 1, source: why.into() }
    }
}

struct Failure {
    error: SourceError,
    /// Whether the same request may succeed later.
    passing: bool,
    retry_after: Option<Duration>,
}

impl Failure {
    fn lasting(error: SourceError) -> Self {
        Self { error, passing: false, retry_after: None }
    }
}

#[cfg(test)]
mod tests;
