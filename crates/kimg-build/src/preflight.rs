//! Before anything is fetched or compiled: which variants can be built for which platforms and versions, from where each
//! program comes, and what is missing and why.

use std::collections::{BTreeMap, BTreeSet};

use kimg_apk::Solver;
use kimg_core::variant::{Locate, Root};
use kimg_core::{KubernetesVersion, Platform, Variant};
use kimg_go::{GoError, Source, Toolchain};
use kimg_source::Location;
use semver::Version;
use serde::{Deserialize, Serialize};

use crate::build::Build;
use crate::error::BuildError;
use crate::golang::{GoSource, found};
use crate::project::{OwnProgram, Project};
use crate::wishes::{is_one_of, stands_for, wishes};

/// What upstream does not have.
const GAPS: (&str, &str) = ("upstream.toml", include_str!("../presets/upstream.toml"));

/// One image that would be built.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Cell {
    /// The version of Kubernetes; `None`: it can't be told.
    pub kubernetes: Option<KubernetesVersion>,
    /// The variant.
    pub variant: String,
    /// The platform.
    pub platform: Platform,
    /// Its programs of Kubernetes and of the network, with where each comes from.
    pub programs: Vec<Part>,
    /// Why it can't be built. Empty: it can.
    pub problems: Vec<String>,
}

/// A program of an image.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Part {
    /// The command or path.
    pub program: String,
    /// `kubernetes v1.34.2, compiled`, `package kubelet-1.34.2-r0`, `own`; `None`: from nowhere.
    pub from: Option<String>,
    /// What is behind it when it is missing.
    pub why: Option<String>,
}

/// A `[[gap]]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Gap {
    programs: Vec<String>,
    #[serde(default)]
    platforms: Vec<Platform>,
    /// The source that `since` counts; Kubernetes when not said.
    of: Option<String>,
    since: Version,
    says: String,
    #[expect(dead_code, reason = "where it was looked up, for who changes the file")]
    source: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Gaps {
    gap: Vec<Gap>,
}

/// Looks at every variant and platform of a build's project. The indexes of the repositories are read, and sources that
/// lie on this machine; nothing else is fetched.
pub fn preflight(build: &Build<'_>) -> Result<Vec<Cell>, BuildError> {
    let project = build.project;
    let (file, text) = GAPS;
    let Gaps { gap: gaps } = toml::from_str(text).map_err(|e| BuildError::toml(file, text, &e))?;
    let indexes = build.indexes()?;
    let toolchain = if project.go.is_empty() { None } else { Some(found(&build.search_path)) };
    let mut broken: BTreeMap<usize, String> = BTreeMap::new();
    for (place, source) in project.go.iter().enumerate() {
        if let Some(Err(why)) = toolchain.as_ref().map(|toolchain| can_compile(source, toolchain)) {
            broken.insert(place, why);
        }
    }
    let mut cells = Vec::new();
    for variant in &project.variants {
        for platform in project.platforms.iter().copied() {
            let Some(indexes) = indexes.get(&platform) else { continue };
            let solver = Solver::for_arch(indexes, platform.alpine());
            let own: Vec<_> = project.programs_for(platform).collect();
            let look = Look { project, variant, platform, solver: &solver, own: &own, gaps: &gaps };
            cells.push(look.cell(&broken));
        }
    }
    Ok(cells)
}

/// Whether the compilers for a source are here. Which Go a source needs it says itself where it is a folder; of others it is
/// what is known of upstream's.
fn can_compile(source: &GoSource, toolchain: &Toolchain) -> Result<(), String> {
    let what = &source.recipe.what;
    let tell = |error: GoError| error.to_string();
    let read = match &source.location {
        Location::Path(path) if path.is_dir() => Some(Source::Folder(path.clone())),
        Location::Path(path) if !path.exists() => {
            return Err(format!("the source of {what} does not exist: {}", path.display()));
        }
        _ => None,
    };
    let facts = read.map(|read| read.facts(what)).transpose().map_err(tell)?;
    let needed = facts.map_or(source.needed.clone(), |facts| facts.needed);
    toolchain.go_for(what, needed.as_ref()).map_err(tell)?;
    if source.recipe.cgo {
        toolchain.zig_for(what).map_err(tell)?;
    }
    Ok(())
}

