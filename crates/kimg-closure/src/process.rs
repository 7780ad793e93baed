//! What one program loads: its loader, its needs breadth first, then what is loaded at run time (notes and
//! rules) in the same process. Where a name is searched is the loader's own: `musl/load.rs`, `glibc/load.rs`.
//!
//! Two things are as for a program that root starts: a setuid program's `$ORIGIN` and the image's
//! `LD_LIBRARY_PATH` count.

use std::collections::BTreeMap;
use std::sync::Arc;

use kimg_core::ImagePath;

use crate::elf::{DlopenNote, ElfFacts, ElfKind, Priority};
use crate::error::Problem;
use crate::facts::FileFacts;
use crate::finding::Finding;
use crate::glibc::Folders;
use crate::lookup::{Landing, find};
use crate::needs::{Edge, Met, Object};
use crate::walk::Walk;
use crate::{ClosureError, Dialect, Inode, Reason};

/// One program or library in the process.
pub(crate) struct Loaded {
    pub(crate) path: ImagePath,
    /// The path by which it was found.
    pub(crate) found_as: String,
    /// The names by which it is known, so that none of them is searched a second time.
    pub(crate) names: Vec<String>,
    /// The folders it adds to the search for its needs and for those of whatever it loads, `$ORIGIN` put in.
    pub(crate) handed_on: Vec<String>,
    /// The folders it adds to the search for its own needs alone: glibc's reading of `DT_RUNPATH`.
    pub(crate) own: Vec<String>,
    /// Whether no common folder is searched for its needs.
    pub(crate) only_own_folders: bool,
    /// Who loaded it.
    pub(crate) parent: Option<usize>,
    pub(crate) needed: Vec<String>,
    pub(crate) dlopen: Vec<DlopenNote>,
    at_start: bool,
}

/// A program and what it has loaded.
pub(crate) struct Process {
    pub(crate) dialect: Dialect,
    pub(crate) objects: Vec<Loaded>,
    /// The files, hard links of one file as one.
    pub(crate) files: BTreeMap<Inode, usize>,
    /// The loader, as asked for and as found.
    pub(crate) loader: Option<(String, ImagePath)>,
    /// musl's common folders, once they were needed.
    pub(crate) common: Option<Vec<String>>,
    /// glibc's.
    pub(crate) folders: Arc<Folders>,
    pub(crate) next: usize,
    starting: bool,
}

impl Process {
    /// The object that was loaded under this name, if one was.
    pub(crate) fn loaded_as(&self, name: &str) -> Option<ImagePath> {
        let known = |object: &&Loaded| object.names.iter().any(|known| known == name);
        self.objects.iter().find(known).map(|object| object.path.clone())
    }
}

/// What came of a name.
pub(crate) enum Load {
    Done,
    Missing(Vec<String>),
}

