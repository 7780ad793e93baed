//! What was found to be needed, as a graph to draw.

use std::collections::{BTreeMap, BTreeSet};

use kimg_closure::{Dialect, Edge, FileFacts, FileType, Files, Met, Needs, Reason, Visit};
use kimg_core::ImagePath;
use kimg_report::{Graph, NodeKind};

use crate::failure::{Failure, classified};

/// A graph, and what can't be drawn.
pub(super) struct Drawn {
    pub(super) graph: Graph,
    /// Whose rules libraries were searched by.
    pub(super) dialects: BTreeSet<Dialect>,
    /// What is broken and no edge that leads nowhere: a file for another architecture, a damaged one.
    pub(super) problems: Vec<String>,
    /// What else there is to say.
    pub(super) note: Option<String>,
}

impl Drawn {
    /// All that was found from `start` on; `size` gives the bytes of a file.
    pub(super) fn walked(found: &Needs, size: impl Fn(&ImagePath) -> Option<u64>, start: &ImagePath) -> Self {
        let visits = found.closure().visits();
        let kinds = kinds(visits);
        let mut graph = Graph::default();
        let place = |graph: &mut Graph, path: &ImagePath| {
            let place = graph.node(path.as_str(), kinds.get(path).copied().unwrap_or(NodeKind::Data));
            graph.node_mut(place).size = size(path);
            place
        };
        let real = found.closure().visits().first().map_or(start, |visit| &visit.file);
        let first = place(&mut graph, start);
        if real != start {
            // Drawn as what it leads to: a person knows a program by its link.
            graph.node_mut(first).kind = kinds.get(real).copied().unwrap_or(NodeKind::Data);
            let end = place(&mut graph, real);
            graph.edge(first, end, "link", real.as_str());
        }
        for need in visits.iter().flat_map(|visit| &visit.needs) {
            let Some(of) = need.of() else { continue };
            let from = place(&mut graph, of);
            let to = match &need.met {
                Met::By { path, .. } => place(&mut graph, path),
                Met::Unmet { problem, searched } => {
                    let to = graph.node(&need.name, NodeKind::Unresolved);
                    graph.node_mut(to).note = Some(why(problem, searched));
                    to
                }
            };
            graph.edge(from, to, how(&need.reason), &need.name);
        }
        let told: BTreeSet<&String> = found.unmet().filter_map(problem_of).collect();
        let problems = found.problems().iter().map(|error| error.problem().to_string());
        Self {
            graph,
            dialects: visits.iter().filter_map(|visit| visit.dialect).collect(),
            problems: problems.filter(|problem| !told.contains(problem)).collect(),
            note: None,
        }
    }

    /// What one file asks for, looked up nowhere: this machine has no root of its architecture.
    pub(super) fn listed(files: &dyn Files, path: &ImagePath) -> Result<Self, Failure> {
        let mut graph = Graph::default();
        let facts = FileFacts::read_at(files, path).map_err(|error| classified(&error))?;
        let mut dialects = BTreeSet::new();
        match facts {
            FileFacts::Elf(elf) => {
                let first = graph.node(path.as_str(), NodeKind::Program);
                if let Some(loader) = &elf.interpreter {
                    dialects.insert(Dialect::of_interpreter(loader));
                    let to = graph.node(loader, NodeKind::Loader);
                    graph.edge(first, to, "loader", loader);
                }
                for soname in &elf.needed {
                    let to = graph.node(soname, NodeKind::Library);
                    graph.edge(first, to, "needed", soname);
                }
            }
            FileFacts::Script(script) => {
                let first = graph.node(path.as_str(), NodeKind::Script);
                let to = graph.node(&script.interpreter, NodeKind::Program);
                graph.edge(first, to, "interpreter", &script.interpreter);
            }
            FileFacts::Data => {
                graph.node(path.as_str(), NodeKind::Data);
            }
        }
        let note = Some("listed, not looked up: it is for another machine; `--root DIR` looks it up".into());
        Ok(Self { graph, dialects, problems: Vec::new(), note })
    }

    /// Whether everything is there and whole.
    pub(super) fn is_resolved(&self) -> bool {
        self.graph.unresolved().next().is_none() && self.problems.is_empty()
    }
}

fn problem_of(need: &Edge) -> Option<&String> {
    match &need.met {
        Met::Unmet { problem, .. } => Some(problem),
        Met::By { .. } => None,
    }
}

/// In a graph the edge says who needs what: only where it was searched is left to say.
fn why(problem: &str, searched: &[String]) -> String {
    if searched.is_empty() { problem.to_owned() } else { format!("not in {}", searched.join(", ")) }
}

/// What each file is, by how it is looked at and by what asks for it: a loader is a library to look at, a plugin data.
fn kinds(visits: &[Visit]) -> BTreeMap<&ImagePath, NodeKind> {
    let mut kinds = BTreeMap::new();
    for visit in visits {
        let kind = match visit.what {
            FileType::Program | FileType::StaticProgram => NodeKind::Program,
            FileType::Library => NodeKind::Library,
            FileType::Script => NodeKind::Script,
            FileType::Data | FileType::Folder => NodeKind::Data,
        };
        kinds.insert(&visit.file, kind);
        kinds.extend(visit.objects.iter().skip(1).map(|object| (&object.path, NodeKind::Library)));
    }
    for need in visits.iter().flat_map(|visit| &visit.needs) {
        if let (Reason::Interpreter { .. }, Some(loader)) = (&need.reason, need.path()) {
            kinds.insert(loader, NodeKind::Loader);
        }
    }
    kinds
}

/// How one file leads to another.
fn how(reason: &Reason) -> String {
    match reason {
        Reason::Interpreter { .. } => "loader",
        Reason::Needed { .. } => "needed",
        Reason::Dlopen { .. } => "loaded later",
        Reason::SearchPath { .. } => "search path",
        Reason::Script { .. } => "interpreter",
        Reason::Command { .. } => "by way of env",
        Reason::Rule { rule, .. } => return format!("rule {rule}"),
        _ => "leads to",
    }
    .to_owned()
}
