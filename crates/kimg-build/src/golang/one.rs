//! Several programs of a source as one, which goes by the name that it is started by; where that can't be, each for itself.

use std::collections::BTreeMap;

use kimg_core::{Content, Digest};
use kimg_go::GoError;
use kimg_pack::{Candidate, Difference, Packing, PlainReason, Runners, Settings};
use kimg_report::{Alone, Joined};
use serde::{Deserialize, Serialize};

use super::Multicall;
use super::build::{Means, Work};
use super::making::{Kept, Making, store};
use crate::error::BuildError;
use crate::shared_cache::TakenOver;
use crate::wishes::{is_one_of, stands_for};

/// What the cache keeps of programs that were to be one.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct KeptOne {
    /// The one, or why there is none.
    program: Result<Kept, String>,
    /// How large each is alone, by its name, in bytes. Nothing where they were not compiled so.
    alone: BTreeMap<String, u64>,
}

/// What came of trying.
#[derive(Debug)]
struct Tried {
    program: Result<Content, String>,
    alone: BTreeMap<String, u64>,
    /// Whether it will be the same the next time.
    is_final: bool,
}

impl Making<'_> {
    /// All programs of a group as one; nothing where they can't be.
    pub(super) fn one(&mut self, one: &Multicall) -> Result<Option<Content>, BuildError> {
        let key = self.key("multicall", kimg_go::multicall::FORMAT, &one.commands);
        let tried = match (self.tried_before(key), &one.refused) {
            (Some(tried), _) => tried,
            (None, Some(why)) => Tried { program: Err(why.clone()), alone: BTreeMap::new(), is_final: false },
            (None, None) => self.try_as_one(one, key)?,
        };
        if tried.is_final {
            let program = tried.program.as_ref().map(Kept::of).map_err(Clone::clone);
            let kept = KeptOne { program, alone: tried.alone.clone() };
            self.run.reader.cache.keep("go-multicall", &key, &kept)?;
        }
        if let Ok(content) = &tried.program {
            self.note(key, content, &tried.alone);
        }
        let alone = |name: &str| tried.alone.get(name).copied();
        let programs = one.commands.iter().map(|it| Alone { name: it.name.clone(), size: alone(&it.name) });
        self.joined = Some(Joined {
            what: self.work.source.recipe.what.clone(),
            platform: self.work.platform,
            programs: programs.collect(),
            size: tried.program.as_ref().ok().map(Content::size),
            why: tried.program.as_ref().err().cloned(),
        });
        Ok(tried.program.ok())
    }

    fn tried_before(&self, key: Digest) -> Option<Tried> {
        let cache = &self.run.reader.cache;
        let KeptOne { program, alone } = cache.record("go-multicall", &key)?;
        let program = match program {
            Ok(kept) => Ok(kept.content(cache)?),
            Err(why) => Err(why),
        };
        Some(Tried { program, alone, is_final: false })
    }

    /// Compiles both ways, which share all but the linker's work.
    fn try_as_one(&mut self, one: &Multicall, key: Digest) -> Result<Tried, BuildError> {
        let pinned = one.commands.iter().find_map(|command| (self.pinned)(&command.name));
        let wanted = self.wanted(key, &one.name, pinned);
        if let Some(TakenOver { content, alone }) = self.of_others(&[wanted])?.remove(&key) {
            return Ok(Tried { program: Ok(content), alone, is_final: true });
        }
        let plain = self.plain(&one.commands, false)?;
        let alone = plain.iter().map(|(name, content)| (name.clone(), content.size())).collect();
        let done = self.compile(&one.commands, &|job| kimg_go::compile_as_one(job, &one.name));
        let (program, is_final) = match done {
            Ok(done) => {
                let content = store(&self.run.reader.cache, &one.name, &done.path(&one.name))?;
                match self.first_that_differs(&plain, &content)? {
                    None => (Ok(content), true),
                    // It may have been too slow, on a machine that has much to do.
                    Some((why, Difference::Start(_))) => (Err(why), false),
                    Some((why, _)) => (Err(why), true),
                }
            }
            Err(BuildError::Go(GoError::NotOne { why, .. })) => (Err(why), true),
            Err(BuildError::Go(GoError::Failed { last, .. })) => (Err(reason(&last)), true),
            Err(error) => return Err(error),
        };
        Ok(Tried { program, alone, is_final })
    }

    /// Starts each program alone and as part of the one, where this machine can, and says which answers otherwise.
    fn first_that_differs(
        &self,
        plain: &BTreeMap<String, Content>,
        one: &Content,
    ) -> Result<Option<(String, Difference)>, BuildError> {
        let Work { platform, .. } = *self.work;
        let Means { search_path, loader, .. } = self.run.means;
        let (runners, libraries) = (Runners::find(search_path), loader(platform));
        let project = self.run.project;
        for (name, alone) in plain {
            let mut own = project.programs_for(platform).filter(|own| own.program.name == *name);
            let Some(own) = own.find(|own| own.compiled.is_some()) else { continue };
            let mut roots = project.known_roots.iter();
            let root = roots.find(|root| stands_for(own, root) || is_one_of(own, root));
            let Some(root) = root else { continue };
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
            // What could not be started, or answers itself otherwise each time, proves nothing.
            if let Err(PlainReason::OtherAnswer(difference)) = answers {
                let how = match &difference {
                    Difference::Start(why) => why.clone(),
                    Difference::End { plain, packed } => format!("{packed} instead of {plain}"),
                    Difference::Output | Difference::ErrorOutput => "what it prints differs".to_owned(),
                };
                return Ok(Some((format!("{name} does not answer as it does alone: {how}"), difference)));
            }
        }
        Ok(None)
    }
}

/// The line of what a compiler said last that has a reason in it: the first such, as others follow from it.
fn reason(last: &[String]) -> String {
    let has_reason = |line: &&String| !line.starts_with('#') && line.contains(": ");
    let line = last.iter().find(has_reason).or(last.last());
    line.map(|line| line.trim().to_owned()).unwrap_or_default()
}
