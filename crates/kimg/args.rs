//! Arguments as typed.

#![expect(clippy::doc_markdown, reason = "these are the words of `--help`, not of a page")]

mod making;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use kimg_core::{ImagePath, Platform};

use crate::commands::audit::AuditArgs;
use crate::commands::cache::CacheArgs;
use crate::commands::check::CheckArgs;
use crate::commands::copy::CopyArgs;
use crate::commands::diff::DiffArgs;
use crate::commands::doctor::DoctorArgs;
use crate::commands::index::IndexArgs;
use crate::commands::inspect::InspectArgs;
use crate::commands::keys::KeyArgs;
use crate::commands::login::{LoginArgs, LogoutArgs};
use crate::commands::matrix::MatrixArgs;
use crate::commands::needs::NeedsArgs;
use crate::commands::node::NodeArgs;
use crate::commands::outdated::OutdatedArgs;
use crate::commands::preflight::PreflightArgs;
use crate::commands::publish::PublishArgs;
use crate::commands::pull::PullArgs;
use crate::commands::push::PushArgs;
use crate::commands::registry::{RegistryArgs, TalkArgs};
use crate::commands::slim::SlimArgs;
use crate::commands::tune::TuneArgs;
use crate::commands::vendor::VendorArgs;
use crate::commands::verify::VerifyArgs;
use crate::commands::versions::VersionsArgs;

pub(crate) use making::{AimArgs, BuildArgs, ImageArgs};

/// Small, reproducible, multi-arch images of Kubernetes node software, out of signed Alpine packages.
#[derive(Debug, Parser)]
#[command(name = "kimg", version, propagate_version = true, max_term_width = 100)]
pub(crate) struct Arguments {
    /// Say more about what happens; twice: everything
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,

    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Build images and write them to an OCI layout
    #[command(after_help = BUILD_EXAMPLES)]
    Build(Box<BuildArgs>),
    /// Say why a file is in an image, or why it is not
    Why(Box<WhyArgs>),
    /// List the files of an image with size, package, layer and reason
    Files(Box<FilesArgs>),
    /// Show what a program, library or script needs, and what of it is nowhere
    Needs(NeedsArgs),
    /// Show what differs between two images or layouts: files, and the packages that explain them
    Diff(DiffArgs),
    /// Make any image or root folder smaller: only what the named programs need stays
    Slim(Box<SlimArgs>),
    /// List the programs that kubelet, kubeadm, kube-proxy and CNI plugins can start, and which the image has
    Audit(Box<AuditArgs>),
    /// Check that all that programs load fits together, symbol by symbol, as their loader would find at the start
    Check(Box<CheckArgs>),
    /// Print the size matrix of images, what is behind each size, and what a node pulls to go from one to another
    Matrix(MatrixArgs),
    /// List the variants that can be built
    Variants(VariantsArgs),
    /// Print what brings a node up with an image: commands, units, manifests, and the reason of each word
    Node(Box<NodeArgs>),
    /// Pin every input in kimg.lock
    Lock(Box<LockArgs>),
    /// Measure how programs are packed and layers compressed best, and pin it in the lock
    Tune(Box<TuneArgs>),
    /// Show of which locked packages there are newer ones, and how Kubernetes stands to upstream
    Outdated(Box<OutdatedArgs>),
    /// Show the versions of Kubernetes that upstream looks after, beside those that are published
    Versions(VersionsArgs),
    /// Show which images can be built, from where their programs come, and what is missing and why; nothing is built
    Preflight(Box<PreflightArgs>),
    /// Show which outside programs are here, which are missing, and how to get them
    Doctor(DoctorArgs),
    /// Copy every locked input into a folder, to build from it when mirrors have dropped the versions
    Vendor(Box<VendorArgs>),
    /// Show or clear the folder that keeps what was fetched and built
    Cache(CacheArgs),
    /// Write a commented kimg.toml
    Init(InitArgs),
    /// Build images and push them to a registry: all of them, or none that anybody sees
    Publish(Box<PublishArgs>),
    /// Push what is in a layout or archive, with every platform
    Push(PushArgs),
    /// Pull an image into a layout or archive, verified, for all platforms or some
    Pull(PullArgs),
    /// Copy an image from one repository to another, with every platform
    Copy(CopyArgs),
    /// Join images that were pushed by digest, one for each platform, into one index with its tags
    Index(IndexArgs),
    /// Verify an image from its index to the last file: sizes, digests, platforms, and that its programs start
    Verify(Box<VerifyArgs>),
    /// Show what an image is: platforms, layers, sizes, annotations, and what refers to it
    Inspect(InspectArgs),
    /// Make a key to sign images with, and the one to verify them with, as cosign has them
    GenerateKeyPair(KeyArgs),
    /// Keep credentials for a registry
    Login(LoginArgs),
    /// Forget them
    Logout(LogoutArgs),
}

