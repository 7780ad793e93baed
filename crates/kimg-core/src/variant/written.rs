//! A variant as a person writes it: the TOML of `variants/*.toml`.
//!
//! ```toml
//! name = "cni"
//! description = "kubelet with every CNI plugin"
//! extends = ["plain"]
//! tag-suffix = "cni"
//!
//! [budget]
//! compressed = "41 MB"
//! armv7 = { compressed = "38 MB", extracted = "90 MB" }
//!
//! [[layer]]
//! name = "cni"
//! holds = "CNI plugins"
//!
//! [[root]]
//! path = "/usr/libexec/cni/*"
//! package = "cni-plugins"
//! install = "/opt/cni/bin"
//! layer = "cni"
//! reason = "a CNI plugin"
//! probe = { environment = { CNI_COMMAND = "VERSION" } }
//!
//! [[entrypoint]]
//! before = "1.24"
//! words = ["--network-plugin=cni"]
//! reason = "from 1.24 on the runtime starts the plugins"
//! ```

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Budget, CgroupDriver, Contents, MountKind, Runtime};

/// One file of `variants/`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Variant {
    /// Its name: letters, digits and dashes.
    pub name: String,
    /// One line for people.
    pub description: String,
    /// The variants it takes everything from, in this order, before its own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub extends: Vec<String>,
    /// The image it is a variant of; taken from what it extends when not said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// What its tags carry behind the version.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tag_suffix: Option<String>,
    /// The command whose package's version is the version of Kubernetes; taken from what it extends when not said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version_from: Option<String>,
    /// Minimal closure or whole packages; minimal when not said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub contents: Option<Contents>,
    /// How large it may become; not taken from what it extends.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub budget: Option<Budget>,
    /// Whether it is built only when it is named, and not with all others; not taken from what it extends.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub by_name: bool,
    /// How systemd takes it, where it holds units: taken from what it extends when not said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub portable: Option<Portable>,
    /// Packages wanted beside those that follow from the roots.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub packages: Vec<String>,
    /// The same, if a repository has them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub optional_packages: Vec<String>,
    /// Environment variables of the image.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub environment: BTreeMap<String, String>,
    /// Labels of the image's config.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Its layers, bottom first, above those of what it extends.
    #[serde(default, rename = "layer", skip_serializing_if = "Vec::is_empty")]
    pub layers: Vec<Layer>,
    /// Its programs.
    #[serde(default, rename = "root", skip_serializing_if = "Vec::is_empty")]
    pub roots: Vec<Root>,
    /// How it starts: words behind those of what it extends.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub entrypoint: Vec<Words>,
    /// Files that kimg writes.
    #[serde(default, rename = "file", skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<File>,
    /// Paths of the machine that it works with.
    #[serde(default, rename = "mount", skip_serializing_if = "Vec::is_empty")]
    pub mounts: Vec<Mount>,
    /// Folders that kimg makes where no package has them.
    #[serde(default, rename = "directory", skip_serializing_if = "Vec::is_empty")]
    pub directories: Vec<Directory>,
}

/// `[[layer]]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Layer {
    /// `base`
    pub name: String,
    /// What it holds.
    pub holds: String,
}

/// `[[root]]`: a command or a path, and why.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Root {
    /// A command name. Either this or `path`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
    /// An absolute path, whose last name may hold `*`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Why it is wanted, as half a sentence.
    pub reason: String,
    /// The layer it belongs to.
    pub layer: String,
    /// The package that has it; for a command it follows from the `cmd:` names that packages provide.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub package: Option<String>,
    /// The folder it is put into instead of its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub install: Option<String>,
    /// Whether it runs for long: never packed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub daemon: bool,
    /// Whether it is started often: for each pod, or each minute.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub often: bool,
    /// Whether the image can do without it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub optional: bool,
    /// How to see that it starts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub probe: Option<Probe>,
    /// The first version of Kubernetes that wants it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
    /// The first version that wants it no more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<String>,
    /// Where it is written that it is wanted: an address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
}

/// `probe = { arguments = ["--version"] }`
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Probe {
    /// Arguments of the program.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub arguments: Vec<String>,
    /// Its environment.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub environment: BTreeMap<String, String>,
}

/// `[[entrypoint]]`
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Words {
    /// The first version of Kubernetes with these words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
    /// The first version without them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<String>,
    /// The runtime they are for. The image itself starts without such words: `kimg node` adds them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub runtime: Option<Runtime>,
    /// The words, each one argument.
    pub words: Vec<String>,
    /// Why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Where it is written that they are right for these versions: an address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
}

/// `[portable]`: what makes a portable service (systemd's `portablectl`) of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Portable {
    /// What the names of its units begin with: `PORTABLE_PREFIXES` of os-release(5).
    pub prefixes: Vec<String>,
    /// One line for people: `PORTABLE_PRETTY_NAME` of os-release(5).
    pub description: String,
    /// What its file carries behind the version, where another portable variant has the bare version.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub suffix: Option<String>,
}

/// `[[file]]`
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct File {
    /// The first version of Kubernetes with this file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
    /// The first version without it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<String>,
    /// Where it is written.
    pub path: String,
    /// Its text. `@entrypoint@` in it is what the image starts, in the words of a systemd unit, `@version@` the version
    /// of Kubernetes.
    pub text: String,
    /// Its permission bits in octal; `0644` when not said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<String>,
    /// The layer it belongs to.
    pub layer: String,
    /// Why it is there.
    pub reason: String,
    /// Where it is written that it is right for these versions: an address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// Roots that have to be in the image, by their names: where one is missing, the file is left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub with: Vec<String>,
    /// Further names of it: links that lead to it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub links: Vec<String>,
}

/// `[[mount]]`: a path of the machine, which a container of the image sees under the same name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Mount {
    /// The first version of Kubernetes that wants it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
    /// The first version that wants it no more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<String>,
    /// The runtime with which it is wanted; every one when not said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub runtime: Option<Runtime>,
    /// The cgroup driver with which it is wanted; every one when not said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cgroup_driver: Option<CgroupDriver>,
    /// Where it is. `{storage-driver}` stands for Docker's, `{snapshotter}` for containerd's.
    pub path: String,
    /// What is there; a folder when not said.
    #[serde(default)]
    pub kind: MountKind,
    /// Whether mounts below it are seen on both sides.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub shared: bool,
    /// Whether the container may only read it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub read_only: bool,
    /// Whether it is mounted only where somebody asks for it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub optional: bool,
    /// Why it is wanted.
    pub reason: String,
    /// Where it is written that it is wanted: an address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
}

/// `[[directory]]`
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Directory {
    /// Where it is.
    pub path: String,
    /// The layer it belongs to.
    pub layer: String,
    /// Why it is there.
    pub reason: String,
}
