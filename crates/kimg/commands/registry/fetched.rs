//! Images of a registry, where a command reads images: `docker://REFERENCE` is pulled into a layout of its own, which is
//! gone when the command ends. Its blobs stay in the cache.

use std::sync::Arc;

use kimg_build::existing::{Input, Place};
use kimg_core::Platform;
use kimg_image::{Tagged, write_layout};
use kimg_layer::BlobStore;
use kimg_registry::Watch;
use kimg_source::Cache;

use super::{TalkArgs, reference, wait_for};
use crate::failure::Failure;

/// What stands before a reference where other places may stand, too.
pub(crate) const DOCKER: &str = "docker://";

/// A reference as it is written elsewhere.
pub(crate) fn without_prefix(typed: &str) -> &str {
    typed.strip_prefix(DOCKER).unwrap_or(typed)
}

/// Whether a person means what lies on this machine, where a reference may stand, too.
pub(crate) fn is_here(typed: &str) -> bool {
    ["oci:", "oci-archive:", "docker-archive:"].iter().any(|kind| typed.starts_with(kind))
        || std::path::Path::new(typed).exists()
}

/// An image that was pulled for as long as this lives.
pub(crate) struct Fetched {
    /// Where its files are, under the name that was typed.
    pub(crate) place: Place,
    _folder: tempfile::TempDir,
    /// Its scratch folder goes with it.
    _cache: Cache,
}

impl Fetched {
    /// Pulls an image, for these platforms or all.
    pub(crate) fn pull(typed: &str, platforms: &[Platform], talk: &TalkArgs) -> Result<Self, Failure> {
        let reference = reference(typed)?;
        let cache = Cache::open(&talk.cache_folder()?)?;
        let blobs = BlobStore::open(cache.blobs()).map_err(kimg_registry::RegistryError::from)?;
        let client = talk.client([reference.repository()])?;
        let story = talk.story();
        let wanted = (!platforms.is_empty()).then_some(platforms);
        let watch: Arc<dyn Watch> = story.clone();
        let pulled = wait_for(client.pull(&reference, wanted, &blobs, watch))?;
        story.done("Pull", &format!("{reference}: {}", story.fetched()));
        let folder = tempfile::tempdir_in(cache.scratch())?;
        let layout = folder.path().join("layout");
        let name = reference.repository().name();
        let tag = match reference.tag() {
            Some(tag) => format!("{name}:{tag}"),
            None => format!("{name}:{}", &pulled.image.descriptor.digest.to_string()[7..19]),
        };
        write_layout(&layout, &[Tagged { tags: vec![tag], image: pulled.image }], &blobs)?;
        let place: Place = format!("oci:{}", layout.display()).parse()?;
        Ok(Self { place: place.called(typed), _folder: folder, _cache: cache })
    }
}

/// Images that a person named: those that lie here, and those that were pulled for this.
pub(crate) struct Images {
    pub(crate) place: Place,
    _fetched: Option<Fetched>,
}

impl Images {
    /// Where a person's words lead.
    pub(crate) fn find(typed: &str, platforms: &[Platform], talk: &TalkArgs) -> Result<Self, Failure> {
        if !typed.starts_with(DOCKER) {
            return Ok(Self { place: typed.parse()?, _fetched: None });
        }
        let fetched = Fetched::pull(typed, platforms, talk)?;
        Ok(Self { place: fetched.place.clone(), _fetched: Some(fetched) })
    }

    /// The same, where a folder may be a root file system, too.
    pub(crate) fn find_input(
        typed: &str,
        platforms: &[Platform],
        talk: &TalkArgs,
    ) -> Result<(Input, Option<Fetched>), Failure> {
        if !typed.starts_with(DOCKER) {
            return Ok((typed.parse()?, None));
        }
        let fetched = Fetched::pull(typed, platforms, talk)?;
        Ok((Input::Image(fetched.place.clone()), Some(fetched)))
    }
}
