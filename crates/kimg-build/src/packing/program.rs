//! The programs of images that are large enough to ask how they are packed, and what they need to start.

use std::collections::BTreeMap;

use kimg_closure::{FactStore, Request, Rules};
use kimg_core::variant::{Probe, Root};
use kimg_core::{Content, ImagePath, Platform, Resolved};
use kimg_pack::{Candidate, Packing, Runners};

use crate::aims::{Pinned, Use};
use crate::select::Selected;

/// A program of an image that is large enough to ask how it is packed.
pub(crate) struct Program {
    pub(crate) image: usize,
    pub(crate) path: ImagePath,
    pub(crate) content: Content,
    pub(crate) platform: Platform,
    pub(crate) daemon: bool,
    pub(crate) often: bool,
    probe: Option<Probe>,
    pub(super) pinned: Pinned,
    mode: u32,
    xattrs: BTreeMap<String, Vec<u8>>,
}

impl Program {
    pub(crate) fn used(&self) -> Use {
        Use { daemon: self.daemon, often: self.often }
    }

    pub(crate) fn candidate<'a>(
        &'a self,
        libraries: &'a [(ImagePath, Content)],
        runners: &'a Runners,
    ) -> Candidate<'a> {
        Candidate {
            path: &self.path,
            content: &self.content,
            platform: self.platform,
            packing: self.pinned.packing,
            daemon: self.daemon,
            mode: self.mode,
            xattrs: &self.xattrs,
            probe: self.probe.as_ref(),
            libraries,
            runners,
        }
    }
}

/// The roots of all images that are regular files of at least this size.
pub(crate) fn programs(images: &[Selected], minimum: u64) -> Vec<Program> {
    let mut programs = Vec::new();
    for (place, image) in images.iter().enumerate() {
        let mut here: BTreeMap<ImagePath, Program> = BTreeMap::new();
        for placed in &image.roots {
            let Some(root) = &placed.root else { continue };
            let Ok(end) = image.tree.resolve(&placed.path) else { continue };
            let Some(entry) = image.tree.get(&end.path) else { continue };
            let Some(content) = entry.content() else { continue };
            if content.size() < minimum {
                continue;
            }
            // Several roots may lead to one program: if one of them is a daemon, the program is one.
            let program = here.entry(end.path.clone()).or_insert_with(|| Program {
                image: place,
                path: end.path.clone(),
                content: content.clone(),
                platform: image.platform,
                daemon: false,
                often: false,
                probe: probe(image, root, &end),
                pinned: Pinned { packing: Packing::default(), result: None },
                mode: entry.mode,
                xattrs: entry.xattrs.clone(),
            });
            program.daemon |= root.daemon;
            program.often |= root.often;
        }
        programs.extend(here.into_values());
    }
    programs
}

/// How to see that the program starts at which a root ends. One that goes by its name is started by the name of one of its
/// links, and then no probe is right; one of ours also takes that name as its first argument.
fn probe(image: &Selected, root: &Root, end: &Resolved) -> Option<Probe> {
    let mut probe = root.probe.clone()?;
    if let Some(link) = end.links.last() {
        if !image.multicalls.contains(&end.path) {
            return None;
        }
        probe.arguments.insert(0, link.file_name()?.to_owned());
    }
    Some(probe)
}

/// The loader and libraries of a program, each at the path where it is looked for.
pub(crate) fn libraries(
    image: &Selected,
    program: &Program,
    rules: &Rules,
    facts: &dyn FactStore,
) -> Vec<(ImagePath, Content)> {
    let root = kimg_closure::Root { path: program.path.clone(), name: String::new(), reason: String::new() };
    let request = Request {
        tree: &image.tree,
        platform: image.platform,
        roots: &[root],
        rules,
        library_path: &[],
        facts,
    };
    let Ok(closure) = kimg_closure::close(&request) else { return Vec::new() };
    closure
        .iter()
        .map(|(path, _)| path)
        .filter(|path| **path != program.path)
        .filter_map(|path| {
            let end = image.tree.resolve(path).ok()?;
            Some((path.clone(), image.tree.get(&end.path)?.content()?.clone()))
        })
        .collect()
}
