//! Signatures and signed statements beside an image, as cosign keeps them: under the tags `sha256-<hex>.sig` and `.att`.
//!
//! An index is signed, and each image in it too: cosign looks at what a tag names, which is the index, and podman,
//! CRI-O and skopeo look at the one image that they take.

use std::collections::{BTreeMap, BTreeSet};

use kimg_core::Digest;
use kimg_image::{Descriptor, media_type};
use kimg_sign::{
    Attached, Attested, Claim, Envelope, Expected, Kind, MAX_PAYLOAD, PREDICATE_TYPE, Payload, SIGNATURE,
    SecureRandom, SignError, Signature, SigningKey, Statement, VerifyingKey, verify_signature,
};

use crate::manifests::Place;
use crate::transport::MAX_MANIFEST;
use crate::{Client, Manifest, Reference, RegistryError, Repository};

/// How often a list of signatures is written again because somebody else wrote it at the same time.
const ROUNDS: usize = 10;

/// What signs, and what it says.
#[derive(Clone, Copy)]
pub struct Signing<'a> {
    /// The key.
    pub key: &'a SigningKey,
    /// The name that the image is signed for; `None` is that of the repository it lies in.
    pub name: Option<&'a Repository>,
    /// What else is said: `cosign verify -a KEY=VALUE` asks for it.
    pub annotations: &'a BTreeMap<String, String>,
    /// Where randomness comes from.
    pub random: &'a (dyn SecureRandom + Sync),
}

/// A manifest or index that was signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signed {
    /// Its digest.
    pub digest: Digest,
    /// What its index says it runs on; `None` for an index.
    pub platform: Option<String>,
    /// Whether this signature was new; else the key had signed the same before.
    pub new: bool,
}

/// A signature that lies beside an image. Nothing of it is verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundSignature {
    /// What is signed.
    pub payload: Vec<u8>,
    /// The signature.
    pub signature: Signature,
}

/// What became of the search for a good signature of a manifest or index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignatureOf {
    /// Its digest.
    pub digest: Digest,
    /// What its index says it runs on; `None` for an index.
    pub platform: Option<String>,
    /// What the good signature says, if there is one.
    pub claim: Option<Claim>,
    /// Why other signatures do not hold.
    pub problems: Vec<String>,
}

impl Client {
    /// Signs what a reference names: the image, or the index and each image in it. Signatures that are there stay; what
    /// this key has signed before is not signed again.
    ///
    /// # Errors
    /// An image that is not there; what the registry refuses; others who write at the same time, again and again.
    pub async fn sign(&self, image: &Reference, signing: &Signing<'_>) -> Result<Vec<Signed>, RegistryError> {
        let (_, tree) = self.tree(image, None).await?;
        let repository = image.repository();
        let host = self.transport.host(repository).await?;
        let place = Place { transport: &self.transport, host: &host, repository };
        let name = signing.name.unwrap_or(repository).to_string();
        let own = signing.key.verifying_key();
        let (mut signed, mut written) = (Vec::new(), Vec::new());
        for node in &tree.nodes {
            let payload = Payload::annotated(&name, node.digest(), signing.annotations);
            let signature = signing.key.sign(payload.bytes(), signing.random)?;
            let digest = Digest::of(payload.bytes());
            let is_there = |attached: &Attached| {
                let mut same = attached.layers().iter().filter(|layer| layer.digest == digest);
                same.any(|layer| {
                    signature_of(layer).is_ok_and(|found| own.verify(payload.bytes(), &found).is_ok())
                })
            };
            let add = |attached: &mut Attached| attached.add_signature(&payload, &signature);
            let new = place.attach(&Kind::Signatures.tag(node.digest()), is_there, add).await?;
            if new {
                written.push((node.digest(), payload, signature));
            }
            let platform = node.platform.as_ref().map(ToString::to_string);
            signed.push(Signed { digest: node.digest(), platform, new });
        }
        if !written.is_empty() {
            self.settle().await;
        }
        for (image, payload, signature) in &written {
            let digest = Digest::of(payload.bytes());
            let is_there = |attached: &Attached| {
                attached.layers().iter().any(|layer| {
                    layer.digest == digest && signature_of(layer).is_ok_and(|found| found == *signature)
                })
            };
            let add = |attached: &mut Attached| attached.add_signature(payload, signature);
            place.attach(&Kind::Signatures.tag(*image), is_there, add).await?;
        }
        Ok(signed)
    }

    /// Every signature beside the one manifest or index that a reference names, the oldest first, each once. What is
    /// too large, or no signature at all, is left out.
    ///
    /// # Errors
    /// An image that is not there; the network.
    pub async fn signatures(&self, image: &Reference) -> Result<Vec<FoundSignature>, RegistryError> {
        let digest = self.digest_of(image).await?;
        let host = self.transport.host(image.repository()).await?;
        let place = Place { transport: &self.transport, host: &host, repository: image.repository() };
        let (found, _) = place.found(digest).await?;
        Ok(found)
    }

