//! A graph in Graphviz's language (graphviz.org, "DOT Language").

use std::fmt::Write as _;

use super::{Graph, NodeKind};

impl Graph {
    /// For `dot -Tsvg` and its kin: one line a node, one line an edge.
    pub fn to_dot(&self) -> String {
        let mut text = String::from(concat!(
            "digraph needs {\n  rankdir=LR;\n",
            "  node [shape=box, style=rounded, fontname=\"monospace\"];\n",
            "  edge [fontname=\"monospace\", fontsize=10];\n",
        ));
        for node in &self.nodes {
            let look = match node.kind {
                NodeKind::Program => "penwidth=2",
                NodeKind::Library => "style=\"rounded\"",
                NodeKind::Loader => "shape=hexagon",
                NodeKind::Script => "shape=note",
                NodeKind::Data => "shape=plain",
                NodeKind::Unresolved => "style=\"rounded,dashed\", color=red, fontcolor=red",
            };
            let note = match &node.note {
                Some(note) => format!(", tooltip={}", quoted(note)),
                None => String::new(),
            };
            let _ = writeln!(text, "  {} [{look}{note}];", quoted(&node.name));
        }
        for edge in &self.edges {
            let (from, to) = (quoted(&self.nodes[edge.from].name), quoted(&self.nodes[edge.to].name));
            let label = match edge.how.as_str() {
                "needed" => edge.asked.as_str(),
                how => how,
            };
            let _ = writeln!(text, "  {from} -> {to} [label={}];", quoted(label));
        }
        text.push_str("}\n");
        text
    }
}

/// A quoted string: only the quote is escaped there. A backslash starts an escape of labels, so it is doubled.
fn quoted(text: &str) -> String {
    format!("\"{}\"", crate::text::clean(text).replace('\\', "\\\\").replace('"', "\\\""))
}
