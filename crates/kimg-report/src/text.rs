//! Text for a terminal: without control characters, wrapped, and coloured where that is wanted.

/// The text without what could move a cursor or end a line: names come out of packages, and packages from anywhere.
pub(crate) fn clean(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

/// Colours, or none.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Paint(pub(crate) bool);

impl Paint {
    fn wrap(self, code: &str, text: &str) -> String {
        if self.0 && !text.is_empty() { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
    }

    /// For heads.
    pub(crate) fn bold(self, text: &str) -> String {
        self.wrap("1", text)
    }

    /// For what must not be overlooked.
    pub(crate) fn loud(self, text: &str) -> String {
        self.wrap("1;33", text)
    }

    /// For bars.
    pub(crate) fn bar(self, text: &str) -> String {
        self.wrap("36", text)
    }
}

/// Breaks text at spaces into lines of at most `width` characters. A longer word stands alone and whole.
pub(crate) fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split(' ').filter(|word| !word.is_empty()) {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

/// Names as a list that doesn't grow: `a, b, c and 4 more`.
pub(crate) fn few(names: &[String], most: usize) -> String {
    match names {
        [] => String::new(),
        _ if names.len() <= most => names.join(", "),
        _ => format!("{} and {} more", names[..most].join(", "), names.len() - most),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escape_sequences_do_not_reach_the_terminal() {
        assert_eq!(clean("a\u{1b}[31mb\nc"), "a\u{fffd}[31mb\u{fffd}c");
    }

    #[test]
    fn lines_break_at_spaces_and_long_words_stay_whole() {
        assert_eq!(wrap("one two three", 8), ["one two", "three"]);
        assert_eq!(wrap("a sha256:0123456789 b", 8), ["a", "sha256:0123456789", "b"]);
        assert!(wrap("", 8).is_empty());
    }

    #[test]
    fn a_list_says_how_many_it_leaves_out() {
        let names = ["a", "b", "c"].map(String::from);
        assert_eq!(few(&names, 3), "a, b, c");
        assert_eq!(few(&names, 2), "a, b and 1 more");
    }
}
