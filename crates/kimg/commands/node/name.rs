//! What an image's name says, and what an image is called.

use kimg_core::{KubernetesVersion, Variant};

use crate::failure::Failure;

/// What a tag such as `v1.20.2-kubeadm-cni-alpine3.15` says.
#[derive(Debug, Clone, Default)]
pub(super) struct Named {
    version: Option<KubernetesVersion>,
    suffix: String,
}

impl Named {
    pub(super) fn read(image: Option<&str>) -> Self {
        let tag = image.and_then(tag).unwrap_or_default();
        // A version may have dashes of its own: `v1.34.0-rc.1-cni`.
        let ends = tag.match_indices('-').map(|(at, _)| at).chain([tag.len()]);
        let version = ends.rev().find_map(|end| Some((end, whole_version(&tag[..end])?)));
        let Some((end, version)) = version else { return Self::default() };
        let rest = tag[end..].trim_start_matches('-');
        let words: Vec<&str> = rest
            .split('-')
            .filter(|word| !word.starts_with("alpine") && !["zstd", "sample", ""].contains(word))
            .collect();
        Self { version: Some(version), suffix: words.join("-") }
    }

    pub(super) fn version(&self, said: Option<&KubernetesVersion>) -> Result<KubernetesVersion, Failure> {
        said.or(self.version.as_ref()).cloned().ok_or_else(|| {
            Failure::usage("which version of Kubernetes is not said")
                .hint("add `--kubernetes v1.34.2`, or an `--image` whose tag says it, as ghcr.io/acme/kubelet:v1.34.2-cni")
        })
    }

    /// The variant whose tags end so; where the tag says nothing, the one of this name.
    pub(super) fn variant<'a>(&self, all: &'a [Variant], otherwise: &str) -> &'a Variant {
        let suffix = (!self.suffix.is_empty()).then_some(self.suffix.as_str());
        let nodes = || all.iter().filter(|variant| !variant.mounts.is_empty());
        let named = nodes().find(|variant| self.version.is_some() && variant.tag_suffix.as_deref() == suffix);
        let named = named.or_else(|| all.iter().find(|variant| variant.name == otherwise));
        named.unwrap_or(&all[0])
    }
}

/// A version with all three numbers; a text that ends in another word is none.
fn whole_version(text: &str) -> Option<KubernetesVersion> {
    let number = text.strip_prefix('v')?;
    let pre_release = number.split_once('-').is_none_or(|(_, word)| {
        ["alpha", "beta", "rc"].iter().any(|name| {
            word.strip_prefix(name).is_some_and(|rest| rest.bytes().all(|b| b == b'.' || b.is_ascii_digit()))
        })
    });
    (pre_release && number.split('.').count() >= 2).then(|| text.parse().ok())?
}

fn tag(image: &str) -> Option<&str> {
    let (image, _) = image.split_once('@').unwrap_or((image, ""));
    let (_, last) = image.rsplit_once('/').unwrap_or(("", image));
    last.split_once(':').map(|(_, tag)| tag)
}

/// What `kimg build` and `kimg publish` call a variant's image.
pub(super) fn of(variant: &Variant, version: &KubernetesVersion, publish: Option<&str>) -> String {
    let suffix = variant.tag_suffix.as_deref().map(|suffix| format!("-{suffix}")).unwrap_or_default();
    let tag = format!("{version}{suffix}").replace('+', "_");
    match publish {
        Some(repository) if repository.contains("{variant}") => {
            format!("{}:{tag}", repository.replace("{variant}", &variant.name))
        }
        Some(repository) if variant.image == "kubelet" => format!("{repository}:{tag}"),
        Some(repository) => {
            let beside = repository.rsplit_once('/').map_or("", |(folder, _)| folder);
            format!("{beside}/{}:{tag}", variant.image).trim_start_matches('/').to_owned()
        }
        None => format!("{}:{tag}", variant.image),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(image: &str) -> (Option<String>, String) {
        let named = Named::read(Some(image));
        (named.version.map(|version| version.to_string()), named.suffix)
    }

    #[test]
    fn a_tag_says_version_and_variant() {
        let said = |version: &str, suffix: &str| (Some(version.to_owned()), suffix.to_owned());
        assert_eq!(read("ghcr.io/acme/kubelet:v1.20.2"), said("v1.20.2", ""));
        assert_eq!(
            read("localhost:5000/kubelet:v1.20.2-kubeadm-cni-alpine3.15-zstd"),
            said("v1.20.2", "kubeadm-cni")
        );
        assert_eq!(read("kubelet:v1.34.0-rc.1-cni@sha256:00"), said("v1.34.0-rc.1", "cni"));
        assert_eq!(read("kubelet:v1.20-cni-sample"), said("v1.20.0", "cni"));
        assert_eq!(read("localhost:5000/kubelet"), (None, String::new()));
        assert_eq!(read("kubelet:latest-cni"), (None, String::new()));
    }
}
