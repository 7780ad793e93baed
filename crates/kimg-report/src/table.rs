//! Rows and columns, for a terminal, Markdown, CSV and JSON.

use comfy_table::{CellAlignment, ContentArrangement};
use serde_json::{Map, Value};

use crate::Format;
use crate::text::{Paint, clean};

/// On which side the cells of a column stand.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Align {
    /// Words.
    #[default]
    Left,
    /// Numbers.
    Right,
}

/// A column: its head and on which side its cells stand.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Column {
    /// What stands above it.
    pub head: String,
    /// On which side its cells stand.
    pub align: Align,
}

impl Column {
    /// A column of words.
    pub fn left(head: impl Into<String>) -> Self {
        Self { head: head.into(), align: Align::Left }
    }

    /// A column of numbers.
    pub fn right(head: impl Into<String>) -> Self {
        Self { head: head.into(), align: Align::Right }
    }
}

/// A table of text. Rows may be shorter than the head: what is missing is empty.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Table {
    columns: Vec<Column>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table without rows.
    pub fn new(columns: impl IntoIterator<Item = Column>) -> Self {
        Self { columns: columns.into_iter().collect(), rows: Vec::new() }
    }

    /// Adds a row. Cells that no column is there for are dropped.
    pub fn row<S: Into<String>>(&mut self, cells: impl IntoIterator<Item = S>) -> &mut Self {
        let mut row: Vec<String> = cells.into_iter().map(Into::into).take(self.columns.len()).collect();
        row.resize(self.columns.len(), String::new());
        self.rows.push(row);
        self
    }

    /// The table with one more column. Rows that no cell is given for get an empty one.
    pub fn with_column<S: Into<String>>(
        mut self,
        column: Column,
        cells: impl IntoIterator<Item = S>,
    ) -> Self {
        self.columns.push(column);
        let mut cells = cells.into_iter();
        for row in &mut self.rows {
            row.push(cells.next().map(Into::into).unwrap_or_default());
        }
        self
    }

    /// The number of rows below the head.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there is no row below the head.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The table in a format; for a terminal of 100 columns without colours.
    pub fn render(&self, format: Format) -> String {
        match format {
            Format::Table => self.to_terminal(100, false),
            Format::Markdown => self.to_markdown(),
            Format::Csv => self.to_csv(),
            Format::Json => format!("{:#}\n", Value::Array(self.to_json())),
        }
    }

    /// For a terminal so many characters wide: columns without lines between them, a space before each line.
    ///
    /// What is too wide is broken within its cell. With `color` the head is bold.
    pub fn to_terminal(&self, width: usize, color: bool) -> String {
        let mut table = comfy_table::Table::new();
        table.load_style(comfy_table::presets::NOTHING);
        table.set_content_arrangement(ContentArrangement::Dynamic);
        table.set_width(u16::try_from(width.max(20)).unwrap_or(u16::MAX));
        table.set_header(self.columns.iter().map(|column| clean(&column.head)));
        table.add_rows(self.rows.iter().map(|row| row.iter().map(|cell| clean(cell))));
        for (column, drawn) in self.columns.iter().zip(table.column_iter_mut()) {
            drawn.set_padding((1, 2));
            drawn.set_cell_alignment(match column.align {
                Align::Left => CellAlignment::Left,
                Align::Right => CellAlignment::Right,
            });
        }
        let heads_are_whole = self.natural_width() <= width;
        let paint = Paint(color && heads_are_whole);
        let mut text = String::new();
        for (number, line) in table.lines().enumerate() {
            let line = line.trim_end();
            text.push_str(&if number == 0 { paint.bold(line) } else { line.to_owned() });
            text.push('\n');
        }
        text
    }

    /// How wide it is on a terminal when nothing is broken, with the space around each cell.
    pub(crate) fn natural_width(&self) -> usize {
        let widest = |index: usize, column: &Column| {
            let cells = self.rows.iter().map(|row| row[index].chars().count());
            cells.chain([column.head.chars().count()]).max().unwrap_or(0) + 3
        };
        self.columns.iter().enumerate().map(|(index, column)| widest(index, column)).sum()
    }

    /// A table of GitHub's Markdown. What would end a cell is escaped.
    pub fn to_markdown(&self) -> String {
        let line = |cells: &mut dyn Iterator<Item = String>| {
            let cells: Vec<String> = cells.collect();
            format!("| {} |\n", cells.join(" | "))
        };
        let mut text = line(&mut self.columns.iter().map(|column| markdown_cell(&column.head)));
        text.push_str(&line(&mut self.columns.iter().map(|column| match column.align {
            Align::Left => "---".to_owned(),
            Align::Right => "---:".to_owned(),
        })));
        for row in &self.rows {
            text.push_str(&line(&mut row.iter().map(|cell| markdown_cell(cell))));
        }
        text
    }

    /// Comma-separated values (RFC 4180, but with line feeds), the heads in the first line.
    pub fn to_csv(&self) -> String {
        let heads: Vec<String> = self.columns.iter().map(|column| column.head.clone()).collect();
        let lines = [&heads].into_iter().chain(&self.rows).map(|row| {
            let cells: Vec<String> = row.iter().map(|cell| csv_cell(cell)).collect();
            cells.join(",") + "\n"
        });
        lines.collect()
    }

    /// The rows as JSON objects, each cell a string under its column's head.
    pub fn to_json(&self) -> Vec<Value> {
        let object = |row: &Vec<String>| {
            let pairs =
                self.columns.iter().zip(row).map(|(c, cell)| (c.head.clone(), Value::from(cell.clone())));
            Value::Object(pairs.collect::<Map<_, _>>())
        };
        self.rows.iter().map(object).collect()
    }
}

