//! Finding `go` and `zig` on this machine. Neither is ever fetched.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use fs_err as fs;

use crate::error::GoError;
use crate::run::answer;
use crate::source::Needed;
use crate::version::GoVersion;

/// A Go compiler.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Go {
    /// The program.
    pub path: PathBuf,
    /// Its version.
    pub version: GoVersion,
    /// What it says of itself, without the machine it is for: `go1.19.8`, `go1.22.1 X:boringcrypto`.
    pub text: String,
}

/// A zig, whose C compiler brings its own musl for every platform.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Zig {
    /// The program.
    pub path: PathBuf,
    /// Its version: `0.17.1`.
    pub version: String,
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Toolchain {
    /// The Go compilers: that of the search path first, then others in the places where they are installed.
    pub go: Vec<Go>,
    /// zig.
    pub zig: Option<Zig>,
    /// Where was looked, for messages.
    looked: String,
}

/// Where Go is installed beside the search path: upstream's folder, and Debian's, one for each version.
const GO_FOLDERS: [&str; 2] = ["/usr/local/go/bin", "/usr/lib/go-*/bin"];

impl Toolchain {
    /// Looks through the search path (`PATH`) and the places where Go is installed.
    pub fn find(search_path: &OsStr) -> Self {
        Self::find_in(search_path, &installed())
    }

    fn find_in(search_path: &OsStr, further: &[PathBuf]) -> Self {
        let mut go: Vec<Go> = Vec::new();
        let mut real = Vec::new();
        for folder in std::env::split_paths(search_path).chain(further.iter().cloned()) {
            let path = folder.join("go");
            let Some(end) = executable(&path).then(|| fs::canonicalize(&path).ok()).flatten() else {
                continue;
            };
            if !real.contains(&end) {
                real.push(end);
                go.extend(Go::at(&path));
            }
        }
        let zig =
            program(search_path, "zig").or_else(|| of_python(search_path)).and_then(|path| Zig::at(&path));
        let shown: Vec<_> = std::env::split_paths(search_path)
            .map(|folder| folder.display().to_string())
            .chain(GO_FOLDERS.map(String::from))
            .collect();
        Self { go, zig, looked: shown.join(", ") }
    }

    /// The Go of this name (`go1.19.8`), if it is here and new enough for a source; else the first that is.
    ///
    /// # Errors
    /// As [`Toolchain::go_for`].
    pub fn go_like(&self, text: &str, what: &str, needed: Option<&Needed>) -> Result<&Go, GoError> {
        let same =
            self.go.iter().find(|go| go.text == text && needed.is_none_or(|it| go.version >= it.version));
        same.map_or_else(|| self.go_for(what, needed), Ok)
    }

    /// The first Go that is new enough for a source.
    ///
    /// # Errors
    /// There is none at all, or all are too old.
    pub fn go_for(&self, what: &str, needed: Option<&Needed>) -> Result<&Go, GoError> {
        if self.go.is_empty() {
            return Err(GoError::NoGo { what: what.to_owned(), looked: self.looked.clone() });
        }
        let Some(needed) = needed else { return Ok(&self.go[0]) };
        self.go.iter().find(|go| go.version >= needed.version).ok_or_else(|| GoError::TooOld {
            what: what.to_owned(),
            needed: needed.version.clone(),
            says: needed.says.clone(),
            found: self.go.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
        })
    }

    /// The C compiler.
    ///
    /// # Errors
    /// There is none.
    pub fn zig_for(&self, what: &str) -> Result<&Zig, GoError> {
        let missing = || GoError::NoZig { what: what.to_owned(), looked: self.looked.clone() };
        self.zig.as_ref().ok_or_else(missing)
    }
}

impl Go {
    /// Asks a program whether it is a Go compiler.
    pub fn at(path: &Path) -> Option<Self> {
        // A home and a cache are asked for even by `go version`, and a go.mod near by could ask for another toolchain.
        let environment = [
            ("GOTOOLCHAIN", OsStr::new("local")),
            ("GOENV", OsStr::new("off")),
            ("HOME", OsStr::new("/nonexistent")),
        ];
        let said = answer(path, &["version"], &environment)?;
        // go version go1.19.8 linux/amd64
        let said = said.trim().strip_prefix("go version ")?;
        let text = said.rsplit_once(' ').map_or(said, |(text, _)| text);
        Some(Self { path: path.to_owned(), version: text.parse().ok()?, text: text.to_owned() })
    }
}

impl Zig {
    /// Asks a program whether it is a zig.
    pub fn at(path: &Path) -> Option<Self> {
        let home = [("HOME", OsStr::new("/nonexistent"))];
        let version = answer(path, &["version"], &home)?.trim().to_owned();
        let known =
            version.starts_with(|c: char| c.is_ascii_digit()) && !version.contains(char::is_whitespace);
        known.then(|| Self { path: path.to_owned(), version })
    }
}

