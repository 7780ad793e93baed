//! How pushing and pulling are told: bars for the blobs under way, a line for each stage, JSON, or nothing.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use kimg_registry::{How, Progress as Moved, Pushed, Tally, Watch};
use kimg_report::size;
use serde_json::{Value, json};

use crate::progress::Progress;

/// Blobs smaller than this get no line of their own.
const WORTH_A_LINE: u64 = 1 << 20;

/// Tells what goes to a registry or comes from it.
pub(crate) struct Story {
    progress: Progress,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    tally: Tally,
    /// How many blobs came in which way, and their bytes.
    ways: BTreeMap<&'static str, (usize, u64)>,
}

impl Story {
    pub(crate) fn new(progress: Progress) -> Self {
        Self { progress, state: Mutex::default() }
    }

    /// One stage is done.
    pub(crate) fn done(&self, stage: &str, text: &str) {
        self.progress.stage_done(stage, text);
    }

    /// A line that stands for itself.
    pub(crate) fn say(&self, text: &str) {
        self.progress.say(text);
    }

    /// What was pushed, and which tags were set.
    pub(crate) fn pushed(&self, pushed: &Pushed) {
        self.sent(pushed);
        self.tagged(pushed);
    }

    fn sent(&self, pushed: &Pushed) {
        let mut parts = vec![format!("{} in {} sent", size(pushed.sent_bytes), blobs(pushed.sent))];
        if pushed.mounted > 0 {
            parts.push(format!("{} taken over from other repositories", pushed.mounted));
        }
        if pushed.there > 0 {
            parts.push(format!("{} were there", pushed.there));
        }
        self.done("Pushed", &format!("{}; all of it read back", parts.join(", ")));
    }

    /// Which tags were set.
    pub(crate) fn tagged(&self, pushed: &Pushed) {
        if pushed.tags.is_empty() {
            return;
        }
        let stayed = pushed.tags.len() - pushed.moved.min(pushed.tags.len());
        let stayed = if stayed > 0 { format!(", {stayed} were right already") } else { String::new() };
        self.done("Tagged", &format!("{} set{stayed}", pushed.moved));
    }

    /// What was fetched, in words.
    pub(crate) fn fetched(&self) -> String {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let (count, bytes) = state.ways.get("fetched").copied().unwrap_or_default();
        let (there, _) = state.ways.get("there").copied().unwrap_or_default();
        let there = if there > 0 { format!(", {there} were here") } else { String::new() };
        format!("{} in {}{there}", size(bytes), blobs(count))
    }
}

fn blobs(count: usize) -> String {
    format!("{count} {}", if count == 1 { "blob" } else { "blobs" })
}

impl Watch for Story {
    fn tell(&self, moved: &Moved) {
        if self.progress.is_json() {
            self.progress.json_line(&as_json(moved));
        }
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.tally.take(moved);
        match moved {
            Moved::Begun { blobs, .. } => self.progress.begin("blobs", *blobs),
            Moved::Moved { digest, done, size } => {
                self.progress.moved(&digest.to_string()[..19], *done, *size);
            }
            Moved::Blob { digest, size: bytes, repository, how } => {
                let digest = &digest.to_string()[..19];
                self.progress.moved(digest, *bytes, *bytes);
                self.progress.one_more(digest);
                let (way, words) = match how {
                    How::There => ("there", "is there".to_owned()),
                    How::Mounted(from) => ("mounted", format!("taken over from {from}")),
                    How::Sent => ("sent", format!("sent to {repository}")),
                    How::Fetched => ("fetched", "fetched".to_owned()),
                };
                let of_way = state.ways.entry(way).or_default();
                of_way.0 += 1;
                of_way.1 += bytes;
                if *bytes >= WORTH_A_LINE && *how != How::There {
                    let all = format!("{} of {}", size(state.tally.done()), size(state.tally.total));
                    self.progress.detail(&format!("{digest} {}: {words} ({all})", size(*bytes)));
                }
            }
            Moved::Manifest(reference) => tracing::info!("{reference} sent"),
            Moved::Compared { count } => tracing::info!("{count} manifests, configs and layers compared"),
            Moved::Tagged { tag, digest } => tracing::info!("{tag} is {digest}"),
        }
    }
}

fn as_json(moved: &Moved) -> Value {
    match moved {
        Moved::Begun { blobs, bytes } => json!({ "begun": { "blobs": blobs, "bytes": bytes } }),
        Moved::Moved { digest, done, size } => {
            json!({ "moved": { "digest": digest, "done": done, "size": size } })
        }
        Moved::Blob { digest, size, repository, how } => {
            let (how, from) = match how {
                How::There => ("there", None),
                How::Mounted(from) => ("mounted", Some(from.to_string())),
                How::Sent => ("sent", None),
                How::Fetched => ("fetched", None),
            };
            let repository = repository.to_string();
            json!({ "blob": { "digest": digest, "size": size, "repository": repository, "how": how, "from": from } })
        }
        Moved::Manifest(reference) => json!({ "manifest": reference.to_string() }),
        Moved::Compared { count } => json!({ "compared": count }),
        Moved::Tagged { tag, digest } => json!({ "tagged": { "tag": tag.to_string(), "digest": digest } }),
    }
}
