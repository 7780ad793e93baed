//! Cross-compiles Go programs for every platform on one machine, without an emulator, and to the same bytes each time.
//!
//! ```text
//! Recipe     what to build: source layout, commands, tags, variables of the linker, with C or without
//! Source     where the source lies: a folder or a tar archive; its digest
//! Toolchain  the go and zig that were found, with path and version
//!     │
//!  compile   a private copy, private caches, no network, one `go build` for all commands of a platform
//!     │
//! Compiled   the programs, in a folder
//! ```
//!
//! | module | holds |
//! | --- | --- |
//! | [`recipe`] | what to build, in words that a key can be made of |
//! | [`source`] | digest, private copy, layout and required Go version of a source |
//! | [`toolchain`] | finding `go` and `zig`, and their versions |
//! | [`compile`](mod@compile) | the build itself |
//! | [`multicall`] | several commands as one program |
//! | [`run`] | starting a program under a time limit, with its output in a log |
//!
//! # Why the same bytes
//!
//! Paths are trimmed (`-trimpath`), build ids are fixed (`-buildid=`, `--build-id=none`), symbols and debug information
//! are left out (`-s -w`), nothing is asked of git (`-buildvcs=false`), and C is compiled by a zig that brings its own musl,
//! for a named target, so that nothing of this machine's compiler, headers or processor gets in. The environment is
//! empty but for what is set here. So the bytes follow from the source, the recipe, the platform, and the versions of go
//! and zig: these make the key under which a result is kept.
//!
//! # What is never done
//!
//! Nothing is downloaded unless the recipe says so: `GOTOOLCHAIN=local`, `GOPROXY=off`. Nothing is written but below
//! the work folder that the caller gives, and the log of a build that failed. What a build started is ended with it.

pub mod compile;
mod error;
pub mod multicall;
pub mod recipe;
pub mod run;
pub mod source;
pub mod toolchain;
mod version;

pub use compile::{Compiled, Job, compile};
pub use error::GoError;
pub use multicall::compile_as_one;
pub use recipe::{Command, Layout, Link, Modules, Recipe};
pub use source::Source;
pub use toolchain::{Go, Toolchain, Zig};
pub use version::GoVersion;
