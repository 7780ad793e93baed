//! `kimg matrix`

mod readme;

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use fs_err as fs;
use kimg_build::BuildError;
use kimg_build::matrix::{self, Depth};
use kimg_report::{Format, Moves, SizeMatrix};

use crate::commands::registry::{Images, RegistryArgs};
use crate::failure::{Failure, classified};
use crate::terminal;

/// The folder in which a build leaves its images.
const OUT: &str = "out";

const EXAMPLES: &str = "\
Examples:
  kimg matrix                                              the images in ./out
  kimg matrix --image oci-archive:a.tar --image docker-archive:b.tar    anybody's
  kimg matrix --since old/README.matrix.json               with what changed since a release
  kimg matrix --parts                                      what each package adds to the pull
  kimg matrix --moves --since old                          what a node pulls that has something already
  kimg matrix --readme README.md --chart docs/sizes.svg    between two markers; --check in CI";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct MatrixArgs {
    /// An OCI layout, of which kimg's images are shown; ./out when neither this nor --image is given
    #[arg(long = "layout", value_name = "DIR")]
    layouts: Vec<PathBuf>,

    /// Anybody's images: oci:PATH[:TAG], oci-archive:PATH[:TAG], docker-archive:PATH[:NAME], docker://REFERENCE; their layers
    /// are read
    #[arg(long = "image", value_name = "IMAGE")]
    images: Vec<String>,

    /// Show what changed since this: a JSON file of an earlier matrix, a layout, or an image as for --image. With
    /// --moves one for each layout, in their order
    #[arg(long, value_name = "EARLIER")]
    since: Vec<String>,

    /// Show for each image what its packages add to the pull, and what the next byte would cost
    #[arg(long, conflicts_with = "readme")]
    parts: bool,

    /// Show what a node pulls: fresh, from plain to another variant, and from one release to the next
    #[arg(long, conflicts_with_all = ["readme", "parts"])]
    moves: bool,

    /// How to print it; svg: the sizes as a picture
    #[arg(long, value_enum, default_value_t = MatrixFormat::Table)]
    format: MatrixFormat,

    /// Replace what stands between `<!-- kimg:matrix:begin -->` and `<!-- kimg:matrix:end -->` in this file, and keep the
    /// sizes of every file in a JSON file beside it: README.matrix.json
    #[arg(long, value_name = "FILE")]
    readme: Option<PathBuf>,

    /// Write the picture into this file too, and show it below the table
    #[arg(long, value_name = "FILE", requires = "readme")]
    chart: Option<PathBuf>,

    /// Where blobs of images in registries are kept between runs
    #[arg(long, value_name = "DIR", env = "KIMG_CACHE_DIR")]
    cache_dir: Option<PathBuf>,

    #[command(flatten)]
    registry: RegistryArgs,

    /// Write nothing: fail when a file is stale, and say what differs
    #[arg(long, requires = "readme")]
    check: bool,
}

/// `--format`
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum MatrixFormat {
    Table,
    Json,
    Markdown,
    Csv,
    Svg,
}

pub(crate) fn run(args: &MatrixArgs) -> Result<ExitCode, Failure> {
    let (width, color) = (terminal::width(), terminal::color_on_stdout());
    let text = match (tabular(args.format), args) {
        (None, MatrixArgs { parts: true, .. } | MatrixArgs { moves: true, .. }) => {
            return Err(Failure::usage("the picture is of the sizes, not of --parts or --moves"));
        }
        (Some(format), MatrixArgs { moves: true, .. }) => {
            Moves::of(&with_earlier(args)?).render(format, width, color)
        }
        (format, _) => {
            // What is kept beside a README has every file; to see whether it is stale, digests are enough.
            let keeps = args.readme.is_some() && !args.check;
            let depth = if args.parts || keeps { Depth::Files } else { Depth::Sizes };
            let mut sizes = matrix::join(read(args, |_| depth)?);
            compare(&mut sizes, args)?;
            if let Some(path) = &args.readme {
                return readme::bring_up_to_date(&sizes, path, args.chart.as_deref(), args.check);
            }
            match format {
                None => sizes.to_svg(),
                Some(format) if args.parts => sizes.parts().render(format, width, color),
                Some(Format::Table) => sizes.to_terminal(width, color),
                Some(format) => sizes.render(format),
            }
        }
    };
    write!(std::io::stdout().lock(), "{text}")?;
    Ok(ExitCode::SUCCESS)
}

