//! One registry: how it is reached, and which addresses are its own.

use std::io;
use std::net::IpAddr;
use std::time::Duration;

use reqwest::Url;
use tokio::sync::Mutex;

use super::challenge::{Challenge, challenge};
use super::token::Known;
use super::{Transport, answer};
use crate::reference::DOCKER_HUB;
use crate::{RegistryError, Repository};

/// A registry that was met.
#[derive(Debug)]
pub(crate) struct Host {
    /// What people call it.
    pub(super) name: String,
    /// `https://registry-1.docker.io/`
    base: Url,
    /// Whether its certificate does not count.
    pub(super) lax: bool,
    /// How it wants to be logged in to, and what was got for that.
    pub(super) known: Mutex<Known>,
}

/// A registry on this machine that stays silent when it is asked over TLS speaks plain HTTP.
const PROBE: Duration = Duration::from_secs(5);

impl Transport {
    /// Finds out how a registry is reached. Nobody is told who asks.
    pub(super) async fn meet(&self, name: &str) -> Result<Host, RegistryError> {
        let host = if name == DOCKER_HUB { "registry-1.docker.io" } else { name };
        let address = |scheme: &str| {
            Url::parse(&format!("{scheme}://{host}/")).map_err(|error| RegistryError::Setting {
                what: format!("the registry `{name}`"),
                problem: error.to_string(),
            })
        };
        let secure = address("https")?;
        let may_be_plain = self.options.insecure || is_loopback(&secure);
        let met = |base: Url, challenge: Option<Challenge>| Host {
            name: name.to_owned(),
            base,
            lax: self.options.insecure,
            known: Mutex::new(Known::new(challenge)),
        };
        if !may_be_plain {
            // The first request brings the challenge.
            return Ok(met(secure, None));
        }
        let http = self.lax.as_ref().unwrap_or(&self.http);
        let probe = |base: &Url| {
            let url = base.join("v2/").unwrap_or_else(|_| base.clone());
            http.get(url).timeout(self.options.stalled_after.min(PROBE)).send()
        };
        match probe(&secure).await {
            Ok(answer) => Ok(met(secure, challenge(answer.headers()))),
            // Who shows a certificate speaks TLS: what is wrong with that is what counts.
            Err(error) if is_about_a_certificate(&error) => {
                Err(answer::network(&format!("asking {name}"), error))
            }
            Err(_) => Ok(met(address("http")?, None)),
        }
    }
}

impl Host {
    /// An address of its own: `repository.path()/…` below `/v2/`.
    pub(crate) fn url(&self, repository: &Repository, rest: &str) -> Result<Url, RegistryError> {
        let path = format!("v2/{}/{rest}", repository.path());
        self.base.join(&path).map_err(|error| RegistryError::Protocol {
            doing: format!("asking {}", self.name),
            problem: error.to_string(),
        })
    }

    /// Where every registry answers something.
    pub(super) fn root(&self) -> Result<Url, RegistryError> {
        self.base.join("v2/").map_err(|error| RegistryError::Protocol {
            doing: format!("asking {}", self.name),
            problem: error.to_string(),
        })
    }

    /// Whether an address is on this registry: the same scheme, host and port.
    pub(crate) fn owns(&self, url: &Url) -> bool {
        url.origin() == self.base.origin()
    }

    pub(super) fn is_plain(&self) -> bool {
        self.base.scheme() == "http"
    }

    pub(super) fn port(&self) -> Option<u16> {
        self.base.port_or_known_default()
    }

    pub(super) fn host_name(&self) -> &str {
        self.base.host_str().unwrap_or_default()
    }

