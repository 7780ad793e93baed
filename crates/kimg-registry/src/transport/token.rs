//! Access tokens: which ones are there, how they are got, and to whom credentials may be sent.
//!
//! A token service is asked as distribution's "Token Authentication Specification" has it, with a refresh token as its
//! "`OAuth2`" page has it. Credentials go to the registry's own host, to a domain above it (who holds that could point the
//! registry's name anywhere), to Docker Hub's token service, and to hosts that the settings trust; to nobody else, and
//! nobody else is asked.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::Method;
use reqwest::Url;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use serde::Deserialize;

use super::ask::{Ask, Authority, Scope};
use super::challenge::Challenge;
use super::{Host, Payload, Transport, answer};
use crate::credentials::Credentials;
use crate::{RegistryError, Repository, Secret};

/// What is known about logging in to a registry.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) challenge: Option<Challenge>,
    credentials: HashMap<Repository, Credentials>,
    tokens: HashMap<Scope, Token>,
}

#[derive(Debug)]
struct Token {
    text: Secret,
    good_until: Instant,
}

/// An answer of a token service is never larger: 1 MiB.
const MAX_TOKEN: u64 = 1 << 20;

/// How long a token holds whose service does not say ("Token Response Fields", `expires_in`).
const TOKEN_LIFE: Duration = Duration::from_secs(60);

#[derive(Deserialize)]
struct Issued {
    token: Option<String>,
    access_token: Option<String>,
    expires_in: Option<u64>,
}

impl Known {
    pub(super) fn new(challenge: Option<Challenge>) -> Self {
        Self { challenge, credentials: HashMap::new(), tokens: HashMap::new() }
    }
}

impl Transport {
    /// The value of `Authorization` for a request to the registry, if it wants one; and whether it tells who asks.
    pub(super) async fn authority(
        &self,
        host: &Host,
        scope: &Scope,
    ) -> Result<Option<Authority>, RegistryError> {
        let mut known = host.known.lock().await;
        let Some(challenge) = known.challenge.clone() else { return Ok(None) };
        let credentials = if let Some(credentials) = known.credentials.get(&scope.repository) {
            credentials.clone()
        } else {
            let found = self.keychain.credentials_for(&scope.repository).await?;
            known.credentials.insert(scope.repository.clone(), found.clone());
            found
        };
        match (challenge, credentials) {
            (_, Credentials::RegistryToken(token)) => Ok(Some(Authority::bearer(token, true))),
            (Challenge::Basic, Credentials::Basic { username, password }) => {
                Ok(Some(Authority::basic(&username, password)))
            }
            (Challenge::Basic, _) => Ok(None),
            (Challenge::Bearer { realm, service }, credentials) => {
                let named = credentials != Credentials::Anonymous;
                let now = Instant::now();
                if let Some(token) = known.tokens.get(scope).filter(|token| token.good_until > now) {
                    return Ok(Some(Authority::bearer(token.text.clone(), named)));
                }
                let realm = self.realm(host, &realm)?;
                let issued = self.issue(host, realm, service.as_deref(), scope, &credentials).await?;
                let life =
                    issued.expires_in.map_or(TOKEN_LIFE, Duration::from_secs).min(Duration::from_secs(3600));
                let text = issued.token.or(issued.access_token).filter(|text| !text.is_empty());
                let text = Secret::new(text.ok_or_else(|| RegistryError::Protocol {
                    doing: format!("logging in to {}", host.name),
                    problem: "there is no token in the answer".into(),
                })?);
                // A tenth early, for requests that are on their way for a while.
                let good_until = Instant::now() + life * 9 / 10;
                known.tokens.insert(scope.clone(), Token { text: text.clone(), good_until });
                Ok(Some(Authority::bearer(text, named)))
            }
        }
    }

    /// The address of the token service, if it may be told credentials.
    fn realm(&self, host: &Host, realm: &str) -> Result<Url, RegistryError> {
        let wrong = |problem: &str| RegistryError::Protocol {
            doing: format!("logging in to {}", host.name),
            problem: problem.to_owned(),
        };
        let url = Url::parse(realm).map_err(|_| wrong("its token service is no address"))?;
        let name = url.host_str().unwrap_or_default();
        let good_scheme = url.scheme() == "https" || (host.is_plain() && url.scheme() == "http");
        let trusted = self.options.trusted_realms.iter().any(|trusted| trusted == name);
        let same_port = url.port_or_known_default() == host.port();
        let own = name == host.host_name() && (same_port || url.scheme() == "https" && url.port().is_none());
        if good_scheme && (own || is_relative(host.host_name(), name) || trusted) {
            return Ok(url);
        }
        if !good_scheme {
            return Err(wrong("its token service does not speak TLS"));
        }
        let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
        Err(RegistryError::ForeignRealm { registry: host.name.clone(), host: format!("{name}{port}") })
    }

