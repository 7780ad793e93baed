//! From a source to the bytes of its programs: out of the cache where they were compiled before, else by the compiler.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fmt::Write as _;

use fs_err as fs;
use kimg_core::{Content, ContentSink as _, Digest, Platform};
use kimg_go::source::{Facts, Unpacked, tree_digest};
use kimg_go::{Go, GoError, Job, Source, Toolchain, Zig};
use kimg_source::lock::{Change, Lock, LockedProgram};
use kimg_source::repository::Reader;
use kimg_source::{Location, SourceError};
use serde::{Deserialize, Serialize};

use super::{Compiled, GoSource};
use crate::error::BuildError;
use crate::events::{Event, Events};
use crate::inputs::{LockUse, refuse_changes};
use crate::project::{OwnProgram, Project};

/// What is compiled for one platform, or was.
#[derive(Debug)]
pub(crate) struct Gathered {
    /// The program.
    pub(crate) own: OwnProgram,
    /// Its bytes.
    pub(crate) content: Content,
    /// What the lock pins of it.
    pub(crate) locked: LockedProgram,
}

/// What the cache keeps of a program that was compiled.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Kept {
    digest: Digest,
    size: u64,
}

/// Everything that all programs of a run share.
struct Run<'a> {
    project: &'a Project,
    reader: &'a Reader,
    locked: Option<&'a Lock>,
    lock_use: &'a LockUse,
    toolchain: Toolchain,
    events: &'a dyn Events,
}

/// The go and zig of this machine.
pub fn found(search_path: &OsStr) -> Toolchain {
    Toolchain::find(search_path)
}

/// Gives the compiled programs among `wanted`, which are those that some image asks for.
///
/// Compiles on this thread what was not compiled before: when it is called, nothing else is waited for.
pub(crate) async fn load(
    project: &Project,
    reader: &Reader,
    wanted: &BTreeMap<Platform, Vec<OwnProgram>>,
    (locked, lock_use): (Option<&Lock>, &LockUse),
    search_path: &OsStr,
    events: &dyn Events,
) -> Result<Vec<Gathered>, BuildError> {
    let mut gathered = Vec::new();
    if wanted.values().all(Vec::is_empty) {
        return Ok(gathered);
    }
    let toolchain = found(search_path);
    let run = Run { project, reader, locked, lock_use, toolchain, events };
    for (place, source) in project.go.iter().enumerate() {
        let of_source = |own: &&OwnProgram| own.compiled.as_ref().is_some_and(|it| it.source == place);
        let wanted: BTreeMap<Platform, Vec<&OwnProgram>> = wanted
            .iter()
            .map(|(platform, all)| (*platform, all.iter().filter(of_source).collect::<Vec<_>>()))
            .filter(|(_, all)| !all.is_empty())
            .collect();
        let Some(first) = wanted.values().flatten().next() else { continue };
        let (read, digest) = run.read(source, first).await?;
        let facts = run.facts(source, &read, digest)?;
        let mut unpacked = None;
        for (platform, programs) in wanted {
            let work = Work { source, read: &read, digest, facts: &facts, platform };
            gathered.extend(run.programs(&work, &programs, &mut unpacked)?);
        }
    }
    Ok(gathered)
}

/// One source on one platform.
struct Work<'a> {
    source: &'a GoSource,
    read: &'a Source,
    digest: Digest,
    facts: &'a Facts,
    platform: Platform,
}

