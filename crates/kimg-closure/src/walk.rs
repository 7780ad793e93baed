//! The walk over the files: from each root in turn along links, loaders, libraries, scripts and rules.
//!
//! What one program loads is followed in `process.rs`, because the same library can find others in another program.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::io::Read as _;
use std::sync::Arc;

use kimg_core::ImagePath;

use crate::closure::{Node, chain};
use crate::elf::{ElfFacts, ElfKind, expected_architecture};
use crate::error::Problem;
use crate::facts::FileFacts;
use crate::finding::Finding;
use crate::glibc::Folders;
use crate::lookup::{Landing, find};
use crate::needs::{Edge, FileType, Met, Visit};
use crate::{Closure, ClosureError, Found, Inode, Reason, Request};

pub(crate) struct Walk<'a> {
    pub(crate) request: &'a Request<'a>,
    nodes: BTreeMap<ImagePath, Node>,
    findings: BTreeSet<Finding>,
    /// Files that are started or read by themselves, still to be looked at.
    queue: VecDeque<ImagePath>,
    seen: BTreeSet<ImagePath>,
    facts: HashMap<ImagePath, Arc<FileFacts>>,
    /// The folders that glibc's loaders search, by the loader.
    pub(crate) folders: HashMap<ImagePath, Arc<Folders>>,
    visits: Vec<Visit>,
    root: usize,
    /// What was met on the way, where the walk is to go on past it.
    problems: Option<Vec<ClosureError>>,
}

impl<'a> Walk<'a> {
    /// Walks until something is missing or broken.
    pub(crate) fn run(request: &'a Request<'a>) -> Result<Closure, ClosureError> {
        let mut walk = Self::new(request, None);
        walk.roots()?;
        Ok(walk.closure())
    }

    /// Walks past all that is missing or broken.
    pub(crate) fn run_past_problems(request: &'a Request<'a>) -> (Closure, Vec<ClosureError>) {
        let mut walk = Self::new(request, Some(Vec::new()));
        if let Err(error) = walk.roots() {
            walk.problems.get_or_insert_default().push(error);
        }
        let problems = walk.problems.take().unwrap_or_default();
        (walk.closure(), problems)
    }

    fn new(request: &'a Request<'a>, problems: Option<Vec<ClosureError>>) -> Self {
        Self {
            request,
            nodes: BTreeMap::new(),
            findings: BTreeSet::new(),
            queue: VecDeque::new(),
            seen: BTreeSet::new(),
            facts: HashMap::new(),
            folders: HashMap::new(),
            visits: Vec::new(),
            root: 0,
            problems,
        }
    }

    fn closure(self) -> Closure {
        Closure {
            roots: self.request.roots.to_vec(),
            nodes: self.nodes,
            findings: self.findings.into_iter().collect(),
            visits: self.visits,
        }
    }

    fn roots(&mut self) -> Result<(), ClosureError> {
        for (index, root) in self.request.roots.iter().enumerate() {
            self.root = index;
            match find(self.request.tree, root.path.as_str()) {
                Ok(landings) => {
                    let path = self.arrive(&landings, Reason::Root { index });
                    self.queue.push_back(path);
                }
                Err(source) => {
                    let (name, reason) = (root.name.clone(), root.reason.clone());
                    let problem = Problem::RootMissing { name, reason, source };
                    self.go_on(ClosureError::new(problem, None))?;
                }
            }
            // Each root is walked to its end before the next: so what it reaches first hangs on no later one.
            while let Some(path) = self.queue.pop_front() {
                if self.seen.insert(path.clone()) {
                    let visited = self.file(&path);
                    visited.or_else(|error| self.go_on(error))?;
                }
            }
        }
        Ok(())
    }

    /// Takes every stop of a path into the set; the first has the reason, each later one is the target of the one before.
    pub(crate) fn arrive(&mut self, landings: &[Landing], reason: Reason) -> ImagePath {
        let mut last = ImagePath::root();
        let mut because = reason.clone();
        for landing in landings {
            self.add(&landing.at, because);
            for link in &landing.by {
                self.add(link, Reason::Link { to: landing.at.clone() });
            }
            last = landing.at.clone();
            because = Reason::Target { of: last.clone() };
        }
        let stops = landings.iter().flat_map(|l| l.by.iter().chain([&l.at]));
        let links = stops.filter(|stop| **stop != last).cloned().collect();
        let name = match &reason {
            Reason::Needed { soname, .. } | Reason::Dlopen { soname, .. } => soname.clone(),
            _ => landings.first().unwrap_or(&Landing { at: last.clone(), by: Vec::new() }).at.to_string(),
        };
        self.need(Edge { reason, name, met: Met::By { path: last.clone(), links } });
        last
    }

    /// Notes an edge of the file that is looked at.
    pub(crate) fn need(&mut self, need: Edge) {
        if let (Some(visit), Some(_)) = (self.visits.last_mut(), need.of()) {
            visit.needs.push(need);
        }
    }

    /// Notes an edge that leads nowhere, and ends the walk there unless it is to go on.
    pub(crate) fn unmet(
        &mut self,
        reason: Reason,
        name: String,
        error: ClosureError,
    ) -> Result<(), ClosureError> {
        let searched = match error.problem() {
            Problem::LibraryMissing { searched, .. } => searched.clone(),
            _ => Vec::new(),
        };
        let problem = error.problem().to_string();
        self.need(Edge { reason, name, met: Met::Unmet { problem, searched } });
        self.go_on(error)
    }

