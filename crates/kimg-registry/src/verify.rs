//! Whether what a registry has is what it says: every size, digest, media type, platform and layer.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::sync::Arc;

use kimg_core::{Digest, DigestWriter};
use kimg_image::Descriptor;
use kimg_layer::decode;
use tokio::sync::mpsc::{Receiver, channel};

use crate::at_once::at_once;
use crate::manifests::Place;
use crate::progress::{How, Progress, Watch};
use crate::tree::{Config, Kind, Node};
use crate::{Client, Reference, RegistryError};

/// What was verified, and what was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// What the reference names.
    pub top: Descriptor,
    /// Manifests and indexes.
    pub manifests: usize,
    /// Configs and layers, each once.
    pub blobs: usize,
    /// Their bytes.
    pub bytes: u64,
    /// The platforms of the images, sorted.
    pub platforms: Vec<String>,
    /// What is wrong. Nothing, if all is well.
    pub findings: Vec<Finding>,
}

/// Something that is not what it should be.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// The manifest or blob.
    pub digest: Digest,
    /// What is wrong with it.
    pub problem: String,
}

/// A layer of an image, with the digest that its config says the unpacked layer has.
struct Layer<'a> {
    blob: &'a Descriptor,
    diff_id: Option<Digest>,
}

/// What a blob turned out to be.
struct Seen {
    digest: Digest,
    diff_id: Option<Result<Digest, String>>,
}

impl Client {
    /// Reads everything below a reference and compares it with what it should be: sizes, digests, media types, that
    /// OCI's and Docker's formats are not mixed, that an index and its configs agree on platforms, that configs name as
    /// many layers as manifests, and that each layer unpacks to what its config says.
    ///
    /// # Errors
    /// A tree that can't be read as a whole: missing or malformed manifests, the network. What is wrong within a tree
    /// that can be read is a finding.
    pub async fn verify(
        &self,
        reference: &Reference,
        watch: Arc<dyn Watch>,
    ) -> Result<Verified, RegistryError> {
        let (top, tree) = self.tree(reference, None).await?;
        let host = self.transport.host(reference.repository()).await?;
        let place = Place { transport: &self.transport, host: &host, repository: reference.repository() };
        let mut findings: Vec<Finding> = tree
            .nodes
            .iter()
            .filter_map(|node| node.mixes().map(|problem| Finding { digest: node.digest(), problem }))
            .collect();
        let mut platforms = Vec::new();
        let mut layers: Vec<Layer<'_>> = Vec::new();
        for node in &tree.nodes {
            let Kind::Image { config, layers: named } = &node.kind else { continue };
            let diff_ids = match place.small_blob(config.digest, config.size).await {
                Ok(bytes) if Config::is_one(config) => {
                    image(node, &bytes, named, config.digest, &mut platforms, &mut findings)
                }
                Ok(_) => Vec::new(),
                Err(error) => {
                    findings.push(finding(config.digest, error)?);
                    Vec::new()
                }
            };
            let diff_ids = diff_ids.into_iter().map(Some).chain(std::iter::repeat(None));
            layers.extend(named.iter().zip(diff_ids).map(|(blob, diff_id)| Layer { blob, diff_id }));
        }
        let blobs = tree.blobs()?;
        let bytes = blobs.values().map(|(size, _)| size).sum();
        watch.tell(&Progress::Begun { blobs: blobs.len(), bytes });
        let seen = self.see(place, &layers, &watch, &mut findings).await?;
        for Layer { blob, diff_id } in &layers {
            let Some(seen) = seen.get(&(blob.digest, blob.media_type.as_str())) else { continue };
            if seen.digest != blob.digest {
                let problem = format!("its bytes have the digest {}", seen.digest);
                findings.push(Finding { digest: blob.digest, problem });
                continue;
            }
            let problem = match (&seen.diff_id, diff_id) {
                (Some(Ok(found)), Some(wanted)) if found != wanted => {
                    format!("unpacked it has the digest {found}, and its config says {wanted}")
                }
                (Some(Err(problem)), _) => problem.clone(),
                _ => continue,
            };
            findings.push(Finding { digest: blob.digest, problem });
        }
        findings.sort();
        findings.dedup();
        platforms.sort();
        let (manifests, blobs) = (tree.nodes.len(), blobs.len());
        Ok(Verified { top, manifests, blobs, bytes, platforms, findings })
    }

