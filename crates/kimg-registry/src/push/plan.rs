//! What a release comes to, before anything is changed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use kimg_core::Digest;
use kimg_image::Descriptor;
use kimg_layer::BlobStore;

use super::{Part, PushOptions, Release};
use crate::at_once::at_once;
use crate::manifests::Place;
use crate::transport::{Host, MAX_MANIFEST};
use crate::tree::{Node, Tree};
use crate::upload::Upload;
use crate::{Client, Manifest, Reference, RegistryError, Repository, TakenTag};

/// What has to be done for a release, as far as the registry lets one see. For a dry run it is all there is to know.
#[derive(Debug)]
pub struct Plan {
    /// Every blob in every repository that it has to be in, the largest first, configs last.
    pub blobs: Vec<PlannedBlob>,
    /// The tags, in the order in which they will be set.
    pub tags: Vec<PlannedTag>,
    /// Manifests and indexes that have to be sent.
    pub manifests: Vec<Reference>,
    pub(super) work: Vec<Work>,
}

/// A blob in a repository.
#[derive(Debug, Clone)]
pub struct PlannedBlob {
    /// The blob.
    pub digest: Digest,
    /// Its bytes.
    pub size: u64,
    /// Whether it is an image's config.
    pub is_config: bool,
    /// The repository.
    pub repository: Repository,
    /// Whether the repository has it.
    pub there: bool,
    /// Repositories of the same registry that may have it. If none has, it is sent.
    pub mount_from: Vec<Repository>,
    /// Where its bytes are here.
    pub(super) store: BlobStore,
}

/// A tag of a release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedTag {
    /// The tag.
    pub tag: Reference,
    /// What it names now, if it is there.
    pub found: Option<Digest>,
    /// What it will name.
    pub wanted: Digest,
}

/// One repository's share of a release.
#[derive(Debug)]
pub(super) struct Work {
    pub(super) repository: Repository,
    pub(super) host: Arc<Host>,
    /// What has to be there before the tags are set, in the order in which it is sent; and whether it is there already.
    pub(super) nodes: Vec<(Node, bool)>,
}

impl Plan {
    /// Bytes that will be sent, if nothing can be taken over from other repositories but what this very release
    /// brings there.
    pub fn bytes_to_send(&self) -> u64 {
        let mut counted = BTreeSet::new();
        let mut bytes = 0;
        for blob in &self.blobs {
            let known = (blob.repository.registry(), blob.digest);
            if blob.there {
                counted.insert(known);
            }
        }
        for blob in self.blobs.iter().filter(|blob| !blob.there) {
            if counted.insert((blob.repository.registry(), blob.digest)) {
                bytes += blob.size;
            }
        }
        bytes
    }

    /// The tags that name something else now.
    pub fn taken(&self) -> Vec<TakenTag> {
        let taken = |tag: &PlannedTag| {
            let found = tag.found.filter(|found| *found != tag.wanted)?;
            Some(TakenTag { tag: tag.tag.clone(), found, wanted: tag.wanted })
        };
        self.tags.iter().filter_map(taken).collect()
    }
}

/// Reads a manifest or index of a store, verified.
pub(crate) fn stored(store: &BlobStore, descriptor: &Descriptor) -> Result<Manifest, RegistryError> {
    if descriptor.size > MAX_MANIFEST {
        let what = format!("the manifest {}", descriptor.digest);
        return Err(RegistryError::TooLarge { what, limit: format!("{MAX_MANIFEST} bytes") });
    }
    let mut bytes = Vec::new();
    store.copy_to(descriptor.digest, descriptor.size, &mut bytes)?;
    let descriptor = Descriptor::new(&descriptor.media_type, descriptor.digest, descriptor.size);
    Ok(Manifest { descriptor, bytes })
}

impl Client {
    /// Looks at what a release would come to, and changes nothing: what `--dry-run` shows.
    ///
    /// # Errors
    /// Blobs that are missing here or damaged, images that mix Docker's and OCI's formats, a registry that can't be
    /// reached or does not allow it. Tags that are taken are no error here: [`Plan::taken`].
    pub async fn plan(&self, release: &Release, options: &PushOptions<'_>) -> Result<Plan, RegistryError> {
        release.check()?;
        let mut work: BTreeMap<&Repository, Work> = BTreeMap::new();
        let mut blobs: BTreeMap<(&Repository, Digest), PlannedBlob> = BTreeMap::new();
        let mut tags = Vec::new();
        for part in &release.parts {
            let tree = tree(part).await?;
            for (digest, (size, is_config)) in tree.blobs()? {
                blobs.entry((&part.repository, digest)).or_insert_with(|| PlannedBlob {
                    digest,
                    size,
                    is_config: is_config && size <= MAX_MANIFEST,
                    repository: part.repository.clone(),
                    there: false,
                    mount_from: Vec::new(),
                    store: part.store.clone(),
                });
            }
            if !work.contains_key(&part.repository) {
                let host = self.transport.host(&part.repository).await?;
                let repository = part.repository.clone();
                work.insert(&part.repository, Work { repository, host, nodes: Vec::new() });
            }
            let Some(here) = work.get_mut(&part.repository) else { continue };
            for node in tree.nodes {
                if here.nodes.iter().all(|(known, _)| known.digest() != node.digest()) {
                    here.nodes.push((node, false));
                }
            }
            for tag in &part.tags {
                let tag = part.repository.tagged(tag.clone());
                tags.push(PlannedTag { tag, found: None, wanted: part.top.digest });
            }
        }
        let mut plan = Plan {
            blobs: blobs.into_values().collect(),
            tags,
            manifests: Vec::new(),
            work: work.into_values().collect(),
        };
        self.look(&mut plan, options).await?;
        Ok(plan)
    }

