//! What is told at the end: the stages' results, put together for `kimg-report`.

use std::collections::BTreeMap;

use kimg_core::Origin;
use kimg_image::Tagged;
use kimg_report::{
    BuildReport, Contributor, Fetched, ImageReport, LayerReport, LeftOut, LeftOutOf, Missing, NotRun,
    PackReport,
};

use crate::inputs::Inputs;
use crate::layers::WrittenLayer;
use crate::packing::{Packed, PackedProgram};
use crate::project::{OutputForm, Project};
use crate::select::Selected;

pub(crate) fn report(
    project: &Project,
    images: &[Selected],
    layers: &[Vec<WrittenLayer>],
    joined: &[(usize, Tagged)],
    packed: &Packed,
    inputs: &Inputs,
) -> BuildReport {
    let mut kubernetes: Vec<_> = images.iter().map(|i| i.version.clone()).collect();
    kubernetes.sort();
    kubernetes.dedup();
    let mut reports = Vec::new();
    for (place, image) in images.iter().enumerate() {
        let Some((_, tagged)) = joined.iter().find(|(variant, _)| *variant == image.variant) else {
            continue;
        };
        let Some(built) = tagged.image.images.iter().find(|i| i.platform == image.platform) else { continue };
        reports.push(ImageReport {
            variant: project.variants[image.variant].name.clone(),
            platform: image.platform,
            kubernetes: image.version.to_string(),
            tags: tagged.tags.clone(),
            digest: built.descriptor.digest,
            compressed: layers[place].iter().map(|l| l.info.size).sum(),
            extracted: layers[place].iter().map(|l| l.info.tar_size).sum(),
            layers: layers[place]
                .iter()
                .map(|layer| layer_report(project, images, layers, place, layer))
                .collect(),
            contributors: contributors(image),
            packed: packed.programs[place].iter().map(pack_report).collect(),
            left_out: left_out(image),
            missing: missing(image),
            not_run: not_run(image),
        });
    }
    BuildReport {
        kimg_version: env!("CARGO_PKG_VERSION").to_owned(),
        sample: project.is_sample(),
        kubernetes: kubernetes.iter().map(ToString::to_string).collect(),
        images: reports,
        fetched: Fetched {
            files: inputs.fetched.files as u64,
            bytes: inputs.fetched.bytes,
            from_cache: inputs.fetched.from_cache as u64,
        },
        next: next(project, joined),
        joined: inputs.joined.clone(),
    }
}

fn layer_report(
    project: &Project,
    images: &[Selected],
    layers: &[Vec<WrittenLayer>],
    place: usize,
    layer: &WrittenLayer,
) -> LayerReport {
    let same = |other: usize| {
        other != place
            && images[other].platform == images[place].platform
            && layers[other].iter().any(|l| l.info.digest == layer.info.digest)
    };
    let shared_with = (0..images.len())
        .filter(|i| same(*i))
        .map(|i| project.variants[images[i].variant].name.clone())
        .collect();
    LayerReport {
        name: layer.name.clone(),
        digest: layer.info.digest,
        compressed: layer.info.size,
        extracted: layer.info.tar_size,
        cached: layer.from_cache,
        shared_with,
    }
}

/// Bytes and files by package, the largest first.
fn contributors(image: &Selected) -> Vec<Contributor> {
    let mut by_origin: BTreeMap<String, (u64, u64)> = BTreeMap::new();
    for path in image.files.keys() {
        let Some(entry) = image.tree.get(path).filter(|e| !e.is_directory()) else { continue };
        let name = match &entry.origin {
            Origin::Package { name, .. } | Origin::Program(name) => name.clone(),
            Origin::Generated(_) => "kimg".to_owned(),
        };
        let counted = by_origin.entry(name).or_default();
        counted.0 += entry.size();
        counted.1 += 1;
    }
    let mut all: Vec<_> = by_origin
        .into_iter()
        .map(|(name, (extracted, files))| Contributor { name, extracted, files })
        .collect();
    all.sort_by(|a, b| b.extracted.cmp(&a.extracted).then_with(|| a.name.cmp(&b.name)));
    all
}

fn pack_report(program: &PackedProgram) -> PackReport {
    PackReport {
        path: program.path.clone(),
        plain: program.plain,
        packed: program.packed.then_some(program.size),
        verdict: program.verdict.clone(),
    }
}

fn left_out(image: &Selected) -> LeftOut {
    let by_package: Vec<_> = image
        .left_out()
        .into_iter()
        .map(|(package, (files, bytes))| LeftOutOf { package, files: files as u64, bytes })
        .collect();
    LeftOut {
        files: by_package.iter().map(|p| p.files).sum(),
        bytes: by_package.iter().map(|p| p.bytes).sum(),
        by_package,
    }
}

fn missing(image: &Selected) -> Vec<Missing> {
    let mut all: Vec<_> =
        image.missing.iter().map(|m| Missing { what: m.what.clone(), reason: m.reason.clone() }).collect();
    all.sort();
    all.dedup();
    all
}

fn not_run(image: &Selected) -> Vec<NotRun> {
    let mut all: Vec<_> = image
        .not_run
        .iter()
        .map(|(package, script)| NotRun {
            package: package.clone(),
            script: script.trim_start_matches('.').to_owned(),
        })
        .collect();
    all.sort();
    all.dedup();
    all
}

/// What a person may want to type next: look into the image, and take it somewhere.
fn next(project: &Project, joined: &[(usize, Tagged)]) -> Option<String> {
    let output = project.outputs.iter().find(|o| o.form == OutputForm::Oci)?;
    let (_, tagged) = joined.first()?;
    let name = tagged.tags.first()?.split(':').next().unwrap_or_default();
    Some(format!("kimg push {} ghcr.io/me/{name}", output.destination.display()))
}
