//! What a closure costs: what it looks at and reads follows from what it visits, whatever else lies in the root.

use std::cell::Cell;
use std::io::{self, Read, Seek};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use kimg_closure::{Files, Found, MemoryFacts, Request, Root, Rules, close};
use kimg_core::{Content, Entry, FileTree, ImagePath, Platform, ReadSeek};

use crate::real_tree::packages;
use crate::trees::{origin, path};

/// Counts what is asked of a tree, and the bytes that are read of its files.
struct Counted<'a> {
    tree: &'a FileTree,
    looks: Cell<usize>,
    bytes: Arc<AtomicU64>,
}

impl Files for Counted<'_> {
    fn look(&self, path: &ImagePath) -> Option<Found> {
        self.looks.set(self.looks.get() + 1);
        self.tree.look(path)
    }

    fn open(&self, path: &ImagePath) -> io::Result<Box<dyn ReadSeek>> {
        Ok(Box::new(CountedFile { file: Files::open(self.tree, path)?, bytes: self.bytes.clone() }))
    }

    fn below<'a>(&'a self, folder: &'a ImagePath) -> Box<dyn Iterator<Item = (ImagePath, Found)> + 'a> {
        Box::new(Files::below(self.tree, folder).inspect(|_| self.looks.set(self.looks.get() + 1)))
    }
}

struct CountedFile {
    file: Box<dyn ReadSeek>,
    bytes: Arc<AtomicU64>,
}

impl Read for CountedFile {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read(buffer)?;
        self.bytes.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }
}

impl Seek for CountedFile {
    fn seek(&mut self, to: io::SeekFrom) -> io::Result<u64> {
        self.file.seek(to)
    }
}

/// How often it was looked, and how many bytes were read, for kubelet and iptables with all that they need.
fn cost(tree: &FileTree) -> (usize, u64) {
    let files = Counted { tree, looks: Cell::new(0), bytes: Arc::default() };
    let root = |at: &str| Root { path: path(at), name: at.into(), reason: "is counted".into() };
    close(&Request {
        tree: &files,
        platform: Platform::Amd64,
        roots: &[root("/usr/bin/kubelet"), root("/sbin/iptables")],
        rules: &Rules::builtin(),
        library_path: &[],
        facts: &MemoryFacts::default(),
    })
    .unwrap();
    (files.looks.get(), files.bytes.load(Ordering::Relaxed))
}

#[test]
fn what_nothing_needs_costs_nothing_and_a_large_program_is_not_read_whole() {
    let Some(tree) = packages(Platform::Amd64) else { return };
    let before = cost(&tree);
    let kubelet = tree.get(&path("/usr/bin/kubelet")).unwrap().size();
    assert!(kubelet > 50 << 20 && before.1 < 1 << 20, "{} bytes read, kubelet alone has {kubelet}", before.1);

    let mut larger = FileTree::clone(&tree);
    for number in 0..20_000 {
        let idle = Entry::file(Content::from_bytes("idle"), 0o755, origin());
        larger.insert(path(&format!("/usr/share/idle/{}/{number}.so", number / 500)), idle);
    }
    larger.add_parents(&origin());
    assert!(larger.len() > 5 * tree.len(), "{} {}", larger.len(), tree.len());
    assert_eq!(cost(&larger), before);
}
