//! Computes the smallest set of files that a set of programs needs, with the reason for each.
//!
//! A container image made of whole packages holds much that nothing in it ever opens. [`close`] starts from
//! the programs that are wanted ([`Root`]) and follows, over the files of a root
//! ([`Files`]: a [`FileTree`](kimg_core::FileTree), or a folder on a disk as [`FolderRoot`]), what each of them needs:
//!
//! | need | found in |
//! | --- | --- |
//! | the loader, and the libraries it loads | ELF headers, searched exactly as the loader itself searches ([`Dialect`]: musl's or glibc's) |
//! | every link on the way, every parent folder | the tree |
//! | the interpreter of a script, the command behind `env` | its first line ([`Script`]) |
//! | plugins and data that programs open by themselves | `.note.dlopen`, and [`Rules`], which are data |
//!
//! A need that can't be met is an error that shows the way from the root. Each path of the result knows why it
//! is there ([`Closure::why`]) and which root reached it first ([`Closure::root_of`]), by which layers are cut.
//!
//! ```
//! use kimg_closure::{MemoryFacts, Request, Root, Rules, close};
//! use kimg_core::{Content, Entry, FileTree, ImagePath, Origin, Platform};
//!
//! // A script, the shell it asks for (a link to busybox), and a file that nothing needs.
//! let mut tree = FileTree::new();
//! let made = || Origin::generated("example");
//! let script = Content::from_bytes("#!/bin/sh\nexec kubelet\n");
//! tree.insert(ImagePath::new("/usr/bin/start")?, Entry::file(script, 0o755, made()));
//! tree.insert(ImagePath::new("/bin/sh")?, Entry::symlink("/bin/busybox", made()));
//! tree.insert(ImagePath::new("/bin/busybox")?, Entry::file(Content::from_bytes("…"), 0o755, made()));
//! tree.insert(ImagePath::new("/usr/share/doc/readme")?, Entry::file(Content::from_bytes("…"), 0o644, made()));
//! tree.add_parents(&made());
//!
//! let start = ImagePath::new("/usr/bin/start")?;
//! let closure = close(&Request {
//!     tree: &tree,
//!     platform: Platform::Arm64,
//!     roots: &[Root { path: start, name: "start".into(), reason: "starts the node".into() }],
//!     rules: &Rules::builtin(),
//!     library_path: &[],
//!     facts: &MemoryFacts::default(),
//! })?;
//!
//! let paths: Vec<_> = closure.iter().map(|(path, _)| path.as_str()).collect();
//! assert_eq!(paths, ["/bin", "/bin/busybox", "/bin/sh", "/usr", "/usr/bin", "/usr/bin/start"]);
//! assert_eq!(
//!     closure.why(&ImagePath::new("/bin/busybox")?).unwrap().to_string(),
//!     "`/bin/busybox` is the target of the link `/bin/sh`, which is the interpreter of the script \
//!      `/usr/bin/start` (root: starts the node)",
//! );
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! [`check`] looks further, into the symbols: whether what was found fits together, version by version.
//!
//! [`needs`] is the same walk for looking at: it goes on past what is missing, and gives the graph, which
//! [`Closure::visits`] has too. Each [`Visit`] is one program (or script, or file by itself) with the edges of all
//! that it loads: [`Edge::of`] needs [`Edge::name`], and [`Edge::met`] is the file that answers, with the links on
//! the way, or the folders that were searched in vain.
//!
//! ```no_run
//! use kimg_closure::{FolderRoot, MemoryFacts, Met, Request, Root, Rules, needs, platform_of};
//! use kimg_core::{ImagePath, Platform};
//!
//! let files = FolderRoot::open("/tmp/unpacked")?;
//! let program = ImagePath::new("/usr/sbin/iptables")?;
//! let platform = platform_of(&files, &program)?.unwrap_or(Platform::Amd64);
//! let found = needs(&Request {
//!     tree: &files,
//!     platform,
//!     roots: &[Root { path: program, name: "iptables".into(), reason: "asked for".into() }],
//!     rules: &Rules::builtin(),
//!     library_path: &[],
//!     facts: &MemoryFacts::default(),
//! });
//! for visit in found.closure().visits() {
//!     for need in &visit.needs {
//!         match &need.met {
//!             Met::By { path, links } => println!("{:?} {} => {path} by {links:?}", need.of(), need.name),
//!             Met::Unmet { problem, searched } => println!("{}: {problem} ({searched:?})", need.name),
//!         }
//!     }
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod chain;
mod check;
mod closure;
mod confirm;
mod dialect;
mod elf;
mod error;
mod facts;
mod files;
mod finding;
mod folder;
mod glibc;
mod lookup;
mod musl;
mod needs;
mod process;
mod rules;
mod script;
mod walk;

use kimg_core::{ImagePath, Platform};
use serde::Serialize;

pub use chain::{Chain, Step};
pub use check::check;
pub use closure::{Closure, Reason};
pub use confirm::{Confidence, Evidence, Word, confirm, starts_programs};
pub use dialect::Dialect;
pub use elf::{
    ByteOrder, Class, DefinedSymbol, DlopenNote, ElfError, ElfFacts, ElfKind, ElfSymbols, NeededVersion,
    Priority, UndefinedSymbol, read_elf, read_symbols,
};
pub use error::{ClosureError, Problem};
pub use facts::{FactStore, FileFacts, MemoryFacts};
pub use files::{Files, Found, Inode};
pub use finding::{Finding, When};
pub use folder::FolderRoot;
pub use needs::{Edge, FileType, Met, Needs, Object, Visit, needs, platform_of};
pub use rules::{Call, Importance, Quiet, Rule, RuleError, RulePlace, Rules};
pub use script::Script;

/// A program or file that is wanted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Root {
    /// Where it is; may be a link. A folder is taken by itself, without what lies in it.
    pub path: ImagePath,
    /// What a person calls it: `mount`.
    pub name: String,
    /// Why it is wanted, as half a sentence: "mounts volumes".
    pub reason: String,
}

/// What is to be closed over.
#[derive(Clone, Copy)]
pub struct Request<'a> {
    /// All files that can be had, every parent folder included.
    pub tree: &'a dyn Files,
    /// What the image runs on: an ELF file for anything else is an error.
    pub platform: Platform,
    /// What is wanted. The order matters only for [`Closure::root_of`] and for which of several reasons is told.
    pub roots: &'a [Root],
    /// What comes with programs though no header says so.
    pub rules: &'a Rules,
    /// The image's own `LD_LIBRARY_PATH`.
    pub library_path: &'a [ImagePath],
    /// Remembers what contents are; [`MemoryFacts`] for one run.
    pub facts: &'a dyn FactStore,
}

/// Computes the smallest set of paths in which all roots run.
///
/// # Errors
/// When a root, or anything that it needs, is missing, broken or for another platform.
pub fn close(request: &Request<'_>) -> Result<Closure, ClosureError> {
    walk::Walk::run(request)
}
