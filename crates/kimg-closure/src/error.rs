//! Why there is no closed set: what is missing or broken, and how a root leads there.

use std::fmt;

use kimg_core::{Classified, ErrorClass, ImagePath, Platform, ResolveError};

use crate::chain::Chain;
use crate::elf::ElfError;

/// A need that can't be met, with the way from a root to who has it.
#[derive(Debug)]
pub struct ClosureError {
    problem: Box<Problem>,
    chain: Option<Chain>,
}

/// What is missing or broken.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// A root that is not there.
    #[error("the root `{name}` ({reason}) is not there: {source}")]
    RootMissing {
        /// The root's name.
        name: String,
        /// Why it is wanted.
        reason: String,
        /// Where its path leads.
        source: ResolveError,
    },
    /// A program made for glibc.
    #[error(
        "`{program}` is linked against glibc: it asks for the loader `{interpreter}`, which musl's systems do not have"
    )]
    Glibc {
        /// The program.
        program: ImagePath,
        /// The loader it asks for.
        interpreter: String,
    },
    /// The loader of a program is not there.
    #[error("`{program}` asks for the loader `{interpreter}`: {source}")]
    InterpreterMissing {
        /// The program.
        program: ImagePath,
        /// The loader it asks for.
        interpreter: String,
        /// Where its path leads.
        source: ResolveError,
    },
    /// A loader or interpreter that is no file.
    #[error("`{of}` wants `{path}` started, which is not a file")]
    NotAFile {
        /// The program or script.
        of: ImagePath,
        /// What it asks for.
        path: ImagePath,
    },
    /// A library is in none of the folders.
    #[error("`{of}` needs `{soname}`, which is not in {}", searched.join(", "))]
    LibraryMissing {
        /// Who needs it.
        of: ImagePath,
        /// The name by which it asks for it.
        soname: String,
        /// The folders that were searched, in order.
        searched: Vec<String>,
    },
    /// The search for a library ends at a path that can't be opened, where musl searches no further.
    #[error("`{of}` needs `{soname}`, and the search for it stops at a path that can't be opened: {source}")]
    LibraryUnreachable {
        /// Who needs it.
        of: ImagePath,
        /// The name by which it asks for it.
        soname: String,
        /// Where the path leads.
        source: ResolveError,
    },
    /// The first file found under a library's name is none.
    #[error("`{of}` needs `{soname}`: the first file found, `{path}`, is no library ({problem})")]
    NotALibrary {
        /// Who needs it.
        of: ImagePath,
        /// The name by which it asks for it.
        soname: String,
        /// What was found.
        path: ImagePath,
        /// What it is instead.
        problem: String,
    },
    /// An ELF file of another architecture.
    #[error("`{path}` is for {found}; {platform} wants {expected}")]
    WrongArchitecture {
        /// The file.
        path: ImagePath,
        /// The platform of the request.
        platform: Platform,
        /// The architecture the file is for.
        found: String,
        /// The architecture of the platform.
        expected: String,
    },
    /// A file that can't be read.
    #[error("`{path}`: {source}")]
    Unreadable {
        /// The file.
        path: ImagePath,
        /// What is wrong with it.
        source: ElfError,
    },
    /// The interpreter of a script is not there.
    #[error("the script `{script}` asks for the interpreter `{interpreter}`: {source}")]
    ScriptInterpreterMissing {
        /// The script.
        script: ImagePath,
        /// The interpreter it asks for.
        interpreter: String,
        /// Where its path leads.
        source: ResolveError,
    },
    /// The interpreter of a script is no absolute path.
    #[error("the script `{script}` asks for the interpreter `{interpreter}`, which is not an absolute path")]
    ScriptInterpreterRelative {
        /// The script.
        script: ImagePath,
        /// The interpreter it asks for.
        interpreter: String,
    },
    /// Scripts that are each other's interpreters.
    #[error("scripts are each other's interpreters, in a loop or deeper than Linux follows: {}", scripts.iter().map(|s| format!("`{s}`")).collect::<Vec<_>>().join(" → "))]
    ScriptLoop {
        /// The scripts, in the order in which one asks for the next.
        scripts: Vec<ImagePath>,
    },
    /// The command that a script has `env` start is not there.
    #[error("the script `{script}` has env start `{command}`, which is in none of the folders of PATH")]
    CommandMissing {
        /// The script.
        script: ImagePath,
        /// The command.
        command: String,
    },
    /// A rule says that a file must be there, and it is not.
    #[error("`{program}` needs `{pattern}` ({reason}), which is not there (rule `{rule}`)")]
    RuleUnmet {
        /// The program for which the rule holds.
        program: ImagePath,
        /// The rule.
        rule: String,
        /// The pattern that matches nothing.
        pattern: String,
        /// Why it is needed.
        reason: String,
    },
    /// A library that a file says it can't do without at run time is not there.
    #[error("`{of}` loads {} at run time ({feature}) and can't do without it: not found", sonames.join(" or "))]
    DlopenMissing {
        /// Who loads it.
        of: ImagePath,
        /// Its names.
        sonames: Vec<String>,
        /// What for.
        feature: String,
    },
}

impl ClosureError {
    pub(crate) fn new(problem: Problem, chain: Option<Chain>) -> Self {
        Self { problem: Box::new(problem), chain }
    }

    /// What is missing or broken.
    pub fn problem(&self) -> &Problem {
        &self.problem
    }

    /// How a root leads to who has the problem; `None` when the root itself is not there.
    pub fn chain(&self) -> Option<&Chain> {
        self.chain.as_ref()
    }
}

impl fmt::Display for ClosureError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.problem)?;
        match &self.chain {
            Some(chain) => write!(f, "; {chain}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for ClosureError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        // The problem's own words already hold its source's; what lies behind that is not lost.
        std::error::Error::source(&*self.problem).and_then(std::error::Error::source)
    }
}

impl Classified for ClosureError {
    fn class(&self) -> ErrorClass {
        match &*self.problem {
            Problem::Unreadable { source, .. } => source.class(),
            _ => ErrorClass::Unresolvable,
        }
    }

    fn hint(&self) -> Option<String> {
        Some(match &*self.problem {
            Problem::RootMissing { name, .. } => {
                format!("add the package that has `{name}`, or mark the root as optional")
            }
            Problem::Glibc { .. } => {
                "take the program as Alpine builds it, or one that is linked statically".to_owned()
            }
            Problem::InterpreterMissing { .. } => "add the package `musl`".to_owned(),
            Problem::LibraryMissing { soname, .. } => format!("add the package that provides `so:{soname}`"),
            Problem::WrongArchitecture { .. } => {
                "take the file for this platform; musl does not pass over one that comes first".to_owned()
            }
            Problem::CommandMissing { command, .. } if command.contains(char::is_whitespace) => {
                "Linux hands the rest of the line over as one word: the script wants `env -S`".to_owned()
            }
            Problem::CommandMissing { command, .. } => {
                format!("add the package that provides `cmd:{command}`")
            }
            Problem::RuleUnmet { rule, .. } => {
                format!("add the package that has it, or replace the rule `{rule}` in rules of your own")
            }
            _ => return None,
        })
    }
}
