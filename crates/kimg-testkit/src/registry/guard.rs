//! Who may do what: nobody asks, a name and a password, or tokens of a service (distribution, "Token Authentication").

use std::collections::BTreeMap;

use super::wire::{Answer, Head, pairs};

/// Whom a registry lets in.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum PeerAuth {
    /// Anybody.
    #[default]
    Open,
    /// Who sends this name and password each time.
    Basic(String, String),
    /// Who has a token, which its service gives for this name and password, or for this password as a refresh token.
    Token(String, String),
}

/// Tokens that were given, with their scopes.
#[derive(Debug, Default)]
pub(super) struct Guard {
    pub(super) auth: PeerAuth,
    tokens: BTreeMap<String, Vec<String>>,
    given: usize,
}

impl Guard {
    pub(super) fn new(auth: PeerAuth) -> Self {
        Self { auth, ..Self::default() }
    }

    pub(super) fn revoke(&mut self) {
        self.tokens.clear();
    }

    /// The token service.
    pub(super) fn issue(&mut self, head: &Head, body: &[u8]) -> Answer {
        let PeerAuth::Token(user, password) = &self.auth else { return Answer::new(404) };
        let form = pairs(&String::from_utf8_lossy(body));
        let good = match head.method.as_str() {
            "POST" => {
                form.iter().any(|(key, value)| key == "refresh_token" && value == password)
                    && form.iter().any(|(key, value)| key == "grant_type" && value == "refresh_token")
            }
            _ => {
                head.header("authorization")
                    == Some(&format!("Basic {}", base64(&format!("{user}:{password}"))))
            }
        };
        if !good {
            return Answer::error(401, "UNAUTHORIZED", "wrong name or password");
        }
        let asked = head.query.iter().chain(&form).filter(|(key, _)| key == "scope");
        let scopes = asked.flat_map(|(_, value)| value.split(' ').map(str::to_owned)).collect();
        self.given += 1;
        let token = format!("worthless-token-{}-{}", self.given, "x".repeat(20));
        self.tokens.insert(token.clone(), scopes);
        Answer::new(200).json(&serde_json::json!({ "token": token, "expires_in": 300 }))
    }

    /// Whether a request may do this; else the challenge.
    pub(super) fn check(
        &self,
        head: &Head,
        realm: &str,
        repository: &str,
        action: &str,
    ) -> Result<(), Answer> {
        let said = head.header("authorization").unwrap_or_default();
        let (good, challenge) = match &self.auth {
            PeerAuth::Open => return Ok(()),
            PeerAuth::Basic(user, password) => {
                let expected = format!("Basic {}", base64(&format!("{user}:{password}")));
                (said == expected, r#"Basic realm="kimg's tests""#.to_owned())
            }
            PeerAuth::Token(..) => {
                let scope = format!("repository:{repository}:{action}");
                let challenge = format!(r#"Bearer realm="{realm}",service="peer",scope="{scope}""#);
                (self.has(said, repository, action), challenge)
            }
        };
        if good {
            return Ok(());
        }
        Err(Answer::error(401, "UNAUTHORIZED", "authentication required").with("WWW-Authenticate", challenge))
    }

    /// Whether what was sent as `Authorization` is good for this.
    pub(super) fn has(&self, said: &str, repository: &str, action: &str) -> bool {
        let scopes = match &self.auth {
            PeerAuth::Token(..) => said.strip_prefix("Bearer ").and_then(|token| self.tokens.get(token)),
            _ => return true,
        };
        scopes.is_some_and(|scopes| {
            action.is_empty()
                || scopes.iter().any(|scope| {
                    let actions = scope.strip_prefix(&format!("repository:{repository}:"));
                    actions.is_some_and(|actions| {
                        action.split(',').all(|one| actions.split(',').any(|it| it == one))
                    })
                })
        })
    }
}

/// RFC 4648, section 4.
pub(super) fn base64(text: &str) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for group in text.as_bytes().chunks(3) {
        let bits =
            group.iter().chain([&0, &0]).take(3).fold(0_usize, |bits, byte| bits << 8 | usize::from(*byte));
        for place in 0..4 {
            let letter = char::from(LETTERS[bits >> (18 - 6 * place) & 63]);
            out.push(if place <= group.len() { letter } else { '=' });
        }
    }
    out
}
