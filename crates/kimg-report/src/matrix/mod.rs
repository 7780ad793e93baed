//! The size matrix: variants down, platforms across. As data; what becomes of it is in the rooms beside.
//!
//! | room | holds |
//! | --- | --- |
//! | `show` | the matrix as a table, Markdown, JSON and CSV |
//! | `chart` | the same as a picture |
//! | `since` | what an earlier matrix had: differences in the cells |
//! | `record` | the matrix with its files, as it is kept beside a README |
//! | `parts` | what each package adds to what a node pulls |
//! | `growth` | what grew between two images, file by file |
//! | `moves` | what a node pulls when it goes from one image to another |

mod chart;
mod growth;
mod moves;
mod parts;
mod record;
mod show;
mod since;

use std::collections::{BTreeMap, BTreeSet};

use kimg_core::{Digest, Platform};
use serde::{Deserialize, Serialize};

pub use growth::{Grown, Growth};
pub use moves::{Basis, Move, Moves, MovesBefore};
pub use parts::{Part, Parts};
pub use record::RecordError;

/// One image for one platform.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MatrixEntry {
    /// The variant's name: `kubeadm-cni`. Of an image that kimg did not make, the name without its tag.
    pub variant: String,
    /// What the variant is, in one line.
    pub description: String,
    /// The tag that names exactly this version and variant: `v1.20.2-cni`.
    pub tag: String,
    /// What it runs on.
    pub platform: Platform,
    /// What a node pulls: the sum of the sizes of its compressed layers, in bytes.
    pub compressed: u64,
    /// What it takes on disk, about: the sum of the sizes of its layers uncompressed (tar archives), in bytes.
    pub extracted: u64,
    /// The digest of its manifest.
    pub digest: Digest,
    /// Whether it was made from the embedded sample.
    pub sample: bool,
    /// Whether layers of it lie uncompressed where they were read, as `docker save` has them: `compressed` counts
    /// them so, and from a registry a node would pull less.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub stored_plain: bool,
    /// Its layers, bottom first.
    #[serde(default)]
    pub layers: Vec<EntryLayer>,
    /// What the same image was before ([`SizeMatrix::compare`]).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Before>,
}

/// A layer of an image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EntryLayer {
    /// The digest of the compressed layer.
    pub digest: Digest,
    /// `base`, if its image was made by kimg.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Its size compressed, in bytes.
    pub compressed: u64,
}

/// What an image was in an earlier matrix.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Before {
    /// Its tag then.
    pub tag: String,
    /// What a node pulled then, in bytes.
    pub compressed: u64,
    /// What it took on disk then, in bytes.
    pub extracted: u64,
}

/// What is in a layer, measured by reading it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MeasuredLayer {
    /// Its size uncompressed (a tar archive), in bytes.
    pub extracted: u64,
    /// The compressed bytes that hold no file: names of folders and links, the end of the archive.
    pub rest: u64,
    /// Its regular files by path; of hard links the first.
    pub files: BTreeMap<String, MeasuredFile>,
}

/// A file in a layer. As JSON a list: size, pull, package.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "(u64, u64, Option<String>)", into = "(u64, u64, Option<String>)")]
pub struct MeasuredFile {
    /// Its bytes.
    pub size: u64,
    /// The bytes of the compressed layer that it is unpacked from, its header included.
    pub pull: u64,
    /// The package that it belongs to, with its version, where one is known: `kubelet-1.20.2-r0`.
    pub package: Option<String>,
}

impl From<(u64, u64, Option<String>)> for MeasuredFile {
    fn from((size, pull, package): (u64, u64, Option<String>)) -> Self {
        Self { size, pull, package }
    }
}

impl From<MeasuredFile> for (u64, u64, Option<String>) {
    fn from(file: MeasuredFile) -> Self {
        (file.size, file.pull, file.package)
    }
}

/// The sizes of all images of a build. Rows and columns come in the order of the entries and of [`Platform`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SizeMatrix {
    /// One for each image and platform.
    pub entries: Vec<MatrixEntry>,
    /// What is in their layers, where that was measured.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub layers: BTreeMap<Digest, MeasuredLayer>,
    /// Which earlier matrix the entries are compared with, as typed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
    /// The images of that matrix that are no more: variant and platform.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gone: Vec<(String, Platform)>,
}

impl SizeMatrix {
    fn platforms(&self) -> Vec<Platform> {
        let all: BTreeSet<Platform> = self.entries.iter().map(|entry| entry.platform).collect();
        all.into_iter().collect()
    }

    /// The rows: each variant and tag once, in the order in which they come first.
    fn rows(&self) -> Vec<(&str, &str)> {
        let mut rows: Vec<(&str, &str)> = Vec::new();
        for entry in &self.entries {
            let row = (entry.variant.as_str(), entry.tag.as_str());
            if !rows.contains(&row) {
                rows.push(row);
            }
        }
        rows
    }

    fn of_row(&self, variant: &str, tag: &str) -> impl Iterator<Item = &MatrixEntry> {
        self.entries.iter().filter(move |entry| entry.variant == variant && entry.tag == tag)
    }

    /// What a row is called: its variant, and its tag where several rows have that variant.
    fn row_name(&self, variant: &str, tag: &str) -> String {
        let alone = self.rows().iter().filter(|(other, _)| *other == variant).count() < 2;
        if alone || tag.is_empty() { variant.to_owned() } else { tag.to_owned() }
    }
}
