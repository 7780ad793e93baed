//! What a good signature is, and everything that is none.

#![expect(clippy::unwrap_used, reason = "a test that can't be set up has failed")]

use std::collections::BTreeMap;

use kimg_core::{Classified as _, Digest, ErrorClass};
use kimg_sign::{
    Envelope, Expected, Payload, SignError, Signature, SigningKey, Statement, SystemRandom, VerifyingKey,
    generate_key_pair, verify_signature,
};

const NAME: &str = "ghcr.io/acme/kubelet";

fn key() -> SigningKey {
    let pair = generate_key_pair(None, &SystemRandom::new()).unwrap();
    SigningKey::from_pem(pair.private.as_bytes(), None).unwrap()
}

fn image() -> Digest {
    Digest::of("an image")
}

fn expected() -> Expected<'static> {
    Expected { digest: image(), repository: Some(NAME) }
}

/// A key, and its good signature of some payload.
fn signed(payload: &[u8]) -> (VerifyingKey, Signature) {
    let key = key();
    let signature = key.sign(payload, &SystemRandom::new()).unwrap();
    (key.verifying_key(), signature)
}

/// What is said of a payload that the right key signed.
fn said_of(payload: &[u8]) -> SignError {
    let (key, signature) = signed(payload);
    let error = verify_signature(&key, payload, &signature, &expected()).unwrap_err();
    assert_eq!(error.class(), ErrorClass::Verification, "{error}");
    error
}

#[test]
fn a_good_signature_tells_what_was_signed() {
    let annotations = BTreeMap::from([("git".to_owned(), "abc".to_owned())]);
    let payload = Payload::annotated(NAME, image(), &annotations);
    let (key, signature) = signed(payload.bytes());
    let text = signature.to_string();
    let signature = Signature::from_base64(&text).unwrap();
    let claim = verify_signature(&key, payload.bytes(), &signature, &expected()).unwrap();
    assert_eq!((claim.reference.as_str(), claim.digest), (NAME, image()));
    assert_eq!(claim.annotations["git"], "abc");
}

#[test]
fn a_changed_payload_another_key_and_a_changed_signature_do_not_fit() {
    let payload = Payload::new(NAME, image());
    let (key_of_it, signature) = signed(payload.bytes());
    for at in 0..payload.bytes().len() {
        let mut changed = payload.bytes().to_vec();
        changed[at] ^= 1;
        let error = verify_signature(&key_of_it, &changed, &signature, &expected()).unwrap_err();
        assert!(matches!(error, SignError::WrongSignature), "{at}: {error}");
    }
    let longer = [payload.bytes(), b" "].concat();
    assert!(verify_signature(&key_of_it, &longer, &signature, &expected()).is_err());
    let other = key().verifying_key();
    assert!(matches!(
        verify_signature(&other, payload.bytes(), &signature, &expected()),
        Err(SignError::WrongSignature)
    ));
    let text = signature.to_string();
    for cut in 0..text.len() {
        if let Ok(signature) = Signature::from_base64(&text[..cut]) {
            assert!(verify_signature(&key_of_it, payload.bytes(), &signature, &expected()).is_err(), "{cut}");
        }
    }
    assert!(Signature::from_base64("").is_err() && Signature::from_base64("!").is_err());
    assert!(Signature::from_base64(&"A".repeat(1 << 20)).is_err());
}

#[test]
fn a_signature_of_another_image_or_name_does_not_hold_for_this_one() {
    let other = said_of(Payload::new(NAME, Digest::of("another")).bytes());
    assert!(matches!(other, SignError::OtherImage { .. }), "{other}");
    for name in ["ghcr.io/acme/kubelet2", "ghcr.io/evil/kubelet", "localhost:5000/acme/kubelet", ""] {
        let other = said_of(Payload::new(name, image()).bytes());
        assert!(matches!(other, SignError::OtherRepository { .. }), "{other}");
    }
    // A tag behind the name, as podman writes it, and any name where that is meant.
    let payload = Payload::new(&format!("{NAME}:v1.34.2"), image());
    let (key, signature) = signed(payload.bytes());
    verify_signature(&key, payload.bytes(), &signature, &expected()).unwrap();
    let payload = Payload::new("mirror.example/kubelet", image());
    let (key, signature) = signed(payload.bytes());
    let any = Expected { repository: None, ..expected() };
    verify_signature(&key, payload.bytes(), &signature, &any).unwrap();
}

#[test]
fn what_is_signed_but_is_no_payload_is_refused() {
    let good = String::from_utf8(Payload::new(NAME, image()).bytes().to_vec()).unwrap();
    let twice = good.replace(
        "{\"docker-manifest",
        &format!("{{\"docker-manifest-digest\":\"{}\",\"docker-manifest", Digest::of("x")),
    );
    let typed = good.replace("cosign container image signature", "atomic container signature");
    let critical = good.replace("\"type\":", "\"expires\":1,\"type\":");
    let huge = good.replace("null", &format!("{{\"a\":\"{}\"}}", "a".repeat(1 << 20)));
    for payload in [twice.as_str(), &typed, &critical, &huge, "", "{}", "null", "[1]"] {
        assert_ne!(payload, good);
        let error = said_of(payload.as_bytes());
        assert!(matches!(error, SignError::Malformed { .. }), "{error}");
    }
}

#[test]
fn a_signed_statement_holds_for_its_image_and_its_key_only() {
    let statement = Statement::new(NAME, image(), "https://spdx.dev/Document", serde_json::json!({ "a": 1 }));
    let key = key();
    let envelope = Envelope::sign(&statement.to_json(), &key, &SystemRandom::new()).unwrap();
    let envelope = Envelope::parse(&envelope.to_json()).unwrap();
    let attested = envelope.verify(&key.verifying_key(), image()).unwrap();
    assert_eq!((attested.statement, attested.bytes), (statement.clone(), statement.to_json()));
    let other = envelope.verify(&key.verifying_key(), Digest::of("another")).unwrap_err();
    assert!(matches!(other, SignError::OtherImage { .. }), "{other}");
    let stranger = self::key().verifying_key();
    assert!(matches!(envelope.verify(&stranger, image()), Err(SignError::WrongSignature)));

    let text = String::from_utf8(envelope.to_json()).unwrap();
    let retyped = text.replace("application/vnd.in-toto+json", "application/vnd.in-toto+jsom");
    let retyped = Envelope::parse(retyped.as_bytes()).unwrap();
    assert!(matches!(retyped.verify(&key.verifying_key(), image()), Err(SignError::WrongSignature)));
    assert!(Envelope::parse(br#"{"payloadType":"a","payload":"","signatures":[]}"#).is_err());
}
