//! Finds UPX, asks its version, and lets it pack one file.

use std::ffi::OsStr;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use kimg_core::Digest;

use crate::run::{Limits, ending, run};
use crate::runners::find_program;
use crate::{PackError, PlainReason, Settings, UpxOptions};

/// An installed UPX.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upx {
    /// Where it lies.
    pub path: PathBuf,
    /// `4.2.2`. It decides the bytes of what is packed, so it belongs in keys, locks and provenance.
    pub version: String,
}

/// The name of the program that is packed, in the private folder. UPX's messages carry it.
pub(crate) const PLAIN: &str = "plain";
/// The name of UPX's result there.
pub(crate) const PACKED: &str = "packed";
/// The name of what UPX makes of that, to check it.
const UNPACKED: &str = "unpacked";

impl Upx {
    /// Looks for `upx`, then `upx-ucl`, in the folders of a search path (as `PATH` writes one), and asks its version.
    ///
    /// `None` when there is none. An error when one is there and doesn't say which UPX it is.
    pub fn find(search_path: &OsStr) -> Result<Option<Self>, PackError> {
        let found = ["upx", "upx-ucl"].iter().find_map(|name| find_program(search_path, name));
        found.map(Self::at).transpose()
    }

    /// Asks the UPX that lies there for its version, twice: what decides the bytes of programs is not to be in doubt.
    pub fn at(path: PathBuf) -> Result<Self, PackError> {
        let answers = said_version(&path).and_then(|first| Ok((first, said_version(&path)?)));
        match answers {
            Ok((first, second)) if first == second => Ok(Self { version: first, path }),
            Ok((first, second)) => {
                Err(PackError::Version { path, found: format!("`{first}`, and then `{second}`") })
            }
            Err(found) => Err(PackError::Version { path, found }),
        }
    }

    /// The oldest Linux that starts what this UPX packs, where that is not any: the programs of version 5 unpack
    /// themselves by way of `memfd_create`.
    pub fn needs_kernel(&self) -> Option<&'static str> {
        let major: Option<u32> = self.version.split('.').next().and_then(|major| major.parse().ok());
        major.is_some_and(|major| major >= 5).then_some("3.17")
    }

    /// Packs [`PLAIN`] of so many bytes into [`PACKED`], both in `folder`, and gives what it wrote.
    pub(crate) fn pack(
        &self,
        folder: &Path,
        size: u64,
        options: UpxOptions,
        settings: &Settings,
    ) -> Result<Vec<u8>, PlainReason> {
        // Of what it writes only less than the plain size is of use; while it works it may need more.
        let file = size.saturating_mul(2).saturating_add(1 << 20);
        let limits = Limits {
            time: settings.time_limit,
            memory: settings.memory_limit,
            file,
            folder: file.saturating_mul(2),
        };
        let options = options.words();
        let words: Vec<&str> = options.iter().map(String::as_str).chain(["-o", PACKED, PLAIN]).collect();
        self.call(folder, &words, limits)?;
        result(&folder.join(PACKED), size)
    }

    /// Unpacks what it packed, [`PACKED`] in `folder`, to see that it holds these first bytes of a program of so many
    /// bytes. UPX gives back the very file that it was given.
    pub(crate) fn check(
        &self,
        folder: &Path,
        size: u64,
        (loaded_end, loaded): (usize, Digest),
        settings: &Settings,
    ) -> Result<(), PlainReason> {
        let file = size.saturating_add(1 << 20);
        let limits = Limits {
            time: settings.time_limit,
            memory: settings.memory_limit,
            file,
            folder: file.saturating_mul(3),
        };
        self.call(folder, &["-d", "-o", UNPACKED, PACKED], limits)?;
        let unpacked = result(&folder.join(UNPACKED), file)?;
        match unpacked.get(..loaded_end) {
            Some(bytes) if Digest::of(bytes) == loaded => Ok(()),
            _ => Err(PlainReason::PackerFailed("unpacked again, its result is another program".into())),
        }
    }

    fn call(&self, folder: &Path, words: &[&str], limits: Limits) -> Result<(), PlainReason> {
        // An empty environment: options in a variable `UPX` would decide the bytes behind kimg's back.
        let mut command = Command::new(&self.path);
        command
            .args(["-qq", "--no-color", "--no-progress"])
            .args(words)
            .env_clear()
            .env("TMPDIR", folder)
            .current_dir(folder);
        let answer =
            run(&mut command, limits).map_err(|error| PlainReason::PackerFailed(error.to_string()))?;
        match answer.status.code() {
            Some(0) => Ok(()),
            Some(code) => {
                let said = String::from_utf8_lossy(&answer.stderr).into_owned();
                Err(match reason(&said) {
                    Some(reason) => PlainReason::Refused(reason),
                    None => PlainReason::PackerFailed(format!("exit code {code}")),
                })
            }
            None => Err(PlainReason::PackerFailed(ending(answer.status))),
        }
    }
}

