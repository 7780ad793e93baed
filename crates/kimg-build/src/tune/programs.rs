//! The ways to pack programs.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::time::Duration;

use kimg_closure::{MemoryFacts, Rules};
use kimg_core::{Content, Digest, Entry, ImagePath, Kind, Origin, Platform};
use kimg_layer::{Codec, Entries, Options};
use kimg_pack::{Measured, Outcome, Packing, Runners, Settings, Upx, UpxOptions};

use super::{TunedPrograms, Way};
use crate::aims::{Aims, Cost, Family, Start, Use, cost};
use crate::build::Build;
use crate::error::BuildError;
use crate::events::Event;
use crate::layers::entries;
use crate::packing::{Program, libraries, programs};
use crate::select::Selected;

/// Starts of each program in each way; the median counts.
const STARTS: usize = 5;

/// What was decided about one program.
pub(super) struct Pin {
    pub(super) platform: Platform,
    pub(super) path: ImagePath,
    pub(super) program: Digest,
    pub(super) packing: Packing,
    pub(super) result: Digest,
}

/// A program and what was measured of it, in the order of [`ways`].
type Tried<'a> = (&'a Program, Vec<Measured>);

/// Every way that is tried; plain first, so that of two that cost the same it is taken.
fn ways() -> Vec<Packing> {
    let quick = Packing { strip: true, upx: UpxOptions::level(9, false) };
    vec![Packing::PLAIN, Packing::STRIP, quick, Packing::STRIP_UPX]
}

/// Measures all programs, and puts what was chosen into the images.
pub(super) fn tune(
    build: &Build<'_>,
    images: &mut [Selected],
    upx: &Upx,
) -> Result<(Vec<TunedPrograms>, Vec<Pin>), BuildError> {
    let settings = Settings { mode: build.project.pack, ..Settings::default() };
    let all: Vec<Program> = programs(images, settings.minimum_size);
    let groups = groups(build.project.aims, images, &all);
    let count = groups.values().map(Vec::len).sum();
    build.events.event(&Event::Packing { programs: count });
    let runners = Runners::find(&build.search_path);
    let (facts, rules) = (MemoryFacts::default(), Rules::none());

    let (mut tuned, mut pins) = (Vec::new(), Vec::new());
    for members in groups.into_values() {
        let mut tried: Vec<Tried<'_>> = Vec::new();
        for program in members {
            let libraries = libraries(&images[program.image], program, &rules, &facts);
            let candidate = program.candidate(&libraries, &runners);
            let scratch = build.cache.scratch();
            let mut sink = build.cache.contents();
            let measured =
                kimg_pack::measure(&candidate, &ways(), Some(upx), &settings, STARTS, &scratch, &mut sink)?;
            build.events.event(&Event::PackedProgram {
                program: format!("{} for {}", program.path, program.platform),
                outcome: "measured".into(),
                from_cache: false,
            });
            tried.push((program, measured));
        }
        let (group, chosen) = choose(build, images, &tried)?;
        pins.extend(tried.iter().map(|(program, measured)| pin(program, &measured[chosen])));
        tuned.push(group);
    }
    for program in &all {
        let pinned = pins
            .iter()
            .find(|pin| pin.platform == program.platform && pin.program == program.content.digest());
        if let Some(pin) = pinned
            && let Some(entry) = images[program.image].tree.get_mut(&program.path)
            && let Some(content) = sized(build, pin.result, entry)
        {
            entry.kind = Kind::File { content, inode: None };
        }
    }
    Ok((tuned, pins))
}

/// The content with this digest: the one that is there, or one that the cache was given by a measure.
fn sized(build: &Build<'_>, digest: Digest, entry: &Entry) -> Option<Content> {
    let now = entry.content()?;
    if now.digest() == digest { Some(now.clone()) } else { build.cache.contents().find(digest) }
}

/// Programs that are decided together, each program once: by gzip each for itself, by zstd those of a layer that are
/// used alike.
fn groups<'a>(
    aims: Aims,
    images: &[Selected],
    all: &'a [Program],
) -> BTreeMap<(Platform, String, Use, Option<Digest>), Vec<&'a Program>> {
    let mut seen = BTreeSet::new();
    let mut groups: BTreeMap<_, Vec<&Program>> = BTreeMap::new();
    for program in all {
        if !seen.insert((program.platform, program.content.digest())) {
            continue;
        }
        let alone = (aims.family == Family::Gzip).then(|| program.content.digest());
        let key = (program.platform, layer_of(images, program), program.used(), alone);
        groups.entry(key).or_default().push(program);
    }
    groups
}

