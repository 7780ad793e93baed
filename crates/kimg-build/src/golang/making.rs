//! The programs of one source for one platform: out of the local cache, out of shared ones, else by the compiler.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use fs_err as fs;
use kimg_core::{Content, ContentSink as _, Digest, ImagePath};
use kimg_go::source::{Unpacked, tree_digest};
use kimg_go::{Command, Go, GoError, Job, Zig};
use kimg_report::Joined;
use kimg_source::Cache;
use serde::{Deserialize, Serialize};

use super::build::{Run, Work};
use crate::error::BuildError;
use crate::events::Event;
use crate::inputs::Within;
use crate::project::OwnProgram;
use crate::shared_cache::{CompiledInfo, TakenOver, WantedCompiled};

/// What the cache keeps of a program that was compiled.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(super) struct Kept {
    digest: Digest,
    size: u64,
}

/// A program.
#[derive(Debug, Clone)]
pub(super) struct Part {
    pub(super) content: Content,
    /// The one that it is a link to.
    pub(super) within: Option<Within>,
}

/// The compilers.
type Tools<'a> = Result<(&'a Go, Option<&'a Zig>), GoError>;

/// What makes the programs of one source for one platform.
pub(super) struct Making<'a> {
    pub(super) run: &'a Run<'a>,
    pub(super) work: &'a Work<'a>,
    /// `go1.19.8, zig 0.17.1`
    named: &'a str,
    /// What the lock says that a program becomes.
    pub(super) pinned: &'a dyn Fn(&str) -> Option<Digest>,
    tools: &'a dyn Fn() -> Tools<'a>,
    unpacked: &'a mut Option<Unpacked>,
    /// The inputs that all the programs have in common, as the keys name them.
    inputs: [String; 2],
    seconds: Option<u64>,
    /// What came of programs that were to be one.
    pub(super) joined: Option<Joined>,
}

impl<'a> Making<'a> {
    pub(super) fn new(
        run: &'a Run<'a>,
        work: &'a Work<'a>,
        named: &'a str,
        pinned: &'a dyn Fn(&str) -> Option<Digest>,
        tools: &'a dyn Fn() -> Tools<'a>,
        unpacked: &'a mut Option<Unpacked>,
    ) -> Result<Self, BuildError> {
        let Work { source, digest, platform, .. } = work;
        let mut before = format!("{digest}\n");
        for folder in &source.gopath {
            let _ = writeln!(before, "{}", tree_digest(&source.recipe.what, folder)?);
        }
        let inputs = [before, format!("\n{platform}\n{named}\n")];
        Ok(Self { run, work, named, pinned, tools, unpacked, inputs, seconds: None, joined: None })
    }

    /// The programs by their names.
    pub(super) fn programs(&mut self, wanted: &[&OwnProgram]) -> Result<BTreeMap<String, Part>, BuildError> {
        let commands = wanted.iter().filter_map(|own| Some(own.compiled.as_ref()?.command.clone()));
        let mut commands: Vec<Command> = commands.collect();
        let mut made = BTreeMap::new();
        if let Some(one) = &self.work.source.multicall
            && commands.iter().any(|command| one.commands.contains(command))
            && let Some(content) = self.one(one)?
        {
            let within = Within { name: one.name.clone(), path: one.install.clone() };
            let members: Vec<_> = commands.extract_if(.., |command| one.commands.contains(command)).collect();
            for command in members {
                let part = Part { content: content.clone(), within: Some(within.clone()) };
                made.insert(command.name, part);
            }
        }
        let plain = self.plain(&commands, true)?;
        made.extend(plain.into_iter().map(|(name, content)| (name, Part { content, within: None })));
        self.run.means.events.event(&Event::Compiled {
            what: self.work.source.recipe.what.clone(),
            platform: self.work.platform,
            programs: made.len(),
            toolchain: self.named.to_owned(),
            seconds: self.seconds,
        });
        if let Some(joined) = &self.joined {
            self.run.means.events.event(&Event::Joined(joined.clone()));
        }
        Ok(made)
    }

