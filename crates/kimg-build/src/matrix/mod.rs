//! The size matrix of images that exist: layouts, archives, whoever made them.
//!
//! [`of_place`] makes a [`Source`] of where images are; [`of_source`] gives its matrix. Sizes of kimg's own images stand
//! in their manifests; those of others, and what is in a layer, are [measured](measure) by reading the layers.

pub mod measure;
mod owners;
mod source;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use kimg_core::{Digest, KubernetesVersion, Platform};
use kimg_report::{EntryLayer, MatrixEntry, SizeMatrix};
use rayon::prelude::*;

use self::measure::Measured;
use crate::error::BuildError;
use crate::existing::ReadError;
use crate::images::{EXTRACTED, SAMPLE, VARIANT};
use crate::variants::BUILT_IN;

pub use source::{Source, SourceImage, SourceLayer, layout, of_place};

const DESCRIPTION: &str = "org.opencontainers.image.description";

/// What a matrix is to know of its images.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// Their sizes: of kimg's own images no layer is read.
    Sizes,
    /// Every file of every layer too.
    Files,
}

/// Reads the sizes of every image in a layout that kimg wrote, the compiled-in variants first.
///
/// Of several tags for one index the exact version without the Alpine branch names it. Images that kimg did not
/// write are passed over.
pub fn of_layout(folder: &Path, depth: Depth) -> Result<SizeMatrix, BuildError> {
    of_images(&*layout(folder)?, depth, |image| image.annotation(VARIANT).is_some())
}

/// Reads the sizes of every image of a source, kimg's own variants first. Others are called by their tags.
///
/// # Errors
/// A source that can't be read; where layers are read, damaged and unknown ones.
pub fn of_source(source: &dyn Source, depth: Depth) -> Result<SizeMatrix, BuildError> {
    let matrix = of_images(source, depth, |_| true)?;
    if matrix.entries.is_empty() {
        let names =
            [Platform::Amd64, Platform::Arm64, Platform::ArmV7, Platform::ArmV6].map(|p| p.to_string());
        return Err(BuildError::from(ReadError::NoImage {
            problem: format!("`{}` has no image for any of {}", source.name(), names.join(", ")),
            hint: None,
        }));
    }
    Ok(matrix)
}

fn of_images(
    source: &dyn Source,
    depth: Depth,
    wanted: impl Fn(&SourceImage) -> bool,
) -> Result<SizeMatrix, BuildError> {
    let mut images: Vec<SourceImage> = Vec::new();
    for image in source.images()?.into_iter().filter(wanted) {
        // Several indexes may hold one image.
        match images.iter_mut().find(|known| known.digest == image.digest) {
            Some(known) => known.names.extend(image.names),
            None => images.push(image),
        }
    }
    let said = |image: &SourceImage| image.annotation(EXTRACTED).and_then(|size| size.parse::<u64>().ok());
    let read = images.iter().filter(|image| depth == Depth::Files || said(image).is_none());
    let layers: BTreeMap<Digest, &SourceLayer> =
        read.flat_map(|image| &image.layers).map(|layer| (layer.digest, layer)).collect();
    let measured: Result<BTreeMap<Digest, Measured>, BuildError> =
        layers.into_par_iter().map(|(digest, layer)| Ok((digest, measure_layer(source, layer)?))).collect();
    let mut measured = measured?;

    let mut entries: Vec<MatrixEntry> = Vec::new();
    for image in &images {
        let sum = image.layers.iter().map(|layer| Some(measured.get(&layer.digest)?.sizes.extracted)).sum();
        let extracted: Option<u64> = Option::or(sum, said(image));
        entries.push(entry(image, extracted.unwrap_or_default()));
        owners::note(image, &mut measured);
    }
    // Grouped by version, the newest first: for people look for theirs, and then for the variant.
    entries.sort_by_key(|e| {
        let version = version_in(&e.tag).filter(|_| place(&e.variant) < BUILT_IN.len());
        (Reverse(version), place(&e.variant), e.variant.clone(), e.tag.clone(), e.platform)
    });
    let layers = match depth {
        Depth::Sizes => BTreeMap::new(),
        Depth::Files => measured.into_iter().map(|(digest, layer)| (digest, layer.sizes)).collect(),
    };
    Ok(SizeMatrix { entries, layers, ..SizeMatrix::default() })
}

