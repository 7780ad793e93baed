//! `kimg needs FILE`

mod graph;
mod opened;

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use kimg_closure::{MemoryFacts, Problem, Request, Root, Rules, needs, platform_of};
use kimg_core::{Classified as _, ErrorClass, ImagePath, Platform};

use self::graph::Drawn;
use self::opened::Opened;
use crate::commands::registry::RegistryArgs;
use crate::failure::{Failure, classified};
use crate::terminal;

/// The exit code when a need is met by nothing.
const UNRESOLVED: u8 = 1;

const EXAMPLES: &str = "\
Examples:
  kimg needs /bin/ls                                            on this machine
  kimg needs --root rootfs /usr/sbin/iptables                   inside an unpacked root, of any architecture
  kimg needs --root oci:web:1.0 /usr/bin/nginx                  inside an image
  kimg needs --root rootfs /usr/bin/kubelet --format svg > kubelet.svg";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct NeedsArgs {
    /// A program, library or script: a path inside the root where one is given, else a file of this machine
    file: PathBuf,

    /// The folder of an unpacked root file system, or an image: oci:PATH[:TAG], oci-archive:PATH[:TAG],
    /// docker-archive:PATH[:NAME], docker://REFERENCE, the folder of a layout
    #[arg(long, value_name = "DIR|IMAGE")]
    root: Option<String>,

    /// Where there is room for what is unpacked of an image meanwhile, and where blobs that a registry had stay
    #[arg(long, value_name = "DIR", env = "KIMG_CACHE_DIR")]
    cache_dir: Option<PathBuf>,

    #[command(flatten)]
    registry: RegistryArgs,

    /// What the root runs on; what the file is for when not given; of an image for several platforms, which of them
    #[arg(long = "arch", value_name = "ARCH")]
    architecture: Option<Platform>,

    /// Folders that the loader searches first, as `LD_LIBRARY_PATH` has them
    #[arg(long, value_name = "DIRS", value_delimiter = ':')]
    library_path: Vec<ImagePath>,

    /// Only what headers and first lines say: no plugins and data that programs open by themselves
    #[arg(long)]
    no_rules: bool,

    /// How to print what is needed
    #[arg(long, value_enum, default_value_t = GraphFormat::Table)]
    format: GraphFormat,
}

/// `--format` of a graph.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum GraphFormat {
    /// A tree
    Table,
    /// Nodes and edges, for programs
    Json,
    /// Graphviz
    Dot,
    /// A picture
    Svg,
}

pub(crate) fn run(args: &NeedsArgs) -> Result<ExitCode, Failure> {
    let (opened, path) = match &args.root {
        Some(root) => (Opened::root(root, args)?, in_root(&args.file)?),
        None => (Opened::folder(Path::new("/"))?, on_this_machine(&args.file)?),
    };
    let files = opened.files();
    let said = platform_of(files, &path).map_err(|error| classified(&error))?;
    let platform = args.architecture.or(opened.platform()).or(said).or(own_platform());

    let drawn = if args.root.is_none() && said.is_some() && said != own_platform() {
        Drawn::listed(files, &path)?
    } else {
        let roots = [Root { path: path.clone(), name: path.to_string(), reason: "asked for".into() }];
        let rules = if args.no_rules { Rules::none() } else { Rules::builtin() };
        let found = needs(&Request {
            tree: files,
            platform: platform.unwrap_or(Platform::Amd64),
            roots: &roots,
            rules: &rules,
            library_path: opened.library_path(&args.library_path),
            facts: &MemoryFacts::default(),
        });
        let missing = found.problems().iter().find(|e| matches!(e.problem(), Problem::RootMissing { .. }));
        if let Some(error) = missing {
            return Err(not_there(args, &path, error.class()));
        }
        Drawn::walked(&found, |path| opened.size(path), &path)
    };

    let text = match args.format {
        GraphFormat::Table => table(&drawn, said),
        GraphFormat::Json => drawn.graph.to_json(),
        GraphFormat::Dot => drawn.graph.to_dot(),
        GraphFormat::Svg => drawn.graph.to_svg(&format!("what {path} needs")),
    };
    write!(std::io::stdout().lock(), "{text}")?;
    Ok(if drawn.is_resolved() { ExitCode::SUCCESS } else { ExitCode::from(UNRESOLVED) })
}

/// The tree, and below it a line that sums it up.
fn table(drawn: &Drawn, platform: Option<Platform>) -> String {
    let mut text = drawn.graph.to_terminal(terminal::width(), terminal::color_on_stdout());
    let unresolved = drawn.graph.unresolved().count();
    let files = drawn.graph.nodes().len() - unresolved;
    let mut parts = vec![format!("{files} {}", if files == 1 { "file" } else { "files" })];
    parts.extend(drawn.dialects.iter().map(ToString::to_string));
    parts.extend(platform.map(|platform| platform.to_string()));
    match &drawn.note {
        Some(note) => parts.push(note.clone()),
        None if drawn.is_resolved() => parts.push("everything resolves".into()),
        None if unresolved > 0 => parts.push(format!("{unresolved} unresolved")),
        None => parts.push("broken".into()),
    }
    text.extend(["\n ", &parts.join(" · "), "\n"]);
    for problem in &drawn.problems {
        text.extend([" ✗ ", problem, "\n"]);
    }
    text
}

fn in_root(file: &Path) -> Result<ImagePath, Failure> {
    let text = file.to_str().ok_or_else(|| Failure::usage(format!("{} is not UTF-8", file.display())))?;
    ImagePath::new(text).map_err(|error| {
        Failure::usage(error.to_string())
            .hint("with `--root`, FILE is a path inside the root: /usr/bin/kubelet")
    })
}

/// The path of a file of this machine. Its last name stays: a link says how a program is called.
fn on_this_machine(file: &Path) -> Result<ImagePath, Failure> {
    let missing = || {
        Failure::new(ErrorClass::LocalIo, format!("there is no file {}", file.display()))
            .hint("`--root DIR` looks for it inside a root file system")
    };
    let name = file.file_name().ok_or_else(missing)?;
    let folder = file.parent().filter(|f| !f.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let real = fs_err::canonicalize(folder).map_err(|_| missing())?.join(name);
    if fs_err::symlink_metadata(&real).is_err() {
        return Err(missing());
    }
    in_root(&real)
}

fn not_there(args: &NeedsArgs, path: &ImagePath, class: ErrorClass) -> Failure {
    let Some(root) = &args.root else {
        return Failure::new(class, format!("{path} leads nowhere: a link on the way is broken"));
    };
    let failure = Failure::new(class, format!("`{path}` is not in {root}"));
    if fs_err::metadata(&args.file).is_ok() {
        return failure.hint("with `--root`, FILE is a path inside the root");
    }
    failure
}

/// What this machine runs, if it is a platform that kimg knows.
fn own_platform() -> Option<Platform> {
    match std::env::consts::ARCH {
        "x86_64" => Some(Platform::Amd64),
        "aarch64" => Some(Platform::Arm64),
        "arm" => Some(Platform::ArmV7),
        _ => None,
    }
}
