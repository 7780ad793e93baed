//! How a registry wants to be logged in to: `WWW-Authenticate` (RFC 9110, 11.6.1; RFC 6750; the "Docker Registry v2
//! authentication" of distribution).

use http_auth::ChallengeParser;
use reqwest::header::{HeaderMap, WWW_AUTHENTICATE};

/// What is sent along with requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Challenge {
    /// Name and password.
    Basic,
    /// A token that a token service gives.
    Bearer {
        /// The address of the service.
        realm: String,
        /// Its name for the registry.
        service: Option<String>,
    },
}

/// The challenge of an answer. Tokens come first: where both are offered, a password need not go along each time.
pub(super) fn challenge(headers: &HeaderMap) -> Option<Challenge> {
    let mut found = None;
    for value in headers.get_all(WWW_AUTHENTICATE) {
        for challenge in ChallengeParser::new(value.to_str().ok()?).map_while(Result::ok) {
            let parameter = |name: &str| {
                let value = challenge.params.iter().find(|(key, _)| key.eq_ignore_ascii_case(name))?;
                Some(value.1.to_unescaped())
            };
            if challenge.scheme.eq_ignore_ascii_case("bearer") {
                if let Some(realm) = parameter("realm") {
                    return Some(Challenge::Bearer { realm, service: parameter("service") });
                }
            } else if challenge.scheme.eq_ignore_ascii_case("basic") {
                found = Some(Challenge::Basic);
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(values: &[&str]) -> Option<Challenge> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(WWW_AUTHENTICATE, value.parse().unwrap());
        }
        challenge(&headers)
    }

    #[test]
    fn a_token_service_comes_before_a_password() {
        let bearer = r#"Bearer realm="https://auth.example/token",service="registry",scope="a,b""#;
        let expected = Challenge::Bearer {
            realm: "https://auth.example/token".into(),
            service: Some("registry".into()),
        };
        assert_eq!(read(&[bearer]).as_ref(), Some(&expected));
        assert_eq!(read(&[r#"Basic realm="x""#, bearer]).as_ref(), Some(&expected));
        assert_eq!(read(&[&format!(r#"Basic realm="x", {bearer}"#)]).as_ref(), Some(&expected));
    }

    #[test]
    fn what_is_no_challenge_is_none() {
        assert_eq!(read(&[r#"basic realm="x""#]), Some(Challenge::Basic));
        assert_eq!(read(&["Bearer"]), None);
        assert_eq!(read(&[r#"Bearer service="x""#]), None);
        assert_eq!(read(&["Negotiate"]), None);
        assert_eq!(read(&["\"\"", ","]), None);
        assert_eq!(read(&[]), None);
    }
}
