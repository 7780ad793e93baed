//! From the roots of a variant to what the solver is asked for: a root is a command or a path, and packages
//! follow from it.

use kimg_apk::{Dependency, Solver};
use kimg_core::variant::{COMMAND_PATH, Locate, Root};
use kimg_core::{KubernetesVersion, Platform, Variant};

use crate::error::BuildError;
use crate::project::OwnProgram;

/// Something optional that nothing has.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Missing {
    /// The command, path or package.
    pub what: String,
    /// Why the variant would have it.
    pub reason: String,
}

/// What one image asks the solver for.
#[derive(Debug, Clone)]
pub struct Wishes {
    /// The version of Kubernetes.
    pub version: KubernetesVersion,
    /// Names and packages, sorted.
    pub world: Vec<Dependency>,
    /// The roots that something provides, in order.
    pub roots: Vec<Root>,
    /// What is optional and nobody provides.
    pub missing: Vec<Missing>,
}

/// Asks which packages and programs provide what a variant wants.
pub fn wishes(
    variant: &Variant,
    platform: Platform,
    solver: &Solver<'_>,
    programs: &[&OwnProgram],
) -> Result<Wishes, BuildError> {
    let version = kubernetes_version(variant, platform, solver, programs)?;
    let mut world = Vec::new();
    let mut roots = Vec::new();
    let mut missing = Vec::new();
    let provided = |wish: &Dependency| !solver.providers(wish).is_empty();
    for root in variant.roots_for(&version) {
        if programs.iter().any(|p| stands_for(p, root)) {
            roots.push(root.clone());
            continue;
        }
        // The package that these are instead of: the rest of it would be another version's.
        if programs.iter().any(|p| is_one_of(p, root) && p.replaces() == root.package.as_deref()) {
            roots.push(root.clone());
            continue;
        }
        let wish = match (&root.package, &root.locate) {
            (Some(package), _) => dependency(variant, package)?,
            (None, Locate::Command(command)) => dependency(variant, &format!("cmd:{command}"))?,
            // A path without a package comes with the packages of other roots.
            (None, Locate::Path(_)) => {
                roots.push(root.clone());
                continue;
            }
        };
        if provided(&wish) {
            world.push(wish);
            roots.push(root.clone());
        } else if root.optional {
            missing.push(Missing { what: root.name().to_owned(), reason: root.reason.clone() });
        } else {
            return Err(BuildError::NoProvider {
                root: root.name().to_owned(),
                variant: variant.name.clone(),
                platform,
                reason: root.reason.clone(),
                hint: format!(
                    "no package of these repositories provides `{wish}`: is `community` among them?"
                ),
            });
        }
    }
    for package in &variant.packages {
        let wish = dependency(variant, &package.wish)?;
        if provided(&wish) || !package.optional {
            world.push(wish);
        } else {
            missing.push(Missing { what: package.wish.clone(), reason: "an optional package".into() });
        }
    }
    world.sort_by_key(ToString::to_string);
    world.dedup();
    Ok(Wishes { version, world, roots, missing })
}

fn dependency(variant: &Variant, text: &str) -> Result<Dependency, BuildError> {
    text.parse().map_err(|e| BuildError::settings(format!("variant {}: package `{text}`: {e}", variant.name)))
}

/// Whether a program of one's own is what a root asks for.
pub fn stands_for(own: &OwnProgram, root: &Root) -> bool {
    let install = &own.program.install;
    let name = install.file_name().unwrap_or_default();
    match &root.locate {
        Locate::Command(command) => {
            let folder = install.parent().map(|p| p.to_string()).unwrap_or_default();
            name == command
                && (COMMAND_PATH.contains(&folder.as_str())
                    || root.install.as_ref().is_some_and(|i| i.as_str() == folder))
        }
        Locate::Path(path) if path == install.as_str() => true,
        Locate::Path(path) => {
            let wanted = path.rsplit('/').next().unwrap_or_default();
            wanted == name
                && root.install.as_ref().is_some_and(|folder| install.parent().as_ref() == Some(folder))
        }
    }
}

/// Whether a program of one's own is one of those that a root with a `*` in its path asks for.
pub(crate) fn is_one_of(own: &OwnProgram, root: &Root) -> bool {
    let Locate::Path(pattern) = &root.locate else { return false };
    let (folder, pattern) = pattern.rsplit_once('/').unwrap_or(("", pattern));
    let install = &own.program.install;
    let parent = install.parent();
    let is_there = parent.as_ref().is_some_and(|p| root.install.as_ref() == Some(p) || p.as_str() == folder);
    let Some(name) = install.file_name().filter(|_| is_there && pattern.contains('*')) else { return false };
    globset::Glob::new(pattern).is_ok_and(|glob| glob.compile_matcher().is_match(name))
}

fn kubernetes_version(
    variant: &Variant,
    platform: Platform,
    solver: &Solver<'_>,
    programs: &[&OwnProgram],
) -> Result<KubernetesVersion, BuildError> {
    let command = &variant.version_from;
    let no_version =
        |why: String| BuildError::NoVersion { variant: variant.name.clone(), from: command.clone(), why };
    let missing = || BuildError::NoProvider {
        root: command.clone(),
        variant: variant.name.clone(),
        platform,
        reason: "it decides the version of the image".into(),
        hint: format!(
            "no package of these repositories for {} provides `cmd:{command}`: is `community` among them?",
            platform.alpine()
        ),
    };
    let own = programs.iter().find(|p| p.program.install.file_name() == Some(command));
    if let Some(own) = own {
        return own
            .version
            .clone()
            .ok_or_else(|| no_version("the program of one's own has no `version`".into()));
    }
    let wish = dependency(variant, &format!("cmd:{command}"))?;
    let providers = solver.providers(&wish);
    let Some((_, record)) = providers.first() else { return Err(missing()) };
    KubernetesVersion::from_package_version(&record.version.to_string())
        .map_err(|e| no_version(e.to_string()))
}
