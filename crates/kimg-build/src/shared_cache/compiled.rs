//! Compiled programs out of shared caches. Nothing but the lock can say that one is right: it can't be held against
//! anything that is here without compiling it.

use std::collections::{BTreeMap, BTreeSet};

use fs_err as fs;
use kimg_core::{Content, ContentSink as _, Digest, ImagePath};
use kimg_source::Cache;

use super::index::{CompiledInfo, Kind, Made};
use super::source::{NotFetched, unproven};
use super::{Programs, Refused, SharedCache, Source, locked};
use crate::error::BuildError;
use crate::events::{Event, Events};

/// The largest that is fetched, in bytes: 1 GiB. Kubernetes' programs in one are 0.1.
const LARGEST: u64 = 1 << 30;

/// A program that the compiler would make now.
#[derive(Debug)]
pub(crate) struct WantedCompiled {
    /// What it is kept under: of its source, recipe, platform and compilers.
    pub(crate) key: Digest,
    /// `kubelet of kubernetes v1.34.2 for linux/arm64`
    pub(crate) name: String,
    /// What the lock says that it becomes.
    pub(crate) pinned: Option<Digest>,
}

/// A compiled program that is taken over.
#[derive(Debug, Clone)]
pub(crate) struct TakenOver {
    pub(crate) content: Content,
    /// Of several programs in one, how large each is alone, in bytes.
    pub(crate) alone: BTreeMap<String, u64>,
}

impl WantedCompiled {
    fn what(&self) -> String {
        format!("compiled {}", self.name)
    }

    /// What is wrong with what an index offers.
    fn judge(&self, digest: Digest, size: u64) -> Result<(), String> {
        match self.pinned {
            Some(pinned) if pinned != digest => {
                Err(format!("it is {digest}, and the lock says that it becomes {pinned}"))
            }
            _ if size > LARGEST => Err(format!("it has {size} bytes, and at most {LARGEST} are fetched")),
            _ => Ok(()),
        }
    }
}

impl SharedCache {
    /// Notes a compiled program that this run has, wherever it came from.
    pub(crate) fn has_compiled(&self, key: Digest, info: CompiledInfo) {
        locked(&self.used).insert((Kind::Compiled, key), Made::Compiled(info));
    }

    /// Takes compiled programs over into the local cache, as many as the caches have and may be taken; gives them by their
    /// keys. May be called where asynchronous code runs: it waits on a thread of its own.
    pub(crate) fn compiled(
        &self,
        wanted: &[WantedCompiled],
        cache: &Cache,
        events: &dyn Events,
    ) -> Result<BTreeMap<Digest, TakenOver>, BuildError> {
        let ask = || self.ask_for_compiled(wanted, cache, events);
        std::thread::scope(|scope| scope.spawn(ask).join())
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }

    fn ask_for_compiled(
        &self,
        wanted: &[WantedCompiled],
        cache: &Cache,
        events: &dyn Events,
    ) -> Result<BTreeMap<Digest, TakenOver>, BuildError> {
        let key = |it: &WantedCompiled| it.key;
        self.in_turn(wanted, key, events, |source, index, pending, turn| {
            let (mut good, mut not_pinned) = (Vec::new(), Vec::new());
            for wanted in pending {
                let Some(info) = index.compiled(wanted.key) else { continue };
                turn.found.insert(wanted.key);
                match wanted.judge(info.digest, info.size) {
                    Err(why) => self.refuse(events, source, &wanted.what(), &why),
                    Ok(()) if wanted.pinned.is_none() && self.programs == Programs::OfTheLock => {
                        not_pinned.push(wanted);
                    }
                    Ok(()) => good.push((wanted, info)),
                }
            }
            self.refuse_unknown(events, source, &not_pinned);
            let (_folder, store) = unproven(cache)?;
            let blobs: BTreeSet<_> = good.iter().map(|(_, info)| (info.digest, info.size)).collect();
            let fetched = self.fetch(source, &blobs.into_iter().collect::<Vec<_>>(), &store, events);
            for (wanted, info) in good {
                let blob = (info.digest, info.size);
                match fetched.get(&blob) {
                    Some(Ok(())) => {
                        let keeping = || BuildError::disk(format!("keeping {}", wanted.name));
                        let mut file = fs::File::open(store.path(blob.0)).map_err(keeping())?;
                        let content =
                            cache.contents().store(&ImagePath::root(), &mut file).map_err(keeping())?;
                        if content.digest() == blob.0 {
                            self.take(events, source, &wanted.what(), blob.1);
                            turn.taken.insert(wanted.key, TakenOver { content, alone: info.alone.clone() });
                        } else {
                            self.refuse(
                                events,
                                source,
                                &wanted.what(),
                                "it has other bytes than its digest says",
                            );
                        }
                    }
                    Some(Err(NotFetched::Wrong(why))) => self.refuse(events, source, &wanted.what(), why),
                    Some(Err(NotFetched::Told)) | None => {}
                }
            }
            Ok(())
        })
    }

    /// One warning for all of them: nothing is wrong with any.
    fn refuse_unknown(&self, events: &dyn Events, source: &Source, programs: &[&WantedCompiled]) {
        const WHY: &str = "the lock does not say what it becomes";
        if programs.is_empty() {
            return;
        }
        let cache = source.reference.to_string();
        let names: Vec<&str> = programs.iter().map(|wanted| wanted.name.as_str()).collect();
        let message = format!(
            "the cache {cache} has {}, which is compiled here all the same: the lock does not say what comes of that",
            names.join(", ")
        );
        events.event(&Event::Warned { message });
        let refused =
            programs.iter().map(|it| Refused { cache: cache.clone(), what: it.what(), why: WHY.into() });
        locked(&self.tally).refused.extend(refused);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_lock_says_decides_and_a_size_beyond_all_reason_is_not_fetched() {
        let (right, wrong) = (Digest::of("right"), Digest::of("wrong"));
        let wanted = |pinned| WantedCompiled { key: Digest::of("key"), name: "kubelet".into(), pinned };
        assert_eq!(wanted(None).judge(wrong, 10), Ok(()));
        assert_eq!(wanted(Some(right)).judge(right, 10), Ok(()));
        assert!(wanted(Some(right)).judge(wrong, 10).unwrap_err().contains("the lock says that it becomes"));
        assert!(wanted(Some(right)).judge(right, LARGEST + 1).unwrap_err().contains("at most 1073741824"));
    }
}
