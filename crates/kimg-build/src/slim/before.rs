//! One platform's files as they are before: out of the layers of an image, or in a folder.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use kimg_closure::{Files, FolderRoot, platform_of};
use kimg_core::{Digest, Entry, FileTree, ImagePath, Platform};
use kimg_layer::Node;
use serde_json::{Value, json};

use super::folder::RootFolder;
use super::roots::{self, Asked};
use super::{PassedOver, SlimError};
use crate::existing::{FoundImage, Laid, Place, Spool, read_image};

/// One platform's files, before.
pub(super) struct Before {
    pub(super) platform: Platform,
    pub(super) tree: FileTree,
    /// Devices and pipes of an image.
    pub(super) nodes: BTreeMap<ImagePath, Node>,
    /// Where they lie, if in a folder; the bytes of an image are in the tree.
    folder: Option<(Arc<RootFolder>, FolderRoot)>,
    pub(super) passed_over: Vec<PassedOver>,
    pub(super) config: Value,
    pub(super) annotations: BTreeMap<String, String>,
    pub(super) digest: Option<Digest>,
}

impl Before {
    pub(super) fn files(&self) -> &dyn Files {
        match &self.folder {
            Some((_, files)) => files,
            None => &self.tree,
        }
    }

    /// An entry with its digest, ready to be written.
    pub(super) fn whole(&self, path: &ImagePath) -> Result<Option<Entry>, SlimError> {
        let Some(entry) = self.tree.get(path) else { return Ok(None) };
        let mut entry = match &self.folder {
            Some((folder, _)) => {
                folder.whole(path, entry).map_err(SlimError::disk(format!("reading `{path}`")))?
            }
            None => entry.clone(),
        };
        // A folder's time says when something was put into it or taken out: it is no longer that folder.
        if entry.is_directory() {
            entry.mtime = 0;
        }
        Ok(Some(entry))
    }
}

/// One platform's image, its layers laid over each other. Their bytes are kept in `scratch`, without a name.
pub(super) fn of_image(place: &Place, image: &FoundImage, scratch: &Path) -> Result<Before, SlimError> {
    let mut spool = Spool::new(scratch).map_err(SlimError::disk("making room for the image's files"))?;
    let Laid { tree, nodes } = read_image(place, image, &mut spool)?;
    let passed_over = nodes
        .iter()
        .map(|(path, node)| PassedOver { path: path.to_string(), why: format!("a {}", node.kind) });
    Ok(Before {
        platform: image.platform,
        tree,
        passed_over: passed_over.collect(),
        nodes,
        folder: None,
        config: image.config.clone(),
        annotations: image.annotations.clone(),
        digest: Some(image.digest),
    })
}

/// A root file system in a folder. What it is for is what is said, else what the first of its roots is for that is for
/// anything; what it runs is its one program, if there is one.
pub(super) fn of_folder(path: &Path, said: &[Platform], asked: &Asked<'_>) -> Result<Before, SlimError> {
    let name = path.display();
    let disk = |source| SlimError::Disk { what: format!("`{name}` can't be looked into"), source };
    let files = FolderRoot::open(path).map_err(disk)?;
    let folder = RootFolder::open(path).map_err(disk)?;
    let listing = folder.list();
    let passed_over =
        listing.passed_over.into_iter().map(|(path, why)| PassedOver { path, why: why.to_owned() });
    let wanted = roots::find(&listing.tree, &BTreeMap::new(), asked)?.roots;
    let platform = match said {
        [one] => *one,
        [] => {
            let said = wanted.iter().find_map(|root| platform_of(&files, &root.path).ok().flatten());
            said.ok_or_else(|| {
                SlimError::asked(
                    format!("nothing says what `{name}` runs on: none of its roots is a program"),
                    "say it: `--arch amd64`",
                )
            })?
        }
        _ => return Err(SlimError::asked("a folder is for one platform", "say one `--arch`")),
    };
    let config = match (asked.programs, wanted.first()) {
        ([_], Some(program)) => json!({ "config": { "Entrypoint": [program.path] } }),
        _ => json!({}),
    };
    Ok(Before {
        platform,
        tree: listing.tree,
        nodes: BTreeMap::new(),
        folder: Some((folder, files)),
        passed_over: passed_over.collect(),
        config,
        annotations: BTreeMap::new(),
        digest: None,
    })
}
