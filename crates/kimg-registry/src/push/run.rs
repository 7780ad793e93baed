//! Pushing: everything first, then a look at it, and the tags last.

use std::collections::BTreeMap;
use std::sync::Arc;

use kimg_core::Digest;

use super::plan::{Plan, PlannedBlob, PlannedTag, Work};
use super::{PushOptions, Release};
use crate::at_once::at_once;
use crate::manifests::Place;
use crate::options::ReadBack;
use crate::progress::{How, Progress, Watch};
use crate::tree::Kind;
use crate::{Client, Reference, RegistryError, Repository, TakenTag};

/// What a push did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pushed {
    /// Every tag with what it names, in the order of the release.
    pub tags: Vec<(Reference, Digest)>,
    /// Every index or image that was pushed without tags.
    pub untagged: Vec<Reference>,
    /// Blobs that were sent, each counted once for each repository.
    pub sent: usize,
    /// Their bytes.
    pub sent_bytes: u64,
    /// Blobs that the registry took over from other repositories of its own.
    pub mounted: usize,
    /// Blobs that were there.
    pub there: usize,
    /// Manifests and indexes that were sent.
    pub manifests: usize,
    /// Tags that were set or moved.
    pub moved: usize,
}

impl Client {
    /// Pushes a release: blobs, configs, manifests, indexes; then all of it is read back and compared; then the tags are
    /// set. Until then no tag changes, so what fails leaves every tag as it was. What is there already is not sent.
    ///
    /// # Errors
    /// As with [`Client::plan`]; [`RegistryError::TagTaken`] if a tag names something else and may not be moved, before
    /// anything is sent; [`RegistryError::HalfDone`] if setting the tags fails after the first of them. Where the answer
    /// to the very first tag is lost each time, that tag may be set: what it names is whole then, too.
    pub async fn push(
        &self,
        release: &Release,
        options: &PushOptions<'_>,
        watch: Arc<dyn Watch>,
    ) -> Result<Pushed, RegistryError> {
        let plan = self.plan(release, options).await?;
        may_move(plan.taken(), options)?;
        let mut pushed = Pushed::default();
        let untagged = release.references().into_iter().filter(|reference| reference.tag().is_none());
        pushed.untagged = untagged.collect();
        let bytes = plan.blobs.iter().map(|blob| blob.size).sum();
        watch.tell(&Progress::Begun { blobs: plan.blobs.len(), bytes });
        for configs in [false, true] {
            let blobs = plan.blobs.iter().filter(|blob| blob.is_config == configs);
            self.send_blobs(blobs, options, &watch, &mut pushed).await?;
        }
        for work in &plan.work {
            self.send_manifests(work, &watch, &mut pushed).await?;
        }
        self.read_back(&plan, &watch).await?;
        self.set_tags(&plan, options, &watch, &mut pushed).await?;
        Ok(pushed)
    }

