//! `kimg slim IMAGE|DIR --root PROGRAM…`

mod text;

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use kimg_build::project::Output;
use kimg_build::slim::{Slim, SlimError};
use kimg_closure::Rules;
use kimg_core::Platform;
use kimg_layer::Codec;
use kimg_source::Cache;

use crate::args::TextOrJson;
use crate::commands::registry::{Images, RegistryArgs};
use crate::commands::setting::{cache_folder, epoch};
use crate::failure::{Failure, classified};
use crate::terminal;

const EXAMPLES: &str = "\
Examples:
  kimg slim oci:web:1.0 -o type=oci,dest=small                  what its entrypoint and command need
  kimg slim docker-archive:app.tar --root /usr/bin/app --keep /etc/ssl/certs -o type=docker-archive,dest=small.tar
  kimg slim rootfs --root ls --root bash -o type=oci-archive,dest=tools.tar
The config stays as it is. Only what files say is known: look at what the answer calls unknown, and try the image.";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct SlimArgs {
    /// What is made smaller: oci:PATH[:TAG], oci-archive:PATH[:TAG], docker-archive:PATH[:NAME], docker://REFERENCE, or
    /// a folder: of a layout, or of an unpacked root file system
    #[arg(value_name = "IMAGE|DIR")]
    input: String,

    /// A program to keep, by its path in the image or its name; the image's entrypoint and command when not given
    #[arg(long = "root", value_name = "PROGRAM")]
    programs: Vec<String>,

    /// A path or pattern to keep beside them, with what that needs; a folder with all that is in it
    #[arg(long, value_name = "PATH")]
    keep: Vec<String>,

    /// An architecture: amd64, arm64, armv7; all of the image's when not given
    #[arg(long = "arch", value_name = "ARCH")]
    architectures: Vec<Platform>,

    /// The same in one list: linux/amd64,linux/arm/v7
    #[arg(long = "platform", value_name = "PLATFORMS", value_delimiter = ',')]
    platforms: Vec<Platform>,

    /// Make it although something is missing in it, as it was before
    #[arg(long)]
    allow_unresolved: bool,

    /// Only what headers and first lines say: no plugins and data that programs open by themselves
    #[arg(long)]
    no_rules: bool,

    /// Where to write: type=oci|oci-archive|docker-archive,dest=PATH (- is standard output)
    #[arg(short, long = "output", value_name = "OUTPUT", required = true)]
    outputs: Vec<Output>,

    /// Its name: acme/app:1.0-slim; that of the image when not given
    #[arg(short, long = "tag", value_name = "NAME:TAG")]
    tags: Vec<String>,

    /// gzip or zstd, with a level if wanted: zstd:19
    #[arg(long, value_name = "CODEC", default_value = "gzip")]
    compression: Codec,

    /// Where there is room for what is unpacked meanwhile, and where blobs that a registry had stay
    #[arg(long, value_name = "DIR", env = "KIMG_CACHE_DIR")]
    cache_dir: Option<PathBuf>,

    #[command(flatten)]
    registry: RegistryArgs,

    /// How to print what stays, what went and what could not be known
    #[arg(long, value_enum, default_value_t = TextOrJson::Table)]
    format: TextOrJson,

    /// Print only `name:tag@digest` lines
    #[arg(short, long)]
    quiet: bool,
}

pub(crate) fn run(args: &SlimArgs) -> Result<ExitCode, Failure> {
    let platforms: Vec<Platform> = args.architectures.iter().chain(&args.platforms).copied().collect();
    let talk = args.registry.talk(args.cache_dir.as_deref());
    let (input, _fetched) = Images::find_input(&args.input, &platforms, &talk)?;
    let cache = Cache::open(&cache_folder(args.cache_dir.as_deref())?)?;
    let slim = Slim {
        input,
        programs: args.programs.clone(),
        keep: args.keep.clone(),
        platforms,
        tags: args.tags.clone(),
        outputs: args.outputs.clone(),
        codec: args.compression,
        rules: if args.no_rules { Rules::none() } else { Rules::builtin() },
        allow_unresolved: args.allow_unresolved,
        epoch: epoch()?,
    };
    let report = slim.run(&cache.scratch())?;
    // An archive on standard output leaves no room for a report.
    if args.outputs.iter().any(|output| output.destination.as_os_str() == "-") {
        return Ok(ExitCode::SUCCESS);
    }
    let mut out = std::io::stdout().lock();
    if args.quiet {
        for tag in &report.tags {
            writeln!(out, "{tag}@{}", report.digest)?;
        }
    } else if args.format == TextOrJson::Json {
        writeln!(out, "{}", serde_json::to_string_pretty(&report).map_err(std::io::Error::from)?)?;
    } else {
        write!(out, "{}", text::report(&report, terminal::width(), terminal::color_on_stdout()))?;
    }
    Ok(ExitCode::SUCCESS)
}

impl From<SlimError> for Failure {
    fn from(error: SlimError) -> Self {
        classified(&error)
    }
}
