//! Programs lose their symbols, and those that are no daemons are packed, as [`crate::aims`] or the lock decides: each unique
//! one once for all images, and never again while program, decision, packer and probe stay the same.

mod program;

use std::collections::{BTreeMap, BTreeSet};

use kimg_closure::{MemoryFacts, Rules};
use kimg_core::{Content, Digest, ImagePath, Kind, Platform};
use kimg_pack::{Mode, Outcome, Runners, Settings, Upx};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::aims::Decisions;
use crate::build::Build;
use crate::error::BuildError;
use crate::events::Event;
use crate::select::Selected;
use crate::shared_cache::{SharedCache, WantedProgram};

pub(crate) use program::{Program, libraries, programs};

/// What became of one program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackedProgram {
    /// Where it stands in the image.
    pub path: ImagePath,
    /// Its size before, in bytes.
    pub plain: u64,
    /// Its size now, in bytes.
    pub size: u64,
    /// Whether it is packed.
    pub packed: bool,
    /// What was done and why.
    pub verdict: String,
    /// Whether it was known from an earlier run.
    pub from_cache: bool,
}

/// What became of all programs.
#[derive(Debug, Clone, Default)]
pub struct Packed {
    /// The packer with its options, if anything was packed with it.
    pub packer: Option<String>,
    /// For each image, its programs that are large enough to ask, in the order of their paths.
    pub programs: Vec<Vec<PackedProgram>>,
    /// Programs that did not become what the lock says they become when they are packed as it says.
    pub others: BTreeSet<(Platform, ImagePath)>,
}

/// What the cache keeps of a program that went through the gate.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Kept {
    packed: Option<(Digest, u64)>,
    verdict: String,
}

impl Kept {
    fn of(outcome: &Outcome) -> Self {
        Self {
            packed: match outcome {
                Outcome::Packed { content, .. } => Some((content.digest(), content.size())),
                Outcome::Plain { .. } => None,
            },
            verdict: match outcome {
                Outcome::Packed { started, packing, .. } if packing.upx.is_none() => {
                    format!("without symbols; {started}")
                }
                Outcome::Packed { started, .. } => started.to_string(),
                Outcome::Plain { why } => why.to_string(),
            },
        }
    }
}

