//! What a walk or a check found that is no error and yet worth a look.

use std::fmt;

use kimg_core::ImagePath;
use serde::Serialize;

/// Something that is no error and yet worth a look.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case", tag = "finding")]
#[non_exhaustive]
pub enum Finding {
    /// A rule that holds for a file names files that are not there.
    RuleFilesMissing {
        /// The rule.
        rule: String,
        /// The file for which it holds.
        of: ImagePath,
        /// The patterns that match nothing.
        patterns: Vec<String>,
        /// Whether nothing at all matches.
        all: bool,
    },
    /// A library that is loaded at run time, where it is there, is not there.
    DlopenMissing {
        /// The program or library that would load it.
        of: ImagePath,
        /// Its names.
        sonames: Vec<String>,
        /// What for.
        feature: String,
    },
    /// A symbol that a program or library can't do without is defined by nothing that is loaded with it.
    SymbolMissing {
        /// The program, or the library by itself.
        program: ImagePath,
        /// The object that asks for it.
        of: ImagePath,
        /// The symbol.
        symbol: String,
        /// The version it should be of, where the loader looks at versions.
        version: Option<String>,
        /// When that shows.
        when: When,
    },
    /// A library does not define a version that is needed of it. Only glibc looks.
    VersionMissing {
        /// The program.
        program: ImagePath,
        /// The object that needs it.
        of: ImagePath,
        /// The library that should define it.
        library: ImagePath,
        /// The version.
        version: String,
    },
    /// A loaded file whose symbol tables are broken.
    SymbolsUnreadable {
        /// The file.
        path: ImagePath,
        /// What is wrong with it.
        problem: String,
    },
    /// A library is found only by way of `/etc/ld.so.conf`, which the loader reads only as `ldconfig` has put it
    /// into `/etc/ld.so.cache`, and that file is not there.
    LoaderCacheMissing {
        /// Who needs the library.
        of: ImagePath,
        /// The name by which it asks for it.
        soname: String,
        /// The folder that only the settings name.
        folder: String,
    },
    /// A name service that `/etc/nsswitch.conf` asks for has no module: glibc goes on without it.
    NameServiceMissing {
        /// The C library that would load it.
        of: ImagePath,
        /// The module.
        soname: String,
    },
    /// A search path holds a relative folder, which means another one wherever the program is started: passed over.
    RelativeSearchFolder {
        /// The file that is searched for.
        of: ImagePath,
        /// The folder.
        folder: String,
    },
}

/// When a program comes to grief for want of a symbol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum When {
    /// It does not start.
    Started,
    /// What is loaded at run time can't be.
    Loaded,
    /// It ends where it calls the function first.
    FirstCalled,
    /// Only if the program that loads the library, which is not known here, does not define it.
    UnlessHostDefines,
}

impl fmt::Display for When {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Started => "it will not start",
            Self::Loaded => "it can't be loaded",
            Self::FirstCalled => "it ends where that is called first",
            Self::UnlessHostDefines => "the program that loads it must define that",
        })
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SymbolMissing { program, of, symbol, version, when } => {
                let version = version.as_ref().map(|v| format!(" of version `{v}`")).unwrap_or_default();
                write!(f, "`{of}` wants the symbol `{symbol}`{version}, which nothing defines")?;
                if program != of {
                    write!(f, " that `{program}` loads")?;
                }
                write!(f, ": {when}")
            }
            Self::VersionMissing { program, of, library, version } => {
                write!(f, "`{of}` wants the version `{version}` of `{library}`, which does not define it: ")?;
                write!(f, "`{program}` will not start")
            }
            Self::SymbolsUnreadable { path, problem } => {
                write!(f, "the symbols of `{path}` can't be read: {problem}")
            }
            Self::RuleFilesMissing { rule, of, patterns, all } => {
                let which = if *all { "none of its files is there" } else { "not there" };
                write!(f, "rule `{rule}` of `{of}`: {which}: {}", patterns.join(", "))
            }
            Self::DlopenMissing { of, sonames, feature } => {
                write!(f, "`{of}` would load {} ({feature}), which is not there", sonames.join(" or "))
            }
            Self::LoaderCacheMissing { of, soname, folder } => write!(
                f,
                "`{of}` finds `{soname}` in `{folder}`, which only /etc/ld.so.conf names: without /etc/ld.so.cache, \
                 which ldconfig makes, the loader will not look there"
            ),
            Self::NameServiceMissing { of, soname } => {
                write!(f, "/etc/nsswitch.conf has `{of}` load `{soname}`, which is not there")
            }
            Self::RelativeSearchFolder { of, folder } => {
                write!(f, "the search path for the libraries of `{of}` holds the relative folder `{folder}`")
            }
        }
    }
}
