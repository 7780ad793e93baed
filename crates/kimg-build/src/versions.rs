//! Which versions of Kubernetes upstream looks after, and which of them are published already: what a nightly run builds.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use fs_err as fs;
use kimg_core::KubernetesVersion;
use kimg_source::{Fetcher, SourceError};
use serde::Serialize;

use crate::error::BuildError;
use crate::outdated::{SUPPORTED, version_at};

/// A minor that upstream looks after.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Minor {
    /// `v1.34`
    pub minor: String,
    /// Its newest patch.
    pub newest: KubernetesVersion,
    /// The newest of its patches that is published; `None`: none is, or nobody asked.
    pub published: Option<KubernetesVersion>,
}

impl Minor {
    /// Whether its newest patch is still to be built.
    pub fn is_new(&self) -> bool {
        self.published.as_ref() != Some(&self.newest)
    }
}

/// Asks upstream for the newest patch of each minor that it looks after, the newest minor first. `releases` is an address
/// like [`KUBERNETES_RELEASES`](crate::outdated::KUBERNETES_RELEASES), or a file with any number of versions in it.
///
/// # Errors
/// Upstream does not answer, or not with a version; a file without versions.
pub async fn supported(releases: &str, fetcher: &Fetcher) -> Result<Vec<Minor>, BuildError> {
    if !releases.contains("://") {
        let text = fs::read_to_string(Path::new(releases)).map_err(BuildError::disk("reading versions"))?;
        return of_list(&text)
            .ok_or_else(|| BuildError::settings(format!("{releases}: there is no version in it")));
    }
    let releases = releases.trim_end_matches('/');
    let newest = version_at(&format!("{releases}/stable.txt"), fetcher).await?;
    let mut all = Vec::new();
    for age in 0..SUPPORTED.min(newest.minor() + 1) {
        let address = format!("{releases}/stable-{}.{}.txt", newest.major(), newest.minor() - age);
        let patch = version_at(&address, fetcher).await?;
        if (patch.major(), patch.minor()) != (newest.major(), newest.minor() - age) {
            return Err(SourceError::Mismatch {
                what: address,
                expected: format!("a patch of v{}.{}", newest.major(), newest.minor() - age),
                found: patch.to_string(),
            }
            .into());
        }
        all.push(Minor { minor: patch.minor_tag(), newest: patch, published: None });
    }
    Ok(all)
}

/// The newest patch of the newest minors in a text; pre-releases are none.
fn of_list(text: &str) -> Option<Vec<Minor>> {
    let words = text.split(|c: char| c.is_whitespace() || "\",[]{}:".contains(c));
    let mut minors: BTreeMap<(u64, u64), KubernetesVersion> = BTreeMap::new();
    for version in words.filter(|word| word.matches('.').count() == 2).filter_map(release) {
        let newest = minors.entry((version.major(), version.minor())).or_insert_with(|| version.clone());
        *newest = version.max(newest.clone());
    }
    let newest = minors.into_values().rev().take(usize::try_from(SUPPORTED).unwrap_or(usize::MAX));
    let all: Vec<_> =
        newest.map(|newest| Minor { minor: newest.minor_tag(), newest, published: None }).collect();
    (!all.is_empty()).then_some(all)
}

/// A version that is a release: `v1.34.2`, and not `v1.35.0-rc.1`.
fn release(text: &str) -> Option<KubernetesVersion> {
    let version: KubernetesVersion = text.parse().ok()?;
    let plain = format!("v{}", text.trim_start_matches('v'));
    (version.to_string() == plain && !plain.contains('-')).then_some(version)
}

/// Notes which of the minors' patches are published, by the tags of a repository: `v1.34.2`, as the plain variant has it.
pub fn note_published<'a>(minors: &mut [Minor], tags: impl IntoIterator<Item = &'a str>) {
    let published: BTreeSet<KubernetesVersion> =
        tags.into_iter().filter(|tag| tag.matches('.').count() == 2).filter_map(release).collect();
    for minor in minors {
        let of_minor = |version: &&KubernetesVersion| version.minor_tag() == minor.minor;
        minor.published = published.iter().rev().find(of_minor).cloned();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_three_newest_minors_of_a_list_have_their_newest_release() {
        let list = "v1.31.14 v1.32.9\nv1.32.10 v1.33.6 v1.35.0-rc.1\n[\"v1.34.2\", \"v1.34.1\"] v1.34";
        let minors = of_list(list).unwrap();
        let shown: Vec<_> = minors.iter().map(|minor| minor.newest.to_string()).collect();
        assert_eq!(shown, ["v1.34.2", "v1.33.6", "v1.32.10"]);
        assert_eq!(of_list("nothing 1.2 here"), None);
    }

    #[test]
    fn what_is_published_is_told_by_the_tags_of_plain() {
        let mut minors = of_list("v1.34.2 v1.33.6 v1.32.10").unwrap();
        let tags = ["v1.34.2", "v1.34", "v1.33.5", "v1.33.6-cni", "v1.33.6-alpine3.22", "latest"];
        note_published(&mut minors, tags);
        let new: Vec<_> =
            minors.iter().filter(|minor| minor.is_new()).map(|minor| minor.newest.to_string()).collect();
        assert_eq!(new, ["v1.33.6", "v1.32.10"]);
        assert_eq!(minors[1].published, Some("v1.33.5".parse().unwrap()));
    }
}