impl Run<'_> {
    /// The source, fetched if need be, and its digest, which is the one that is said or locked.
    async fn read(&self, source: &GoSource, first: &OwnProgram) -> Result<(Source, Digest), BuildError> {
        let what = &source.recipe.what;
        if let Location::Path(path) = &source.location
            && path.is_dir()
        {
            let read = Source::Folder(path.clone());
            let digest = read.digest(what)?;
            if let Some(expected) = source.sha256.filter(|expected| *expected != digest) {
                return Err(SourceError::Mismatch {
                    what: format!("the source of {what} in {}", path.display()),
                    expected: expected.to_string(),
                    found: digest.to_string(),
                }
                .into());
            }
            return Ok((read, digest));
        }
        // Another version of the same program has another address, and so nothing to be held against.
        let known = self
            .locked
            .filter(|_| matches!(self.lock_use, LockUse::Follow(_) | LockUse::Locked(_)))
            .and_then(|lock| lock.programs.iter().find(|locked| locked.name == first.program.name))
            .filter(|locked| locked.source == address_of(source))
            .map(|locked| locked.sha256);
        let mut program = self.project.vendored(&first.program, known);
        program.name = format!("source of {what}");
        program.sha256 = program.sha256.or(known.filter(|_| program.location.is_remote()));
        let content = program.whole_or_first(self.reader).await?;
        let digest = content.digest();
        Ok((Source::Archive(content), digest))
    }

    /// What a source says of itself, read once.
    fn facts(&self, source: &GoSource, read: &Source, digest: Digest) -> Result<Facts, BuildError> {
        if let Source::Folder(_) = read {
            return Ok(read.facts(&source.recipe.what)?);
        }
        let key = Digest::of(format!("kimg go source 1\n{digest}"));
        if let Some(known) = self.reader.cache.record("go-source", &key) {
            return Ok(known);
        }
        let facts = read.facts(&source.recipe.what)?;
        self.reader.cache.keep("go-source", &key, &facts)?;
        Ok(facts)
    }

    fn programs(
        &self,
        work: &Work<'_>,
        programs: &[&OwnProgram],
        unpacked: &mut Option<Unpacked>,
    ) -> Result<Vec<Gathered>, BuildError> {
        let Work { source, digest, platform, .. } = *work;
        let locked = |own: &OwnProgram| {
            self.locked?.programs.iter().find(|it| it.name == own.program.name && it.platform == platform)
        };
        // Of several compilers the locked one is taken, unless newer inputs are asked for.
        let keeps = matches!(self.lock_use, LockUse::Follow(_) | LockUse::Locked(_));
        let before = programs.iter().find_map(|own| locked(own)?.toolchain.clone()).filter(|_| keeps);
        let tools = self.tools(work, before.as_deref());
        let named = match &tools {
            Ok((go, zig)) => name_of(go, *zig),
            // What another machine compiled may lie in the cache though there is no compiler here.
            Err(_) => programs.iter().find_map(|own| locked(own)?.toolchain.clone()).unwrap_or_default(),
        };
        if matches!(self.lock_use, LockUse::Locked(_)) {
            let others = programs.iter().filter_map(|own| {
                let before = locked(own)?.toolchain.clone()?;
                (before != named)
                    .then(|| Change::Toolchain(platform, own.program.name.clone(), before, named.clone()))
            });
            // Before minutes are spent on what would be refused.
            refuse_changes(&others.collect::<Vec<_>>())?;
        }
        let mut further = String::new();
        for folder in &source.gopath {
            let _ = writeln!(further, "{}", tree_digest(&source.recipe.what, folder)?);
        }
        let key = |compiled: &Compiled| {
            let recipe = source.recipe.key_of(&compiled.command);
            let format = kimg_go::compile::FORMAT;
            Digest::of(format!(
                "kimg go program {format}\n{digest}\n{further}{recipe}\n{platform}\n{named}\n"
            ))
        };
        let cache = &self.reader.cache;
        let mut known = BTreeMap::new();
        let mut missing = Vec::new();
        for own in programs {
            let Some(compiled) = &own.compiled else { continue };
            let kept = cache.record::<Kept>("go", &key(compiled));
            match kept.and_then(|kept| cache.content(kept.digest, kept.size)) {
                Some(content) => drop(known.insert(own.program.name.clone(), content)),
                None => missing.push((*own, compiled)),
            }
        }
        let what = source.recipe.what.clone();
        let mut seconds = None;
        if !missing.is_empty() {
            let (go, zig) = tools?;
            let names = missing.iter().map(|(own, _)| own.program.name.clone()).collect();
            self.events.event(&Event::Compiling { what: what.clone(), platform, programs: names });
            let commands: Vec<_> = missing.iter().map(|(_, compiled)| compiled.command.clone()).collect();
            let done = self.compile(work, &commands, (go, zig), unpacked)?;
            for (own, compiled) in &missing {
                let keeping = || BuildError::disk(format!("keeping {}", own.program.name));
                let mut file = fs::File::open(done.path(&compiled.command)).map_err(keeping())?;
                let content = cache.contents().store(&own.program.install, &mut file).map_err(keeping())?;
                let kept = Kept { digest: content.digest(), size: content.size() };
                cache.keep("go", &key(compiled), &kept)?;
                known.insert(own.program.name.clone(), content);
            }
            seconds = Some(done.time.as_secs());
        }
        self.events.event(&Event::Compiled {
            what,
            platform,
            programs: known.len(),
            toolchain: named.clone(),
            seconds,
        });
        let gathered = programs.iter().filter_map(|own| {
            let content = known.get(&own.program.name)?.clone();
            let locked = LockedProgram {
                name: own.program.name.clone(),
                platform,
                sha256: digest,
                source: address_of(source).filter(|_| source.sha256.is_none()),
                toolchain: Some(named.clone()),
                result: Some(content.digest()),
            };
            Some(Gathered { own: (*own).clone(), content, locked })
        });
        Ok(gathered.collect())
    }

    /// The compilers for a source.
    fn tools(&self, work: &Work<'_>, before: Option<&str>) -> Result<(&Go, Option<&Zig>), GoError> {
        let recipe = &work.source.recipe;
        let like = before.and_then(|before| before.split(", ").next()).unwrap_or_default();
        let go = self.toolchain.go_like(like, &recipe.what, work.facts.needed.as_ref())?;
        let zig = recipe.cgo.then(|| self.toolchain.zig_for(&recipe.what)).transpose()?;
        Ok((go, zig))
    }

    fn compile(
        &self,
        work: &Work<'_>,
        commands: &[kimg_go::Command],
        (go, zig): (&Go, Option<&Zig>),
        unpacked: &mut Option<Unpacked>,
    ) -> Result<kimg_go::Compiled, BuildError> {
        let Work { source, read, digest, facts, platform } = *work;
        let recipe = &source.recipe;
        // Removed with this process, or by the next one when this is killed: nothing half-made is ever found there.
        let folder = self.reader.cache.scratch().join("go");
        fs::create_dir_all(&folder).map_err(BuildError::disk("making a work folder"))?;
        let logs = self.reader.cache.logs();
        fs::create_dir_all(&logs).map_err(BuildError::disk("making the folder of logs"))?;
        let source_of_all = match unpacked {
            Some(source) => source,
            None => unpacked.insert(read.unpack(recipe, facts, digest, &folder)?),
        };
        let name = recipe.what.replace(|c: char| !c.is_ascii_alphanumeric() && !"-.".contains(c), "-");
        let job = Job {
            recipe,
            commands,
            source: source_of_all,
            facts,
            platform,
            go,
            zig,
            gopath: &source.gopath,
            work: &folder,
            log: &logs.join(format!("go-{name}-{}.log", platform.short())),
            limit: source.limit,
        };
        Ok(kimg_go::compile(&job)?)
    }
}

/// The address that the lock names. A password in it is not repeated.
fn address_of(source: &GoSource) -> Option<String> {
    source.location.is_remote().then(|| source.location.to_string())
}

/// `go1.19.8, zig 0.17.1`
fn name_of(go: &Go, zig: Option<&Zig>) -> String {
    match zig {
        Some(zig) => format!("{}, zig {}", go.text, zig.version),
        None => go.text.clone(),
    }
}
