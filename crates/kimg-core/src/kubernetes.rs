//! Versions of Kubernetes.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A version of Kubernetes, `v1.20.2`: semantic versioning, ordered by it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KubernetesVersion(semver::Version);

/// A text that is no version of Kubernetes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a Kubernetes version: expected one like v1.34.2")]
pub struct KubernetesVersionError {
    text: String,
}

impl KubernetesVersion {
    /// A release version.
    pub fn new(major: u64, minor: u64, patch: u64) -> Self {
        Self(semver::Version::new(major, minor, patch))
    }

    /// The version of Kubernetes in an Alpine package's version: `1.20.2-r0` is `v1.20.2`, `1.29.0_rc1-r3` is `v1.29.0-rc1`.
    pub fn from_package_version(version: &str) -> Result<Self, KubernetesVersionError> {
        let upstream = match version.rsplit_once("-r") {
            Some((upstream, release)) if release.bytes().all(|b| b.is_ascii_digit()) => upstream,
            _ => version,
        };
        let dashed = upstream.replacen('_', "-", 1);
        dashed.parse().map_err(|_| KubernetesVersionError { text: version.to_owned() })
    }

    /// `1`
    pub fn major(&self) -> u64 {
        self.0.major
    }

    /// `20` of v1.20.2
    pub fn minor(&self) -> u64 {
        self.0.minor
    }

    /// `v1.20`, as short tags write it.
    pub fn minor_tag(&self) -> String {
        format!("v{}.{}", self.0.major, self.0.minor)
    }
}

impl fmt::Display for KubernetesVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "v{}", self.0)
    }
}

impl FromStr for KubernetesVersion {
    type Err = KubernetesVersionError;

    /// Takes `1.20.2`, `v1.20.2`, and `1.20` as `1.20.0`.
    fn from_str(text: &str) -> Result<Self, KubernetesVersionError> {
        let bare = text.strip_prefix('v').unwrap_or(text);
        semver::Version::parse(bare)
            .or_else(|error| {
                if bare.split('.').count() == 2 {
                    semver::Version::parse(&format!("{bare}.0"))
                } else {
                    Err(error)
                }
            })
            .map(Self)
            .map_err(|_| KubernetesVersionError { text: text.to_owned() })
    }
}

impl Serialize for KubernetesVersion {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for KubernetesVersion {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_version_loses_its_release_number() {
        let version = KubernetesVersion::from_package_version("1.28.4-r3").unwrap();
        assert_eq!(version.to_string(), "v1.28.4");
        assert_eq!(version.minor_tag(), "v1.28");
        assert_eq!(
            KubernetesVersion::from_package_version("1.29.0_rc1-r3").unwrap().to_string(),
            "v1.29.0-rc1"
        );
        assert!(KubernetesVersion::from_package_version("20230506-r0").is_err());
    }

    #[test]
    fn versions_are_ordered_by_number_and_not_by_letter() {
        let parse = |text: &str| text.parse::<KubernetesVersion>().unwrap();
        assert!(parse("1.9.0") < parse("v1.24"));
        assert!(parse("1.24.0-rc.1") < parse("1.24.0"));
    }
}
