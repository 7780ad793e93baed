//! What is signed about an image: "simple signing" (containers/image, `docs/containers-signature.5.md`, and cosign's
//! `specs/SIGNATURE_SPEC.md`).

use std::collections::BTreeMap;

use kimg_core::Digest;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{SignError, Signature, VerifyingKey};

/// What the payload says it is.
const TYPE: &str = "cosign container image signature";

/// What stands for Docker Hub in names that Go's registry library writes, as cosign does.
const INDEX: &str = "index.docker.io/";
const HUB: &str = "docker.io/";

/// The largest payload that is read, in bytes.
pub const MAX_PAYLOAD: usize = 64 * 1024;

const PAYLOAD: &str = "payload of the signature";

/// What is signed about an image. The same image and name give the same bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Payload {
    bytes: Vec<u8>,
}

#[derive(Serialize, Deserialize)]
struct Written {
    critical: Critical,
    #[serde(default)]
    optional: Option<BTreeMap<String, Value>>,
}

/// What is critical has to be understood: a field more is an error.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Critical {
    identity: Identity,
    image: Image,
    r#type: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Identity {
    docker_reference: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Image {
    docker_manifest_digest: String,
}

impl Payload {
    /// About the image or index with this digest in this repository (`ghcr.io/acme/kubelet`).
    pub fn new(repository: &str, digest: Digest) -> Self {
        Self::annotated(repository, digest, &BTreeMap::new())
    }

    /// The same with something to it, which `cosign verify -a KEY=VALUE` asks for.
    pub fn annotated(repository: &str, digest: Digest, annotations: &BTreeMap<String, String>) -> Self {
        let name = match repository.strip_prefix(HUB) {
            Some(rest) => format!("{INDEX}{rest}"),
            None => repository.to_owned(),
        };
        let optional =
            annotations.iter().map(|(key, value)| (key.clone(), Value::from(value.as_str()))).collect();
        let written = Written {
            critical: Critical {
                identity: Identity { docker_reference: name },
                image: Image { docker_manifest_digest: digest.to_string() },
                r#type: TYPE.to_owned(),
            },
            // `null` where there is nothing: that is how cosign writes it.
            optional: Some(optional).filter(|_| !annotations.is_empty()),
        };
        // Strings and maps of them can always be written.
        let bytes = serde_json::to_vec(&written).unwrap_or_else(|error| unreachable!("{error}"));
        Self { bytes }
    }

    /// The bytes that are signed.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// What a signature has to be about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Expected<'a> {
    /// The digest of the manifest or index.
    pub digest: Digest,
    /// The repository it was signed for; `None` lets any be.
    pub repository: Option<&'a str>,
}

/// What a good signature says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// The name of the image: a repository, with some signers a tag behind it.
    pub reference: String,
    /// Its digest.
    pub digest: Digest,
    /// What else was said.
    pub annotations: BTreeMap<String, Value>,
}

/// Whether this key signed these bytes, and they are about the expected image. Nothing of the bytes is looked at before
/// the signature is found good.
///
/// # Errors
/// Another key or changed bytes; another image; another name; bytes that are no such payload.
pub fn verify_signature(
    key: &VerifyingKey,
    payload: &[u8],
    signature: &Signature,
    expected: &Expected<'_>,
) -> Result<Claim, SignError> {
    let malformed = |problem: String| SignError::Malformed { what: PAYLOAD, problem };
    if payload.len() > MAX_PAYLOAD {
        return Err(malformed(format!("it has more than {MAX_PAYLOAD} bytes")));
    }
    key.verify(payload, signature)?;
    let written: Written = serde_json::from_slice(payload).map_err(|error| malformed(error.to_string()))?;
    let Critical { identity, image, r#type } = written.critical;
    if r#type != TYPE {
        return Err(malformed(format!("it says it is a `{}`", short(&r#type))));
    }
    if image.docker_manifest_digest != expected.digest.to_string() {
        let found = short(&image.docker_manifest_digest);
        return Err(SignError::OtherImage { expected: expected.digest, found });
    }
    if let Some(repository) = expected.repository
        && repository_of(&identity.docker_reference) != repository_of(repository)
    {
        let found = short(&identity.docker_reference);
        return Err(SignError::OtherRepository { expected: repository.to_owned(), found });
    }
    Ok(Claim {
        reference: identity.docker_reference,
        digest: expected.digest,
        annotations: written.optional.unwrap_or_default(),
    })
}

/// The repository of a name: without tag and digest, which podman and skopeo sign along, and with one name for Docker Hub.
fn repository_of(reference: &str) -> String {
    let name = reference.split('@').next().unwrap_or(reference);
    // A colon before the last slash is that of a port.
    let name = match name.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') && name.contains('/') => name,
        _ => name,
    };
    match name.strip_prefix(INDEX) {
        Some(rest) => format!("{HUB}{rest}"),
        None => name.to_owned(),
    }
}

fn short(text: &str) -> String {
    text.chars().take(200).flat_map(char::escape_debug).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_payload_is_byte_for_byte_what_cosign_writes() {
        let digest = Digest::of("x");
        let payload = Payload::new("ghcr.io/acme/kubelet", digest);
        let expected = format!(
            r#"{{"critical":{{"identity":{{"docker-reference":"ghcr.io/acme/kubelet"}},"image":{{"docker-manifest-digest":"{digest}"}},"type":"cosign container image signature"}},"optional":null}}"#
        );
        assert_eq!(String::from_utf8_lossy(payload.bytes()), expected);
        let annotations =
            BTreeMap::from([("b".to_owned(), "2".to_owned()), ("a".to_owned(), "1".to_owned())]);
        let payload = Payload::annotated("docker.io/acme/kubelet", digest, &annotations);
        let text = String::from_utf8_lossy(payload.bytes()).into_owned();
        assert!(text.contains(r#""docker-reference":"index.docker.io/acme/kubelet""#), "{text}");
        assert!(text.ends_with(r#""optional":{"a":"1","b":"2"}}"#), "{text}");
    }

    #[test]
    fn names_are_compared_without_tags_and_with_their_ports() {
        for (written, repository) in [
            ("ghcr.io/acme/kubelet", "ghcr.io/acme/kubelet"),
            ("ghcr.io/acme/kubelet:v1", "ghcr.io/acme/kubelet"),
            ("localhost:5000/kubelet", "localhost:5000/kubelet"),
            ("localhost:5000/kubelet:v1", "localhost:5000/kubelet"),
            ("localhost:5000/kubelet@sha256:00", "localhost:5000/kubelet"),
            ("index.docker.io/acme/kubelet", "docker.io/acme/kubelet"),
        ] {
            assert_eq!(repository_of(written), repository);
        }
        assert_ne!(repository_of("ghcr.io/acme/kubelet2"), repository_of("ghcr.io/acme/kubelet"));
    }
}
