//! Budgets: an image that became too large fails the build before anything is written, and tells what grew.

use std::collections::BTreeMap;
use std::fmt;

use fs_err as fs;
use kimg_core::variant::ByteSize;
use kimg_core::{Digest, Origin, Platform};
use kimg_layer::BlobStore;
use kimg_report::{EntryLayer, MatrixEntry, SizeMatrix, thousands};

use crate::error::BuildError;
use crate::layers::WrittenLayer;
use crate::matrix::measure;
use crate::project::Project;
use crate::select::Selected;

/// How many files an account names.
const NAMED: usize = 15;

/// An image that is larger than its budget.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Over {
    /// The variant.
    pub variant: String,
    /// The platform.
    pub platform: Platform,
    /// Each size that is over its limit.
    pub sizes: Vec<OverSize>,
    /// What grew since the last matrix, in lines for people.
    pub account: Vec<String>,
}

/// A size that is over its limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OverSize {
    /// `compressed` or `extracted`
    pub what: &'static str,
    /// The size, in bytes.
    pub size: u64,
    /// The limit.
    pub limit: ByteSize,
}

impl fmt::Display for Over {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, over) in self.sizes.iter().enumerate() {
            if place > 0 {
                f.write_str("\n  ")?;
            }
            let OverSize { what, size, limit } = over;
            let (variant, platform) = (&self.variant, self.platform);
            let (size, more) = (thousands(*size), thousands(size - limit.0));
            write!(f, "{variant} for {platform}: {size} bytes {what}, {more} more than {limit}")?;
        }
        self.account.iter().try_for_each(|line| write!(f, "\n    {line}"))
    }
}

/// Refuses images that are larger than their budgets: all of them at once.
pub(crate) fn keep(
    project: &Project,
    images: &[Selected],
    written: &[Vec<WrittenLayer>],
    blobs: &BlobStore,
) -> Result<(), BuildError> {
    let mut over = Vec::new();
    for (image, layers) in images.iter().zip(written) {
        let variant = &project.variants[image.variant];
        let limits = variant.budget.limits(image.platform);
        let compressed: u64 = layers.iter().map(|layer| layer.info.size).sum();
        let extracted: u64 = layers.iter().map(|layer| layer.info.tar_size).sum();
        let measured =
            [("compressed", compressed, limits.compressed), ("extracted", extracted, limits.extracted)];
        let sizes = measured.into_iter().filter_map(|(what, size, limit)| {
            limit.filter(|limit| size > limit.0).map(|limit| OverSize { what, size, limit })
        });
        let sizes: Vec<OverSize> = sizes.collect();
        if !sizes.is_empty() {
            let account = account(project, image, layers, blobs)?;
            over.push(Over { variant: variant.name.clone(), platform: image.platform, sizes, account });
        }
    }
    if over.is_empty() { Ok(()) } else { Err(BuildError::OverBudget { images: over }) }
}

/// What grew of an image since the last matrix.
fn account(
    project: &Project,
    image: &Selected,
    layers: &[WrittenLayer],
    blobs: &BlobStore,
) -> Result<Vec<String>, BuildError> {
    let now = matrix(project, image, layers, blobs)?;
    let path = project.last_matrix.display().to_string();
    let (earlier, problem) = match fs::read_to_string(&project.last_matrix) {
        Ok(text) => match SizeMatrix::from_record(&path, &text) {
            Ok(matrix) => (Some(matrix), None),
            Err(error) => (None, Some(error.to_string())),
        },
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let problem =
                format!("there is no {path}; `kimg matrix --readme README.md` writes one beside the README");
            (None, Some(problem))
        }
        Err(error) => (None, Some(error.to_string())),
    };
    let lines = now.growth(&now.entries[0], earlier.as_ref()).lines(NAMED);
    Ok(lines.into_iter().chain(problem).collect())
}

/// A matrix of one image that was not written anywhere yet.
fn matrix(
    project: &Project,
    image: &Selected,
    layers: &[WrittenLayer],
    blobs: &BlobStore,
) -> Result<SizeMatrix, BuildError> {
    let mut measured = BTreeMap::new();
    for layer in layers {
        let info = &layer.info;
        let blob = fs::File::open(blobs.path(info.digest)).map_err(BuildError::disk("measuring a layer"))?;
        let blob = std::io::BufReader::with_capacity(64 * 1024, blob);
        let (mut found, _) = measure::measure(blob, info.size, &info.media_type)?;
        for (path, entry) in found.entries.keys().filter_map(|path| Some((path, image.tree.get(path)?))) {
            if let (Origin::Package { name, version }, Some(file)) =
                (&entry.origin, found.sizes.files.get_mut(path.as_str()))
            {
                file.package = Some(format!("{name}-{version}"));
            }
        }
        measured.insert(info.digest, found.sizes);
    }
    let variant = &project.variants[image.variant];
    let entry = MatrixEntry {
        variant: variant.name.clone(),
        description: variant.description.clone(),
        tag: String::new(),
        platform: image.platform,
        compressed: layers.iter().map(|layer| layer.info.size).sum(),
        extracted: layers.iter().map(|layer| layer.info.tar_size).sum(),
        // It has no manifest yet, and nothing is told of one.
        digest: Digest::of([]),
        sample: project.is_sample(),
        stored_plain: false,
        layers: layers
            .iter()
            .map(|layer| EntryLayer {
                digest: layer.info.digest,
                name: Some(layer.name.clone()),
                compressed: layer.info.size,
            })
            .collect(),
        before: None,
    };
    Ok(SizeMatrix { entries: vec![entry], layers: measured, ..SizeMatrix::default() })
}
