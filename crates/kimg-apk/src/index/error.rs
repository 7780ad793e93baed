//! Why a text is no index.

use kimg_core::{Classified, ErrorClass};

use crate::dependency::IdentityError;

/// Why a text is no index.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IndexError {
    /// More bytes than allowed.
    #[error("the index holds {size} bytes, at most {limit} are allowed")]
    TooLarge {
        /// Bytes found.
        size: u64,
        /// Bytes allowed.
        limit: u64,
    },
    /// More of something than a limit allows.
    #[error("line {line} of the index: {what} is larger than the limit of {limit}")]
    Limit {
        /// The line, from 1.
        line: usize,
        /// What is too large.
        what: &'static str,
        /// How large it may be.
        limit: usize,
    },
    /// A line that is not a letter, a colon and a value.
    #[error("line {line} of the index: expected a letter, a colon and a value, found `{}`", found.escape_debug())]
    NotAField {
        /// The line, from 1.
        line: usize,
        /// What stands there, cut short.
        found: String,
    },
    /// A field whose value can't be read.
    #[error("line {line} of the index, field {letter}: {problem}")]
    Field {
        /// The line, from 1.
        line: usize,
        /// The field.
        letter: char,
        /// What is wrong with the value.
        problem: FieldProblem,
    },
    /// A field twice in one record that can only be there once.
    #[error("line {line} of the index: field {letter} for the second time in one record")]
    Twice {
        /// The line, from 1.
        line: usize,
        /// The field.
        letter: char,
    },
    /// A record without name or version.
    #[error("the record from line {line} of the index on has no field {letter}")]
    Missing {
        /// The record's first line, from 1.
        line: usize,
        /// The field.
        letter: char,
    },
}

/// What is wrong with the value of a field.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FieldProblem {
    /// Not a number.
    #[error("expected a number, found `{}`", .0.escape_debug())]
    Number(String),
    /// Not an identity.
    #[error(transparent)]
    Identity(IdentityError),
    /// Not fit for a file name.
    #[error("`{}` can't be part of a file name", .0.escape_debug())]
    FileName(String),
}

impl Classified for IndexError {
    fn class(&self) -> ErrorClass {
        match self {
            Self::TooLarge { .. } | Self::Limit { .. } => ErrorClass::Limit,
            _ => ErrorClass::Malformed,
        }
    }
}
