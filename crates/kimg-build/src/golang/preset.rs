//! What upstream's sources hold, and where they are: `presets/*.toml`, compiled in.

use std::collections::BTreeMap;

use kimg_go::source::Needed;
use semver::Version;
use serde::Deserialize;

use super::settings::{LayoutWord, LinkWord, ModulesWord};
use crate::error::BuildError;

/// The texts of the presets, by the names of their files.
pub const BUILT_IN: [(&str, &str); 6] = [
    ("kubernetes.toml", include_str!("../../presets/kubernetes.toml")),
    ("cni-plugins.toml", include_str!("../../presets/cni-plugins.toml")),
    ("flannel.toml", include_str!("../../presets/flannel.toml")),
    ("cri-tools.toml", include_str!("../../presets/cri-tools.toml")),
    ("containerd.toml", include_str!("../../presets/containerd.toml")),
    ("runc.toml", include_str!("../../presets/runc.toml")),
];

/// A source as upstream publishes it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Preset {
    /// What it is called.
    pub name: String,
    /// Whether its version is Kubernetes' own.
    #[serde(default)]
    pub is_kubernetes: bool,
    /// The address, with `{version}` in it.
    pub source: String,
    /// Its import path, where go.mod does not say it.
    pub import_path: Option<String>,
    /// The package of Alpine whose place its programs take.
    pub replaces: Option<String>,
    /// Whether there is C in it.
    pub cgo: bool,
    /// How programs with C in them are linked.
    pub(super) link: Option<LinkWord>,
    /// Whether modules are downloaded.
    pub(super) modules: Option<ModulesWord>,
    /// Why its programs can't be one, if they can't.
    pub no_multicall: Option<String>,
    /// Build tags.
    #[serde(default)]
    pub tags: Vec<String>,
    /// Variables of the linker.
    #[serde(default)]
    pub variables: BTreeMap<String, String>,
    #[serde(default, rename = "layout")]
    layouts: Vec<LayoutOf>,
    #[serde(default, rename = "go")]
    needs: Vec<NeedOf>,
    /// Its programs.
    #[serde(rename = "program")]
    programs: Vec<PresetProgram>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
struct LayoutOf {
    is: LayoutWord,
    #[serde(default)]
    before: Option<Version>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
struct NeedOf {
    since: Version,
    needs: String,
}

/// A program of a preset.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct PresetProgram {
    /// What it is called.
    pub name: String,
    /// Its package in the source.
    pub package: String,
    /// Where it stands in an image.
    pub install: String,
    /// The first version that has it.
    pub since: Option<Version>,
    /// The first version that does not have it any more.
    pub before: Option<Version>,
    /// Whether it is built only when it is named.
    #[serde(default)]
    pub on_demand: bool,
}

impl Preset {
    /// The preset of this name.
    ///
    /// # Errors
    /// There is none.
    pub fn named(name: &str) -> Result<Self, BuildError> {
        let mut all = Self::all()?;
        let known: Vec<_> = all.iter().map(|preset| preset.name.clone()).collect();
        let place = all.iter().position(|preset| preset.name == name);
        place.map(|place| all.swap_remove(place)).ok_or_else(|| {
            BuildError::settings_hint(
                format!("[[go]]: there is no preset `{name}`"),
                format!("the presets are {}", known.join(", ")),
            )
        })
    }

    /// Every preset.
    ///
    /// # Errors
    /// None for those that are compiled in: a test reads them all.
    pub fn all() -> Result<Vec<Self>, BuildError> {
        let read =
            |(file, text): (&str, &str)| toml::from_str(text).map_err(|e| BuildError::toml(file, text, &e));
        BUILT_IN.into_iter().map(read).collect()
    }

    /// The programs that a version has.
    pub fn programs_of(&self, version: &Version) -> impl Iterator<Item = &PresetProgram> {
        self.programs.iter().filter(move |program| {
            program.since.as_ref().is_none_or(|since| version >= since)
                && program.before.as_ref().is_none_or(|before| version < before)
        })
    }

    /// The oldest Go that a version is known to need.
    pub(super) fn need_of(&self, version: &Version) -> Option<Needed> {
        let known = self.needs.iter().rev().find(|need| *version >= need.since)?;
        Some(Needed { version: known.needs.parse().ok()?, says: "upstream's go.mod".into() })
    }

    /// How a version's source lies.
    pub(super) fn layout_of(&self, version: &Version) -> LayoutWord {
        let of_version = |layout: &&LayoutOf| layout.before.as_ref().is_none_or(|before| version < before);
        self.layouts.iter().find(of_version).map_or(LayoutWord::Modules, |layout| layout.is)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn programs(preset: &str, version: &str) -> Vec<String> {
        let preset = Preset::named(preset).unwrap();
        let version = version.parse().unwrap();
        preset.programs_of(&version).map(|program| program.name.clone()).collect()
    }

    #[test]
    fn every_preset_can_be_read_and_says_where_each_version_is() {
        for preset in Preset::all().unwrap() {
            assert!(preset.source.contains("v{version}"), "{}", preset.name);
            assert!(preset.programs_of(&Version::new(1, 35, 0)).count() > 0, "{}", preset.name);
            assert!(preset.needs.is_sorted_by(|a, b| a.since < b.since), "{}", preset.name);
            assert!(preset.needs.iter().all(|need| preset.need_of(&need.since).is_some()), "{}", preset.name);
        }
        assert!(Preset::named("etcd").unwrap_err().to_string().contains("no preset `etcd`"));
    }

    #[test]
    fn the_plugins_of_a_version_are_those_that_it_has() {
        assert_eq!(programs("cni-plugins", "1.1.1").len(), 16);
        assert!(programs("cni-plugins", "0.9.1").contains(&"flannel".to_owned()));
        let newest = programs("cni-plugins", "1.8.0");
        assert!(newest.contains(&"tap".to_owned()) && !newest.contains(&"flannel".to_owned()));
    }

    #[test]
    fn kubernetes_lay_in_a_gopath_before_it_became_a_workspace() {
        let preset = Preset::named("kubernetes").unwrap();
        assert_eq!(preset.layout_of(&Version::new(1, 29, 15)), LayoutWord::Gopath);
        assert_eq!(preset.layout_of(&Version::new(1, 30, 0)), LayoutWord::Modules);
    }
}
