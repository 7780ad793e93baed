//! Puts text between two markers of a README, and leaves every other byte alone.

use std::collections::BTreeSet;

use kimg_core::{Classified, ErrorClass};

/// Stands before the text, on a line of its own.
pub const BEGIN_MARKER: &str = "<!-- kimg:matrix:begin -->";
/// Stands after it, on a line of its own.
pub const END_MARKER: &str = "<!-- kimg:matrix:end -->";

/// Why a text can't be put between markers.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MarkerError {
    /// A marker is not there.
    #[error("the line `{marker}` is missing")]
    Missing {
        /// Which one.
        marker: &'static str,
    },
    /// A marker is there more than once.
    #[error("the line `{marker}` stands on line {first} and again on line {second}")]
    Doubled {
        /// Which one.
        marker: &'static str,
        /// The first line that it stands on, counted from 1.
        first: usize,
        /// The second one.
        second: usize,
    },
    /// The end stands before the begin.
    #[error("`{END_MARKER}` (line {end}) stands before `{BEGIN_MARKER}` (line {begin})")]
    Reversed {
        /// The line of the begin, counted from 1.
        begin: usize,
        /// The line of the end.
        end: usize,
    },
    /// The text holds a marker itself: the next replacement would go wrong.
    #[error("the text to put between the markers holds `{marker}` itself")]
    InText {
        /// Which one.
        marker: &'static str,
    },
}

impl Classified for MarkerError {
    fn class(&self) -> ErrorClass {
        ErrorClass::Usage
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Missing { .. } => Some(format!(
                "put the two lines `{BEGIN_MARKER}` and `{END_MARKER}` where the matrix shall stand"
            )),
            Self::Doubled { .. } | Self::Reversed { .. } => Some("keep one of each, the begin first".into()),
            Self::InText { .. } => None,
        }
    }
}

/// Replaces what stands between [`BEGIN_MARKER`] and [`END_MARKER`] by `text`.
///
/// A marker counts where it is the whole line (spaces around it aside), so that prose may name it. All else
/// stays byte for byte, and doing it twice changes nothing. The lines of `text` get the line ends of the begin
/// marker's line: line feeds, or carriage returns and line feeds.
///
/// ```
/// use kimg_report::replace_between_markers;
///
/// let readme = "# Sizes\n<!-- kimg:matrix:begin -->\nold\n<!-- kimg:matrix:end -->\nmore\n";
/// let new = replace_between_markers(readme, "new")?;
/// assert_eq!(new, "# Sizes\n<!-- kimg:matrix:begin -->\nnew\n<!-- kimg:matrix:end -->\nmore\n");
/// # Ok::<(), kimg_report::MarkerError>(())
/// ```
pub fn replace_between_markers(readme: &str, text: &str) -> Result<String, MarkerError> {
    for marker in [BEGIN_MARKER, END_MARKER] {
        if text.lines().any(|line| line.trim() == marker) {
            return Err(MarkerError::InText { marker });
        }
    }
    let begin = only_line(readme, BEGIN_MARKER)?;
    let end = only_line(readme, END_MARKER)?;
    if end.number < begin.number {
        return Err(MarkerError::Reversed { begin: begin.number, end: end.number });
    }
    let (before, after) = (&readme[..begin.end], &readme[end.start..]);
    let line_end = if before.ends_with("\r\n") { "\r\n" } else { "\n" };
    let mut new = String::with_capacity(readme.len() + text.len());
    new.push_str(before);
    for line in text.lines() {
        new.push_str(line);
        new.push_str(line_end);
    }
    new.push_str(after);
    Ok(new)
}

/// What differs between two texts, for people: lines that only the old one has behind `-`, lines that only the new one
/// has behind `+`, each in its order.
pub fn differing_lines(old: &str, new: &str) -> Vec<String> {
    let only_in = |text: &str, other: &str, sign: char| -> Vec<String> {
        let known: BTreeSet<&str> = other.lines().collect();
        text.lines().filter(|line| !known.contains(line)).map(|line| format!("{sign} {line}")).collect()
    };
    [only_in(old, new, '-'), only_in(new, old, '+')].concat()
}

/// A line of a text: its number from 1, and where it starts and ends, its line end included.
struct Line {
    number: usize,
    start: usize,
    end: usize,
}

