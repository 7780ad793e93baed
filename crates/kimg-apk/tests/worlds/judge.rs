//! The real apk 2.12.7 in a root of its own, asked what it would do.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use flate2::{Compression, write::GzEncoder};
use kimg_apk::{Dependency, Record};
use tempfile::TempDir;

use crate::real::{self, skipped};

/// Names and versions of the packages that are there at the end.
pub type Packages = BTreeMap<String, String>;

/// These packages as an index tells of them, without what only people read: half of the time apk reads that.
pub fn index_text<'a>(records: impl IntoIterator<Item = &'a Record>) -> String {
    let mut text = String::new();
    for record in records {
        let Record { name, version, arch, size, installed_size, provider_priority, .. } = record;
        if let Some(identity) = &record.identity {
            writeln!(text, "C:{identity}").unwrap();
        }
        writeln!(text, "P:{name}\nV:{version}\nA:{arch}\nS:{size}\nI:{installed_size}").unwrap();
        let joined = |list: &[Dependency]| list.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
        let provides: Vec<String> = record.provides.iter().map(ToString::to_string).collect();
        for (letter, value) in [
            ('k', Some(provider_priority).filter(|k| **k > 0).map_or_else(String::new, ToString::to_string)),
            ('D', joined(&record.depends)),
            ('p', provides.join(" ")),
            ('i', joined(&record.install_if)),
        ] {
            if !value.is_empty() {
                writeln!(text, "{letter}:{value}").unwrap();
            }
        }
        text.push('\n');
    }
    text
}

/// The name without the tag that apk writes behind it.
fn untagged(name: &str) -> String {
    name.split('@').next().unwrap_or(name).to_owned()
}

/// A root with apk in it, and below it at `/out` the root that apk is asked about.
pub struct Judge {
    root: TempDir,
    installed: Packages,
}

impl Judge {
    /// With these indexes, in this order; `None`, visibly, where it can't be.
    pub fn new(indexes: &[&Path]) -> Option<Self> {
        let input = real::input()?;
        if !fs_err::read_to_string("/proc/self/status").unwrap().contains("\nUid:\t0\t0\t") {
            skipped("chroot wants root");
            return None;
        }
        let judge = Self { root: TempDir::new().unwrap(), installed: Packages::new() };
        let root = judge.root.path();
        let minirootfs = input.join("minirootfs/alpine-minirootfs-3.15.11-x86_64.tar.gz");
        let unpacked = Command::new("tar").arg("xzf").arg(minirootfs).arg("-C").arg(root).status().unwrap();
        assert!(unpacked.success());
        let mut repositories = Vec::new();
        for (number, index) in indexes.iter().enumerate() {
            let folder = root.join(number.to_string()).join("x86_64");
            fs_err::create_dir_all(&folder).unwrap();
            fs_err::copy(index, folder.join("APKINDEX.tar.gz")).unwrap();
            repositories.push(format!("/{number}\n"));
        }
        // In this order: what is given by `-X` comes the other way round in 2.12.
        fs_err::write(root.join("repositories"), repositories.concat()).unwrap();
        judge.apk(&["add", "--initdb"]);
        Some(judge)
    }

    /// Makes the root below one that has these packages, and was made for this world.
    pub fn install(&mut self, database: &str, world: &str) {
        fs_err::write(self.root.path().join("out/lib/apk/db/installed"), database).unwrap();
        fs_err::write(self.root.path().join("out/etc/apk/world"), world).unwrap();
        self.installed.clear();
        let mut name = String::new();
        for line in database.lines() {
            if let Some(found) = line.strip_prefix("P:") {
                found.clone_into(&mut name);
            } else if let Some(version) = line.strip_prefix("V:") {
                self.installed.insert(name.clone(), version.to_owned());
            }
        }
    }

    /// Lists the repositories as in `etc/apk/repositories`: `/0`, `@edge /1`.
    pub fn list_repositories(&self, lines: &str) {
        fs_err::write(self.root.path().join("repositories"), lines).unwrap();
    }

    /// Gives it this text in the place of an index: the first, the second, ….
    pub fn put_index(&self, number: usize, text: &str) {
        let mut archive = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::none()));
        for (name, bytes) in [("DESCRIPTION", "made"), ("APKINDEX", text)] {
            let mut header = tar::Header::new_ustar();
            header.set_size(bytes.len() as u64);
            header.set_entry_type(tar::EntryType::Regular);
            archive.append_data(&mut header, name, bytes.as_bytes()).unwrap();
        }
        let bytes = archive.into_inner().unwrap().finish().unwrap();
        let folder = self.root.path().join(number.to_string()).join("x86_64");
        fs_err::write(folder.join("APKINDEX.tar.gz"), bytes).unwrap();
    }

    /// What the root that apk itself comes from has: its database of installed packages, and its world.
    pub fn own_root(&self) -> (String, String) {
        ["lib/apk/db/installed", "etc/apk/world"]
            .map(|path| fs_err::read_to_string(self.root.path().join(path)).unwrap())
            .into()
    }

    fn apk(&self, arguments: &[&str]) -> String {
        let mut command = Command::new("chroot");
        command.arg(self.root.path());
        command.args(["/sbin/apk", "--root", "/out", "--arch", "x86_64", "--no-network"]);
        command.args(["--allow-untrusted", "--repositories-file", "/repositories"]).args(arguments);
        let output = command.stdin(Stdio::null()).output().unwrap();
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
    }

    /// The packages that would be there after `apk add` with these wishes, or none where it refuses.
    pub fn packages(&self, wishes: &str) -> Option<Packages> {
        let arguments: Vec<&str> = ["add", "--simulate"].into_iter().chain(wishes.split(' ')).collect();
        let printed = self.apk(&arguments);
        assert!(!printed.contains("WARNING: Ignoring"), "{printed}");
        if printed.contains("ERROR") {
            return None;
        }
        assert!(printed.contains("OK: "), "apk neither did nor refused it: {wishes}\n{printed}");
        let mut packages = self.installed.clone();
        for line in printed.lines() {
            let words: Vec<&str> = line.split([' ', '(', ')']).filter(|word| !word.is_empty()).collect();
            match words[..] {
                [_, "Installing", name, version]
                | [_, "Upgrading" | "Downgrading" | "Replacing", name, _, "->", version] => {
                    packages.insert(untagged(name), version.to_owned());
                }
                [_, "Purging", name, _] => {
                    packages.remove(&untagged(name));
                }
                _ => {}
            }
        }
        Some(packages)
    }

    /// The answers to many, in their order. Two at a time: half a second goes into reading Alpine's indexes.
    pub fn answers<S: AsRef<str> + Sync>(&self, worlds: &[S]) -> Vec<Option<Packages>> {
        let (first, second) = worlds.split_at(worlds.len() / 2);
        let ask =
            |worlds: &[S]| -> Vec<_> { worlds.iter().map(|world| self.packages(world.as_ref())).collect() };
        std::thread::scope(|scope| {
            let first = scope.spawn(|| ask(first));
            let second = ask(second);
            [first.join().unwrap(), second].concat()
        })
    }
}
