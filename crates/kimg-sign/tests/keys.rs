//! Keys in the files that openssl and cosign write, and what is no such file.

#![expect(clippy::unwrap_used, reason = "a test that can't be set up has failed")]

use std::path::Path;
use std::process::Command;

use fs_err as fs;
use kimg_core::{Classified as _, Digest, ErrorClass};
use kimg_sign::{
    Payload, SecureRandom as _, SignError, Signature, SigningKey, SystemRandom, VerifyingKey,
    generate_key_pair,
};
use kimg_testkit::{run, tempdir, tool};

fn generated(password: Option<&[u8]>) -> kimg_sign::KeyPair {
    generate_key_pair(password, &SystemRandom::new()).unwrap()
}

#[test]
fn a_new_key_opens_with_its_password_and_with_no_other() {
    let pair = generated(Some(b"correct horse"));
    assert!(pair.private.starts_with("-----BEGIN ENCRYPTED SIGSTORE PRIVATE KEY-----\n"));
    let key = SigningKey::from_pem(pair.private.as_bytes(), Some(b"correct horse")).unwrap();
    assert_eq!(key.verifying_key().to_pem(), pair.public);
    for wrong in [&b"correct hors"[..], b"", b"Correct horse"] {
        let error = SigningKey::from_pem(pair.private.as_bytes(), Some(wrong)).unwrap_err();
        assert!(matches!(error, SignError::WrongPassword), "{error}");
        assert_eq!(error.class(), ErrorClass::Authentication);
    }
    let error = SigningKey::from_pem(pair.private.as_bytes(), None).unwrap_err();
    assert!(matches!(error, SignError::NeedsPassword), "{error}");
    assert!(error.hint().unwrap().contains("COSIGN_PASSWORD"));
}

#[test]
fn an_empty_password_is_one_too() {
    let pair = generated(Some(b""));
    assert!(SigningKey::from_pem(pair.private.as_bytes(), Some(b"")).is_ok());
    assert!(SigningKey::from_pem(pair.private.as_bytes(), None).is_err());
}

#[test]
fn a_changed_byte_of_an_encrypted_key_is_noticed() {
    let pair = generated(Some(b"p"));
    let damaged: String = pair.private.replace("PRIVATE KEY-----\ney", "PRIVATE KEY-----\nez");
    assert_ne!(damaged, *pair.private);
    assert!(SigningKey::from_pem(damaged.as_bytes(), Some(b"p")).is_err());
}

#[test]
fn nothing_that_is_printed_holds_a_key_or_a_password() {
    let pair = generated(Some(b"hunter2-of-keys"));
    let key = SigningKey::from_pem(pair.private.as_bytes(), Some(b"hunter2-of-keys")).unwrap();
    let wrong = SigningKey::from_pem(pair.private.as_bytes(), Some(b"hunter3-of-keys")).unwrap_err();
    let printed = format!("{pair:?} {key:?} {wrong:?} {wrong}");
    let secret = pair.private.lines().nth(1).unwrap();
    assert!(!printed.contains(secret) && !printed.contains("of-keys"), "{printed}");
    assert!(printed.contains("***"));
}

/// A key and what openssl makes of it.
fn openssl(folder: &Path, arguments: &[&str]) -> Option<String> {
    let openssl = tool("openssl")?;
    Some(run(Command::new(openssl).current_dir(folder).args(arguments)))
}

#[test]
fn openssl_verifies_what_kimg_signs_and_kimg_what_openssl_signs() {
    let folder = tempdir().unwrap();
    let pair = generated(None);
    let key = SigningKey::from_pem(pair.private.as_bytes(), None).unwrap();
    let payload = Payload::new("ghcr.io/acme/kubelet", Digest::of("an image"));
    let signature = key.sign(payload.bytes(), &SystemRandom::new()).unwrap();
    fs::write(folder.path().join("key"), &*pair.private).unwrap();
    fs::write(folder.path().join("pub"), &pair.public).unwrap();
    fs::write(folder.path().join("payload"), payload.bytes()).unwrap();
    fs::write(folder.path().join("signature"), signature.bytes()).unwrap();
    let verify = ["dgst", "-sha256", "-verify", "pub", "-signature", "signature", "payload"];
    let Some(said) = openssl(folder.path(), &verify) else { return };
    assert_eq!(said.trim(), "Verified OK");

    // The public half is the one that openssl finds in the private one.
    let public = openssl(folder.path(), &["pkey", "-in", "key", "-pubout"]).unwrap();
    assert_eq!(public, pair.public);
    openssl(folder.path(), &["dgst", "-sha256", "-sign", "key", "-out", "theirs", "payload"]);
    let theirs = fs::read(folder.path().join("theirs")).unwrap();
    let encoded = base64(folder.path(), &theirs);
    let theirs = Signature::from_base64(&encoded).unwrap();
    VerifyingKey::from_pem(pair.public.as_bytes()).unwrap().verify(payload.bytes(), &theirs).unwrap();
}

