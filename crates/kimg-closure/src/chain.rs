//! How a root leads to a path, and how that reads.

use std::fmt;
use std::ops::Deref;

use kimg_core::ImagePath;
use serde::Serialize;

use crate::{Reason, Root};

/// One step from a root to a path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Step {
    /// The path.
    pub path: ImagePath,
    /// Why it is there; speaks of the path of the step before.
    pub reason: Reason,
}

/// The steps from a root to a path, the root first. Displays as one sentence that goes from the path back to the root.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Chain {
    steps: Vec<Step>,
    root: Root,
}

impl Chain {
    pub(crate) fn new(steps: Vec<Step>, root: Root) -> Self {
        Self { steps, root }
    }

    /// The steps, the root first.
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// The root it starts from.
    pub fn root(&self) -> &Root {
        &self.root
    }
}

impl Deref for Chain {
    type Target = [Step];

    fn deref(&self) -> &[Step] {
        &self.steps
    }
}

impl fmt::Display for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(asked) = self.steps.last() else { return Ok(()) };
        write!(f, "`{}` ", asked.path)?;
        for (index, step) in self.steps.iter().enumerate().rev() {
            let root = &self.root;
            if index + 1 < self.steps.len() && index > 0 {
                f.write_str(", which ")?;
            }
            // What a link as root leads to is told by the root's name: people know `iptables`, not its link.
            if let (1, Reason::Target { .. }) = (index, &step.reason) {
                let is_asked = self.steps.len() == 2;
                let verb = if is_asked { "is where " } else { "" };
                return write!(
                    f,
                    "{verb}`{}` (root: {}) lead{}",
                    root.name,
                    root.reason,
                    if is_asked { "s" } else { "s to" }
                );
            }
            match &step.reason {
                Reason::Root { .. } if self.steps.len() == 1 => {
                    write!(f, "is the root `{}`: {}", root.name, root.reason)?;
                }
                // Its path was the last word of the step after it.
                Reason::Root { .. }
                    if step.path.file_name() == Some(&root.name) || root.name == step.path.as_str() =>
                {
                    write!(f, " (root: {})", root.reason)?;
                }
                Reason::Root { .. } => write!(f, " (root `{}`: {})", root.name, root.reason)?,
                Reason::Interpreter { of } => write!(f, "is the loader of `{of}`")?,
                Reason::Needed { of, soname } if step.path.file_name() == Some(soname) => {
                    write!(f, "is needed by `{of}`")?;
                }
                Reason::Needed { of, soname } => write!(f, "is needed, as `{soname}`, by `{of}`")?,
                Reason::Dlopen { of, feature, .. } if feature.is_empty() => {
                    write!(f, "is loaded at run time by `{of}`")?;
                }
                Reason::Dlopen { of, feature, .. } => {
                    write!(f, "is loaded at run time, for {feature}, by `{of}`")?;
                }
                Reason::SearchPath { of } => write!(f, "lists the folders to search for the loader `{of}`")?,
                Reason::Script { of } => write!(f, "is the interpreter of the script `{of}`")?,
                Reason::Command { of } => write!(f, "is started by way of env by the script `{of}`")?,
                Reason::Rule { of, rule, reason } => {
                    write!(f, "comes by rule `{rule}` ({reason}) with `{of}`")?;
                }
                Reason::Target { of } => write!(f, "is the target of the link `{of}`")?,
                Reason::Link { to } => write!(f, "is a link on the way to `{to}`")?,
                Reason::Folder { of } => write!(f, "is the folder of `{of}`")?,
            }
        }
        Ok(())
    }
}
