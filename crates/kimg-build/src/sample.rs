//! The embedded sample, laid out as a folder so that it goes through the very same code as anything real.

use std::fmt::Write as _;

use fs_err as fs;
use kimg_core::Digest;
use kimg_source::{Cache, Location, Repository};

use crate::error::BuildError;
use crate::sources::Keys;

/// Writes the sample's repository and keys into the cache and says where they lie.
pub(crate) fn lay_out(cache: &Cache) -> Result<(Vec<Repository>, Vec<Keys>), BuildError> {
    let sample = kimg_sample::sample();
    let mut name = String::new();
    for (path, bytes) in &sample.files {
        let _ = writeln!(name, "{path} {}", Digest::of(bytes));
    }
    let folder = cache.sample().join(Digest::of(&name).hex());
    let repository = folder.join("repo");
    let keys = folder.join("keys");
    if !folder.is_dir() {
        // Under another name until it is whole: another process may be laying it out too.
        let scratch =
            tempfile::tempdir_in(cache.scratch()).map_err(BuildError::disk("laying out the sample"))?;
        let disk = || BuildError::disk("laying out the sample");
        for (path, bytes) in &sample.files {
            let path = scratch.path().join("repo").join(path);
            if let Some(parent) = path.parent() {
                fs::create_dir_all(parent).map_err(disk())?;
            }
            fs::write(&path, bytes).map_err(disk())?;
        }
        fs::create_dir_all(scratch.path().join("keys")).map_err(disk())?;
        for (file, pem) in &sample.keys {
            fs::write(scratch.path().join("keys").join(file), pem).map_err(disk())?;
        }
        fs::create_dir_all(cache.sample()).map_err(disk())?;
        let whole = scratch.keep();
        if let Err(error) = fs::rename(&whole, &folder) {
            let _ = fs::remove_dir_all(&whole);
            if !folder.is_dir() {
                return Err(disk()(error));
            }
        }
    }
    Ok((vec![Repository::at(Location::Path(repository))], vec![Keys::Path(keys)]))
}