fn layer_of(images: &[Selected], program: &Program) -> String {
    let image = &images[program.image];
    image.files.get(&program.path).map(|place| image.layers[*place].clone()).unwrap_or_default()
}

/// Holds the ways against each other; gives the group and the place of the chosen way.
fn choose(
    build: &Build<'_>,
    images: &[Selected],
    tried: &[Tried<'_>],
) -> Result<(TunedPrograms, usize), BuildError> {
    let aims = build.project.aims;
    let (first, _) = &tried[0];
    let mut found = Vec::new();
    for (place, packing) in ways().into_iter().enumerate() {
        let measured: Vec<(&Program, &Measured)> =
            tried.iter().map(|(program, ways)| (*program, &ways[place])).collect();
        let pulled = pulled(aims, images, &measured)?;
        let disk = measured.iter().map(|(_, way)| way.content.size()).sum();
        let starts: Vec<_> = measured.iter().filter_map(|(_, way)| way.starts.as_ref().ok()).collect();
        // What stays plain was started in the first way.
        let plain_starts = measured.iter().zip(tried).filter(|((_, way), _)| way.starts.is_err());
        let plain_starts =
            plain_starts.filter_map(|(_, (_, ways))| ways[0].starts.as_ref().ok()).map(|start| start.median);
        let start: Duration = starts.iter().map(|start| start.median).chain(plain_starts).sum();
        let start = Some(start).filter(|start| !start.is_zero());
        let costs =
            cost(aims.objective, &Cost { pulled, disk, start: Start { time: start, often: first.often } });
        found.push((
            costs,
            Way {
                packing,
                pulled,
                disk,
                start,
                under_qemu: starts.iter().any(|start| start.under_qemu),
                pack_time: measured.iter().map(|(_, way)| way.pack_time).sum(),
                plain: measured.iter().filter_map(|(program, way)| refused(program, way)).collect(),
                cost: costs.0,
            },
        ));
    }
    let chosen = (0..found.len()).min_by_key(|place| found[*place].0).unwrap_or(0);
    let group = TunedPrograms {
        platform: first.platform,
        layer: layer_of(images, first),
        programs: tried.iter().map(|(program, _)| program.path.clone()).collect(),
        often: first.often,
        ways: found.into_iter().map(|(_, way)| way).collect(),
        chosen,
    };
    Ok((group, chosen))
}

fn refused(program: &Program, way: &Measured) -> Option<(ImagePath, String)> {
    match &way.outcome {
        Outcome::Plain { why } if way.packing != Packing::PLAIN => {
            Some((program.path.clone(), why.to_string()))
        }
        _ => None,
    }
}

/// What is pulled when the programs are packed so.
fn pulled(aims: Aims, images: &[Selected], ways: &[(&Program, &Measured)]) -> Result<u64, BuildError> {
    let (first, _) = ways[0];
    let image = &images[first.image];
    let mut entries = match (aims.family, image.files.get(&first.path)) {
        (Family::Zstd, Some(layer)) => entries(image, *layer),
        _ => Entries::new(),
    };
    for (program, way) in ways {
        let origin = Origin::generated("measured");
        entries
            .entry(program.path.clone())
            .or_insert_with(|| Entry::file(program.content.clone(), 0o755, origin))
            .kind = Kind::File { content: way.content.clone(), inode: None };
    }
    compressed(&entries, aims.codec())
}

/// The size of a layer.
pub(super) fn compressed(entries: &Entries, codec: Codec) -> Result<u64, BuildError> {
    let options = Options { codec, epoch: Some(0), ..Options::default() };
    Ok(kimg_layer::write(entries, &options, io::sink())?.1.size)
}

fn pin(program: &Program, way: &Measured) -> Pin {
    let packing = match &way.outcome {
        Outcome::Packed { .. } => way.packing,
        Outcome::Plain { .. } => Packing::PLAIN,
    };
    Pin {
        platform: program.platform,
        path: program.path.clone(),
        program: program.content.digest(),
        packing,
        result: way.content.digest(),
    }
}
