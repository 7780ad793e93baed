//! Who signs: RSA over SHA-256 with keys that are published here and so are worth nothing.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::rand::SystemRandom;
use ring::signature::{RSA_PKCS1_SHA256, RsaKeyPair};

/// A pair of keys, and the file name under which the public one is looked up in `etc/apk/keys`.
///
/// Both pairs that there are lie in this crate's source for everyone to read: a signature by them
/// proves that signatures are checked, and nothing about who made the package.
#[derive(Debug)]
pub struct Signer {
    pair: RsaKeyPair,
    public_pem: &'static str,
    key_name: String,
}

impl Signer {
    /// The key that signs the sample, `kimg-sample-worthless.rsa.pub`.
    pub fn sample() -> Self {
        Self::new(
            include_str!("keys/worthless-sample.key.pem"),
            include_str!("keys/worthless-sample.pub.pem"),
            "kimg-sample-worthless.rsa.pub",
        )
    }

    /// Another key, `kimg-stranger-worthless.rsa.pub`: for tests that need a signer whom nobody trusts.
    pub fn stranger() -> Self {
        Self::new(
            include_str!("keys/worthless-stranger.key.pem"),
            include_str!("keys/worthless-stranger.pub.pem"),
            "kimg-stranger-worthless.rsa.pub",
        )
    }

    fn new(private_pem: &str, public_pem: &'static str, key_name: &str) -> Self {
        // PEM (RFC 7468) allows text before the first line of dashes: the warning stands there.
        let encoded: String = private_pem
            .lines()
            .skip_while(|line| !line.starts_with("-----BEGIN"))
            .filter(|line| !line.starts_with("-----"))
            .collect();
        let der = STANDARD.decode(encoded).expect("the key in this crate is base64");
        let pair = RsaKeyPair::from_pkcs8(&der).expect("the key in this crate is an RSA key of 2048 bits");
        Self { pair, public_pem, key_name: key_name.to_owned() }
    }

    /// The same key under another file name, as one does who claims to be somebody else.
    pub fn with_key_name(mut self, name: impl Into<String>) -> Self {
        self.key_name = name.into();
        self
    }

    /// The file name of the public key.
    pub fn key_name(&self) -> &str {
        &self.key_name
    }

    /// The public key as `etc/apk/keys` holds it: PEM.
    pub fn public_pem(&self) -> &'static str {
        self.public_pem
    }

    /// Signs bytes: PKCS#1 v1.5 over SHA-256. The same bytes always give the same signature.
    #[expect(clippy::missing_panics_doc, reason = "it can't: the keys are this crate's own")]
    pub fn sign(&self, bytes: &[u8]) -> Vec<u8> {
        let mut signature = vec![0; self.pair.public().modulus_len()];
        // The padding takes no random bytes; ring asks for a source of them all the same.
        self.pair
            .sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), bytes, &mut signature)
            .expect("the signature has the length of the key");
        signature
    }
}