/// The one line that is this marker.
fn only_line(readme: &str, marker: &'static str) -> Result<Line, MarkerError> {
    let mut found: Option<Line> = None;
    let mut start = 0;
    for (index, line) in readme.split_inclusive('\n').enumerate() {
        let end = start + line.len();
        if line.trim_start_matches('\u{feff}').trim() == marker {
            if let Some(first) = found {
                return Err(MarkerError::Doubled { marker, first: first.number, second: index + 1 });
            }
            found = Some(Line { number: index + 1, start, end });
        }
        start = end;
    }
    found.ok_or(MarkerError::Missing { marker })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn readme(between: &str) -> String {
        format!("a\n{BEGIN_MARKER}\n{between}{END_MARKER}\nz")
    }

    #[test]
    fn what_stands_between_is_replaced_however_often() {
        let once = replace_between_markers(&readme("old\nolder\n"), "new\n").unwrap();
        assert_eq!(once, readme("new\n"));
        assert_eq!(replace_between_markers(&once, "new\n").unwrap(), once);
        assert_eq!(replace_between_markers(&readme(""), "new").unwrap(), once);
        assert_eq!(replace_between_markers(&once, "").unwrap(), readme(""));
    }

    #[test]
    fn what_differs_is_told_line_by_line() {
        assert_eq!(differing_lines("a\nb\nc\n", "a\nx\nc\ny\n"), ["- b", "+ x", "+ y"]);
        assert!(differing_lines("a\n", "a\n").is_empty());
    }

    #[test]
    fn files_with_carriage_returns_keep_them() {
        let dos = readme("old\n").replace('\n', "\r\n");
        let new = replace_between_markers(&dos, "one\ntwo\n").unwrap();
        assert_eq!(new, readme("one\ntwo\n").replace('\n', "\r\n"));
        assert_eq!(replace_between_markers(&new, "one\r\ntwo").unwrap(), new);
    }

    #[test]
    fn indented_markers_and_a_last_line_without_end_are_found() {
        let text = format!("- list\n  {BEGIN_MARKER}\nold\n  {END_MARKER}");
        let new = replace_between_markers(&text, "new").unwrap();
        assert_eq!(new, format!("- list\n  {BEGIN_MARKER}\nnew\n  {END_MARKER}"));
    }

    #[test]
    fn a_marker_named_in_prose_does_not_count() {
        let text = format!("Put `{BEGIN_MARKER}` somewhere.\n{}", readme("old\n"));
        assert!(replace_between_markers(&text, "new").unwrap().starts_with("Put `<!--"));
    }

    #[test]
    fn missing_doubled_and_reversed_markers_are_told_apart() {
        let error = |text: &str| replace_between_markers(text, "new").unwrap_err();
        assert_eq!(error("nothing\n"), MarkerError::Missing { marker: BEGIN_MARKER });
        assert_eq!(error(&format!("{BEGIN_MARKER}\n")), MarkerError::Missing { marker: END_MARKER });
        assert_eq!(
            error(&format!("{}\n{BEGIN_MARKER}\n", readme(""))),
            MarkerError::Doubled { marker: BEGIN_MARKER, first: 2, second: 5 }
        );
        assert_eq!(
            error(&format!("{END_MARKER}\n\n{BEGIN_MARKER}\n")),
            MarkerError::Reversed { begin: 3, end: 1 }
        );
    }

    #[test]
    fn a_text_that_holds_a_marker_is_refused() {
        let error = replace_between_markers(&readme(""), END_MARKER).unwrap_err();
        assert_eq!(error, MarkerError::InText { marker: END_MARKER });
    }

    proptest! {
        #[test]
        fn all_else_stays_byte_for_byte(before in "\\PC{0,30}(\r?\n\\PC{0,9}){0,3}", after in "(\\PC{0,9}\r?\n){0,3}\\PC{0,30}", text in "(\\PC{0,9}\n){0,3}") {
            let readme = format!("{before}\n{BEGIN_MARKER}\nold\n{END_MARKER}\n{after}");
            let new = replace_between_markers(&readme, &text).unwrap();
            prop_assert_eq!(&new, &format!("{before}\n{BEGIN_MARKER}\n{text}{END_MARKER}\n{after}"));
            prop_assert_eq!(replace_between_markers(&new, &text).unwrap(), new);
        }
    }
}
