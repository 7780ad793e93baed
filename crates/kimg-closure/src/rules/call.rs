//! The programs that a program starts, as data.
//!
//! ```toml
//! [[call]]
//! name = "kubelet-nfs"                     # the name under which another file can replace it
//! program = ["kubelet"]                    # who starts it: a file's own name, or with a slash its whole path
//! starts = ["/sbin/mount.nfs"]             # names looked up in PATH, or paths; any one of them is enough
//! importance = "feature"                   # required, feature or warning
//! purpose = "NFS volumes"                  # what stops working without it
//! callers = ["…/nfs.(*nfsMounter).SetUpAt"] # the functions that start it, as Go names them: any one confirms it
//! words = ["nfs"]                          # what stands for it in the program, where that does not hold `starts`
//! before = "1.24"                          # versions of Kubernetes; `since` likewise
//! source = "https://…"
//! ```

use kimg_core::variant::VersionRange;
use kimg_core::{ImagePath, KubernetesVersion};
use serde::{Deserialize, Serialize};

use super::pattern::Matcher;
use super::written::{self, Wrong};

/// The longest word or function that is looked for, in bytes.
pub(crate) const MAX_SOUGHT: usize = 200;

/// A program that another one starts.
#[derive(Debug, Clone)]
pub struct Call {
    name: String,
    program: Vec<Matcher>,
    starts: Vec<String>,
    purpose: String,
    importance: Importance,
    words: Vec<String>,
    words_are_names: bool,
    callers: Vec<String>,
    versions: VersionRange,
    source: Option<String>,
}

/// How much a program needs the one it starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Importance {
    /// Its ordinary work fails without it.
    Required,
    /// Only who uses a certain feature misses it.
    Feature,
    /// It says that it is missing, and goes on.
    Warning,
}

impl Call {
    pub(super) fn check(written: &written::Call) -> Result<Self, Wrong> {
        let starts = written::each(&written.starts, startable)?;
        let words = if written.words.is_empty() {
            starts.clone()
        } else {
            written::each(&written.words, |word| sought("word", word))?
        };
        let version = |text: &Option<written::Text>| {
            let Some(text) = text else { return Ok(None) };
            let parsed: Result<KubernetesVersion, _> = text.get_ref().parse();
            parsed.map(Some).map_err(|error| (text.span(), error.to_string()))
        };
        Ok(Self {
            name: written::one_line("name", &written.name)?,
            program: written::programs(&written.program)?,
            starts,
            purpose: written::one_line("purpose", &written.purpose)?,
            importance: written.importance,
            words,
            words_are_names: written.words.is_empty(),
            callers: written::each(&written.callers, |caller| sought("caller", caller))?,
            versions: VersionRange { since: version(&written.since)?, before: version(&written.before)? },
            source: written.source.clone(),
        })
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What is started: names that are looked up in `PATH`, or absolute paths. Any one of them is enough.
    pub fn starts(&self) -> &[String] {
        &self.starts
    }

    /// What it is for, and so what stops working without it.
    pub fn purpose(&self) -> &str {
        &self.purpose
    }

    /// How much it is needed.
    pub fn importance(&self) -> Importance {
        self.importance
    }

    /// What stands for it in the program.
    pub fn words(&self) -> &[String] {
        &self.words
    }

    /// Whether the words are what is started, and not something that only stands for it.
    pub(crate) fn words_are_names(&self) -> bool {
        self.words_are_names
    }

    /// The functions that start it, as Go names them.
    pub fn callers(&self) -> &[String] {
        &self.callers
    }

    /// The versions of Kubernetes in which it is started.
    pub fn versions(&self) -> &VersionRange {
        &self.versions
    }

    /// Where that is written.
    pub fn source(&self) -> Option<&str> {
        self.source.as_deref()
    }

    /// Whether it is a program at this path that makes the call, in this version of Kubernetes.
    pub fn holds_for(&self, path: &ImagePath, version: &KubernetesVersion) -> bool {
        !self.starts.is_empty()
            && self.versions.holds(version)
            && self.program.iter().any(|program| program.is_match(path))
    }
}

fn startable(text: &str) -> Result<String, String> {
    if text.contains('/') && (!text.starts_with('/') || ImagePath::new(text).is_err()) {
        return Err(format!("`{text}` is neither a name nor an absolute path"));
    }
    sought("program", text)
}

fn sought(what: &str, text: &str) -> Result<String, String> {
    let fits = (2..=MAX_SOUGHT).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic());
    if fits { Ok(text.to_owned()) } else { Err(format!("{what} `{text}` is not 2 to {MAX_SOUGHT} letters")) }
}
