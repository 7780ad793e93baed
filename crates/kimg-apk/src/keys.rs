//! The public keys that are trusted, and the signatures made with them.

use std::collections::BTreeMap;

use kimg_core::{Classified, Digest, ErrorClass};
use ring::signature::{
    RSA_PKCS1_2048_8192_SHA1_FOR_LEGACY_USE_ONLY, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA512,
    RsaParameters, UnparsedPublicKey,
};
use spki::der::asn1::UintRef;
use spki::der::{Decode, DecodePem, Header, SliceReader};
use spki::{ObjectIdentifier, SubjectPublicKeyInfoOwned};

/// `rsaEncryption` (RFC 8017, appendix A.1).
const RSA_ENCRYPTION: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");

/// The RSA public keys that are trusted, each by the file name it has in `etc/apk/keys`.
///
/// A signature names its key by file name, and only the key of exactly that name is asked.
///
/// ```
/// let mut keys = kimg_apk::KeyRing::new();
/// let error = keys.add("me@example.org-1.rsa.pub", "no key at all").unwrap_err();
/// assert_eq!(error.to_string(), "key `me@example.org-1.rsa.pub`: is no public key in PEM");
/// assert_eq!(keys.names().count(), 0);
/// ```
#[derive(Debug, Clone, Default)]
pub struct KeyRing {
    /// PKCS#1 `RSAPublicKey`, DER, by file name.
    keys: BTreeMap<String, Vec<u8>>,
}

/// Why a file is no key that can be trusted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("key `{name}`: {reason}")]
pub struct KeyError {
    /// The file name.
    pub name: String,
    /// What is wrong.
    pub reason: KeyProblem,
}

/// What is wrong with a key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyProblem {
    /// Not the name of a file in `etc/apk/keys`.
    #[error("is not the name of a file")]
    Name,
    /// Not PEM, or not a `PUBLIC KEY`.
    #[error("is no public key in PEM")]
    Pem,
    /// A public key of another kind.
    #[error("is a public key of the kind {0}, not an RSA key")]
    NotRsa(String),
    /// Too short to trust, or longer than can be checked.
    #[error("has {0} bits: between 2048 and 8192 are allowed")]
    Bits(usize),
    /// The same name twice, with other bytes.
    #[error("is already there with other bytes")]
    Different,
}

impl Classified for KeyError {
    fn class(&self) -> ErrorClass {
        match self.reason {
            KeyProblem::Name | KeyProblem::Different => ErrorClass::Usage,
            KeyProblem::Pem | KeyProblem::NotRsa(_) => ErrorClass::Malformed,
            KeyProblem::Bits(_) => ErrorClass::Verification,
        }
    }

    fn hint(&self) -> Option<String> {
        matches!(self.reason, KeyProblem::Pem).then(|| {
            "expected is the file as it lies in etc/apk/keys, starting with `-----BEGIN PUBLIC KEY-----`"
                .into()
        })
    }
}

/// The kinds of signature, by the word in `.SIGN.<ALG>.<name>` (apk-tools 2, `apk_sign_ctx_process_file`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Algorithm {
    /// PKCS#1 v1.5 over SHA-1: what Alpine itself uses.
    Rsa,
    /// PKCS#1 v1.5 over SHA-256.
    Rsa256,
    /// PKCS#1 v1.5 over SHA-512.
    Rsa512,
}

impl Algorithm {
    /// Reads `.SIGN.<ALG>.<name>`.
    pub(crate) fn and_key(entry: &str) -> Option<(Self, &str)> {
        let (word, key) = entry.strip_prefix(".SIGN.")?.split_once('.')?;
        let algorithm = [Self::Rsa, Self::Rsa256, Self::Rsa512].into_iter().find(|a| a.word() == word)?;
        (!key.is_empty()).then_some((algorithm, key))
    }

    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Rsa => "RSA",
            Self::Rsa256 => "RSA256",
            Self::Rsa512 => "RSA512",
        }
    }

    fn parameters(self) -> &'static RsaParameters {
        match self {
            Self::Rsa => &RSA_PKCS1_2048_8192_SHA1_FOR_LEGACY_USE_ONLY,
            Self::Rsa256 => &RSA_PKCS1_2048_8192_SHA256,
            Self::Rsa512 => &RSA_PKCS1_2048_8192_SHA512,
        }
    }
}

impl KeyRing {
    /// A ring without keys: everything signed is refused.
    pub fn new() -> Self {
        Self::default()
    }

