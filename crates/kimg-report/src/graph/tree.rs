//! A graph as a tree, as `lddtree` draws one.

use std::collections::BTreeSet;

use super::{Edge, Graph, NodeKind};
use crate::outline::{Branch, Outline};
use crate::table::Column;

impl Graph {
    /// For a terminal so many characters wide. Each file is drawn once, where it is met first; right below the start
    /// it is drawn again, with a `↑` where what hangs on it is drawn elsewhere. What is unresolved is drawn everywhere.
    pub fn to_terminal(&self, width: usize, color: bool) -> String {
        let mut drawn = BTreeSet::new();
        let roots = self.starts().into_iter().map(|start| self.branch(start, None, 0, &mut drawn)).collect();
        let mut columns = vec![Column::left("How"), Column::right("Size")];
        if self.nodes.iter().any(|node| node.kind != NodeKind::Unresolved && node.note.is_some()) {
            columns.push(Column::left("Note"));
        }
        Outline { columns, roots }.to_terminal(width, color)
    }

    fn branch(&self, place: usize, by: Option<&Edge>, level: usize, drawn: &mut BTreeSet<usize>) -> Branch {
        let node = &self.nodes[place];
        let again = !drawn.insert(place);
        let mut children = Vec::new();
        for edge in self.edges.iter().filter(|edge| edge.from == place && !again) {
            let is_loud = self.nodes[edge.to].kind == NodeKind::Unresolved;
            if level == 0 || is_loud || !drawn.contains(&edge.to) {
                children.push(self.branch(edge.to, Some(edge), level + 1, drawn));
            }
        }
        let mut name = match by {
            Some(edge) if !is_named_so(&node.name, &edge.asked) => format!("{} → {}", edge.asked, node.name),
            _ => node.name.clone(),
        };
        if again && self.edges.iter().any(|edge| edge.from == place) {
            name.push_str(" ↑");
        }
        let how = match by {
            Some(edge) if edge.how == "needed" => String::new(),
            Some(edge) => edge.how.clone(),
            None => node.kind.name().to_owned(),
        };
        let loud = (node.kind == NodeKind::Unresolved).then(|| match &node.note {
            Some(note) => format!("✗ unresolved: {note}"),
            None => "✗ unresolved".to_owned(),
        });
        let size = node.size.map(crate::size).unwrap_or_default();
        Branch { name, cells: vec![how, size, node.note.clone().unwrap_or_default()], loud, children }
    }
}

/// Whether the name says it already: the path itself, or its last part.
fn is_named_so(name: &str, asked: &str) -> bool {
    asked.is_empty() || name == asked || name.rsplit('/').next() == Some(asked)
}
