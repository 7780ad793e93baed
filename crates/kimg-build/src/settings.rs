//! `kimg.toml` as a person writes it.
//!
//! Everything in it may also be said by a flag, and the flag wins. Relative paths are taken from the folder of
//! the file.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use fs_err as fs;
use kimg_core::variant::{Budget, Contents};
use serde::{Deserialize, Serialize};

use crate::error::BuildError;
use crate::golang::GoSettings;

/// The file's name in a project.
pub const FILE_NAME: &str = "kimg.toml";

/// `kimg.toml`
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Settings {
    /// The variants to build; all that are compiled in when not said.
    pub variants: Option<Vec<String>>,
    /// The architectures to build for; amd64, arm64 and armv7 when not said.
    pub architectures: Option<Vec<String>>,
    /// The version of Kubernetes to compile: short for a `[[go]]` table with the preset `kubernetes`.
    pub kubernetes: Option<String>,
    /// Alpine repositories: `main`, `community` or `testing` of the mirrors, or addresses above the folders of the
    /// architectures; `@tag ADDRESS` for a pinned one.
    pub repositories: Option<Vec<String>>,
    /// Where `main`, `community` and `testing` are, the preferred mirror first: addresses above the branches.
    pub mirrors: Option<Vec<String>>,
    /// Folders or files of public keys, and `alpine` for Alpine's own, which are taken when nothing is said.
    pub keys: Option<Vec<PathBuf>>,
    /// The branch: which `main` and `community` are meant, and what tags name: `3.22`, `edge`.
    pub alpine: Option<String>,
    /// What is done about an index that is older than one seen before: `refuse` or `warn`.
    pub rolled_back: Option<RolledBackPolicy>,
    /// A folder of further variants.
    pub variant_folder: Option<PathBuf>,
    /// A folder of further rules.
    pub rule_folder: Option<PathBuf>,
    /// `minimal` or `packages`.
    pub contents: Option<Contents>,
    /// `auto`, `require` or `never`.
    pub pack: Option<String>,
    /// `pull`, `disk` or `balanced`.
    pub optimize: Option<String>,
    /// `shared` or `single`.
    pub layers: Option<String>,
    /// `gzip` or `zstd`, for every layer also with a level: `zstd:19`.
    pub compression: Option<String>,
    /// Where images are written: `type=oci,dest=out`.
    pub output: Option<Vec<String>>,
    /// Further tags of every variant, such as `latest`: plain gets it as it is, the others with their suffix.
    pub tags: Option<Vec<String>>,
    /// The repository that images are published to.
    pub publish: Option<String>,
    /// The last size matrix, which a build over its budget is compared with: `README.matrix.json` when not said.
    pub matrix: Option<PathBuf>,
    /// Whether what is optional and missing is an error.
    pub strict: Option<bool>,
    /// How large images may become, by the names of variants; takes the place of a variant's own budget.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub budget: BTreeMap<String, Budget>,
    /// Labels of every image.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Annotations of every manifest and index.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// Programs that are compiled from Go source.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub go: Vec<GoSettings>,
    /// Programs of one's own.
    #[serde(default, rename = "program", skip_serializing_if = "Vec::is_empty")]
    pub programs: Vec<ProgramSettings>,
}

/// What is done about an index that is older than what the lock or the cache has seen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RolledBackPolicy {
    /// It is an error: somebody may want to serve versions again whose faults are known.
    #[default]
    Refuse,
    /// It is said, and used.
    Warn,
}

/// `[[program]]`
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct ProgramSettings {
    /// What it is called in reports.
    pub name: String,
    /// The file or archive on this machine. Either this or `url`.
    pub path: Option<PathBuf>,
    /// Its address; `sha256` has to stand beside it.
    pub url: Option<String>,
    /// The SHA-256 of the file or archive, 64 hex digits.
    pub sha256: Option<String>,
    /// The path inside the archive, if it is one.
    pub member: Option<String>,
    /// Where it stands in the image.
    pub install: String,
    /// The platform it is for; every platform when not said.
    pub platform: Option<String>,
    /// Its version, where the image's version follows from it.
    pub version: Option<String>,
}