    /// Trusts the key in this PEM text (`SubjectPublicKeyInfo`, RFC 5280, 4.1) under this file name.
    pub fn add(&mut self, file_name: &str, pem: &str) -> Result<(), KeyError> {
        let error = |reason| KeyError { name: file_name.to_owned(), reason };
        if file_name.is_empty() || file_name.contains(['/', '\0', '\n']) {
            return Err(error(KeyProblem::Name));
        }
        let key = pkcs1(pem).map_err(error)?;
        match self.keys.get(file_name) {
            Some(known) if *known != key => Err(error(KeyProblem::Different)),
            _ => {
                self.keys.insert(file_name.to_owned(), key);
                Ok(())
            }
        }
    }

    /// A digest of all keys and their names: another ring has another one.
    pub fn digest(&self) -> Digest {
        let line = |(name, key): (&String, &Vec<u8>)| format!("{name}\n{}\n", hex::encode(key));
        Digest::of(self.keys.iter().map(line).collect::<String>())
    }

    /// The file names of the keys, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.keys.keys().map(String::as_str)
    }

    /// Whether a key of exactly this file name is there.
    pub fn contains(&self, file_name: &str) -> bool {
        self.keys.contains_key(file_name)
    }

    /// Whether the signature over these bytes was made with the key of this name. `None`: there is no such key.
    pub(crate) fn verify(
        &self,
        key: &str,
        algorithm: Algorithm,
        bytes: &[u8],
        signature: &[u8],
    ) -> Option<bool> {
        let key = UnparsedPublicKey::new(algorithm.parameters(), self.keys.get(key)?);
        Some(key.verify(bytes, signature).is_ok())
    }
}

/// The PKCS#1 key inside a PEM of `SubjectPublicKeyInfo`: that is what ring reads.
fn pkcs1(pem: &str) -> Result<Vec<u8>, KeyProblem> {
    let info = SubjectPublicKeyInfoOwned::from_pem(pem.trim()).map_err(|_| KeyProblem::Pem)?;
    if info.algorithm.oid != RSA_ENCRYPTION {
        return Err(KeyProblem::NotRsa(info.algorithm.oid.to_string()));
    }
    let key = info.subject_public_key.as_bytes().ok_or(KeyProblem::Pem)?;
    let bits = modulus_bits(key).map_err(|_| KeyProblem::Pem)?;
    if (2048..=8192).contains(&bits) { Ok(key.to_vec()) } else { Err(KeyProblem::Bits(bits)) }
}