    /// Reads each layer once.
    async fn see<'a>(
        &self,
        place: Place<'_>,
        layers: &'a [Layer<'a>],
        watch: &Arc<dyn Watch>,
        findings: &mut Vec<Finding>,
    ) -> Result<BTreeMap<(Digest, &'a str), Seen>, RegistryError> {
        let unique: BTreeMap<(Digest, &str), &Descriptor> =
            layers.iter().map(|it| ((it.blob.digest, it.blob.media_type.as_str()), it.blob)).collect();
        let mut seen = BTreeMap::new();
        let reading =
            unique.into_iter().map(|(key, blob)| async move { Ok((key, place.see(blob, watch).await)) });
        for ((digest, kind), result) in at_once(self.transport.options.concurrency, reading).await? {
            match result {
                Ok(it) => drop(seen.insert((digest, kind), it)),
                Err(error) => findings.push(finding(digest, error)?),
            }
        }
        Ok(seen)
    }
}

/// Looks at one image's config; gives the digests of its layers unpacked.
fn image(
    node: &Node,
    config: &[u8],
    layers: &[Descriptor],
    digest: Digest,
    platforms: &mut Vec<String>,
    findings: &mut Vec<Finding>,
) -> Vec<Digest> {
    let config = match Config::parse(config, digest) {
        Ok(config) => config,
        Err(error) => {
            findings.push(Finding { digest, problem: error.to_string() });
            return Vec::new();
        }
    };
    let own = config.platform();
    platforms.push(own.to_string());
    if let Some(said) = node.platform.as_ref().filter(|said| said.to_string() != own.to_string()) {
        let problem = format!("its index says {said}, its config {own}");
        findings.push(Finding { digest: node.digest(), problem });
    }
    let (found, expected) = (config.rootfs.diff_ids.len(), layers.len());
    if found != expected {
        let problem = format!("its manifest has {expected} layers, its config {found}");
        findings.push(Finding { digest: node.digest(), problem });
        return Vec::new();
    }
    config.rootfs.diff_ids
}

/// What is wrong with a blob, unless it could not be looked at.
fn finding(digest: Digest, error: RegistryError) -> Result<Finding, RegistryError> {
    match error {
        RegistryError::Mismatch { .. } | RegistryError::NotFound { .. } | RegistryError::TooLarge { .. } => {
            Ok(Finding { digest, problem: error.to_string() })
        }
        other => Err(other),
    }
}

impl Place<'_> {
    /// Reads a layer, and what it unpacks to.
    async fn see(&self, blob: &Descriptor, watch: &Arc<dyn Watch>) -> Result<Seen, RegistryError> {
        let (sender, receiver) = channel::<Vec<u8>>(8);
        let kind = blob.media_type.clone();
        let hashing = tokio::task::spawn_blocking(move || hashed(receiver, &kind));
        let (digest, size) = (blob.digest, blob.size);
        let mut done = 0;
        let result = self
            .blob(digest, size, &mut |piece| {
                done += piece.len() as u64;
                watch.tell(&Progress::Moved { digest, done, size });
                let (sending, piece) = (sender.clone(), piece.to_vec());
                async move {
                    let _ = sending.send(piece).await;
                    Ok(())
                }
            })
            .await;
        drop(sender);
        let seen = hashing.await.map_err(|error| io::Error::other(error.to_string()))?;
        result?;
        watch.tell(&Progress::Blob { digest, size, repository: self.repository.clone(), how: How::Fetched });
        Ok(seen)
    }
}

/// Hashes a layer as it comes, and what it unpacks to, if it can be unpacked.
fn hashed(receiver: Receiver<Vec<u8>>, kind: &str) -> Seen {
    let mut coming = Coming { receiver, piece: io::Cursor::default(), hash: DigestWriter::new(io::sink()) };
    let diff_id = match decode(&mut coming, kind) {
        Ok(mut archive) => {
            let mut hash = DigestWriter::new(io::sink());
            Some(match io::copy(&mut archive, &mut hash) {
                Ok(_) => Ok(hash.finish().1),
                Err(error) => Err(format!("it can't be unpacked: {error}")),
            })
        }
        // No layer: an artifact's blob is whatever it is.
        Err(_) => None,
    };
    // What stands behind the end of the archive belongs to the blob.
    let _ = io::copy(&mut coming, &mut io::sink());
    Seen { digest: coming.hash.finish().1, diff_id }
}

/// Pieces that come out of a channel, hashed on the way.
struct Coming {
    receiver: Receiver<Vec<u8>>,
    piece: io::Cursor<Vec<u8>>,
    hash: DigestWriter<io::Sink>,
}

impl Read for Coming {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let read = self.piece.read(buffer)?;
            if read > 0 || buffer.is_empty() {
                return Ok(read);
            }
            let Some(piece) = self.receiver.blocking_recv() else { return Ok(0) };
            io::Write::write_all(&mut self.hash, &piece)?;
            self.piece = io::Cursor::new(piece);
        }
    }
}
