//! Artifacts under a tag: blobs that are no image, and that several writers add to (OCI image-spec, manifest.md,
//! "Guidelines for Artifact Usage"). What refers to an image is in `referrers`; what the blobs mean is the caller's.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use kimg_core::{Digest, ErrorClass};
use kimg_image::{Descriptor, media_type};
use kimg_layer::BlobStore;
use serde::Deserialize;

use crate::at_once::at_once;
use crate::manifests::Place;
use crate::progress::{How, Progress, Watch};
use crate::referrers::{EMPTY, Written};
use crate::transport::{Host, MAX_MANIFEST};
use crate::upload::Upload;
use crate::{Client, Manifest, Reference, RegistryError, Repository};

/// An artifact that a tag names. Of its blobs nothing was fetched yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaggedArtifact {
    /// Points to its manifest.
    pub descriptor: Descriptor,
    /// What kind of thing it is.
    pub artifact_type: String,
    /// Its blobs, in their order.
    pub blobs: Vec<Descriptor>,
}

/// What a manifest says that is an artifact's.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Read {
    schema_version: u32,
    artifact_type: Option<String>,
    #[serde(default)]
    layers: Vec<Descriptor>,
}

impl Client {
    /// The artifact that a reference names; `None` if there is no such thing.
    ///
    /// # Errors
    /// An image or an index in its place; the network.
    pub async fn artifact(&self, reference: &Reference) -> Result<Option<TaggedArtifact>, RegistryError> {
        let host = self.transport.host(reference.repository()).await?;
        let Some(found) = self.in_place(&host, reference.repository()).get(&reference.asked_by()).await?
        else {
            return Ok(None);
        };
        let malformed =
            |problem: String| RegistryError::Malformed { what: format!("the artifact {reference}"), problem };
        let read: Read =
            serde_json::from_slice(&found.bytes).map_err(|error| malformed(error.to_string()))?;
        if read.schema_version != 2 || found.descriptor.media_type != media_type::MANIFEST {
            return Err(malformed("it is no OCI manifest".into()));
        }
        let Some(artifact_type) = read.artifact_type else {
            return Err(malformed("it is an image, and no artifact".into()));
        };
        Ok(Some(TaggedArtifact { descriptor: found.descriptor, artifact_type, blobs: read.layers }))
    }

    /// The bytes of a small blob, of at most 4 MiB, compared with its digest and size.
    ///
    /// # Errors
    /// A blob that is larger, is not there, or is another.
    pub async fn small_blob(
        &self,
        repository: &Repository,
        blob: &Descriptor,
    ) -> Result<Vec<u8>, RegistryError> {
        let host = self.transport.host(repository).await?;
        self.in_place(&host, repository).small_blob(blob.digest, blob.size).await
    }

    /// Fetches blobs into a store, several at once, each compared with its digest and size; gives what became of each, in
    /// their order. A blob that is missing or wrong does not keep the others; a registry that can't be reached does.
    ///
    /// Bytes that turn out to be others are taken out of the store again, whatever they are: so it is a store that
    /// nobody else uses.
    ///
    /// # Errors
    /// The repository's name.
    pub async fn fetch_blobs(
        &self,
        from: &Repository,
        blobs: &[(Digest, u64)],
        into: &BlobStore,
        watch: &Arc<dyn Watch>,
    ) -> Result<Vec<Result<(), RegistryError>>, RegistryError> {
        let host = self.transport.host(from).await?;
        let place = self.in_place(&host, from);
        watch.tell(&Progress::Begun { blobs: blobs.len(), bytes: blobs.iter().map(|(_, size)| size).sum() });
        let gone = &AtomicBool::new(false);
        let fetching = blobs.iter().map(|&(digest, size)| async move {
            if gone.load(Ordering::Relaxed) {
                let doing = format!("fetching {}", from.at(digest));
                let source = "the registry did not answer before".into();
                return Ok(Err(RegistryError::Network { doing, attempts: 0, source }));
            }
            let fetched = place.fetch(digest, size, into, watch).await;
            match &fetched {
                Ok(_) => {
                    let (repository, how) = (from.clone(), How::Fetched);
                    watch.tell(&Progress::Blob { digest, size, repository, how });
                }
                Err(error) if kimg_core::Classified::class(error) == ErrorClass::Network => {
                    gone.store(true, Ordering::Relaxed);
                }
                Err(_) => {}
            }
            Ok(fetched.map(drop))
        });
        at_once(self.transport.options.concurrency, fetching).await
    }

