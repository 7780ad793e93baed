//! Images: configs, manifests, indexes and tags, and the places they are written to.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use fs_err as fs;
use kimg_core::{KubernetesVersion, Variant};
use kimg_image::{Image, ImageLayer, ImageSpec, MultiArch, RunConfig, Tagged};
use kimg_layer::BlobStore;

use crate::error::BuildError;
use crate::layers::WrittenLayer;
use crate::project::{Output, OutputForm, Project};
use crate::select::{RECORD_LAYER, SINGLE_LAYER, Selected};

/// The annotation of a manifest with the bytes of its layers when they are not compressed.
pub const EXTRACTED: &str = "io.kimg.extracted-size";

/// The annotation of a manifest with the name of its variant.
pub const VARIANT: &str = "io.kimg.variant";

/// The label and annotation of everything that is made of the embedded sample.
pub const SAMPLE: &str = "io.kimg.sample";

/// One image, with the place of its variant.
#[derive(Debug)]
pub struct Built {
    /// The place of its variant in [`Project::variants`].
    pub variant: usize,
    /// The image.
    pub image: Image,
}

/// The tags of a variant's index: `v1.34.2-cni-alpine3.22`, `v1.34.2-cni`, `v1.34-cni`, and of further ones like `latest`
/// what names this variant: `latest-cni`; those of zstd images end in `-zstd`, the sample's in `-sample`.
///
/// A tag of its own for zstd is what every client agrees on: an index with both kinds is one too many for some. podman and
/// CRI-O choose among entries of one platform by the annotation `io.github.containers.compression.zstd` (containers/image,
/// `internal/manifest/oci_index.go`), containerd and Docker take the first that fits, and whoever rewrites the
/// index may change which one that is.
pub fn tags(
    variant: &Variant,
    version: &KubernetesVersion,
    alpine: Option<&str>,
    codec: Option<&str>,
    sample: bool,
    further: &[String],
) -> Vec<String> {
    let suffix = variant.tag_suffix.as_deref().map(|s| format!("-{s}")).unwrap_or_default();
    // `+` is no character of tags.
    let whole = format!("{version}{suffix}").replace('+', "_");
    let mut tags = Vec::new();
    if let Some(branch) = alpine {
        tags.push(format!("{whole}-alpine{branch}"));
    }
    tags.push(whole);
    tags.push(format!("{}{suffix}", version.minor_tag()));
    tags.extend(further.iter().map(|tag| format!("{tag}{suffix}")));
    for tag in &mut tags {
        tag.extend(codec.into_iter().flat_map(|codec| ["-", codec]));
    }
    if sample {
        for tag in &mut tags {
            tag.push_str("-sample");
        }
    }
    tags
}

/// Puts one image together.
pub fn assemble(
    project: &Project,
    selected: &Selected,
    layers: &[WrittenLayer],
    alpine: Option<&str>,
    epoch: Option<u64>,
) -> Result<Built, BuildError> {
    let variant = &project.variants[selected.variant];
    let entrypoint = variant.entrypoint_for(&selected.version);
    let newest = selected.packages.iter().filter_map(|p| p.record.build_time).max();
    let mut labels = BTreeMap::from([
        ("org.opencontainers.image.version".to_owned(), selected.version.to_string()),
        ("org.opencontainers.image.description".to_owned(), variant.description.clone()),
        ("io.kimg.variant".to_owned(), variant.name.clone()),
        ("io.kimg.contents".to_owned(), format!("{:?}", variant.contents).to_lowercase()),
    ]);
    if let Some(branch) = alpine {
        labels.insert("io.kimg.alpine".into(), branch.to_owned());
    }
    labels.extend(variant.labels.clone());
    labels.extend(project.labels.clone());
    if project.is_sample() {
        labels.insert(SAMPLE.into(), "true: made of kimg's embedded sample, not of Kubernetes".into());
        let title = labels.get("org.opencontainers.image.title").cloned().unwrap_or_default();
        labels.insert("org.opencontainers.image.title".into(), format!("SAMPLE {title}"));
    }
    let holds = |name: &str| match variant.layers.iter().find(|l| l.name == name) {
        Some(layer) => layer.holds.clone(),
        None if name == RECORD_LAYER => "the record of what is in the image".to_owned(),
        None if name == SINGLE_LAYER => "everything that is in the image".to_owned(),
        None if selected.multicalls.iter().any(|path| path.file_name() == Some(name)) => {
            "several programs in one".to_owned()
        }
        None => String::new(),
    };
    let spec = ImageSpec {
        platform: selected.platform,
        created: epoch.or(newest),
        author: None,
        config: RunConfig {
            entrypoint,
            environment: variant.environment.clone(),
            labels: labels.clone(),
            ..RunConfig::default()
        },
        layers: layers
            .iter()
            .map(|layer| ImageLayer {
                info: layer.info.clone(),
                created_by: format!("kimg layer {}", layer.name),
                comment: Some(holds(&layer.name)),
            })
            .collect(),
        annotations: {
            let mut all = annotations(project, &labels);
            let extracted: u64 = layers.iter().map(|l| l.info.tar_size).sum();
            all.insert(EXTRACTED.into(), extracted.to_string());
            all.insert(VARIANT.into(), variant.name.clone());
            all
        },
    };
    Ok(Built { variant: selected.variant, image: kimg_image::assemble(&spec)? })
}