/// Packs the roots of all images that may be packed, and puts the packed ones into the trees. What shared caches have is
/// taken over from there.
pub fn pack(
    build: &Build<'_>,
    images: &mut [Selected],
    decisions: &Decisions,
    shared: Option<&SharedCache>,
) -> Result<Packed, BuildError> {
    let settings = Settings { mode: build.project.pack, ..Settings::default() };
    let upx = match settings.mode {
        Mode::Never => None,
        Mode::Auto | Mode::Require => Upx::find(&build.search_path)?,
    };
    if settings.mode == Mode::Require && upx.is_none() {
        return Err(BuildError::NoPacker);
    }
    let runners = match settings.mode {
        Mode::Never => Runners::none(),
        // Also what only loses its symbols has to answer as before.
        Mode::Auto | Mode::Require => Runners::find(&build.search_path),
    };
    let mut programs = programs(images, settings.minimum_size);
    for program in &mut programs {
        program.pinned = decisions.packing(program.platform, program.content.digest(), program.used());
    }

    let version = upx.as_ref().map(|u| u.version.as_str());
    let mut unique: BTreeMap<Digest, &Program> = BTreeMap::new();
    // What holds on every machine.
    let inner = |p: &Program| kimg_pack::key(&p.candidate(&[], &runners), version, &settings);
    let key = |p: &Program| {
        let inner = inner(p);
        // What could not be started is asked again where it can be.
        let started = runners.can_start(p.platform);
        Digest::of(format!("{inner} {} {started}", settings.mode))
    };
    for program in &programs {
        unique.entry(key(program)).or_insert(program);
    }

    let mut kept: BTreeMap<Digest, (Kept, bool)> = BTreeMap::new();
    let mut todo = Vec::new();
    for (key, program) in unique {
        match build.cache.record::<Kept>("packed", &key).filter(|k| still_there(build, k)) {
            Some(known) => {
                kept.insert(key, (known, true));
            }
            None => todo.push((key, program)),
        }
    }
    let facts = MemoryFacts::default();
    // Data that rules bring is not needed to see whether a program starts.
    let rules = Rules::none();
    if let Some(shared) = shared {
        let wanted = todo.iter().filter(|(_, program)| program.pinned.packing.upx.is_some());
        let wanted: Vec<_> = wanted
            .map(|(key, program)| WantedProgram {
                key: inner(program),
                name: format!("{} for {}", program.path, program.platform),
                plain: program.content.size(),
                pinned: program.pinned.result,
                program: (*key, *program),
            })
            .collect();
        let taken = if let Some(upx) = &upx {
            let gate = |(_, program): &(Digest, &Program), packed: &Content| {
                let libraries = libraries(&images[program.image], program, &rules, &facts);
                let candidate = program.candidate(&libraries, &runners);
                let mut sink = build.cache.contents();
                kimg_pack::accept(&candidate, packed, upx, &settings, &build.cache.scratch(), &mut sink)
            };
            shared.programs(&wanted, &gate, &build.cache, build.events)?
        } else {
            let asked = if settings.mode == Mode::Never { 0 } else { wanted.len() };
            shared.without_packer(asked, build.events);
            BTreeMap::new()
        };
        for WantedProgram { key: inner, program: (key, _), .. } in &wanted {
            if let Some(outcome) = taken.get(inner) {
                let known = Kept::of(outcome);
                build.cache.keep("packed", key, &known)?;
                kept.insert(*key, (known, true));
            }
        }
        todo.retain(|(key, _)| !kept.contains_key(key));
    }
    todo.sort_by_key(|(key, program)| (std::cmp::Reverse(program.content.size()), *key));
    if upx.is_some() {
        build.events.event(&Event::Packing { programs: todo.len() });
    }
    let made: Result<Vec<_>, BuildError> = todo
        .par_iter()
        .with_max_len(1)
        .map(|(key, program)| {
            let libraries = if upx.is_some() {
                libraries(&images[program.image], program, &rules, &facts)
            } else {
                Vec::new()
            };
            let candidate = program.candidate(&libraries, &runners);
            let mut sink = build.cache.contents();
            let outcome =
                kimg_pack::pack(&candidate, upx.as_ref(), &settings, &build.cache.scratch(), &mut sink)?;
            if upx.is_some() {
                build.events.event(&Event::PackedProgram {
                    program: format!("{} for {}", program.path, program.platform),
                    outcome: outcome.to_string(),
                    from_cache: false,
                });
            }
            let known = Kept::of(&outcome);
            if outcome.may_be_kept() {
                build.cache.keep("packed", key, &known)?;
            }
            Ok((*key, (known, false)))
        })
        .collect();
    kept.extend(made?);
    if let Some(shared) = shared {
        for program in programs.iter().filter(|program| program.pinned.packing.upx.is_some()) {
            if let Some((Kept { packed: Some((digest, size)), .. }, _)) = kept.get(&key(program)) {
                shared.has_program(inner(program), *digest, *size);
            }
        }
    }

    let mut packed = Packed { programs: vec![Vec::new(); images.len()], ..Packed::default() };
    for program in &programs {
        let Some((known, from_cache)) = kept.get(&key(program)) else { continue };
        let plain = program.content.size();
        let result = known.packed.map_or(program.content.digest(), |(digest, _)| digest);
        if program.pinned.result.is_some_and(|pinned| pinned != result) {
            packed.others.insert((program.platform, program.path.clone()));
        }
        let mut size = plain;
        if let Some((digest, bytes)) = known.packed
            && let Some(content) = build.cache.content(digest, bytes)
            && let Some(entry) = images[program.image].tree.get_mut(&program.path)
        {
            entry.kind = Kind::File { content, inode: None };
            size = bytes;
            if program.pinned.packing.upx.is_some() {
                packed.packer = upx.as_ref().map(|upx| format!("upx {}", upx.version));
            }
        }
        packed.programs[program.image].push(PackedProgram {
            path: program.path.clone(),
            plain,
            size,
            packed: known.packed.is_some(),
            verdict: known.verdict.clone(),
            from_cache: *from_cache,
        });
    }
    for programs in &mut packed.programs {
        programs.sort_by(|a, b| a.path.cmp(&b.path));
    }
    Ok(packed)
}

fn still_there(build: &Build<'_>, known: &Kept) -> bool {
    known.packed.is_none_or(|(digest, size)| build.cache.content(digest, size).is_some())
}
