//! What can go wrong between a source and its programs.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use kimg_core::{Classified, ErrorClass, Platform};

use crate::version::GoVersion;

/// An error of a toolchain, a source or a build.
#[derive(Debug, thiserror::Error)]
pub enum GoError {
    /// There is no Go compiler.
    #[error("compiling {what} needs Go, and there is none: looked for `go` in {looked}")]
    NoGo {
        /// What is to be compiled.
        what: String,
        /// The folders.
        looked: String,
    },
    /// No Go compiler is new enough.
    #[error("compiling {what} needs Go {needed} or newer ({says} says so); found {found}")]
    TooOld {
        /// What is to be compiled.
        what: String,
        /// The oldest that will do.
        needed: GoVersion,
        /// Who says so.
        says: String,
        /// Each that was found, with its path.
        found: String,
    },
    /// There is no C compiler for the platform.
    #[error(
        "compiling {what} needs zig for its C parts, and there is none: no `zig` in {looked}, and no Python has ziglang"
    )]
    NoZig {
        /// What is to be compiled.
        what: String,
        /// The folders.
        looked: String,
    },
    /// A source that can't be read as one.
    #[error("the source of {what} can't be used: {why}")]
    Source {
        /// What is to be compiled.
        what: String,
        /// Why.
        why: String,
    },
    /// A source whose dependencies are somewhere else.
    #[error("the source of {what} does not hold all that it needs, and nothing may be downloaded")]
    NotVendored {
        /// What is to be compiled.
        what: String,
    },
    /// Commands that can't be one program.
    #[error("the programs of {what} can't be one: {why}")]
    NotOne {
        /// What is to be compiled.
        what: String,
        /// Why.
        why: String,
    },
    /// The compiler said no.
    #[error("compiling {what} for {platform} failed ({ending}); its last lines:{}\nall of it: {}", indented(last), log.display())]
    Failed {
        /// What was to be compiled.
        what: String,
        /// For this platform.
        platform: Platform,
        /// How it ended.
        ending: String,
        /// What it said last.
        last: Vec<String>,
        /// Where all lies that it said.
        log: PathBuf,
    },
    /// It took too long.
    #[error("compiling {what} for {platform} took longer than {} minutes; all it said: {}", limit.as_secs() / 60, log.display())]
    TimeLimit {
        /// What was to be compiled.
        what: String,
        /// For this platform.
        platform: Platform,
        /// The limit.
        limit: Duration,
        /// Where all lies that it said.
        log: PathBuf,
    },
    /// The disk was full.
    #[error("compiling {what} for {platform} filled the disk that {} is on", folder.display())]
    DiskFull {
        /// What was to be compiled.
        what: String,
        /// For this platform.
        platform: Platform,
        /// The work folder.
        folder: PathBuf,
    },
    /// The local disk.
    #[error("{what}")]
    Disk {
        /// What was being done.
        what: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

fn indented(lines: &[String]) -> String {
    lines.iter().fold(String::new(), |all, line| format!("{all}\n  {line}"))
}

impl GoError {
    pub(crate) fn disk(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |source| Self::Disk { what, source }
    }
}

impl Classified for GoError {
    fn class(&self) -> ErrorClass {
        match self {
            Self::NoGo { .. }
            | Self::TooOld { .. }
            | Self::NoZig { .. }
            | Self::Failed { .. }
            | Self::TimeLimit { .. } => ErrorClass::External,
            Self::Source { .. } => ErrorClass::Malformed,
            Self::NotVendored { .. } | Self::NotOne { .. } => ErrorClass::Unresolvable,
            Self::DiskFull { .. } | Self::Disk { .. } => ErrorClass::LocalIo,
        }
    }

    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::NoGo { .. } => "Debian has it as golang-go; `kimg doctor` says what is there and what is missing".into(),
            Self::TooOld { needed, .. } => format!(
                "install Go {needed} or newer (Debian's backports have newer ones as golang-1.NN-go) and put its `go` first on the path; nothing is downloaded for it"
            ),
            Self::NoZig { .. } => "`pip install ziglang`, or put zig on the path; `cgo = false` does without where a program allows it".into(),
            Self::NotVendored { .. } => {
                "`modules = \"download\"` fetches what its go.sum names; or `gopath = [\"…\"]` names folders that have the packages"
                    .into()
            }
            Self::NotOne { .. } => "without `multicall` each is compiled for itself".into(),
            Self::TimeLimit { .. } => "`time-limit` in its [[go]] table, in minutes, allows more".into(),
            Self::DiskFull { .. } => "`--cache-dir` names a folder on a larger disk: Kubernetes needs about 3 GB while it is compiled".into(),
            Self::Source { .. } | Self::Failed { .. } | Self::Disk { .. } => return None,
        })
    }
}
