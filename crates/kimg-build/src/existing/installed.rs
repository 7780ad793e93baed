//! What an image's own database of packages says (apk-tools 2, `lib/apk/db/installed`): which packages there are, and which
//! path is whose.

use std::collections::BTreeMap;

use kimg_core::ImagePath;
use kimg_report::InstalledPackage;

/// Where the database lies, before and after Alpine's merge of `/lib` into `/usr/lib`.
pub const PLACES: [&str; 2] = ["/lib/apk/db/installed", "/usr/lib/apk/db/installed"];

/// The packages of a database, and for each path the name of its package.
#[derive(Debug, Default)]
pub struct Installed {
    /// The packages by their names.
    pub packages: BTreeMap<String, InstalledPackage>,
    /// Each path with the name of its package.
    pub owners: Vec<(ImagePath, String)>,
}

/// Reads a database. Lines that are not understood say nothing: an image is compared as well as it can be.
pub fn read(text: &str) -> Installed {
    let mut installed = Installed::default();
    for block in text.split("\n\n") {
        let fields = || block.lines().filter_map(|line| line.split_once(':'));
        let field = |letter: &str| fields().find(|(name, _)| *name == letter).map(|(_, value)| value);
        let (Some(name), Some(version)) = (field("P"), field("V")) else { continue };
        let package = InstalledPackage {
            version: version.to_owned(),
            identity: field("C").unwrap_or_default().to_owned(),
        };
        installed.packages.insert(name.to_owned(), package);
        let mut folder = "";
        for (letter, value) in fields() {
            let path = match letter {
                "F" => {
                    folder = value;
                    value.to_owned()
                }
                "R" => format!("{folder}/{value}"),
                _ => continue,
            };
            if let Ok(path) = ImagePath::new(&path) {
                installed.owners.push((path, name.to_owned()));
            }
        }
    }
    installed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_and_their_paths_are_read() {
        let text = "C:Q1abc=\nP:musl\nV:1.2.2-r8\nF:lib\nR:libc.musl-x86_64.so.1\na:0:0:777\nF:\nR:top\n\n\
                    P:broken\n\nP:kubelet\nV:1.20.2-r0\nF:usr/bin\nR:kubelet\nR:../../etc/passwd\n\n";
        let installed = read(text);
        assert_eq!(installed.packages["musl"].version, "1.2.2-r8");
        assert_eq!(installed.packages["musl"].identity, "Q1abc=");
        assert_eq!(installed.packages.len(), 2);
        let owners: Vec<_> = installed.owners.iter().map(|(p, n)| format!("{p} {n}")).collect();
        let expected = [
            "/lib musl",
            "/lib/libc.musl-x86_64.so.1 musl",
            "/ musl",
            "/top musl",
            "/usr/bin kubelet",
            "/usr/bin/kubelet kubelet",
        ];
        assert_eq!(owners, expected);
    }
}
