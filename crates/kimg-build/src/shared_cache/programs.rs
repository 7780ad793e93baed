//! Packed programs out of shared caches, and what they are compared with.

use std::collections::{BTreeMap, BTreeSet};

use kimg_core::{Content, Digest};
use kimg_layer::BlobStore;
use kimg_pack::{Outcome, PackError};
use kimg_source::Cache;
use rayon::prelude::*;

use super::source::{NotFetched, unproven};
use super::{Programs, SharedCache, in_words, locked};
use crate::error::BuildError;
use crate::events::{Event, Events};

/// A program that UPX would pack now.
pub(crate) struct WantedProgram<T> {
    /// [`kimg_pack::key`] of it.
    pub(crate) key: Digest,
    /// `/usr/bin/kubeadm for linux/amd64`
    pub(crate) name: String,
    /// Its bytes before.
    pub(crate) plain: u64,
    /// What the lock says that it becomes.
    pub(crate) pinned: Option<Digest>,
    /// The caller's.
    pub(crate) program: T,
}

/// Why what an index offers is not even fetched.
enum No {
    Wrong(String),
    /// The lock does not know it, and that is what is asked for.
    NotPinned,
}

impl<T> WantedProgram<T> {
    fn what(&self) -> String {
        format!("program {}", self.name)
    }

    fn judge(&self, digest: Digest, size: u64, programs: Programs) -> Result<(), No> {
        match self.pinned {
            Some(pinned) if pinned != digest => {
                Err(No::Wrong(format!("it is {digest}, and the lock says that it becomes {pinned}")))
            }
            None if programs == Programs::OfTheLock => Err(No::NotPinned),
            _ if size >= self.plain => {
                Err(No::Wrong(format!("it has {size} bytes, and the plain one {}", self.plain)))
            }
            _ => Ok(()),
        }
    }
}

impl SharedCache {
    /// Takes packed programs over, as many as the caches have and as pass `gate`; gives what came of them by their keys.
    /// Only this machine is an error: its disk, and whatever the gate calls one.
    pub(crate) fn programs<T: Sync>(
        &self,
        wanted: &[WantedProgram<T>],
        gate: &(dyn Fn(&T, &Content) -> Result<Outcome, PackError> + Sync),
        cache: &Cache,
        events: &dyn Events,
    ) -> Result<BTreeMap<Digest, Outcome>, BuildError> {
        let key = |it: &WantedProgram<T>| it.key;
        self.in_turn(wanted, key, events, |source, index, pending, turn| {
            let (mut good, mut not_pinned) = (Vec::new(), Vec::new());
            for wanted in pending {
                let Some(blob) = index.program(wanted.key) else { continue };
                turn.found.insert(wanted.key);
                match wanted.judge(blob.0, blob.1, self.programs) {
                    Ok(()) => good.push((wanted, blob)),
                    Err(No::Wrong(why)) => self.refuse(events, source, &wanted.what(), &why),
                    Err(No::NotPinned) => not_pinned.push(wanted),
                }
            }
            self.refuse_not_pinned(events, source, &not_pinned);

            let (_folder, store) = unproven(cache)?;
            let blobs: BTreeSet<_> = good.iter().map(|(_, blob)| *blob).collect();
            let blobs: Vec<_> = blobs.into_iter().collect();
            let fetched = self.fetch(source, &blobs, &store, events);
            let judged: Result<Vec<_>, BuildError> = good
                .into_par_iter()
                .with_max_len(1)
                .map(|(wanted, blob)| {
                    let judged = match fetched.get(&blob) {
                        Some(Ok(())) => match content(&store, blob) {
                            Ok(packed) => Ok(gate(&wanted.program, &packed)?),
                            Err(why) => Err(NotFetched::Wrong(why)),
                        },
                        Some(Err(not)) => Err(not.clone()),
                        None => Err(NotFetched::Told),
                    };
                    Ok((wanted, blob, judged))
                })
                .collect();
            for (wanted, (_, size), judged) in judged? {
                match judged {
                    Ok(outcome @ Outcome::Packed { .. }) => {
                        self.take(events, source, &wanted.what(), size);
                        turn.taken.insert(wanted.key, outcome);
                    }
                    Ok(Outcome::Plain { why }) => {
                        self.refuse(events, source, &wanted.what(), &why.to_string());
                    }
                    Err(NotFetched::Wrong(why)) => self.refuse(events, source, &wanted.what(), &why),
                    Err(NotFetched::Told) => {}
                }
            }
            Ok(())
        })
    }

    /// That nothing was asked for, since there is no UPX that could check it.
    pub(crate) fn without_packer(&self, programs: usize, events: &dyn Events) {
        if programs > 0 && !self.sources.is_empty() {
            let message = "packed programs of the caches are not used: upx is not installed to check them";
            events.event(&Event::Warned { message: message.into() });
        }
    }

    /// One warning for all of them: nothing is wrong with any.
    fn refuse_not_pinned<T>(
        &self,
        events: &dyn Events,
        source: &super::Source,
        programs: &[&WantedProgram<T>],
    ) {
        if programs.is_empty() {
            return;
        }
        let cache = source.reference.to_string();
        let message = format!(
            "{} of the cache {cache} {} not used: the lock does not say what they become, `kimg tune` writes it",
            if programs.len() == 1 {
                "1 packed program".into()
            } else {
                format!("{} packed programs", programs.len())
            },
            if programs.len() == 1 { "is" } else { "are" },
        );
        events.event(&Event::Warned { message });
        let refused = programs.iter().map(|program| super::Refused {
            cache: cache.clone(),
            what: program.what(),
            why: "the lock does not say what it becomes".into(),
        });
        locked(&self.tally).refused.extend(refused);
    }
}

/// The bytes of a blob, compared once more with its digest.
fn content(store: &BlobStore, (digest, size): (Digest, u64)) -> Result<Content, String> {
    let mut bytes = Vec::new();
    store.copy_to(digest, size, &mut bytes).map_err(|error| in_words(&error))?;
    Ok(Content::from_bytes(bytes))
}
