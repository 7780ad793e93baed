//! What each file was found to need, need by need: the same walk as a graph, to be drawn instead of packed.

use kimg_core::{ImagePath, Platform};
use serde::Serialize;

use crate::elf::{ElfError, ElfKind};
use crate::facts::FileFacts;
use crate::lookup::find;
use crate::walk::Walk;
use crate::{Closure, ClosureError, Dialect, Files, Reason, Request};

/// One file that was looked at by itself, because it is started, read, or loaded by no program that is known.
///
/// A library that two programs load is met in the visits of both: what it finds can differ between them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Visit {
    /// The file, by its real path.
    pub file: ImagePath,
    /// What it is.
    pub what: FileType,
    /// Whose rules its libraries were searched by; `None` where nothing is loaded.
    pub dialect: Option<Dialect>,
    /// The loader, by its real path.
    pub loader: Option<ImagePath>,
    /// The edges, in the order in which they were followed.
    pub needs: Vec<Edge>,
    /// What is in its memory: the file itself, then what is loaded at its start in the loader's order, then what
    /// is loaded later. Empty where nothing is loaded.
    pub objects: Vec<Object>,
}

/// What a file is to the walk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum FileType {
    /// A program that a loader starts.
    Program,
    /// A program that nothing loads anything for.
    StaticProgram,
    /// A library or a plugin.
    Library,
    /// A script with a `#!` line.
    Script,
    /// Anything else.
    Data,
    /// A folder.
    Folder,
}

/// One file in the memory of a program.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Object {
    /// The file, by its real path.
    pub path: ImagePath,
    /// The path by which it was found.
    pub found_as: String,
    /// The place, in the same list, of the object that had it loaded; `None` for the program itself.
    pub loaded_by: Option<usize>,
    /// Whether it is loaded when the program starts, and not only later (a plugin, a note).
    pub at_start: bool,
}

/// One edge: what a file needs, and what answers to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Edge {
    /// Who needs it, and in what way.
    pub reason: Reason,
    /// What is asked for, as it is written: `libz.so.1`, `/bin/sh`.
    pub name: String,
    /// What answers.
    pub met: Met,
}

/// What answers to a need.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "is")]
pub enum Met {
    /// A file.
    By {
        /// The file, by its real path.
        path: ImagePath,
        /// Every symbolic link on the way to it.
        links: Vec<ImagePath>,
    },
    /// Nothing.
    Unmet {
        /// Why, in words.
        problem: String,
        /// The folders that were searched, in order; empty where nothing is searched.
        searched: Vec<String>,
    },
}

impl Edge {
    /// The file that needs it.
    pub fn of(&self) -> Option<&ImagePath> {
        self.reason.of()
    }

    /// The file that answers; `None` when nothing does.
    pub fn path(&self) -> Option<&ImagePath> {
        match &self.met {
            Met::By { path, .. } => Some(path),
            Met::Unmet { .. } => None,
        }
    }
}

/// What some programs need, whether or not it is there.
#[derive(Debug)]
pub struct Needs {
    closure: Closure,
    problems: Vec<ClosureError>,
}

impl Needs {
    /// What there is: [`Closure::visits`] has the nodes and edges of the graph, [`Closure::why`] the way to a file.
    pub fn closure(&self) -> &Closure {
        &self.closure
    }

    /// What is missing or broken, in the order in which it was met. Each of them would have ended [`close`](crate::close).
    pub fn problems(&self) -> &[ClosureError] {
        &self.problems
    }

    /// The edges that lead nowhere.
    pub fn unmet(&self) -> impl Iterator<Item = &Edge> {
        self.closure
            .visits()
            .iter()
            .flat_map(|visit| &visit.needs)
            .filter(|need| matches!(need.met, Met::Unmet { .. }))
    }
}

/// Walks as [`close`](crate::close) does, past everything that is missing or broken.
pub fn needs(request: &Request<'_>) -> Needs {
    let (closure, problems) = Walk::run_past_problems(request);
    Needs { closure, problems }
}

/// The platform that the file at a path is for, by its ELF header; of a script, that of its interpreter.
/// `None` for what runs nowhere or everywhere, and for what is not there. 32-bit ARM reads as `ARMv7`.
///
/// # Errors
/// When the file, or an interpreter on the way, can't be read.
pub fn platform_of(files: &dyn Files, path: &ImagePath) -> Result<Option<Platform>, ElfError> {
    let mut asked = path.to_string();
    // As often as Linux follows scripts to their interpreters.
    for _ in 0..6 {
        let Some(at) = find(files, &asked).ok().and_then(|mut landings| landings.pop()) else { break };
        let Some(crate::Found::File { .. }) = files.look(&at.at) else { break };
        match FileFacts::read_at(files, &at.at)? {
            FileFacts::Elf(elf) if elf.kind == ElfKind::Other => return Ok(None),
            FileFacts::Elf(elf) => {
                return Ok(Platform::DEFAULT.into_iter().find(|p| elf.check_platform(*p).is_ok()));
            }
            FileFacts::Script(script) => asked = script.interpreter,
            FileFacts::Data => break,
        }
    }
    Ok(None)
}
