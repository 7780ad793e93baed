//! What refers to an image: SBOMs, provenance, signatures (OCI distribution-spec, "Listing Referrers", "Pushing Manifests
//! with Subject"). Where a registry has no referrers API, they are listed by an index under the tag `sha256-<hex>`.

use std::collections::BTreeMap;
use std::sync::Arc;

use kimg_core::Digest;
use kimg_image::{Descriptor, media_type};
use kimg_layer::BlobStore;
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::manifests::Place;
use crate::progress::Watch;
use crate::upload::Upload;
use crate::{Client, Manifest, Reference, RegistryError, Tag};

/// Something that refers to an image.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Artifact {
    /// What kind of thing it is: `application/spdx+json`.
    pub artifact_type: String,
    /// Its blobs.
    pub blobs: Vec<ArtifactBlob>,
    /// Annotations of its manifest.
    pub annotations: BTreeMap<String, String>,
}

/// A blob of an artifact.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ArtifactBlob {
    /// What it is.
    pub media_type: String,
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// Annotations of its descriptor, such as `org.opencontainers.image.title`.
    pub annotations: BTreeMap<String, String>,
}

/// OCI image-spec, manifest.md, "Guidance for an Empty Descriptor".
pub(crate) const EMPTY: &str = "application/vnd.oci.empty.v1+json";

/// How often a list of referrers is written again because somebody else wrote it at the same time.
const ROUNDS: usize = 5;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Written<'a> {
    pub(crate) schema_version: u32,
    pub(crate) media_type: &'a str,
    pub(crate) artifact_type: &'a str,
    pub(crate) config: &'a Descriptor,
    pub(crate) layers: &'a [Descriptor],
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) subject: Option<&'a Descriptor>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) annotations: &'a BTreeMap<String, String>,
}

impl Client {
    /// What refers to an image, as its registry or the index under `sha256-<hex>` says. Nothing of it is verified:
    /// who reads it fetches it by its digest.
    ///
    /// # Errors
    /// An image that is not there; the network.
    pub async fn referrers(&self, reference: &Reference) -> Result<Vec<Descriptor>, RegistryError> {
        let digest = match reference.digest() {
            Some(digest) => digest,
            None => self.head(reference).await?.ok_or_else(|| reference.missing())?,
        };
        let host = self.transport.host(reference.repository()).await?;
        let place = Place { transport: &self.transport, host: &host, repository: reference.repository() };
        match place.referrers_api(digest).await? {
            Some(referrers) => Ok(referrers),
            None => place.listed(digest).await,
        }
    }

    /// Puts an artifact beside the image it refers to; gives what points to it. The same artifact gives the same bytes.
    ///
    /// # Errors
    /// An image that is not there; what the registry refuses.
    pub async fn push_referrer(
        &self,
        image: &Reference,
        artifact: &Artifact,
    ) -> Result<Descriptor, RegistryError> {
        let subject = self.manifest(image).await?.descriptor;
        let repository = image.repository();
        let host = self.transport.host(repository).await?;
        let place = Place { transport: &self.transport, host: &host, repository };
        let config = Descriptor::of(EMPTY, b"{}");
        let mut layers = Vec::new();
        for blob in &artifact.blobs {
            let annotations = blob.annotations.clone();
            layers.push(Descriptor { annotations, ..Descriptor::of(&blob.media_type, &blob.bytes) });
        }
        if layers.is_empty() {
            // An image manifest has at least one.
            layers.push(config.clone());
        }
        let blobs = artifact.blobs.iter().map(|blob| blob.bytes.as_slice());
        place.send_small(std::iter::once(&b"{}"[..]).chain(blobs)).await?;
        let manifest = Written {
            schema_version: 2,
            media_type: media_type::MANIFEST,
            artifact_type: &artifact.artifact_type,
            config: &config,
            layers: &layers,
            subject: Some(&subject),
            annotations: &artifact.annotations,
        }
        .manifest()?;
        let noted = place.put(&manifest.descriptor.digest.to_string(), &manifest).await?;
        let mut descriptor = manifest.descriptor;
        descriptor.annotations.clone_from(&artifact.annotations);
        let kind = Value::String(artifact.artifact_type.clone());
        descriptor.other.insert("artifactType".into(), kind);
        if !noted && place.referrers_api(subject.digest).await?.is_none() {
            place.list(subject.digest, &descriptor).await?;
        }
        Ok(descriptor)
    }
}

impl Place<'_> {
    /// Sends blobs that are held in memory, those that are not there yet.
    pub(crate) async fn send_small(
        &self,
        blobs: impl IntoIterator<Item = &[u8]>,
    ) -> Result<(), RegistryError> {
        let folder = tempfile::tempdir()?;
        let store = BlobStore::open(folder.path())?;
        for bytes in blobs {
            store.put_bytes(bytes)?;
        }
        let (transport, host, repository, store) = (self.transport, self.host, self.repository, &store);
        for (digest, size) in store.list()? {
            let watch: Arc<dyn Watch> = Arc::new(());
            let upload = Upload { transport, host, repository, store, digest, size, journal: None, watch };
            if !upload.is_there().await? {
                upload.run(&[]).await?;
            }
        }
        Ok(())
    }

    /// What the index under `sha256-<hex>` lists; nothing where there is none.
    async fn listed(&self, subject: Digest) -> Result<Vec<Descriptor>, RegistryError> {
        let tag = Tag::of_referrers(subject);
        let Some(found) = self.get(tag.as_str()).await? else { return Ok(Vec::new()) };
        let value: Map<String, Value> = parse(&found, &tag)?;
        let list = value.get("manifests").cloned().unwrap_or_default();
        serde_json::from_value(list).map_err(|error| malformed(&tag, &error))
    }

    /// Adds to the index under `sha256-<hex>`, and sees whether it stayed: two may write at once.
    async fn list(&self, subject: Digest, referrer: &Descriptor) -> Result<(), RegistryError> {
        let tag = Tag::of_referrers(subject);
        for _ in 0..ROUNDS {
            let listed = self.listed(subject).await?;
            if listed.iter().any(|it| it.digest == referrer.digest) {
                return Ok(());
            }
            let all: Vec<&Descriptor> = listed.iter().chain([referrer]).collect();
            let index = json!({ "schemaVersion": 2, "mediaType": media_type::INDEX, "manifests": all });
            let bytes = index.to_string().into_bytes();
            let descriptor = Descriptor::of(media_type::INDEX, &bytes);
            self.put(tag.as_str(), &Manifest { descriptor, bytes }).await?;
        }
        let problem = "others write the list of referrers all the time".to_owned();
        Err(RegistryError::Protocol { doing: format!("adding to {}:{tag}", self.repository), problem })
    }
}

fn parse(found: &Manifest, tag: &Tag) -> Result<Map<String, Value>, RegistryError> {
    serde_json::from_slice(&found.bytes).map_err(|error| malformed(tag, &error))
}

fn malformed(tag: &Tag, error: &serde_json::Error) -> RegistryError {
    RegistryError::Malformed { what: format!("the list of referrers {tag}"), problem: error.to_string() }
}
