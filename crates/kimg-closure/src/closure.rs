//! The result of a walk: a set of paths, each with the reason it belongs there and the root that reached it first.

use std::collections::BTreeMap;

use kimg_core::ImagePath;
use serde::Serialize;

use crate::Root;
use crate::chain::{Chain, Step};
use crate::finding::Finding;
use crate::needs::Visit;

/// Why a path belongs to the set: the first reason that was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "because")]
#[non_exhaustive]
pub enum Reason {
    /// It is wanted itself.
    Root {
        /// The place of the root in the request.
        index: usize,
    },
    /// It is the loader that a program asks for (`PT_INTERP`).
    Interpreter {
        /// The program.
        of: ImagePath,
    },
    /// It is a library that another file needs (`DT_NEEDED`).
    Needed {
        /// The program or library.
        of: ImagePath,
        /// The name by which it asks for it.
        soname: String,
    },
    /// It is a library that another file says it loads at run time (`.note.dlopen`).
    Dlopen {
        /// The program or library.
        of: ImagePath,
        /// The name by which it asks for it.
        soname: String,
        /// What for.
        feature: String,
    },
    /// It lists the folders that a loader searches.
    SearchPath {
        /// The loader.
        of: ImagePath,
    },
    /// It is the interpreter of a script.
    Script {
        /// The script.
        of: ImagePath,
    },
    /// It is the command that a script has `env` start.
    Command {
        /// The script.
        of: ImagePath,
    },
    /// A rule says that it comes with a file.
    Rule {
        /// The file.
        of: ImagePath,
        /// The name of the rule.
        rule: String,
        /// Why.
        reason: String,
    },
    /// It is what a symbolic link points to.
    Target {
        /// The link.
        of: ImagePath,
    },
    /// It is a symbolic link on the way to a path.
    Link {
        /// The path.
        to: ImagePath,
    },
    /// It is a folder that holds a path.
    Folder {
        /// The path.
        of: ImagePath,
    },
}

impl Reason {
    /// The path that this one is there for; `None` for a root.
    pub fn of(&self) -> Option<&ImagePath> {
        match self {
            Self::Root { .. } => None,
            Self::Interpreter { of }
            | Self::Needed { of, .. }
            | Self::Dlopen { of, .. }
            | Self::SearchPath { of }
            | Self::Script { of }
            | Self::Command { of }
            | Self::Rule { of, .. }
            | Self::Target { of }
            | Self::Link { to: of }
            | Self::Folder { of } => Some(of),
        }
    }
}

/// One path of the set, as the walk notes it.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub(crate) reason: Reason,
    pub(crate) root: usize,
}

/// The smallest set of paths in which all roots run: links and parent folders included.
#[derive(Debug, Clone)]
pub struct Closure {
    pub(crate) roots: Vec<Root>,
    pub(crate) nodes: BTreeMap<ImagePath, Node>,
    pub(crate) findings: Vec<Finding>,
    pub(crate) visits: Vec<Visit>,
}

impl Closure {
    /// Every path of the set in order, each with the reason it belongs to it.
    pub fn iter(&self) -> impl Iterator<Item = (&ImagePath, &Reason)> {
        self.nodes.iter().map(|(path, node)| (path, &node.reason))
    }

    /// Whether a path belongs to the set.
    pub fn contains(&self, path: &ImagePath) -> bool {
        self.nodes.contains_key(path)
    }

    /// The number of paths.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether there is no path at all: only without roots.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// The place, in the request, of the first root that reaches a path. It is the same whatever roots follow that one.
    pub fn root_of(&self, path: &ImagePath) -> Option<usize> {
        self.nodes.get(path).map(|node| node.root)
    }

    /// How a root leads to a path; `None` when the path is not in the set.
    pub fn why(&self, path: &ImagePath) -> Option<Chain> {
        chain(&self.nodes, &self.roots, path)
    }

    /// Each file that was looked at by itself, with what it needs: the graph behind the set.
    pub fn visits(&self) -> &[Visit] {
        &self.visits
    }

    /// What is no error and yet worth a look, in order.
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }
}

/// The chain to a path out of the nodes noted so far.
pub(crate) fn chain(nodes: &BTreeMap<ImagePath, Node>, roots: &[Root], path: &ImagePath) -> Option<Chain> {
    let mut steps = Vec::new();
    let mut next = Some(path);
    let mut root = None;
    while let Some(path) = next {
        let node = nodes.get(path)?;
        steps.push(Step { path: path.clone(), reason: node.reason.clone() });
        if let Reason::Root { index } = node.reason {
            root = roots.get(index);
        }
        // A node's reason speaks only of nodes noted before it; the bound is for the reader.
        next = node.reason.of().filter(|_| steps.len() <= nodes.len());
    }
    steps.reverse();
    Some(Chain::new(steps, root?.clone()))
}