    async fn issue(
        &self,
        host: &Host,
        realm: Url,
        service: Option<&str>,
        scope: &Scope,
        credentials: &Credentials,
    ) -> Result<Issued, RegistryError> {
        let doing = format!("logging in to {}", host.name);
        let mut fields: Vec<(&str, &str)> = service.map(|service| ("service", service)).into_iter().collect();
        let scopes = scope.texts();
        let ask = if let Credentials::IdentityToken(token) = credentials {
            let scopes = scopes.join(" ");
            fields.extend([("scope", scopes.as_str()), ("client_id", "kimg")]);
            fields.extend([("grant_type", "refresh_token"), ("refresh_token", token.reveal())]);
            let mut form = realm.clone();
            form.query_pairs_mut().clear().extend_pairs(fields);
            let text = form.query().unwrap_or_default().to_owned();
            let mut headers = HeaderMap::new();
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
            let ask = Ask::new(Method::POST, realm, doing.clone());
            ask.headers(headers).body(Payload::bytes(text.into_bytes()))
        } else {
            let mut url = realm;
            fields.extend(scopes.iter().map(|scope| ("scope", scope.as_str())));
            url.query_pairs_mut().extend_pairs(fields);
            let ask = Ask::new(Method::GET, url, doing.clone());
            match credentials {
                Credentials::Basic { username, password } => {
                    ask.authority(Authority::basic(username, password.clone()))
                }
                _ => ask,
            }
        };
        let named = *credentials != Credentials::Anonymous;
        // A request of its own within another one.
        let received = Box::pin(self.call(host, ask)).await?;
        match received.status.as_u16() {
            200..=299 => {}
            400 | 401 | 403 => {
                let problem = format!("its token service answered {}", received.status.as_u16());
                let (registry, doing) = (host.name.clone(), scope.doing());
                return Err(RegistryError::Denied { registry, doing, problem, known: named });
            }
            _ => return Err(answer::refused(received, &doing).await),
        }
        let text = received.bytes(MAX_TOKEN, &doing).await?;
        // Not the parser's own words: they may repeat the token.
        serde_json::from_slice(&text).map_err(|_| RegistryError::Protocol {
            doing,
            problem: "the answer of its token service is not the JSON it should be".into(),
        })
    }

    /// Forgets the token of a scope that was refused, and takes over the challenge that came with that. `false` if
    /// there is nothing to try again with.
    pub(super) async fn refused(
        &self,
        host: &Host,
        scope: &Scope,
        used: Option<&Authority>,
        challenge: Option<Challenge>,
    ) -> bool {
        let mut known = host.known.lock().await;
        let new_challenge = challenge.is_some() && known.challenge != challenge;
        if challenge.is_some() {
            known.challenge = challenge;
        }
        // Another request may have renewed it in the meantime.
        if used.is_some_and(|used| known.tokens.get(scope).is_some_and(|token| used.is(&token.text))) {
            known.tokens.remove(scope);
        }
        new_challenge || known.challenge.is_some()
    }
}

/// Whether the holder of `realm` is the holder of `host`: a domain above it, of two words at least; Docker Hub.
fn is_relative(host: &str, realm: &str) -> bool {
    let named = host.parse::<std::net::IpAddr>().is_err();
    let above =
        named && realm.contains('.') && host.strip_suffix(realm).is_some_and(|rest| rest.ends_with('.'));
    above || (host, realm) == ("registry-1.docker.io", "auth.docker.io")
}

/// `Basic` (RFC 7617).
pub(super) fn basic(username: &str, password: &Secret) -> Secret {
    Secret::new(STANDARD.encode(format!("{username}:{}", password.reveal())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_who_holds_the_registry_is_told_its_passwords() {
        assert!(is_relative("registry-1.docker.io", "auth.docker.io"));
        assert!(is_relative("registry.gitlab.com", "gitlab.com"));
        for (host, realm) in [
            ("registry.example.com", "auth.example.com"),
            ("registry.example.com", "com"),
            ("registry.example.com", "ple.com"),
            ("example.com", "registry.example.com"),
            ("127.0.0.1", "0.0.1"),
            ("evil.docker.io", "auth.docker.io"),
            ("example.com", ""),
        ] {
            assert!(!is_relative(host, realm), "{host} {realm}");
        }
    }
}
