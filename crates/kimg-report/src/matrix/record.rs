//! The matrix as it is kept beside a README: JSON with the sizes of every file, one file a line, so that what a commit
//! changes can be read in its diff.

use kimg_core::{Classified, ErrorClass};
use serde_json::Value;

use super::SizeMatrix;

/// A text that is no matrix.
#[derive(Debug, thiserror::Error)]
#[error("{name} is no size matrix: {source}")]
pub struct RecordError {
    name: String,
    source: serde_json::Error,
}

impl Classified for RecordError {
    fn class(&self) -> ErrorClass {
        ErrorClass::Malformed
    }

    fn hint(&self) -> Option<String> {
        Some("`kimg matrix --readme README.md` and `kimg matrix --format json` write one".into())
    }
}

impl SizeMatrix {
    /// The matrix as JSON to be kept: of the same images always the same text, and without what it was compared with.
    /// Lists of numbers and words stand on one line. Ends with a line feed.
    pub fn to_record(&self) -> String {
        let mut matrix = Self { since: None, gone: Vec::new(), ..self.clone() };
        matrix.entries.iter_mut().for_each(|entry| entry.before = None);
        // Structs of strings, numbers and lists can always be written: an error would be a mistake in this crate.
        let value = serde_json::to_value(&matrix).unwrap_or_else(|error| unreachable!("{error}"));
        let mut text = String::new();
        write(&value, 0, &mut text);
        text + "\n"
    }

    /// Reads what [`SizeMatrix::to_record`] or `kimg matrix --format json` wrote; `name` is for messages.
    ///
    /// # Errors
    /// A text that is no matrix.
    pub fn from_record(name: &str, text: &str) -> Result<Self, RecordError> {
        serde_json::from_str(text).map_err(|source| RecordError { name: name.to_owned(), source })
    }

    /// What of a kept matrix is no longer true, a line each; empty if all of it is. Layers are told by their digests, so
    /// what is in them need not be known here.
    pub fn differences(&self, kept: &SizeMatrix) -> Vec<String> {
        let named = |entry: &super::MatrixEntry| format!("{} for {}", entry.variant, entry.platform);
        let mut lines = Vec::new();
        for entry in &self.entries {
            let Some(old) = kept.same_image(entry) else {
                lines.push(format!("{}: new", named(entry)));
                continue;
            };
            if (old.compressed, old.extracted) != (entry.compressed, entry.extracted) {
                let change = |was: u64, is: u64| {
                    let sign = if is < was { '−' } else { '+' };
                    format!("{was} → {is} ({sign}{})", is.abs_diff(was))
                };
                lines.push(format!(
                    "{}: {} compressed, {} extracted",
                    named(entry),
                    change(old.compressed, entry.compressed),
                    change(old.extracted, entry.extracted)
                ));
            } else if old.digest != entry.digest {
                lines.push(format!("{}: the same sizes, another image ({})", named(entry), entry.tag));
            } else if old.tag != entry.tag || old.description != entry.description {
                lines.push(format!("{}: another tag or description", named(entry)));
            }
        }
        let gone = kept.entries.iter().filter(|old| self.same_image(old).is_none());
        lines.extend(gone.map(|old| format!("{}: no more there", named(old))));
        lines
    }
}

fn write(value: &Value, depth: usize, text: &mut String) {
    let line = |depth: usize| format!("\n{}", "  ".repeat(depth));
    match value {
        Value::Array(items) if items.iter().any(|item| item.is_array() || item.is_object()) => {
            for (place, item) in items.iter().enumerate() {
                text.push_str(if place == 0 { "[" } else { "," });
                text.push_str(&line(depth + 1));
                write(item, depth + 1, text);
            }
            text.push_str(&line(depth));
            text.push(']');
        }
        Value::Object(members) if !members.is_empty() => {
            for (place, (key, item)) in members.iter().enumerate() {
                text.push_str(if place == 0 { "{" } else { "," });
                text.push_str(&line(depth + 1));
                text.extend([&Value::from(key.as_str()).to_string(), ": "]);
                write(item, depth + 1, text);
            }
            text.push_str(&line(depth));
            text.push('}');
        }
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(ToString::to_string).collect();
            text.extend(["[", &items.join(", "), "]"]);
        }
        other => text.push_str(&other.to_string()),
    }
}
