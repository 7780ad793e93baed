//! From the settings' sources to what is compiled: each source fetched and compared, and its compilers chosen, with the lock.

use std::collections::BTreeMap;
use std::ffi::OsStr;

use kimg_core::{Content, Digest, ImagePath, Platform};
use kimg_go::source::{Facts, Unpacked};
use kimg_go::{Go, GoError, Source, Toolchain, Zig};
use kimg_report::Joined;
use kimg_source::lock::{Change, Lock, LockedProgram};
use kimg_source::repository::Reader;
use kimg_source::{Location, SourceError};

use super::GoSource;
use super::making::{Making, Part};
use crate::error::BuildError;
use crate::events::Events;
use crate::inputs::{LockUse, Provided, refuse_changes};
use crate::project::{OwnProgram, Project};
use crate::shared_cache::SharedCache;

/// What is compiled, or was.
#[derive(Debug, Default)]
pub(crate) struct Gathered {
    /// The programs, each with what the lock pins of it.
    pub(crate) programs: Vec<(Provided, LockedProgram)>,
    /// What came of programs that were to be one.
    pub(crate) joined: Vec<Joined>,
}

/// With what programs are compiled.
#[derive(Clone, Copy)]
pub(crate) struct Means<'a> {
    /// Where compilers and emulators are looked for.
    pub(crate) search_path: &'a OsStr,
    /// Caches of other machines.
    pub(crate) shared: Option<&'a SharedCache>,
    pub(crate) events: &'a dyn Events,
    /// The dynamic loader of a platform's images, which is all that what zig links needs to start.
    pub(crate) loader: &'a dyn Fn(Platform) -> Vec<(ImagePath, Content)>,
}

/// Everything that all programs of a run share.
pub(super) struct Run<'a> {
    pub(super) project: &'a Project,
    pub(super) reader: &'a Reader,
    locked: Option<&'a Lock>,
    lock_use: &'a LockUse,
    toolchain: Toolchain,
    pub(super) means: Means<'a>,
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
    means: Means<'_>,
) -> Result<Gathered, BuildError> {
    let mut gathered = Gathered::default();
    if wanted.values().all(Vec::is_empty) {
        return Ok(gathered);
    }
    let toolchain = found(means.search_path);
    let run = Run { project, reader, locked, lock_use, toolchain, means };
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
            run.programs(&work, &programs, &mut unpacked, &mut gathered)?;
        }
    }
    Ok(gathered)
}

/// One source on one platform.
pub(super) struct Work<'a> {
    pub(super) source: &'a GoSource,
    pub(super) read: &'a Source,
    pub(super) digest: Digest,
    pub(super) facts: &'a Facts,
    pub(super) platform: Platform,
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
        wanted: &[&OwnProgram],
        unpacked: &mut Option<Unpacked>,
        gathered: &mut Gathered,
    ) -> Result<(), BuildError> {
        let Work { source, digest, platform, .. } = *work;
        let locked = |name: &str| self.locked?.locked_program(name, platform);
        // Of several compilers the locked one is taken, unless newer inputs are asked for.
        let keeps = matches!(self.lock_use, LockUse::Follow(_) | LockUse::Locked(_));
        let known = wanted.iter().find_map(|it| locked(&it.program.name)?.toolchain.clone());
        let before = known.clone().filter(|_| keeps);
        let named = match self.tools(work, before.as_deref()) {
            Ok((go, zig)) => name_of(go, zig),
            // What another machine compiled may be in a cache though there is no compiler here.
            Err(_) => known.unwrap_or_default(),
        };
        if matches!(self.lock_use, LockUse::Locked(_)) {
            let others = wanted.iter().filter_map(|it| {
                let name = &it.program.name;
                let before = locked(name)?.toolchain.clone()?;
                (before != named).then(|| Change::Toolchain(platform, name.clone(), before, named.clone()))
            });
            // Before minutes are spent on what would be refused.
            refuse_changes(&others.collect::<Vec<_>>())?;
        }
        // What the lock says of other inputs says nothing of these.
        let same =
            |it: &&LockedProgram| keeps && it.sha256 == digest && it.toolchain.as_deref() == Some(&*named);
        let pinned = |name: &str| locked(name).filter(same)?.result;
        let tools = || self.tools(work, before.as_deref());
        let mut making = Making::new(self, work, &named, &pinned, &tools, unpacked)?;
        let made = making.programs(wanted)?;
        gathered.joined.extend(making.joined);
        for it in wanted {
            let Some(Part { content, within }) = made.get(&it.program.name).cloned() else { continue };
            let locked = LockedProgram {
                name: it.program.name.clone(),
                platform,
                sha256: digest,
                source: address_of(source).filter(|_| source.sha256.is_none()),
                toolchain: Some(named.clone()),
                result: Some(content.digest()),
            };
            gathered.programs.push((Provided { own: (*it).clone(), content, within }, locked));
        }
        Ok(())
    }

    /// The compilers for a source.
    fn tools(&self, work: &Work<'_>, before: Option<&str>) -> Result<(&Go, Option<&Zig>), GoError> {
        let recipe = &work.source.recipe;
        let like = before.and_then(|before| before.split(", ").next()).unwrap_or_default();
        let go = self.toolchain.go_like(like, &recipe.what, work.facts.needed.as_ref())?;
        let zig = recipe.cgo.then(|| self.toolchain.zig_for(&recipe.what)).transpose()?;
        Ok((go, zig))
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
