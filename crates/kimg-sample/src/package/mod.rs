//! Builds packages in Alpine's format: APK v2, three gzip members (signature, control, data).
//!
//! ```
//! use kimg_core::Platform;
//! use kimg_sample::Signer;
//! use kimg_sample::package::{PackageBuilder, TarEntry};
//!
//! let package = PackageBuilder::new("hello", "1.0-r0", Platform::Arm64)
//!     .depends(["so:libc.musl-aarch64.so.1"])
//!     .provides(["cmd:hello=1.0-r0"])
//!     .entry(TarEntry::program("usr/bin/hello", *b"#!/bin/sh\n"))
//!     .build(&Signer::sample());
//! assert_eq!(package.file_name(), "hello-1.0-r0.apk");
//! assert!(package.record().contains("P:hello\nV:1.0-r0\nA:aarch64\n"));
//! ```

pub(crate) mod archive;
mod built;

use std::collections::BTreeSet;
use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use kimg_core::{Digest, Platform};
use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};

pub use archive::{BUILD_TIME, TarEntry, TarKind};
pub use built::BuiltPackage;
pub(crate) use built::signature_member;

use crate::Signer;
use archive::{cut_tar, gzip, whole_tar};

/// A package to be built: what `.PKGINFO` says and the files it ships.
#[derive(Debug, Clone)]
pub struct PackageBuilder {
    name: String,
    version: String,
    arch: String,
    description: String,
    url: String,
    license: String,
    origin: String,
    maintainer: String,
    depends: Vec<String>,
    provides: Vec<String>,
    provider_priority: Option<u32>,
    install_if: Vec<String>,
    replaces: Vec<String>,
    replaces_priority: Option<u32>,
    triggers: Vec<String>,
    scripts: Vec<(String, String)>,
    entries: Vec<TarEntry>,
    parents: bool,
}

