//! What comes with a program though no ELF header says so: rules as data, `rules/*.toml`.
//!
//! ```toml
//! [[rule]]
//! name = "resolver"                                # the name under which another file can replace it
//! program = ["mount.nfs*", "/usr/bin/showmount"]   # a file's own name, or with a slash its whole path
//! files = ["/etc/netconfig"]                       # paths; `*`, `**`, `?`, `[…]` and `{a,b}` as shells have them
//! required = false                                 # true: each of `files` must lead to at least one file
//! reason = "the RPC library reads its transports there"
//! source = "https://…"
//! ```
//!
//! A program is matched by the path it really has, links followed: whatever link starts it, the rule holds.
//! A rule of the same name in a later file replaces the earlier one; with `files = []` it is switched off.

mod apply;

use std::collections::BTreeMap;

use globset::{Glob, GlobBuilder, GlobMatcher};
use kimg_core::{Classified, ErrorClass, ImagePath};
use serde::Deserialize;

/// The rules compiled in, each by the name of its file.
const BUILTIN: [(&str, &str); 3] = [
    ("rules/iptables.toml", include_str!("../rules/iptables.toml")),
    ("rules/kubernetes.toml", include_str!("../rules/kubernetes.toml")),
    ("rules/programs.toml", include_str!("../rules/programs.toml")),
];

/// A set of rules, each by its name.
#[derive(Debug, Clone, Default)]
pub struct Rules {
    rules: BTreeMap<String, Rule>,
}

/// One rule.
#[derive(Debug, Clone)]
pub struct Rule {
    name: String,
    program: Vec<Matcher>,
    files: Vec<Pattern>,
    required: bool,
    reason: String,
    source: Option<String>,
}

#[derive(Debug, Clone)]
struct Matcher {
    glob: GlobMatcher,
    whole_path: bool,
}

/// Paths of an image, with wildcards or without.
#[derive(Debug, Clone)]
struct Pattern {
    /// As written.
    text: String,
    /// The folder above the first wildcard; without wildcards the path itself.
    folder: ImagePath,
    /// What paths below the folder must look like, if there is a wildcard.
    rest: Option<GlobMatcher>,
}

/// Why a file of rules is not one.
#[derive(Debug, thiserror::Error)]
pub enum RuleError {
    /// It is not TOML, or not of this form.
    #[error("rules `{name}`")]
    Toml {
        /// The file.
        name: String,
        /// What is wrong with it, with the line.
        #[source]
        source: Box<toml::de::Error>,
    },
    /// A rule that can't be meant.
    #[error("rules `{name}`: rule `{rule}`: {problem}")]
    Invalid {
        /// The file.
        name: String,
        /// The rule.
        rule: String,
        /// What is wrong with it.
        problem: String,
    },
}

