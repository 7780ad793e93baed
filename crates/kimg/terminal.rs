//! What the terminal is, width and colour, and how a table is printed on it.

use std::io::{IsTerminal, Write as _};

use kimg_report::Table;
use serde::Serialize;

use crate::args::Format;
use crate::failure::Failure;

/// Whether standard output takes colours (`NO_COLOR`, `CLICOLOR_FORCE`; else only a terminal does).
pub(crate) fn color_on_stdout() -> bool {
    color(std::io::stdout().is_terminal())
}

/// Whether standard error takes colours.
pub(crate) fn color_on_stderr() -> bool {
    color(std::io::stderr().is_terminal())
}

fn color(terminal: bool) -> bool {
    let value = |name: &str| std::env::var_os(name).filter(|v| !v.is_empty());
    if value("NO_COLOR").is_some() {
        return false;
    }
    if value("CLICOLOR_FORCE").is_some_and(|v| v != "0") {
        return true;
    }
    terminal && value("TERM").is_none_or(|term| term != "dumb")
}

/// The columns to fill: what `COLUMNS` or the terminal says, or 100; between 60 and 160.
pub(crate) fn width() -> usize {
    let said = std::env::var("COLUMNS").ok().and_then(|c| c.parse().ok());
    let measured = || terminal_size::terminal_size().map(|(width, _)| usize::from(width.0));
    said.or_else(measured).unwrap_or(100).clamp(60, 160)
}

/// The columns of long lists: the terminal's, and no bound where lines go to a file or another program.
pub(crate) fn list_width() -> usize {
    if std::io::stdout().is_terminal() { width() } else { 4000 }
}

/// Writes a result to standard output: the table, or as JSON the data it was made from.
pub(crate) fn print(table: &Table, data: &impl Serialize, format: Format) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    match format {
        Format::Table => write!(out, "{}", table.to_terminal(width(), color_on_stdout()))?,
        Format::Markdown => write!(out, "{}", table.to_markdown())?,
        Format::Csv => write!(out, "{}", table.to_csv())?,
        Format::Json => {
            writeln!(out, "{}", serde_json::to_string_pretty(data).map_err(std::io::Error::from)?)?;
        }
    }
    Ok(())
}
