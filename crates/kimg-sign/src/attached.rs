//! What carries signatures and attestations beside an image in its registry: an image manifest under the tag
//! `sha256-<hex>.sig` or `.att`, one layer a signature (cosign, `specs/SIGNATURE_SPEC.md` and `ATTESTATION_SPEC.md`).

use std::collections::BTreeMap;

use kimg_core::Digest;
use kimg_image::{Descriptor, media_type};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{Envelope, Payload, SignError, Signature};

/// The annotation of a layer with the signature of its bytes, in base64. An attestation has its signature inside, and
/// this one empty.
pub const SIGNATURE: &str = "dev.cosignproject.cosign/signature";

/// The annotation of a layer with what its attestation says.
pub const PREDICATE_TYPE: &str = "predicateType";

const SIMPLE_SIGNING: &str = "application/vnd.dev.cosign.simplesigning.v1+json";
const DSSE: &str = "application/vnd.dsse.envelope.v1+json";

/// More layers are not read.
const MAX_LAYERS: usize = 1000;

/// What is attached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Signatures of the image itself.
    Signatures,
    /// Signed statements about it.
    Attestations,
}

impl Kind {
    /// The tag that it lies under.
    pub fn tag(self, image: Digest) -> String {
        let end = match self {
            Self::Signatures => "sig",
            Self::Attestations => "att",
        };
        format!("sha256-{}.{end}", image.hex())
    }

    fn media_type(self) -> &'static str {
        match self {
            Self::Signatures => SIMPLE_SIGNING,
            Self::Attestations => DSSE,
        }
    }

    /// Whether a layer is of this kind.
    pub fn is_one(self, layer: &Descriptor) -> bool {
        layer.media_type == self.media_type()
    }
}

/// The manifest with all that is attached, that of others too: what is added stands behind what was there.
#[derive(Debug, Clone)]
pub struct Attached {
    manifest: Manifest,
    /// The bytes of what was added.
    added: Vec<Vec<u8>>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Manifest {
    schema_version: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    media_type: Option<String>,
    config: Descriptor,
    layers: Vec<Descriptor>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    annotations: BTreeMap<String, String>,
    /// What others wrote, kept.
    #[serde(flatten)]
    other: BTreeMap<String, Value>,
}

impl Attached {
    /// Nothing attached yet.
    pub fn nothing() -> Self {
        Self {
            manifest: Manifest {
                schema_version: 2,
                media_type: Some(media_type::MANIFEST.to_owned()),
                config: Descriptor::of(media_type::CONFIG, b""),
                layers: Vec::new(),
                annotations: BTreeMap::new(),
                other: BTreeMap::new(),
            },
            added: Vec::new(),
        }
    }

    /// Reads what lies under the tag. Nothing of it is verified.
    ///
    /// # Errors
    /// No such manifest, or one with more than 1000 layers.
    pub fn parse(bytes: &[u8]) -> Result<Self, SignError> {
        let malformed = |problem: String| SignError::Malformed { what: "manifest of signatures", problem };
        let manifest: Manifest =
            serde_json::from_slice(bytes).map_err(|error| malformed(error.to_string()))?;
        if manifest.schema_version != 2 {
            return Err(malformed(format!("its schema version is {}, expected 2", manifest.schema_version)));
        }
        if manifest.layers.len() > MAX_LAYERS {
            return Err(malformed(format!("it has more than {MAX_LAYERS} layers")));
        }
        Ok(Self { manifest, added: Vec::new() })
    }

    /// What is attached, the oldest first.
    pub fn layers(&self) -> &[Descriptor] {
        &self.manifest.layers
    }

    /// Adds a signature.
    pub fn add_signature(&mut self, payload: &Payload, signature: &Signature) {
        let annotations = BTreeMap::from([(SIGNATURE.to_owned(), signature.to_string())]);
        self.add(SIMPLE_SIGNING, payload.bytes().to_vec(), annotations);
    }