    /// Where an upload goes on: the `Location` of an answer, which may be relative, if it is on this registry.
    ///
    /// Registries behind a proxy that ends TLS call themselves `http`; they are asked over TLS all the same.
    pub(crate) fn upload_location(&self, from: &Url, location: &str) -> Result<Url, RegistryError> {
        let wrong = |problem: String| RegistryError::Protocol {
            doing: format!("uploading to {}", answer::shown(from)),
            problem,
        };
        let mut url = from.join(location).map_err(|_| wrong("its `Location` is no address".into()))?;
        if url.scheme() == "http" && !self.is_plain() && url.host_str() == self.base.host_str() {
            let port = url.port().filter(|port| *port != 80).or(self.base.port());
            let moved = url.set_scheme("https").and_then(|()| url.set_port(port));
            moved.map_err(|()| wrong("its `Location` is no address".into()))?;
        }
        url.set_fragment(None);
        if self.owns(&url) && url.username().is_empty() && url.password().is_none() {
            return Ok(url);
        }
        let host = url.host_str().unwrap_or("nowhere").to_owned();
        Err(wrong(format!("it wants the bytes to be sent to {host}, which is not the registry")))
    }
}

/// Whether a connection came to nothing over the certificate that the other side showed.
fn is_about_a_certificate(error: &reqwest::Error) -> bool {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(why) = cause {
        // An I/O error passes over what it wraps when it is asked for its source.
        let wrapped = why.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        let found = wrapped.and_then(|inner| inner.downcast_ref::<rustls::Error>());
        if matches!(found.or(why.downcast_ref()), Some(rustls::Error::InvalidCertificate(_))) {
            return true;
        }
        cause = wrapped.map(|inner| inner as &(dyn std::error::Error + 'static)).or(why.source());
    }
    false
}

/// Whether an address is that of this machine, by its name or number alone.
fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
    host == "localhost"
        || host.ends_with(".localhost")
        || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(base: &str) -> Host {
        Host {
            name: "registry".into(),
            base: base.parse().unwrap(),
            lax: false,
            known: Mutex::new(Known::new(None)),
        }
    }

    fn location(host: &Host, text: &str) -> Option<String> {
        let from = host.base.join("v2/a/blobs/uploads/").unwrap();
        host.upload_location(&from, text).ok().map(|url| url.to_string())
    }

    #[test]
    fn an_upload_goes_on_at_the_registry_only() {
        let here = host("https://reg.example/");
        let good = Some("https://reg.example/v2/a/blobs/uploads/1?s=x".to_owned());
        assert_eq!(location(&here, "/v2/a/blobs/uploads/1?s=x"), good);
        assert_eq!(location(&here, "1?s=x"), good);
        assert_eq!(location(&here, "https://reg.example:443/v2/a/blobs/uploads/1?s=x"), good);
        assert_eq!(
            location(&here, "http://reg.example/v2/a/blobs/uploads/1?s=x"),
            good,
            "behind a TLS proxy"
        );
        for foreign in [
            "https://evil.example/1",
            "//evil.example/1",
            "https://reg.example:444/1",
            "https://me:secret@reg.example/1",
            "https://reg.example.evil.example/1",
            "file:///etc/passwd",
            "https://[",
        ] {
            assert_eq!(location(&here, foreign), None, "{foreign}");
        }
        let plain = host("http://127.0.0.1:5000/");
        assert!(location(&plain, "http://127.0.0.1:5001/1").is_none());
        assert!(location(&plain, "http://localhost:5000/1").is_none());
    }

    #[test]
    fn only_this_machine_is_loopback() {
        let is = |text: &str| is_loopback(&text.parse().unwrap());
        assert!(is("https://127.0.0.1:5000/") && is("https://localhost/") && is("https://[::1]:1/"));
        assert!(
            !is("https://localhost.evil.example/") && !is("https://10.0.0.1/") && !is("https://128.0.0.1/")
        );
    }

    #[tokio::test]
    async fn a_registry_elsewhere_is_asked_over_tls_and_nothing_else_is_tried() {
        // Nobody is asked for this: a registry elsewhere could only be met over TLS.
        let transport = Transport::new(crate::Options::default(), crate::Keychain::anonymous()).unwrap();
        for name in ["registry.example", "10.0.0.1:5000", "[2001:db8::1]:80"] {
            let host = transport.meet(name).await.unwrap();
            assert_eq!((host.base.scheme(), host.is_plain()), ("https", false), "{name}");
        }
        let hub = transport.meet(DOCKER_HUB).await.unwrap();
        assert_eq!(hub.base.as_str(), "https://registry-1.docker.io/");
    }
}
