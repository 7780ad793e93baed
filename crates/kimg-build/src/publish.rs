//! What a build becomes in a registry: which repository each index goes to, and the release of all of them.
//!
//! [`kimg_registry`] knows how a release is pushed; here is what belongs into one. A [`Destination`] is what a person
//! types: `ghcr.io/acme/kubelet`.

use std::str::FromStr;

use kimg_image::{Layout, Tagged};
use kimg_layer::BlobStore;
use kimg_registry::{NameError, RegistryError, Release, Repository, Tag};

use crate::build::Outcome;
use crate::error::BuildError;
use crate::project::Project;

/// What kubelet's images are called in a layout, and their repository if it is called after them.
const KUBELET: &str = "kubelet";

/// The same for kube-proxy.
const KUBE_PROXY: &str = "kube-proxy";

/// Where the images of a build go.
///
/// A repository takes the images that it is called after, and those of kubelet if it is called otherwise. The others go beside it, each
/// under its own name: for `ghcr.io/acme/kubelet`, kube-proxy goes to `ghcr.io/acme/kube-proxy`. With `{name}` or
/// `{variant}` in it, it is as many repositories as there are names or variants: `ghcr.io/acme/{name}-{variant}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Destination {
    typed: String,
}

impl Destination {
    /// The repository for the images of this name (`kubelet`) and variant.
    ///
    /// # Errors
    /// A name that no registry takes.
    pub fn repository(&self, name: &str, variant: &str) -> Result<Repository, NameError> {
        if self.typed.contains(['{', '}']) {
            return self.typed.replace("{name}", name).replace("{variant}", variant).parse();
        }
        let typed: Repository = self.typed.parse()?;
        let own = typed.name();
        let takes = name == own || (name == KUBELET && own != KUBE_PROXY);
        if takes {
            return Ok(typed);
        }
        let above = self.typed.rsplit_once('/').map_or("", |(above, _)| above);
        format!("{above}/{name}").trim_start_matches('/').parse()
    }
}

impl FromStr for Destination {
    type Err = NameError;

    fn from_str(typed: &str) -> Result<Self, NameError> {
        let destination = Self { typed: typed.to_owned() };
        // What can't be a repository for the usual names is none for any.
        destination.repository(KUBELET, "plain")?;
        Ok(destination)
    }
}

/// An index of a release, with where it goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// The variant.
    pub variant: String,
    /// Its repository.
    pub repository: Repository,
    /// The tags that name it, or will.
    pub tags: Vec<Tag>,
    /// The index with its images.
    pub tagged: Tagged,
}

/// What a build made, each index with its repository and tags.
///
/// # Errors
/// A name or a tag that no registry takes.
pub fn parts(project: &Project, outcome: &Outcome, to: &Destination) -> Result<Vec<Part>, NameError> {
    let of = |(variant, tagged): (&usize, &Tagged)| {
        let variant = &project.variants[*variant];
        let tags = tagged.tags.iter().map(|tag| tag.rsplit(':').next().unwrap_or(tag).parse());
        Ok(Part {
            variant: variant.name.clone(),
            repository: to.repository(&variant.image, &variant.name)?,
            tags: tags.collect::<Result<_, _>>()?,
            tagged: tagged.clone(),
        })
    };
    outcome.variants.iter().zip(&outcome.tagged).map(of).collect()
}

/// The release of these parts. Their indexes, manifests and configs are put into the store, in which their layers are.
///
/// # Errors
/// The disk.
pub fn release(parts: &[Part], blobs: &BlobStore) -> Result<Release, RegistryError> {
    let mut release = Release::new();
    for Part { repository, tags, tagged, .. } in parts {
        for image in &tagged.image.images {
            blobs.put_bytes(&image.config)?;
            blobs.put_bytes(&image.manifest)?;
        }
        blobs.put_bytes(&tagged.image.bytes)?;
        let top = tagged.image.descriptor.clone();
        release = release.add(blobs, top, repository.clone(), tags.iter().cloned());
    }
    Ok(release)
}

/// The release of everything that a layout names, or of what this tag names. Its names decide about the repositories
/// as the names of a build do; what has none goes to kubelet's.
///
/// # Errors
/// A tag that is not there; a name or a tag that no registry takes.
pub fn release_of_layout(
    layout: &Layout,
    only: Option<&str>,
    to: &Destination,
    tags: Option<&[Tag]>,
) -> Result<Release, BuildError> {
    let is_meant = |name: Option<&str>, tag: &str| {
        only.is_none_or(|only| tag == only || name.is_some_and(|name| format!("{name}:{tag}") == only))
    };
    let release = Release::of_names(layout, |name, tag| {
        is_meant(name, tag).then(|| to.repository(name.unwrap_or(KUBELET), "")).transpose()
    })
    .map_err(RegistryError::from)?;
    let folder = layout.dir().display();
    if let (Some(only), true) = (only, release.references().is_empty()) {
        let names: Vec<&str> = layout.tags().into_keys().collect();
        return Err(BuildError::settings_hint(
            format!("there is no `{only}` in {folder}"),
            format!("it has {}", names.join(", ")),
        ));
    }
    let Some(tags) = tags else { return Ok(release) };
    release.with_tags(tags).ok_or_else(|| {
        BuildError::settings_hint(
            format!("there is not one image in {folder}, and one tag can't name several"),
            "say which one: oci:PATH:TAG",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn to(typed: &str, name: &str, variant: &str) -> String {
        typed.parse::<Destination>().unwrap().repository(name, variant).unwrap().to_string()
    }

    #[test]
    fn a_repository_takes_its_namesakes_and_the_others_go_beside_it() {
        assert_eq!(to("ghcr.io/acme/kubelet", "kubelet", "cni"), "ghcr.io/acme/kubelet");
        assert_eq!(to("ghcr.io/acme/kubelet", "kube-proxy", "kube-proxy"), "ghcr.io/acme/kube-proxy");
        assert_eq!(to("ghcr.io/acme/kube-proxy", "kubelet", "cni"), "ghcr.io/acme/kubelet");
        assert_eq!(to("localhost:5000/node", "kubelet", "plain"), "localhost:5000/node");
        assert_eq!(to("localhost:5000/node", "kube-proxy", "kube-proxy"), "localhost:5000/kube-proxy");
    }

    #[test]
    fn with_words_in_braces_it_is_a_repository_each() {
        assert_eq!(to("ghcr.io/acme/{name}-{variant}", "kubelet", "cni"), "ghcr.io/acme/kubelet-cni");
        assert_eq!(to("ghcr.io/acme/{name}", "kube-proxy", "kube-proxy"), "ghcr.io/acme/kube-proxy");
        assert!("ghcr.io/acme/{kind}".parse::<Destination>().is_err());
        assert!("ghcr.io/Acme/kubelet".parse::<Destination>().is_err());
    }
}
