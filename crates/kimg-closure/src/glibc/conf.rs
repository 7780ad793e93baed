//! `/etc/ld.so.conf`: the folders that `ldconfig` puts into `/etc/ld.so.cache`.
//!
//! The cache itself is not read: its form changes from version to version, and it says nothing that the settings
//! and the folders do not. It is taken as up to date, each library under the name that is its `DT_SONAME`.

use globset::GlobBuilder;
use kimg_core::ImagePath;

use crate::lookup::find;
use crate::walk::Walk;

/// Settings may include others so deep (`elf/ldconfig.c` knows no limit but memory).
const MAX_DEPTH: usize = 8;
/// The longest file of settings that is read, in bytes.
const MAX_SETTINGS: u64 = 64 << 10;
/// More folders than any real system lists.
const MAX_FOLDERS: usize = 4096;

impl Walk<'_> {
    /// The folders of `/etc/ld.so.conf`, in order.
    pub(super) fn configured_folders(&self) -> Vec<String> {
        let mut folders = Vec::new();
        self.settings("/etc/ld.so.conf", 0, &mut folders);
        folders
    }

    fn settings(&self, file: &str, depth: usize, folders: &mut Vec<String>) {
        let found = find(self.request.tree, file).ok().and_then(|mut landings| landings.pop());
        let Some(text) = found.and_then(|landing| self.text(&landing.at, MAX_SETTINGS)) else { return };
        for line in text.lines() {
            if folders.len() >= MAX_FOLDERS {
                return;
            }
            match Line::read(line) {
                Line::Folder(folder) if !folders.contains(&folder) => folders.push(folder),
                Line::Include(patterns) if depth < MAX_DEPTH => {
                    for pattern in patterns {
                        let above = file.rsplit_once('/').map_or("", |(folder, _)| folder);
                        let pattern =
                            if pattern.starts_with('/') { pattern } else { format!("{above}/{pattern}") };
                        for included in self.included(&pattern) {
                            self.settings(&included, depth + 1, folders);
                        }
                    }
                }
                _ => {}
            }
        }
    }

    /// The files that an `include` means, in order: wildcards only in the last name.
    fn included(&self, pattern: &str) -> Vec<String> {
        let Some((folder, name)) = pattern.rsplit_once('/') else { return Vec::new() };
        if !name.contains(['*', '?', '[']) {
            return vec![pattern.to_owned()];
        }
        let Ok(glob) = GlobBuilder::new(name).literal_separator(true).build() else { return Vec::new() };
        let glob = glob.compile_matcher();
        let Some(at) = find(self.request.tree, folder).ok().and_then(|mut landings| landings.pop()) else {
            return Vec::new();
        };
        let below = self.request.tree.below(&at.at);
        let here = below.filter(|(path, _)| path.parent().as_ref() == Some(&at.at));
        here.filter(|(path, _)| path.file_name().is_some_and(|n| !n.starts_with('.') && glob.is_match(n)))
            .map(|(path, _): (ImagePath, _)| path.to_string())
            .collect()
    }
}

/// One line of the settings (`parse_conf`).
#[derive(Debug, PartialEq, Eq)]
enum Line {
    Folder(String),
    Include(Vec<String>),
    Nothing,
}

impl Line {
    fn read(line: &str) -> Self {
        let line = line.split('#').next().unwrap_or_default().trim();
        let mut words = line.split_whitespace();
        match words.next() {
            None | Some("hwcap") => Self::Nothing,
            Some("include") => Self::Include(words.map(str::to_owned).collect()),
            // `/usr/lib=libc6` says of what kind its libraries are.
            Some(_) => {
                let folder = line.split('=').next().unwrap_or_default();
                let folder = folder.trim_end_matches(|c: char| c == '/' || c.is_whitespace());
                if folder.starts_with('/') { Self::Folder(folder.to_owned()) } else { Self::Nothing }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_the_settings_are_read_as_ldconfig_reads_them() {
        let folder = |text: &str| Line::Folder(text.to_owned());
        assert_eq!(Line::read("  /usr/local/lib/ # mine"), folder("/usr/local/lib"));
        assert_eq!(Line::read("/opt/lib=libc6"), folder("/opt/lib"));
        assert_eq!(
            Line::read("include ld.so.conf.d/*.conf"),
            Line::Include(vec!["ld.so.conf.d/*.conf".into()])
        );
        for nothing in ["", "# /lib", "hwcap 0 nosegneg", "lib/x"] {
            assert_eq!(Line::read(nothing), Line::Nothing, "{nothing}");
        }
    }
}
