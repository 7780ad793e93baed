//! Computes the smallest set of files that a set of programs needs, with the reason for each.
//!
//! A container image made of whole packages holds much that nothing in it ever opens. [`close`] starts from
//! the programs that are wanted ([`Root`]) and follows, over a [`FileTree`] and never on
//! a disk, what each of them needs:
//!
//! | need | found in |
//! | --- | --- |
//! | the loader, and the libraries it loads | ELF headers, searched exactly as musl's loader searches ([`read_elf`]) |
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

mod chain;
mod closure;
mod elf;
mod error;
mod facts;
mod lookup;
mod musl;
mod process;
mod rules;
mod script;
mod search;
mod walk;

use kimg_core::{FileTree, ImagePath, Platform};
use serde::Serialize;

pub use chain::{Chain, Step};
pub use closure::{Closure, Finding, Reason};
pub use elf::{ByteOrder, Class, DlopenNote, ElfError, ElfFacts, ElfKind, Priority, read_elf};
pub use error::{ClosureError, Problem};
pub use facts::{FactStore, FileFacts, MemoryFacts};
pub use rules::{Rule, RuleError, Rules};
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
    pub tree: &'a FileTree,
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