    /// Adds a signed statement.
    pub fn add_envelope(&mut self, envelope: &Envelope, predicate_type: &str) {
        let annotations = BTreeMap::from([
            (SIGNATURE.to_owned(), String::new()),
            (PREDICATE_TYPE.to_owned(), predicate_type.to_owned()),
        ]);
        self.add(DSSE, envelope.to_json(), annotations);
    }

    fn add(&mut self, kind: &str, bytes: Vec<u8>, annotations: BTreeMap<String, String>) {
        self.manifest.layers.push(Descriptor { annotations, ..Descriptor::of(kind, &bytes) });
        self.added.push(bytes);
    }

    /// The manifest's bytes, and the blobs to be sent before it.
    pub fn write(&self) -> (Vec<u8>, Vec<Vec<u8>>) {
        let mut manifest = self.manifest.clone();
        // The layers are not compressed: each is its own diff ID. The time is Go's zero, as cosign has it.
        let zero = "0001-01-01T00:00:00Z";
        let ids: Vec<Digest> = manifest.layers.iter().map(|layer| layer.digest).collect();
        let history: Vec<Value> = ids.iter().map(|_| json!({ "created": zero })).collect();
        let config = json!({
            "architecture": "", "os": "", "config": {}, "created": zero, "history": history,
            "rootfs": { "type": "layers", "diff_ids": ids },
        });
        let config = config.to_string().into_bytes();
        manifest.config = Descriptor::of(media_type::CONFIG, &config);
        // Strings, numbers and maps of them can always be written.
        let bytes = serde_json::to_vec(&manifest).unwrap_or_else(|error| unreachable!("{error}"));
        (bytes, self.added.iter().cloned().chain([config]).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{SigningKey, SystemRandom, generate_key_pair};

    #[test]
    fn what_others_attached_stays_as_it_is_and_before_what_is_added() {
        let other = json!({
            "schemaVersion": 2, "mediaType": media_type::MANIFEST, "artifactType": "kept/too",
            "config": Descriptor::of(media_type::CONFIG, b"{}"),
            "layers": [Descriptor::of(SIMPLE_SIGNING, b"theirs")],
            "annotations": { "org.example": "kept" },
        });
        let mut attached = Attached::parse(other.to_string().as_bytes()).unwrap();
        let random = SystemRandom::new();
        let pair = generate_key_pair(None, &random).unwrap();
        let key = SigningKey::from_pem(pair.private.as_bytes(), None).unwrap();
        let payload = Payload::new("a/b", Digest::of("image"));
        attached.add_signature(&payload, &key.sign(payload.bytes(), &random).unwrap());
        let (bytes, blobs) = attached.write();
        assert_eq!(blobs.len(), 2, "the payload and a config");
        let read: Value = serde_json::from_slice(&bytes).unwrap();
        assert_eq!(
            (&read["artifactType"], &read["annotations"]),
            (&other["artifactType"], &other["annotations"])
        );
        assert_eq!(read["layers"][0], other["layers"][0]);
        assert_eq!(read["layers"][1]["digest"], Digest::of(payload.bytes()).to_string());
        let config: Value = serde_json::from_slice(&blobs[1]).unwrap();
        assert_eq!(read["config"]["digest"], Digest::of(&blobs[1]).to_string());
        assert_eq!(config["rootfs"]["diff_ids"][1], read["layers"][1]["digest"]);
    }

    #[test]
    fn a_manifest_with_no_end_of_layers_is_refused() {
        let layer = Descriptor::of(SIMPLE_SIGNING, b"x");
        let manifest = json!({ "schemaVersion": 2, "config": layer, "layers": vec![&layer; MAX_LAYERS + 1] });
        assert!(Attached::parse(manifest.to_string().as_bytes()).is_err());
        assert!(Attached::parse(b"[]").is_err());
    }
}
