//! `kimg diff A B`

mod contents;
mod pairs;

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use kimg_apk::Version;
use kimg_build::existing::ReadError;
use kimg_core::{ErrorClass, ImagePath, Platform};
use kimg_layer::Node;
use kimg_report::{DiffReport, ImageDiff};

use self::contents::LayerReader;
use crate::commands::registry::{Images, RegistryArgs};
use crate::failure::{Failure, classified};
use crate::terminal;

/// The exit code for images that differ, when it is asked for: as diff(1) has it.
const DIFFERENT: u8 = 1;

const EXAMPLES: &str = "\
Examples:
  kimg diff oci:old oci:out                                       every image that both layouts have
  kimg diff oci:old:kubelet:v1.20.2 oci:out:kubelet:v1.20.3 --arch armv7
  kimg diff oci-archive:before.tar oci:out --format markdown      for a pull request
  kimg diff docker://ghcr.io/acme/kubelet:v1.20.2 oci:out:kubelet:v1.20.2    with what is published";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct DiffArgs {
    /// The first: oci:PATH[:TAG], oci-archive:PATH[:TAG], docker-archive:PATH[:NAME], docker://REFERENCE, or the folder of
    /// a layout
    #[arg(value_name = "A")]
    a: String,

    /// The second
    #[arg(value_name = "B")]
    b: String,

    /// An architecture: amd64, arm64, armv7; all that both have when not given
    #[arg(long = "arch", value_name = "ARCH")]
    architectures: Vec<Platform>,

    /// The same in one list: linux/amd64,linux/arm/v7
    #[arg(long = "platform", value_name = "PLATFORMS", value_delimiter = ',')]
    platforms: Vec<Platform>,

    /// Where blobs of images in registries are kept between runs
    #[arg(long, value_name = "DIR", env = "KIMG_CACHE_DIR")]
    cache_dir: Option<PathBuf>,

    #[command(flatten)]
    registry: RegistryArgs,

    /// How to print the differences
    #[arg(long, value_enum, default_value_t = DiffFormat::Table)]
    format: DiffFormat,

    /// End with 1 when anything differs
    #[arg(long)]
    exit_code: bool,
}

/// `--format`
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum DiffFormat {
    Table,
    Json,
    Markdown,
}

pub(crate) fn run(args: &DiffArgs) -> Result<ExitCode, Failure> {
    let wanted: Vec<Platform> = args.architectures.iter().chain(&args.platforms).copied().collect();
    let talk = args.registry.talk(args.cache_dir.as_deref());
    let (images_a, images_b) =
        (Images::find(&args.a, &wanted, &talk)?, Images::find(&args.b, &wanted, &talk)?);
    let (place_a, place_b) = (&images_a.place, &images_b.place);
    let pairs = pairs::pair(place_a, place_b, &wanted)?;
    let mut reader = LayerReader::default();
    let mut images = Vec::new();
    for pair in pairs.both {
        let (a, nodes_a) = reader.contents(place_a, &pair.a)?;
        let (b, nodes_b) = reader.contents(place_b, &pair.b)?;
        same_nodes(&pair.name, &nodes_a, &nodes_b)?;
        images.push(ImageDiff::between(pair.name, pair.platform, &a, &b, order));
    }
    let report = DiffReport {
        a: args.a.clone(),
        b: args.b.clone(),
        images,
        only_in_a: pairs.only_in_a,
        only_in_b: pairs.only_in_b,
    };
    let text = match args.format {
        DiffFormat::Table => report.to_terminal(terminal::list_width().min(160), terminal::color_on_stdout()),
        DiffFormat::Json => report.to_json(),
        DiffFormat::Markdown => report.to_markdown(),
    };
    write!(std::io::stdout().lock(), "{text}")?;
    let different = args.exit_code && !report.is_equal();
    Ok(if different { ExitCode::from(DIFFERENT) } else { ExitCode::SUCCESS })
}

/// Refuses to call images equal that differ in what is in no list of files.
fn same_nodes(
    image: &str,
    a: &BTreeMap<ImagePath, Node>,
    b: &BTreeMap<ImagePath, Node>,
) -> Result<(), Failure> {
    let mut paths = a.keys().chain(b.keys());
    let Some(path) = paths.find(|path| a.get(*path) != b.get(*path)) else { return Ok(()) };
    let kind = a.get(path).or(b.get(path)).map_or_else(String::new, |node| node.kind.to_string());
    Err(Failure::new(
        ErrorClass::Malformed,
        format!("`{image}` can't be compared: `{path}` is a {kind} that differs between the two"),
    ))
}

impl From<ReadError> for Failure {
    fn from(error: ReadError) -> Self {
        classified(&error)
    }
}

/// Which of two versions is the later one; of what apk would not take for versions, neither.
fn order(a: &str, b: &str) -> std::cmp::Ordering {
    match (a.parse::<Version>(), b.parse::<Version>()) {
        (Ok(a), Ok(b)) => a.cmp(&b),
        _ => a.cmp(b),
    }
}
