//! The walk over the tree: from each root in turn along links, loaders, libraries, scripts and rules.
//!
//! What one program loads is followed in `process.rs`, because the same library can find others in another program.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use kimg_core::variant::COMMAND_PATH;
use kimg_core::{Digest, ImagePath, Kind};

use crate::closure::{Finding, Node, chain};
use crate::elf::{ElfFacts, ElfKind, expected_architecture};
use crate::error::Problem;
use crate::facts::FileFacts;
use crate::lookup::{Landing, find};
use crate::script::Script;
use crate::{Closure, ClosureError, Reason, Request};

/// Linux follows a script whose interpreter is a script this often (`fs/exec.c`, `exec_binprm`).
const MAX_SCRIPTS: usize = 5;

pub(crate) struct Walk<'a> {
    pub(crate) request: &'a Request<'a>,
    nodes: BTreeMap<ImagePath, Node>,
    findings: BTreeSet<Finding>,
    /// Files that are started or read by themselves, still to be looked at.
    queue: VecDeque<ImagePath>,
    seen: BTreeSet<ImagePath>,
    facts: BTreeMap<Digest, Arc<FileFacts>>,
    root: usize,
}

impl<'a> Walk<'a> {
    pub(crate) fn run(request: &'a Request<'a>) -> Result<Closure, ClosureError> {
        let mut walk = Self {
            request,
            nodes: BTreeMap::new(),
            findings: BTreeSet::new(),
            queue: VecDeque::new(),
            seen: BTreeSet::new(),
            facts: BTreeMap::new(),
            root: 0,
        };
        for (index, root) in request.roots.iter().enumerate() {
            walk.root = index;
            let landings = find(request.tree, root.path.as_str()).map_err(|source| {
                let (name, reason) = (root.name.clone(), root.reason.clone());
                ClosureError::new(Problem::RootMissing { name, reason, source }, None)
            })?;
            let path = walk.arrive(&landings, Reason::Root { index });
            walk.queue.push_back(path);
            // Each root is walked to its end before the next: so what it reaches first hangs on no later one.
            while let Some(path) = walk.queue.pop_front() {
                if walk.seen.insert(path.clone()) {
                    walk.file(&path)?;
                }
            }
        }
        Ok(Closure {
            roots: request.roots.to_vec(),
            nodes: walk.nodes,
            findings: walk.findings.into_iter().collect(),
        })
    }

    /// Takes every stop of a path into the set; the first has the reason, each later one is the target of the one before.
    pub(crate) fn arrive(&mut self, landings: &[Landing], mut reason: Reason) -> ImagePath {
        let mut last = ImagePath::root();
        for landing in landings {
            self.add(&landing.at, reason);
            for link in &landing.by {
                self.add(link, Reason::Link { to: landing.at.clone() });
            }
            last = landing.at.clone();
            reason = Reason::Target { of: last.clone() };
        }
        last
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

    /// The error, with the way to who has the problem.
    pub(crate) fn error(&self, at: &ImagePath, problem: Problem) -> ClosureError {
        ClosureError::new(problem, chain(&self.nodes, self.request.roots, at))
    }

    /// What a regular file is; `None` for a folder.
    pub(crate) fn facts(&mut self, path: &ImagePath) -> Result<Option<Arc<FileFacts>>, ClosureError> {
        let Some(content) = self.request.tree.get(path).and_then(|entry| entry.content()) else {
            return Ok(None);
        };
        let digest = content.digest();
        if let Some(facts) = self.facts.get(&digest) {
            return Ok(Some(facts.clone()));
        }
        let facts = match self.request.facts.get(&digest) {
            Some(facts) => facts,
            None => match FileFacts::read(content) {
                Ok(facts) => {
                    let facts = Arc::new(facts);
                    self.request.facts.put(digest, &facts);
                    facts
                }
                Err(source) => {
                    return Err(self.error(path, Problem::Unreadable { path: path.clone(), source }));
                }
            },
        };
        self.facts.insert(digest, facts.clone());
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
        match facts.as_deref() {
            Some(FileFacts::Elf(elf)) => {
                self.check_platform(path, elf)?;
                match elf.kind {
                    ElfKind::Other | ElfKind::StaticPie => self.data(path),
                    ElfKind::Static if elf.needed.is_empty() => self.data(path),
                    _ => self.process(path, elf),
                }
            }
            Some(FileFacts::Script(script)) if self.is_executable(path) => {
                self.script(path, script)?;
                self.data(path)
            }
            Some(FileFacts::Script(_) | FileFacts::Data) => self.data(path),
            None => Ok(()),
        }
    }

    /// What only rules say.
    fn data(&mut self, path: &ImagePath) -> Result<(), ClosureError> {
        for file in self.ruled(path)? {
            self.later(file);
        }
        Ok(())
    }

    fn is_executable(&self, path: &ImagePath) -> bool {
        self.request.tree.get(path).is_some_and(|entry| entry.mode & 0o111 != 0)
    }

    fn script(&mut self, path: &ImagePath, script: &Script) -> Result<(), ClosureError> {
        self.script_chain(path)?;
        let interpreter = script.interpreter.clone();
        if !interpreter.starts_with('/') {
            return Err(
                self.error(path, Problem::ScriptInterpreterRelative { script: path.clone(), interpreter })
            );
        }
        let landings = find(self.request.tree, &interpreter).map_err(|source| {
            self.error(path, Problem::ScriptInterpreterMissing { script: path.clone(), interpreter, source })
        })?;
        let program = self.arrive(&landings, Reason::Script { of: path.clone() });
        self.want_file(path, &program)?;
        self.later(program);

        let Some(command) = script.env_command() else { return Ok(()) };
        let Some(landings) = self.command(command) else {
            let command = command.to_owned();
            return Err(self.error(path, Problem::CommandMissing { script: path.clone(), command }));
        };
        let program = self.arrive(&landings, Reason::Command { of: path.clone() });
        self.later(program);
        Ok(())
    }

    /// Follows interpreters that are scripts as far as Linux does.
    fn script_chain(&mut self, first: &ImagePath) -> Result<(), ClosureError> {
        let mut scripts = vec![first.clone()];
        let mut here = first.clone();
        while let Some(FileFacts::Script(script)) = self.facts(&here)?.as_deref() {
            let Some(next) = find(self.request.tree, &script.interpreter).ok().and_then(|mut l| l.pop())
            else {
                break;
            };
            here = next.at;
            if scripts.contains(&here) || scripts.len() > MAX_SCRIPTS {
                scripts.push(here);
                return Err(self.error(first, Problem::ScriptLoop { scripts }));
            }
            scripts.push(here.clone());
        }
        Ok(())
    }

    fn command(&self, command: &str) -> Option<Vec<Landing>> {
        if command.starts_with('/') {
            return find(self.request.tree, command).ok();
        }
        COMMAND_PATH.iter().find_map(|folder| {
            let landings = find(self.request.tree, &format!("{folder}/{command}")).ok()?;
            let at = &landings.last()?.at;
            let is_file = self.request.tree.get(at).is_some_and(|e| e.content().is_some());
            (is_file && self.is_executable(at)).then_some(landings)
        })
    }

    pub(crate) fn want_file(&self, of: &ImagePath, path: &ImagePath) -> Result<(), ClosureError> {
        match self.request.tree.get(path).map(|e| &e.kind) {
            Some(Kind::File { .. }) => Ok(()),
            _ => Err(self.error(of, Problem::NotAFile { of: of.clone(), path: path.clone() })),
        }
    }
}
