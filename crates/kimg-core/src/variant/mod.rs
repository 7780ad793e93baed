//! Variants: what an image is wanted to hold, as data.
//!
//! A variant is written as a TOML file ([`written::Variant`]) and [resolved](resolve) against the
//! variants it extends into a [`Variant`], in which nothing is optional that can't be missing.
//! Only the resolved one travels further.

mod budget;
mod node;
mod resolve;
pub mod written;

use std::collections::BTreeMap;

use serde::Serialize;

use crate::{ImagePath, KubernetesVersion};

pub use budget::{Budget, ByteSize, ByteSizeError, SizeLimits};
pub use node::{CgroupDriver, MountKind, MountRule, NodeChoiceError, Runtime};
pub use resolve::{VariantError, resolve};

/// What one image holds and how it starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Variant {
    /// `kubeadm-cni`
    pub name: String,
    /// One line for people.
    pub description: String,
    /// The image it is a variant of, and so the repository it belongs to: `kubelet`, `kube-proxy`.
    pub image: String,
    /// What its tags carry behind the version: `cni`, or nothing.
    pub tag_suffix: Option<String>,
    /// The command whose package's version is the version of Kubernetes.
    pub version_from: String,
    /// The programs it is made for, in the order of their layers.
    pub roots: Vec<Root>,
    /// Packages wanted beside those that follow from the roots, in apk's words (`name`, `name>=1`).
    pub packages: Vec<WantedPackage>,
    /// The names of its layers, bottom first.
    pub layers: Vec<Layer>,
    /// Whether it is built only when it is named.
    pub by_name: bool,
    /// How it starts.
    pub entrypoint: Vec<ArgumentRule>,
    /// Environment variables of the image.
    pub environment: BTreeMap<String, String>,
    /// Labels of the image's config.
    pub labels: BTreeMap<String, String>,
    /// Files that kimg writes into it.
    pub files: Vec<FileRule>,
    /// Paths of the machine that it works with.
    pub mounts: Vec<MountRule>,
    /// Folders that kimg makes in it.
    pub directories: Vec<DirectoryRule>,
    /// How systemd takes it as a portable service, if it is one.
    pub portable: Option<Portable>,
    /// Minimal closure, or whole packages.
    pub contents: Contents,
    /// How large it may become. Empty if it has no budget; that of what it extends is not its own.
    pub budget: Budget,
}

/// A layer of an image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Layer {
    /// `base`
    pub name: String,
    /// What it holds, for the image's history.
    pub holds: String,
}

/// A package that a variant names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct WantedPackage {
    /// In apk's words.
    pub wish: String,
    /// Whether the image can do without it.
    pub optional: bool,
}

/// Where a root is found.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Locate {
    /// A command name, searched as a shell would in [`COMMAND_PATH`].
    Command(String),
    /// A path, whose last name may hold `*`.
    Path(String),
}

/// The folders in which command names are searched, in order: the `PATH` that images carry.
pub const COMMAND_PATH: [&str; 6] =
    ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];

/// A program or file that an image is made for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Root {
    /// Where it is found.
    pub locate: Locate,
    /// Why it is wanted, as half a sentence: "mounts volumes".
    pub reason: String,
    /// The layer it belongs to, by name.
    pub layer: String,
    /// Whether it runs for long: such a program is never packed.
    pub daemon: bool,
    /// Whether it is started often, each pod or each minute: then the time that a packed program takes counts.
    pub often: bool,
    /// Whether the image can do without it.
    pub optional: bool,
    /// The package that has it, where the command name alone does not lead there.
    pub package: Option<String>,
    /// The folder it is put into instead of its own.
    pub install: Option<ImagePath>,
    /// How to see that it starts. Without one a program is never packed.
    pub probe: Option<Probe>,
    /// The versions of Kubernetes that want it.
    pub range: VersionRange,
    /// Where it is written that it is wanted.
    pub source: Option<String>,
}

impl Root {
    /// What a person calls it: the command or the path.
    pub fn name(&self) -> &str {
        match &self.locate {
            Locate::Command(name) | Locate::Path(name) => name,
        }
    }
}

