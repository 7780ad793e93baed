//! What one program loads, as musl's loader does it: the program's needs breadth first, then what is loaded
//! at run time (notes and rules) in the same process.
//!
//! Source: musl, `ldso/dynlink.c`. Two things are as for a program that root starts: a setuid program's
//! `$ORIGIN` and the image's `LD_LIBRARY_PATH` count.

use std::collections::BTreeMap;

use kimg_core::{ImagePath, Kind};

use crate::closure::Finding;
use crate::elf::{DlopenNote, ElfFacts, ElfKind, Priority};
use crate::error::Problem;
use crate::facts::FileFacts;
use crate::lookup::find;
use crate::search::goes_on;
use crate::walk::Walk;
use crate::{ClosureError, Reason, musl};

/// One program or library in the process.
pub(crate) struct Object {
    pub(crate) path: ImagePath,
    /// The path by which it was found.
    pub(crate) found_as: String,
    /// The name by which it is known, so that the name is not searched a second time: the last one of `found_as`,
    /// from when a search finds it. Found by another name as well, it is not known by that too.
    pub(crate) known_as: Option<String>,
    /// The folders it adds to the search, `$ORIGIN` put in.
    pub(crate) folders: Vec<String>,
    /// Who loaded it.
    pub(crate) parent: Option<usize>,
    pub(crate) needed: Vec<String>,
    pub(crate) dlopen: Vec<DlopenNote>,
}

/// A program and what it has loaded.
pub(crate) struct Process {
    pub(crate) objects: Vec<Object>,
    /// The files, hard links of one file as one. The program itself is not among them.
    pub(crate) files: BTreeMap<ImagePath, usize>,
    /// The loader, as asked for and as found.
    pub(crate) loader: Option<(String, ImagePath)>,
    /// The common folders, once they were needed.
    pub(crate) common: Option<Vec<String>>,
    pub(crate) next: usize,
}

/// What came of a name.
enum Load {
    Done,
    Missing(Vec<String>),
}

