//! What will be built: settings and flags together, checked once, with nothing left open.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use kimg_closure::Rules;
use kimg_core::variant::{self, Contents, Root};
use kimg_core::{Digest, ImagePath, KubernetesVersion, Platform, Variant};
use kimg_registry::{NameError, Tag};
use kimg_source::location::LocationError;
use kimg_source::program::Program;
use kimg_source::{Location, vendor};

use crate::aims::{Aims, Cut, Objective};
use crate::error::BuildError;
use crate::golang::{self, Compiled, GoSource};
use crate::output;
use crate::publish::Destination;
use crate::rules;
use crate::settings::{ProgramSettings, RolledBackPolicy, Settings};
use crate::sources::{self, Packages, branch};
use crate::statements::StatementWishes;
use crate::variants::Variants;

pub use crate::output::{Output, OutputForm};

/// Settings as flags say them; each that is said wins over `kimg.toml`.
#[derive(Debug, Clone, Default)]
pub struct Overrides {
    /// `--variant`
    pub variants: Vec<String>,
    /// `--arch`, `--platform`
    pub platforms: Vec<Platform>,
    /// `--repository`
    pub repositories: Vec<String>,
    /// `--mirror`
    pub mirrors: Vec<String>,
    /// `--keys`
    pub keys: Vec<PathBuf>,
    /// `--sample`
    pub sample: bool,
    /// `--kubernetes`
    pub kubernetes: Option<String>,
    /// `--alpine`
    pub alpine: Option<String>,
    /// `--rolled-back`
    pub rolled_back: Option<RolledBackPolicy>,
    /// `--contents`
    pub contents: Option<Contents>,
    /// `--pack`
    pub pack: Option<String>,
    /// `--optimize`
    pub optimize: Option<String>,
    /// `--layers`
    pub layers: Option<String>,
    /// `--compression`
    pub compression: Option<String>,
    /// `--level`
    pub level: Option<String>,
    /// `--window`
    pub window: Option<String>,
    /// `--output`
    pub outputs: Vec<String>,
    /// `--tag`
    pub tags: Vec<String>,
    /// `--strict`
    pub strict: bool,
    /// `--label`
    pub labels: BTreeMap<String, String>,
    /// `--annotation`
    pub annotations: BTreeMap<String, String>,
}

/// A program of one's own, for one platform or all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnProgram {
    /// Where it is and where it goes.
    pub program: Program,
    /// `None`: every platform.
    pub platform: Option<Platform>,
    /// Its version, if it is said.
    pub version: Option<KubernetesVersion>,
    /// How it is compiled, if it is: its location is then that of the source.
    pub compiled: Option<Compiled>,
}

/// Everything that decides what is built.
#[derive(Debug, Clone)]
pub struct Project {
    /// The variants, in order.
    pub variants: Vec<Variant>,
    /// The platforms, in order.
    pub platforms: Vec<Platform>,
    /// Where packages come from.
    pub packages: Packages,
    /// Programs of one's own.
    pub programs: Vec<OwnProgram>,
    /// The sources of those of them that are compiled.
    pub go: Vec<GoSource>,
    /// The roots of every variant that can be named, chosen or not: a program of one's own that stands for one
    /// of them goes only where that root is wanted.
    pub known_roots: Vec<Root>,
    /// What comes with programs, and what they start, though no ELF header says so.
    pub rules: Rules,
    /// The Alpine branch that tags name, if it was said.
    pub alpine: Option<String>,
    /// What is done about an index that is older than one seen before.
    pub rolled_back: RolledBackPolicy,
    /// Whether programs are packed.
    pub pack: kimg_pack::Mode,
    /// What is to be small, and how layers are cut and compressed for that.
    pub aims: Aims,
    /// Where images are written.
    pub outputs: Vec<Output>,
    /// Further tags, before the suffix of the variant.
    pub tags: Vec<String>,
    /// Where images are published, if it was said.
    pub publish: Option<Destination>,
    /// The last size matrix, which a build over its budget is compared with. It need not be there.
    pub last_matrix: PathBuf,
    /// Whether what is optional has to be there.
    pub strict: bool,
    /// Further labels.
    pub labels: BTreeMap<String, String>,
    /// Annotations of manifests and indexes.
    pub annotations: BTreeMap<String, String>,
    /// What is to be said about the images beside them. Nothing, where nobody asks.
    pub statements: StatementWishes,
}