/// How to start a program harmlessly, to see that it answers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize)]
pub struct Probe {
    /// Its arguments.
    pub arguments: Vec<String>,
    /// Its environment, beside an empty one.
    pub environment: BTreeMap<String, String>,
}

/// From which version of Kubernetes on, and until before which, something holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct VersionRange {
    /// The first version, if there is a first.
    pub since: Option<KubernetesVersion>,
    /// The first version in which it holds no more.
    pub before: Option<KubernetesVersion>,
}

impl VersionRange {
    /// Whether it holds for this version.
    pub fn holds(&self, version: &KubernetesVersion) -> bool {
        self.since.as_ref().is_none_or(|since| version >= since)
            && self.before.as_ref().is_none_or(|before| version < before)
    }
}

/// Words of the entrypoint, for a range of versions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArgumentRule {
    /// When they are there.
    pub range: VersionRange,
    /// The runtime they are for; the image starts with those for no runtime in particular.
    pub runtime: Option<Runtime>,
    /// The words.
    pub words: Vec<String>,
    /// Why, where it is not plain.
    pub reason: Option<String>,
    /// Where it is written that they are right for these versions.
    pub source: Option<String>,
}

/// A file that kimg writes, for a range of versions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileRule {
    /// When it is there.
    pub range: VersionRange,
    /// Where.
    pub path: ImagePath,
    /// Its text.
    pub text: String,
    /// Its permission bits.
    pub mode: u32,
    /// The layer it belongs to, by name.
    pub layer: String,
    /// Why it is there.
    pub reason: String,
    /// Where it is written that it is right for these versions.
    pub source: Option<String>,
    /// The names of roots without which it is left out.
    pub with: Vec<String>,
    /// Links that lead to it.
    pub links: Vec<ImagePath>,
}

/// A folder, root's and 0755, where no package has one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirectoryRule {
    /// Where.
    pub path: ImagePath,
    /// The layer it belongs to, by name.
    pub layer: String,
    /// Why it is there.
    pub reason: String,
}

/// What makes a portable service of a variant: see [`written::Portable`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Portable {
    /// What the names of its units begin with. At least one, and one of them fits the image's name.
    pub prefixes: Vec<String>,
    /// One line for people.
    pub description: String,
    /// What its file carries behind the version.
    pub suffix: Option<String>,
}

impl Portable {
    /// Whether a unit, or the name of an image up to its first `_`, is taken: it is a prefix, or goes on behind one with
    /// `-`, `.` or `@`, as systemd compares them (`src/portable/portable.c`, `prefix_match`).
    pub fn takes(&self, name: &str) -> bool {
        self.prefixes.iter().any(|prefix| {
            let rest = name.strip_prefix(prefix.as_str());
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['-', '.', '@']))
        })
    }
}

/// Which files of the packages an image takes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Contents {
    /// What the roots need, and no more.
    #[default]
    Minimal,
    /// Every file of every package.
    Packages,
}

impl Variant {
    /// The roots that a version of Kubernetes wants.
    pub fn roots_for(&self, version: &KubernetesVersion) -> Vec<&Root> {
        self.roots.iter().filter(|r| r.range.holds(version)).collect()
    }

    /// The entrypoint of the image for a version of Kubernetes.
    pub fn entrypoint_for(&self, version: &KubernetesVersion) -> Vec<String> {
        self.words_for(version, None)
    }

    /// The words that a node adds to the entrypoint for the runtime that it has.
    pub fn arguments_for(&self, version: &KubernetesVersion, runtime: Runtime) -> Vec<String> {
        self.words_for(version, Some(runtime))
    }

    fn words_for(&self, version: &KubernetesVersion, runtime: Option<Runtime>) -> Vec<String> {
        let rules = self.entrypoint.iter().filter(|r| r.runtime == runtime && r.range.holds(version));
        rules.flat_map(|r| r.words.iter().cloned()).collect()
    }

    /// The files that kimg writes for a version of Kubernetes; of two for one path the later rule counts.
    pub fn files_for(&self, version: &KubernetesVersion) -> BTreeMap<&ImagePath, &FileRule> {
        self.files.iter().filter(|r| r.range.holds(version)).map(|r| (&r.path, r)).collect()
    }
}
