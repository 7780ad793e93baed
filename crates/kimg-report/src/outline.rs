//! Trees on a terminal: branches drawn in front of names, and columns beside them.

use crate::table::{Align, Column};
use crate::text::{Paint, clean};

/// One line of a tree, and what hangs on it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Branch {
    /// What stands behind the drawn branches.
    pub(crate) name: String,
    /// What stands in the columns beside it. May be fewer than there are columns.
    pub(crate) cells: Vec<String>,
    /// Something that must not be overlooked: stands right behind the name, in the place of the columns.
    pub(crate) loud: Option<String>,
    /// What hangs on it.
    pub(crate) children: Vec<Branch>,
}

/// A tree, or several below each other, with columns beside the names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Outline {
    pub(crate) columns: Vec<Column>,
    pub(crate) roots: Vec<Branch>,
}

/// What stands between columns.
const GAP: usize = 2;
/// A name is cut to this before other columns lose much.
const LONG_NAME: usize = 48;
/// A name is never cut shorter than this.
const SHORTEST_NAME: usize = 24;

/// A line before the columns are known.
struct Line<'a> {
    branches: String,
    name: String,
    branch: &'a Branch,
}

impl Outline {
    /// For a terminal so many characters wide: a space before each line; what is too wide is cut, names in their middle.
    pub(crate) fn to_terminal(&self, width: usize, color: bool) -> String {
        let mut lines = Vec::new();
        for root in &self.roots {
            lines.push(Line { branches: String::new(), name: clean(&root.name), branch: root });
            below(root, "", &mut lines);
        }
        let widths = self.widths(&lines, width.max(40) - 1);
        let paint = Paint(color);
        let mut text = String::new();
        for line in &lines {
            let told = match &line.branch.loud {
                Some(loud) => line.loud(loud, width.max(40) - 1, paint),
                None => self.line(line, &widths, paint),
            };
            text.extend([" ", told.trim_end(), "\n"]);
        }
        text
    }

    fn line(&self, line: &Line<'_>, widths: &[usize], paint: Paint) -> String {
        let drawn = line.branches.chars().count();
        let name = cut_in_the_middle(&line.name, widths[0].saturating_sub(drawn).max(8));
        let space = " ".repeat(widths[0].saturating_sub(drawn + name.chars().count()));
        let name = if drawn == 0 { paint.bold(&name) } else { name };
        let mut text = format!("{}{name}{space}", line.branches);
        for ((column, cell), width) in self.columns.iter().zip(&line.branch.cells).zip(&widths[1..]) {
            let cell = cut_at_the_end(&clean(cell), *width);
            let space = " ".repeat(width - cell.chars().count());
            text.push_str(&" ".repeat(GAP));
            match column.align {
                Align::Left => text.extend([cell, space]),
                Align::Right => text.extend([space, cell]),
            }
        }
        text
    }

    /// How wide the names and each column get. The last column gives way first, then names, then columns of words.
    fn widths(&self, lines: &[Line<'_>], whole: usize) -> Vec<usize> {
        let names = lines.iter().map(|l| l.branches.chars().count() + l.name.chars().count()).max();
        let mut widths = vec![names.unwrap_or(0)];
        widths.extend((0..self.columns.len()).map(|index| {
            let cells = lines.iter().filter_map(|l| l.branch.cells.get(index));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        }));
        let gaps = GAP * self.columns.len();
        let over = |widths: &[usize]| (widths.iter().sum::<usize>() + gaps).saturating_sub(whole);
        let last = self.columns.len();
        let words: Vec<usize> =
            (1..last).rev().filter(|&column| self.columns[column - 1].align == Align::Left).collect();
        // First everything gives way a little, then as much as it can.
        let steps = [(LONG_NAME, 20, 28), (SHORTEST_NAME, 8, 12)];
        let shrink = steps.iter().flat_map(|&(names, others, last_one)| {
            let words = words.iter().map(move |&column| (column, others));
            [(last, last_one), (0, names)].into_iter().chain(words)
        });
        for (column, shortest) in shrink {
            let shortest = widths[column].min(shortest);
            widths[column] = widths[column].saturating_sub(over(&widths)).max(shortest);
        }
        widths
    }
}

impl Line<'_> {
    fn loud(&self, loud: &str, width: usize, paint: Paint) -> String {
        let room = width.saturating_sub(self.branches.chars().count());
        let sentence = cut_at_the_end(&format!("{}  {}", self.name, clean(loud)), room);
        format!("{}{}", self.branches, paint.loud(&sentence))
    }
}

fn below<'a>(branch: &'a Branch, branches: &str, lines: &mut Vec<Line<'a>>) {
    for (index, child) in branch.children.iter().enumerate() {
        let last = index + 1 == branch.children.len();
        let (own, further) = if last { ("└─ ", "   ") } else { ("├─ ", "│  ") };
        lines.push(Line { branches: format!("{branches}{own}"), name: clean(&child.name), branch: child });
        below(child, &format!("{branches}{further}"), lines);
    }
}

/// The beginning and the end of a name: the end has the version.
pub(crate) fn cut_in_the_middle(name: &str, width: usize) -> String {
    let length = name.chars().count();
    if length <= width {
        return name.to_owned();
    }
    let end = (width - 1) / 2;
    let start = width - 1 - end;
    name.chars().take(start).chain(['…']).chain(name.chars().skip(length - end)).collect()
}

fn cut_at_the_end(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    text.chars().take(width.saturating_sub(1)).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn branch(name: &str, cells: &[&str], children: Vec<Branch>) -> Branch {
        let cells = cells.iter().map(|&c| c.to_owned()).collect();
        Branch { name: name.into(), cells, loud: None, children }
    }

    fn outline() -> Outline {
        let libraries = vec![
            branch(
                "libxtables.so.12.4.0",
                &["93.6 kB", "libxtables-1.8.9-r2", "is needed by iptables"],
                vec![],
            ),
            branch("ld-musl-armhf.so.1", &["401.2 kB", "musl-1.2.2-r8", "is the loader"], vec![]),
        ];
        let lib = branch("lib", &["494.8 kB"], libraries);
        let bin = branch("bin", &["0 B"], vec![branch("sh → busybox", &["", "busybox-1.34.1-r7"], vec![])]);
        Outline {
            columns: vec![Column::right("Size"), Column::left("From"), Column::left("Why")],
            roots: vec![branch("/", &["494.8 kB"], vec![bin, lib])],
        }
    }

    #[test]
    fn a_tree_has_its_columns_beside_it() {
        insta::assert_snapshot!(outline().to_terminal(100, false));
    }

    #[test]
    fn a_narrow_terminal_is_kept_to() {
        let text = outline().to_terminal(60, false);
        assert!(text.lines().all(|line| line.chars().count() <= 60), "{text}");
        insta::assert_snapshot!(text);
    }

    #[test]
    fn a_cut_name_keeps_its_beginning_and_its_end() {
        assert_eq!(cut_in_the_middle("libcrypto.so.1.1", 10), "libcr….1.1");
        assert_eq!(cut_in_the_middle("short", 10), "short");
    }
}
