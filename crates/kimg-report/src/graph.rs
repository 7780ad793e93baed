//! Graphs of needs: which file leads to which, and what is found nowhere; as a tree, Graphviz text, SVG and JSON.

mod dot;
mod layers;
mod svg;
mod tree;

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde_json::json;

/// What something in a graph is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum NodeKind {
    /// A program that is started.
    Program,
    /// A library or plugin that is loaded.
    Library,
    /// What loads libraries (`PT_INTERP`).
    Loader,
    /// A file that begins with `#!`.
    Script,
    /// Anything else that is read.
    Data,
    /// A name that leads to no file that would do.
    Unresolved,
}

impl NodeKind {
    const ALL: [Self; 6] =
        [Self::Program, Self::Script, Self::Library, Self::Loader, Self::Data, Self::Unresolved];

    fn name(self) -> &'static str {
        match self {
            Self::Program => "program",
            Self::Library => "library",
            Self::Loader => "loader",
            Self::Script => "script",
            Self::Data => "data",
            Self::Unresolved => "unresolved",
        }
    }
}

/// Something in a graph.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Node {
    /// Its path; of something unresolved the name by which it is asked for.
    pub name: String,
    /// What it is.
    pub kind: NodeKind,
    /// Bytes of the file, where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// What is wrong with it, or something else worth knowing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// How one thing leads to another.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Edge {
    from: usize,
    to: usize,
    /// `needed`, `loader`, `interpreter`, …
    how: String,
    /// The name by which it is asked for.
    asked: String,
}

/// Which file leads to which. Nodes and edges keep the order in which they are added, and come out in it.
///
/// ```
/// use kimg_report::{Graph, NodeKind};
///
/// let mut graph = Graph::default();
/// let program = graph.node("/usr/bin/kubelet", NodeKind::Program);
/// let loader = graph.node("/lib/ld-musl-armhf.so.1", NodeKind::Loader);
/// let library = graph.node("libgone.so.1", NodeKind::Unresolved);
/// graph.edge(program, loader, "loader", "/lib/ld-musl-armhf.so.1");
/// graph.edge(program, library, "needed", "libgone.so.1");
/// assert_eq!(graph.unresolved().count(), 1);
/// assert!(graph.to_dot().contains(r#""/usr/bin/kubelet" -> "/lib/ld-musl-armhf.so.1""#));
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Graph {
    nodes: Vec<Node>,
    edges: Vec<Edge>,
    by_name: BTreeMap<String, usize>,
}

impl Graph {
    /// The place of the node with this name; it is added if there is none.
    pub fn node(&mut self, name: impl Into<String>, kind: NodeKind) -> usize {
        let name = name.into();
        if let Some(&known) = self.by_name.get(&name) {
            return known;
        }
        self.by_name.insert(name.clone(), self.nodes.len());
        self.nodes.push(Node { name, kind, size: None, note: None });
        self.nodes.len() - 1
    }

    /// A node's parts, to say more about it. Panics if no [`Graph::node`] gave this place.
    pub fn node_mut(&mut self, place: usize) -> &mut Node {
        &mut self.nodes[place]
    }

    /// Adds that one node leads to another, and how (`needed`, `loader`, …); `asked` is the name it asks by.
    /// What was said already, and a node that leads to itself, are not added.
    pub fn edge(&mut self, from: usize, to: usize, how: impl Into<String>, asked: impl Into<String>) {
        let edge = Edge { from, to, how: how.into(), asked: asked.into() };
        if from != to && from.max(to) < self.nodes.len() && !self.edges.contains(&edge) {
            self.edges.push(edge);
        }
    }

    /// Everything in it.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// What leads to no file.
    pub fn unresolved(&self) -> impl Iterator<Item = &Node> {
        self.nodes.iter().filter(|node| node.kind == NodeKind::Unresolved)
    }

    /// For programs: `nodes` (`name`, `kind`, and where known `size` in bytes and `note`), `edges` (`from` and `to`
    /// as names, `how`, `asked`), `unresolved` (names). With a line feed at the end.
    pub fn to_json(&self) -> String {
        let name = |place: usize| &self.nodes[place].name;
        let edges: Vec<_> = self
            .edges
            .iter()
            .map(|e| json!({ "from": name(e.from), "to": name(e.to), "how": e.how, "asked": e.asked }))
            .collect();
        let unresolved: Vec<_> = self.unresolved().map(|node| &node.name).collect();
        crate::json(&json!({ "nodes": self.nodes, "edges": edges, "unresolved": unresolved }))
    }

    /// Where it begins: what nothing leads to; where everything is led to, the first.
    fn starts(&self) -> Vec<usize> {
        let led_to: BTreeSet<usize> = self.edges.iter().map(|edge| edge.to).collect();
        let mut starts: Vec<usize> = (0..self.nodes.len()).filter(|place| !led_to.contains(place)).collect();
        // A loop that nothing outside leads to would be in no tree.
        let mut reached = BTreeSet::new();
        for &start in &starts {
            self.reach(start, &mut reached);
        }
        for place in 0..self.nodes.len() {
            if !reached.contains(&place) {
                starts.push(place);
                self.reach(place, &mut reached);
            }
        }
        starts
    }

    fn reach(&self, start: usize, reached: &mut BTreeSet<usize>) {
        let mut todo = vec![start];
        while let Some(place) = todo.pop() {
            if reached.insert(place) {
                todo.extend(self.edges.iter().filter(|e| e.from == place).map(|e| e.to));
            }
        }
    }
}
