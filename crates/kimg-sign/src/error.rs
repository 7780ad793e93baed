//! Why something can't be signed, or a signature does not hold.

use kimg_core::{Classified, Digest, ErrorClass};

/// Why a key can't be used, something can't be signed, or a signature does not hold. No key and no password is in it.
#[derive(Debug, thiserror::Error)]
pub enum SignError {
    /// A file that holds no key at all.
    #[error("the {what} is no PEM file: {problem}")]
    NotPem {
        /// `private key` or `public key`.
        what: &'static str,
        /// What was found.
        problem: String,
    },
    /// A file that holds something else.
    #[error("the {what} can't be read from a `{found}`")]
    OtherPem {
        /// `private key` or `public key`.
        what: &'static str,
        /// What the file calls itself.
        found: String,
    },
    /// A key of another kind than ECDSA on P-256, or a damaged one.
    #[error("the {what} is no ECDSA key on P-256: {problem}")]
    OtherKey {
        /// `private key` or `public key`.
        what: &'static str,
        /// What was found.
        problem: String,
    },
    /// A key file larger than any.
    #[error("the {what} has more than {limit} bytes")]
    KeyTooLarge {
        /// `private key` or `public key`.
        what: &'static str,
        /// The limit, in bytes.
        limit: usize,
    },
    /// An encrypted key without its password.
    #[error("the private key is encrypted")]
    NeedsPassword,
    /// The password does not open the key, or the file is damaged: which of the two can't be told.
    #[error("the private key can't be decrypted: the password is wrong, or the file is damaged")]
    WrongPassword,
    /// An encrypted key in a form that cosign does not write.
    #[error("the encrypted private key can't be read: {0}")]
    Encryption(String),
    /// There was no randomness to be had.
    #[error("the system gives no randomness")]
    Random,
    /// A text that is no signature.
    #[error("the signature can't be read: {0}")]
    MalformedSignature(String),
    /// Not the key that signed, or not what was signed.
    #[error("the signature does not fit: another key made it, or what it signs was changed")]
    WrongSignature,
    /// What was signed is not in the format it should be in.
    #[error("the {what} is malformed: {problem}")]
    Malformed {
        /// `payload of the signature`, `envelope`, …
        what: &'static str,
        /// What was found.
        problem: String,
    },
    /// It is signed, but for another image.
    #[error("the signature is for {found}, not for {expected}")]
    OtherImage {
        /// The image that was asked about.
        expected: Digest,
        /// What was signed.
        found: String,
    },
    /// It is signed, but under another name.
    #[error("the signature is for an image of {found}, not of {expected}")]
    OtherRepository {
        /// The name that was asked about.
        expected: String,
        /// The name that was signed.
        found: String,
    },
}

impl Classified for SignError {
    fn class(&self) -> ErrorClass {
        match self {
            Self::NotPem { .. }
            | Self::OtherPem { .. }
            | Self::OtherKey { .. }
            | Self::KeyTooLarge { .. }
            | Self::NeedsPassword
            | Self::Encryption(_) => ErrorClass::Usage,
            Self::WrongPassword => ErrorClass::Authentication,
            Self::Random => ErrorClass::External,
            Self::MalformedSignature(_)
            | Self::WrongSignature
            | Self::Malformed { .. }
            | Self::OtherImage { .. }
            | Self::OtherRepository { .. } => ErrorClass::Verification,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::OtherPem { what: "private key", found } => Some(match found.as_str() {
                "EC PRIVATE KEY" => {
                    "`openssl pkcs8 -topk8 -nocrypt -in KEY` writes it as a `PRIVATE KEY`".into()
                }
                "ENCRYPTED PRIVATE KEY" => "`openssl pkcs8 -in KEY` decrypts it into a `PRIVATE KEY`".into(),
                "PUBLIC KEY" => "that is the public half: signing needs the private one".into(),
                _ => {
                    "a `PRIVATE KEY` (PKCS#8), or what `cosign generate-key-pair` writes, is expected".into()
                }
            }),
            Self::OtherPem { found, .. } if found.ends_with("PRIVATE KEY") => Some(
                "that is the private half: verifying needs the public one, and nobody else should have this"
                    .into(),
            ),
            Self::OtherKey { .. } | Self::NotPem { .. } => {
                Some("what `cosign generate-key-pair` writes is expected".into())
            }
            Self::NeedsPassword => Some("set COSIGN_PASSWORD to its password".into()),
            Self::OtherRepository { .. } => Some(
                "if the image was copied from there, say that its signature may name that repository".into(),
            ),
            _ => None,
        }
    }
}
