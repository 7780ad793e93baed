//! glibc's `_dl_map_object` over the files of a root: from a name to the file that it loads.

use std::io::Read as _;
use std::sync::Arc;

use kimg_core::{ImagePath, ResolveError};

use super::{Folders, MAX_LOADER, MAX_NAME};
use crate::elf::{ElfKind, expected_class};
use crate::error::Problem;
use crate::facts::FileFacts;
use crate::finding::Finding;
use crate::lookup::{Landing, find};
use crate::process::{Load, Loaded, Process};
use crate::walk::Walk;
use crate::{ClosureError, Reason};

type Way = (Vec<Landing>, String);

impl Walk<'_> {
    /// The way to the loader of a program. What answers to its name without being glibc's own loader, as Alpine's
    /// `gcompat` does, can't start the program: the libraries of glibc are not there.
    pub(crate) fn glibc_loader(
        &mut self,
        of: &ImagePath,
        interpreter: &str,
    ) -> Result<Vec<Landing>, ClosureError> {
        let found = find(self.request.tree, interpreter).ok();
        let at = found.as_ref().and_then(|landings| landings.last()).map(|landing| landing.at.clone());
        if let (Some(landings), Some(at)) = (found, at)
            && let Some(FileFacts::Elf(elf)) = self.facts(&at)?.as_deref()
            && elf.kind == ElfKind::SharedLibrary
            && elf.soname.as_deref() == interpreter.rsplit('/').next()
        {
            self.check_platform(&at, elf)?;
            return Ok(landings);
        }
        let interpreter = interpreter.to_owned();
        Err(self.error(of, Problem::Glibc { program: of.clone(), interpreter }))
    }

    /// What the loader at a path searches.
    pub(crate) fn glibc_folders(&mut self, loader: &ImagePath) -> Arc<Folders> {
        if let Some(known) = self.folders.get(loader) {
            return known.clone();
        }
        let mut bytes = Vec::new();
        if let Ok(opened) = self.request.tree.open(loader) {
            // A loader that can't be read to its end is told of where its headers are read.
            let _ = opened.take(MAX_LOADER).read_to_end(&mut bytes);
        }
        let folders = Arc::new(Folders {
            system: Folders::compiled_in(&bytes, self.request.platform),
            configured: self.configured_folders(),
            cache: find(self.request.tree, "/etc/ld.so.cache").ok(),
        });
        self.folders.insert(loader.clone(), folders.clone());
        folders
    }

    /// The loader is one of the objects, known by its `DT_SONAME` and by the path that the program asks for it by.
    pub(crate) fn loader_as_object(&mut self, process: &mut Process) -> Result<(), ClosureError> {
        let Some((asked, path)) = process.loader.clone() else { return Ok(()) };
        let facts = self.facts(&path)?;
        let Some(FileFacts::Elf(elf)) = facts.as_deref() else { return Ok(()) };
        if !process.files.contains_key(&self.inode(&path)) {
            let index = self.take_in(process, &path, &asked, 0, elf);
            process.objects[index].names.push(asked);
        }
        Ok(())
    }

    pub(crate) fn load_as_glibc(
        &mut self,
        process: &mut Process,
        name: &str,
        by: usize,
        reason: &Reason,
    ) -> Result<Load, ClosureError> {
        if let Some(path) = process.loaded_as(name) {
            return Ok(self.known(reason, name, &path));
        }
        let mut searched = Vec::new();
        let found = if name.contains('/') {
            let path = process.folders.expand(name, &process.objects[by].found_as);
            path.filter(|path| path.starts_with('/'))
                .and_then(|path| Some((find(self.request.tree, &path).ok()?, path)))
        } else {
            self.search_as_glibc(process, name, by, reason, &mut searched)?
        };
        let Some(found) = found else {
            if searched.is_empty() {
                searched.push("that place".to_owned());
            }
            return Ok(Load::Missing(searched));
        };
        let index = self.enter(process, name, &found, by, reason)?;
        let object = &mut process.objects[index];
        if !object.names.iter().any(|n| n == name) {
            object.names.push(name.to_owned());
        }
        Ok(Load::Done)
    }

    /// In order: what is handed on (`DT_RPATH`), the image's setting, `DT_RUNPATH`, the cache, the built-in folders.
    fn search_as_glibc(
        &mut self,
        process: &Process,
        name: &str,
        by: usize,
        reason: &Reason,
        searched: &mut Vec<String>,
    ) -> Result<Option<Way>, ClosureError> {
        if name.is_empty() || name.len() > MAX_NAME {
            return Ok(None);
        }
        let object = &process.objects[by];
        let of = object.path.clone();
        if object.own.is_empty() {
            for folders in handed_on(process, by) {
                if let Some(found) = self.open_path(folders, name, &of, searched)? {
                    return Ok(Some(found));
                }
            }
        }
        let setting: Vec<String> = self.request.library_path.iter().map(ToString::to_string).collect();
        for folders in [&setting, &object.own] {
            if let Some(found) = self.open_path(folders, name, &of, searched)? {
                return Ok(Some(found));
            }
        }
        let folders = process.folders.clone();
        let only_own = object.only_own_folders;
        let is_system = |path: &str| folders.system.iter().any(|f| path.starts_with(&format!("{f}/")));
        // The settings only tell where ldconfig looked: without its cache the loader knows nothing of them.
        let order = match (&folders.cache, only_own) {
            (Some(_), _) => vec![&folders.configured, &folders.system],
            (None, false) => vec![&folders.system, &folders.configured],
            (None, true) => vec![&folders.configured],
        };
        for list in order {
            let Some((landings, path)) = self.open_path(list, name, &of, searched)? else { continue };
            // The cache answers with one file for a name: where that is in a common folder it is put aside, and no
            // second one is asked for.
            if only_own && is_system(&path) {
                return Ok(None);
            }
            let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder).to_owned();
            if !folders.system.contains(&folder) {
                let loader = process.loader.as_ref().map_or(&of, |(_, loader)| loader);
                if let Some(cache) = &folders.cache {
                    self.arrive(cache, Reason::SearchPath { of: loader.clone() });
                } else if matches!(reason, Reason::Needed { .. }) {
                    self.note(Finding::LoaderCacheMissing { of, soname: name.to_owned(), folder });
                }
            }
            return Ok(Some((landings, path)));
        }
        Ok(None)
    }

    /// The first file in one list of folders that is for this processor.
    fn open_path(
        &mut self,
        folders: &[String],
        name: &str,
        of: &ImagePath,
        searched: &mut Vec<String>,
    ) -> Result<Option<Way>, ClosureError> {
        for folder in folders {
            if !folder.starts_with('/') {
                self.note(Finding::RelativeSearchFolder { of: of.clone(), folder: folder.clone() });
                continue;
            }
            let path = format!("{}/{name}", folder.trim_end_matches('/'));
            match find(self.request.tree, &path) {
                Ok(landings) if self.is_passed_over(&landings)? => {}
                Ok(landings) => return Ok(Some((landings, path))),
                // Another error than "not there" ends the list, not the search (`open_path`).
                Err(ResolveError::Loop { .. }) => return Ok(None),
                Err(_) => {}
            }
            if !searched.contains(folder) {
                searched.push(folder.clone());
            }
        }
        Ok(None)
    }

    /// Whether what lies there is an ELF file of another class or machine (`open_verify`).
    fn is_passed_over(&mut self, landings: &[Landing]) -> Result<bool, ClosureError> {
        let Some(end) = landings.last() else { return Ok(false) };
        let platform = self.request.platform;
        let facts = self.facts(&end.at)?;
        Ok(match facts.as_deref() {
            Some(FileFacts::Elf(elf)) => {
                elf.class != expected_class(platform) || elf.machine != platform.elf_machine()
            }
            _ => false,
        })
    }
}

/// `DT_RPATH` of an object, of each that loaded it, up the chain, and of the program.
fn handed_on(process: &Process, by: usize) -> Vec<&[String]> {
    let above = |index: &usize| process.objects[*index].parent;
    let mut chain: Vec<usize> = std::iter::successors(Some(by), above).collect();
    if !chain.contains(&0) {
        chain.push(0);
    }
    chain.into_iter().filter_map(|index| process.objects.get(index)).map(folders_handed_on).collect()
}

fn folders_handed_on(object: &Loaded) -> &[String] {
    &object.handed_on
}