const BUILD_EXAMPLES: &str = "\
Examples:
  kimg build --sample --variant cni --arch armv7      without any network, to see how it works
  kimg build --variant cni --arch armv7               from Alpine's mirror
  kimg build                                          every variant and architecture
  kimg build -r repo -k keys -o type=oci,dest=images  from a folder of packages
  kimg build --push=ghcr.io/acme/kubelet -t latest    and to a registry: as `kimg publish` does";

/// Which images are meant, and what they are made of.
#[derive(Debug, Clone, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own")]
pub(crate) struct Selection {
    /// A variant, as `kimg variants` lists them; all when not given
    #[arg(long = "variant", value_name = "NAME")]
    pub(crate) variants: Vec<String>,

    /// An architecture: amd64, arm64, armv7 (also x86_64, aarch64, arm/v7); these three when not given
    #[arg(long = "arch", value_name = "ARCH")]
    pub(crate) architectures: Vec<Platform>,

    /// The same in one list: linux/amd64,linux/arm/v7
    #[arg(long = "platform", value_name = "PLATFORMS", value_delimiter = ',')]
    pub(crate) platforms: Vec<Platform>,

    /// Build from the embedded sample: no network, and no Kubernetes either
    #[arg(long)]
    pub(crate) sample: bool,

    /// An Alpine repository: main, community or testing of the mirrors; a folder, file://, http:// or https:// address
    /// above the architectures' folders; or a folder that `kimg vendor` wrote. Main and community when not given
    #[arg(short, long = "repository", value_name = "ADDRESS")]
    pub(crate) repositories: Vec<String>,

    /// A mirror of Alpine, above the branches' folders; the next one is asked where one fails
    #[arg(long = "mirror", value_name = "ADDRESS")]
    pub(crate) mirrors: Vec<String>,

    /// Public keys to trust: a folder or a file, `alpine` for Alpine's own; only Alpine's own when not given
    #[arg(short, long = "keys", value_name = "PATH")]
    pub(crate) keys: Vec<PathBuf>,

    /// What to do about an index that is older than one that the lock or the cache has seen; refuse when not given
    #[arg(long, value_enum, value_name = "WHAT")]
    pub(crate) rolled_back: Option<RolledBackArg>,

    /// The Alpine branch to take packages from, and that tags name: 3.22, edge; the newest stable one when not given
    #[arg(long, value_name = "BRANCH")]
    pub(crate) alpine: Option<String>,

    /// The version of Kubernetes to compile for the images, instead of the one that the packages have; `build` and
    /// `preflight` take several: 1.34.2,1.33.6
    #[arg(long, value_name = "VERSIONS", value_delimiter = ',')]
    pub(crate) kubernetes: Vec<String>,

    /// Which files of the packages: what the programs need, or everything
    #[arg(long, value_enum)]
    pub(crate) contents: Option<ContentsArg>,

    /// The settings file; kimg.toml in this folder when it is there
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,

    /// The lock file; kimg.lock beside the settings file when not given
    #[arg(long, value_name = "FILE")]
    pub(crate) lock: Option<PathBuf>,

    /// Refuse to build anything but what the lock says
    #[arg(long)]
    pub(crate) locked: bool,

    /// Fetch nothing: what is needed has to be in the cache
    #[arg(long)]
    pub(crate) offline: bool,

    /// Fail when something optional is missing
    #[arg(long)]
    pub(crate) strict: bool,

    /// Where fetched and built pieces are kept between runs
    #[arg(long, value_name = "DIR", env = "KIMG_CACHE_DIR")]
    pub(crate) cache_dir: Option<PathBuf>,

    /// How many threads to use; the machine's processors when not given
    #[arg(long, value_name = "N")]
    pub(crate) threads: Option<usize>,

    /// How often a file is asked for before giving up
    #[arg(long, value_name = "N", default_value_t = 3)]
    pub(crate) retry_times: u32,

    /// How to show what happens, on standard error
    #[arg(long, value_enum, default_value_t = ProgressMode::Auto)]
    pub(crate) progress: ProgressMode,
}

impl Selection {
    /// The same once for each version of Kubernetes that is asked for.
    pub(crate) fn each_version(&self) -> Vec<Self> {
        if self.kubernetes.len() < 2 {
            return vec![self.clone()];
        }
        self.kubernetes.iter().map(|one| Self { kubernetes: vec![one.clone()], ..self.clone() }).collect()
    }

