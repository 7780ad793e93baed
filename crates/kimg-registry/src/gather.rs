//! Everything below a reference, fetched into a store: manifests, indexes and blobs, each verified.

use std::sync::Arc;

use kimg_core::{Digest, Platform};
use kimg_image::Descriptor;
use kimg_layer::{BlobStore, LayerError};
use tokio::sync::mpsc::channel;

use crate::at_once::at_once;
use crate::manifests::Place;
use crate::progress::{How, Progress, Watch};
use crate::tree::{Node, Tree};
use crate::upload::Upload;
use crate::{Client, Manifest, Reference, RegistryError, Repository};

/// What was gathered.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Gathered {
    /// Blobs that were fetched, and their bytes.
    pub(crate) fetched: (usize, u64),
    /// Blobs that did not have to be.
    pub(crate) there: usize,
}

/// Between the network and the disk: so many pieces may wait.
const PIECES: usize = 8;

impl Client {
    /// The tree below a reference, of which each manifest is what the one above says it is.
    pub(crate) async fn tree(
        &self,
        reference: &Reference,
        platforms: Option<&[Platform]>,
    ) -> Result<(Descriptor, Tree), RegistryError> {
        let top = self.manifest(reference).await?;
        let descriptor = top.descriptor.clone();
        let repository = reference.repository();
        let host = self.transport.host(repository).await?;
        let place = Place { transport: &self.transport, host: &host, repository };
        let tree = Tree::walk(top, platforms, |child| child_of(place, child)).await?;
        Ok((descriptor, tree))
    }

    /// Puts manifests and indexes into a store, and the blobs that are wanted.
    pub(crate) async fn gather(
        &self,
        from: &Repository,
        tree: &Tree,
        into: &BlobStore,
        wanted: impl Fn(Digest, bool) -> bool,
        watch: &Arc<dyn Watch>,
    ) -> Result<Gathered, RegistryError> {
        let host = self.transport.host(from).await?;
        let place = Place { transport: &self.transport, host: &host, repository: from };
        for Node { manifest, .. } in &tree.nodes {
            into.put_bytes(&manifest.bytes)?;
        }
        let blobs: Vec<(Digest, u64)> = tree
            .blobs()?
            .into_iter()
            .filter(|(digest, (_, is_config))| wanted(*digest, *is_config))
            .map(|(digest, (size, _))| (digest, size))
            .collect();
        watch.tell(&Progress::Begun { blobs: blobs.len(), bytes: blobs.iter().map(|(_, size)| size).sum() });
        let mut gathered = Gathered::default();
        let fetching = blobs.into_iter().map(|(digest, size)| async move {
            let fetched = place.fetch(digest, size, into, watch).await?;
            let how = if fetched { How::Fetched } else { How::There };
            watch.tell(&Progress::Blob { digest, size, repository: from.clone(), how });
            Ok((fetched, size))
        });
        for (fetched, size) in at_once(self.transport.options.concurrency, fetching).await? {
            if fetched {
                gathered.fetched.0 += 1;
                gathered.fetched.1 += size;
            } else {
                gathered.there += 1;
            }
        }
        Ok(gathered)
    }

    /// The blobs of a tree that a repository neither has nor gets from the other one by mounting.
    pub(crate) async fn lacking(
        &self,
        tree: &Tree,
        from: &Repository,
        to: &Repository,
        store: &BlobStore,
    ) -> Result<Vec<Digest>, RegistryError> {
        if from == to {
            return Ok(Vec::new());
        }
        let host = self.transport.host(to).await?;
        let host = &*host;
        let asking = tree.blobs()?.into_iter().map(|(digest, (size, _))| async move {
            let transport = &self.transport;
            let watch: Arc<dyn Watch> = Arc::new(());
            let upload =
                Upload { transport, host, repository: to, store, digest, size, journal: None, watch };
            let there = upload.is_there().await?
                || (from.registry() == to.registry() && upload.taken_over(from).await);
            Ok((!there).then_some(digest))
        });
        let lacking = at_once(self.transport.options.concurrency, asking).await?;
        Ok(lacking.into_iter().flatten().collect())
    }
}

/// A manifest that is what the descriptor above it says.
async fn child_of(place: Place<'_>, child: Descriptor) -> Result<Manifest, RegistryError> {
    let reference = place.repository.at(child.digest);
    let found = place.get(&child.digest.to_string()).await?.ok_or_else(|| reference.missing())?;
    if found.descriptor.size != child.size {
        let size = format!("{} bytes", child.size);
        return Err(RegistryError::mismatch(reference, size, found.descriptor.size));
    }
    if found.descriptor.media_type != child.media_type {
        return Err(RegistryError::mismatch(reference, child.media_type, found.descriptor.media_type));
    }
    Ok(found)
}

/// On its way to the disk.
enum Step {
    Piece(Vec<u8>),
    End,
}

impl Place<'_> {
    /// Fetches a blob into a store, unless it is there and good; gives whether it had to be fetched.
    pub(crate) async fn fetch(
        &self,
        digest: Digest,
        size: u64,
        into: &BlobStore,
        watch: &Arc<dyn Watch>,
    ) -> Result<bool, RegistryError> {
        if into.contains(digest, size) {
            let store = into.clone();
            let good =
                tokio::task::spawn_blocking(move || store.copy_to(digest, size, std::io::sink()).is_ok());
            if good.await.unwrap_or(false) {
                return Ok(false);
            }
        }
        let (sender, mut receiver) = channel::<Step>(PIECES);
        let store = into.clone();
        let writing = tokio::task::spawn_blocking(move || {
            store.put(|out| {
                loop {
                    match receiver.blocking_recv() {
                        Some(Step::Piece(piece)) => out.write_all(&piece).map_err(LayerError::Output)?,
                        Some(Step::End) => return Ok(()),
                        None => {
                            let why = std::io::Error::other("the transfer was given up");
                            return Err(LayerError::Read(why));
                        }
                    }
                }
            })
        });
        let mut done = 0;
        let result = self
            .blob(digest, size, &mut |piece| {
                done += piece.len() as u64;
                watch.tell(&Progress::Moved { digest, done, size });
                let sending = sender.clone();
                let piece = Step::Piece(piece.to_vec());
                async move {
                    // Where nobody takes it any more, the writer has the reason.
                    let _ = sending.send(piece).await;
                    Ok(())
                }
            })
            .await;
        if result.is_ok() {
            let _ = sender.send(Step::End).await;
        }
        drop(sender);
        let written = writing.await.map_err(|error| std::io::Error::other(error.to_string()))?;
        result?;
        let (found, _) = written?;
        if found == digest {
            return Ok(true);
        }
        into.remove(found)?;
        Err(self.differs(digest, digest, found))
    }
}
