//! The rules that are compiled in, and those of a project beside or instead of them.

use std::path::Path;

use fs_err as fs;
use kimg_closure::Rules;

use crate::error::BuildError;

/// The rules that hold: those compiled in, then every `*.toml` of the folder, in the order of their names.
/// What has a name that is known takes its place.
pub(crate) fn known(folder: Option<&Path>) -> Result<Rules, BuildError> {
    let mut rules = Rules::builtin();
    let Some(folder) = folder else { return Ok(rules) };
    let disk = |source| BuildError::Disk { what: "reading the rules".into(), source };
    let mut files = Vec::new();
    for item in fs::read_dir(folder).map_err(disk)? {
        let path = item.map_err(disk)?.path();
        if path.extension().is_some_and(|e| e == "toml") {
            files.push(path);
        }
    }
    files.sort();
    for path in files {
        let text = fs::read_to_string(&path).map_err(disk)?;
        let file = path.display().to_string();
        rules.extend_from_text(&file, &text).map_err(|error| {
            BuildError::at(&file, &text, Some(error.place().span.clone()), &error.problem())
        })?;
    }
    Ok(rules)
}
