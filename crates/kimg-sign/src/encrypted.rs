//! Cosign's encrypted private keys: JSON inside PEM, with the key stretched from a password by scrypt and PKCS#8 sealed
//! by nacl's secretbox (go-securesystemslib, `encrypted/encrypted.go`).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use crypto_secretbox::aead::{Aead, KeyInit};
use crypto_secretbox::{Nonce, XSalsa20Poly1305};
use ring::rand::SecureRandom;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::SignError;

/// What the file calls itself: the first is written, the second is what cosign called it until 2022.
pub(crate) const LABELS: [&str; 2] = ["ENCRYPTED SIGSTORE PRIVATE KEY", "ENCRYPTED COSIGN PRIVATE KEY"];

/// log2 of scrypt's N in what is written, the same as cosign's.
const LOG_N: u8 = 16;

/// The highest that is read: it costs 256 MiB of memory.
const MAX_LOG_N: u8 = 18;

const KDF: &str = "scrypt";
const CIPHER: &str = "nacl/secretbox";

#[derive(Serialize, Deserialize)]
struct File {
    kdf: Kdf,
    cipher: Cipher,
    ciphertext: String,
}

#[derive(Serialize, Deserialize)]
struct Kdf {
    name: String,
    params: Parameters,
    salt: String,
}

#[derive(Serialize, Deserialize)]
struct Parameters {
    #[serde(rename = "N")]
    n: u64,
    r: u32,
    p: u32,
}

#[derive(Serialize, Deserialize)]
struct Cipher {
    name: String,
    nonce: String,
}

/// The PKCS#8 in such a file.
pub(crate) fn open(json: &[u8], password: &[u8]) -> Result<Zeroizing<Vec<u8>>, SignError> {
    let malformed = |problem: String| SignError::Encryption(problem);
    let file: File = serde_json::from_slice(json).map_err(|error| malformed(error.to_string()))?;
    if file.kdf.name != KDF || file.cipher.name != CIPHER {
        let short = |text: &str| text.chars().take(50).collect::<String>();
        let (kdf, cipher) = (short(&file.kdf.name), short(&file.cipher.name));
        return Err(malformed(format!("it uses `{kdf}` and `{cipher}`, expected `{KDF}` and `{CIPHER}`")));
    }
    let Parameters { n, r, p } = file.kdf.params;
    let log_n = u8::try_from(n.trailing_zeros()).unwrap_or(u8::MAX);
    if !n.is_power_of_two() || !(1..=MAX_LOG_N).contains(&log_n) || r != 8 || p != 1 {
        return Err(malformed(format!("scrypt with N = {n}, r = {r}, p = {p} is not what cosign uses")));
    }
    let bytes = |what: &str, text: &str| {
        STANDARD.decode(text).map_err(|error| malformed(format!("its {what}: {error}")))
    };
    let salt = bytes("salt", &file.kdf.salt)?;
    let nonce: [u8; 24] = bytes("nonce", &file.cipher.nonce)?
        .try_into()
        .map_err(|_| malformed("its nonce has not 24 bytes".into()))?;
    let sealed = bytes("ciphertext", &file.ciphertext)?;
    let opened = secretbox(password, &salt, log_n)?.decrypt(Nonce::from_slice(&nonce), &*sealed);
    Ok(Zeroizing::new(opened.map_err(|_| SignError::WrongPassword)?))
}

/// Seals PKCS#8 into such a file.
pub(crate) fn close(pkcs8: &[u8], password: &[u8], random: &dyn SecureRandom) -> Result<Vec<u8>, SignError> {
    let (mut salt, mut nonce) = ([0; 32], [0; 24]);
    random.fill(&mut salt).and_then(|()| random.fill(&mut nonce)).map_err(|_| SignError::Random)?;
    let sealed = secretbox(password, &salt, LOG_N)?
        .encrypt(Nonce::from_slice(&nonce), pkcs8)
        .map_err(|_| SignError::Encryption("the key is too large".into()))?;
    let file = File {
        kdf: Kdf {
            name: KDF.into(),
            params: Parameters { n: 1 << LOG_N, r: 8, p: 1 },
            salt: STANDARD.encode(salt),
        },
        cipher: Cipher { name: CIPHER.into(), nonce: STANDARD.encode(nonce) },
        ciphertext: STANDARD.encode(sealed),
    };
    serde_json::to_vec(&file).map_err(|error| SignError::Encryption(error.to_string()))
}

fn secretbox(password: &[u8], salt: &[u8], log_n: u8) -> Result<XSalsa20Poly1305, SignError> {
    let malformed = |problem: &dyn std::fmt::Display| SignError::Encryption(problem.to_string());
    let parameters = scrypt::Params::new(log_n, 8, 1).map_err(|error| malformed(&error))?;
    let mut key = Zeroizing::new([0; 32]);
    scrypt::scrypt(password, salt, &parameters, &mut *key).map_err(|error| malformed(&error))?;
    Ok(XSalsa20Poly1305::new((&*key).into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_that_would_eat_the_memory_are_refused_before_they_do() {
        for (n, r, p) in [
            (1 << 30, 8, 1),
            (1 << 15, 1 << 20, 1),
            (1 << 15, 8, 1 << 20),
            (1000, 8, 1),
            (0, 8, 1),
            (1, 8, 1),
        ] {
            let json = format!(
                r#"{{"kdf":{{"name":"scrypt","params":{{"N":{n},"r":{r},"p":{p}}},"salt":"AA=="}},
                "cipher":{{"name":"nacl/secretbox","nonce":"AA=="}},"ciphertext":"AA=="}}"#
            );
            let error = open(json.as_bytes(), b"").unwrap_err().to_string();
            assert!(error.contains(&format!("N = {n}, r = {r}, p = {p}")), "{error}");
        }
    }
}
