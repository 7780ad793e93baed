//! `[[go]]` as a person writes it, and what it means.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use kimg_core::{Digest, ImagePath, KubernetesVersion};
use kimg_go::{Command, Layout, Link, Modules, Recipe};
use kimg_source::Location;
use kimg_source::location::LocationError;
use kimg_source::program::Program;
use semver::Version;
use serde::{Deserialize, Serialize};

use super::preset::Preset;
use super::{Compiled, GoSource, Multicall};
use crate::error::BuildError;
use crate::project::OwnProgram;

/// `[[go]]`
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct GoSettings {
    /// What upstream's source is like: `kubernetes`, `cni-plugins`, `flannel`, `cri-tools`, `containerd`, `runc`. Either
    /// this or `name` and `programs`.
    pub preset: Option<String>,
    /// What the source is called in messages.
    pub name: Option<String>,
    /// The version; `{version}` stands for it in addresses and variables.
    pub version: Option<String>,
    /// A folder, a tar archive, or the address of one. A preset knows upstream's address.
    pub source: Option<String>,
    /// The SHA-256 of the archive, 64 hex digits. An address that no preset knows needs it.
    pub sha256: Option<String>,
    /// `modules` or `gopath`.
    pub(super) layout: Option<LayoutWord>,
    /// The import path of the source, for the layout of a `GOPATH`.
    pub import_path: Option<String>,
    /// Folders with packages that the source does not hold (they have a `src/`), for the layout of a `GOPATH`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gopath: Vec<PathBuf>,
    /// `vendored` or `download`: where modules come from that the source does not hold.
    pub(super) modules: Option<ModulesWord>,
    /// The programs; those of the preset when not said. A preset's may be named alone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub programs: Vec<GoProgramSettings>,
    /// Build tags, instead of the preset's.
    pub tags: Option<Vec<String>>,
    /// Variables that the linker sets, beside the preset's.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub variables: BTreeMap<String, String>,
    /// Whether C parts are compiled too, by zig.
    pub cgo: Option<bool>,
    /// `dynamic` or `static`: how programs with C in them are linked.
    pub(super) link: Option<LinkWord>,
    /// The package whose place the programs take.
    pub replaces: Option<String>,
    /// `true`, or the names of programs: these are built as one program that goes by its name, and are links to it.
    pub(super) multicall: Option<MulticallSettings>,
    /// How long the compiler may take for one platform, in minutes: 60 when not said.
    pub time_limit: Option<u64>,
}