    /// Brings blobs of a store into a repository: those that are there already are left, others are taken over from other
    /// repositories of the same registry where that goes, and else sent. Gives how each came, in their order.
    ///
    /// # Errors
    /// A blob that is missing here or damaged; what the registry refuses.
    pub async fn upload_blobs(
        &self,
        to: &Repository,
        blobs: &[(Digest, u64)],
        store: &BlobStore,
        mount_from: &[Repository],
        watch: &Arc<dyn Watch>,
    ) -> Result<Vec<How>, RegistryError> {
        let host = self.transport.host(to).await?;
        let host = &*host;
        let same = |source: &&Repository| source.registry() == to.registry() && *source != to;
        let sources: Vec<Repository> = mount_from.iter().filter(same).cloned().collect();
        let sources = &sources;
        watch.tell(&Progress::Begun { blobs: blobs.len(), bytes: blobs.iter().map(|(_, size)| size).sum() });
        let sending = blobs.iter().map(|&(digest, size)| async move {
            let upload = self.blob_upload(host, to, (digest, size), store, Arc::clone(watch));
            let how = if upload.is_there().await? { How::There } else { upload.run(sources).await? };
            watch.tell(&Progress::Blob { digest, size, repository: to.clone(), how: how.clone() });
            Ok(how)
        });
        at_once(self.transport.options.concurrency, sending).await
    }

    /// The blobs that a repository does not have, or not with this size.
    ///
    /// # Errors
    /// The network; who may not ask.
    pub async fn missing_blobs(
        &self,
        repository: &Repository,
        blobs: &[(Digest, u64)],
    ) -> Result<Vec<Digest>, RegistryError> {
        let host = self.transport.host(repository).await?;
        let host = &*host;
        let nowhere = &BlobStore::at("");
        let asking = blobs.iter().map(|&(digest, size)| async move {
            let upload = self.blob_upload(host, repository, (digest, size), nowhere, Arc::new(()));
            match upload.is_there().await {
                Ok(there) => Ok((!there).then_some(digest)),
                Err(RegistryError::Mismatch { .. }) => Ok(Some(digest)),
                Err(error) => Err(error),
            }
        });
        let missing = at_once(self.transport.options.concurrency, asking).await?;
        Ok(missing.into_iter().flatten().collect())
    }

    /// Lets a tag name an artifact of these blobs, which are in its repository: if the tag still names what it named when
    /// the caller looked, `over`. `None` if it names something else by now, and nothing was done.
    ///
    /// No registry compares and writes in one step: between the last look and the writing lies one round trip.
    ///
    /// # Errors
    /// A reference with a digest or without a tag, more blobs than a manifest holds, what the registry refuses.
    pub async fn tag_artifact(
        &self,
        reference: &Reference,
        artifact_type: &str,
        blobs: &[Descriptor],
        over: Option<Digest>,
    ) -> Result<Option<Descriptor>, RegistryError> {
        let (Some(tag), None) = (reference.tag(), reference.digest()) else {
            let problem = "a tag is expected, which can be set again".to_owned();
            return Err(RegistryError::Setting { what: reference.to_string(), problem });
        };
        let repository = reference.repository();
        let host = self.transport.host(repository).await?;
        let config = Descriptor::of(EMPTY, b"{}");
        let folder = tempfile::tempdir()?;
        let store = BlobStore::open(folder.path())?;
        store.put_bytes(b"{}")?;
        let empty = (config.digest, config.size);
        let upload = self.blob_upload(&host, repository, empty, &store, Arc::new(()));
        if !upload.is_there().await? {
            upload.run(&[]).await?;
        }
        let layers = if blobs.is_empty() { std::slice::from_ref(&config) } else { blobs };
        let manifest = Written {
            schema_version: 2,
            media_type: media_type::MANIFEST,
            artifact_type,
            config: &config,
            layers,
            subject: None,
            annotations: &BTreeMap::new(),
        }
        .manifest()?;
        if manifest.descriptor.size > MAX_MANIFEST {
            let what = format!("the manifest of {reference}");
            return Err(RegistryError::TooLarge { what, limit: format!("{MAX_MANIFEST} bytes") });
        }
        let place = self.in_place(&host, repository);
        if place.head(tag.as_str()).await? != over {
            return Ok(None);
        }
        place.put(tag.as_str(), &manifest).await?;
        Ok(Some(manifest.descriptor))
    }

    fn in_place<'a>(&'a self, host: &'a Host, repository: &'a Repository) -> Place<'a> {
        Place { transport: &self.transport, host, repository }
    }

    fn blob_upload<'a>(
        &'a self,
        host: &'a Host,
        repository: &'a Repository,
        (digest, size): (Digest, u64),
        store: &'a BlobStore,
        watch: Arc<dyn Watch>,
    ) -> Upload<'a> {
        Upload { transport: &self.transport, host, repository, store, digest, size, journal: None, watch }
    }
}

impl Written<'_> {
    /// As it is sent.
    pub(crate) fn manifest(&self) -> Result<Manifest, RegistryError> {
        let bytes = serde_json::to_vec(self).map_err(|error| RegistryError::Malformed {
            what: "the artifact".into(),
            problem: error.to_string(),
        })?;
        Ok(Manifest { descriptor: Descriptor::of(media_type::MANIFEST, &bytes), bytes })
    }
}