/// The version of Kubernetes that a tag of kimg's begins with: `kubelet:v1.34.2-cni-alpine3.22`.
fn version_in(tag: &str) -> Option<KubernetesVersion> {
    let (_, tag) = tag.rsplit_once(':')?;
    let version =
        tag.split('-').next().filter(|word| word.starts_with('v') && word.matches('.').count() == 2)?;
    version.parse().ok()
}

/// The matrices of several sources as one. Where two have another image of the same name, tag and platform, the tag
/// names the source too.
pub fn join(sources: impl IntoIterator<Item = (String, SizeMatrix)>) -> SizeMatrix {
    let mut joined = SizeMatrix::default();
    for (source, matrix) in sources {
        let taken: BTreeSet<_> =
            joined.entries.iter().map(|e| (e.variant.clone(), e.tag.clone(), e.platform, e.digest)).collect();
        for mut entry in matrix.entries {
            let same = |with: &&(String, String, _, Digest)| {
                (&with.0, &with.1, with.2) == (&entry.variant, &entry.tag, entry.platform)
            };
            match taken.iter().find(same) {
                Some(known) if known.3 == entry.digest => continue,
                Some(_) => entry.tag.insert_str(0, &format!("{source} ")),
                None => {}
            }
            joined.entries.push(entry);
        }
        joined.layers.extend(matrix.layers);
    }
    joined
}

fn measure_layer(source: &dyn Source, layer: &SourceLayer) -> Result<Measured, BuildError> {
    let blob = source.open(layer)?;
    let (measured, found) = measure::measure(blob, layer.size, &layer.media_type).map_err(|error| {
        ReadError::Layer { place: source.name(), layer: layer.digest, source: Box::new(error) }
    })?;
    if found != layer.diff_id {
        let (place, expected) = (source.name(), layer.diff_id);
        return Err(ReadError::Damaged { place, what: "unpacked layer", expected, found }.into());
    }
    Ok(measured)
}

fn entry(image: &SourceImage, extracted: u64) -> MatrixEntry {
    let mut names: Vec<&String> = image.names.iter().collect();
    names.sort_by(|a, b| better(a, b));
    let tag = names.first().map(|name| (*name).clone()).unwrap_or_default();
    let variant = image.said(VARIANT).unwrap_or_else(|| match tag.rsplit_once(':') {
        Some((name, version)) if !version.contains('/') => name.to_owned(),
        _ if tag.is_empty() => image.digest.to_string().chars().take(19).collect(),
        _ => tag.clone(),
    });
    let kimg = image.said(VARIANT).is_some();
    MatrixEntry {
        variant,
        description: image.said(DESCRIPTION).filter(|_| kimg).unwrap_or_default(),
        tag,
        platform: image.platform,
        compressed: image.layers.iter().map(|layer| layer.size).sum(),
        extracted,
        digest: image.digest,
        sample: image.said(SAMPLE).is_some(),
        stored_plain: image.layers.iter().any(SourceLayer::is_plain),
        layers: image
            .layers
            .iter()
            .zip(image.layer_names())
            .map(|(layer, name)| EntryLayer { digest: layer.digest, name, compressed: layer.size })
            .collect(),
        before: None,
    }
}

/// `v1.20.2-cni` names an image better than `v1.20.2-cni-alpine3.15`, and that better than `v1.20-cni`.
fn better(tag: &str, than: &str) -> std::cmp::Ordering {
    let rank = |tag: &str| {
        let version = tag.rsplit(':').next().unwrap_or_default().split('-').next().unwrap_or_default();
        (version.matches('.').count() < 2, tag.len())
    };
    rank(tag).cmp(&rank(than)).then_with(|| tag.cmp(than))
}

fn place(variant: &str) -> usize {
    BUILT_IN
        .iter()
        .position(|(file, _)| file.strip_suffix(".toml") == Some(variant))
        .unwrap_or(BUILT_IN.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exact_version_names_an_image_best() {
        let mut tags = ["kubelet:v1.20-cni", "kubelet:v1.20.2-cni-alpine3.15", "kubelet:v1.20.2-cni"];
        tags.sort_by(|a, b| better(a, b));
        assert_eq!(tags, ["kubelet:v1.20.2-cni", "kubelet:v1.20.2-cni-alpine3.15", "kubelet:v1.20-cni"]);
    }
}
