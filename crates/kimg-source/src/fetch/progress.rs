//! How far files are, for whoever watches.

use std::time::{Duration, Instant};

use tokio::sync::mpsc::UnboundedSender;

use crate::location::redacted;

/// How far one file is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transfer {
    /// Its address, without a password.
    pub url: String,
    /// Bytes that are there.
    pub done: u64,
    /// Bytes of the whole, if the server said so.
    pub total: Option<u64>,
}

/// Between its begin and its end, a file is not heard of more often.
const EVERY: Duration = Duration::from_millis(100);

/// Tells how far one file is.
#[derive(Debug)]
pub(super) struct Meter<'a> {
    watch: Option<&'a UnboundedSender<Transfer>>,
    url: &'a str,
    told: Option<Instant>,
}

impl<'a> Meter<'a> {
    pub(super) fn new(watch: Option<&'a UnboundedSender<Transfer>>, url: &'a str) -> Self {
        Self { watch, url, told: None }
    }

    /// At the begin of a transfer and at its end.
    pub(super) fn tell(&mut self, done: u64, total: Option<u64>) {
        if let Some(watch) = self.watch {
            self.told = Some(Instant::now());
            // Who no longer listens does not want to know.
            let _ = watch.send(Transfer { url: redacted(self.url).into_owned(), done, total });
        }
    }

    /// While it goes on.
    pub(super) fn moved(&mut self, done: u64, total: Option<u64>) {
        if self.watch.is_some() && self.told.is_none_or(|told| told.elapsed() >= EVERY) {
            self.tell(done, total);
        }
    }
}