/// Adds a method that appends words to a list.
macro_rules! appends {
    ($($(#[$doc:meta])* $field:ident;)*) => {$(
        $(#[$doc])*
        pub fn $field<W: Into<String>>(mut self, words: impl IntoIterator<Item = W>) -> Self {
            self.$field.extend(words.into_iter().map(Into::into));
            self
        }
    )*};
}

/// Adds a method that sets a text.
macro_rules! sets {
    ($($(#[$doc:meta])* $field:ident;)*) => {$(
        $(#[$doc])*
        pub fn $field(mut self, text: impl Into<String>) -> Self {
            self.$field = text.into();
            self
        }
    )*};
}

impl PackageBuilder {
    /// A package without needs and files. `version` is in Alpine's form, `1.34.2-r0`.
    pub fn new(name: impl Into<String>, version: impl Into<String>, platform: Platform) -> Self {
        let name = name.into();
        Self {
            origin: name.clone(),
            name,
            version: version.into(),
            arch: platform.alpine().to_owned(),
            description: "made by kimg-sample".to_owned(),
            url: "https://example.invalid/".to_owned(),
            license: "Apache-2.0".to_owned(),
            maintainer: "nobody <nobody@example.invalid>".to_owned(),
            depends: Vec::new(),
            provides: Vec::new(),
            provider_priority: None,
            install_if: Vec::new(),
            replaces: Vec::new(),
            replaces_priority: None,
            triggers: Vec::new(),
            scripts: Vec::new(),
            entries: Vec::new(),
            parents: true,
        }
    }

    sets! {
        /// Sets `arch`, for example `noarch`.
        arch;
        /// Sets `pkgdesc`.
        description;
        /// Sets `url`.
        url;
        /// Sets `license`.
        license;
        /// Sets `origin`, the package's own name when not said.
        origin;
        /// Sets `maintainer`.
        maintainer;
    }

    appends! {
        /// Adds dependencies, one a word: `so:libz.so.1`, `busybox>=1.36`, `!other`.
        depends;
        /// Adds provided names: `cmd:ip=6.6.0-r0`, `so:libz.so.1=1.3.1`, `/bin/sh`.
        provides;
        /// Adds conditions under which the package comes by itself.
        install_if;
        /// Adds packages whose files it may take over.
        replaces;
        /// Adds folders whose change starts its trigger script.
        triggers;
    }

    /// Sets `provider_priority`.
    pub fn provider_priority(mut self, priority: u32) -> Self {
        self.provider_priority = Some(priority);
        self
    }

    /// Sets `replaces_priority`.
    pub fn replaces_priority(mut self, priority: u32) -> Self {
        self.replaces_priority = Some(priority);
        self
    }

    /// Adds a script: `post-install`, `pre-upgrade`, `trigger`, … and its text.
    pub fn script(mut self, name: &str, text: impl Into<String>) -> Self {
        self.scripts.push((name.to_owned(), text.into()));
        self
    }

    /// Adds an entry of the data member, in this order.
    pub fn entry(mut self, entry: TarEntry) -> Self {
        self.entries.push(entry);
        self
    }

    /// Adds entries of the data member, in this order.
    pub fn entries(mut self, entries: impl IntoIterator<Item = TarEntry>) -> Self {
        self.entries.extend(entries);
        self
    }

    /// Leaves out the parent folders that are otherwise added, 0755 root, as real packages ship them.
    pub fn without_parents(mut self) -> Self {
        self.parents = false;
        self
    }

    /// Builds the three members and the record for an index.
    pub fn build(&self, signer: &Signer) -> BuiltPackage {
        let entries = if self.parents { with_parents(&self.entries) } else { self.entries.clone() };
        let installed: u64 = entries.iter().map(TarEntry::size).sum();

        let data = gzip(&whole_tar(&entries, true));
        let mut control = vec![TarEntry::file(".PKGINFO", self.pkginfo(installed, &Digest::of(&data).hex()))];
        control.extend(
            self.scripts.iter().map(|(name, text)| TarEntry::program(format!(".{name}"), text.clone())),
        );
        let control = gzip(&cut_tar(&control));
        let signature = signature_member(signer, &control);

        let member_sizes = [signature.len(), control.len(), data.len()];
        let fields = self.fields(&control, member_sizes.iter().sum(), installed);
        BuiltPackage {
            name: self.name.clone(),
            version: self.version.clone(),
            fields,
            member_sizes,
            bytes: [signature, control, data].concat(),
        }
    }

    fn pkginfo(&self, installed: u64, data_hash: &str) -> String {
        let mut text = "# made by kimg-sample\n".to_owned();
        let mut line = |key: &str, value: &str| {
            let _ = writeln!(text, "{key} = {value}");
        };
        line("pkgname", &self.name);
        line("pkgver", &self.version);
        line("pkgdesc", &self.description);
        line("url", &self.url);
        line("builddate", &BUILD_TIME.to_string());
        line("packager", &self.maintainer);
        line("size", &installed.to_string());
        line("arch", &self.arch);
        line("origin", &self.origin);
        line("maintainer", &self.maintainer);
        line("license", &self.license);
        for (key, number) in
            [("provider_priority", self.provider_priority), ("replaces_priority", self.replaces_priority)]
        {
            if let Some(number) = number {
                line(key, &number.to_string());
            }
        }
        for (key, words) in
            [("depend", &self.depends), ("provides", &self.provides), ("replaces", &self.replaces)]
        {
            for word in words {
                line(key, word);
            }
        }
        for (key, words) in [("install_if", &self.install_if), ("triggers", &self.triggers)] {
            if !words.is_empty() {
                line(key, &words.join(" "));
            }
        }
        line("datahash", data_hash);
        text
    }

    /// The index's fields in Alpine's order; `C:` is the SHA-1 of the control member as compressed.
    fn fields(&self, control: &[u8], size: usize, installed: u64) -> Vec<(char, String)> {
        let identity = STANDARD.encode(digest(&SHA1_FOR_LEGACY_USE_ONLY, control));
        let optional = |words: &[String]| (!words.is_empty()).then(|| words.join(" "));
        let fields = [
            ('C', Some(format!("Q1{identity}"))),
            ('P', Some(self.name.clone())),
            ('V', Some(self.version.clone())),
            ('A', Some(self.arch.clone())),
            ('S', Some(size.to_string())),
            ('I', Some(installed.to_string())),
            ('T', Some(self.description.clone())),
            ('U', Some(self.url.clone())),
            ('L', Some(self.license.clone())),
            ('o', Some(self.origin.clone())),
            ('m', Some(self.maintainer.clone())),
            ('t', Some(BUILD_TIME.to_string())),
            ('k', self.provider_priority.map(|p| p.to_string())),
            ('D', optional(&self.depends)),
            ('p', optional(&self.provides)),
            ('i', optional(&self.install_if)),
        ];
        fields.into_iter().filter_map(|(letter, value)| Some((letter, value?))).collect()
    }
}

/// Each folder before what lies in it, unless an entry stands there already.
fn with_parents(entries: &[TarEntry]) -> Vec<TarEntry> {
    let mut there: BTreeSet<&str> = entries.iter().map(|e| e.path.trim_end_matches('/')).collect();
    let mut all = Vec::new();
    for entry in entries {
        for (slash, _) in entry.path.trim_end_matches('/').match_indices('/') {
            if slash > 0 && there.insert(&entry.path[..slash]) {
                all.push(TarEntry::directory(&entry.path[..slash]));
            }
        }
        all.push(entry.clone());
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parents_stand_before_what_lies_in_them_and_never_twice() {
        let entries = [
            TarEntry::file("usr/bin/a", ""),
            TarEntry::file("usr/lib/b", ""),
            TarEntry::directory("etc").mode(0o700),
            TarEntry::file("etc/c", ""),
            TarEntry::file("/absolute", ""),
        ];
        let paths: Vec<_> =
            with_parents(&entries).iter().map(|e| format!("{:o} {}", e.mode, e.path)).collect();
        let expected = [
            "755 usr",
            "755 usr/bin",
            "644 usr/bin/a",
            "755 usr/lib",
            "644 usr/lib/b",
            "700 etc",
            "644 etc/c",
            "644 /absolute",
        ];
        assert_eq!(paths, expected);
    }

    #[test]
    fn without_parents_only_the_given_entries_are_shipped() {
        let builder =
            PackageBuilder::new("a", "1-r0", Platform::Amd64).entry(TarEntry::file("usr/bin/a", ""));
        let paths = |builder: &PackageBuilder| {
            let package = builder.build(&Signer::sample());
            let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(package.members()[2]));
            let paths = archive.entries().unwrap().map(|e| e.unwrap().path().unwrap().display().to_string());
            paths.collect::<Vec<_>>()
        };
        assert_eq!(paths(&builder), ["usr/", "usr/bin/", "usr/bin/a"]);
        assert_eq!(paths(&builder.without_parents()), ["usr/bin/a"]);
    }
}