impl Walk<'_> {
    /// Follows all that a program, or a library by itself, loads.
    pub(crate) fn process(&mut self, program: &ImagePath, elf: &ElfFacts) -> Result<(), ClosureError> {
        let dialect = self.dialect(elf);
        let mut process = Process {
            dialect,
            objects: Vec::new(),
            files: BTreeMap::new(),
            loader: None,
            common: None,
            folders: Arc::default(),
            next: 0,
            starting: true,
        };
        let filled = self.fill(&mut process, program, elf);
        if let Some(visit) = self.visit() {
            visit.dialect = Some(dialect);
            visit.loader = process.loader.map(|(_, path)| path);
            visit.objects = process.objects.into_iter().map(Loaded::told).collect();
        }
        filled
    }

    /// The dialect that a program's loader is of. For a library by itself it is that of the loader there is.
    fn dialect(&self, elf: &ElfFacts) -> Dialect {
        if let Some(interpreter) = &elf.interpreter {
            return Dialect::of_interpreter(interpreter);
        }
        let is_there = |dialect: Dialect| {
            find(self.request.tree, &dialect.default_interpreter(self.request.platform)).is_ok()
        };
        if !is_there(Dialect::Musl) && is_there(Dialect::Glibc) { Dialect::Glibc } else { Dialect::Musl }
    }

    fn fill(
        &mut self,
        process: &mut Process,
        program: &ImagePath,
        elf: &ElfFacts,
    ) -> Result<(), ClosureError> {
        let asked = match (&elf.interpreter, process.dialect) {
            (None, Dialect::Glibc) => Some(process.dialect.default_interpreter(self.request.platform)),
            (asked, _) => asked.clone(),
        };
        let found = asked.as_deref().map_or(Ok(()), |asked| self.loader(process, program, asked));
        // The program comes before its loader; what its search path means, only the loader knows.
        process.objects.insert(0, Loaded::new(process, program, program.as_str(), None, elf));
        if process.dialect == Dialect::Glibc {
            process.files.insert(self.inode(program), 0);
            self.loader_as_object(process)?;
        }
        if let (Err(error), Some(asked)) = (found, asked) {
            self.unmet(Reason::Interpreter { of: program.clone() }, asked, error)?;
        }
        self.load_needed(process)?;
        process.starting = false;
        if process.dialect == Dialect::Glibc {
            self.name_services(process)?;
        }
        let mut index = 0;
        while index < process.objects.len() {
            self.load_at_run_time(process, index)?;
            index += 1;
        }
        Ok(())
    }

    pub(crate) fn loader(
        &mut self,
        process: &mut Process,
        of: &ImagePath,
        interpreter: &str,
    ) -> Result<(), ClosureError> {
        let landings = match process.dialect {
            Dialect::Glibc => self.glibc_loader(of, interpreter)?,
            Dialect::Musl => find(self.request.tree, interpreter).map_err(|source| {
                let (program, interpreter) = (of.clone(), interpreter.to_owned());
                self.error(of, Problem::InterpreterMissing { program, interpreter, source })
            })?,
        };
        let path = self.arrive(&landings, Reason::Interpreter { of: of.clone() });
        self.want_file(of, &path)?;
        self.later(path.clone());
        if process.dialect == Dialect::Glibc {
            process.folders = self.glibc_folders(&path);
        }
        process.loader = Some((interpreter.to_owned(), path));
        Ok(())
    }

    /// Loads what the objects need, in the order in which they came in.
    pub(crate) fn load_needed(&mut self, process: &mut Process) -> Result<(), ClosureError> {
        while let Some(object) = process.objects.get(process.next) {
            let of = object.path.clone();
            for soname in object.needed.clone() {
                let reason = Reason::Needed { of: of.clone(), soname: soname.clone() };
                let error = match self.load(process, &soname, process.next, &reason) {
                    Ok(Load::Done) => continue,
                    Ok(Load::Missing(searched)) => {
                        let (of, soname) = (of.clone(), soname.clone());
                        self.error(&of.clone(), Problem::LibraryMissing { of, soname, searched })
                    }
                    Err(error) => error,
                };
                self.unmet(reason, soname, error)?;
            }
            process.next += 1;
        }
        Ok(())
    }

    fn load_at_run_time(&mut self, process: &mut Process, index: usize) -> Result<(), ClosureError> {
        let of = process.objects[index].path.clone();
        for note in process.objects[index].dlopen.clone() {
            self.load_note(process, index, &note)?;
        }
        for file in self.ruled(&of, Some(process.dialect))? {
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
        index: usize,
        note: &DlopenNote,
    ) -> Result<(), ClosureError> {
        if note.priority == Priority::Suggested {
            return Ok(());
        }
        let of = process.objects[index].path.clone();
        let feature = note.purpose().to_owned();
        let by = match process.dialect {
            // musl searches as for the program, whoever calls dlopen.
            Dialect::Musl => 0,
            Dialect::Glibc => index,
        };
        for soname in &note.soname {
            let reason = Reason::Dlopen { of: of.clone(), soname: soname.clone(), feature: feature.clone() };
            if let Load::Done = self.load(process, soname, by, &reason)? {
                return Ok(());
            }
        }
        let sonames = note.soname.clone();
        if note.priority == Priority::Required {
            let soname = sonames.join(" or ");
            let reason = Reason::Dlopen { of: of.clone(), soname: soname.clone(), feature: feature.clone() };
            let error = self.error(&of.clone(), Problem::DlopenMissing { of, sonames, feature });
            return self.unmet(reason, soname, error);
        }
        self.note(Finding::DlopenMissing { of, sonames, feature });
        Ok(())
    }

    pub(crate) fn load(
        &mut self,
        process: &mut Process,
        name: &str,
        by: usize,
        reason: &Reason,
    ) -> Result<Load, ClosureError> {
        match process.dialect {
            Dialect::Musl => self.load_as_musl(process, name, by, reason),
            Dialect::Glibc => self.load_as_glibc(process, name, by, reason),
        }
    }

    /// Notes that a name is answered by a file that is there already.
    pub(crate) fn known(&mut self, reason: &Reason, name: &str, path: &ImagePath) -> Load {
        let met = Met::By { path: path.clone(), links: Vec::new() };
        self.need(Edge { reason: reason.clone(), name: name.to_owned(), met });
        Load::Done
    }

    /// Takes the file at the end of the way in as a library, unless it is there already. Gives its place.
    pub(crate) fn enter(
        &mut self,
        process: &mut Process,
        name: &str,
        (landings, found_as): &(Vec<Landing>, String),
        by: usize,
        reason: &Reason,
    ) -> Result<usize, ClosureError> {
        let of = process.objects[by].path.clone();
        let path = self.arrive(landings, reason.clone());
        if let Some(index) = process.files.get(&self.inode(&path)) {
            return Ok(*index);
        }
        let facts = self.facts(&path)?;
        let problem = match facts.as_deref() {
            Some(FileFacts::Elf(elf)) => {
                self.check_platform(&path, elf)?;
                if elf.has_dynamic && elf.kind != ElfKind::Other {
                    return Ok(self.take_in(process, &path, found_as, by, elf));
                }
                "an ELF file without a dynamic part"
            }
            Some(_) => "not an ELF file",
            None => "a folder",
        };
        let (soname, problem) = (name.to_owned(), problem.to_owned());
        Err(self.error(&of, Problem::NotALibrary { of: of.clone(), soname, path, problem }))
    }

    pub(crate) fn take_in(
        &self,
        process: &mut Process,
        path: &ImagePath,
        found_as: &str,
        by: usize,
        elf: &ElfFacts,
    ) -> usize {
        let index = process.objects.len();
        let loaded = Loaded::new(process, path, found_as, Some(by), elf);
        process.objects.push(loaded);
        process.files.insert(self.inode(path), index);
        index
    }
}

impl Loaded {
    pub(crate) fn new(
        process: &Process,
        path: &ImagePath,
        found_as: &str,
        parent: Option<usize>,
        elf: &ElfFacts,
    ) -> Self {
        let (handed_on, own, names) = match process.dialect {
            Dialect::Musl => (crate::musl::expand(elf.search_path(), found_as), Vec::new(), Vec::new()),
            Dialect::Glibc => {
                let (rpath, runpath) = process.folders.search_paths(elf, found_as);
                (rpath, runpath, elf.soname.iter().cloned().collect())
            }
        };
        Self {
            path: path.clone(),
            found_as: found_as.to_owned(),
            names,
            handed_on,
            own,
            only_own_folders: process.dialect == Dialect::Glibc && elf.only_own_folders,
            parent,
            needed: elf.needed.clone(),
            dlopen: elf.dlopen.clone(),
            at_start: process.starting,
        }
    }

    fn told(self) -> Object {
        Object { path: self.path, found_as: self.found_as, loaded_by: self.parent, at_start: self.at_start }
    }
}