impl Classified for RuleError {
    fn class(&self) -> ErrorClass {
        ErrorClass::Usage
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct WrittenFile {
    #[serde(default, rename = "rule")]
    rules: Vec<Written>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Written {
    name: String,
    program: Vec<String>,
    files: Vec<String>,
    #[serde(default)]
    required: bool,
    reason: String,
    source: Option<String>,
}

impl Rules {
    /// No rules: only what ELF headers, links and `#!` lines say.
    pub fn none() -> Self {
        Self::default()
    }

    /// The rules compiled in.
    #[expect(clippy::missing_panics_doc, reason = "a test reads what is compiled in")]
    pub fn builtin() -> Self {
        let mut all = Self::none();
        for (name, text) in BUILTIN {
            all.extend(Self::parse(name, text).expect("the rules compiled in are read by a test"));
        }
        all
    }

    /// Reads a file of rules; `name` is only for messages.
    ///
    /// # Errors
    /// When it is not TOML of the form above, when a pattern is none, or when a name is there twice.
    pub fn parse(name: &str, text: &str) -> Result<Self, RuleError> {
        let file: WrittenFile = toml::from_str(text)
            .map_err(|source| RuleError::Toml { name: name.to_owned(), source: Box::new(source) })?;
        let mut rules = BTreeMap::new();
        for written in file.rules {
            let rule = written.name.clone();
            let invalid = |problem| RuleError::Invalid { name: name.to_owned(), rule: rule.clone(), problem };
            let checked = Rule::check(written).map_err(invalid)?;
            if rules.insert(rule.clone(), checked).is_some() {
                return Err(invalid("is there twice".to_owned()));
            }
        }
        Ok(Self { rules })
    }

    /// Takes the other's rules in; of two with one name the other's counts.
    pub fn extend(&mut self, other: Self) {
        self.rules.extend(other.rules);
    }

    /// All rules, by name.
    pub fn iter(&self) -> impl Iterator<Item = &Rule> {
        self.rules.values()
    }

    /// The rules that hold for a file, by name.
    fn of<'a>(&'a self, path: &'a ImagePath) -> impl Iterator<Item = &'a Rule> {
        self.iter().filter(move |rule| rule.holds_for(path))
    }
}

impl Rule {
    fn check(written: Written) -> Result<Self, String> {
        for (what, text) in [("name", &written.name), ("reason", &written.reason)] {
            if text.trim().is_empty() || text.contains('\n') {
                return Err(format!("`{what}` is not one line of words"));
            }
        }
        if written.program.is_empty() {
            return Err("`program` is empty: it would hold for nothing".to_owned());
        }
        Ok(Self {
            name: written.name,
            program: written.program.iter().map(|p| Matcher::new(p)).collect::<Result<_, _>>()?,
            files: written.files.iter().map(|f| Pattern::new(f)).collect::<Result<_, _>>()?,
            required: written.required,
            reason: written.reason,
            source: written.source,
        })
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Why the files come with the program, as half a sentence.
    pub fn reason(&self) -> &str {
        &self.reason
    }

    /// Where that is written.
    pub fn source(&self) -> Option<&str> {
        self.source.as_deref()
    }

    /// Whether each of its files must be there.
    pub fn required(&self) -> bool {
        self.required
    }

    /// The patterns of its files, as written.
    pub fn files(&self) -> impl Iterator<Item = &str> {
        self.files.iter().map(|f| f.text.as_str())
    }

    fn patterns(&self) -> &[Pattern] {
        &self.files
    }

    fn holds_for(&self, path: &ImagePath) -> bool {
        let name = path.file_name().unwrap_or_default();
        self.program.iter().any(|m| m.glob.is_match(if m.whole_path { path.as_str() } else { name }))
    }
}

impl Matcher {
    fn new(text: &str) -> Result<Self, String> {
        let whole_path = text.contains('/');
        if text.is_empty() || (whole_path && !text.starts_with('/')) {
            return Err(format!("program `{text}` is neither a name nor an absolute path"));
        }
        Ok(Self { glob: glob(text)?.compile_matcher(), whole_path })
    }
}

impl Pattern {
    fn new(text: &str) -> Result<Self, String> {
        let Some(relative) = text.strip_prefix('/') else {
            return Err(format!("file `{text}` is not an absolute path"));
        };
        let path = |text: &str| ImagePath::new(text).map_err(|error| error.to_string());
        let Some(wildcard) = relative.find(['*', '?', '[', '{', '\\']) else {
            return Ok(Self { text: text.to_owned(), folder: path(relative)?, rest: None });
        };
        let (folder, rest) = relative.split_at(relative[..wildcard].rfind('/').map_or(0, |slash| slash + 1));
        Ok(Self { text: text.to_owned(), folder: path(folder)?, rest: Some(glob(rest)?.compile_matcher()) })
    }
}

fn glob(text: &str) -> Result<Glob, String> {
    GlobBuilder::new(text).literal_separator(true).build().map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rules_compiled_in_can_be_read_and_each_says_where_it_is_documented() {
        let rules = Rules::builtin();
        assert!(rules.iter().count() > 5);
        let without: Vec<_> = rules.iter().filter(|r| r.source().is_none()).map(Rule::name).collect();
        assert!(without.is_empty(), "{without:?}");
        let each: usize =
            BUILTIN.iter().map(|(name, text)| Rules::parse(name, text).unwrap().iter().count()).sum();
        assert_eq!(rules.iter().count(), each, "two of the files compiled in have a rule of one name");
    }

    #[test]
    fn a_rule_of_the_same_name_replaces_the_earlier_one() {
        let one = "[[rule]]\nname = 'a'\nprogram = ['p*']\nfiles = ['/x']\nreason = 'r'\n";
        let mut rules = Rules::parse("one", one).unwrap();
        let path = ImagePath::new("/bin/prog").unwrap();
        assert_eq!(rules.of(&path).flat_map(Rule::files).collect::<Vec<_>>(), ["/x"]);
        rules.extend(Rules::parse("two", &one.replace("['/x']", "[]")).unwrap());
        assert_eq!(rules.of(&path).flat_map(Rule::files).count(), 0);
    }

    #[test]
    fn what_can_not_be_meant_is_refused_with_the_name_of_the_rule() {
        let rule = |program: &str, files: &str| {
            let text = format!("[[rule]]\nname = 'a'\nprogram = {program}\nfiles = {files}\nreason = 'r'\n");
            Rules::parse("mine.toml", &text).unwrap_err().to_string()
        };
        assert!(rule("[]", "[]").contains("rules `mine.toml`: rule `a`: `program` is empty"));
        assert!(rule("['bin/x']", "[]").contains("neither a name nor an absolute path"));
        assert!(rule("['x']", "['etc/x']").contains("not an absolute path"));
        assert!(rule("['x']", "['/etc/../x']").contains("`..`"));
        assert!(rule("['x']", "['/etc/[']").contains('['));
        let misspelt = Rules::parse("m", "[[rule]]\nname='a'\nprogramme=[]").unwrap_err();
        assert!(matches!(misspelt, RuleError::Toml { .. }));
    }
}
