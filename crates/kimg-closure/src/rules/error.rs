//! Why a file of rules is not one, and where.

use std::fmt;
use std::ops::Range;

use kimg_core::{Classified, ErrorClass};

/// A place in a file of rules. Prints as `rules/mine.toml:3:11`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RulePlace {
    /// The file.
    pub file: String,
    /// The line, from 1 on.
    pub line: usize,
    /// The column in characters, from 1 on.
    pub column: usize,
    /// The same in the text's bytes, for who shows the line.
    pub span: Range<usize>,
}

/// Why a file of rules is not one.
#[derive(Debug, thiserror::Error)]
pub enum RuleError {
    /// It is not TOML, or not of this form.
    #[error("{place}: {}", source.message())]
    Toml {
        /// Where.
        place: RulePlace,
        /// What is wrong with it.
        source: Box<toml::de::Error>,
    },
    /// A rule or call that can't be meant.
    #[error("{place}: {entry}: {problem}")]
    Invalid {
        /// Where.
        place: RulePlace,
        /// The rule or call: ``rule `tls-roots` ``.
        entry: String,
        /// What is wrong with it.
        problem: String,
    },
}

impl RulePlace {
    pub(super) fn new(file: &str, text: &str, span: Range<usize>) -> Self {
        let before = text.get(..span.start).unwrap_or(text);
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        Self {
            file: file.to_owned(),
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
            span,
        }
    }
}

impl fmt::Display for RulePlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file, self.line, self.column)
    }
}

impl RuleError {
    /// Where.
    pub fn place(&self) -> &RulePlace {
        match self {
            Self::Toml { place, .. } | Self::Invalid { place, .. } => place,
        }
    }

    /// What is wrong, without the place.
    pub fn problem(&self) -> String {
        match self {
            Self::Toml { source, .. } => source.message().to_owned(),
            Self::Invalid { entry, problem, .. } => format!("{entry}: {problem}"),
        }
    }
}

impl Classified for RuleError {
    fn class(&self) -> ErrorClass {
        ErrorClass::Usage
    }
}