/// What the packer wrote, if it is a regular file smaller than the plain program.
///
/// The packer has ended, so nothing changes between the look and the reading; and it is read once: these bytes are
/// what is checked, started and shipped, whatever becomes of the file.
fn result(packed: &Path, plain_size: u64) -> Result<Vec<u8>, PlainReason> {
    let failed = |why: &str| PlainReason::PackerFailed(why.into());
    let found = fs_err::symlink_metadata(packed).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => failed("it wrote nothing"),
        kind => PlainReason::PackerFailed(format!("its result can't be read: {kind}")),
    })?;
    if !found.is_file() {
        return Err(failed("its result is not a regular file"));
    }
    if found.len() >= plain_size {
        return Err(PlainReason::NotSmaller);
    }
    let mut bytes = Vec::new();
    let read = fs_err::File::open(packed).and_then(|file| file.take(plain_size).read_to_end(&mut bytes));
    match read {
        Ok(_) if bytes.len() as u64 == found.len() => Ok(bytes),
        Ok(_) => Err(failed("its result changes while it is read")),
        Err(error) => Err(PlainReason::PackerFailed(format!("its result can't be read: {}", error.kind()))),
    }
}

/// The version that a UPX says it has; or what it says instead.
fn said_version(path: &Path) -> Result<String, String> {
    let limits = Limits { time: Duration::from_secs(30), memory: 1 << 30, file: 0, folder: 0 };
    let answer =
        run(Command::new(path).arg("--version").env_clear(), limits).map_err(|error| error.to_string())?;
    let text = String::from_utf8_lossy(&answer.stdout);
    let first = text.lines().next().unwrap_or_default();
    match version(first) {
        _ if !answer.status.success() => Err(ending(answer.status)),
        Some(version) => Ok(version.to_owned()),
        None => Err(format!("`{}`", printable(first))),
    }
}

/// The version in `upx 4.2.4`.
fn version(line: &str) -> Option<&str> {
    let version = line.trim_end().strip_prefix("upx ")?;
    let fits = version.starts_with(|c: char| c.is_ascii_digit())
        && version.len() <= 40
        && version.chars().all(|c| c.is_ascii_alphanumeric() || "._+~-".contains(c));
    fits.then_some(version)
}

/// Exceptions of UPX that say nothing of the program: it had too little memory or disk, or a fault of its own.
const OWN: [&str; 5] = ["OutOfMemory", "IOException", "FileNotFound", "FileAlreadyExists", "InternalError"];

/// What UPX says when it won't pack a file: `upx: plain: CantPackException: bad DT_HASH`.
fn reason(stderr: &str) -> Option<String> {
    let line = stderr.lines().find_map(|line| line.trim().strip_prefix("upx: plain: "))?;
    (line.contains("Exception") && !OWN.iter().any(|own| line.contains(own))).then(|| printable(line))
}

/// At most 120 characters, none of them a control character: it goes into reports.
fn printable(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(120).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_read_from_the_first_line() {
        assert_eq!(version("upx 4.2.2"), Some("4.2.2"));
        assert_eq!(version("upx 5.0.0-devel.20250101"), Some("5.0.0-devel.20250101"));
        for other in ["", "upx", "upx unknown", "UPX 4", "upx 4.2.2 \u{1b}[31m", "upx 4 and more"] {
            assert_eq!(version(other), None, "{other}");
        }
    }

    #[test]
    fn only_upx_own_words_count_as_a_refusal() {
        assert_eq!(
            reason("upx: plain: CantPackException: bad DT_HASH nbucket=0x13f\n").as_deref(),
            Some("CantPackException: bad DT_HASH nbucket=0x13f")
        );
        assert_eq!(reason("sh: 1: oops: not found\n"), None);
        assert_eq!(reason("upx: plain: FileNotFound\n"), None);
        assert_eq!(reason("upx: plain: OutOfMemoryException: out of memory\n"), None);
        assert_eq!(reason("upx: plain: IOException: packed: No space left on device\n"), None);
    }

    #[test]
    fn programs_of_upx_5_need_a_kernel_with_memfd_create() {
        let upx = |version: &str| Upx { path: PathBuf::new(), version: version.into() };
        assert_eq!(upx("4.2.4").needs_kernel(), None);
        assert_eq!(upx("5.0.1").needs_kernel(), Some("3.17"));
    }
}
