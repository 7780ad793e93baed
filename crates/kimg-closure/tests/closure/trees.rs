//! Small trees, and closing over them in one line.

use kimg_closure::{Closure, ClosureError, MemoryFacts, Needs, Request, Root, Rules, close, needs};
use kimg_core::{Content, Entry, FileTree, ImagePath, Origin, Platform};

use crate::elf_writer::Elf;

/// What the made-up trees are for, where it does not matter.
pub(crate) const HERE: Platform = Platform::Amd64;

pub(crate) fn path(text: &str) -> ImagePath {
    ImagePath::new(text).unwrap()
}

/// A tree with a loader, to which files are added.
pub(crate) struct Tree {
    pub(crate) files: FileTree,
    pub(crate) platform: Platform,
    pub(crate) rules: Rules,
    pub(crate) library_path: Vec<ImagePath>,
}

impl Tree {
    pub(crate) fn new() -> Self {
        Self::of(HERE)
    }

    pub(crate) fn of(platform: Platform) -> Self {
        let empty = Self { files: FileTree::new(), platform, rules: Rules::none(), library_path: Vec::new() };
        let loader = format!("/lib/ld-musl-{}.so.1", platform.musl());
        let musl = Elf { soname: Some("libc.so".to_owned()), ..Elf::library(platform) };
        empty
            .elf(&loader, &musl)
            .link(&format!("/lib/libc.musl-{}.so.1", platform.musl()), loader.rsplit('/').next().unwrap())
    }

    pub(crate) fn elf(self, at: &str, elf: &Elf) -> Self {
        self.entry(at, Entry::file(elf.content(), 0o755, origin()))
    }

    pub(crate) fn data(self, at: &str, text: &str) -> Self {
        self.entry(at, Entry::file(Content::from_bytes(text), 0o644, origin()))
    }

    pub(crate) fn script(self, at: &str, text: &str) -> Self {
        self.entry(at, Entry::file(Content::from_bytes(text), 0o755, origin()))
    }

    pub(crate) fn link(self, at: &str, target: &str) -> Self {
        self.entry(at, Entry::symlink(target, origin()))
    }

    pub(crate) fn folder(self, at: &str) -> Self {
        self.entry(at, Entry::directory(origin()))
    }

    pub(crate) fn rules(mut self, text: &str) -> Self {
        self.rules.extend(Rules::parse("test.toml", text).unwrap());
        self
    }

    pub(crate) fn library_path(mut self, folder: &str) -> Self {
        self.library_path.push(path(folder));
        self
    }

    pub(crate) fn entry(mut self, at: &str, entry: Entry) -> Self {
        self.files.insert(path(at), entry);
        self.files.add_parents(&origin());
        self
    }

    pub(crate) fn close(&self, roots: &[&str]) -> Result<Closure, ClosureError> {
        close(&self.request(&as_roots(roots), &MemoryFacts::default()))
    }

    /// What the roots need, past everything that is missing.
    pub(crate) fn needs(&self, roots: &[&str]) -> Needs {
        needs(&self.request(&as_roots(roots), &MemoryFacts::default()))
    }

    fn request<'a>(&'a self, roots: &'a [Root], facts: &'a MemoryFacts) -> Request<'a> {
        Request {
            tree: &self.files,
            platform: self.platform,
            roots,
            rules: &self.rules,
            library_path: &self.library_path,
            facts,
        }
    }

    /// The files and links of the closure, folders left out.
    pub(crate) fn files(&self, roots: &[&str]) -> Vec<String> {
        let closure = self.close(roots).unwrap_or_else(|error| panic!("{error}"));
        let files = closure.iter().filter(|(path, _)| !self.files.get(path).unwrap().is_directory());
        files.map(|(path, _)| path.to_string()).collect()
    }

    pub(crate) fn error(&self, root: &str) -> ClosureError {
        self.close(&[root]).expect_err("closed, though it should not have")
    }
}

pub(crate) fn as_roots(paths: &[&str]) -> Vec<Root> {
    let root = |at: &&str| {
        let at = path(at);
        let name = at.file_name().unwrap_or("/").to_owned();
        Root { path: at, name, reason: "is wanted".to_owned() }
    };
    paths.iter().map(root).collect()
}

pub(crate) fn origin() -> Origin {
    Origin::generated("test")
}

/// A program for the platform of [`Tree::new`].
pub(crate) fn program(needs: &[&str]) -> Elf {
    Elf::program(HERE).needs(needs)
}

/// A library for the platform of [`Tree::new`].
pub(crate) fn library(needs: &[&str]) -> Elf {
    Elf { soname: Some("lib".to_owned()), ..Elf::library(HERE) }.needs(needs)
}
