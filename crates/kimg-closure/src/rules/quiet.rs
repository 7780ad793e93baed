//! Programs of which it is known that they start no other.
//!
//! ```toml
//! [[quiet]]
//! name = "cni-quiet"                       # the name under which another file can replace it
//! program = ["/opt/cni/bin/loopback"]      # a file's own name, or with a slash its whole path
//! reason = "it speaks to the kernel"       # why it needs none
//! source = "https://…"
//! ```

use kimg_core::ImagePath;

use super::pattern::Matcher;
use super::written::{self, Wrong};

/// Programs that start no other.
#[derive(Debug, Clone)]
pub struct Quiet {
    name: String,
    program: Vec<Matcher>,
    reason: String,
    source: Option<String>,
}

impl Quiet {
    pub(super) fn check(written: &written::Quiet) -> Result<Self, Wrong> {
        Ok(Self {
            name: written::one_line("name", &written.name)?,
            program: written::programs(&written.program)?,
            reason: written::one_line("reason", &written.reason)?,
            source: written.source.clone(),
        })
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Why they need none.
    pub fn reason(&self) -> &str {
        &self.reason
    }

    /// Where that is written.
    pub fn source(&self) -> Option<&str> {
        self.source.as_deref()
    }

    /// Whether the program at this path is one of them.
    pub fn holds_for(&self, path: &ImagePath) -> bool {
        self.program.iter().any(|program| program.is_match(path))
    }
}
