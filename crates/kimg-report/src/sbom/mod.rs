//! What is in an image: a bill of materials, as SPDX 2.3 and as CycloneDX 1.6.
//!
//! It lists the packages of which something is in the image, and of their files those that are in it, with their
//! digests as they are there. The same image gives the same bytes: identifiers follow from digests and names, and the
//! time is given.
//!
//! | item | is |
//! | --- | --- |
//! | [`Sbom`] | the input, with [`Sbom::to_spdx`] and [`Sbom::to_cyclonedx`] |
//! | [`SbomPackage`], [`SbomSource`] | an Alpine package or a program of one's own |
//! | [`SbomFile`] | a regular file of the image |

mod cyclonedx;
mod licence;
mod purl;
mod spdx;

use kimg_core::{Digest, ImagePath, Platform};

/// What is known of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sbom {
    /// What the image is called, without a registry: `kubelet`.
    pub name: String,
    /// Its version: `v1.34.2`.
    pub version: String,
    /// What it runs on.
    pub platform: Platform,
    /// The digest of its manifest.
    pub digest: Digest,
    /// The program that made image and bill: `kimg`.
    pub tool: String,
    /// Its version.
    pub tool_version: String,
    /// When the image was made, in seconds since 1970.
    pub created: u64,
    /// The packages and programs, sorted by name.
    pub packages: Vec<SbomPackage>,
    /// Files that come from none of them: what kimg wrote.
    pub files: Vec<SbomFile>,
}

/// Where something comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SbomSource {
    /// A package of apk.
    Apk {
        /// Whose: `alpine`.
        vendor: String,
        /// The release, if it is known: `alpine-3.22`.
        distribution: Option<String>,
        /// Alpine's name of the architecture: `x86_64`, `noarch`.
        arch: String,
        /// The package it was built from.
        origin: Option<String>,
        /// The commit of the repository it was built from.
        commit: Option<String>,
    },
    /// A program that comes from no package.
    Program,
}

/// A package, with what of it is in the image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SbomPackage {
    /// Its name, which no other one of the image has.
    pub name: String,
    /// Its version, if it has one.
    pub version: Option<String>,
    /// Where it comes from.
    pub source: SbomSource,
    /// Its licence as it says itself; may be empty.
    pub licence: String,
    /// One line on what it is; may be empty.
    pub description: String,
    /// Where more is told about it; may be empty.
    pub homepage: String,
    /// Where it was fetched from, if that was no folder of this machine.
    pub download: Option<String>,
    /// The SHA-256 of the package file, or of what lay where the program was fetched from.
    pub digest: Option<Digest>,
    /// The names of the packages of this image that it needs.
    pub depends_on: Vec<String>,
    /// What of it is in the image.
    pub files: Vec<SbomFile>,
}

/// A regular file of the image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SbomFile {
    /// Where it stands.
    pub path: ImagePath,
    /// The SHA-1 of its bytes, which SPDX asks for.
    pub sha1: [u8; 20],
    /// Their SHA-256.
    pub sha256: Digest,
    /// How many they are.
    pub size: u64,
    /// The SHA-256 of the file as its package has it, where it was made smaller since.
    pub original: Option<Digest>,
}

impl Sbom {
    /// Every file of the image, by its path.
    fn all_files(&self) -> impl Iterator<Item = &SbomFile> {
        self.packages.iter().flat_map(|package| &package.files).chain(&self.files)
    }

    /// What identifies this bill: image, tool and version. Thirty-two bytes.
    fn identity(&self) -> Digest {
        Digest::of(format!("bill of materials\n{}\n{} {}", self.digest, self.tool, self.tool_version))
    }
}

#[cfg(test)]
mod tests;
