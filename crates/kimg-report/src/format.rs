//! The formats that tables come in: `--format table|markdown|json|csv`.

use std::fmt;
use std::str::FromStr;

/// How a table is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Format {
    /// For a terminal.
    #[default]
    Table,
    /// For a README.
    Markdown,
    /// For programs; sizes are bytes.
    Json,
    /// For spreadsheets (RFC 4180 with line feeds); sizes are bytes.
    Csv,
}

/// A text that is no [`Format`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a format: expected table, markdown, json or csv")]
pub struct FormatError(String);

impl Format {
    /// All of them, in the order in which help lists them.
    pub const ALL: [Self; 4] = [Self::Table, Self::Markdown, Self::Json, Self::Csv];

    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Table => "table",
            Self::Markdown => "markdown",
            Self::Json => "json",
            Self::Csv => "csv",
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Format {
    type Err = FormatError;

    fn from_str(text: &str) -> Result<Self, FormatError> {
        Self::ALL.into_iter().find(|f| f.name() == text).ok_or_else(|| FormatError(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_format_is_read_as_it_is_written() {
        for format in Format::ALL {
            assert_eq!(format.to_string().parse(), Ok(format));
        }
        assert_eq!("yaml".parse::<Format>(), Err(FormatError("yaml".into())));
    }
}
