//! Mirrors in their order: which failures lead to the next one, and what is said when none is left.

use kimg_core::{Classified, ErrorClass};

use super::Reader;
use crate::error::MirrorFailure;
use crate::{Location, SourceError};

/// The failures of the mirrors that were asked for one file.
#[derive(Debug)]
pub(super) struct Failures {
    /// What was wanted, with its article.
    what: String,
    failed: Vec<MirrorFailure>,
}

impl Failures {
    pub(super) fn of(what: impl Into<String>) -> Self {
        Self { what: what.into(), failed: Vec::new() }
    }

    /// Notes a failure and says so, or gives it back if no other mirror can help: when this machine's disk is at
    /// fault, and not the mirror's own folder.
    pub(super) fn pass_over(
        &mut self,
        mirror: &Location,
        error: SourceError,
        reader: &Reader,
    ) -> Result<(), SourceError> {
        if mirror.is_remote() && error.class() == ErrorClass::LocalIo {
            return Err(error);
        }
        reader.fetcher.give_up(mirror, &error);
        self.note(mirror.to_string(), error);
        Ok(())
    }

    pub(super) fn note(&mut self, mirror: String, error: SourceError) {
        self.failed.push(MirrorFailure { mirror, error });
    }

    /// Says that the next mirror is asked, if there is something to say.
    pub(super) fn warn(&self, next: &Location) {
        // A host that was given up has been spoken of when it was.
        if let Some(last) = self.failed.last()
            && !matches!(last.error, SourceError::GivenUp { .. } | SourceError::Offline { .. })
        {
            tracing::warn!("{}: {}; passed over for {next}", last.mirror, last.error.whole());
        }
    }

    /// The error when no mirror had it. That of a single mirror stands for itself.
    pub(super) fn into_error(mut self) -> SourceError {
        if self.failed.len() > 1 {
            return SourceError::Mirrors { what: self.what, failures: self.failed };
        }
        match self.failed.pop() {
            Some(failure) => failure.error,
            None => SourceError::Missing { what: self.what, path: "a repository without mirrors".into() },
        }
    }
}
