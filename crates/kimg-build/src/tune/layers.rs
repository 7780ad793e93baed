//! The ways to compress layers.

use std::collections::BTreeMap;
use std::time::Instant;

use kimg_core::{Digest, Platform};
use kimg_layer::{Codec, Entries, Options, Window};
use rayon::prelude::*;

use super::programs::compressed;
use super::{TriedCodec, TunedLayer};
use crate::aims::{Aims, Family, Objective};
use crate::build::Build;
use crate::error::BuildError;
use crate::events::Event;
use crate::layers::entries;
use crate::select::{RECORD_LAYER, Selected};

/// What a codec that asks more of the node (memory for a window) or of the builder has to save, of a thousand bytes.
const WORTH: u64 = 30;

/// Tries the codecs of the family on every layer but the record's, which is small and follows from the others.
pub(super) fn tune(build: &Build<'_>, images: &[Selected]) -> Result<Vec<TunedLayer>, BuildError> {
    let aims = build.project.aims;
    let mut unique: BTreeMap<(Platform, Digest), (String, Vec<String>, Entries)> = BTreeMap::new();
    for image in images {
        for (place, name) in image.layers.iter().enumerate().filter(|(_, name)| *name != RECORD_LAYER) {
            let entries = entries(image, place);
            if entries.is_empty() {
                continue;
            }
            let key = kimg_layer::key(&entries, &Options::default());
            let variant = build.project.variants[image.variant].name.clone();
            unique
                .entry((image.platform, key))
                .or_insert_with(|| (name.clone(), Vec::new(), entries))
                .1
                .push(variant);
        }
    }
    let bytes = unique.values().flat_map(|(.., entries)| entries.values().map(kimg_core::Entry::size)).sum();
    build.events.event(&Event::Compressing { layers: unique.len(), bytes });
    let unique: Vec<_> = unique.into_iter().collect();
    unique
        .into_par_iter()
        .with_max_len(1)
        .map(|((platform, _), (layer, variants, entries))| {
            let mut codecs = Vec::new();
            for codec in codecs_of(aims) {
                let begin = Instant::now();
                let size = compressed(&entries, codec)?;
                codecs.push(TriedCodec { codec, size, time: begin.elapsed() });
            }
            build.events.event(&Event::CompressedLayer {
                layer: format!("{layer} for {platform}"),
                bytes: codecs[0].size,
                from_cache: false,
            });
            let extracted = entries.values().map(kimg_core::Entry::size).sum();
            let chosen = choose(aims, &codecs);
            Ok(TunedLayer { platform, variants, layer, extracted, codecs, chosen })
        })
        .collect()
}

/// The codecs to try: the default of the aims, and others of the family.
fn codecs_of(aims: Aims) -> Vec<Codec> {
    let others = match aims.family {
        Family::Gzip => [6, 9, 12].map(|level| Codec::Gzip { level }).to_vec(),
        Family::Zstd => [(3, None), (19, None), (19, Some(Window::Mib64))]
            .map(|(level, window)| Codec::Zstd { level, window })
            .to_vec(),
    };
    let default = aims.codec();
    let mut all: Vec<Codec> = others.into_iter().filter(|other| *other != default).collect();
    all.insert(0, default);
    all
}

/// What is pulled is all that counts for `pull`; else another codec than the default has to save enough. A codec that
/// was said as a whole is taken as it is.
fn choose(aims: Aims, codecs: &[TriedCodec]) -> usize {
    let smallest = (0..codecs.len()).min_by_key(|place| (codecs[*place].size, *place)).unwrap_or(0);
    if aims.codec.is_some() {
        return 0;
    }
    let (default, best) = (codecs[0].size, codecs[smallest].size);
    let worth_it = default.saturating_sub(best).saturating_mul(1000) >= default.saturating_mul(WORTH);
    if aims.objective == Objective::Pull || worth_it { smallest } else { 0 }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn tried(sizes: [u64; 3], aims: Aims) -> Vec<TriedCodec> {
        let codecs = codecs_of(aims).into_iter().zip(sizes);
        codecs.map(|(codec, size)| TriedCodec { codec, size, time: Duration::ZERO }).collect()
    }

    #[test]
    fn a_codec_that_asks_more_has_to_save_enough() {
        let mut aims = Aims::default();
        aims.set_compression("zstd", None, None).unwrap();
        let chosen = |aims, sizes| {
            let tried = tried(sizes, aims);
            tried[choose(aims, &tried)].codec.to_string()
        };
        // In the order default (zstd:19), zstd:3, long window.
        assert_eq!(chosen(aims, [1000, 1300, 980]), "zstd:19");
        assert_eq!(chosen(aims, [1000, 1300, 960]), "zstd:19:window=64MiB");
        let pull = Aims { objective: Objective::Pull, ..aims };
        // Here the long window is the default.
        assert_eq!(chosen(pull, [980, 1300, 1000]), "zstd:19:window=64MiB");
        let mut said = aims;
        said.set_compression("zstd:3", None, None).unwrap();
        assert_eq!(chosen(said, [1300, 1000, 980]), "zstd:3");
    }
}