    /// Asks the registries what is there already.
    async fn look(&self, plan: &mut Plan, options: &PushOptions<'_>) -> Result<(), RegistryError> {
        let many = self.transport.options.concurrency;
        // The first of them says whether one may come in at all.
        let (first, others) = plan.tags.split_at(plan.tags.len().min(1));
        let mut found = at_once(1, first.iter().map(|tag| self.head(&tag.tag))).await?;
        found.extend(at_once(many, others.iter().map(|tag| self.head(&tag.tag))).await?);
        plan.tags.iter_mut().zip(found).for_each(|(tag, found)| tag.found = found);
        for work in &mut plan.work {
            let place = Place { transport: &self.transport, host: &work.host, repository: &work.repository };
            let asking = work.nodes.iter().map(|(node, _)| self.has_manifest(place, node));
            let there = at_once(many, asking).await?;
            for ((node, known), there) in work.nodes.iter_mut().zip(there) {
                *known = there;
                if !there {
                    plan.manifests.push(work.repository.at(node.digest()));
                }
            }
        }
        let there = at_once(many, plan.blobs.iter().map(|blob| self.has_blob(blob))).await?;
        plan.blobs.iter_mut().zip(there).for_each(|(blob, there)| blob.there = there);
        for blob in
            plan.blobs.iter().filter(|blob| !blob.there && !blob.store.contains(blob.digest, blob.size))
        {
            // Says what is wrong with it.
            blob.store.copy_to(blob.digest, blob.size, std::io::sink())?;
        }
        let holders: Vec<(Digest, Repository)> = plan
            .blobs
            .iter()
            .filter(|blob| blob.there)
            .map(|it| (it.digest, it.repository.clone()))
            .collect();
        for blob in plan.blobs.iter_mut().filter(|blob| !blob.there) {
            let own =
                holders.iter().filter(|(digest, _)| *digest == blob.digest).map(|(_, holder)| holder.clone());
            let noted = options.journal.map_or_else(Vec::new, |it| it.holders(&blob.repository, blob.digest));
            for source in own.chain(noted).chain(options.mount_from.iter().cloned()) {
                let same = source.registry() == blob.repository.registry();
                if same && source != blob.repository && !blob.mount_from.contains(&source) {
                    blob.mount_from.push(source);
                }
            }
        }
        plan.blobs.sort_by_key(|blob| (blob.is_config, std::cmp::Reverse(blob.size), blob.digest));
        Ok(())
    }

    /// Whether a repository has a manifest, with these very bytes.
    async fn has_manifest(&self, place: Place<'_>, node: &Node) -> Result<bool, RegistryError> {
        let found = place.get(&node.digest().to_string()).await?;
        Ok(found.is_some_and(|found| found.bytes == node.manifest.bytes))
    }

    /// Whether a repository has a blob. A config is read, and compared.
    pub(super) async fn has_blob(&self, blob: &PlannedBlob) -> Result<bool, RegistryError> {
        let host = self.transport.host(&blob.repository).await?;
        if blob.is_config {
            return self.same_config(&host, blob).await;
        }
        self.upload(&host, blob, None, Arc::new(())).is_there().await
    }

    pub(super) fn upload<'a>(
        &'a self,
        host: &'a Host,
        blob: &'a PlannedBlob,
        journal: Option<&'a crate::Journal>,
        watch: Arc<dyn crate::progress::Watch>,
    ) -> Upload<'a> {
        let PlannedBlob { digest, size, repository, store, .. } = blob;
        Upload {
            transport: &self.transport,
            host,
            repository,
            store,
            digest: *digest,
            size: *size,
            journal,
            watch,
        }
    }

    async fn same_config(&self, host: &Host, blob: &PlannedBlob) -> Result<bool, RegistryError> {
        let place = Place { transport: &self.transport, host, repository: &blob.repository };
        match place.small_blob(blob.digest, blob.size).await {
            Ok(_) => Ok(true),
            Err(RegistryError::NotFound { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// All nodes of a part. An image that mixes families is refused.
async fn tree(part: &Part) -> Result<Tree, RegistryError> {
    let top = stored(&part.store, &part.top)?;
    let tree = Tree::walk(top, None, |child| async move { stored(&part.store, &child) }).await?;
    match tree.nodes.iter().find_map(Node::mixes) {
        Some(problem) => {
            Err(RegistryError::Release(format!("{problem}: Docker's and OCI's formats are never mixed")))
        }
        None => Ok(tree),
    }
}