impl OwnProgram {
    /// The package that it is instead of, if it is compiled for that.
    pub(crate) fn replaces(&self) -> Option<&str> {
        self.compiled.as_ref()?.replaces.as_deref()
    }
}

impl Project {
    /// Puts settings and flags together. `folder` is where relative paths of the settings start;
    /// those of flags start where the program was started.
    pub fn new(settings: &Settings, folder: &Path, flags: &Overrides) -> Result<Self, BuildError> {
        let known = Self::known_variants(settings, folder)?;
        let outputs = output::choose(settings, folder, flags)?;
        let variants = Self::choose_variants(settings, &known, flags, &outputs)?;
        let mut known_roots = Vec::new();
        for name in &known.order {
            known_roots.extend(variant::resolve(name, &known.written)?.roots);
        }
        let platforms = Self::choose_platforms(settings, flags)?;
        output::check(&outputs, &variants, &platforms)?;
        let pack = flags.pack.as_deref().or(settings.pack.as_deref()).unwrap_or("auto");
        let pack = match pack {
            "auto" => kimg_pack::Mode::Auto,
            "require" => kimg_pack::Mode::Require,
            "never" => kimg_pack::Mode::Never,
            other => {
                return Err(BuildError::settings(format!(
                    "pack `{other}` is not one of auto, require and never"
                )));
            }
        };
        let said = |flag: &Option<String>, setting: &Option<String>| flag.clone().or_else(|| setting.clone());
        let mut aims = Aims {
            objective: said(&flags.optimize, &settings.optimize)
                .map_or(Ok(Objective::default()), |t| t.parse())?,
            cut: said(&flags.layers, &settings.layers).map_or(Ok(Cut::default()), |t| t.parse())?,
            ..Aims::default()
        };
        let compression = said(&flags.compression, &settings.compression).unwrap_or_else(|| "gzip".into());
        aims.set_compression(&compression, flags.level.as_deref(), flags.window.as_deref())?;
        let mut programs = Vec::new();
        for program in &settings.programs {
            programs.push(own_program(program, folder)?);
        }
        let kubernetes = flags.kubernetes.as_deref().or(settings.kubernetes.as_deref());
        let (go, compiled) = golang::resolve(&settings.go, kubernetes, folder)?;
        programs.extend(compiled);
        let mut labels = settings.labels.clone();
        labels.extend(flags.labels.clone());
        let mut annotations = settings.annotations.clone();
        annotations.extend(flags.annotations.clone());
        Ok(Self {
            variants,
            platforms,
            packages: sources::choose(settings, folder, flags)?,
            programs,
            go,
            known_roots,
            rules: rules::known(settings.rule_folder.as_ref().map(|own| folder.join(own)).as_deref())?,
            alpine: branch(settings, flags),
            rolled_back: flags.rolled_back.or(settings.rolled_back).unwrap_or_default(),
            pack,
            aims,
            outputs,
            tags: further_tags(settings, flags)?,
            publish: settings.publish.as_deref().map(destination).transpose()?,
            last_matrix: folder.join(settings.matrix.as_deref().unwrap_or(Path::new("README.matrix.json"))),
            strict: flags.strict || settings.strict.unwrap_or(false),
            labels,
            annotations,
            statements: StatementWishes::default(),
        })
    }

    /// Every variant that can be named: those compiled in and the project's own.
    pub fn known_variants(settings: &Settings, folder: &Path) -> Result<Variants, BuildError> {
        let mut known = Variants::built_in()?;
        if let Some(own) = &settings.variant_folder {
            known.add_folder(&folder.join(own))?;
        }
        Ok(known)
    }

