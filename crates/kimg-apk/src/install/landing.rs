//! Where a path lands when folders on its way are symbolic links, while the tree is still being made.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};

use kimg_core::{FileTree, ImagePath};

use super::InstallError;

/// Follows the links it knows; unlike [`FileTree::resolve`], what is not there yet is taken for a folder to come.
#[derive(Debug, Default)]
pub(crate) struct Landing {
    /// Targets by the real place of each link.
    links: BTreeMap<ImagePath, String>,
    /// Folders followed before: most paths share theirs with many.
    folders: RefCell<HashMap<ImagePath, ImagePath>>,
}

/// Linux follows at most 40 links for one path (`MAXSYMLINKS`, `path_resolution(7)`).
const MAX_LINKS: usize = 40;

impl PartialEq for Landing {
    fn eq(&self, other: &Self) -> bool {
        self.links == other.links
    }
}

impl Landing {
    pub(super) fn new(links: BTreeMap<ImagePath, String>) -> Self {
        Self { links, folders: RefCell::default() }
    }

    /// Follows the links of a finished tree.
    pub(crate) fn in_tree(tree: &FileTree) -> Self {
        let target =
            |(path, entry): (&ImagePath, &kimg_core::Entry)| Some((path.clone(), entry.target()?.to_owned()));
        Self::new(tree.iter().filter_map(target).collect())
    }

    /// Where `path` is; with `last`, also a link at its very end is followed.
    pub(crate) fn of(&self, path: &ImagePath, last: bool) -> Result<ImagePath, InstallError> {
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { return Ok(path.clone()) };
        if last {
            return self.folder(path);
        }
        let folder = self.folder(&parent)?;
        folder.join(name).map_err(|_| InstallError::Link {
            path: path.clone(),
            link: folder,
            target: name.to_owned(),
        })
    }

    fn folder(&self, path: &ImagePath) -> Result<ImagePath, InstallError> {
        if let Some(known) = self.folders.borrow().get(path) {
            return Ok(known.clone());
        }
        let found = self.follow(path)?;
        self.folders.borrow_mut().insert(path.clone(), found.clone());
        Ok(found)
    }

    fn follow(&self, wanted: &ImagePath) -> Result<ImagePath, InstallError> {
        let mut todo: Vec<String> = wanted.names().map(str::to_owned).collect();
        todo.reverse();
        let mut here = ImagePath::root();
        let mut followed = 0;
        while let Some(name) = todo.pop() {
            if name == ".." {
                here = here.parent().unwrap_or(here);
                continue;
            }
            let nowhere = |link: &ImagePath, target: &str| InstallError::Link {
                path: wanted.clone(),
                link: link.clone(),
                target: target.to_owned(),
            };
            let next = here.join(&name).map_err(|_| nowhere(&here, &name))?;
            let Some(target) = self.links.get(&next) else {
                here = next;
                continue;
            };
            followed += 1;
            if followed > MAX_LINKS {
                return Err(nowhere(&next, target));
            }
            if target.starts_with('/') {
                here = ImagePath::root();
            }
            todo.extend(target.split('/').filter(|n| !n.is_empty() && *n != ".").rev().map(str::to_owned));
        }
        Ok(here)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> ImagePath {
        ImagePath::new(text).unwrap()
    }

    fn landing(links: &[(&str, &str)]) -> Landing {
        Landing::new(links.iter().map(|(at, target)| (path(at), (*target).to_owned())).collect())
    }

    #[test]
    fn folders_that_do_not_exist_yet_are_folders_to_come() {
        let landing = landing(&[("/lib", "usr/lib"), ("/usr/lib/new", "../../opt/./new")]);
        assert_eq!(landing.of(&path("/lib/x"), false).unwrap(), path("/usr/lib/x"));
        assert_eq!(landing.of(&path("/lib/new/y"), false).unwrap(), path("/opt/new/y"));
        assert_eq!(landing.of(&path("/lib"), false).unwrap(), path("/lib"));
        assert_eq!(landing.of(&path("/lib"), true).unwrap(), path("/usr/lib"));
    }

    #[test]
    fn a_link_can_not_lead_out_of_the_root() {
        assert_eq!(landing(&[("/up", "../../../etc")]).of(&path("/up/x"), false).unwrap(), path("/etc/x"));
    }

    #[test]
    fn links_in_a_circle_end_with_an_error() {
        let landing = landing(&[("/a", "b"), ("/b", "a")]);
        assert!(matches!(landing.of(&path("/a/x"), false), Err(InstallError::Link { .. })));
        assert!(landing.of(&path("/a"), false).is_ok(), "the link itself can stand");
    }
}