/// Bits of the modulus: the first number of `RSAPublicKey` (RFC 8017, appendix A.1.1).
fn modulus_bits(key: &[u8]) -> Result<usize, spki::der::Error> {
    let mut reader = SliceReader::new(key)?;
    Header::decode(&mut reader)?;
    let modulus = UintRef::decode(&mut reader)?;
    let bytes = modulus.as_bytes();
    let unused = bytes.first().map_or(0, |first| first.leading_zeros() as usize);
    Ok(bytes.len() * 8 - unused)
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::prelude::BASE64_STANDARD;

    use super::*;

    /// Made by `openssl genrsa 2048` for these tests; its private half is gone.
    const PEM: &str = include_str!("../tests/keys/rsa-2048.pub");
    const MESSAGE: &[u8] = b"what is signed";
    /// `openssl dgst -sha1 -sign`, and with sha256 and sha512, over the message.
    const SIGNATURES: [(Algorithm, &str); 3] = [
        (
            Algorithm::Rsa,
            "cwvEm0KsYri/EJrVXkxkM4jBwmkUvVn9ecudGs+8KNCZPIFT+ROZK6+niydVD7eXSK5UTZR8txdyD8imwT46M7vq6xHlzqFtDdnKCPIbC5+6HkYfzHeEdQ7l1t3Zw5mfSQs6ixGMfWyQAF5JGWxPllziqcW0/gy2nl2j25QIpdtFcwl2Y5/Vvo5tyE9riyaV0J8FKqkvyiM9sgAhHDCpijmepNchcCmbdK3cN8kRaCJYihkTjmZt04k61DS7YZ2N17pFStND4Gmioz8tdxj9xkEZDhb/nFr3otg2m6fyZ+DufkSs4okrZGG8kNmprz+rB+CUZjC408kKVmer6+V/Tw==",
        ),
        (
            Algorithm::Rsa256,
            "dBP4mJZBAnIKu2b5y8MqUbkr8iZF73utgvC3oCQfWcqHtufBvume2XCg9WCwTXYbVwZoE8yAnuPB7i3qquGACVPCz7THs4z8j8k/pPPqSKFKazPnT2EiP5oVSxNrY8htj4+F+MG6uENCPycVCE4fXg/ekDLwB8oKWt04opQVWBpYFZp1RlIrRQfqKdKgTuQZhsiGZFugpAKTJAXTkvF8ZtQaXXrRQQh+MM+BKPh7/7QofAMIa94sSpUQk9671dWNMIsklwBxcpGsyk/hPW0QvIavBq/SBfQ+AVmidUpdlztbjI+TLQKcMnvlKQw/PTMTfL1R0bP0w2UVxNL2/36BpQ==",
        ),
        (
            Algorithm::Rsa512,
            "CJFhWr/ObWT6jxbRdXJQoW07bi+DhOcDd2ak+NvhSL7dmVueg14dNAPrSUehw52owjwhMQv3h2i8us5Kz9heD3aoLQTapEJXK9OpiuXhPQ5jKWif6Y1R6g2TFh7Os4KJFLtHff/ezZkuJlkMJzSWtEcDxyYctf2swistetv/Qk130jhB/+y7OtIoN55F8fAnxu3GQlEMoyCWT3uOcKaasqX4R0NpRUSL/QihOus/6ae6HzU9RNadyZ97c5Ora233v762XTD2dgBtZb62hox/QuhPGK46oxZwWxHwcGhVlD9tZG0cDfTVO0stjPesDiID4FtlGDkoqA/a1W9iWuH+Lg==",
        ),
    ];

    #[test]
    fn signatures_by_openssl_hold_for_their_kind_and_bytes_only() {
        let mut keys = KeyRing::new();
        keys.add("a.rsa.pub", PEM).unwrap();
        for (made, text) in SIGNATURES {
            let signature = BASE64_STANDARD.decode(text).unwrap();
            for (asked, _) in SIGNATURES {
                assert_eq!(
                    keys.verify("a.rsa.pub", asked, MESSAGE, &signature),
                    Some(made == asked),
                    "{made:?} as {asked:?}"
                );
            }
            assert_eq!(keys.verify("a.rsa.pub", made, b"what is signeD", &signature), Some(false));
        }
    }

    #[test]
    fn a_key_is_found_by_exactly_its_file_name() {
        let mut keys = KeyRing::new();
        keys.add("a.rsa.pub", PEM).unwrap();
        assert!(keys.contains("a.rsa.pub"));
        assert_eq!(keys.verify("A.rsa.pub", Algorithm::Rsa, b"", b""), None);
        assert_eq!(keys.verify("a.rsa.pub", Algorithm::Rsa, b"", b"no signature"), Some(false));
    }

    #[test]
    fn the_same_name_can_not_stand_for_two_keys() {
        let mut keys = KeyRing::new();
        keys.add("a", PEM).unwrap();
        keys.add("a", PEM).unwrap();
        keys.keys.insert("b".into(), vec![1]);
        assert_eq!(keys.add("b", PEM).unwrap_err().reason, KeyProblem::Different);
    }

    #[test]
    fn a_name_that_is_a_path_is_refused() {
        for name in ["", "../a", "a/b", "a\0b"] {
            assert_eq!(KeyRing::new().add(name, PEM).unwrap_err().reason, KeyProblem::Name, "{name:?}");
        }
    }

    #[test]
    fn short_keys_and_keys_of_another_kind_are_refused() {
        let short = include_str!("../tests/keys/rsa-1024.pub");
        assert_eq!(KeyRing::new().add("short", short).unwrap_err().reason, KeyProblem::Bits(1024));
        let curve = include_str!("../tests/keys/p256.pub");
        assert!(matches!(KeyRing::new().add("curve", curve).unwrap_err().reason, KeyProblem::NotRsa(_)));
    }

    #[test]
    fn the_name_of_an_entry_tells_the_kind_and_the_key() {
        assert_eq!(Algorithm::and_key(".SIGN.RSA.a@b-1.rsa.pub"), Some((Algorithm::Rsa, "a@b-1.rsa.pub")));
        assert_eq!(Algorithm::and_key(".SIGN.RSA256.k"), Some((Algorithm::Rsa256, "k")));
        assert_eq!(Algorithm::and_key(".SIGN.DSA.k"), None);
        assert_eq!(Algorithm::and_key(".SIGN.RSA."), None);
        assert_eq!(Algorithm::and_key(".PKGINFO"), None);
    }
}
