//! Layers: each unique one is compressed once for all images of a run, in parallel, and never again while
//! what it holds stays the same.

use std::collections::BTreeMap;

use kimg_core::{Digest, Entry};
use kimg_layer::{BlobStore, Entries, LayerInfo, Options};
use kimg_source::Cache;
use rayon::prelude::*;

use crate::error::BuildError;
use crate::events::{Event, Events};
use crate::select::Selected;
use crate::shared_cache::{SharedCache, WantedLayer};

/// A layer of an image, written.
#[derive(Debug, Clone)]
pub struct WrittenLayer {
    /// `base`
    pub name: String,
    /// Its blob.
    pub info: LayerInfo,
    /// Whether it was written in an earlier run, here or by whoever wrote a shared cache.
    pub from_cache: bool,
}

/// Writes every layer of every image that is not in the cache yet. The result stands in the order of the
/// images; layers that would be empty are left out. `options` says how a layer of an image is written, by its name.
/// What shared caches have is taken over from there.
pub fn write_layers(
    images: &[Selected],
    options: &dyn Fn(&Selected, &str) -> Options,
    cache: &Cache,
    blobs: &BlobStore,
    shared: Option<&SharedCache>,
    events: &dyn Events,
) -> Result<Vec<Vec<WrittenLayer>>, BuildError> {
    let mut unique: BTreeMap<Digest, (String, Entries, Options)> = BTreeMap::new();
    let mut wanted: Vec<Vec<(String, Digest)>> = Vec::new();
    for image in images {
        let mut layers = Vec::new();
        for (place, name) in image.layers.iter().enumerate() {
            let entries = entries(image, place);
            if entries.is_empty() {
                continue;
            }
            let options = options(image, name);
            let key = kimg_layer::key(&entries, &options);
            layers.push((name.clone(), key));
            unique.entry(key).or_insert_with(|| (format!("{name} for {}", image.platform), entries, options));
        }
        wanted.push(layers);
    }

    let mut done: BTreeMap<Digest, (LayerInfo, bool)> = BTreeMap::new();
    let mut todo: Vec<(u64, Digest, &String, &Entries, &Options)> = Vec::new();
    for (key, (name, entries, options)) in &unique {
        match cache.record::<LayerInfo>("layer", key).filter(|info| blobs.is_whole(info.digest, info.size)) {
            Some(info) => {
                events.event(&Event::CompressedLayer {
                    layer: name.clone(),
                    bytes: info.size,
                    from_cache: true,
                });
                done.insert(*key, (info, true));
            }
            None => todo.push((entries.values().map(Entry::size).sum(), *key, name, entries, options)),
        }
    }
    if let Some(shared) = shared {
        let wanted =
            todo.iter().map(|&(_, key, name, entries, options)| WantedLayer { key, name, entries, options });
        let taken = shared.layers(&wanted.collect::<Vec<_>>(), cache, blobs, events)?;
        todo.retain(|(_, key, ..)| !taken.contains_key(key));
        done.extend(taken.into_iter().map(|(key, info)| (key, (info, true))));
    }
    // The largest first: the last one to finish is then a small one.
    todo.sort_by(|a, b| b.0.cmp(&a.0).then(a.1.cmp(&b.1)));
    events.event(&Event::Compressing { layers: todo.len(), bytes: todo.iter().map(|t| t.0).sum() });
    let written: Result<Vec<_>, BuildError> = todo
        .par_iter()
        .with_max_len(1)
        .map(|(_, key, name, entries, options)| {
            let info = blobs.put_layer(entries, options)?;
            cache.keep("layer", key, &info)?;
            events.event(&Event::CompressedLayer {
                layer: (*name).clone(),
                bytes: info.size,
                from_cache: false,
            });
            Ok((*key, (info, false)))
        })
        .collect();
    done.extend(written?);
    if let Some(shared) = shared {
        for (key, (info, _)) in &done {
            shared.has_layer(*key, info);
        }
    }

    let find = |(name, key): (String, Digest)| {
        done.get(&key).map(|(info, from_cache)| WrittenLayer {
            name,
            info: info.clone(),
            from_cache: *from_cache,
        })
    };
    Ok(wanted.into_iter().map(|layers| layers.into_iter().filter_map(find).collect()).collect())
}

/// What one layer of an image holds, with every folder above it.
pub(crate) fn entries(image: &Selected, layer: usize) -> Entries {
    let mut entries = Entries::new();
    for path in image.files.iter().filter(|(_, place)| **place == layer).map(|(path, _)| path) {
        for path in path.ancestors().into_iter().skip(1).chain([path.clone()]) {
            if let Some(entry) = image.tree.get(&path) {
                entries.entry(path).or_insert_with(|| timeless(entry));
            }
        }
    }
    entries
}

/// A folder loses its time: many packages bring the same folder, and whose time it has would depend on what else
/// was chosen. Layers of several variants would then differ in nothing but that.
fn timeless(entry: &Entry) -> Entry {
    let mut entry = entry.clone();
    if entry.is_directory() {
        entry.mtime = 0;
    }
    entry
}
