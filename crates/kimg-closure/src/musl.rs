//! How musl's loader turns a name into files: the rules alone, without a file tree.
//!
//! Source: musl, `ldso/dynlink.c` (`load_library`, `path_open`, `fixup_rpath`), the same from 1.1.20 to 1.2.5.
//! How they are applied to the files of a root: `musl/load.rs`.

mod load;

use kimg_core::Platform;

/// The folders that are searched when there is no `/etc/ld-musl-<arch>.path`.
pub(crate) const COMMON_FOLDERS: [&str; 3] = ["/lib", "/usr/local/lib", "/usr/lib"];
/// A longer name is not searched for (`NAME_MAX`).
pub(crate) const MAX_NAME: usize = 255;
/// A longer path is passed over (`char buf[2*NAME_MAX+2]`, with the final zero).
pub(crate) const MAX_PATH: usize = 2 * 255 + 1;

/// Whether a name is one that musl takes as itself and loads nothing for: `libc.so`, `libpthread.so.0`,
/// `libc.musl-x86_64.so.1`, …, and so `libc.so.6` too.
pub(crate) fn is_reserved(name: &str) -> bool {
    let Some((first, _)) = name.strip_prefix("lib").and_then(|rest| rest.split_once('.')) else {
        return false;
    };
    ["c", "pthread", "rt", "m", "dl", "util", "xnet"].contains(&first)
}

/// The file in which the folders to search may be listed: below the folder above the loader's own.
pub(crate) fn path_file(interpreter: &str, platform: Platform) -> String {
    let mut slashes = interpreter.rmatch_indices('/').map(|(at, _)| at);
    let prefix = slashes.nth(1).map_or("", |at| &interpreter[..at]);
    format!("{prefix}/etc/ld-musl-{}.path", platform.musl())
}

/// Cuts a search path as musl does: at `:` and at the ends of lines, empty pieces left out.
pub(crate) fn cut(path: &str) -> Vec<String> {
    path.split([':', '\n']).filter(|p| !p.is_empty()).map(str::to_owned).collect()
}

/// Puts the folder of the object in for `$ORIGIN`. Any other `$` makes musl ignore the whole path.
pub(crate) fn expand(path: &[String], object: &str) -> Vec<String> {
    let origin = match object.rsplit_once('/') {
        Some((folder, _)) => folder,
        None => ".",
    };
    let expanded = path.iter().map(|piece| {
        let piece = piece.replace("${ORIGIN}", "$ORIGIN");
        (piece.matches('$').count() == piece.matches("$ORIGIN").count())
            .then(|| piece.replace("$ORIGIN", origin))
    });
    expanded.collect::<Option<Vec<_>>>().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_the_c_library_in_any_spelling_are_the_loader_itself() {
        for name in
            ["libc.so", "libc.so.6", "libc.musl-x86_64.so.1", "libpthread.so.0", "libm.so.6", "libxnet."]
        {
            assert!(is_reserved(name), "{name}");
        }
        for name in ["libcap.so.2", "libc", "libmnl.so.0", "libresolv.so.2", "libcrypt.so.1", "xlibc.so"] {
            assert!(!is_reserved(name), "{name}");
        }
    }

    #[test]
    fn the_path_file_lies_below_the_loader_s_own_prefix() {
        assert_eq!(path_file("/lib/ld-musl-x86_64.so.1", Platform::Amd64), "/etc/ld-musl-x86_64.path");
        assert_eq!(path_file("/opt/a/lib/ld.so", Platform::ArmV7), "/opt/a/etc/ld-musl-armhf.path");
        assert_eq!(path_file("ld.so", Platform::Arm64), "/etc/ld-musl-aarch64.path");
    }

    #[test]
    fn origin_is_the_folder_of_the_object_and_other_dollars_spoil_the_path() {
        let path = |text: &str| expand(&cut(text), "/opt/x/bin/p");
        assert_eq!(path("$ORIGIN/../lib:/usr/x"), ["/opt/x/bin/../lib", "/usr/x"]);
        assert_eq!(path("${ORIGIN}"), ["/opt/x/bin"]);
        assert!(path("/usr/x:$LIB/y").is_empty());
    }
}
