//! What an ELF file says it loads at run time: the note of type `FDO`/0x407c0c0a that is mostly
//! called `.note.dlopen` (uapi-group, "ELF dlopen Metadata", <https://systemd.io/ELF_DLOPEN_METADATA/>).

use serde::{Deserialize, Serialize};

use super::ElfError;

/// The owner of the note.
pub(super) const OWNER: &[u8] = b"FDO";
/// The type of the note.
pub(super) const TYPE: u32 = 0x407c_0c0a;

/// One library that is loaded at run time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct DlopenNote {
    /// Names of which the first that is found is loaded.
    pub soname: Vec<String>,
    /// A short name of what it is for.
    #[serde(default)]
    pub feature: Option<String>,
    /// The same as a sentence.
    #[serde(default)]
    pub description: Option<String>,
    /// How much it is needed.
    #[serde(default)]
    pub priority: Priority,
}

impl DlopenNote {
    /// What it is for, in the shortest words there are.
    pub fn purpose(&self) -> &str {
        self.feature.as_deref().or(self.description.as_deref()).unwrap_or("")
    }
}

/// How much a library that is loaded at run time is needed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Priority {
    /// Nothing works without it.
    Required,
    /// It belongs to the default installation. What holds when nothing is said.
    #[default]
    Recommended,
    /// Rarely used: not part of a minimal set. Words that the specification does not know yet are taken as this.
    #[serde(other)]
    Suggested,
}

/// Reads the note's value: a zero-terminated JSON array.
pub(super) fn parse(value: &[u8]) -> Result<Vec<DlopenNote>, ElfError> {
    let end = value.iter().position(|b| *b == 0).unwrap_or(value.len());
    serde_json::from_slice(&value[..end])
        .map_err(|e| ElfError::malformed("note .note.dlopen", format!("is not as specified: {e}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_specification_s_own_example_is_read() {
        let text = br#"[{"soname": ["libfoo.so.1"], "feature": "foo", "description": "Enables the foo feature", "priority": "recommended"}]"#;
        let notes = parse(&[&text[..], b"\0\0"].concat()).unwrap();
        assert_eq!((notes[0].soname[0].as_str(), notes[0].priority), ("libfoo.so.1", Priority::Recommended));
    }

    #[test]
    fn a_note_without_a_priority_is_recommended_and_one_of_a_new_kind_is_not_needed() {
        let notes = parse(br#"[{"soname":["a"]},{"soname":["b"],"priority":"fancied"},{"soname":["c"],"priority":"required"}]"#).unwrap();
        let priorities: Vec<_> = notes.iter().map(|n| n.priority).collect();
        assert_eq!(priorities, [Priority::Recommended, Priority::Suggested, Priority::Required]);
        assert!(parse(b"{").is_err());
    }
}