/// The format of a table; a picture is none.
fn tabular(format: MatrixFormat) -> Option<Format> {
    match format {
        MatrixFormat::Table => Some(Format::Table),
        MatrixFormat::Json => Some(Format::Json),
        MatrixFormat::Markdown => Some(Format::Markdown),
        MatrixFormat::Csv => Some(Format::Csv),
        MatrixFormat::Svg => None,
    }
}

/// The matrix of each place, in the order in which they are named, layouts first. `depth` is asked for each by its number.
fn read(args: &MatrixArgs, depth: impl Fn(usize) -> Depth) -> Result<Vec<(String, SizeMatrix)>, Failure> {
    let out = [PathBuf::from(OUT)];
    let layouts = if args.layouts.is_empty() && args.images.is_empty() { &out[..] } else { &args.layouts };
    let mut read = Vec::new();
    for layout in layouts {
        read.push((layout.display().to_string(), matrix::of_layout(layout, depth(read.len()))?));
    }
    for image in &args.images {
        read.push((image.clone(), of_images(image, args, depth(read.len()))?));
    }
    Ok(read)
}

/// The matrix of images that a person named, here or in a registry.
fn of_images(typed: &str, args: &MatrixArgs, depth: Depth) -> Result<SizeMatrix, Failure> {
    let images = Images::find(typed, &[], &args.registry.talk(args.cache_dir.as_deref()))?;
    Ok(matrix::of_source(&*matrix::of_place(images.place.clone())?, depth)?)
}

fn compare(sizes: &mut SizeMatrix, args: &MatrixArgs) -> Result<(), Failure> {
    match &args.since[..] {
        [] => Ok(()),
        [since] => {
            sizes.compare(&earlier(since, args)?, since);
            Ok(())
        }
        _ => Err(Failure::usage("sizes are compared with one earlier matrix: give --since once")),
    }
}

/// Each place's matrix, with the matrix of the release before where one is given. Without it, the layers are read.
fn with_earlier(args: &MatrixArgs) -> Result<Vec<(String, SizeMatrix, Option<SizeMatrix>)>, Failure> {
    let depth = |place| if place < args.since.len() { Depth::Sizes } else { Depth::Files };
    let read = read(args, depth)?;
    if args.since.len() > read.len() {
        return Err(Failure::usage("there are more --since than layouts to compare with them"));
    }
    let mut all = Vec::new();
    for (place, (name, sizes)) in read.into_iter().enumerate() {
        let before = args.since.get(place).map(|since| earlier(since, args)).transpose()?;
        all.push((name, sizes, before));
    }
    Ok(all)
}

/// A matrix of another time: a JSON file, or whatever images are read from.
fn earlier(reference: &str, args: &MatrixArgs) -> Result<SizeMatrix, Failure> {
    let path = Path::new(reference);
    if !path.is_file() {
        return of_images(reference, args, Depth::Sizes);
    }
    let readme = args.readme.as_deref();
    let same = |own: PathBuf| {
        own == path || own.canonicalize().ok().is_some_and(|own| path.canonicalize().is_ok_and(|p| p == own))
    };
    if readme.is_some_and(|readme| same(readme::record(readme))) {
        return Err(Failure::usage(format!("{reference} is written anew by this command")).hint(format!(
            "compare with that of the last release: `git show v1:{reference} >/tmp/last.json`, then `--since /tmp/last.json`"
        )));
    }
    SizeMatrix::from_record(reference, &fs::read_to_string(path)?)
        .map_err(|error| classified(&BuildError::from(error)))
}
