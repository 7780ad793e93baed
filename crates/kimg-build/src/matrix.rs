//! The size matrix of a layout: what is in it, read back from its manifests.

use std::path::Path;

use kimg_image::Layout;
use kimg_report::{MatrixEntry, SizeMatrix};

use crate::error::BuildError;
use crate::images::{EXTRACTED, SAMPLE, VARIANT};
use crate::variants::BUILT_IN;

/// Reads the sizes of every image in a layout that kimg wrote, the compiled-in variants first.
///
/// Of several tags for one index the exact version without the Alpine branch names it. Images that kimg did not
/// write are passed over.
pub fn of_layout(folder: &Path) -> Result<SizeMatrix, BuildError> {
    if !folder.join("index.json").is_file() {
        return Err(BuildError::settings_hint(
            format!("there is no OCI layout in {}", folder.display()),
            "`kimg build` writes one; `--layout DIR` names another folder",
        ));
    }
    let layout = Layout::open(folder)?;
    let mut entries: Vec<MatrixEntry> = Vec::new();
    for tag in layout.tags().keys() {
        for platform in layout.platforms(tag)? {
            let image = layout.image(tag, platform)?;
            let (Some(variant), Some(extracted)) =
                (image.annotations.get(VARIANT), image.annotations.get(EXTRACTED))
            else {
                continue;
            };
            let entry = MatrixEntry {
                variant: variant.clone(),
                description: image
                    .annotations
                    .get("org.opencontainers.image.description")
                    .cloned()
                    .unwrap_or_default(),
                tag: (*tag).to_owned(),
                platform,
                compressed: image.layers.iter().map(|layer| layer.size).sum(),
                extracted: extracted.parse().unwrap_or_default(),
                digest: image.descriptor.digest,
                sample: image.annotations.contains_key(SAMPLE),
            };
            match entries.iter_mut().find(|e| e.digest == entry.digest && e.variant == entry.variant) {
                Some(known) if is_better(&entry.tag, &known.tag) => *known = entry,
                Some(_) => {}
                None => entries.push(entry),
            }
        }
    }
    entries.sort_by_key(|e| (place(&e.variant), e.variant.clone(), e.tag.clone(), e.platform));
    Ok(SizeMatrix { entries })
}

/// `v1.20.2-cni` names an image better than `v1.20.2-cni-alpine3.15`, and that better than `v1.20-cni`.
fn is_better(tag: &str, than: &str) -> bool {
    let rank = |tag: &str| {
        let version = tag.rsplit(':').next().unwrap_or_default().split('-').next().unwrap_or_default();
        (version.matches('.').count() < 2, tag.len())
    };
    rank(tag) < rank(than)
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
        tags.sort_by(
            |a, b| if is_better(a, b) { std::cmp::Ordering::Less } else { std::cmp::Ordering::Greater },
        );
        assert_eq!(tags, ["kubelet:v1.20.2-cni", "kubelet:v1.20.2-cni-alpine3.15", "kubelet:v1.20-cni"]);
    }
}