    /// How registries are talked to by a command that also builds.
    pub(crate) fn talk(&self, registry: &RegistryArgs) -> TalkArgs {
        TalkArgs {
            registry: registry.clone(),
            retry_times: self.retry_times,
            cache_dir: self.cache_dir.clone(),
            progress: self.progress,
            quiet: false,
        }
    }
}

/// `--contents`
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ContentsArg {
    Minimal,
    Packages,
}

/// `--rolled-back`
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum RolledBackArg {
    /// It is an error
    Refuse,
    /// It is said, and used
    Warn,
}

/// `--progress`
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ProgressMode {
    /// Bars on a terminal, lines elsewhere
    Auto,
    /// Lines
    Plain,
    /// Bars
    Tty,
    /// One JSON object a line
    Json,
    /// Nothing
    Quiet,
}

/// `--format` of tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    Table,
    Json,
    Markdown,
    Csv,
}

impl From<Format> for kimg_report::Format {
    fn from(format: Format) -> Self {
        match format {
            Format::Table => Self::Table,
            Format::Json => Self::Json,
            Format::Markdown => Self::Markdown,
            Format::Csv => Self::Csv,
        }
    }
}

/// `--format` of what is no table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum TextOrJson {
    Table,
    Json,
}

/// What is to be small, and how.
#[derive(Debug, Args)]
pub(crate) struct WhyArgs {
    /// A path in the image
    pub(crate) path: ImagePath,

    /// Say why the path is not in the image: which package has it or could have it, and what would bring it in
    #[arg(long)]
    pub(crate) not: bool,

    #[command(flatten)]
    pub(crate) selection: Selection,

    /// How to print the answer
    #[arg(long, value_enum, default_value_t = TextOrJson::Table)]
    pub(crate) format: TextOrJson,
}

#[derive(Debug, Args)]
pub(crate) struct FilesArgs {
    #[command(flatten)]
    pub(crate) selection: Selection,

    /// As a tree, with sums: by folder, or by reason, from each root to what it brought along
    #[arg(long, value_enum, value_name = "BY", num_args = 0..=1, require_equals = true, default_missing_value = "folders")]
    pub(crate) tree: Option<TreeBy>,

    /// How many levels of the tree are shown
    #[arg(long, value_name = "N", requires = "tree")]
    pub(crate) depth: Option<usize>,

    /// Show each file of the tree, also where many like ones lie beside each other
    #[arg(long, requires = "tree")]
    pub(crate) every_file: bool,

    /// How to print the list
    #[arg(long, value_enum, default_value_t = Format::Table)]
    pub(crate) format: Format,
}

/// `--tree`
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum TreeBy {
    /// As they lie in folders
    Folders,
    /// As one led to the other
    Reasons,
}

#[derive(Debug, Args)]
pub(crate) struct VariantsArgs {
    /// The settings file; kimg.toml in this folder when it is there
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,

    /// How to print the list
    #[arg(long, value_enum, default_value_t = Format::Table)]
    pub(crate) format: Format,
}

#[derive(Debug, Args)]
pub(crate) struct LockArgs {
    #[command(flatten)]
    pub(crate) selection: Selection,

    /// Take the newest versions, not the locked ones; of these packages only, where some are named
    #[arg(long, value_name = "PACKAGE", num_args = 0..)]
    pub(crate) update: Option<Vec<String>>,

    /// Write nothing: show what would change
    #[arg(long)]
    pub(crate) dry_run: bool,

    /// How to print what changes
    #[arg(long, value_enum, default_value_t = Format::Table)]
    pub(crate) format: Format,
}

#[derive(Debug, Args)]
pub(crate) struct InitArgs {
    /// The folder of the project
    #[arg(default_value = ".")]
    pub(crate) folder: PathBuf,

    /// Write the variants that are compiled in into `variants/` too, to edit them
    #[arg(long)]
    pub(crate) variants: bool,
}

pub(crate) fn key_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("write it as key=value".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_arguments_are_well_formed() {
        <Arguments as clap::CommandFactory>::command().debug_assert();
    }

    #[test]
    fn the_sentence_to_keep_true_is_understood() {
        let typed = ["kimg", "build", "--variant", "cni", "--arch", "armv7"];
        let Command::Build(args) = Arguments::try_parse_from(typed).unwrap().command else {
            panic!("not a build")
        };
        assert_eq!(args.selection.architectures, [Platform::ArmV7]);
    }
}
