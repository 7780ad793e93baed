//! A registry as cache for several machines: what one of them compressed or packed, the others fetch.
//!
//! ```no_run
//! use kimg_build::shared_cache::{Export, Programs, SharedCache};
//! # fn example(build: kimg_build::Build<'_>, client: kimg_registry::Client) -> Result<(), Box<dyn std::error::Error>> {
//! let reference = "ghcr.io/acme/kubelet:cache".parse()?;
//! let shared = SharedCache::new(client, vec![reference], Programs::OfTheLock)?;
//! let outcome = build.run_with(Some(&shared))?;
//! println!("{} of {} taken over", shared.tally().used, shared.tally().asked);
//! let cache = "ghcr.io/acme/kubelet:cache".parse()?;
//! shared.export(&cache, &build.cache, &Export::on(20_778), build.events)?;
//! # Ok(())
//! # }
//! ```
//!
//! | file | holds |
//! | --- | --- |
//! | `index` | which key stands for which blob: the JSON, its bounds, what is dropped |
//! | `source` | one cache that is read: its index, fetched once a run and only if something is asked |
//! | `layers` | layers that are taken over, and what they are compared with |
//! | `programs` | the same of packed programs |
//! | `compiled` | programs that are compiled from Go source |
//! | `export` | adding what this run used, while others may do the same |
//! | `tally` | what was asked, found, used and refused |
//!
//! # In the registry
//!
//! A cache is an OCI artifact under a tag (`artifactType` `application/vnd.kimg.cache.v1+json`, an empty config). Its first
//! blob is the index, JSON of at most 4 MiB; the others are layers and packed and compiled programs, each once, so that the registry
//! keeps them. A key is what the local cache goes by: [`kimg_layer::key`] names entries, codec, format and the codecs'
//! versions; [`kimg_pack::key`] names program, decision, probe, packer and its version. So one cache serves all
//! variants, platforms and versions of kimg, and no two of them meet under a key.
//!
//! A run asks only for what its own cache does not have. Then it fetches the index (two requests), and of the blobs those
//! that it is about to use, several at once. A cache that is not there, can't be reached or is damaged is a warning, and
//! the run makes everything itself.
//!
//! # What is believed
//!
//! Nothing that can be proven here. A **layer**: its archive is made here, which takes no compressing, and its digest has to
//! be the one that the index says before a byte is fetched; then the blob has to have its digest and size, be one gzip
//! member or zstd frame with no larger window than asked for, and unpack to that archive, byte for byte, with nothing
//! behind it. What runs on a node is proven by that. What is not: that these are the very bytes that this machine
//! would have compressed to. Who can write the cache can put a layer there that was compressed otherwise (another
//! level); its content is the same, its digest is another, and so are those of the manifest and index. The key names codec and versions, so an
//! honest writer never does. `--locked` doesn't notice, since the lock pins inputs and not layers; who has to be sure that
//! "same lock, same bytes" holds against writers of the cache as well builds releases without `--cache-from`.
//!
//! A **packed program** is another matter. That UPX gives the plain program back proves what is packed, and not what the
//! code does that UPX put in front, which runs first at each start. So by [`Programs::OfTheLock`] a program is taken over only where
//! the lock says what it becomes (`kimg tune` writes that), and its digest is that one. By [`Programs::OfTrustedWriters`] it
//! is taken over also where the lock doesn't say: it goes through the gate of [`kimg_pack`] all the same (`upx -d` gives the
//! plain program back, and where this machine can start it, it answers as before), which finds what is
//! broken or mixed up, and not what is evil; and the gate starts it here. Either way a program that is not what the lock says is refused, and one that needs UPX is
//! not taken over without a UPX of the same version, whose version is part of the key.
//!
//! A **compiled program** can't be held against anything here: only compiling it would show that it is right. So it is taken over where
//! the lock says what the same source becomes with the same compilers, and is that. By [`Programs::OfTrustedWriters`] it is
//! taken over also where the lock does not say, and believed. A machine with such a lock needs no compiler.
//!
//! What was taken over lies in the local cache from then on, and goes into what is exported, as if it had been made here.
//!
//! # What is not shared
//!
//! That a program *stays plain* (UPX refuses it, it does not shrink, it answers otherwise) is found out on each machine:
//! nothing proves such a decision but trying. Nor is what only loses its symbols, which takes less time than fetching. What
//! `kimg tune` measures is not in the local cache either: its decisions are in the lock, which is shared as a file.