    fn go_on(&mut self, error: ClosureError) -> Result<(), ClosureError> {
        match &mut self.problems {
            Some(problems) => problems.push(error),
            None => return Err(error),
        }
        Ok(())
    }

    fn add(&mut self, path: &ImagePath, reason: Reason) {
        if path.is_root() || self.nodes.contains_key(path) {
            return;
        }
        let root = self.root;
        self.nodes.insert(path.clone(), Node { reason, root });
        let folders =
            std::iter::successors(path.parent(), ImagePath::parent).filter(|folder| !folder.is_root());
        for folder in folders {
            self.nodes
                .entry(folder)
                .or_insert_with(|| Node { reason: Reason::Folder { of: path.clone() }, root });
        }
    }

    /// Has a file looked at by itself: as a program, a script, data.
    pub(crate) fn later(&mut self, path: ImagePath) {
        self.queue.push_back(path);
    }

    pub(crate) fn note(&mut self, finding: Finding) {
        self.findings.insert(finding);
    }

    /// The visit that goes on.
    pub(crate) fn visit(&mut self) -> Option<&mut Visit> {
        self.visits.last_mut()
    }

    /// The error, with the way to who has the problem.
    pub(crate) fn error(&self, at: &ImagePath, problem: Problem) -> ClosureError {
        ClosureError::new(problem, chain(&self.nodes, self.request.roots, at))
    }

    /// What a regular file is; `None` for a folder.
    pub(crate) fn facts(&mut self, path: &ImagePath) -> Result<Option<Arc<FileFacts>>, ClosureError> {
        if let Some(facts) = self.facts.get(path) {
            return Ok(Some(facts.clone()));
        }
        let Some(Found::File { digest, .. }) = self.request.tree.look(path) else { return Ok(None) };
        let facts = match digest.and_then(|digest| self.request.facts.get(&digest)) {
            Some(facts) => facts,
            None => match FileFacts::read_at(self.request.tree, path) {
                Ok(facts) => {
                    let facts = Arc::new(facts);
                    if let Some(digest) = digest {
                        self.request.facts.put(digest, &facts);
                    }
                    facts
                }
                Err(source) => {
                    return Err(self.error(path, Problem::Unreadable { path: path.clone(), source }));
                }
            },
        };
        self.facts.insert(path.clone(), facts.clone());
        Ok(Some(facts))
    }

    /// Whether an ELF file is for the platform; object files and kernel modules are data, whatever they are for.
    pub(crate) fn check_platform(&self, path: &ImagePath, elf: &ElfFacts) -> Result<(), ClosureError> {
        let platform = self.request.platform;
        match elf.check_platform(platform) {
            Err(found) if elf.kind != ElfKind::Other => {
                let expected = expected_architecture(platform);
                Err(self.error(
                    path,
                    Problem::WrongArchitecture { path: path.clone(), platform, found, expected },
                ))
            }
            _ => Ok(()),
        }
    }

    fn file(&mut self, path: &ImagePath) -> Result<(), ClosureError> {
        let facts = self.facts(path)?;
        let what = match facts.as_deref() {
            Some(FileFacts::Elf(elf)) => match elf.kind {
                ElfKind::Other => FileType::Data,
                ElfKind::StaticPie => FileType::StaticProgram,
                ElfKind::Static if elf.needed.is_empty() => FileType::StaticProgram,
                ElfKind::Static | ElfKind::Dynamic => FileType::Program,
                ElfKind::SharedLibrary => FileType::Library,
            },
            Some(FileFacts::Script(_)) if self.is_executable(path) => FileType::Script,
            Some(FileFacts::Script(_) | FileFacts::Data) => FileType::Data,
            None => FileType::Folder,
        };
        let (file, needs, objects) = (path.clone(), Vec::new(), Vec::new());
        self.visits.push(Visit { file, what, dialect: None, loader: None, needs, objects });
        match facts.as_deref() {
            Some(FileFacts::Elf(elf)) => {
                self.check_platform(path, elf)?;
                match what {
                    FileType::Program | FileType::Library => self.process(path, elf),
                    _ => self.data(path),
                }
            }
            Some(FileFacts::Script(script)) if what == FileType::Script => {
                self.script(path, script)?;
                self.data(path)
            }
            Some(_) => self.data(path),
            None => Ok(()),
        }
    }

    /// What only rules say.
    fn data(&mut self, path: &ImagePath) -> Result<(), ClosureError> {
        for file in self.ruled(path, None)? {
            self.later(file);
        }
        Ok(())
    }

    /// One name for all hard links of a file.
    pub(crate) fn inode(&self, path: &ImagePath) -> Inode {
        match self.request.tree.look(path) {
            Some(Found::File { inode, .. }) => inode,
            _ => Inode::Path(path.clone()),
        }
    }

    /// A file as text, if it is one of at most so many bytes.
    pub(crate) fn text(&self, path: &ImagePath, limit: u64) -> Option<String> {
        let mut bytes = Vec::new();
        self.request.tree.open(path).ok()?.take(limit + 1).read_to_end(&mut bytes).ok()?;
        (bytes.len() as u64 <= limit).then(|| String::from_utf8_lossy(&bytes).into_owned())
    }

    pub(crate) fn want_file(&self, of: &ImagePath, path: &ImagePath) -> Result<(), ClosureError> {
        match self.request.tree.look(path) {
            Some(Found::File { .. }) => Ok(()),
            _ => Err(self.error(of, Problem::NotAFile { of: of.clone(), path: path.clone() })),
        }
    }
}
