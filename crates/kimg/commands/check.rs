//! `kimg check`: whether the files that programs load fit together, as their own loader would find at the start.

mod found;
mod look;
mod text;

pub(crate) use found::Checked;
pub(crate) use look::at_images;
pub(crate) use text::list;

use std::io::Write as _;
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use kimg_build::existing::Input;
use kimg_core::{ErrorClass, ImagePath};

use crate::args::Selection;
use crate::commands::registry::{DOCKER, Fetched, RegistryArgs};
use crate::commands::setting::cache_folder;
use crate::failure::Failure;

const EXAMPLES: &str = "\
Examples:
  kimg check                                                every image that would be built
  kimg check --variant cni --arch armv7 --format json
  kimg check --root rootfs /usr/bin/kubelet /sbin/iptables  an unpacked root, of any architecture
  kimg check --root docker-archive:app.tar                  every program of an image, musl's or glibc's";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct CheckArgs {
    /// With `--root`: the programs to look at, as paths inside it; every ELF program when not given
    #[arg(value_name = "PROGRAM", requires = "root")]
    programs: Vec<ImagePath>,

    /// What exists already, and no variant: the folder of an unpacked root file system, or an image:
    /// oci:PATH[:TAG], oci-archive:PATH[:TAG], docker-archive:PATH[:NAME], docker://REFERENCE, the folder of a layout
    #[arg(long, value_name = "DIR|IMAGE")]
    root: Option<String>,

    #[command(flatten)]
    selection: Selection,

    #[command(flatten)]
    registry: RegistryArgs,

    /// How to print what is found
    #[arg(long, value_enum, default_value_t = CheckFormat::Table)]
    format: CheckFormat,
}

/// `--format` of `kimg check`
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum CheckFormat {
    Table,
    Json,
    Markdown,
}

pub(crate) fn run(args: &CheckArgs) -> Result<ExitCode, Failure> {
    let cache = || cache_folder(args.selection.cache_dir.as_deref());
    let platforms = look::wanted(&args.selection);
    let checked = match args.root.as_deref() {
        None => look::at_variants(&args.selection)?,
        Some(typed) if typed.starts_with(DOCKER) => {
            let fetched = Fetched::pull(typed, &platforms, &args.selection.talk(&args.registry))?;
            at_images(&fetched.place, &platforms, &args.programs, &cache()?)?
        }
        Some(typed) => match typed.parse()? {
            Input::Folder(folder) => vec![look::at_folder(&folder, args)?],
            Input::Image(place) => at_images(&place, &platforms, &args.programs, &cache()?)?,
        },
    };
    let text = match args.format {
        CheckFormat::Table => text::list(&checked),
        CheckFormat::Markdown => text::markdown(&checked),
        CheckFormat::Json => serde_json::to_string_pretty(&checked).map_err(std::io::Error::from)? + "\n",
    };
    write!(std::io::stdout().lock(), "{text}")?;
    if checked.iter().all(|one| !one.is_broken()) {
        return Ok(ExitCode::SUCCESS);
    }
    Err(Failure::new(ErrorClass::Unresolvable, "a program does not start, or does not load what it needs")
        .hint("a library that does not fit is of another version or build: `kimg why PATH` says where it is from"))
}
