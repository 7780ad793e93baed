//! Programs lose their symbols, and those that are no daemons are packed, as [`crate::aims`] or the lock decides: each unique
//! one once for all images, and never again while program, decision, packer and probe stay the same.

use std::collections::{BTreeMap, BTreeSet};

use kimg_closure::{FactStore, MemoryFacts, Request, Rules};
use kimg_core::variant::Probe;
use kimg_core::{Content, Digest, ImagePath, Kind, Platform};
use kimg_pack::{Candidate, Mode, Outcome, Packing, Runners, Settings, Upx};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::aims::{Decisions, Pinned, Use};
use crate::build::Build;
use crate::error::BuildError;
use crate::events::Event;
use crate::select::Selected;
use crate::shared_cache::{SharedCache, WantedProgram};

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

/// A program of an image that is large enough to ask how it is packed.
pub(crate) struct Program {
    pub(crate) image: usize,
    pub(crate) path: ImagePath,
    pub(crate) content: Content,
    pub(crate) platform: Platform,
    pub(crate) daemon: bool,
    pub(crate) often: bool,
    probe: Option<Probe>,
    pinned: Pinned,
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
    let runners = if upx.is_some() { Runners::find(&build.search_path) } else { Runners::none() };
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
                // A program that goes by its name is started by the name of one of its links: no probe is right.
                probe: root.probe.clone().filter(|_| end.links.is_empty()),
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