struct Look<'a> {
    project: &'a Project,
    variant: &'a Variant,
    platform: Platform,
    solver: &'a Solver<'a>,
    own: &'a [&'a OwnProgram],
    gaps: &'a [Gap],
}

impl Look<'_> {
    fn cell(&self, broken: &BTreeMap<usize, String>) -> Cell {
        let (kubernetes, mut problems) = match wishes(self.variant, self.platform, self.solver, self.own) {
            Ok(wishes) => (Some(wishes.version), Vec::new()),
            Err(error) => (None, vec![error.to_string()]),
        };
        let version = kubernetes.clone().or_else(|| self.own.iter().find_map(|own| own.version.clone()));
        let roots: Vec<&Root> = match &version {
            Some(version) => self.variant.roots_for(version),
            None => self.variant.roots.iter().collect(),
        };
        let mut programs = Vec::new();
        let mut sources = BTreeSet::new();
        for root in roots.into_iter().filter(|root| is_program(root)) {
            let mine = self.own.iter().filter(|own| stands_for(own, root) || is_one_of(own, root));
            let mine: Vec<_> = mine.collect();
            sources.extend(mine.iter().filter_map(|own| Some(own.compiled.as_ref()?.source)));
            let program = root.name().rsplit('/').next().unwrap_or_default().to_owned();
            let program = if program == "*" { root.name().to_owned() } else { program };
            let from = mine.first().map(|own| self.source_of(own)).or_else(|| self.package_of(root));
            let why = from.is_none().then(|| self.why(&program, root, version.as_ref()));
            programs.push(Part { program, from, why });
        }
        problems
            .extend(broken.iter().filter(|(place, _)| sources.contains(place)).map(|(_, why)| why.clone()));
        Cell {
            kubernetes: version,
            variant: self.variant.name.clone(),
            platform: self.platform,
            programs,
            problems,
        }
    }

    fn source_of(&self, own: &OwnProgram) -> String {
        match &own.compiled {
            Some(compiled) => format!("{}, compiled", self.project.go[compiled.source].recipe.what),
            None => "a program of one's own".to_owned(),
        }
    }

    fn package_of(&self, root: &Root) -> Option<String> {
        let wish = match (&root.package, &root.locate) {
            (Some(package), _) => package.clone(),
            (None, Locate::Command(command)) => format!("cmd:{command}"),
            (None, Locate::Path(_)) => return None,
        };
        let (_, record) = *self.solver.providers(&wish.parse().ok()?).first()?;
        Some(format!("package {}", record.id()))
    }

    /// Why nothing has it: what upstream is known not to have, or else what the variant says of it.
    fn why(&self, program: &str, root: &Root, version: Option<&KubernetesVersion>) -> String {
        let gap = self.gaps.iter().find(|gap| {
            let reached = match &gap.of {
                // A source that is not compiled here comes as a package, and those are newer.
                Some(_) => true,
                None => version
                    .and_then(|version| Version::parse(version.to_string().trim_start_matches('v')).ok())
                    .is_some_and(|version| version >= gap.since),
            };
            let here = gap.platforms.is_empty() || gap.platforms.contains(&self.platform);
            reached && here && gap.programs.iter().any(|name| name == program)
        });
        let nobody = "nothing has it";
        gap.map_or_else(|| format!("{nobody} ({})", root.reason), |gap| format!("{nobody}; {}", gap.says))
    }
}

/// Whether a root is one of those that decide where an image can be built: programs of Kubernetes, of its runtime's
/// client, and of the network.
fn is_program(root: &Root) -> bool {
    match &root.locate {
        Locate::Command(command) => {
            matches!(
                command.as_str(),
                "kubelet" | "kubeadm" | "kube-proxy" | "crictl" | "conntrack" | "ipset"
            )
        }
        Locate::Path(path) => path.contains("/cni/"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gaps_can_be_read_and_each_names_programs() {
        let gaps: Gaps = toml::from_str(GAPS.1).unwrap();
        assert!(gaps.gap.iter().all(|gap| !gap.programs.is_empty() && !gap.says.is_empty()));
        assert!(gaps.gap.iter().any(|gap| gap.of.as_deref() == Some("cni-plugins")));
    }
}
