//! Makes a sample package from a few words: its programs, libraries and links, and what follows from them,
//! the `so:` names it needs and the `so:` and `cmd:` names it provides.

use std::collections::BTreeSet;

use kimg_core::Platform;
use kimg_core::variant::COMMAND_PATH;

use crate::elf::{Library, Program, musl_libc_name};
use crate::package::{PackageBuilder, TarEntry};

/// Makes packages for one platform.
#[derive(Debug, Clone, Copy)]
pub(super) struct Maker {
    pub(super) platform: Platform,
}

impl Maker {
    pub(super) fn new(platform: Platform) -> Self {
        Self { platform }
    }

    /// A package that claims to be `of` something: "Kubernetes", "iptables".
    pub(super) fn package(self, name: &str, version: &str, of: &str) -> SamplePackage {
        let builder = PackageBuilder::new(name, version, self.platform)
            .description(format!("SAMPLE of {of}, made by kimg: does nothing but say so"));
        SamplePackage {
            platform: self.platform,
            version: version.to_owned(),
            of: of.to_owned(),
            builder,
            needed: BTreeSet::new(),
            sonames: BTreeSet::new(),
        }
    }
}

/// A package in the making.
#[derive(Debug, Clone)]
pub(super) struct SamplePackage {
    platform: Platform,
    version: String,
    of: String,
    builder: PackageBuilder,
    /// The libraries that its programs and libraries need.
    needed: BTreeSet<String>,
    /// The libraries it has itself.
    sonames: BTreeSet<String>,
}

impl SamplePackage {
    /// Changes the package in a way that this type has no word for.
    pub(super) fn with(mut self, change: impl FnOnce(PackageBuilder) -> PackageBuilder) -> Self {
        self.builder = change(self.builder);
        self
    }

    /// A dynamic program that needs the C library and these others.
    pub(super) fn program(mut self, path: &str, needed: &[&str]) -> Self {
        let needed = self.needs(needed);
        let program = Program::dynamic(self.platform, needed, self.says(path)).build();
        self.command(path).with(|p| p.entry(TarEntry::program(path, program)))
    }

    /// A static program.
    pub(super) fn static_program(self, path: &str) -> Self {
        let program = Program::fixed(self.platform, self.says(path)).build();
        self.command(path).with(|p| p.entry(TarEntry::program(path, program)))
    }

    /// A library in a file named after its version, and the link from its soname to it where the two differ.
    pub(super) fn library(mut self, folder: &str, soname: &str, version: &str, needed: &[&str]) -> Self {
        // libx.so.1 of version 1.2.0 lies in libx.so.1.2.0.
        let stem = soname.split_once(".so.").map_or(soname, |(stem, _)| stem);
        let file = format!("{stem}.so.{version}");
        let needed = self.needs(needed);
        let library = Library::new(self.platform, soname, needed).build();
        self.sonames.insert(soname.to_owned());
        let link = (file != soname).then(|| TarEntry::symlink(format!("{folder}/{soname}"), file.clone()));
        self.with(|p| {
            p.provides([format!("so:{soname}={version}")])
                .entry(TarEntry::program(format!("{folder}/{file}"), library))
                .entries(link)
        })
    }

    /// A library without a name, which nobody's needs lead to.
    pub(super) fn plugin(mut self, path: &str, needed: &[&str]) -> Self {
        let needed = self.needs(needed);
        let plugin = Library::plugin(self.platform, needed).build();
        self.with(|p| p.entry(TarEntry::program(path, plugin)))
    }

    /// A symbolic link; one in a folder of commands is a command.
    pub(super) fn link(self, path: &str, target: &str) -> Self {
        self.command(path).with(|p| p.entry(TarEntry::symlink(path, target)))
    }

    /// A text that every reader of it sees to be a sample's; the caller writes that into it.
    pub(super) fn text(self, path: &str, text: &str) -> Self {
        self.with(|p| p.entry(TarEntry::file(path, text)))
    }

    /// The package, with what follows from its programs and libraries.
    pub(super) fn finish(self) -> PackageBuilder {
        let missing: Vec<String> =
            self.needed.difference(&self.sonames).map(|name| format!("so:{name}")).collect();
        self.builder.depends(missing)
    }

    /// The needs of a file, the C library last as linkers write it; the package depends on them too.
    fn needs(&mut self, needed: &[&str]) -> Vec<String> {
        let mut all: Vec<String> = needed.iter().map(|name| (*name).to_owned()).collect();
        all.push(musl_libc_name(self.platform));
        self.needed.extend(all.iter().cloned());
        all
    }

    /// Provides the command if the path lies where commands are searched.
    fn command(self, path: &str) -> Self {
        let provided = path
            .rsplit_once('/')
            .filter(|(folder, _)| COMMAND_PATH.iter().any(|searched| searched[1..] == **folder))
            .map(|(_, name)| format!("cmd:{name}={}", self.version));
        self.with(|p| p.provides(provided))
    }

    /// What a program at this path prints.
    fn says(&self, path: &str) -> String {
        let name = path.rsplit('/').next().unwrap_or(path);
        let version = self.version.rsplit_once("-r").map_or(self.version.as_str(), |(version, _)| version);
        format!("{name} sample v{version} ({}): this is a sample, not {}\n", self.platform, self.of)
    }
}
