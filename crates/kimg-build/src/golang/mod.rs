//! Programs that are compiled from Go source: one more kind of program of one's own.
//!
//! ```text
//! [[go]] and `kubernetes = "…"` ─► settings ─► presets (what upstream's sources hold, where they are)
//!                                      │
//!                     GoSource (recipe, address) + its programs, as the project has others
//!                                      │
//!       build: source fetched and compared → toolchain chosen
//!       making: key → the cache, or a shared one, or `kimg_go::compile`
//!       one:    several as one by `kimg_go::compile_as_one`, each held against itself alone; else each for itself
//!                                      │
//!                     bytes in the cache, source and toolchain and result in the lock
//! ```
//! Programs of which `multicall` makes one are links to it in the images, in which it has a layer of its own, so that
//! all images share it, whichever of its names they have.
//!
//! From there on a compiled program is a program of one's own: it stands for a root, or takes a package's place.

mod build;
mod making;
mod one;
mod preset;
mod settings;

use std::path::PathBuf;
use std::time::Duration;

use kimg_go::source::Needed;
use kimg_go::{Command, Recipe};
use kimg_source::Location;

pub use build::found;
pub(crate) use build::{Means, load};
pub use preset::{BUILT_IN, Preset};
pub(crate) use settings::resolve;
pub use settings::{GoProgramSettings, GoSettings};

use kimg_core::{Digest, ImagePath};

/// A source of Go programs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GoSource {
    /// What is built out of it, and how.
    pub recipe: Recipe,
    /// Where it is: a folder, a tar archive, or the address of one.
    pub location: Location,
    /// Its SHA-256; of an address without one, it is taken into the lock on first use.
    pub sha256: Option<Digest>,
    /// Folders with packages that it does not hold, for the layout of a `GOPATH`.
    pub gopath: Vec<PathBuf>,
    /// The oldest Go that it is known to need, before it says so itself.
    pub needed: Option<Needed>,
    /// How long the compiler may take for one platform.
    pub limit: Duration,
    /// Which of its programs are to be one.
    pub multicall: Option<Multicall>,
}

/// Several programs of a source as one, which goes by the name that it is started by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Multicall {
    /// What it is called: as its source.
    pub name: String,
    /// Where it stands in an image. Its programs are links to it.
    pub install: ImagePath,
    /// Its programs, whichever of them an image has: so it is the same in all of them.
    pub commands: Vec<Command>,
    /// Why they can't be one, if that is known without trying.
    pub refused: Option<String>,
}

/// How a program of one's own is compiled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Compiled {
    /// The place of its source in [`Project::go`](crate::Project::go).
    pub source: usize,
    /// Its command there.
    pub command: Command,
    /// The package of Alpine that it is instead of.
    pub replaces: Option<String>,
}
