//! Words of YAML files.

/// A text as a YAML scalar that every reader takes for this text: plain where nothing else could be meant, else in
/// double quotes, as JSON has them (YAML 1.2, 1.3: JSON is a part of it).
pub(crate) fn scalar(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=".contains(c);
    let begins = text.chars().next().is_some_and(|c| c.is_ascii_alphabetic() || c == '/');
    // Words that mean true, false or nothing to YAML 1.1, which is what most programs read.
    let words = ["y", "n", "yes", "no", "on", "off", "true", "false", "null"];
    let is_word = words.contains(&text.to_ascii_lowercase().as_str());
    if begins && text.chars().all(plain) && !is_word && !text.ends_with(':') {
        text.to_owned()
    } else {
        // A string can always be written as JSON.
        serde_json::to_string(text).unwrap_or_else(|error| unreachable!("{error}"))
    }
}

/// The text with so many spaces before each line that is not empty.
pub(crate) fn indented(text: &str, spaces: usize) -> String {
    let mut out = String::new();
    for line in text.lines() {
        if !line.is_empty() {
            out.push_str(&" ".repeat(spaces));
        }
        out.push_str(line);
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_can_mean_nothing_else_stays_plain() {
        assert_eq!(scalar("/usr/bin/kubelet"), "/usr/bin/kubelet");
        assert_eq!(scalar("ghcr.io/acme/kubelet:v1.20.2"), "ghcr.io/acme/kubelet:v1.20.2");
        for text in ["", "yes", "1.20", "--config=x", "a: b", "a #b", "Null", "a:", "~", "{a}"] {
            assert_eq!(scalar(text), serde_json::to_string(text).unwrap(), "{text}");
        }
    }
}