    fn choose_variants(
        settings: &Settings,
        known: &Variants,
        flags: &Overrides,
        outputs: &[Output],
    ) -> Result<Vec<Variant>, BuildError> {
        let portable = !outputs.is_empty() && outputs.iter().all(Output::is_portable);
        let names = match (&flags.variants[..], &settings.variants) {
            ([], None) if portable => vec![output::PORTABLE.to_owned()],
            ([], None) => known.unnamed(),
            ([], Some(named)) => named.clone(),
            (named, _) => named.to_vec(),
        };
        let contents = flags.contents.or(settings.contents);
        // A misspelt name would be a budget for nothing.
        if let Some(name) = settings.budget.keys().find(|name| !known.written.contains_key(*name)) {
            return Err(BuildError::settings_hint(
                format!("[budget.{name}]: there is no variant `{name}`"),
                format!("the variants are {}", known.order.join(", ")),
            ));
        }
        let mut variants: Vec<Variant> = Vec::new();
        for name in names {
            if variants.iter().any(|v| v.name == name) {
                continue;
            }
            let mut variant = variant::resolve(&name, &known.written)?;
            variant.contents = contents.unwrap_or(variant.contents);
            variant.budget = settings.budget.get(&name).cloned().unwrap_or(variant.budget);
            variants.push(variant);
        }
        if variants.is_empty() {
            return Err(BuildError::settings("`variants` is empty: there is nothing to build"));
        }
        Ok(variants)
    }

    /// The platforms that a project has when no flag says which.
    pub fn known_platforms(settings: &Settings) -> Result<Vec<Platform>, BuildError> {
        let Some(named) = &settings.architectures else { return Ok(Platform::DEFAULT.to_vec()) };
        let parsed: Result<Vec<Platform>, _> = named.iter().map(|name| name.parse()).collect();
        parsed.map_err(|e: kimg_core::PlatformError| BuildError::settings(e.to_string()))
    }

    fn choose_platforms(settings: &Settings, flags: &Overrides) -> Result<Vec<Platform>, BuildError> {
        let mut platforms = flags.platforms.clone();
        if platforms.is_empty() {
            platforms = Self::known_platforms(settings)?;
        }
        platforms.sort();
        platforms.dedup();
        if platforms.is_empty() {
            return Err(BuildError::settings("`architectures` is empty: there is nothing to build"));
        }
        Ok(platforms)
    }

    /// A program of one's own, from a vendored folder if its own place is not here and one has it. `locked` is what the
    /// lock says of its file.
    pub(crate) fn vendored(&self, program: &Program, locked: Option<Digest>) -> Program {
        let here = matches!(&program.location, Location::Path(path) if path.is_file());
        let (Some(sha256), false) = (program.sha256.or(locked), here) else { return program.clone() };
        let folders = match &self.packages {
            Packages::Repositories { vendored, .. } => &vendored[..],
            Packages::Sample => &[],
        };
        match folders.iter().find_map(|folder| vendor::program(folder, sha256)) {
            Some(path) => Program { location: Location::Path(path), sha256: Some(sha256), ..program.clone() },
            None => program.clone(),
        }
    }

    /// Whether everything comes from the sample.
    pub fn is_sample(&self) -> bool {
        self.packages == Packages::Sample
    }

    /// The programs of one's own for a platform.
    pub fn programs_for(&self, platform: Platform) -> impl Iterator<Item = &OwnProgram> {
        self.programs.iter().filter(move |p| p.platform.is_none_or(|only| only == platform))
    }
}

fn further_tags(settings: &Settings, flags: &Overrides) -> Result<Vec<String>, BuildError> {
    let mut tags = settings.tags.clone().unwrap_or_default();
    tags.extend(flags.tags.iter().cloned());
    let mut known = BTreeSet::new();
    tags.retain(|tag| known.insert(tag.clone()));
    for tag in &tags {
        tag.parse::<Tag>().map_err(|error| {
            BuildError::settings_hint(error.to_string(), "a tag stands alone here: latest, and no repository")
        })?;
    }
    Ok(tags)
}

