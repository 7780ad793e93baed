//! What is said about images beside them: a bill of materials for each image, and where all of a release comes from.
//!
//! Nothing is computed unless [`Project::statements`](crate::Project::statements) asks for it. The same inputs give the
//! same bytes: times are those of the images, or given.

mod provenance;
mod sbom;

use std::str::FromStr;

use kimg_core::{Digest, Platform};
use kimg_image::Tagged;

use crate::build::Build;
use crate::error::BuildError;
use crate::inputs::Inputs;
use crate::packing::Packed;
use crate::select::Selected;

/// The form of a bill of materials.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SbomFormat {
    /// SPDX 2.3.
    Spdx,
    /// CycloneDX 1.6.
    CycloneDx,
}

impl FromStr for SbomFormat {
    type Err = BuildError;

    fn from_str(text: &str) -> Result<Self, BuildError> {
        match text {
            "spdx" => Ok(Self::Spdx),
            "cyclonedx" => Ok(Self::CycloneDx),
            other => {
                Err(BuildError::settings(format!("sbom `{other}` is not one of spdx, cyclonedx and none")))
            }
        }
    }
}

/// What is to be said.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StatementWishes {
    /// A bill of materials for each image, in this form.
    pub sbom: Option<SbomFormat>,
    /// Where the images come from.
    pub provenance: Option<ProvenanceWishes>,
}

/// What a provenance says beside what kimg knows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProvenanceWishes {
    /// The address that stands for who builds, such as that of a CI service; somebody with kimg where it is not said.
    pub builder: Option<String>,
    /// What the build is called there: the address of a run.
    pub invocation: Option<String>,
    /// When it began, in seconds since 1970.
    pub started: Option<u64>,
}

/// What kind of statement it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum StatementKind {
    /// A bill of materials as SPDX.
    Spdx,
    /// A bill of materials as CycloneDX.
    CycloneDx,
    /// A provenance.
    Provenance,
}

impl StatementKind {
    /// Its media type, which is also the type of the artifact that refers to the image.
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Spdx => "application/spdx+json",
            Self::CycloneDx => "application/vnd.cyclonedx+json",
            Self::Provenance => "application/vnd.in-toto+json",
        }
    }

    /// What in-toto calls it, and so does cosign.
    pub fn predicate_type(self) -> &'static str {
        match self {
            Self::Spdx => "https://spdx.dev/Document",
            Self::CycloneDx => "https://cyclonedx.org/bom",
            Self::Provenance => kimg_report::provenance::PREDICATE,
        }
    }

    fn ending(self) -> &'static str {
        match self {
            Self::Spdx => "spdx.json",
            Self::CycloneDx => "cdx.json",
            Self::Provenance => "provenance.json",
        }
    }
}

/// Something said about an image or index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement {
    /// What kind it is.
    pub kind: StatementKind,
    /// The digest of the manifest or index it is about.
    pub subject: Digest,
    /// The first tag of the index: `kubelet:v1.34.2-cni-alpine3.22`.
    pub tag: String,
    /// The platform of the image; `None` for an index.
    pub platform: Option<Platform>,
    /// JSON, with a line feed at the end. A provenance is a whole in-toto statement, with every image and index of the
    /// release for its subject: the same text for each index.
    pub text: String,
}

impl Statement {
    /// A name for it as a file: `kubelet-v1.34.2-cni-amd64.spdx.json`.
    pub fn file_name(&self) -> String {
        let platform = self.platform.map(|platform| format!("-{}", platform.short())).unwrap_or_default();
        format!("{}{platform}.{}", self.tag.replace([':', '/'], "-"), self.kind.ending())
    }
}

/// Everything that is to be said: bills in the order of the images, then one provenance for each index.
pub(crate) fn of(
    build: &Build<'_>,
    images: &[Selected],
    joined: &[(usize, Tagged)],
    packed: &Packed,
    inputs: &Inputs,
) -> Result<Vec<Statement>, BuildError> {
    let wishes = &build.project.statements;
    let mut all = Vec::new();
    if let Some(format) = wishes.sbom {
        all.extend(sbom::of_images(build, format, images, joined, inputs)?);
    }
    if let Some(said) = &wishes.provenance {
        let text = provenance::of_release(build, said, joined, packed, inputs).to_json();
        all.extend(joined.iter().map(|(_, tagged)| Statement {
            kind: StatementKind::Provenance,
            subject: tagged.image.descriptor.digest,
            tag: first_tag(tagged),
            platform: None,
            text: text.clone(),
        }));
    }
    Ok(all)
}

fn first_tag(tagged: &Tagged) -> String {
    tagged.tags.first().cloned().unwrap_or_default()
}

/// Whose packages these are, as package URLs have it.
fn vendor(build: &Build<'_>) -> &'static str {
    if build.project.is_sample() { "kimg-sample" } else { "alpine" }
}

/// The release, as package URLs have it.
fn distribution(build: &Build<'_>, inputs: &Inputs) -> Option<String> {
    inputs.alpine.as_ref().filter(|_| !build.project.is_sample()).map(|branch| format!("alpine-{branch}"))
}

#[cfg(test)]
mod tests;