impl Walk<'_> {
    /// Follows all that a program, or a library by itself, loads.
    pub(crate) fn process(&mut self, program: &ImagePath, elf: &ElfFacts) -> Result<(), ClosureError> {
        let mut process = Process {
            objects: vec![Object::new(program, program.as_str(), None, elf)],
            files: BTreeMap::new(),
            loader: None,
            common: None,
            next: 0,
        };
        if let Some(interpreter) = &elf.interpreter {
            self.loader(&mut process, program, interpreter)?;
        }
        self.load_needed(&mut process)?;
        let mut index = 0;
        while index < process.objects.len() {
            self.load_at_run_time(&mut process, index)?;
            index += 1;
        }
        Ok(())
    }

    fn loader(
        &mut self,
        process: &mut Process,
        of: &ImagePath,
        interpreter: &str,
    ) -> Result<(), ClosureError> {
        let name = interpreter.rsplit('/').next().unwrap_or_default();
        let interpreter = interpreter.to_owned();
        if name.starts_with("ld-linux") || name.starts_with("ld64.so") {
            return Err(self.error(of, Problem::Glibc { program: of.clone(), interpreter }));
        }
        let landings = find(self.request.tree, &interpreter).map_err(|source| {
            let interpreter = interpreter.clone();
            self.error(of, Problem::InterpreterMissing { program: of.clone(), interpreter, source })
        })?;
        let path = self.arrive(&landings, Reason::Interpreter { of: of.clone() });
        self.want_file(of, &path)?;
        self.later(path.clone());
        process.loader = Some((interpreter, path));
        Ok(())
    }

    /// Loads what the objects need, in the order in which they came in.
    fn load_needed(&mut self, process: &mut Process) -> Result<(), ClosureError> {
        while let Some(object) = process.objects.get(process.next) {
            let of = object.path.clone();
            for soname in object.needed.clone() {
                let reason = Reason::Needed { of: of.clone(), soname: soname.clone() };
                if let Load::Missing(searched) = self.load(process, &soname, process.next, reason)? {
                    return Err(self.error(&of, Problem::LibraryMissing { of: of.clone(), soname, searched }));
                }
            }
            process.next += 1;
        }
        Ok(())
    }

    fn load_at_run_time(&mut self, process: &mut Process, index: usize) -> Result<(), ClosureError> {
        let of = process.objects[index].path.clone();
        for note in process.objects[index].dlopen.clone() {
            self.load_note(process, &of, &note)?;
        }
        for file in self.ruled(&of)? {
            let facts = self.facts(&file)?;
            match facts.as_deref() {
                Some(FileFacts::Elf(elf)) if elf.kind == ElfKind::SharedLibrary => {
                    self.check_platform(&file, elf)?;
                    let name = file.as_str().to_owned();
                    if !process.files.contains_key(&self.inode(&file)) {
                        self.take_in(process, &file, &name, 0, elf);
                    }
                }
                _ => self.later(file),
            }
        }
        self.load_needed(process)
    }

    fn load_note(
        &mut self,
        process: &mut Process,
        of: &ImagePath,
        note: &DlopenNote,
    ) -> Result<(), ClosureError> {
        if note.priority == Priority::Suggested {
            return Ok(());
        }
        let feature = note.purpose().to_owned();
        for soname in &note.soname {
            let reason = Reason::Dlopen { of: of.clone(), soname: soname.clone(), feature: feature.clone() };
            // musl searches as for the program, whoever calls dlopen.
            if let Load::Done = self.load(process, soname, 0, reason)? {
                return Ok(());
            }
        }
        let (of, sonames) = (of.clone(), note.soname.clone());
        if note.priority == Priority::Required {
            return Err(self.error(&of.clone(), Problem::DlopenMissing { of, sonames, feature }));
        }
        self.note(Finding::DlopenMissing { of, sonames, feature });
        Ok(())
    }

    /// musl's `load_library`.
    fn load(
        &mut self,
        process: &mut Process,
        name: &str,
        by: usize,
        reason: Reason,
    ) -> Result<Load, ClosureError> {
        let of = process.objects[by].path.clone();
        if musl::is_reserved(name) || process.loader.as_ref().is_some_and(|(asked, _)| asked == name) {
            if process.loader.is_none() {
                self.loader(process, &of, &musl::default_interpreter(self.request.platform))?;
            }
            return Ok(Load::Done);
        }
        let by_path = name.contains('/');
        if !by_path && process.objects.iter().any(|o| o.known_as.as_deref() == Some(name)) {
            return Ok(Load::Done);
        }
        let unreachable =
            |source| Problem::LibraryUnreachable { of: of.clone(), soname: name.to_owned(), source };
        let (landings, found_as) = if by_path {
            if !name.starts_with('/') {
                return Ok(Load::Missing(vec!["the folder it is started in".to_owned()]));
            }
            match find(self.request.tree, name) {
                Ok(landings) => (landings, name.to_owned()),
                Err(error) if goes_on(&error) => {
                    return Ok(Load::Missing(vec!["that place".to_owned()]));
                }
                Err(error) => return Err(self.error(&of, unreachable(error))),
            }
        } else {
            let mut searched = Vec::new();
            match self.search(process, name, by, &mut searched) {
                Ok(Some(found)) => found,
                Ok(None) => return Ok(Load::Missing(searched)),
                Err(error) => return Err(self.error(&of, unreachable(error))),
            }
        };
        let path = self.arrive(&landings, reason);
        let known = process.files.get(&self.inode(&path)).copied();
        let index = match known {
            Some(index) => index,
            // The loader under another name: musl notices that it is a C library, and takes itself.
            None if process.loader.as_ref().is_some_and(|(_, loader)| *loader == path) => {
                return Ok(Load::Done);
            }
            None => {
                let facts = self.facts(&path)?;
                let problem = match facts.as_deref() {
                    Some(FileFacts::Elf(elf)) => {
                        self.check_platform(&path, elf)?;
                        if elf.has_dynamic && elf.kind != ElfKind::Other {
                            let index = self.take_in(process, &path, &found_as, by, elf);
                            if !by_path {
                                process.objects[index].get_known();
                            }
                            return Ok(Load::Done);
                        }
                        "an ELF file without a dynamic part"
                    }
                    Some(_) => "not an ELF file",
                    None => "a folder",
                };
                let (soname, problem) = (name.to_owned(), problem.to_owned());
                return Err(self.error(&of, Problem::NotALibrary { of: of.clone(), soname, path, problem }));
            }
        };
        if !by_path {
            process.objects[index].get_known();
        }
        Ok(Load::Done)
    }

    fn take_in(
        &self,
        process: &mut Process,
        path: &ImagePath,
        found_as: &str,
        by: usize,
        elf: &ElfFacts,
    ) -> usize {
        let index = process.objects.len();
        process.objects.push(Object::new(path, found_as, Some(by), elf));
        process.files.insert(self.inode(path), index);
        index
    }

    /// One path for all hard links of a file.
    fn inode(&self, path: &ImagePath) -> ImagePath {
        match self.request.tree.get(path).map(|e| &e.kind) {
            Some(Kind::File { inode: Some(inode), .. }) => inode.clone(),
            _ => path.clone(),
        }
    }
}

impl Object {
    fn new(path: &ImagePath, found_as: &str, parent: Option<usize>, elf: &ElfFacts) -> Self {
        Self {
            path: path.clone(),
            found_as: found_as.to_owned(),
            known_as: None,
            folders: musl::expand(elf.search_path(), found_as),
            parent,
            needed: elf.needed.clone(),
            dlopen: elf.dlopen.clone(),
        }
    }

    fn get_known(&mut self) {
        self.known_as = self.found_as.rsplit('/').next().map(str::to_owned);
    }
}