fn destination(typed: &str) -> Result<Destination, BuildError> {
    typed.parse().map_err(|error: NameError| BuildError::settings(format!("publish: {error}")))
}

fn own_program(written: &ProgramSettings, folder: &Path) -> Result<OwnProgram, BuildError> {
    let name = &written.name;
    let wrong = |why: String| BuildError::settings(format!("[[program]] {name}: {why}"));
    let sha256 = written
        .sha256
        .as_deref()
        .map(|text| Digest::from_hex(text.strip_prefix("sha256:").unwrap_or(text)))
        .transpose()
        .map_err(|e| wrong(e.to_string()))?;
    let location = match (&written.path, &written.url) {
        (Some(path), None) => Location::Path(folder.join(path)),
        (None, Some(url)) => {
            let location: Location = url.parse().map_err(|e: LocationError| wrong(e.to_string()))?;
            if location.is_remote() && sha256.is_none() {
                return Err(wrong(
                    "an address needs the SHA-256 of its file beside it: sha256 = \"…\"".into(),
                ));
            }
            location
        }
        _ => return Err(wrong("say either `path` or `url`".into())),
    };
    let install = ImagePath::new(&written.install).map_err(|e| wrong(e.to_string()))?;
    if install.is_root() || !written.install.starts_with('/') {
        return Err(wrong(format!("install `{}` is not the absolute path of a file", written.install)));
    }
    let platform = written.platform.as_deref().map(str::parse).transpose();
    let platform = platform.map_err(|e: kimg_core::PlatformError| wrong(e.to_string()))?;
    let version = written.version.as_deref().map(str::parse).transpose();
    let version = version.map_err(|e: kimg_core::KubernetesVersionError| wrong(e.to_string()))?;
    let program = Program { name: name.clone(), location, sha256, member: written.member.clone(), install };
    Ok(OwnProgram { program, platform, version, compiled: None })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn project(toml: &str, flags: &Overrides) -> Result<Project, BuildError> {
        Project::new(&Settings::parse("kimg.toml", toml).unwrap(), Path::new("/project"), flags)
    }

    #[test]
    fn nothing_said_is_everything() {
        let all = project("", &Overrides::default()).unwrap();
        assert_eq!((all.variants.len(), all.platforms.len()), (6, 3));
        assert!(!all.is_sample());
    }

    #[test]
    fn a_flag_wins_over_the_file_and_paths_of_the_file_start_at_it() {
        let toml = "variants = ['plain']\noutput = ['o']\nrolled-back = 'warn'";
        let flags = Overrides { variants: vec!["cni".into()], ..Overrides::default() };
        let project = project(toml, &flags).unwrap();
        assert_eq!(project.variants[0].name, "cni");
        assert_eq!(project.outputs[0].destination, Path::new("/project/o"));
        assert_eq!(project.rolled_back, RolledBackPolicy::Warn);
    }

    #[test]
    fn what_can_not_be_meant_is_refused_with_its_name() {
        for (toml, said) in [
            ("pack = 'best'", "pack `best`"),
            ("compression = 'xz'", "xz"),
            ("optimize = 'speed'", "optimize `speed` is not one of pull, disk, balanced"),
            ("layers = 'few'", "layers `few`"),
            ("output = ['type=iso,dest=x']", "output type `iso`"),
            ("output = ['type=oci-archive']", "has no dest"),
            ("architectures = ['riscv64']", "riscv64"),
            ("variants = []", "nothing to build"),
            ("[[program]]\nname = 'x'\nurl = 'https://a/b'\ninstall = '/x'", "needs the SHA-256"),
            ("[[program]]\nname = 'x'\npath = 'b'\ninstall = '../x'", "`..`"),
        ] {
            let error = project(toml, &Overrides::default()).unwrap_err().to_string();
            assert!(error.contains(said), "{toml}: {error}");
        }
    }
}