    /// Looks for a signature by this key of what a reference names, and, of an index, of each image in it: images first, the
    /// index last. `name` is the repository that it has to be signed for, if that is another one than where it lies.
    ///
    /// An image whose index is signed is vouched for by its digest there, so one without a signature of its own is told
    /// and no error.
    ///
    /// # Errors
    /// [`RegistryError::NotSigned`] if what the reference names has no good signature; an image that is not there.
    pub async fn verify_signed(
        &self,
        image: &Reference,
        key: &VerifyingKey,
        name: Option<&Repository>,
    ) -> Result<Vec<SignatureOf>, RegistryError> {
        let (top, tree) = self.tree(image, None).await?;
        let repository = image.repository();
        let host = self.transport.host(repository).await?;
        let place = Place { transport: &self.transport, host: &host, repository };
        let name = name.unwrap_or(repository).to_string();
        let mut all = Vec::new();
        for node in &tree.nodes {
            let digest = node.digest();
            let expected = Expected { digest, repository: Some(&name) };
            let (found, mut problems) = place.found(digest).await?;
            let mut claim = None;
            for FoundSignature { payload, signature } in found {
                match verify_signature(key, &payload, &signature, &expected) {
                    Ok(good) => {
                        claim = Some(good);
                        break;
                    }
                    Err(error) => problems.push(error.to_string()),
                }
            }
            if claim.is_none() && digest == top.digest {
                problems.dedup();
                return Err(RegistryError::NotSigned { image: format!("{repository}@{digest}"), problems });
            }
            let platform = node.platform.as_ref().map(ToString::to_string);
            all.push(SignatureOf { digest, platform, claim, problems });
        }
        Ok(all)
    }

    /// Signs a statement about the one manifest or index that a reference names, and puts it beside that. A statement that
    /// this key has signed before is not put there again; gives whether it was new.
    ///
    /// # Errors
    /// No in-toto statement, or one about something else; an image that is not there; what the registry refuses.
    pub async fn attest(
        &self,
        image: &Reference,
        statement: &[u8],
        signing: &Signing<'_>,
    ) -> Result<bool, RegistryError> {
        let digest = self.digest_of(image).await?;
        let read = Statement::parse(statement)?;
        if !read.is_about(digest) {
            let found = "something else".to_owned();
            return Err(SignError::OtherImage { expected: digest, found }.into());
        }
        let host = self.transport.host(image.repository()).await?;
        let place = Place { transport: &self.transport, host: &host, repository: image.repository() };
        let own = signing.key.verifying_key();
        for envelope in place.envelopes(digest, Some(&read.predicate_type)).await? {
            if envelope.verify(&own, digest).is_ok_and(|known| known.bytes == statement) {
                return Ok(false);
            }
        }
        let envelope = Envelope::sign(statement, signing.key, signing.random)?;
        let blob = Digest::of(envelope.to_json());
        let is_there = |attached: &Attached| attached.layers().iter().any(|layer| layer.digest == blob);
        let add = |attached: &mut Attached| attached.add_envelope(&envelope, &read.predicate_type);
        let tag = Kind::Attestations.tag(digest);
        let new = place.attach(&tag, is_there, add).await?;
        if new {
            self.settle().await;
            place.attach(&tag, is_there, add).await?;
        }
        Ok(new)
    }

    /// Waits until others who read a list before it was written here have written theirs: what that undid is seen, and done
    /// again. Registries have no way to write only what nobody else has written since.
    async fn settle(&self) {
        tokio::time::sleep(self.transport.options.first_wait).await;
    }

    /// The statements about the one manifest or index that a reference names which this key has signed, the oldest
    /// first.
    ///
    /// # Errors
    /// An image that is not there; the network.
    pub async fn attestations(
        &self,
        image: &Reference,
        key: &VerifyingKey,
    ) -> Result<Vec<Attested>, RegistryError> {
        let digest = self.digest_of(image).await?;
        let host = self.transport.host(image.repository()).await?;
        let place = Place { transport: &self.transport, host: &host, repository: image.repository() };
        let envelopes = place.envelopes(digest, None).await?;
        Ok(envelopes.iter().filter_map(|envelope| envelope.verify(key, digest).ok()).collect())
    }

    async fn digest_of(&self, image: &Reference) -> Result<Digest, RegistryError> {
        Ok(self.manifest(image).await?.descriptor.digest)
    }
}