mod compiled;
mod export;
mod index;
mod layers;
mod programs;
mod source;
mod tally;

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use kimg_core::Digest;
use kimg_layer::LayerInfo;
use kimg_registry::{Client, Reference};
use tokio::runtime::Runtime;

use crate::error::BuildError;
use crate::events::{Event, Events};

pub(crate) use compiled::{TakenOver, WantedCompiled};
pub use export::{Export, Exported};
pub(crate) use index::CompiledInfo;
pub(crate) use layers::WantedLayer;
pub(crate) use programs::WantedProgram;
pub use tally::{Refused, Tally, Unusable};

use index::{Kind, Made};
use source::Source;

/// Which packed programs are taken over. The module documentation says what that means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Programs {
    /// Those of which the lock says what they become.
    OfTheLock,
    /// Also others that pass the gate: whoever can write the cache is trusted with code that runs on nodes, and here.
    OfTrustedWriters,
}

/// The caches that a run reads, and what it made itself or took over, to be exported.
///
/// Keeps a connection and threads of its own for as long as it lives; so it is not to be made, used or dropped where
/// asynchronous code runs.
#[derive(Debug)]
pub struct SharedCache {
    client: Client,
    runtime: Runtime,
    sources: Vec<Source>,
    programs: Programs,
    tally: Mutex<Tally>,
    used: Mutex<BTreeMap<(Kind, Digest), Made>>,
}

impl SharedCache {
    /// Caches that are read in this order; none for a run that only exports. The client is for this alone: what it keeps
    /// of connections belongs to the threads it was used on.
    ///
    /// # Errors
    /// Threads that can't be started.
    pub fn new(client: Client, from: Vec<Reference>, programs: Programs) -> Result<Self, BuildError> {
        Ok(Self {
            client,
            runtime: crate::build::network()?,
            sources: from.into_iter().map(Source::new).collect(),
            programs,
            tally: Mutex::default(),
            used: Mutex::default(),
        })
    }

    /// What was asked, found, used and refused so far.
    pub fn tally(&self) -> Tally {
        locked(&self.tally).clone()
    }

    /// Notes a layer that this run has, wherever it came from.
    pub(crate) fn has_layer(&self, key: Digest, info: &LayerInfo) {
        locked(&self.used).insert((Kind::Layer, key), Made::Layer(info.clone()));
    }

    /// Notes a packed program that this run has, wherever it came from.
    pub(crate) fn has_program(&self, key: Digest, digest: Digest, size: u64) {
        locked(&self.used).insert((Kind::Program, key), Made::Program { digest, size });
    }

    /// Notes and tells that something is not used.
    fn refuse(&self, events: &dyn Events, source: &Source, what: &str, why: &str) {
        let (cache, why) = (source.reference.to_string(), printable(why));
        let message = format!("{what} in the cache {cache} is not used: {why}");
        events.event(&Event::Warned { message });
        locked(&self.tally).refused.push(Refused { cache, what: what.to_owned(), why });
    }

    /// Notes and tells that something is used.
    fn take(&self, events: &dyn Events, source: &Source, what: &str, bytes: u64) {
        let cache = source.reference.to_string();
        events.event(&Event::TakenOver { what: what.to_owned(), bytes, cache });
        locked(&self.tally).used += 1;
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// At most 500 characters, none of them a control character: what others wrote goes to terminals and reports.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(500).collect()
}

/// An error with its causes on one line.
fn in_words(error: &dyn std::error::Error) -> String {
    let mut words = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_words = cause.to_string();
        if !words.contains(&cause_words) {
            words = format!("{words}: {cause_words}");
        }
        next = cause.source();
    }
    words
}
