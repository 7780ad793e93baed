//! What is said about one package, in an index or in its own `.PKGINFO`.

use serde::{Deserialize, Serialize};

use crate::dependency::{Dependency, Identity, Provide};
use crate::version::Version;

/// One package as a repository or the package itself describes it. Field by field: apk-package(5).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Its name (`P`).
    pub name: String,
    /// Its version (`V`).
    pub version: Version,
    /// Alpine's name of the architecture, or `noarch` (`A`); empty when not said.
    pub arch: String,
    /// The SHA-1 of its control member (`C`).
    pub identity: Option<Identity>,
    /// Bytes of the package file (`S`).
    pub size: u64,
    /// Bytes it takes when installed, as its maker says (`I`).
    pub installed_size: u64,
    /// One line on what it is (`T`).
    pub description: String,
    /// The project's address (`U`).
    pub url: String,
    /// The licence, mostly an SPDX expression (`L`).
    pub license: String,
    /// The source package it was built from (`o`).
    pub origin: Option<String>,
    /// Who looks after it (`m`).
    pub maintainer: Option<String>,
    /// When it was built, in seconds since 1970 (`t`).
    pub build_time: Option<u64>,
    /// The commit of the repository it was built from (`c`).
    pub commit: Option<String>,
    /// How much it is preferred among those that provide the same name; 0 when not said (`k`).
    pub provider_priority: u32,
    /// What it needs and what it can't be beside (`D`).
    pub depends: Vec<Dependency>,
    /// What else it answers to (`p`).
    pub provides: Vec<Provide>,
    /// Once all of these hold it is pulled in by itself; empty for most packages (`i`).
    pub install_if: Vec<Dependency>,
    /// Whose paths it may take over (`r`).
    pub replaces: Vec<Dependency>,
    /// Which of two that replace each other keeps a path: the higher one (`q`).
    pub replaces_priority: u32,
    /// Fields of an index that kimg knows nothing of, in their order.
    pub unknown: Vec<(char, String)>,
}

impl Record {
    /// A package of which nothing more is known.
    pub fn new(name: impl Into<String>, version: Version) -> Self {
        Self {
            name: name.into(),
            version,
            arch: String::new(),
            identity: None,
            size: 0,
            installed_size: 0,
            description: String::new(),
            url: String::new(),
            license: String::new(),
            origin: None,
            maintainer: None,
            build_time: None,
            commit: None,
            provider_priority: 0,
            depends: Vec::new(),
            provides: Vec::new(),
            install_if: Vec::new(),
            replaces: Vec::new(),
            replaces_priority: 0,
            unknown: Vec::new(),
        }
    }

    /// The name of the package file, `name-version.apk`.
    pub fn file_name(&self) -> String {
        format!("{}-{}.apk", self.name, self.version)
    }

    /// `name-version`, as apk speaks of a package.
    pub fn id(&self) -> String {
        format!("{}-{}", self.name, self.version)
    }
}