/// What manifests and indexes carry: the labels that OCI gives a meaning, and the project's own annotations.
fn annotations(project: &Project, labels: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let mut all: BTreeMap<String, String> = labels
        .iter()
        .filter(|(key, _)| key.starts_with("org.opencontainers.image.") || *key == SAMPLE)
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect();
    all.extend(project.annotations.clone());
    all
}

/// Joins the images of each variant into one index with its tags.
pub fn join(
    project: &Project,
    images: Vec<Built>,
    selected: &[Selected],
    alpine: Option<&str>,
) -> Result<Vec<(usize, Tagged)>, BuildError> {
    let mut by_variant: BTreeMap<usize, Vec<Image>> = BTreeMap::new();
    for built in images {
        by_variant.entry(built.variant).or_default().push(built.image);
    }
    let mut joined = Vec::new();
    for (place, images) in by_variant {
        let variant = &project.variants[place];
        let Some(version) = selected.iter().find(|s| s.variant == place).map(|s| &s.version) else {
            continue;
        };
        let mut labels = BTreeMap::from([
            ("org.opencontainers.image.version".to_owned(), version.to_string()),
            ("org.opencontainers.image.description".to_owned(), variant.description.clone()),
        ]);
        labels.extend(variant.labels.clone());
        labels.extend(project.labels.clone());
        if project.is_sample() {
            labels.insert(SAMPLE.into(), "true".into());
        }
        let index: MultiArch = kimg_image::join(images, annotations(project, &labels))?;
        let tags =
            tags(variant, version, alpine, project.aims.tag_suffix(), project.is_sample(), &project.tags);
        let tags = tags.into_iter().map(|tag| format!("{}:{tag}", variant.image)).collect();
        joined.push((place, Tagged { tags, image: index }));
    }
    Ok(joined)
}

/// Writes the images to one place: whole, or not at all.
pub fn write(output: &Output, tagged: &[Tagged], blobs: &BlobStore) -> Result<(), BuildError> {
    match output.form {
        OutputForm::Oci => {
            kimg_image::write_layout(&output.destination, tagged, blobs)?;
            Ok(())
        }
        OutputForm::OciArchive => to_file(&output.destination, |out| {
            kimg_image::write_oci_archive(out, tagged, blobs)?;
            Ok(())
        }),
        OutputForm::DockerArchive => {
            let mut images = Vec::new();
            for one in tagged {
                if one.image.images.len() != 1 {
                    return Err(BuildError::settings_hint(
                        "a docker-archive holds one platform",
                        "choose it with `--arch`, or write type=oci-archive",
                    ));
                }
                for tag in &one.tags {
                    images.push((tag.clone(), &one.image.images[0]));
                }
            }
            to_file(&output.destination, |out| {
                kimg_image::write_docker_archive(out, &images, blobs)?;
                Ok(())
            })
        }
        OutputForm::RootfsTar | OutputForm::Erofs | OutputForm::Portable(_) => {
            Err(BuildError::settings_hint(
                "images that exist already are written as images only",
                "the types are oci, oci-archive and docker-archive",
            ))
        }
    }
}

pub(crate) fn to_file(
    path: &Path,
    write: impl FnOnce(&mut dyn io::Write) -> Result<(), BuildError>,
) -> Result<(), BuildError> {
    let what = || format!("writing {}", path.display());
    if path == Path::new("-") {
        let mut out = io::BufWriter::new(io::stdout().lock());
        write(&mut out)?;
        return io::Write::flush(&mut out).map_err(BuildError::disk("writing to standard output"));
    }
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::create_dir_all(folder).map_err(BuildError::disk(what()))?;
    let file = tempfile::NamedTempFile::new_in(folder).map_err(BuildError::disk(what()))?;
    let mut out = io::BufWriter::new(file);
    write(&mut out)?;
    let file = out.into_inner().map_err(io::IntoInnerError::into_error).map_err(BuildError::disk(what()))?;
    let readable = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    file.as_file().set_permissions(readable).map_err(BuildError::disk(what()))?;
    file.persist(path).map_err(|e| BuildError::disk(what())(e.error))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::variants::Variants;

    #[test]
    fn tags_go_from_the_exact_to_the_short() {
        let all = Variants::built_in().unwrap();
        let version = "1.20.2".parse().unwrap();
        let tags_of = |name, alpine, sample| {
            tags(
                &kimg_core::variant::resolve(name, &all.written).unwrap(),
                &version,
                alpine,
                None,
                sample,
                &[],
            )
        };
        assert_eq!(
            tags_of("cni", Some("3.15"), false),
            ["v1.20.2-cni-alpine3.15", "v1.20.2-cni", "v1.20-cni"]
        );
        assert_eq!(tags_of("plain", Some("3.15"), false), ["v1.20.2-alpine3.15", "v1.20.2", "v1.20"]);
        assert_eq!(tags_of("plain", None, true), ["v1.20.2-sample", "v1.20-sample"]);
    }
}
