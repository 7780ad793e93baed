//! What differs between two images: files, and the packages and settings that explain them. As data; how it is told
//! is in `diff/tell.rs`, how it is found in `diff/compare.rs`.

mod compare;
mod tell;

use std::collections::BTreeMap;

use kimg_core::{Digest, FileTree, ImagePath, Platform};
use serde::Serialize;

/// One of the two images: everything that is compared.
#[derive(Debug, Clone)]
pub struct ImageContents {
    /// The digest of its manifest.
    pub digest: Digest,
    /// Its layers, bottom first: digest and compressed bytes.
    pub layers: Vec<(Digest, u64)>,
    /// Its files, each with the package it comes from as its origin, where one is known.
    pub tree: FileTree,
    /// The packages that its own database names.
    pub packages: BTreeMap<String, InstalledPackage>,
    /// What it says about how it is run, name and value: `Env.PATH`, `Labels.version`.
    pub settings: BTreeMap<String, String>,
}

/// A package as an image's database names it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct InstalledPackage {
    /// `6.1.0-r0`
    pub version: String,
    /// What tells two builds of one version apart: the checksum of its control part. May be empty.
    pub identity: String,
}

/// What differs between two places that hold images.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DiffReport {
    /// Where the first images are, as typed.
    pub a: String,
    /// Where the second images are, as typed.
    pub b: String,
    /// Each image that both have.
    pub images: Vec<ImageDiff>,
    /// What only the first has.
    pub only_in_a: Vec<OneSided>,
    /// What only the second has.
    pub only_in_b: Vec<OneSided>,
}

/// An image that has no counterpart.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct OneSided {
    /// Its variant or tag.
    pub image: String,
    /// What it runs on.
    pub platform: Platform,
}

/// What differs between two images for one platform.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ImageDiff {
    /// Its variant or tag.
    pub image: String,
    /// What both run on.
    pub platform: Platform,
    /// The first.
    pub a: Measured,
    /// The second.
    pub b: Measured,
    /// Compressed bytes of the layers of the second that the first does not have: what a node fetches that has the first.
    pub to_pull: u64,
    /// Packages, by name: those that changed, and those whose files did.
    pub packages: Vec<PackageChange>,
    /// Files, by path.
    pub files: Vec<FileChange>,
    /// How it is run, by name.
    pub settings: Vec<SettingChange>,
    /// Paths that differ in nothing but their time.
    pub times: u64,
}

/// How big an image is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Measured {
    /// The digest of its manifest.
    pub digest: Digest,
    /// Compressed bytes of its layers.
    pub pull: u64,
    /// Bytes of its files, hard links once.
    pub on_disk: u64,
    /// How many files and links it has.
    pub files: u64,
}

/// Whether something is new, gone or other than before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Change {
    /// Only the second has it.
    Added,
    /// Only the first has it.
    Removed,
    /// Both have it, and it is not the same.
    Changed,
}

/// What became of a package.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum PackageFate {
    /// Only the second has it.
    Added,
    /// Only the first has it.
    Removed,
    /// The second has a later version.
    Upgraded,
    /// The second has an earlier version.
    Downgraded,
    /// The same version, built anew.
    Rebuilt,
    /// The same package, of which other files are in the image, or the same ones packed otherwise.
    OtherFiles,
}

/// A package that explains changed files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PackageChange {
    /// Its name.
    pub name: String,
    /// What became of it.
    pub change: PackageFate,
    /// Its version in the first.
    pub from: Option<String>,
    /// Its version in the second.
    pub to: Option<String>,
    /// Bytes of its files in the first.
    pub bytes_before: u64,
    /// Bytes of its files in the second.
    pub bytes_after: u64,
    /// How many of its files were added.
    pub added: u64,
    /// How many were removed.
    pub removed: u64,
    /// How many changed.
    pub changed: u64,
}

/// In what a file differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Aspect {
    /// It is a file, a folder or a link, and was another one.
    Type,
    /// Its bytes.
    Content,
    /// Where the link points to.
    Target,
    /// Permission bits.
    Mode,
    /// Its user or group.
    Owner,
    /// Extended attributes.
    Attributes,
}

/// A path that differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FileChange {
    /// Where it is.
    pub path: ImagePath,
    /// Whether it is new, gone or other than before.
    pub change: Change,
    /// In what it differs; empty where it is new or gone.
    pub differs: Vec<Aspect>,
    /// The package it comes from: of the second image, or of the first where it is gone.
    pub package: Option<String>,
    /// What it is in the first.
    pub before: Option<FileState>,
    /// What it is in the second.
    pub after: Option<FileState>,
}

/// What a path is in an image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FileState {
    /// `file`, `directory` or `symlink`.
    pub kind: &'static str,
    /// Bytes of a file.
    pub size: u64,
    /// Permission bits, octal: `0755`.
    pub mode: String,
    /// User and group, as numbers: `0:0`.
    pub owner: String,
    /// Where a link points to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// The digest of a file's bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
    /// Extended attributes, their values in hexadecimal digits.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub attributes: BTreeMap<String, String>,
}

/// A setting that differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SettingChange {
    /// `Env.PATH`
    pub name: String,
    /// Its value in the first, if it is there.
    pub before: Option<String>,
    /// Its value in the second, if it is there.
    pub after: Option<String>,
}

impl ImageDiff {
    /// Whether nothing differs that a program in the image could see.
    pub fn is_equal(&self) -> bool {
        self.packages.is_empty() && self.files.is_empty() && self.settings.is_empty() && self.times == 0
    }
}

impl DiffReport {
    /// Whether both have the same images, and nothing differs in any of them.
    pub fn is_equal(&self) -> bool {
        self.only_in_a.is_empty() && self.only_in_b.is_empty() && self.images.iter().all(ImageDiff::is_equal)
    }
}