    /// Each blob once, and from there into the other repositories that want it.
    async fn send_blobs<'a>(
        &self,
        blobs: impl Iterator<Item = &'a PlannedBlob>,
        options: &PushOptions<'_>,
        watch: &Arc<dyn Watch>,
        pushed: &mut Pushed,
    ) -> Result<(), RegistryError> {
        let mut groups: Vec<Vec<&PlannedBlob>> = Vec::new();
        let mut places: BTreeMap<(&str, Digest), usize> = BTreeMap::new();
        for blob in blobs {
            let place = *places.entry((blob.repository.registry(), blob.digest)).or_insert(groups.len());
            match groups.get_mut(place) {
                Some(group) => group.push(blob),
                None => groups.push(vec![blob]),
            }
        }
        let sending = groups.into_iter().map(|group| self.send_group(group, options, watch));
        for done in at_once(self.transport.options.concurrency, sending).await? {
            for (blob, how) in done {
                match how {
                    How::There | How::Fetched => pushed.there += 1,
                    How::Mounted(_) => pushed.mounted += 1,
                    How::Sent => {
                        pushed.sent += 1;
                        pushed.sent_bytes += blob.size;
                    }
                }
            }
        }
        Ok(())
    }

    async fn send_group<'a>(
        &self,
        group: Vec<&'a PlannedBlob>,
        options: &PushOptions<'_>,
        watch: &Arc<dyn Watch>,
    ) -> Result<Vec<(&'a PlannedBlob, How)>, RegistryError> {
        let mut done = Vec::new();
        let mut holders: Vec<Repository> = Vec::new();
        for blob in group {
            let how = if blob.there {
                How::There
            } else {
                let host = self.transport.host(&blob.repository).await?;
                let sources: Vec<_> = holders.iter().chain(&blob.mount_from).cloned().collect();
                self.upload(&host, blob, options.journal, Arc::clone(watch)).run(&sources).await?
            };
            if let (How::There, Some(journal)) = (&how, options.journal) {
                journal.there(&blob.repository, blob.digest);
            }
            holders.push(blob.repository.clone());
            watch.tell(&Progress::Blob {
                digest: blob.digest,
                size: blob.size,
                repository: blob.repository.clone(),
                how: how.clone(),
            });
            done.push((blob, how));
        }
        Ok(done)
    }

    /// Images by their digests, at once; then indexes, one after the other, for they may name each other.
    async fn send_manifests(
        &self,
        work: &Work,
        watch: &Arc<dyn Watch>,
        pushed: &mut Pushed,
    ) -> Result<(), RegistryError> {
        let place = self.place(work);
        let missing = work.nodes.iter().filter(|(_, there)| !there).map(|(node, _)| node);
        let (images, indexes): (Vec<_>, Vec<_>) =
            missing.partition(|node| matches!(node.kind, Kind::Image { .. }));
        pushed.manifests += images.len() + indexes.len();
        let many = self.transport.options.concurrency;
        for (nodes, at_most) in [(images, many), (indexes, 1)] {
            let sending = nodes.into_iter().map(|node| async move {
                place.put(&node.digest().to_string(), &node.manifest).await?;
                watch.tell(&Progress::Manifest(work.repository.at(node.digest())));
                Ok(())
            });
            at_once(at_most, sending).await?;
        }
        Ok(())
    }

    fn place<'a>(&'a self, work: &'a Work) -> Place<'a> {
        Place { transport: &self.transport, host: &work.host, repository: &work.repository }
    }

    /// Looks at everything that was not there before; what was there was looked at then.
    async fn read_back(&self, plan: &Plan, watch: &Arc<dyn Watch>) -> Result<(), RegistryError> {
        let many = self.transport.options.concurrency;
        let whole = self.transport.options.read_back == ReadBack::Whole;
        let mut count = 0;
        let sent: Vec<_> = plan.blobs.iter().filter(|blob| !blob.there || whole).collect();
        count += sent.len();
        at_once(many, sent.into_iter().map(|blob| self.blob_is_good(blob, whole))).await?;
        for work in &plan.work {
            let place = self.place(work);
            let sent: Vec<_> = work.nodes.iter().filter(|(_, there)| !there).map(|(node, _)| node).collect();
            count += sent.len();
            let reading = sent.into_iter().map(|node| async move {
                let what = work.repository.at(node.digest());
                match place.get(&node.digest().to_string()).await? {
                    Some(found) if found.bytes == node.manifest.bytes => Ok(()),
                    Some(found) => Err(RegistryError::mismatch(what, node.digest(), found.descriptor.digest)),
                    None => Err(lost(&what)),
                }
            });
            at_once(many, reading).await?;
        }
        watch.tell(&Progress::Compared { count });
        Ok(())
    }

    async fn blob_is_good(&self, blob: &PlannedBlob, whole: bool) -> Result<(), RegistryError> {
        if whole && !blob.is_config {
            let host = self.transport.host(&blob.repository).await?;
            let place = Place { transport: &self.transport, host: &host, repository: &blob.repository };
            return place.hash_blob(blob.digest, blob.size).await;
        }
        if self.has_blob(blob).await? { Ok(()) } else { Err(lost(&blob.repository.at(blob.digest))) }
    }

    /// Sets the tags, in their order. Each of them names something whole at any moment.
    async fn set_tags(
        &self,
        plan: &Plan,
        options: &PushOptions<'_>,
        watch: &Arc<dyn Watch>,
        pushed: &mut Pushed,
    ) -> Result<(), RegistryError> {
        // Someone else may have set one while the blobs were under way.
        let mut taken = Vec::new();
        for PlannedTag { tag, found, wanted } in &plan.tags {
            let now = if found.as_ref() == Some(wanted) { *found } else { self.head(tag).await? };
            if let Some(found) = now.filter(|now| now != wanted) {
                taken.push(TakenTag { tag: tag.clone(), found, wanted: *wanted });
            }
        }
        may_move(taken, options)?;
        let mut set: Vec<Reference> = Vec::new();
        let half_done = |set: &[Reference], left: &[PlannedTag], error| RegistryError::HalfDone {
            moved: set.to_vec(),
            left: left.iter().map(|planned| planned.tag.clone()).collect(),
            source: Box::new(error),
        };
        for (n, planned) in plan.tags.iter().enumerate() {
            if planned.found != Some(planned.wanted) {
                match self.set_tag(plan, planned).await {
                    Ok(()) => set.push(planned.tag.clone()),
                    Err(error) if set.is_empty() => return Err(error),
                    Err(error) => return Err(half_done(&set, &plan.tags[n..], error)),
                }
                let seen = self.is_set(planned).await;
                seen.map_err(|error| half_done(&set, &plan.tags[n + 1..], error))?;
                pushed.moved += 1;
            }
            watch.tell(&Progress::Tagged { tag: planned.tag.clone(), digest: planned.wanted });
            pushed.tags.push((planned.tag.clone(), planned.wanted));
        }
        Ok(())
    }

    async fn set_tag(&self, plan: &Plan, planned: &PlannedTag) -> Result<(), RegistryError> {
        let PlannedTag { tag, wanted, .. } = planned;
        let work = plan.work.iter().find(|work| work.repository == *tag.repository());
        let node = work.and_then(|work| work.nodes.iter().find(|(node, _)| node.digest() == *wanted));
        let (Some(work), Some((node, _))) = (work, node) else { return Err(lost(tag)) };
        self.place(work).put(&tag.asked_by(), &node.manifest).await?;
        Ok(())
    }

    async fn is_set(&self, planned: &PlannedTag) -> Result<(), RegistryError> {
        let PlannedTag { tag, wanted, .. } = planned;
        match self.head(tag).await? {
            Some(found) if found == *wanted => Ok(()),
            Some(found) => Err(RegistryError::mismatch(tag, wanted, found)),
            None => Err(lost(tag)),
        }
    }
}

fn may_move(taken: Vec<TakenTag>, options: &PushOptions<'_>) -> Result<(), RegistryError> {
    if taken.is_empty() || options.move_tags { Ok(()) } else { Err(RegistryError::TagTaken { taken }) }
}

/// What a registry took, and no longer has.
fn lost(what: &Reference) -> RegistryError {
    RegistryError::Protocol { doing: format!("reading {what} back"), problem: "it is not there".into() }
}
