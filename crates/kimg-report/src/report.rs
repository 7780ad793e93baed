//! All that a build has to say when it is done, as data.

use kimg_core::{Digest, ImagePath, Platform};
use serde::Serialize;

use crate::matrix::EntryLayer;
use crate::{Joined, MatrixEntry, SizeMatrix, json};

/// What a build made, from what, and what it could not.
///
/// As JSON ([`BuildReport::to_json`]) it is the same for the same inputs: what depends on the run, the cache or the
/// caller (`fetched`, `cached`, `next`) is for the terminal alone and left out there.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct BuildReport {
    /// The version of kimg.
    pub kimg_version: String,
    /// Whether everything was made from the embedded sample.
    pub sample: bool,
    /// The versions of Kubernetes, `v1.20.2`, each once.
    pub kubernetes: Vec<String>,
    /// One for each variant and platform, in the order in which tables show them.
    pub images: Vec<ImageReport>,
    /// Compiled programs that were to be one, both ways.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub joined: Vec<Joined>,
    /// What was fetched. Not in the JSON.
    #[serde(skip)]
    pub fetched: Fetched,
    /// The command to type next. Not in the JSON.
    #[serde(skip)]
    pub next: Option<String>,
}

/// What was read from sources in this run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Fetched {
    /// How many files.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// How many of the files came from the cache.
    pub from_cache: u64,
}

/// One image for one platform.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ImageReport {
    /// The variant's name.
    pub variant: String,
    /// What it runs on.
    pub platform: Platform,
    /// The version of Kubernetes in it.
    pub kubernetes: String,
    /// Its tags.
    pub tags: Vec<String>,
    /// The digest of its manifest.
    pub digest: Digest,
    /// The sum of the sizes of its compressed layers, in bytes.
    pub compressed: u64,
    /// The sum of the sizes of its layers uncompressed (tar archives), in bytes.
    pub extracted: u64,
    /// Its layers, bottom first.
    pub layers: Vec<LayerReport>,
    /// What its files come from.
    pub contributors: Vec<Contributor>,
    /// Each program that might have been packed, and what became of it.
    pub packed: Vec<PackReport>,
    /// What its packages hold and it does not.
    pub left_out: LeftOut,
    /// What it should hold and does not.
    pub missing: Vec<Missing>,
    /// Scripts of its packages, none of which is ever run.
    pub not_run: Vec<NotRun>,
}

/// A layer of an image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LayerReport {
    /// `base`
    pub name: String,
    /// The digest of the compressed layer.
    pub digest: Digest,
    /// Its size compressed, in bytes.
    pub compressed: u64,
    /// Its size uncompressed, in bytes.
    pub extracted: u64,
    /// Whether it was taken from the cache. Not in the JSON.
    #[serde(skip)]
    pub cached: bool,
    /// The other variants of this build that have the same layer for the same platform.
    pub shared_with: Vec<String>,
}

/// A package or another origin of files, and what it puts into an image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Contributor {
    /// The package's name.
    pub name: String,
    /// The bytes of its files in the image.
    pub extracted: u64,
    /// How many files.
    pub files: u64,
}

/// What became of a program that might have been packed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PackReport {
    /// The program.
    pub path: ImagePath,
    /// Its size before, in bytes.
    pub plain: u64,
    /// Its size packed, in bytes; `None` if it stays plain.
    pub packed: Option<u64>,
    /// Without the sizes: whether it answers as before, or why it stays plain.
    pub verdict: String,
}

/// What packages hold that an image does not, because nothing in it needs that.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct LeftOut {
    /// How many files.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// The same by package.
    pub by_package: Vec<LeftOutOf>,
}

/// What one package holds that an image does not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LeftOutOf {
    /// The package's name.
    pub package: String,
    /// How many files.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// Something optional that an image should hold and does not.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Missing {
    /// `conntrack`
    pub what: String,
    /// Why it is not there.
    pub reason: String,
}

/// A script of a package that would run when the package is installed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct NotRun {
    /// The package's name.
    pub package: String,
    /// Its name: `post-install`, `trigger`.
    pub script: String,
}

impl BuildReport {
    /// As JSON for programs, with a line feed at the end. Sizes are bytes.
    pub fn to_json(&self) -> String {
        json(self)
    }

    /// The sizes of its images, with the first tag of each.
    pub fn sizes(&self) -> SizeMatrix {
        let layer = |layer: &LayerReport| EntryLayer {
            digest: layer.digest,
            name: Some(layer.name.clone()),
            compressed: layer.compressed,
        };
        let entry = |image: &ImageReport| MatrixEntry {
            variant: image.variant.clone(),
            description: String::new(),
            tag: image
                .tags
                .first()
                .map_or_else(String::new, |tag| tag.rsplit(':').next().unwrap_or(tag).into()),
            platform: image.platform,
            compressed: image.compressed,
            extracted: image.extracted,
            digest: image.digest,
            sample: self.sample,
            stored_plain: false,
            layers: image.layers.iter().map(layer).collect(),
            before: None,
        };
        SizeMatrix { entries: self.images.iter().map(entry).collect(), ..SizeMatrix::default() }
    }
}
