//! What can't be meant.

use kimg_core::{Classified, ErrorClass};

/// Why no node follows from a wish.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NodeError {
    /// The variant has none of what was asked for.
    #[error("the variant `{variant}` {problem}")]
    Variant {
        /// The variant.
        variant: String,
        /// What it lacks.
        problem: String,
        /// What to do.
        hint: String,
    },
    /// An image, version or path that can't be used.
    #[error("{problem}")]
    Wish {
        /// What is wrong.
        problem: String,
        /// What to do.
        hint: String,
    },
}

impl NodeError {
    pub(crate) fn wish(problem: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::Wish { problem: problem.into(), hint: hint.into() }
    }
}

impl Classified for NodeError {
    fn class(&self) -> ErrorClass {
        ErrorClass::Usage
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Variant { hint, .. } | Self::Wish { hint, .. } => Some(hint.clone()),
        }
    }
}
