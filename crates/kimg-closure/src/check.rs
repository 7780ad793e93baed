//! Whether the loaded libraries fit together: each symbol and version that one asks for must be defined by another,
//! in the scope in which the program's own loader looks.
//!
//! | | musl (`ldso/dynlink.c`: `find_sym`, `do_relocs`) | glibc (`elf/dl-version.c`, `elf/dl-lookup.c`) |
//! | --- | --- | --- |
//! | versions needed of a library | not looked at | each must be defined, or the program does not start |
//! | a definition counts | by its name, if it is the default version | by name and version |
//! | a function that is bound lazily | at the start, like all others | when it is called first, without `BIND_NOW` |
//!
//! The scope of what is loaded at the start is all of that. What is loaded later sees that and what came with it; it
//! is bound when it is loaded. A library without a program may expect symbols of its host.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use kimg_core::ImagePath;

use crate::elf::{DefinedSymbol, ElfSymbols, UndefinedSymbol};
use crate::finding::{Finding, When};
use crate::needs::{FileType, Visit};
use crate::{Closure, Dialect, Files, Reason};

/// Looks at the symbols of everything that the programs of a closure load; what their loaders would not find is
/// told, in order. Reads symbol tables and relocations only, each file once.
pub fn check(closure: &Closure, files: &dyn Files) -> Vec<Finding> {
    let mut check = Check { files, symbols: HashMap::new(), findings: BTreeSet::new() };
    for visit in closure.visits() {
        if let Some(dialect) = visit.dialect {
            check.visit(visit, dialect);
        }
    }
    check.findings.into_iter().collect()
}

struct Check<'a> {
    files: &'a dyn Files,
    symbols: HashMap<ImagePath, Option<Arc<ElfSymbols>>>,
    findings: BTreeSet<Finding>,
}

impl Check<'_> {
    fn visit(&mut self, visit: &Visit, dialect: Dialect) {
        let start: Vec<&ImagePath> = visit.objects.iter().filter(|o| o.at_start).map(|o| &o.path).collect();
        for (index, object) in visit.objects.iter().enumerate() {
            let mut scope = start.clone();
            scope.extend(&visit.loader);
            if !object.at_start {
                scope.extend(came_with(visit, index));
            }
            let Some(symbols) = self.symbols(&object.path) else { continue };
            if dialect == Dialect::Glibc {
                self.versions(visit, &object.path, &symbols);
            }
            let scope: Vec<_> =
                scope.into_iter().filter_map(|path| Some((path, self.symbols(path)?))).collect();
            let is_defined = |asked: &UndefinedSymbol| {
                scope.iter().filter(|(path, _)| !asked.copied || **path != object.path).any(|(_, symbols)| {
                    match dialect {
                        Dialect::Musl => symbols.definitions(&asked.name).iter().any(musl_takes),
                        Dialect::Glibc => glibc_takes(symbols, asked),
                    }
                })
            };
            for asked in symbols.undefined.iter().filter(|asked| !asked.weak) {
                if is_defined(asked) {
                    continue;
                }
                let when = match (visit.what, object.at_start, dialect) {
                    (FileType::Library, ..) => When::UnlessHostDefines,
                    (_, false, _) => When::Loaded,
                    (_, true, Dialect::Glibc) if asked.lazy => When::FirstCalled,
                    _ => When::Started,
                };
                self.findings.insert(Finding::SymbolMissing {
                    program: visit.file.clone(),
                    of: object.path.clone(),
                    symbol: asked.name.clone(),
                    // musl does not look at it.
                    version: asked.version.as_deref().filter(|_| dialect == Dialect::Glibc).map(Into::into),
                    when,
                });
            }
        }
    }

    /// glibc looks for needed versions before it binds anything (`_dl_check_map_versions`).
    fn versions(&mut self, visit: &Visit, of: &ImagePath, symbols: &ElfSymbols) {
        for needed in symbols.needed_versions.iter().filter(|needed| !needed.weak) {
            let answers = visit.needs.iter().filter(
                |need| matches!(&need.reason, Reason::Needed { soname, .. } if *soname == needed.library),
            );
            let mut own_first = answers.clone().filter(|need| need.of() == Some(of)).chain(answers);
            let Some(library) = own_first.find_map(|need| need.path()) else { continue };
            let Some(theirs) = self.symbols(library) else { continue };
            // Without any version the loader only warns.
            if theirs.defined_versions.is_empty() || theirs.defined_versions.contains(&needed.version) {
                continue;
            }
            self.findings.insert(Finding::VersionMissing {
                program: visit.file.clone(),
                of: of.clone(),
                library: library.clone(),
                version: needed.version.clone(),
            });
        }
    }

    fn symbols(&mut self, path: &ImagePath) -> Option<Arc<ElfSymbols>> {
        if let Some(known) = self.symbols.get(path) {
            return known.clone();
        }
        let read = ElfSymbols::read_at(self.files, path).unwrap_or_else(|error| {
            let (path, problem) = (path.clone(), error.to_string());
            self.findings.insert(Finding::SymbolsUnreadable { path, problem });
            None
        });
        let read = read.map(Arc::new);
        self.symbols.insert(path.clone(), read.clone());
        read
    }
}

/// The objects that were loaded by the same call as one that was not there at the start: the one that was asked
/// for, and all that it needs.
fn came_with(visit: &Visit, index: usize) -> BTreeSet<&ImagePath> {
    let objects = &visit.objects;
    let mut first = index;
    while let Some(above) = objects[first].loaded_by.filter(|above| !objects[*above].at_start) {
        first = above;
    }
    let mut group = BTreeSet::new();
    let mut todo = vec![&objects[first].path];
    while let Some(path) = todo.pop() {
        if group.insert(path) {
            let needs = visit.needs.iter().filter(|need| need.of() == Some(path));
            let needed = needs.filter(|need| matches!(need.reason, Reason::Needed { .. }));
            todo.extend(needed.filter_map(|need| need.path()));
        }
    }
    group
}

/// Only the default version, and nothing that has to be called to know where it is.
fn musl_takes(definition: &DefinedSymbol) -> bool {
    !definition.hidden && !definition.indirect
}

/// `check_match` of `elf/dl-lookup.c`.
fn glibc_takes(symbols: &ElfSymbols, asked: &UndefinedSymbol) -> bool {
    let definitions = symbols.definitions(&asked.name);
    if !symbols.has_versions {
        return !definitions.is_empty();
    }
    match &asked.version {
        Some(version) => definitions.iter().any(|definition| match &definition.version {
            Some(defined) => defined == version,
            None => !definition.hidden,
        }),
        // The base version and the first one, or else the only default one.
        None => {
            definitions.iter().any(|definition| definition.index < 3)
                || definitions.iter().filter(|definition| !definition.hidden).count() == 1
        }
    }
}
