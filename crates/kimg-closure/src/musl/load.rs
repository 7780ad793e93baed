//! musl's `load_library` over the files of a root: from a name to the file that it loads.

use kimg_core::{ImagePath, ResolveError};

use super as musl;
use crate::error::Problem;
use crate::finding::Finding;
use crate::lookup::{Landing, find};
use crate::process::{Load, Process};
use crate::walk::Walk;
use crate::{ClosureError, Dialect, Reason};

/// The longest `/etc/ld-musl-<arch>.path` that is read, in bytes.
const MAX_PATH_FILE: u64 = 64 << 10;

impl Walk<'_> {
    pub(crate) fn load_as_musl(
        &mut self,
        process: &mut Process,
        name: &str,
        by: usize,
        reason: &Reason,
    ) -> Result<Load, ClosureError> {
        let of = process.objects[by].path.clone();
        if musl::is_reserved(name) || process.loader.as_ref().is_some_and(|(asked, _)| asked == name) {
            if process.loader.is_none() {
                let default = Dialect::Musl.default_interpreter(self.request.platform);
                self.loader(process, &of, &default)?;
            }
            let loader = process.loader.as_ref().map_or_else(ImagePath::root, |(_, path)| path.clone());
            return Ok(self.known(reason, name, &loader));
        }
        let by_path = name.contains('/');
        if !by_path && let Some(path) = process.loaded_as(name) {
            return Ok(self.known(reason, name, &path));
        }
        let unreachable =
            |source| Problem::LibraryUnreachable { of: of.clone(), soname: name.to_owned(), source };
        let found = if by_path {
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
            match self.search_as_musl(process, name, by, &mut searched) {
                Ok(Some(found)) => found,
                Ok(None) => return Ok(Load::Missing(searched)),
                Err(error) => return Err(self.error(&of, unreachable(error))),
            }
        };
        // The loader under another name: musl notices that it is a C library, and takes itself.
        let end = found.0.last().map(|landing| &landing.at);
        if process.loader.as_ref().is_some_and(|(_, loader)| Some(loader) == end) {
            self.arrive(&found.0, reason.clone());
            return Ok(Load::Done);
        }
        let index = self.enter(process, name, &found, by, reason)?;
        if !by_path {
            let object = &mut process.objects[index];
            // Found by another name as well, it is known by the last one of `found_as` only.
            object.names = object.found_as.rsplit('/').next().map(str::to_owned).into_iter().collect();
        }
        Ok(Load::Done)
    }

    /// The first folder that has the name: of the image's setting, of the object and those above it, of the system.
    fn search_as_musl(
        &mut self,
        process: &mut Process,
        name: &str,
        by: usize,
        searched: &mut Vec<String>,
    ) -> Result<Option<(Vec<Landing>, String)>, ResolveError> {
        if name.is_empty() || name.len() > musl::MAX_NAME {
            return Ok(None);
        }
        let of = process.objects[by].path.clone();
        let setting: Vec<String> = self.request.library_path.iter().map(ToString::to_string).collect();
        if let Some(found) = self.search_in(&setting, name, &of, searched)? {
            return Ok(Some(found));
        }
        let mut above = Some(by);
        while let Some(index) = above {
            let object = &process.objects[index];
            if let Some(found) = self.search_in(&object.handed_on, name, &of, searched)? {
                return Ok(Some(found));
            }
            above = object.parent;
        }
        let common = match process.common.take() {
            Some(common) => common,
            None => self.common_folders(process),
        };
        let found = self.search_in(&common, name, &of, searched);
        process.common = Some(common);
        found
    }

    fn search_in(
        &mut self,
        folders: &[String],
        name: &str,
        of: &ImagePath,
        searched: &mut Vec<String>,
    ) -> Result<Option<(Vec<Landing>, String)>, ResolveError> {
        for folder in folders {
            let path = format!("{folder}/{name}");
            if !folder.starts_with('/') {
                self.note(Finding::RelativeSearchFolder { of: of.clone(), folder: folder.clone() });
                continue;
            }
            if path.len() > musl::MAX_PATH {
                continue;
            }
            match find(self.request.tree, &path) {
                Ok(landings) => return Ok(Some((landings, path))),
                Err(error) if goes_on(&error) => {
                    if !searched.contains(folder) {
                        searched.push(folder.clone());
                    }
                }
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }

    /// The folders of `/etc/ld-musl-<arch>.path`, which then belongs to the set, or the built-in ones.
    fn common_folders(&mut self, process: &Process) -> Vec<String> {
        let platform = self.request.platform;
        let default = Dialect::Musl.default_interpreter(platform);
        let (interpreter, loader) = match &process.loader {
            Some((asked, found)) => (asked.as_str(), Some(found)),
            None => (default.as_str(), None),
        };
        match find(self.request.tree, &musl::path_file(interpreter, platform)) {
            Err(ResolveError::Missing { .. }) => musl::COMMON_FOLDERS.map(str::to_owned).to_vec(),
            // There, but not to be opened or read: musl then knows no folder at all.
            Err(_) => Vec::new(),
            Ok(landings) => {
                let of = loader.unwrap_or(&process.objects[0].path).clone();
                let path = self.arrive(&landings, Reason::SearchPath { of });
                let text = self.text(&path, MAX_PATH_FILE).unwrap_or_default();
                musl::cut(&text)
            }
        }
    }
}

/// Whether the search for a library goes on behind a path that can't be opened (musl, `path_open`).
fn goes_on(error: &ResolveError) -> bool {
    match error {
        ResolveError::Missing { .. }
        | ResolveError::NotADirectory { .. }
        | ResolveError::BadTarget { .. } => true,
        ResolveError::Loop { .. } => false,
    }
}
