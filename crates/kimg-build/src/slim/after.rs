//! One platform's image as it is after: what stays, its layer, and what there is to tell.

use std::collections::BTreeSet;

use kimg_closure::{MemoryFacts, Needs, Request, needs};
use kimg_core::ImagePath;
use kimg_image::Image;
use kimg_layer::{BlobStore, Entries, Options};
use serde_json::Value;

use super::before::Before;
use super::report::Sum;
use super::roots::Wanted;
use super::{KeptPath, Slim, SlimError, SlimmedImage, WantedPath, image, report, roots, unknown};
use crate::existing::library_path;

impl Slim {
    /// Makes one platform's image.
    pub(super) fn one(&self, before: &Before, blobs: &BlobStore) -> Result<(Image, SlimmedImage), SlimError> {
        let settings = &before.config["config"];
        let mut wanted =
            roots::find(&before.tree, &before.nodes, &self.asked(settings, Some(before.platform)))?;
        let found = needs(&Request {
            tree: before.files(),
            platform: before.platform,
            roots: &wanted.roots,
            rules: &self.rules,
            library_path: &library_path(settings),
            facts: &MemoryFacts::default(),
        });
        // Several programs may come to the same end: told once, with the first way to it.
        let mut known = BTreeSet::new();
        let new = found.problems().iter().filter(|error| known.insert(error.problem().to_string()));
        let unresolved: Vec<String> = new.map(ToString::to_string).collect();
        if !unresolved.is_empty() && !self.allow_unresolved {
            return Err(SlimError::Unresolved { platform: before.platform, problems: unresolved });
        }
        let asked = told(&wanted);
        wanted.links.extend(roots::shortcuts(&before.tree, |path| found.closure().contains(path)));
        let entries = entries(before, &found, &wanted)?;
        let options = Options { codec: self.codec, epoch: self.epoch, ..Options::default() };
        let layer = blobs.put_layer(&entries, &options).map_err(crate::BuildError::from)?;

        let all = Sum::of(before.tree.iter().map(|(_, entry)| entry));
        let after = Sum::of(entries.values());
        let newest = || entries.values().map(|entry| entry.mtime).max();
        let has_time = before.config.get("created").is_some();
        let image = image::assemble(&image::Parts {
            platform: before.platform,
            config: &before.config,
            annotations: &before.annotations,
            created: self.epoch.or_else(|| newest().filter(|_| !has_time)),
            created_by: &self.words(),
            comment: &image::comment(before.digest, after.files, all.files),
            layer: &layer,
        });
        let (gone, gone_by_folder) = report::gone(&before.tree, |path| entries.contains_key(path));
        let mut notes = wanted.notes.clone();
        notes.extend(entrypoint_gone(settings, before, &entries));
        notes.extend(found.closure().findings().iter().map(ToString::to_string));
        let report = SlimmedImage {
            platform: before.platform,
            from: before.digest,
            digest: image.descriptor.digest,
            pull: layer.size,
            before: all,
            after,
            gone,
            gone_by_folder,
            roots: asked,
            kept: kept(&entries, &found, &wanted),
            unresolved,
            unknown: unknown::unknown(found.closure(), &entries),
            passed_over: before.passed_over.clone(),
            notes,
        };
        Ok((image, report))
    }
}

/// Everything that stays, with every folder above it.
fn entries(before: &Before, found: &Needs, wanted: &Wanted) -> Result<Entries, SlimError> {
    let mut entries = Entries::new();
    let closed = found.closure().iter().map(|(path, _)| path.clone());
    let links = wanted.links.iter().flat_map(|(path, _)| {
        // Its own place, if a folder on the way is a link.
        let at = before.tree.locate(path).map_or_else(|_| path.clone(), |at| at.path);
        at.ancestors().into_iter().skip(1).chain([at])
    });
    for path in closed.chain(links) {
        if !entries.contains_key(&path)
            && let Some(entry) = before.whole(&path)?
        {
            entries.insert(path, entry);
        }
    }
    Ok(entries)
}

/// What the image would run and no longer has.
fn entrypoint_gone(settings: &Value, before: &Before, entries: &Entries) -> Option<String> {
    let first =
        ["Entrypoint", "Cmd"].iter().find_map(|key| roots::words(settings, key).into_iter().next())?;
    let path = ImagePath::new(&first).ok().filter(|_| first.starts_with('/'))?;
    let real = before.tree.resolve(&path).ok()?.path;
    (!entries.contains_key(&real)).then(|| {
        format!("its config still runs `{first}`, which is not in it: name a program when it is started")
    })
}

fn told(wanted: &Wanted) -> Vec<WantedPath> {
    let roots = wanted.roots.iter().map(|root| (&root.path, &root.reason));
    let links = wanted.links.iter().map(|(path, reason)| (path, reason));
    roots
        .chain(links)
        .map(|(path, reason)| WantedPath { path: path.clone(), reason: reason.clone() })
        .collect()
}

fn kept(entries: &Entries, found: &Needs, wanted: &Wanted) -> Vec<KeptPath> {
    let files = entries.iter().filter(|(_, entry)| !entry.is_directory());
    let why = |path: &ImagePath| match found.closure().why(path) {
        Some(chain) => chain.to_string(),
        None => {
            wanted.links.iter().find(|(link, _)| link == path).map_or_else(String::new, |(_, r)| r.clone())
        }
    };
    files.map(|(path, entry)| KeptPath { path: path.clone(), size: entry.size(), why: why(path) }).collect()
}
