//! A request before it is made: what for, with which body, and who asks.

use reqwest::header::{HeaderMap, HeaderValue};
use reqwest::{Method, Url};

use super::answer::shown;
use super::body::Sent;
use super::{Payload, token};
use crate::{Repository, Secret};

/// What a token is good for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Scope {
    pub(super) repository: Repository,
    actions: Actions,
    /// From where a blob is mounted.
    source: Option<Repository>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Actions {
    Nothing,
    Pull,
    Push,
}

impl Scope {
    /// Only who one is.
    pub(super) fn nothing(repository: &Repository) -> Self {
        Self { actions: Actions::Nothing, ..Self::pull(repository) }
    }

    pub(crate) fn pull(repository: &Repository) -> Self {
        Self { repository: repository.clone(), actions: Actions::Pull, source: None }
    }

    pub(crate) fn push(repository: &Repository) -> Self {
        Self { actions: Actions::Push, ..Self::pull(repository) }
    }

    pub(crate) fn mount(repository: &Repository, source: &Repository) -> Self {
        Self { source: Some(source.clone()), ..Self::push(repository) }
    }

    /// As token services are asked for it (distribution, "Token Scope Documentation").
    pub(super) fn texts(&self) -> Vec<String> {
        let actions = match self.actions {
            Actions::Nothing => return Vec::new(),
            Actions::Pull => "pull",
            Actions::Push => "pull,push",
        };
        let own = format!("repository:{}:{actions}", self.repository.path());
        let source = self.source.as_ref().map(|source| format!("repository:{}:pull", source.path()));
        std::iter::once(own).chain(source).collect()
    }

    pub(super) fn doing(&self) -> String {
        match self.actions {
            Actions::Nothing => format!("logging in to {}", self.repository.registry()),
            Actions::Pull => format!("pulling from {}", self.repository),
            Actions::Push => format!("pushing to {}", self.repository),
        }
    }
}

/// What says who asks.
#[derive(Debug, Clone)]
pub(super) struct Authority {
    pub(super) header: Option<HeaderValue>,
    pub(super) secrets: Vec<Secret>,
    /// Whether it is somebody, and not just anybody's token.
    pub(super) named: bool,
}

impl Authority {
    pub(super) fn bearer(token: Secret, named: bool) -> Self {
        Self { header: token.header("Bearer "), secrets: vec![token], named }
    }

    pub(super) fn basic(username: &str, password: Secret) -> Self {
        let encoded = token::basic(username, &password);
        Self { header: encoded.header("Basic "), secrets: vec![password, encoded], named: true }
    }

    pub(super) fn is(&self, secret: &Secret) -> bool {
        self.secrets.contains(secret)
    }

    pub(super) fn hidden_in(&self, text: &str) -> String {
        self.secrets.iter().fold(text.to_owned(), |text, secret| secret.hidden_in(&text))
    }
}

/// A request that can be made several times.
#[derive(Debug, Clone)]
pub(crate) struct Ask {
    pub(super) method: Method,
    pub(super) url: Url,
    /// For errors: `PUT https://…`, or better words.
    pub(crate) doing: String,
    pub(super) headers: HeaderMap,
    pub(super) payload: Payload,
    pub(super) sent: Sent,
    pub(super) scope: Option<Scope>,
    pub(super) authority: Option<Authority>,
    pub(super) follow: bool,
}

impl Ask {
    pub(crate) fn new(method: Method, url: Url, doing: impl Into<String>) -> Self {
        Self {
            method,
            url,
            doing: doing.into(),
            headers: HeaderMap::new(),
            payload: Payload::None,
            sent: Sent::default(),
            scope: None,
            authority: None,
            follow: false,
        }
    }

    /// A request to the registry's own addresses, with a token for this.
    pub(crate) fn scoped(method: Method, url: Url, scope: &Scope) -> Self {
        let doing = format!("{method} {}", shown(&url));
        Self { scope: Some(scope.clone()), ..Self::new(method, url, doing) }
    }

    pub(crate) fn headers(self, headers: HeaderMap) -> Self {
        Self { headers, ..self }
    }

    /// With a header whose value is visible ASCII.
    pub(crate) fn header(mut self, name: &'static str, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.headers.insert(name, value);
        }
        self
    }

    pub(crate) fn body(self, payload: Payload) -> Self {
        Self { payload, ..self }
    }

    pub(crate) fn watched(self, sent: Sent) -> Self {
        Self { sent, ..self }
    }

    /// Goes where it is sent to, as blobs may lie elsewhere. Who asks is not told there.
    pub(crate) fn follow(self) -> Self {
        Self { follow: true, ..self }
    }

    pub(super) fn authority(self, authority: Authority) -> Self {
        Self { authority: Some(authority), ..self }
    }
}