fn markdown_cell(text: &str) -> String {
    clean(&text.replace(['\n', '\r'], " ")).replace('\\', "\\\\").replace('|', "\\|").replace('<', "&lt;")
}

fn csv_cell(text: &str) -> String {
    if text.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn table() -> Table {
        let mut table = Table::new([Column::left("path"), Column::right("size"), Column::left("from")]);
        table.row(["/usr/bin/kubelet", "67.1 MB", "kubelet-1.20.2-r0"]);
        table.row(["/bin/mount", "42.1 kB", "util-linux-2.38.1-r0"]);
        table.row(["/a,\"b\"|c"]);
        table
    }

    #[test]
    fn a_terminal_shows_columns_without_lines() {
        insta::assert_snapshot!(table().to_terminal(80, false));
    }

    #[test]
    fn a_narrow_terminal_breaks_cells_and_is_kept_to() {
        let text = table().to_terminal(40, false);
        assert!(text.lines().all(|line| line.chars().count() <= 40), "{text}");
        insta::assert_snapshot!(text);
    }

    #[test]
    fn colour_makes_the_head_bold_and_moves_nothing() {
        let (plain, coloured) = (table().to_terminal(80, false), table().to_terminal(80, true));
        assert!(coloured.starts_with("\u{1b}[1m"));
        assert_eq!(coloured.replace("\u{1b}[1m", "").replace("\u{1b}[0m", ""), plain);
    }

    #[test]
    fn markdown_escapes_what_would_end_a_cell() {
        insta::assert_snapshot!(table().to_markdown());
    }

    #[test]
    fn csv_quotes_commas_and_quotes() {
        insta::assert_snapshot!(table().to_csv());
    }

    #[test]
    fn json_names_each_cell_by_its_column() {
        insta::assert_snapshot!(table().render(Format::Json));
    }

    proptest! {
        #[test]
        fn whatever_is_in_a_cell_csv_and_markdown_keep_their_shape(cell in "\\PC{0,20}[\n\r,\"|\\\\]?\\PC{0,20}") {
            let mut table = Table::new([Column::left("a"), Column::left("b")]);
            table.row([cell.clone(), "end".into()]);
            prop_assert_eq!(table.to_markdown().lines().count(), 3);
            // Read back by the rule of RFC 4180.
            let csv = table.to_csv();
            let body = csv.strip_prefix("a,b\n").unwrap().strip_suffix(",end\n").unwrap();
            let read = match body.strip_prefix('"') {
                Some(quoted) => quoted.strip_suffix('"').unwrap().replace("\"\"", "\""),
                None => body.to_owned(),
            };
            prop_assert_eq!(read, cell);
        }
    }
}