/// A program of a `[[go]]` table: the name of one that the preset knows, or a table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum GoProgramSettings {
    /// One of the preset's.
    Known(String),
    /// One of one's own.
    Own {
        /// What it is called.
        name: String,
        /// Its package in the source: `cmd/kubelet`.
        package: String,
        /// Where it stands in the image.
        install: String,
    },
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub(super) enum MulticallSettings {
    All(bool),
    These(Vec<String>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum LayoutWord {
    Modules,
    Gopath,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum LinkWord {
    Dynamic,
    Static,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum ModulesWord {
    Vendored,
    Download,
}

/// So long a platform's programs may take: Kubernetes' three take a few minutes.
const LIMIT: Duration = Duration::from_secs(60 * 60);

/// What the tables mean: sources, and the programs out of them. `kubernetes` is the version that is asked for as such.
pub(crate) fn resolve(
    tables: &[GoSettings],
    kubernetes: Option<&str>,
    folder: &Path,
) -> Result<(Vec<GoSource>, Vec<OwnProgram>), BuildError> {
    let mut tables = tables.to_vec();
    if let Some(version) = kubernetes {
        let of_kubernetes = |table: &&mut GoSettings| table.preset.as_deref() == Some("kubernetes");
        match tables.iter_mut().find(of_kubernetes) {
            Some(table) => table.version = Some(version.to_owned()),
            None => tables.push(GoSettings {
                preset: Some("kubernetes".into()),
                version: Some(version.to_owned()),
                ..GoSettings::default()
            }),
        }
    }
    let (mut sources, mut programs) = (Vec::new(), Vec::new());
    for table in &tables {
        let (source, own) = one(table, sources.len(), folder)?;
        sources.push(source);
        programs.extend(own);
    }
    Ok((sources, programs))
}

fn one(table: &GoSettings, place: usize, folder: &Path) -> Result<(GoSource, Vec<OwnProgram>), BuildError> {
    let preset = table.preset.as_deref().map(Preset::named).transpose()?;
    let name = table.name.clone().or_else(|| preset.as_ref().map(|preset| preset.name.clone()));
    let name =
        name.ok_or_else(|| BuildError::settings("[[go]]: say a `preset`, or `name` and `programs`"))?;
    let wrong = |why: String| BuildError::settings(format!("[[go]] {name}: {why}"));
    let said = table.version.as_deref().map(|said| said.strip_prefix('v').unwrap_or(said));
    let version = match said {
        Some(said) => Some(
            Version::parse(said).map_err(|_| wrong(format!("version `{said}` is not one like 1.34.2")))?,
        ),
        None if preset.is_some() => return Err(wrong("a preset needs a `version`".into())),
        None => None,
    };
    let put_in = |text: &str| placeholders(text, version.as_ref());

    let sha256 = table
        .sha256
        .as_deref()
        .map(|text| Digest::from_hex(text.strip_prefix("sha256:").unwrap_or(text)))
        .transpose()
        .map_err(|e| wrong(e.to_string()))?;
    let address = match (&table.source, &preset) {
        (Some(said), _) => put_in(said),
        (None, Some(preset)) => put_in(&preset.source),
        (None, None) => return Err(wrong("say where its `source` is".into())),
    };
    let location: Location = address.parse().map_err(|e: LocationError| wrong(e.to_string()))?;
    let location = location.relative_to(folder);
    if location.is_remote() && sha256.is_none() && table.source.is_some() {
        return Err(wrong("an address needs the SHA-256 of its file beside it: sha256 = \"…\"".into()));
    }

    let own = programs_of(table, preset.as_ref(), version.as_ref(), &wrong)?;
    let commands: Vec<Command> = own
        .iter()
        .map(|(name, package, _)| Command { name: name.clone(), package: package.clone() })
        .collect();
    let mut variables = BTreeMap::new();
    for (name, value) in preset.iter().flat_map(|preset| &preset.variables).chain(&table.variables) {
        let value = put_in(value);
        if name.chars().chain(value.chars()).any(|c| c == '\'' || c.is_control()) {
            return Err(wrong(format!(
                "variable `{name}` can't be handed to the linker: it has a quote in it"
            )));
        }
        variables.insert(name.clone(), value);
    }
    let layout = table.layout.or_else(|| Some(preset.as_ref()?.layout_of(version.as_ref()?)));
    let import_path = table.import_path.clone().or_else(|| preset.as_ref()?.import_path.clone());
    let layout = match layout.unwrap_or(LayoutWord::Modules) {
        LayoutWord::Modules if !table.gopath.is_empty() => {
            return Err(wrong("`gopath` is for `layout = \"gopath\"`".into()));
        }
        LayoutWord::Modules => Layout::Modules,
        LayoutWord::Gopath => Layout::Gopath(import_path),
    };
    let link = table.link.or_else(|| preset.as_ref()?.link).unwrap_or(LinkWord::Dynamic);
    let modules = table.modules.or_else(|| preset.as_ref()?.modules).unwrap_or(ModulesWord::Vendored);
    let recipe = Recipe {
        what: version.as_ref().map_or_else(|| name.clone(), |version| format!("{name} v{version}")),
        layout,
        commands: commands.clone(),
        tags: table.tags.clone().or_else(|| Some(preset.as_ref()?.tags.clone())).unwrap_or_default(),
        variables,
        cgo: table.cgo.or_else(|| Some(preset.as_ref()?.cgo)).unwrap_or(false),
        link: match link {
            LinkWord::Dynamic => Link::Dynamic,
            LinkWord::Static => Link::Static,
        },
        modules: match modules {
            ModulesWord::Vendored => Modules::Vendored,
            ModulesWord::Download => Modules::Download,
        },
    };
    let kubernetes = preset.as_ref().filter(|preset| preset.is_kubernetes).and(said);
    let kubernetes: Option<KubernetesVersion> = kubernetes.and_then(|version| version.parse().ok());
    let needed = preset.as_ref().zip(version.as_ref()).and_then(|(preset, version)| preset.need_of(version));
    let replaces = table.replaces.clone().or_else(|| preset.as_ref()?.replaces.clone());
    let mut programs = Vec::new();
    for ((name, _, install), command) in own.into_iter().zip(commands) {
        let path = ImagePath::new(&install).map_err(|e| wrong(e.to_string()))?;
        if path.is_root() || !install.starts_with('/') {
            return Err(wrong(format!("install `{install}` is not the absolute path of a file")));
        }
        programs.push(OwnProgram {
            program: Program { name, location: location.clone(), sha256, member: None, install: path },
            platform: None,
            version: kubernetes.clone(),
            compiled: Some(Compiled { source: place, command, replaces: replaces.clone() }),
        });
    }
    let multicall = multicall_of(table, preset.as_ref(), &programs, &name, &wrong)?;
    let limit = table.time_limit.map_or(LIMIT, |minutes| Duration::from_secs(minutes.saturating_mul(60)));
    let gopath = table.gopath.iter().map(|path| folder.join(path)).collect();
    Ok((GoSource { recipe, location, sha256, gopath, needed, limit, multicall }, programs))
}

/// Name, package and place of each program.
fn programs_of(
    table: &GoSettings,
    preset: Option<&Preset>,
    version: Option<&Version>,
    wrong: &dyn Fn(String) -> BuildError,
) -> Result<Vec<(String, String, String)>, BuildError> {
    let known: Vec<_> = preset.zip(version).into_iter().flat_map(|(p, v)| p.programs_of(v)).collect();
    let mut all = Vec::new();
    for program in &table.programs {
        all.push(match program {
            GoProgramSettings::Own { name, package, install } => {
                (name.clone(), package.trim_start_matches("./").to_owned(), install.clone())
            }
            GoProgramSettings::Known(name) => {
                let program = known.iter().find(|program| program.name == *name).ok_or_else(|| {
                    let names: Vec<_> = known.iter().map(|program| program.name.as_str()).collect();
                    wrong(format!("it has no program `{name}`; the preset knows {}", names.join(", ")))
                })?;
                (program.name.clone(), program.package.clone(), program.install.clone())
            }
        });
    }
    if all.is_empty() {
        let usual = known.iter().filter(|program| !program.on_demand);
        all.extend(usual.map(|p| (p.name.clone(), p.package.clone(), p.install.clone())));
    }
    if all.is_empty() {
        return Err(wrong("it has no `programs`".into()));
    }
    for (place, (name, package, _)) in all.iter().enumerate() {
        let plain = |part: &str| !part.is_empty() && part != ".." && !part.starts_with('-');
        let is_package = package == "." || (!package.starts_with('/') && package.split('/').all(plain));
        let is_name = plain(name) && name != "." && !name.contains('/');
        if !is_package || !is_name {
            return Err(wrong(format!("`{package}` is no package in it, or `{name}` no name of a program")));
        }
        if all[..place].iter().any(|(other, _, _)| other == name) {
            return Err(wrong(format!("program `{name}` stands there twice")));
        }
    }
    Ok(all)
}

/// Which of the programs are to be one, and where that stands.
fn multicall_of(
    table: &GoSettings,
    preset: Option<&Preset>,
    programs: &[OwnProgram],
    source: &str,
    wrong: &dyn Fn(String) -> BuildError,
) -> Result<Option<Multicall>, BuildError> {
    let named: Option<&[String]> = match &table.multicall {
        None | Some(MulticallSettings::All(false)) => return Ok(None),
        Some(MulticallSettings::All(true)) => None,
        Some(MulticallSettings::These(names)) => Some(names),
    };
    let is_program = |name: &&String| programs.iter().any(|own| own.program.name == **name);
    if let Some(unknown) = named.into_iter().flatten().find(|name| !is_program(name)) {
        return Err(wrong(format!("multicall names `{unknown}`, which is none of its programs")));
    }
    let members = programs.iter().filter(|own| named.is_none_or(|names| names.contains(&own.program.name)));
    let members: Vec<&OwnProgram> = members.collect();
    let [first, _, ..] = &members[..] else {
        return Err(wrong("multicall makes one program of several, and this is one".into()));
    };
    // It stands beside the first of them, under the name of the source.
    let mut name = source.replace(|c: char| !c.is_ascii_alphanumeric() && !"-._".contains(c), "-");
    if programs.iter().any(|own| own.program.name == name) {
        name.push_str("-multicall");
    }
    let folder = first.program.install.parent().unwrap_or_else(ImagePath::root);
    let install = folder.join(&name).map_err(|e| wrong(e.to_string()))?;
    let commands = members.iter().filter_map(|own| Some(own.compiled.as_ref()?.command.clone())).collect();
    let refused = preset.and_then(|preset| preset.no_multicall.clone());
    Ok(Some(Multicall { name, install, commands, refused }))
}

fn placeholders(text: &str, version: Option<&Version>) -> String {
    let Some(version) = version else { return text.to_owned() };
    text.replace("{version}", &version.to_string())
        .replace("{major}", &version.major.to_string())
        .replace("{minor}", &version.minor.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(toml: &str) -> Result<(Vec<GoSource>, Vec<OwnProgram>), BuildError> {
        let settings = crate::Settings::parse("kimg.toml", toml).unwrap();
        resolve(&settings.go, settings.kubernetes.as_deref(), Path::new("/project"))
    }

    #[test]
    fn a_version_of_kubernetes_is_all_that_has_to_be_said() {
        let (sources, programs) = read("kubernetes = '1.34.2'").unwrap();
        assert_eq!(sources[0].location.to_string(), "https://dl.k8s.io/v1.34.2/kubernetes-src.tar.gz");
        assert_eq!((&sources[0].recipe.layout, sources[0].recipe.cgo), (&Layout::Modules, true));
        assert_eq!(sources[0].recipe.variables["k8s.io/component-base/version.gitMinor"], "34");
        let names: Vec<_> = programs.iter().map(|own| own.program.name.as_str()).collect();
        assert_eq!(names, ["kubelet", "kubeadm", "kube-proxy"]);
        assert!(programs.iter().all(|own| own.version == Some("1.34.2".parse().unwrap())));
    }

    #[test]
    fn a_version_that_is_asked_for_wins_over_the_tables_and_the_rest_of_it_stays() {
        let toml = "kubernetes = '1.20.2'\n[[go]]\npreset = 'kubernetes'\nversion = '1.34.2'\nsource = 'k8s.tar.gz'\nprograms = ['kubelet']";
        let (sources, programs) = read(toml).unwrap();
        assert_eq!((sources.len(), programs.len()), (1, 1));
        assert_eq!(sources[0].recipe.what, "kubernetes v1.20.2");
        assert_eq!(sources[0].location, Location::Path("/project/k8s.tar.gz".into()));
        assert_eq!(sources[0].recipe.layout, Layout::Gopath(Some("k8s.io/kubernetes".into())));
    }

    #[test]
    fn all_programs_are_one_or_those_that_are_named_and_a_preset_may_know_that_they_can_not() {
        let one = |toml: &str| read(&format!("[[go]]\n{toml}")).unwrap().0.remove(0).multicall;
        let kubernetes = "preset = 'kubernetes'\nversion = '1.34.2'\nmulticall = ";
        let all = one(&format!("{kubernetes}true")).unwrap();
        assert_eq!((all.install.as_str(), all.commands.len(), all.refused), ("/usr/bin/kubernetes", 3, None));
        let two = one(&format!("{kubernetes}['kube-proxy', 'kubelet']")).unwrap();
        let names: Vec<_> = two.commands.iter().map(|command| command.name.as_str()).collect();
        // In the source's order, so that the order of the words makes no other program.
        assert_eq!(names, ["kubelet", "kube-proxy"]);
        assert_eq!(one(&format!("{kubernetes}false")), None);
        let containerd = one("preset = 'containerd'\nversion = '2.1.0'\nmulticall = true").unwrap();
        assert!(containerd.refused.unwrap().contains("starts itself again"));
    }

    #[test]
    fn what_can_not_be_meant_is_refused_with_its_name() {
        for (toml, said) in [
            ("version = '1.0.0'", "say a `preset`"),
            ("preset = 'etcd'", "no preset `etcd`"),
            ("preset = 'runc'", "needs a `version`"),
            ("preset = 'runc'\nversion = 'newest'", "`newest` is not one"),
            ("preset = 'runc'\nversion = '1.2.0'\nsource = 'https://a/b.tar.gz'", "needs the SHA-256"),
            ("preset = 'cni-plugins'\nversion = '1.1.1'\nprograms = ['tap']", "no program `tap`"),
            ("preset = 'cni-plugins'\nversion = '1.1.1'\nmulticall = ['tap']", "names `tap`, which is none"),
            ("preset = 'runc'\nversion = '1.2.0'\nmulticall = true", "of several, and this is one"),
            ("name = 'x'\nsource = 'x'", "no `programs`"),
            (
                "name = 'x'\nsource = 'x'\ngopath = ['y']\nprograms = [{ name = 'x', package = '.', install = '/x' }]",
                "`gopath` is for",
            ),
            (
                "name = 'x'\nsource = 'x'\nprograms = [{ name = 'x', package = '../y', install = '/x' }]",
                "no package",
            ),
            (
                "name = 'x'\nsource = 'x'\nprograms = [{ name = 'x', package = '.', install = 'x' }]",
                "absolute path",
            ),
            (
                "name = 'x'\nsource = 'x'\nvariables = { a = \"it's\" }\nprograms = [{ name = 'x', package = '.', install = '/x' }]",
                "quote",
            ),
        ] {
            let error = read(&format!("[[go]]\n{toml}")).unwrap_err().to_string();
            assert!(error.contains(said), "{toml}: {error}");
        }
    }
}
