//! The rules that are compiled in, and those of a project beside or instead of them.

use std::path::Path;

use kimg_closure::Rules;

use crate::error::BuildError;
use crate::settings::toml_files;

/// The rules that hold: those compiled in, then every `*.toml` of the folder, in the order of their names.
/// What has a name that is known takes its place.
pub(crate) fn known(folder: Option<&Path>) -> Result<Rules, BuildError> {
    let mut rules = Rules::builtin();
    let Some(folder) = folder else { return Ok(rules) };
    for (file, text) in toml_files(folder, "rules")? {
        rules.extend_from_text(&file, &text).map_err(|error| {
            BuildError::at(&file, &text, Some(error.place().span.clone()), &error.problem())
        })?;
    }
    Ok(rules)
}
