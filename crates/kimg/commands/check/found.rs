//! What was found in one root file system.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use kimg_closure::{ElfError, Files, Finding, Needs, When, read_symbols};
use kimg_core::{Content, ImagePath, Platform};
use serde::Serialize;

/// How many further symbols that a file misses are named.
const SHOWN: usize = 3;

/// What was looked at in one root file system, and what was found.
#[derive(Debug, Serialize)]
pub(crate) struct Checked {
    /// `plain for linux/amd64`, or the folder.
    pub(super) what: String,
    platform: Platform,
    /// The files that programs load, the programs among them.
    pub(super) objects: usize,
    /// The symbols that those ask others for, each counted once an object.
    pub(super) symbols: usize,
    pub(super) findings: Vec<Found>,
}

/// One thing that was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Found {
    /// Whether something does not start, or can't be loaded, for it.
    strong: bool,
    pub(super) message: String,
    /// The finding in its parts; `None` of a need that nothing meets.
    #[serde(flatten)]
    finding: Option<Finding>,
}

impl Checked {
    /// Looks at everything that was found to be loaded.
    pub(super) fn new(
        what: String,
        platform: Platform,
        found: &Needs,
        files: &dyn Files,
        content: impl Fn(&ImagePath) -> Result<Option<Content>, ElfError>,
    ) -> Self {
        let visits = found.closure().visits();
        let objects: BTreeSet<&ImagePath> = visits
            .iter()
            .flat_map(|visit| visit.objects.iter().map(|object| &object.path).chain(&visit.loader))
            .collect();
        // What can't be read is a finding of the check itself.
        let symbols = objects.iter().map(|path| {
            let read = content(path).and_then(|content| content.map_or(Ok(None), |c| read_symbols(&c)));
            read.ok().flatten().map_or(0, |symbols| symbols.undefined.len())
        });
        let problems = found.problems().iter().map(|error| Found {
            strong: true,
            message: error.problem().to_string(),
            finding: None,
        });
        let walked = found.closure().findings().iter().filter(|f| concerns_loading(f)).cloned();
        let all = walked.chain(kimg_closure::check(found.closure(), files));
        let mut findings: Vec<Found> = problems.chain(all.map(Found::from)).collect();
        findings.sort_by_key(|found| (!found.strong, found.finding.clone()));
        findings.dedup();
        Self { what, platform, objects: objects.len(), symbols: symbols.sum(), findings }
    }

    /// Whether something does not start, or can't be loaded.
    pub(crate) fn is_broken(&self) -> bool {
        self.findings.iter().any(|found| found.strong)
    }

    /// What is to be read: whether it is strong, and a sentence. Symbols that one file misses are one sentence.
    pub(super) fn told(&self) -> Vec<(bool, String)> {
        let mut told: Vec<(bool, String)> = Vec::new();
        for alike in self.findings.chunk_by(|a, b| a.misses().is_some() && a.misses() == b.misses()) {
            let mut sentence = alike[0].message.clone();
            if let [_, others @ ..] = alike
                && !others.is_empty()
            {
                let names =
                    others.iter().filter_map(Found::symbol).take(SHOWN).collect::<Vec<_>>().join(", ");
                let more = others.len().saturating_sub(SHOWN);
                let _ = write!(sentence, "; and so {names}");
                if more > 0 {
                    let _ = write!(sentence, " and {more} more");
                }
            }
            told.push((alike[0].strong, sentence));
        }
        told
    }
}

impl Found {
    /// Something that a person should know, and that stops nothing.
    pub(super) fn weak(message: String) -> Self {
        Self { strong: false, message, finding: None }
    }

    /// The program, the file in it that misses a symbol, and when that shows.
    fn misses(&self) -> Option<(&ImagePath, &ImagePath, When)> {
        match &self.finding {
            Some(Finding::SymbolMissing { program, of, when, .. }) => Some((program, of, *when)),
            _ => None,
        }
    }

    fn symbol(&self) -> Option<&str> {
        match &self.finding {
            Some(Finding::SymbolMissing { symbol, .. }) => Some(symbol),
            _ => None,
        }
    }
}

impl From<Finding> for Found {
    fn from(finding: Finding) -> Self {
        Self { strong: is_strong(&finding), message: finding.to_string(), finding: Some(finding) }
    }
}

/// Whether a program does not start for it, or what it loads later can't be loaded.
fn is_strong(finding: &Finding) -> bool {
    match finding {
        Finding::SymbolMissing { when, .. } => matches!(when, When::Started | When::Loaded),
        Finding::VersionMissing { .. }
        | Finding::SymbolsUnreadable { .. }
        | Finding::LoaderCacheMissing { .. } => true,
        _ => false,
    }
}

/// Whether it is about what a loader does. That a rule names more files than there are is no matter here.
fn concerns_loading(finding: &Finding) -> bool {
    !matches!(finding, Finding::RuleFilesMissing { .. })
}
