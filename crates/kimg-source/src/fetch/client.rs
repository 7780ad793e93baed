//! The HTTP client: time-outs, proxies, certificates, and which redirects are followed.

use std::time::Duration;

use reqwest::{Client, Url, redirect};

use crate::SourceError;
use crate::location::redacted;

/// More redirects than this lead nowhere.
const REDIRECTS: usize = 10;

pub(super) fn client(url: &str) -> Result<Client, SourceError> {
    // The first to come installs ring as the process's provider; one that is there already is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    Client::builder()
        .user_agent(concat!("kimg/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(Duration::from_secs(20))
        .read_timeout(Duration::from_secs(60))
        .referer(false)
        .redirect(redirect::Policy::custom(|attempt| match refused(attempt.previous(), attempt.url()) {
            Some(why) => attempt.error(why),
            None => attempt.follow(),
        }))
        .build()
        .map_err(|error| SourceError::Network {
            url: redacted(url).into_owned(),
            attempts: 1,
            source: error.into(),
        })
}

/// Why a redirect is not followed, if it is not: what was asked for over TLS must not come without it.
fn refused(previous: &[Url], next: &Url) -> Option<String> {
    if previous.len() > REDIRECTS {
        return Some(format!("more than {REDIRECTS} redirects"));
    }
    let host = next.host_str().unwrap_or("");
    match next.scheme() {
        "https" => None,
        "http" if previous.iter().all(|url| url.scheme() == "http") => None,
        "http" => Some(format!("it redirects from https to http, to {host}")),
        other => Some(format!("it redirects to `{other}:`")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn urls(texts: &[&str]) -> Vec<Url> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn a_redirect_never_leads_from_https_to_http_not_even_by_a_detour() {
        let http = &urls(&["http://b.example/x?token=1"])[0];
        let https = &urls(&["https://b.example/x"])[0];
        assert_eq!(refused(&urls(&["https://a"]), https), None);
        assert_eq!(refused(&urls(&["http://a"]), https), None);
        assert_eq!(refused(&urls(&["http://a", "http://c"]), http), None);
        let why = refused(&urls(&["https://a"]), http).unwrap();
        assert_eq!(why, "it redirects from https to http, to b.example");
        assert!(refused(&urls(&["http://a", "https://c", "https://d"]), http).is_some());
        assert!(refused(&urls(&["https://a"]), &urls(&["ftp://b"])[0]).is_some());
        assert!(refused(&urls(&["https://a"; 11]), https).is_some());
    }
}
