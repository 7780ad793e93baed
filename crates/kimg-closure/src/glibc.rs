//! How glibc's loader turns a name into files: the rules alone. How they are applied: `glibc/load.rs`.
//!
//! Source: glibc, `elf/dl-load.c` (`_dl_map_object`, `open_path`, `open_verify`), `elf/rtld.c`, `elf/ldconfig.c`,
//! 2.31 to 2.41. What differs from musl:
//!
//! - `DT_RUNPATH` counts for the object's own needs only, and behind `LD_LIBRARY_PATH`; `DT_RPATH` is handed on to
//!   whatever is loaded below, and ignored where the object has a `DT_RUNPATH` too.
//! - A library is known by its `DT_SONAME` as well as by every name it was found by; no name is reserved.
//! - A file of another class or machine is passed over; one that is not an ELF file at all ends the search.
//! - The common folders are those of `/etc/ld.so.conf`, as `ldconfig` puts them into `/etc/ld.so.cache`, then the
//!   ones that are compiled into the loader, and are read out of it here ([`Folders`]).
//!
//! Two kinds of folders are never chosen, because which file wins there depends on the processor and not on the
//! root: `glibc-hwcaps` (and the older `tls`, `haswell`, …) below each folder, and a search path with `$PLATFORM`.
//! Every library must be found without them; what lies in them is left out.

mod conf;
mod load;
mod nss;

use kimg_core::Platform;

use crate::elf::ElfFacts;
use crate::lookup::Landing;

/// A longer name is not searched for (`NAME_MAX`); no path is longer than Linux takes.
pub(crate) const MAX_NAME: usize = 255;
/// The most bytes of a loader that are looked through for its folders; real ones have some 200 KB.
const MAX_LOADER: u64 = 4 << 20;

/// What a loader of glibc searches when nothing else is said.
#[derive(Debug, Default)]
pub(crate) struct Folders {
    /// Compiled into it, in its order.
    pub(crate) system: Vec<String>,
    /// Of `/etc/ld.so.conf` and what that includes.
    pub(crate) configured: Vec<String>,
    /// The way to `/etc/ld.so.cache`, if there is one.
    pub(crate) cache: Option<Vec<Landing>>,
}

impl Folders {
    /// The folders compiled in: the bytes of the loader hold them as strings one behind the other, each with a slash
    /// at both ends (`system_dirs` of `elf/dl-load.c`). Where they are not found: all that are usual.
    pub(crate) fn compiled_in(loader: &[u8], platform: Platform) -> Vec<String> {
        let starts = |bytes: &[u8]| bytes.starts_with(b"/lib");
        let mut at = 0;
        while let Some(found) = loader[at..].windows(5).position(|w| w[0] == 0 && starts(&w[1..])) {
            at += found + 1;
            let strings = loader[at..].split(|b| *b == 0).take(8);
            let folders: Vec<&str> = strings
                .map_while(|s| std::str::from_utf8(s).ok())
                .take_while(|s| s.len() > 1 && s.len() < 256 && s.starts_with('/') && s.ends_with('/'))
                .collect();
            if folders.len() >= 2 && folders.iter().any(|f| f.starts_with("/usr/lib")) {
                return folders.iter().map(|f| f.trim_end_matches('/').to_owned()).collect();
            }
        }
        let multiarch = match platform {
            Platform::Amd64 => "x86_64-linux-gnu",
            Platform::Arm64 => "aarch64-linux-gnu",
            Platform::ArmV7 | Platform::ArmV6 => "arm-linux-gnueabihf",
        };
        let mut all = vec![format!("/lib/{multiarch}"), format!("/usr/lib/{multiarch}")];
        all.extend(["/lib64", "/usr/lib64", "/lib", "/usr/lib"].map(str::to_owned));
        all
    }

    /// `DT_RPATH` and `DT_RUNPATH` as they count for an object, what stands for something put in.
    pub(crate) fn search_paths(&self, elf: &ElfFacts, found_as: &str) -> (Vec<String>, Vec<String>) {
        let expanded = |path: &[String]| path.iter().filter_map(|p| self.expand(p, found_as)).collect();
        // An object with DT_RUNPATH has no DT_RPATH (`elf_get_dynamic_info`).
        let rpath = if elf.runpath.is_empty() { expanded(&elf.rpath) } else { Vec::new() };
        (rpath, expanded(&elf.runpath))
    }

    /// Puts in `$ORIGIN` and `$LIB`; `None` where `$PLATFORM` makes it a matter of the processor.
    pub(crate) fn expand(&self, piece: &str, object: &str) -> Option<String> {
        let mut text = String::new();
        let mut rest = piece;
        while let Some((before, behind)) = rest.split_once('$') {
            text.push_str(before);
            let (name, after) = match behind.strip_prefix('{').and_then(|b| b.split_once('}')) {
                Some(braced) => braced,
                None => behind.split_at(
                    behind.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(behind.len()),
                ),
            };
            rest = after;
            match name {
                "ORIGIN" => text.push_str(object.rsplit_once('/').map_or(".", |(folder, _)| folder)),
                "LIB" => text.push_str(self.system.first().map_or("lib", |f| f.trim_start_matches('/'))),
                "PLATFORM" => return None,
                // What is no such word stays as it is (`_dl_dst_substitute`).
                _ => {
                    text.push('$');
                    rest = behind;
                }
            }
        }
        text.push_str(rest);
        Some(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_folders_of_a_loader_are_read_out_of_it() {
        let bytes = b"\x7fELF\0/lib/x\0no\0\0/lib64/\0/usr/lib64/\0\0junk";
        assert_eq!(Folders::compiled_in(bytes, Platform::Amd64), ["/lib64", "/usr/lib64"]);
        let usual = Folders::compiled_in(b"", Platform::ArmV7);
        assert_eq!(usual[..2], ["/lib/arm-linux-gnueabihf", "/usr/lib/arm-linux-gnueabihf"]);
    }

    #[test]
    fn words_behind_a_dollar_are_put_in_and_others_stay() {
        let folders = Folders { system: vec!["/lib/x86_64-linux-gnu".to_owned()], ..Folders::default() };
        let expand = |text: &str| folders.expand(text, "/opt/x/bin/p");
        assert_eq!(expand("$ORIGIN/../${LIB}/y").unwrap(), "/opt/x/bin/../lib/x86_64-linux-gnu/y");
        assert_eq!(expand("${ORIGIN}").unwrap(), "/opt/x/bin");
        assert_eq!(expand("/a/$ORIGINAL/$x$").unwrap(), "/a/$ORIGINAL/$x$");
        assert_eq!(expand("/usr/lib/$PLATFORM"), None);
    }
}
