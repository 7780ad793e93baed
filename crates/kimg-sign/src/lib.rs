//! Signatures of images by key, in cosign's own format: what `cosign verify --key` and the policies of podman and CRI-O
//! read. Nothing outside is reached: keys, bytes and randomness come in, bytes go out.
//!
//! ```
//! use kimg_core::Digest;
//! use kimg_sign::{Expected, Payload, SigningKey, SystemRandom, VerifyingKey, generate_key_pair, verify_signature};
//!
//! let random = SystemRandom::new();
//! let pair = generate_key_pair(Some(b"a password"), &random)?;
//! let key = SigningKey::from_pem(pair.private.as_bytes(), Some(b"a password"))?;
//!
//! let digest = Digest::of("the manifest's bytes");
//! let payload = Payload::new("ghcr.io/acme/kubelet", digest);
//! let signature = key.sign(payload.bytes(), &random)?;
//!
//! let public = VerifyingKey::from_pem(pair.public.as_bytes())?;
//! let expected = Expected { digest, repository: Some("ghcr.io/acme/kubelet") };
//! verify_signature(&public, payload.bytes(), &signature, &expected)?;
//! # Ok::<(), kimg_sign::SignError>(())
//! ```
//!
//! | item | is |
//! | --- | --- |
//! | [`SigningKey`], [`VerifyingKey`], [`generate_key_pair`] | ECDSA keys on P-256, in files as cosign and openssl write them |
//! | [`Payload`], [`verify_signature`] | what is signed about an image: its digest, and the name it has |
//! | [`Statement`], [`Envelope`] | what is signed beside it: an SBOM or a provenance, as in-toto in DSSE |
//! | [`Attached`] | the manifest that carries either of them, beside the image in its registry |
//! | [`SignError`] | why something can't be signed, or does not hold |
//!
//! # What a signature says, and what it does not
//!
//! It says that who has the key saw this digest and meant it to have this name. The name is compared here, where
//! cosign leaves it to who asks: else a signed image of one repository could be put in the place of another's. It says
//! nothing about tags: an old image stays as well signed as a new one.
//!
//! There is no transparency log in it. With cosign 2 and later, say so: `cosign verify --key kimg.pub
//! --insecure-ignore-tlog=true`.

mod attached;
mod dsse;
mod encrypted;
mod error;
mod key;
mod payload;

pub use attached::{Attached, Kind, PREDICATE_TYPE, SIGNATURE};
pub use dsse::{Attested, Envelope, Statement};
pub use error::SignError;
pub use key::{KeyPair, Signature, SigningKey, VerifyingKey, generate_key_pair};
pub use payload::{Claim, Expected, MAX_PAYLOAD, Payload, verify_signature};
pub use ring::rand::{SecureRandom, SystemRandom};
