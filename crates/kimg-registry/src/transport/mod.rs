//! HTTP as registries speak it: who is asked and how often, who is told what, and what is made of the answers.
//!
//! | file | holds |
//! | --- | --- |
//! | `setup` | certificates, proxies, time-outs |
//! | `host` | one registry: its scheme, its own addresses, its tokens |
//! | `challenge` | `WWW-Authenticate` |
//! | `token` | access tokens, and to whom credentials may be sent |
//! | `body` | what is sent: bytes, or a part of a file, streamed |
//! | `ask` | a request before it is made |
//! | `send` | one request; and the same again as long as that may help |
//! | `answer` | statuses as errors, bodies within limits |

mod answer;
mod ask;
mod body;
mod challenge;
mod host;
mod send;
mod setup;
mod token;

use std::collections::HashMap;
use std::sync::Arc;

use reqwest::{Client as Http, Method};
use tokio::sync::Mutex;

use crate::credentials::Keychain;
use crate::{Options, RegistryError, Repository};

pub(crate) use answer::{MAX_MANIFEST, Received, refused, same_digest};
pub(crate) use ask::{Ask, Scope};
pub(crate) use body::{Payload, Sent};
pub(crate) use host::Host;
pub(crate) use send::{Failure, RENEWALS, wait};

/// What all requests share.
#[derive(Debug)]
pub(crate) struct Transport {
    /// Checks certificates.
    http: Http,
    /// Does not: for hosts that are insecure by setting.
    lax: Option<Http>,
    pub(crate) options: Options,
    keychain: Keychain,
    hosts: Mutex<HashMap<String, Arc<Host>>>,
}

impl Transport {
    pub(crate) fn new(options: Options, keychain: Keychain) -> Result<Self, RegistryError> {
        let http = setup::client(&options, false)?;
        let lax = if options.insecure { Some(setup::client(&options, true)?) } else { None };
        Ok(Self { http, lax, options, keychain, hosts: Mutex::default() })
    }

    /// The registry of a repository. It is asked once how it wants to be talked to.
    pub(crate) async fn host(&self, repository: &Repository) -> Result<Arc<Host>, RegistryError> {
        let mut hosts = self.hosts.lock().await;
        if let Some(host) = hosts.get(repository.registry()) {
            return Ok(Arc::clone(host));
        }
        let host = Arc::new(self.meet(repository.registry()).await?);
        hosts.insert(repository.registry().to_owned(), Arc::clone(&host));
        Ok(host)
    }

    /// Asks a registry for nothing at all (`GET /v2/`), as who is in the keychain.
    pub(crate) async fn log_in(&self, registry: &str) -> Result<(), RegistryError> {
        // No repository is meant, but the registry is named by one.
        let anything = format!("{registry}/login").parse::<Repository>().ok();
        let anything = anything.filter(|it| {
            let said = registry.to_lowercase();
            it.registry() == said || (it.path() == "library/login")
        });
        let anything = anything.ok_or_else(|| RegistryError::Setting {
            what: format!("`{}`", registry.chars().take(200).collect::<String>()),
            problem: "it is no name of a registry".into(),
        })?;
        let host = self.host(&anything).await?;
        let ask = Ask::scoped(Method::GET, host.root()?, &Scope::nothing(&anything));
        let doing = format!("logging in to {registry}");
        let received = self.call(&host, ask).await?;
        if received.status.is_success() { Ok(()) } else { Err(refused(received, &doing).await) }
    }
}