impl Place<'_> {
    async fn attached(&self, tag: &str) -> Result<Attached, RegistryError> {
        match self.get(tag).await? {
            Some(found) => Ok(Attached::parse(&found.bytes)?),
            None => Ok(Attached::nothing()),
        }
    }

    /// Adds to what lies under a tag, and sees whether it stayed: two may write at once. Gives whether it had to.
    async fn attach(
        &self,
        tag: &str,
        is_there: impl Fn(&Attached) -> bool,
        add: impl Fn(&mut Attached),
    ) -> Result<bool, RegistryError> {
        let mut written = false;
        for _ in 0..ROUNDS {
            let mut attached = self.attached(tag).await?;
            if is_there(&attached) {
                return Ok(written);
            }
            let read = attached.layers().to_vec();
            add(&mut attached);
            let (bytes, blobs) = attached.write();
            self.send_small(blobs.iter().map(Vec::as_slice)).await?;
            // Others may have written while that was sent: between reading and writing shall be nothing else.
            if self.attached(tag).await?.layers() != read {
                continue;
            }
            let descriptor = Descriptor::of(media_type::MANIFEST, &bytes);
            self.put(tag, &Manifest { descriptor, bytes }).await?;
            written = true;
        }
        let problem = "others write the same list all the time".to_owned();
        Err(RegistryError::Protocol { doing: format!("adding to {}:{tag}", self.repository), problem })
    }

    /// The signatures of an image, each once, and what is wrong with those that can't be read.
    async fn found(&self, image: Digest) -> Result<(Vec<FoundSignature>, Vec<String>), RegistryError> {
        let attached = match self.attached(&Kind::Signatures.tag(image)).await {
            Ok(attached) => attached,
            Err(RegistryError::Sign(error)) => return Ok((Vec::new(), vec![error.to_string()])),
            Err(error) => return Err(error),
        };
        let (mut found, mut problems) = (Vec::new(), Vec::new());
        let mut payloads: BTreeMap<Digest, Vec<u8>> = BTreeMap::new();
        let mut seen = BTreeSet::new();
        for layer in attached.layers().iter().filter(|layer| Kind::Signatures.is_one(layer)) {
            if !seen.insert((layer.digest, layer.annotations.get(SIGNATURE))) {
                continue;
            }
            let signature = match signature_of(layer) {
                Ok(signature) => signature,
                Err(error) => {
                    problems.push(error.to_string());
                    continue;
                }
            };
            let payload = match payloads.get(&layer.digest) {
                Some(known) => known.clone(),
                None => match self.bounded(layer, MAX_PAYLOAD as u64).await? {
                    Ok(bytes) => bytes,
                    Err(problem) => {
                        problems.push(problem);
                        continue;
                    }
                },
            };
            payloads.insert(layer.digest, payload.clone());
            found.push(FoundSignature { payload, signature });
        }
        Ok((found, problems))
    }

    /// The signed statements about an image, of one kind or all. What is none is left out.
    async fn envelopes(
        &self,
        image: Digest,
        predicate_type: Option<&str>,
    ) -> Result<Vec<Envelope>, RegistryError> {
        let attached = self.attached(&Kind::Attestations.tag(image)).await?;
        let wanted = |layer: &&Descriptor| {
            let said = layer.annotations.get(PREDICATE_TYPE).map(String::as_str);
            Kind::Attestations.is_one(layer) && (predicate_type.is_none() || said == predicate_type)
        };
        let mut envelopes = Vec::new();
        for layer in attached.layers().iter().filter(wanted) {
            let bytes = self.bounded(layer, MAX_MANIFEST).await?;
            envelopes.extend(bytes.ok().and_then(|bytes| Envelope::parse(&bytes).ok()));
        }
        Ok(envelopes)
    }

    /// A blob of at most so many bytes. One that is larger, missing or changed is a problem of its own, in words.
    async fn bounded(&self, blob: &Descriptor, limit: u64) -> Result<Result<Vec<u8>, String>, RegistryError> {
        if blob.size > limit {
            return Ok(Err(format!("what is signed has {} bytes, more than {limit}", blob.size)));
        }
        match self.small_blob(blob.digest, blob.size).await {
            Ok(bytes) => Ok(Ok(bytes)),
            Err(
                error @ (RegistryError::NotFound { .. }
                | RegistryError::Mismatch { .. }
                | RegistryError::TooLarge { .. }),
            ) => Ok(Err(error.to_string())),
            Err(error) => Err(error),
        }
    }
}

fn signature_of(layer: &Descriptor) -> Result<Signature, SignError> {
    match layer.annotations.get(SIGNATURE) {
        Some(text) => Signature::from_base64(text),
        None => Err(SignError::MalformedSignature(format!("there is no `{SIGNATURE}`"))),
    }
}
