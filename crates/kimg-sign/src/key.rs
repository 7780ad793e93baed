//! Keys: ECDSA on P-256 with SHA-256, the one kind that cosign makes.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use pem_rfc7468::LineEnding;
use ring::rand::SecureRandom;
use ring::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _, UnparsedPublicKey,
};
use zeroize::Zeroizing;

use crate::{SignError, encrypted};

/// What a public key file (SPKI, RFC 5480) holds before the point: `ecPublicKey`, `prime256v1`, and the head of a bit
/// string of 65 bytes.
const SPKI: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86,
    0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];

/// No key file is larger, in bytes.
const MAX_FILE: usize = 64 * 1024;

const PRIVATE: &str = "private key";
const PUBLIC: &str = "public key";

/// A private key. It never prints itself.
pub struct SigningKey {
    pair: EcdsaKeyPair,
}

/// A public key.
#[derive(Clone, PartialEq, Eq)]
pub struct VerifyingKey {
    /// The point, uncompressed: 4, x, y.
    point: Vec<u8>,
}

/// A new key, as the two files that cosign would write. The private one is overwritten in memory when it is dropped.
pub struct KeyPair {
    /// `cosign.key`
    pub private: Zeroizing<String>,
    /// `cosign.pub`
    pub public: String,
}

/// An ECDSA signature in ASN.1 (RFC 3279, section 2.2.3). As text it is base64, as cosign has it in annotations.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature(Vec<u8>);

impl Signature {
    /// Reads base64.
    ///
    /// # Errors
    /// What is no base64, or longer than a signature.
    pub fn from_base64(text: &str) -> Result<Self, SignError> {
        let malformed = |problem: &str| SignError::MalformedSignature(problem.to_owned());
        // Two numbers of 32 bytes with their heads have at most 72.
        if text.len() > 200 {
            return Err(malformed("it is longer than any"));
        }
        let bytes = STANDARD.decode(text.trim()).map_err(|error| malformed(&error.to_string()))?;
        if bytes.is_empty() { Err(malformed("it is empty")) } else { Ok(Self(bytes)) }
    }

    /// The ASN.1.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&STANDARD.encode(&self.0))
    }
}

impl SigningKey {
    /// Reads a private key: PKCS#8 (`PRIVATE KEY`), or a file of `cosign generate-key-pair`, which the password opens.
    /// An empty password is one too. The password is not looked at for a key that is not encrypted.
    ///
    /// # Errors
    /// No key, one of another kind, a missing or wrong password.
    pub fn from_pem(pem: &[u8], password: Option<&[u8]>) -> Result<Self, SignError> {
        let (label, bytes) = decode(pem, PRIVATE)?;
        let pkcs8 = match label.as_str() {
            "PRIVATE KEY" => bytes,
            label if encrypted::LABELS.contains(&label) => {
                let password = password.ok_or(SignError::NeedsPassword)?;
                encrypted::open(&bytes, password)?
            }
            _ => return Err(SignError::OtherPem { what: PRIVATE, found: label }),
        };
        // What ring keeps of it is not overwritten when it is dropped.
        let pair = EcdsaKeyPair::from_pkcs8(
            &ECDSA_P256_SHA256_ASN1_SIGNING,
            &pkcs8,
            &ring::rand::SystemRandom::new(),
        )
        .map_err(|error| SignError::OtherKey { what: PRIVATE, problem: error.to_string() })?;
        Ok(Self { pair })
    }

    /// Signs bytes. Two signatures of the same bytes differ: each takes its own randomness.
    ///
    /// # Errors
    /// No randomness.
    pub fn sign(&self, bytes: &[u8], random: &dyn SecureRandom) -> Result<Signature, SignError> {
        let signature = self.pair.sign(random, bytes).map_err(|_| SignError::Random)?;
        Ok(Signature(signature.as_ref().to_vec()))
    }

    /// The public half.
    pub fn verifying_key(&self) -> VerifyingKey {
        VerifyingKey { point: self.pair.public_key().as_ref().to_vec() }
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningKey(***)")
    }
}

impl fmt::Debug for KeyPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyPair").field("private", &"***").field("public", &self.public).finish()
    }
}

impl VerifyingKey {
    /// Reads a public key (`PUBLIC KEY`, SPKI).
    ///
    /// # Errors
    /// No key, or one of another kind.
    pub fn from_pem(pem: &[u8]) -> Result<Self, SignError> {
        let (label, bytes) = decode(pem, PUBLIC)?;
        if label != "PUBLIC KEY" {
            return Err(SignError::OtherPem { what: PUBLIC, found: label });
        }
        let other = |problem: &str| SignError::OtherKey { what: PUBLIC, problem: problem.to_owned() };
        let point = bytes.strip_prefix(&SPKI[..]).ok_or_else(|| other("its algorithm is another one"))?;
        if point.len() != 65 || point[0] != 4 {
            return Err(other("its point is damaged"));
        }
        Ok(Self { point: point.to_vec() })
    }

    /// The key as `cosign.pub`.
    pub fn to_pem(&self) -> String {
        encode("PUBLIC KEY", &[&SPKI[..], &self.point].concat())
    }

    /// Whether this key signed these bytes.
    ///
    /// # Errors
    /// [`SignError::WrongSignature`] if it did not.
    pub fn verify(&self, bytes: &[u8], signature: &Signature) -> Result<(), SignError> {
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, &self.point)
            .verify(bytes, signature.bytes())
            .map_err(|_| SignError::WrongSignature)
    }
}

impl fmt::Debug for VerifyingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_pem())
    }
}

/// Makes a new key. With a password the private half is encrypted as cosign does it; without one it is plain PKCS#8.
///
/// # Errors
/// No randomness.
pub fn generate_key_pair(password: Option<&[u8]>, random: &dyn SecureRandom) -> Result<KeyPair, SignError> {
    let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, random)
        .map_err(|_| SignError::Random)?;
    let pkcs8 = Zeroizing::new(pkcs8.as_ref().to_vec());
    let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &pkcs8, random)
        .map_err(|error| SignError::OtherKey { what: PRIVATE, problem: error.to_string() })?;
    let public = SigningKey { pair }.verifying_key().to_pem();
    let private = match password {
        None => encode("PRIVATE KEY", &pkcs8),
        Some(password) => encode(encrypted::LABELS[0], &encrypted::close(&pkcs8, password, random)?),
    };
    Ok(KeyPair { private: Zeroizing::new(private), public })
}

fn decode(pem: &[u8], what: &'static str) -> Result<(String, Zeroizing<Vec<u8>>), SignError> {
    if pem.len() > MAX_FILE {
        return Err(SignError::KeyTooLarge { what, limit: MAX_FILE });
    }
    let (label, bytes) = pem_rfc7468::decode_vec(pem.trim_ascii())
        .map_err(|error| SignError::NotPem { what, problem: error.to_string() })?;
    Ok((label.to_owned(), Zeroizing::new(bytes)))
}

fn encode(label: &'static str, bytes: &[u8]) -> String {
    // Only a label that is no label, or more bytes than memory has, could fail.
    pem_rfc7468::encode_string(label, LineEnding::LF, bytes).unwrap_or_else(|error| unreachable!("{error}"))
}
