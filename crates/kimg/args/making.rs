//! What decides what images are made of and where they go: the arguments of `kimg build` and its like.

use std::path::PathBuf;

use clap::Args;

use super::{Selection, TextOrJson, key_value};
use crate::commands::registry::{PushingArgs, RegistryArgs, SharedCacheArgs, SignArgs, StatementArgs};

#[derive(Debug, Args)]
pub(crate) struct AimArgs {
    /// UPX for programs that are not daemons: auto, require or never
    #[arg(long, value_name = "WHEN")]
    pub(crate) pack: Option<String>,

    /// What is to be small: pull (what is fetched), disk (what lies on the node), or balanced, which is the default
    #[arg(long, value_name = "WHAT")]
    pub(crate) optimize: Option<String>,

    /// How images are cut: shared (by concern, so that images share layers; the default) or single
    #[arg(long, value_name = "CUT")]
    pub(crate) layers: Option<String>,

    /// gzip or zstd; for every layer also with a level and a window: zstd:19:window=64MiB
    #[arg(long, value_name = "CODEC")]
    pub(crate) compression: Option<String>,

    /// The level of compression of every layer: 1 to 12 (gzip) or 22 (zstd), or max
    #[arg(long, value_name = "LEVEL")]
    pub(crate) level: Option<String>,

    /// How far zstd looks back in every layer: 8MiB to 128MiB. A node needs about this memory to unpack it
    #[arg(long, value_name = "SIZE")]
    pub(crate) window: Option<String>,
}

/// What images are called, and say of themselves.
#[derive(Debug, Args)]
pub(crate) struct ImageArgs {
    /// A further tag of every variant: `latest` names plain, and gives `latest-cni` and so on for the others
    #[arg(short, long = "tag", value_name = "TAG")]
    pub(crate) tags: Vec<String>,

    /// A label of every image
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = key_value)]
    pub(crate) labels: Vec<(String, String)>,

    /// An annotation of every manifest and index
    #[arg(long = "annotation", value_name = "KEY=VALUE", value_parser = key_value)]
    pub(crate) annotations: Vec<(String, String)>,
}

#[derive(Debug, Args)]
pub(crate) struct BuildArgs {
    #[command(flatten)]
    pub(crate) selection: Selection,

    /// Where to write: type=oci|oci-archive|docker-archive,dest=PATH (- is standard output),
    /// type=registry,dest=REPOSITORY, or a file for each image: type=rootfs-tar|erofs|portable,dest=PATH;
    /// ./out when not given
    #[arg(short, long = "output", value_name = "OUTPUT")]
    pub(crate) outputs: Vec<String>,

    #[command(flatten)]
    pub(crate) aims: AimArgs,

    #[command(flatten)]
    pub(crate) images: ImageArgs,

    /// Push the images too, to this repository or the one in kimg.toml; nothing is written here unless -o says so
    #[arg(long, value_name = "REPOSITORY", num_args = 0..=1, require_equals = true, default_missing_value = "")]
    pub(crate) push: Option<String>,

    #[command(flatten)]
    pub(crate) pushing: PushingArgs,

    #[command(flatten)]
    pub(crate) statements: StatementArgs,

    #[command(flatten)]
    pub(crate) sign: SignArgs,

    #[command(flatten)]
    pub(crate) shared: SharedCacheArgs,

    #[command(flatten)]
    pub(crate) registry: RegistryArgs,

    /// How to print the report on standard output
    #[arg(long, value_enum, default_value_t = TextOrJson::Table)]
    pub(crate) format: TextOrJson,

    /// Print only `name:tag@digest` lines
    #[arg(short, long)]
    pub(crate) quiet: bool,

    /// Write the names and digests of the built indexes into this file, as JSON
    #[arg(long, value_name = "FILE")]
    pub(crate) metadata_file: Option<PathBuf>,
}
