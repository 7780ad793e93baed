//! The programs of one source for one platform: out of the local cache, out of shared ones, else by the compiler.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use fs_err as fs;
use kimg_core::{Content, ContentSink as _, Digest, ImagePath};
use kimg_go::source::{Unpacked, tree_digest};
use kimg_go::{Command, Go, GoError, Job, Zig};
use kimg_pack::{Candidate, Difference, Packing, PlainReason, Runners, Settings};
use kimg_report::{Alone, Joined};
use kimg_source::Cache;
use serde::{Deserialize, Serialize};

use super::Multicall;
use super::build::{Means, Run, Work};
use crate::error::BuildError;
use crate::events::Event;
use crate::inputs::Within;
use crate::project::OwnProgram;
use crate::shared_cache::WantedCompiled;
use crate::wishes::{is_one_of, stands_for};

/// What the cache keeps of a program that was compiled.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Kept {
    digest: Digest,
    size: u64,
}

/// What it keeps of programs that were to be one.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct KeptOne {
    /// The one, or why there is none.
    program: Result<Kept, String>,
    /// How large each is alone, by its name, in bytes. Nothing where they were never compiled so.
    alone: BTreeMap<String, u64>,
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
    run: &'a Run<'a>,
    work: &'a Work<'a>,
    /// `go1.19.8, zig 0.17.1`
    named: &'a str,
    /// What the lock says that a program becomes.
    pinned: &'a dyn Fn(&str) -> Option<Digest>,
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
    fn plain(&mut self, commands: &[Command], used: bool) -> Result<BTreeMap<String, Content>, BuildError> {
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
        let taken = self.from_others(&wanted.collect::<Vec<_>>())?;
        for (key, command) in &keys {
            if let Some(content) = taken.get(key) {
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
            self.note(*key, &known[&command.name]);
        }
        Ok(known)
    }

    /// All programs of a group as one; nothing where they can't be.
    fn one(&mut self, one: &Multicall) -> Result<Option<Content>, BuildError> {
        let cache = &self.run.reader.cache;
        let key = self.key("multicall", kimg_go::multicall::FORMAT, &one.commands);
        let kept = cache.record::<KeptOne>("go-multicall", &key).and_then(|kept| match &kept.program {
            Ok(program) => program.content(cache).map(|content| (Ok(content), kept.alone)),
            Err(why) => Some((Err(why.clone()), kept.alone)),
        });
        let (made, alone) = match (kept, &one.refused) {
            (Some(kept), _) => kept,
            (None, Some(why)) => (Err(why.clone()), BTreeMap::new()),
            (None, None) => {
                let made = self.made_one(one, key)?;
                let program = made.0.as_ref().map(Kept::of).map_err(Clone::clone);
                cache.keep("go-multicall", &key, &KeptOne { program, alone: made.1.clone() })?;
                made
            }
        };
        if let Ok(content) = &made {
            self.note(key, content);
        }
        self.joined = Some(Joined {
            what: self.work.source.recipe.what.clone(),
            platform: self.work.platform,
            programs: one
                .commands
                .iter()
                .map(|it| Alone { name: it.name.clone(), size: alone.get(&it.name).copied() })
                .collect(),
            size: made.as_ref().ok().map(Content::size),
            why: made.as_ref().err().cloned(),
        });
        Ok(made.ok())
    }

    /// The one, and the sizes of each alone: both ways are compiled, which share all but the linker's work.
    fn made_one(
        &mut self,
        one: &Multicall,
        key: Digest,
    ) -> Result<(Result<Content, String>, BTreeMap<String, u64>), BuildError> {
        let pinned = one.commands.iter().find_map(|command| (self.pinned)(&command.name));
        let wanted = self.wanted(key, &one.name, pinned);
        if let Some(content) = self.from_others(&[wanted])?.remove(&key) {
            return Ok((Ok(content), BTreeMap::new()));
        }
        let plain = self.plain(&one.commands, false)?;
        let alone = plain.iter().map(|(name, content)| (name.clone(), content.size())).collect();
        let done = self.compile(&one.commands, &|job| kimg_go::compile_as_one(job, &one.name));
        let made = match done {
            Ok(done) => {
                let content = store(&self.run.reader.cache, &one.name, &done.path(&one.name))?;
                self.differs(&plain, &content)?.map_or(Ok(content), Err)
            }
            Err(BuildError::Go(GoError::NotOne { why, .. })) => Err(why),
            Err(BuildError::Go(GoError::Failed { last, .. })) => Err(reason(&last)),
            Err(error) => return Err(error),
        };
        Ok((made, alone))
    }

    /// Starts each program alone and as part of the one, where this machine can, and says which answers otherwise.
    fn differs(
        &self,
        plain: &BTreeMap<String, Content>,
        one: &Content,
    ) -> Result<Option<String>, BuildError> {
        let Work { platform, .. } = *self.work;
        let Means { search_path, loader, .. } = self.run.means;
        let (runners, libraries) = (Runners::find(search_path), loader(platform));
        let project = self.run.project;
        for (name, alone) in plain {
            let mut own = project.programs_for(platform).filter(|own| own.program.name == *name);
            let Some(own) = own.find(|own| own.compiled.is_some()) else { continue };
            let mut roots = project.known_roots.iter();
            let Some(root) = roots.find(|root| stands_for(own, root) || is_one_of(own, root)) else {
                continue;
            };
            let candidate = Candidate {
                path: &own.program.install,
                content: alone,
                platform,
                packing: Packing::PLAIN,
                daemon: root.daemon,
                mode: 0o755,
                xattrs: &BTreeMap::new(),
                probe: root.probe.as_ref(),
                libraries: &libraries,
                runners: &runners,
            };
            let scratch = self.run.reader.cache.scratch();
            let answers = kimg_pack::same_answers(&candidate, one, &Settings::default(), &scratch)?;
            let how = match answers {
                Err(PlainReason::OtherAnswer(Difference::Start(why))) => why,
                Err(PlainReason::OtherAnswer(Difference::End { plain, packed })) => {
                    format!("{packed} instead of {plain}")
                }
                Err(PlainReason::OtherAnswer(_)) => "what it prints differs".to_owned(),
                // What could not be started, or answers itself otherwise each time, proves nothing.
                Ok(_) | Err(_) => continue,
            };
            return Ok(Some(format!("{name} does not answer as it does alone: {how}")));
        }
        Ok(None)
    }

    fn compile(
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
    fn key(&self, kind: &str, format: u32, commands: &[Command]) -> Digest {
        let [before, behind] = &self.inputs;
        let recipe = self.work.source.recipe.key_of(commands);
        Digest::of(format!("kimg go {kind} {format}\n{before}{recipe}{behind}"))
    }

    fn wanted(&self, key: Digest, name: &str, pinned: Option<Digest>) -> WantedCompiled {
        let Work { source, platform, .. } = self.work;
        WantedCompiled { key, name: format!("{name} of {} for {platform}", source.recipe.what), pinned }
    }

    /// What shared caches have of it.
    fn from_others(&self, wanted: &[WantedCompiled]) -> Result<BTreeMap<Digest, Content>, BuildError> {
        let Some(shared) = self.run.means.shared else { return Ok(BTreeMap::new()) };
        shared.compiled(wanted, &self.run.reader.cache, self.run.means.events)
    }

    /// That this run has it.
    fn note(&self, key: Digest, content: &Content) {
        if let Some(shared) = self.run.means.shared {
            shared.has_compiled(key, content.digest(), content.size());
        }
    }
}

impl Kept {
    fn of(content: &Content) -> Self {
        Self { digest: content.digest(), size: content.size() }
    }

    fn content(self, cache: &Cache) -> Option<Content> {
        cache.content(self.digest, self.size)
    }
}

/// The line of what a compiler said last that has a reason in it: the first such, as others follow from it.
fn reason(last: &[String]) -> String {
    let has_reason = |line: &&String| !line.starts_with('#') && line.contains(": ");
    let line = last.iter().find(has_reason).or(last.last());
    line.map(|line| line.trim().to_owned()).unwrap_or_default()
}

fn store(cache: &Cache, name: &str, path: &Path) -> Result<Content, BuildError> {
    let keeping = || BuildError::disk(format!("keeping {name}"));
    let mut file = fs::File::open(path).map_err(keeping())?;
    cache.contents().store(&ImagePath::root(), &mut file).map_err(keeping())
}
