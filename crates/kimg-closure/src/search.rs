//! The folders in which a library is searched, in musl's order.

use kimg_core::{ImagePath, ResolveError};

use crate::closure::Finding;
use crate::lookup::{Landing, find};
use crate::process::Process;
use crate::walk::Walk;
use crate::{Reason, musl};

/// The longest `/etc/ld-musl-<arch>.path` that is read, in bytes.
const MAX_PATH_FILE: u64 = 64 << 10;

impl Walk<'_> {
    /// The first folder that has the name: of the image's setting, of the object and those above it, of the system.
    pub(crate) fn search(
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
            if let Some(found) = self.search_in(&object.folders, name, &of, searched)? {
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
        let default = musl::default_interpreter(platform);
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
                let content = self.request.tree.get(&path).and_then(|e| e.content());
                let bytes = content.and_then(|c| c.read(MAX_PATH_FILE).ok()).unwrap_or_default();
                musl::cut(&String::from_utf8_lossy(&bytes))
            }
        }
    }
}

/// Whether the search for a library goes on behind a path that can't be opened (musl, `path_open`).
pub(crate) fn goes_on(error: &ResolveError) -> bool {
    match error {
        ResolveError::Missing { .. }
        | ResolveError::NotADirectory { .. }
        | ResolveError::BadTarget { .. } => true,
        ResolveError::Loop { .. } => false,
    }
}