impl fmt::Display for Go {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.text, self.path.display())
    }
}

/// The zig that Python's package `ziglang` carries: the program itself, so that Python is not started for each file.
fn of_python(search_path: &OsStr) -> Option<PathBuf> {
    const ASK: &str = "import os, ziglang; print(os.path.join(os.path.dirname(ziglang.__file__), 'zig'))";
    let python = program(search_path, "python3")?;
    // Its own user's packages are found by way of the home; what else Python is told stays as it is.
    let inherited: Vec<(&str, OsString)> =
        ["HOME", "PATH", "PYTHONPATH", "VIRTUAL_ENV", "PYENV_ROOT", "PYENV_VERSION"]
            .into_iter()
            .filter_map(|name| Some((name, std::env::var_os(name)?)))
            .collect();
    let environment: Vec<(&str, &OsStr)> =
        inherited.iter().map(|(name, value)| (*name, value.as_os_str())).collect();
    let path = PathBuf::from(answer(&python, &["-c", ASK], &environment)?.trim());
    executable(&path).then_some(path)
}

/// A program of the search path.
pub fn program(search_path: &OsStr, name: &str) -> Option<PathBuf> {
    std::env::split_paths(search_path).map(|folder| folder.join(name)).find(|path| executable(path))
}

fn executable(path: &Path) -> bool {
    path.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

/// The folders of [`GO_FOLDERS`] that are there, Debian's newest first.
fn installed() -> Vec<PathBuf> {
    let mut debian: Vec<(GoVersion, PathBuf)> = fs::read_dir("/usr/lib")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|item| {
            let name = item.file_name();
            let version = name.to_str()?.strip_prefix("go-")?.parse().ok()?;
            Some((version, item.path().join("bin")))
        })
        .collect();
    debian.sort();
    let debian = debian.into_iter().rev().map(|(_, path)| path);
    [PathBuf::from(GO_FOLDERS[0])].into_iter().chain(debian).filter(|folder| folder.is_dir()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use kimg_core::{Classified as _, ErrorClass};

    fn script(folder: &Path, name: &str, text: &str) {
        let path = folder.join(name);
        fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
        fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }

    #[test]
    fn a_machine_without_go_or_zig_is_told_where_was_looked() {
        let empty = tempfile::tempdir().unwrap();
        let found = Toolchain::find_in(empty.path().as_os_str(), &[]);
        let error = found.go_for("kubernetes v1.34.2", None).unwrap_err();
        assert!(error.to_string().contains(&empty.path().display().to_string()), "{error}");
        assert_eq!(error.class(), ErrorClass::External);
        assert!(matches!(found.zig_for("x"), Err(GoError::NoZig { .. })));
    }

    #[test]
    fn the_first_go_that_is_new_enough_is_taken_and_each_program_asked_once() {
        let (old, new) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        script(old.path(), "go", "echo go version go1.19.8 linux/amd64");
        script(new.path(), "go", "echo go version go1.24.1 X:boringcrypto linux/arm64");
        let path = std::env::join_paths([old.path(), old.path()]).unwrap();
        let found = Toolchain::find_in(&path, &[new.path().to_owned()]);
        assert_eq!(found.go.len(), 2, "{found:?}");
        assert_eq!(found.go_for("x", None).unwrap().version, GoVersion::new(1, 19, 8));
        assert_eq!(
            found.go_like("go1.24.1 X:boringcrypto", "x", None).unwrap().version,
            GoVersion::new(1, 24, 1)
        );
        assert_eq!(found.go_like("go1.2", "x", None).unwrap().version, GoVersion::new(1, 19, 8));
        let needed = |version| Needed { version, says: "go.mod".into() };
        let taken = found.go_for("x", Some(&needed(GoVersion::new(1, 22, 0)))).unwrap();
        assert_eq!(taken.text, "go1.24.1 X:boringcrypto");
        let error = found.go_for("x", Some(&needed(GoVersion::new(1, 99, 0)))).unwrap_err();
        let said = error.to_string();
        assert!(said.contains("1.99") && said.contains("go.mod") && said.contains("go1.19.8 ("), "{said}");
    }

    #[test]
    fn what_only_has_the_name_of_a_compiler_is_none() {
        let folder = tempfile::tempdir().unwrap();
        script(folder.path(), "go", "echo a game");
        script(folder.path(), "zig", "echo usage: zag; exit 1");
        let found = Toolchain::find_in(folder.path().as_os_str(), &[]);
        assert_eq!((found.go.len(), &found.zig), (0, &None));
    }
}