    /// Each program for itself. Others are asked, and told, only of those that are used.
    pub(super) fn plain(
        &mut self,
        commands: &[Command],
        used: bool,
    ) -> Result<BTreeMap<String, Content>, BuildError> {
        let cache = &self.run.reader.cache;
        let keyed = |command: &Command| {
            (self.key("program", kimg_go::compile::FORMAT, std::slice::from_ref(command)), command.clone())
        };
        let keys: Vec<(Digest, Command)> = commands.iter().map(keyed).collect();
        let mut known = BTreeMap::new();
        for (key, command) in &keys {
            if let Some(content) = cache.record::<Kept>("go", key).and_then(|kept| kept.content(cache)) {
                known.insert(command.name.clone(), content);
            }
        }
        let wanted = keys.iter().filter(|(_, command)| used && !known.contains_key(&command.name));
        let wanted =
            wanted.map(|(key, command)| self.wanted(*key, &command.name, (self.pinned)(&command.name)));
        let taken = self.of_others(&wanted.collect::<Vec<_>>())?;
        for (key, command) in &keys {
            if let Some(TakenOver { content, .. }) = taken.get(key) {
                cache.keep("go", key, &Kept::of(content))?;
                known.insert(command.name.clone(), content.clone());
            }
        }
        let missing: Vec<_> = keys.iter().filter(|(_, command)| !known.contains_key(&command.name)).collect();
        if !missing.is_empty() {
            let commands: Vec<_> = missing.iter().map(|(_, command)| command.clone()).collect();
            let done = self.compile(&commands, &kimg_go::compile)?;
            for (key, command) in missing {
                let content = store(cache, &command.name, &done.path(&command.name))?;
                cache.keep("go", key, &Kept::of(&content))?;
                known.insert(command.name.clone(), content);
            }
        }
        for (key, command) in keys.iter().filter(|_| used) {
            self.note(*key, &known[&command.name], &BTreeMap::new());
        }
        Ok(known)
    }

    pub(super) fn compile(
        &mut self,
        commands: &[Command],
        how: &dyn Fn(&Job<'_>) -> Result<kimg_go::Compiled, GoError>,
    ) -> Result<kimg_go::Compiled, BuildError> {
        let Work { source, read, digest, facts, platform } = *self.work;
        let recipe = &source.recipe;
        let (go, zig) = (self.tools)()?;
        let programs = commands.iter().map(|command| command.name.clone()).collect();
        let what = recipe.what.clone();
        self.run.means.events.event(&Event::Compiling { what, platform, programs });
        // Removed with this process, or by the next one when this is killed: nothing half-made is ever found there.
        let cache = &self.run.reader.cache;
        let folder = cache.scratch().join("go");
        fs::create_dir_all(&folder).map_err(BuildError::disk("making a work folder"))?;
        let logs = cache.logs();
        fs::create_dir_all(&logs).map_err(BuildError::disk("making the folder of logs"))?;
        let unpacked = match self.unpacked {
            Some(unpacked) => unpacked,
            None => self.unpacked.insert(read.unpack(recipe, facts, digest, &folder)?),
        };
        let name = recipe.what.replace(|c: char| !c.is_ascii_alphanumeric() && !"-.".contains(c), "-");
        let done = how(&Job {
            recipe,
            commands,
            source: unpacked,
            facts,
            platform,
            go,
            zig,
            gopath: &source.gopath,
            work: &folder,
            log: &logs.join(format!("go-{name}-{}.log", platform.short())),
            limit: source.limit,
        })?;
        self.seconds = Some(self.seconds.unwrap_or(0) + done.time.as_secs());
        Ok(done)
    }

    /// What a result is kept under.
    pub(super) fn key(&self, kind: &str, format: u32, commands: &[Command]) -> Digest {
        let [before, behind] = &self.inputs;
        let recipe = self.work.source.recipe.key_of(commands);
        Digest::of(format!("kimg go {kind} {format}\n{before}{recipe}{behind}"))
    }

    pub(super) fn wanted(&self, key: Digest, name: &str, pinned: Option<Digest>) -> WantedCompiled {
        let Work { source, platform, .. } = self.work;
        WantedCompiled { key, name: format!("{name} of {} for {platform}", source.recipe.what), pinned }
    }

    /// What shared caches have of it.
    pub(super) fn of_others(
        &self,
        wanted: &[WantedCompiled],
    ) -> Result<BTreeMap<Digest, TakenOver>, BuildError> {
        let Some(shared) = self.run.means.shared else { return Ok(BTreeMap::new()) };
        shared.compiled(wanted, &self.run.reader.cache, self.run.means.events)
    }

    /// That this run has it.
    pub(super) fn note(&self, key: Digest, content: &Content, alone: &BTreeMap<String, u64>) {
        if let Some(shared) = self.run.means.shared {
            let (digest, size) = (content.digest(), content.size());
            shared.has_compiled(key, CompiledInfo { digest, size, alone: alone.clone() });
        }
    }
}

impl Kept {
    pub(super) fn of(content: &Content) -> Self {
        Self { digest: content.digest(), size: content.size() }
    }

    pub(super) fn content(self, cache: &Cache) -> Option<Content> {
        cache.content(self.digest, self.size)
    }
}

pub(super) fn store(cache: &Cache, name: &str, path: &Path) -> Result<Content, BuildError> {
    let keeping = || BuildError::disk(format!("keeping {name}"));
    let mut file = fs::File::open(path).map_err(keeping())?;
    cache.contents().store(&ImagePath::root(), &mut file).map_err(keeping())
}
