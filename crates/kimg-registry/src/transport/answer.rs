//! What came back: statuses as errors, bodies within limits of size and time.

use std::time::Duration;

use kimg_core::Digest;
use reqwest::header::HeaderMap;
use reqwest::{Response, StatusCode, Url};
use serde::Deserialize;

use super::ask::Authority;
use crate::RegistryError;
use crate::reference::DOCKER_HUB;

/// Manifests and indexes are never larger: 4 MiB, what registries take (OCI distribution-spec, "Pushing Manifests").
pub(crate) const MAX_MANIFEST: u64 = 4 << 20;

/// What is read of a refusal: 64 KiB.
const MAX_REFUSAL: u64 = 64 << 10;

/// What is repeated of what a registry says.
const MAX_SAID: usize = 300;

/// An answer of which the body has not been read yet.
#[derive(Debug)]
pub(crate) struct Received {
    pub(crate) status: StatusCode,
    response: Response,
    /// With what was asked: it is not to be seen in what is said of the answer.
    authority: Option<Authority>,
    stalled_after: Duration,
}

impl Received {
    pub(super) fn new(response: Response, authority: Option<Authority>, stalled_after: Duration) -> Self {
        Self { status: response.status(), response, authority, stalled_after }
    }

    pub(crate) fn headers(&self) -> &HeaderMap {
        self.response.headers()
    }

    /// A header that is text.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers().get(name)?.to_str().ok()
    }

    pub(crate) fn url(&self) -> &Url {
        self.response.url()
    }

    pub(crate) fn content_length(&self) -> Option<u64> {
        // Not the response's own word, which is 0 after HEAD.
        self.header("content-length")?.trim().parse().ok()
    }

    /// The next piece of the body; `None` at its end.
    pub(crate) async fn piece(
        &mut self,
        doing: &str,
    ) -> Result<Option<impl AsRef<[u8]> + use<>>, RegistryError> {
        match tokio::time::timeout(self.stalled_after, self.response.chunk()).await {
            Ok(Ok(piece)) => Ok(piece),
            Ok(Err(error)) => Err(network(doing, error.without_url())),
            Err(_) => Err(network(doing, Stalled(self.stalled_after))),
        }
    }

    /// The whole body, if it is at most so many bytes, and does not come in drops.
    pub(crate) async fn bytes(mut self, limit: u64, doing: &str) -> Result<Vec<u8>, RegistryError> {
        let too_large = || RegistryError::TooLarge {
            what: format!("the answer to {doing}"),
            limit: format!("{limit} bytes"),
        };
        if self.content_length().is_some_and(|length| length > limit) {
            return Err(too_large());
        }
        let patience = self.stalled_after * 10;
        let all = async {
            let mut bytes = Vec::new();
            while let Some(piece) = self.piece(doing).await? {
                bytes.extend_from_slice(piece.as_ref());
                if bytes.len() as u64 > limit {
                    return Err(too_large());
                }
            }
            Ok(bytes)
        };
        tokio::time::timeout(patience, all).await.unwrap_or_else(|_| Err(network(doing, Stalled(patience))))
    }
}

/// A connection on which nothing moved.
#[derive(Debug, thiserror::Error)]
#[error("nothing came within {} s", .0.as_secs_f32())]
pub(super) struct Stalled(pub(super) Duration);

pub(super) fn network(
    doing: &str,
    source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
) -> RegistryError {
    RegistryError::Network { doing: doing.to_owned(), attempts: 1, source: source.into() }
}

/// An address without name, password and query, which may hold what nobody needs to see.
pub(super) fn shown(url: &Url) -> String {
    let mut url = url.clone();
    let _ = url.set_username("").and_then(|()| url.set_password(None));
    url.set_query(None);
    url.to_string()
}

/// Whether what the registry calls it (`Docker-Content-Digest`) is what it is here. Without the header, or with a digest
/// of another kind, there is nothing to compare.
pub(crate) fn same_digest(received: &Received, digest: Digest, what: &str) -> Result<(), RegistryError> {
    match received.header("docker-content-digest") {
        Some(said) if said.starts_with("sha256:") && said != digest.to_string() => {
            let said = clean(said);
            Err(RegistryError::mismatch(format!("what the registry calls {what}"), digest, said))
        }
        _ => Ok(()),
    }
}

/// The registry at an address, as references call it.
fn name_of(url: &Url) -> String {
    let host = url.host_str().unwrap_or("the registry");
    match (host, url.port()) {
        ("registry-1.docker.io", _) => DOCKER_HUB.to_owned(),
        (host, Some(port)) => format!("{host}:{port}"),
        (host, None) => host.to_owned(),
    }
}

/// The error that a status stands for, with what the registry says about it.
pub(crate) async fn refused(received: Received, doing: &str) -> RegistryError {
    let status = received.status.as_u16();
    let (registry, authority) = (name_of(received.url()), received.authority.clone());
    let body = received.bytes(MAX_REFUSAL, doing).await.unwrap_or_default();
    let said = said(&body, authority.as_ref());
    let doing = doing.to_owned();
    match status {
        401 | 403 => RegistryError::Denied {
            registry,
            doing,
            problem: if said.is_empty() { status.to_string() } else { said },
            known: authority.is_some_and(|authority| authority.named),
        },
        404 => RegistryError::NotFound { what: format!("such thing: {doing} was answered with 404") },
        408 | 429 | 500..=599 => RegistryError::Busy { doing, status, said, attempts: 1 },
        _ => RegistryError::Refused { doing, status, said },
    }
}

/// What a registry says about an error (OCI distribution-spec, "Error Codes"), on one line, without what it was sent.
fn said(body: &[u8], authority: Option<&Authority>) -> String {
    #[derive(Deserialize)]
    struct Errors {
        errors: Vec<One>,
    }
    #[derive(Deserialize)]
    struct One {
        #[serde(default)]
        code: String,
        #[serde(default)]
        message: String,
    }
    let Ok(Errors { errors }) = serde_json::from_slice(body) else { return String::new() };
    let one = |error: &One| match (error.code.as_str(), error.message.as_str()) {
        (code, "") => code.to_owned(),
        ("", message) => message.to_owned(),
        (code, message) => format!("{message} ({code})"),
    };
    let text = errors.iter().map(one).collect::<Vec<_>>().join("; ");
    clean(&authority.map_or(text.clone(), |authority| authority.hidden_in(&text)))
}

/// Foreign text on one line, and not too much of it.
pub(super) fn clean(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(MAX_SAID)
        .collect::<String>()
        .trim()
        .to_owned()
}