fn base64(folder: &Path, bytes: &[u8]) -> String {
    fs::write(folder.join("bytes"), bytes).unwrap();
    openssl(folder, &["base64", "-A", "-in", "bytes"]).unwrap()
}

#[test]
fn a_key_that_openssl_makes_is_read_and_one_of_another_kind_is_refused() {
    let folder = tempdir().unwrap();
    let at = folder.path();
    let make = ["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", "good"];
    if openssl(at, &make).is_none() {
        return;
    }
    let read = |name: &str| SigningKey::from_pem(&fs::read(at.join(name)).unwrap(), None);
    let good = read("good").unwrap();
    let public = openssl(at, &["pkey", "-in", "good", "-pubout"]).unwrap();
    assert_eq!(good.verifying_key().to_pem(), public);

    openssl(at, &["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-384", "-out", "p384"]);
    openssl(at, &["genpkey", "-algorithm", "ED25519", "-out", "ed25519"]);
    openssl(at, &["genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-out", "rsa"]);
    for name in ["p384", "ed25519", "rsa"] {
        let error = read(name).unwrap_err();
        assert!(matches!(error, SignError::OtherKey { what: "private key", .. }), "{name}: {error}");
        let public = openssl(at, &["pkey", "-in", name, "-pubout"]).unwrap();
        let error = VerifyingKey::from_pem(public.as_bytes()).unwrap_err();
        assert!(matches!(error, SignError::OtherKey { what: "public key", .. }), "{name}: {error}");
    }
    openssl(at, &["ec", "-in", "good", "-out", "sec1"]);
    openssl(at, &["pkcs8", "-topk8", "-in", "good", "-passout", "pass:x", "-out", "sealed"]);
    for (name, hint) in [("sec1", "-topk8 -nocrypt"), ("sealed", "openssl pkcs8 -in KEY")] {
        let error = read(name).unwrap_err();
        assert!(matches!(error, SignError::OtherPem { .. }), "{name}: {error}");
        assert!(error.hint().unwrap().contains(hint), "{:?}", error.hint());
    }
}

#[test]
fn the_wrong_half_of_a_pair_is_told() {
    let pair = generated(None);
    let error = VerifyingKey::from_pem(pair.private.as_bytes()).unwrap_err();
    assert!(error.hint().unwrap().contains("private half"), "{error}");
    let error = SigningKey::from_pem(pair.public.as_bytes(), None).unwrap_err();
    assert!(error.hint().unwrap().contains("public half"), "{error}");
}

#[test]
fn what_is_no_key_is_refused() {
    let mut noise = vec![0; 300];
    SystemRandom::new().fill(&mut noise).unwrap();
    let huge = vec![b'A'; 1 << 20];
    let cut = generated(None).private[..80].to_owned();
    let pem = |label: &str, body: &str| format!("-----BEGIN {label}-----\n{body}\n-----END {label}-----\n");
    for bytes in [
        b"".to_vec(),
        noise,
        huge,
        cut.into_bytes(),
        pem("PRIVATE KEY", "").into_bytes(),
        pem("PUBLIC KEY", "AAAA").into_bytes(),
        pem("ENCRYPTED SIGSTORE PRIVATE KEY", "bm90IGEga2V5").into_bytes(),
        pem("CERTIFICATE", "AAAA").into_bytes(),
    ] {
        let private = SigningKey::from_pem(&bytes, Some(b"x")).unwrap_err();
        let public = VerifyingKey::from_pem(&bytes).unwrap_err();
        assert_eq!(
            (private.class(), public.class()),
            (ErrorClass::Usage, ErrorClass::Usage),
            "{private} {public}"
        );
    }
}

proptest::proptest! {
    #[test]
    fn whatever_a_key_file_holds_nothing_panics(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..200)) {
        let _ = SigningKey::from_pem(&bytes, Some(b"x"));
        let _ = VerifyingKey::from_pem(&bytes);
        let _ = Signature::from_base64(&String::from_utf8_lossy(&bytes));
        let _ = kimg_sign::Envelope::parse(&bytes);
        let _ = kimg_sign::Attached::parse(&bytes);
    }
}
