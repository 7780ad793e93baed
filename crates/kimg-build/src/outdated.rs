//! What a lock has fallen behind: newer packages in the repositories, newer patches of Kubernetes upstream, minors that
//! are no longer supported.

use std::collections::{BTreeMap, BTreeSet};

use kimg_apk::{Record, Version};
use kimg_core::{KubernetesVersion, Platform};
use kimg_source::lock::{Lock, LockedPackage};
use kimg_source::{Fetcher, SourceError};
use serde::Serialize;

use crate::inputs::PlatformInputs;

/// Where Kubernetes says which version is the newest: `stable.txt`, and `stable-1.34.txt` for a minor.
pub const KUBERNETES_RELEASES: &str = "https://dl.k8s.io/release";

/// Upstream looks after so many minors.
pub(crate) const SUPPORTED: u64 = 3;

/// What a lock has fallen behind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Outdated {
    /// Packages of which the repositories have a newer version, or not the locked one any more.
    pub packages: Vec<Behind>,
    /// Each version of Kubernetes that is locked.
    pub kubernetes: Vec<Standing>,
}

/// A locked package of which there is something to say.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Behind {
    /// Its name.
    pub package: String,
    /// The locked version.
    pub locked: String,
    /// The newest version of the repositories, if it is newer.
    pub newest: Option<String>,
    /// The repository that has it.
    pub repository: Option<String>,
    /// Whether no repository has the locked version any more: it has to be in the cache, or vendored.
    pub gone: bool,
    /// The platforms of which this is true.
    pub platforms: BTreeSet<Platform>,
}

/// How a version of Kubernetes stands to what upstream looks after.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Standing {
    /// The locked version.
    pub locked: KubernetesVersion,
    /// The newest version of the repositories, if it is newer.
    pub repositories: Option<KubernetesVersion>,
    /// What upstream says; `None` when it was not asked or did not answer.
    pub upstream: Option<Upstream>,
}

/// What upstream says about a version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Upstream {
    /// The newest version there is.
    pub newest: KubernetesVersion,
    /// The newest patch of the locked minor, if upstream still names one.
    pub patch: Option<KubernetesVersion>,
    /// Which of the supported minors it is: 1 is the newest, 3 the oldest; `None`: none of them any more.
    pub minor: Option<u64>,
}

impl Standing {
    /// Whether upstream has a newer patch of this minor, or does not look after it any more.
    pub fn is_behind_upstream(&self) -> bool {
        self.upstream.as_ref().is_some_and(|upstream| {
            upstream.minor.is_none() || upstream.patch.as_ref().is_some_and(|patch| *patch > self.locked)
        })
    }
}

/// The packages whose version is Kubernetes' own.
const KUBERNETES: [&str; 3] = ["kubelet", "kubeadm", "kube-proxy"];

/// Holds a lock against the indexes of its platforms.
pub(crate) fn behind(lock: &Lock, platforms: &BTreeMap<Platform, PlatformInputs>) -> Outdated {
    let mut found: BTreeMap<_, BTreeSet<Platform>> = BTreeMap::new();
    let mut versions: BTreeMap<KubernetesVersion, Option<KubernetesVersion>> = BTreeMap::new();
    for (platform, inputs) in platforms {
        let mut records: BTreeMap<&str, Vec<(&Record, &str)>> = BTreeMap::new();
        for repository in inputs.indexes.iter().filter(|repository| repository.tag.is_none()) {
            for record in &repository.index.packages {
                records.entry(&record.name).or_default().push((record, &repository.name));
            }
        }
        for package in lock.packages.iter().filter(|package| package.platform == *platform) {
            let offered = records.get(&*package.name).map(Vec::as_slice).unwrap_or_default();
            let newest = newer(package, offered);
            let gone = !offered.iter().any(|(record, _)| is(package, record));
            if KUBERNETES.contains(&&*package.name)
                && let Ok(version) = KubernetesVersion::from_package_version(&package.version)
            {
                let newest = newest
                    .and_then(|(record, _)| {
                        KubernetesVersion::from_package_version(record.version.as_str()).ok()
                    })
                    .filter(|newest| *newest > version);
                let known = versions.entry(version).or_default();
                *known = newest.max(known.take());
            }
            if newest.is_some() || gone {
                let newest = newest.map(|(record, name)| (record.version.to_string(), name.to_owned()));
                let behind = (package.name.clone(), package.version.clone(), newest, gone);
                found.entry(behind).or_default().insert(*platform);
            }
        }
    }
    let packages = found.into_iter().map(|((package, locked, newest, gone), platforms)| {
        let (newest, repository) = newest.unzip();
        Behind { package, locked, newest, repository, gone, platforms }
    });
    let kubernetes =
        versions.into_iter().map(|(locked, repositories)| Standing { locked, repositories, upstream: None });
    Outdated { packages: packages.collect(), kubernetes: kubernetes.collect() }
}

fn is(package: &LockedPackage, record: &Record) -> bool {
    record.version.as_str() == package.version
        && record.identity.as_ref().is_none_or(|identity| identity.to_string() == package.identity)
}

/// The newest of these records, if it is newer than the locked one.
fn newer<'a>(package: &LockedPackage, offered: &[(&'a Record, &'a str)]) -> Option<(&'a Record, &'a str)> {
    let locked: Version = package.version.parse().ok()?;
    let newest = offered.iter().max_by(|a, b| a.0.version.cmp(&b.0.version))?;
    (newest.0.version > locked).then_some(*newest)
}

/// Asks upstream about each version of Kubernetes. `releases` is an address like [`KUBERNETES_RELEASES`].
///
/// Nothing but versions is taken from there, and they decide nothing: they are shown.
pub(crate) async fn ask_upstream(
    outdated: &mut Outdated,
    releases: &str,
    fetcher: &Fetcher,
) -> Result<(), SourceError> {
    if outdated.kubernetes.is_empty() {
        return Ok(());
    }
    let newest = version_at(&format!("{releases}/stable.txt"), fetcher).await?;
    for standing in &mut outdated.kubernetes {
        let locked = &standing.locked;
        let address = format!("{releases}/stable-{}.{}.txt", locked.major(), locked.minor());
        let patch = match version_at(&address, fetcher).await {
            Ok(patch) => Some(patch),
            Err(error) => {
                tracing::warn!("{error}");
                None
            }
        };
        let age = newest.minor().checked_sub(locked.minor()).filter(|_| newest.major() == locked.major());
        let minor = match age {
            // Newer than the newest stable one: a release candidate, or upstream's file lags behind.
            None if *locked > newest => Some(1),
            None => None,
            Some(age) => (age < SUPPORTED).then_some(age + 1),
        };
        standing.upstream = Some(Upstream { newest: newest.clone(), patch, minor });
    }
    Ok(())
}

pub(crate) async fn version_at(address: &str, fetcher: &Fetcher) -> Result<KubernetesVersion, SourceError> {
    let bytes = fetcher.get(address, 100).await?;
    let text = String::from_utf8_lossy(&bytes);
    text.trim().parse().map_err(|_| SourceError::Mismatch {
        what: address.to_owned(),
        expected: "a version of Kubernetes".into(),
        found: format!("`{}`", text.trim().escape_debug()),
    })
}
