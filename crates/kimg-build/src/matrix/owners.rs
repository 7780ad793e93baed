//! Which package a measured file belongs to, as the image's own database says.

use std::collections::BTreeMap;

use kimg_core::{Digest, ImagePath};

use super::measure::Measured;
use super::source::SourceImage;
use crate::existing::Laid;
use crate::existing::installed::{self, PLACES};

/// Notes the packages of the files of an image, where none is noted yet: a layer that images share holds files of the same
/// packages in each. Does nothing where not all of its layers were measured, or none has a database.
pub(super) fn note(image: &SourceImage, measured: &mut BTreeMap<Digest, Measured>) {
    let mut laid = Laid::default();
    let mut databases: BTreeMap<&ImagePath, &Vec<u8>> = BTreeMap::new();
    for layer in &image.layers {
        let Some(layer) = measured.get(&layer.digest) else { return };
        laid.lay_entries(&layer.entries);
        databases.extend(&layer.databases);
    }
    laid.add_parents();
    let tree = laid.tree;
    let found = PLACES.iter().find_map(|place| {
        let path = tree.resolve(&ImagePath::new(place).ok()?).ok()?.path;
        databases.get(&path)
    });
    let Some(database) = found else { return };
    let installed = installed::read(&String::from_utf8_lossy(database));
    let mut owners: BTreeMap<String, String> = BTreeMap::new();
    for (path, name) in &installed.owners {
        // The database may name a folder that is a link.
        let Ok(real) = tree.locate(path) else { continue };
        if let Some(package) = installed.packages.get(name) {
            owners.insert(real.path.to_string(), format!("{name}-{}", package.version));
        }
    }
    for layer in &image.layers {
        let Some(layer) = measured.get_mut(&layer.digest) else { continue };
        for (path, file) in &mut layer.sizes.files {
            if file.package.is_none() {
                file.package = owners.get(path).cloned();
            }
        }
    }
}
