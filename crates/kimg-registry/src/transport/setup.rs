//! HTTP clients: certificates, proxies, time-outs.

use std::fmt::Display;
use std::time::Duration;

use reqwest::{Certificate, Client, ClientBuilder, NoProxy, Proxy, redirect};

use crate::{Options, RegistryError};

fn setting(what: impl Into<String>, problem: impl Display) -> RegistryError {
    RegistryError::Setting { what: what.into(), problem: problem.to_string() }
}

/// A client; `lax` ones take any certificate.
pub(super) fn client(options: &Options, lax: bool) -> Result<Client, RegistryError> {
    // The first to come installs ring as the process's provider; one that is there already is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let own = match &options.ca_file {
        Some(path) => {
            let name = || format!("the certificates in `{}`", path.display());
            let pem = fs_err::read(path)?;
            let own = Certificate::from_pem_bundle(&pem).map_err(|error| setting(name(), error))?;
            if own.is_empty() {
                return Err(setting(name(), "there are none"));
            }
            own
        }
        None => Vec::new(),
    };
    let merged = builder(options, lax)?.tls_certs_merge(own.clone()).build();
    // Where the system has no certificates at all, one's own are enough.
    let built = match merged {
        Err(_) if !own.is_empty() => builder(options, lax)?.tls_certs_only(own).build(),
        merged => merged,
    };
    built.map_err(|error| setting("TLS can't be set up", whole(&error)))
}

fn builder(options: &Options, lax: bool) -> Result<ClientBuilder, RegistryError> {
    let mut builder = Client::builder()
        .user_agent(&options.user_agent)
        .connect_timeout(options.stalled_after.min(Duration::from_secs(20)))
        .referer(false)
        // What is followed is decided for each request: a blob may lie elsewhere, an upload may not.
        .redirect(redirect::Policy::none())
        .retry(reqwest::retry::never())
        .no_proxy();
    if lax {
        builder = builder.tls_danger_accept_invalid_certs(true);
    }
    let except = options.proxies.except.as_deref().and_then(NoProxy::from_string);
    // An address of a proxy may hold a password: it is not repeated.
    let wrong = |_| setting("the address of the proxy", "it is no address");
    if let Some(address) = &options.proxies.http {
        builder = builder.proxy(Proxy::http(address).map_err(wrong)?.no_proxy(except.clone()));
    }
    if let Some(address) = &options.proxies.https {
        builder = builder.proxy(Proxy::https(address).map_err(wrong)?.no_proxy(except));
    }
    Ok(builder)
}

/// An error with its causes, without an address.
fn whole(error: &reqwest::Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(why) = cause {
        text = format!("{text}: {why}");
        cause = why.source();
    }
    text
}
