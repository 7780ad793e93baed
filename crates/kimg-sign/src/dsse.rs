//! Signed statements about an image: in-toto statements (in-toto/attestation, `spec/v1/statement.md`) in DSSE envelopes
//! (secure-systems-lab/dsse, `protocol.md` and `envelope.md`).

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use kimg_core::Digest;
use ring::rand::SecureRandom;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{SignError, Signature, SigningKey, VerifyingKey};

/// What an envelope with an in-toto statement in it holds.
const IN_TOTO: &str = "application/vnd.in-toto+json";

const STATEMENT_V1: &str = "https://in-toto.io/Statement/v1";
/// What cosign writes to this day.
const STATEMENT_V0: &str = "https://in-toto.io/Statement/v0.1";

/// More signatures of one envelope are not tried.
const MAX_SIGNATURES: usize = 100;

/// Something said about an image.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Statement {
    #[serde(rename = "_type")]
    kind: String,
    subject: Vec<Subject>,
    /// What kind of thing is said: `https://spdx.dev/Document`, `https://slsa.dev/provenance/v1`.
    #[serde(rename = "predicateType")]
    pub predicate_type: String,
    /// What is said.
    pub predicate: Value,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Subject {
    #[serde(default)]
    name: String,
    digest: BTreeMap<String, String>,
}

impl Statement {
    /// Says this about the image with this digest in this repository.
    pub fn new(repository: &str, digest: Digest, predicate_type: &str, predicate: Value) -> Self {
        let digest = BTreeMap::from([("sha256".to_owned(), digest.hex())]);
        Self {
            kind: STATEMENT_V1.to_owned(),
            subject: vec![Subject { name: repository.to_owned(), digest }],
            predicate_type: predicate_type.to_owned(),
            predicate,
        }
    }

    /// Reads one.
    ///
    /// # Errors
    /// What is none.
    pub fn parse(bytes: &[u8]) -> Result<Self, SignError> {
        let malformed = |problem: String| SignError::Malformed { what: "statement", problem };
        let statement: Self = serde_json::from_slice(bytes).map_err(|error| malformed(error.to_string()))?;
        if ![STATEMENT_V1, STATEMENT_V0].contains(&statement.kind.as_str()) {
            let kind: String = statement.kind.chars().take(100).collect();
            return Err(malformed(format!("it says it is a `{}`", kind.escape_debug())));
        }
        Ok(statement)
    }

    /// The statement as JSON: the same one, the same bytes.
    pub fn to_json(&self) -> Vec<u8> {
        // A struct of strings and JSON can always be written.
        serde_json::to_vec(self).unwrap_or_else(|error| unreachable!("{error}"))
    }

    /// Whether it is about the image with this digest.
    pub fn is_about(&self, digest: Digest) -> bool {
        let hex = digest.hex();
        self.subject.iter().any(|subject| subject.digest.get("sha256") == Some(&hex))
    }
}

/// A statement with its signatures.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Envelope {
    payload_type: String,
    payload: String,
    signatures: Vec<EnvelopeSignature>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct EnvelopeSignature {
    #[serde(default)]
    keyid: String,
    sig: String,
}

/// A statement that a good signature stands behind.
#[derive(Debug, Clone, PartialEq)]
pub struct Attested {
    /// The statement.
    pub statement: Statement,
    /// Its bytes, as they were signed.
    pub bytes: Vec<u8>,
}

impl Envelope {
    /// Signs a statement.
    ///
    /// # Errors
    /// No randomness.
    pub fn sign(statement: &[u8], key: &SigningKey, random: &dyn SecureRandom) -> Result<Self, SignError> {
        let sig = key.sign(&pae(IN_TOTO, statement), random)?.to_string();
        Ok(Self {
            payload_type: IN_TOTO.to_owned(),
            payload: STANDARD.encode(statement),
            signatures: vec![EnvelopeSignature { keyid: String::new(), sig }],
        })
    }

    /// Reads one.
    ///
    /// # Errors
    /// What is none.
    pub fn parse(bytes: &[u8]) -> Result<Self, SignError> {
        let malformed = |problem: String| SignError::Malformed { what: "envelope", problem };
        let envelope: Self = serde_json::from_slice(bytes).map_err(|error| malformed(error.to_string()))?;
        match envelope.signatures.len() {
            1..=MAX_SIGNATURES => Ok(envelope),
            count => Err(malformed(format!("it has {count} signatures"))),
        }
    }

    /// The envelope as JSON.
    pub fn to_json(&self) -> Vec<u8> {
        // A struct of strings can always be written.
        serde_json::to_vec(self).unwrap_or_else(|error| unreachable!("{error}"))
    }

    /// The statement inside, if this key signed it and it is about this image.
    ///
    /// # Errors
    /// Another key or changed bytes; another image; no in-toto statement.
    pub fn verify(&self, key: &VerifyingKey, image: Digest) -> Result<Attested, SignError> {
        let malformed = |problem: String| SignError::Malformed { what: "envelope", problem };
        let bytes = STANDARD.decode(&self.payload).map_err(|error| malformed(error.to_string()))?;
        let signed = pae(&self.payload_type, &bytes);
        let good = self
            .signatures
            .iter()
            .filter_map(|one| Signature::from_base64(&one.sig).ok())
            .any(|signature| key.verify(&signed, &signature).is_ok());
        if !good {
            return Err(SignError::WrongSignature);
        }
        if self.payload_type != IN_TOTO {
            let kind: String = self.payload_type.chars().take(100).collect();
            return Err(malformed(format!("it holds a `{}`", kind.escape_debug())));
        }
        let statement = Statement::parse(&bytes)?;
        if !statement.is_about(image) {
            let about = statement.subject.iter().filter_map(|it| it.digest.get("sha256"));
            let found =
                about.map(|hex| format!("sha256:{:.64}", hex.escape_debug())).next().unwrap_or_default();
            return Err(SignError::OtherImage { expected: image, found });
        }
        Ok(Attested { statement, bytes })
    }
}

/// What is signed: type and bytes, each behind its length ("pre-authentication encoding").
fn pae(kind: &str, bytes: &[u8]) -> Vec<u8> {
    let mut signed = format!("DSSEv1 {} {kind} {} ", kind.len(), bytes.len()).into_bytes();
    signed.extend_from_slice(bytes);
    signed
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the specification (`protocol.md`, "Test Vectors").
    #[test]
    fn what_is_signed_is_what_the_specification_says() {
        let signed = pae("http://example.com/HelloWorld", b"hello world");
        assert_eq!(signed, b"DSSEv1 29 http://example.com/HelloWorld 11 hello world");
    }
}
