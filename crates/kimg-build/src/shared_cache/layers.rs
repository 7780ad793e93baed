//! Layers out of shared caches, and what they are compared with.

use std::collections::{BTreeMap, BTreeSet};
use std::io::BufReader;

use kimg_core::Digest;
use kimg_layer::{BlobStore, Entries, LayerError, LayerInfo, Options};
use kimg_source::Cache;
use rayon::prelude::*;

use super::index::{Kind, Made};
use super::source::{NotFetched, unproven};
use super::{SharedCache, in_words};
use crate::error::BuildError;
use crate::events::Events;

/// A layer that the local cache does not have.
pub(crate) struct WantedLayer<'a> {
    /// [`kimg_layer::key`] of it.
    pub(crate) key: Digest,
    /// `base for linux/amd64`
    pub(crate) name: &'a str,
    pub(crate) entries: &'a Entries,
    pub(crate) options: &'a Options,
}

impl WantedLayer<'_> {
    fn what(&self) -> String {
        format!("layer {}", self.name)
    }

    /// Compares what an index says with the archive that is made here: what is wrong with it. No compressor makes much
    /// more of an archive than it is, so the blob is bounded by that too.
    fn judge(&self, info: &LayerInfo, archive: (Digest, u64)) -> Result<(), String> {
        let (diff_id, tar_size) = archive;
        let codec = self.options.codec;
        if info.media_type != codec.media_type() {
            let found: String = info.media_type.chars().take(100).collect();
            Err(format!("it is a `{found}`, and not compressed with {codec}"))
        } else if (info.diff_id, info.tar_size) != archive {
            Err(format!(
                "its archive is {} with {} bytes, expected {diff_id} with {tar_size}",
                info.diff_id, info.tar_size
            ))
        } else if info.size > tar_size + tar_size / 100 + 4096 {
            Err(format!("its blob has {} bytes, more than its archive", info.size))
        } else {
            Ok(())
        }
    }
}

impl SharedCache {
    /// Takes layers over into the store, as many as the caches have and as are what they should be; gives them by their
    /// keys. Only the disk of this machine is an error.
    pub(crate) fn layers(
        &self,
        wanted: &[WantedLayer<'_>],
        cache: &Cache,
        blobs: &BlobStore,
        events: &dyn Events,
    ) -> Result<BTreeMap<Digest, LayerInfo>, BuildError> {
        let mut archives: BTreeMap<Digest, (Digest, u64)> = BTreeMap::new();
        let key = |it: &WantedLayer<'_>| it.key;
        self.in_turn(wanted, key, events, |source, index, pending, turn| {
            let offered: Vec<(&WantedLayer<'_>, &LayerInfo)> = pending
                .into_iter()
                .filter_map(|wanted| match &index.0.get(&(Kind::Layer, wanted.key))?.made {
                    Made::Layer(info) => Some((wanted, info)),
                    Made::Program { .. } | Made::Compiled(_) => None,
                })
                .collect();
            turn.found.extend(offered.iter().map(|(wanted, _)| wanted.key));

            let unknown = offered.iter().filter(|(wanted, _)| !archives.contains_key(&wanted.key));
            let made: Result<Vec<_>, LayerError> = unknown
                .collect::<Vec<_>>()
                .into_par_iter()
                .with_max_len(1)
                .map(|(wanted, _)| Ok((wanted.key, kimg_layer::diff_id(wanted.entries, wanted.options)?)))
                .collect();
            archives.extend(made?);

            let mut good = Vec::new();
            for (wanted, info) in offered {
                match wanted.judge(info, archives[&wanted.key]) {
                    Ok(()) => good.push((wanted, info)),
                    Err(why) => self.refuse(events, source, &wanted.what(), &why),
                }
            }
            let (_folder, store) = unproven(cache)?;
            let lacking: Vec<_> = good
                .iter()
                .map(|(_, info)| (info.digest, info.size))
                .filter(|(digest, size)| !blobs.is_whole(*digest, *size))
                .collect::<BTreeSet<_>>()
                .into_iter()
                .collect();
            let fetched = self.fetch(source, &lacking, &store, events);
            let judged: Vec<_> = good
                .into_par_iter()
                .with_max_len(1)
                .map(|(wanted, info)| {
                    let judged = match fetched.get(&(info.digest, info.size)) {
                        Some(Ok(())) => unpack(&store, wanted, info),
                        Some(Err(not)) => Err(not.clone()),
                        None => unpack(blobs, wanted, info),
                    };
                    (wanted, info, judged)
                })
                .collect();
            for (wanted, info, judged) in judged {
                match judged {
                    Ok(()) => {
                        if fetched.contains_key(&(info.digest, info.size)) {
                            blobs.put(|out| store.copy_to(info.digest, info.size, out))?;
                        }
                        cache.keep("layer", &wanted.key, info)?;
                        self.take(events, source, &wanted.what(), info.size);
                        turn.taken.insert(wanted.key, info.clone());
                    }
                    Err(NotFetched::Wrong(why)) => self.refuse(events, source, &wanted.what(), &why),
                    Err(NotFetched::Told) => {}
                }
            }
            Ok(())
        })
    }
}

/// Whether a blob holds the archive that was made here.
fn unpack(store: &BlobStore, wanted: &WantedLayer<'_>, info: &LayerInfo) -> Result<(), NotFetched> {
    let blob =
        fs_err::File::open(store.path(info.digest)).map_err(|error| NotFetched::Wrong(error.to_string()))?;
    let blob = BufReader::with_capacity(128 << 10, blob);
    kimg_layer::check(blob, wanted.options.codec, info.diff_id, info.tar_size)
        .map_err(|error| NotFetched::Wrong(in_words(&error)))
}
