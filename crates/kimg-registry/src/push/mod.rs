//! Releases: several indexes that become visible together.
//!
//! | file | holds |
//! | --- | --- |
//! | `plan` | what is there already, what has to be sent, and which tags would move |
//! | `run` | doing it: blobs → configs → manifests → indexes → reading back → tags |

mod plan;
mod run;

use kimg_image::{Descriptor, Layout};
use kimg_layer::BlobStore;

use crate::{Journal, NameError, Reference, RegistryError, Repository, Tag};

pub(crate) use plan::stored;
pub use plan::{Plan, PlannedBlob, PlannedTag};
pub use run::Pushed;

/// What is pushed together: indexes (or single images) with the repositories and tags they go to.
#[derive(Debug, Clone, Default)]
pub struct Release {
    parts: Vec<Part>,
}

#[derive(Debug, Clone)]
struct Part {
    store: BlobStore,
    top: Descriptor,
    repository: Repository,
    tags: Vec<Tag>,
}

impl Release {
    /// Nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds what a descriptor points to, with everything below it, out of this store. Without tags it is pushed by its
    /// digest only.
    pub fn add(
        mut self,
        store: &BlobStore,
        top: Descriptor,
        repository: Repository,
        tags: impl IntoIterator<Item = Tag>,
    ) -> Self {
        let tags = tags.into_iter().collect();
        self.parts.push(Part { store: store.clone(), top, repository, tags });
        self
    }

    /// Everything that a layout names, into one repository. Of a name like `kubelet:v1.34.2` the tag counts, and the
    /// name only where it is the repository's last word: what has another name is left out.
    ///
    /// # Errors
    /// A name with a tag that no registry takes.
    pub fn of_layout(layout: &Layout, repository: &Repository) -> Result<Self, NameError> {
        Self::of_names(layout, |name, _| {
            Ok((name.is_none_or(|it| it == repository.name())).then(|| repository.clone()))
        })
    }

    /// Everything that a layout names, each name in a repository of its own below this one: `kubelet:v1.34.2` becomes
    /// `ghcr.io/acme/kubelet:v1.34.2`.
    ///
    /// # Errors
    /// A tag or name that no registry takes.
    pub fn below(layout: &Layout, above: &Repository) -> Result<Self, NameError> {
        Self::of_names(layout, |name, _| {
            name.map_or_else(|| Ok(above.clone()), |name| above.below(name)).map(Some)
        })
    }

    /// What a layout names, each in the repository that is said for it. `place` is told a name's first word, if it has one,
    /// and its tag (`kubelet`, `v1.34.2`); what it gives nothing for is left out.
    ///
    /// # Errors
    /// What `place` says, and a tag that no registry takes.
    pub fn of_names(
        layout: &Layout,
        place: impl Fn(Option<&str>, &str) -> Result<Option<Repository>, NameError>,
    ) -> Result<Self, NameError> {
        let store = BlobStore::at(layout.dir());
        let mut release = Self::new();
        for (name, descriptor) in layout.tags() {
            let (name, tag) = name.rsplit_once(':').map_or((None, name), |(name, tag)| (Some(name), tag));
            let Some(repository) = place(name, tag)? else { continue };
            let mut top = Descriptor::new(&descriptor.media_type, descriptor.digest, descriptor.size);
            top.platform.clone_from(&descriptor.platform);
            let same = |part: &&mut Part| part.top.digest == top.digest && part.repository == repository;
            let tag = tag.parse()?;
            match release.parts.iter_mut().find(same) {
                Some(part) => part.tags.push(tag),
                None => release = release.add(&store, top, repository, [tag]),
            }
        }
        Ok(release)
    }

    /// The same with these tags in place of its own, if it is one image or index: else there is none to give them to.
    pub fn with_tags(mut self, tags: &[Tag]) -> Option<Self> {
        let [part] = &mut self.parts[..] else { return None };
        part.tags = tags.to_vec();
        Some(self)
    }

    /// The same without tags: it is pushed by its digests only.
    pub fn without_tags(mut self) -> Self {
        self.parts.iter_mut().for_each(|part| part.tags.clear());
        self
    }

    /// The repositories it goes to, each once.
    pub fn repositories(&self) -> Vec<&Repository> {
        let mut all: Vec<_> = self.parts.iter().map(|part| &part.repository).collect();
        all.sort();
        all.dedup();
        all
    }

    /// What each index or image will be called: with its tags, or its digest where it has none.
    pub fn references(&self) -> Vec<Reference> {
        let of = |part: &Part| {
            let tags = part.tags.iter().map(|tag| part.repository.tagged(tag.clone()));
            let digest = part.tags.is_empty().then(|| part.repository.at(part.top.digest));
            tags.chain(digest).collect::<Vec<_>>()
        };
        self.parts.iter().flat_map(of).collect()
    }

    fn check(&self) -> Result<(), RegistryError> {
        if self.parts.is_empty() {
            return Err(RegistryError::Release("there is nothing in it".into()));
        }
        let mut tags = std::collections::BTreeMap::new();
        for part in &self.parts {
            for tag in &part.tags {
                let reference = part.repository.tagged(tag.clone());
                let other = tags.insert(reference.clone(), part.top.digest);
                if other.is_some_and(|other| other != part.top.digest) {
                    return Err(RegistryError::Release(format!("{reference} would name two images")));
                }
            }
        }
        Ok(())
    }
}

/// How a release is pushed.
#[derive(Debug, Default)]
pub struct PushOptions<'a> {
    /// Whether tags may be moved that name something else.
    pub move_tags: bool,
    /// What an interrupted run left, and where this one writes it.
    pub journal: Option<&'a Journal>,
    /// Repositories of the same registry from which blobs may be taken over.
    pub mount_from: Vec<Repository>,
}