impl Settings {
    /// Reads a settings file.
    pub fn read(path: &Path) -> Result<Self, BuildError> {
        let text = fs::read_to_string(path).map_err(BuildError::disk("reading the settings"))?;
        Self::parse(&path.display().to_string(), &text)
    }

    /// Reads settings out of a text; `file` is for messages.
    pub fn parse(file: &str, text: &str) -> Result<Self, BuildError> {
        toml::from_str(text).map_err(|e| BuildError::toml(file, text, &e))
    }
}

/// Names and texts of every `*.toml` in a folder, in the order of their names; `what` they are is for messages.
pub(crate) fn toml_files(folder: &Path, what: &str) -> Result<Vec<(String, String)>, BuildError> {
    let disk = |source| BuildError::Disk { what: format!("reading the {what}"), source };
    let mut files = Vec::new();
    for item in fs::read_dir(folder).map_err(disk)? {
        let path = item.map_err(disk)?.path();
        if path.extension().is_some_and(|e| e == "toml") {
            files.push(path);
        }
    }
    files.sort();
    let read = |path: PathBuf| Ok((path.display().to_string(), fs::read_to_string(&path).map_err(disk)?));
    files.into_iter().map(read).collect()
}

/// What `kimg init` writes: every setting, with what it means and what holds when it is not said.
pub const COMMENTED: &str = include_str!("commented.toml");

#[cfg(test)]
mod tests {
    use super::*;
    use kimg_core::Classified;

    #[test]
    fn a_misspelt_setting_is_shown_where_it_stands() {
        let error = Settings::parse("kimg.toml", "strict = true\n\nvarjants = ['cni']\n").unwrap_err();
        let place = error.place().unwrap();
        assert_eq!((place.line, place.column, place.text.as_str()), (3, 1, "varjants = ['cni']"));
        assert_eq!(error.class().exit_code(), 2);
    }

    #[test]
    fn a_size_that_is_none_is_shown_where_it_stands() {
        let text = "[budget.cni]\ncompressed = \"41 MB\"\n\n[budget.cni.armv7]\nextracted = \"95 mb\"\n";
        let error = Settings::parse("kimg.toml", text).unwrap_err();
        let place = error.place().unwrap();
        assert_eq!((place.line, place.column, place.width), (5, 13, 7));
        assert!(error.to_string().contains("`95 mb` is not a size"), "{error}");
        let error = Settings::parse("kimg.toml", "budget = { cni = { arm = '41 MB' } }").unwrap_err();
        assert_eq!(error.place().map(|place| place.line), Some(1));
        let error = Settings::parse("kimg.toml", "[budget.cni]\ncompresst = '41 MB'\n").unwrap_err();
        assert_eq!(error.place().map(|place| (place.line, place.column, place.width)), Some((2, 1, 9)));
    }

    #[test]
    fn what_init_writes_says_nothing_until_it_is_edited() {
        assert_eq!(Settings::parse("kimg.toml", COMMENTED).unwrap(), Settings::default());
    }

    #[test]
    fn every_setting_that_init_writes_can_be_used_by_taking_its_comment_sign_away() {
        let text = COMMENTED
            .lines()
            .map(|line| line.strip_prefix("#: ").unwrap_or(line))
            .collect::<Vec<_>>()
            .join("\n");
        let settings = Settings::parse("kimg.toml", &text).unwrap();
        assert!(
            settings.variants.is_some() && settings.repositories.is_some() && settings.programs.len() == 2
        );
        let limits = settings.budget["cni"].limits(kimg_core::Platform::ArmV7);
        assert!(limits.compressed.is_some_and(|size| size.0 == 38_000_000) && limits.extracted.is_some());
    }
}
