//! The text of an index, `APKINDEX`: records parted by an empty line, one letter a field.
//!
//! Not here: the archive and the signature around it. The letters are those of apk-package(5).

use kimg_core::{Classified, ErrorClass};

use crate::Limits;
use crate::dependency::{DependencyError, IdentityError};
use crate::record::Record;
use crate::version::{Version, VersionError};

/// The packages of one repository for one architecture.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Index {
    /// What the repository says of itself (`DESCRIPTION`), such as `v3.19.1-130-g…`; empty when nothing.
    pub description: String,
    /// Its packages, in the order of the index.
    pub packages: Vec<Record>,
    /// Records that can't be used, and why. One odd package must not cost the whole repository.
    pub unusable: Vec<Unusable>,
}

/// A record whose version, dependency or provide can't be read. apk lists such a package and never installs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unusable {
    /// The package's name.
    pub name: String,
    /// Its version, as written.
    pub version: String,
    /// The line that can't be read, from 1.
    pub line: usize,
    /// What is wrong with it.
    pub reason: String,
}

impl Index {
    /// Reads the text of an `APKINDEX`. `description` stays empty: it stands in a file of its own.
    ///
    /// Unknown letters are kept. A record with a dependency, provide or version that can't be read goes to
    /// [`unusable`](Self::unusable).
    ///
    /// # Errors
    /// Bytes beyond `limits.index_size`; a line that is no field; a record without name or version, or with a
    /// number, an identity or a single-valued field that can't be meant; a name that could lead a path elsewhere.
    pub fn parse(text: &[u8], limits: &Limits) -> Result<Index, IndexError> {
        if text.len() as u64 > limits.index_size {
            return Err(IndexError::TooLarge { size: text.len() as u64, limit: limits.index_size });
        }
        let mut index = Index::default();
        let mut draft = Draft::default();
        for (number, line) in text.split(|byte| *byte == b'\n').enumerate() {
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            if line.is_empty() {
                std::mem::take(&mut draft).finish(&mut index)?;
                continue;
            }
            draft.line(number + 1, &String::from_utf8_lossy(line))?;
        }
        draft.finish(&mut index)?;
        Ok(index)
    }
}

/// A record on its way: what has been read of it.
#[derive(Default)]
struct Draft {
    /// The line it begins at; 0 while nothing has been read.
    first_line: usize,
    name: Option<String>,
    /// The version as written, and its line.
    version: Option<(String, usize)>,
    /// The single-valued fields read so far.
    seen: String,
    record: Option<Record>,
    unusable: Option<(usize, String)>,
}

impl Draft {
    fn line(&mut self, number: usize, line: &str) -> Result<(), IndexError> {
        let (letter, value) = split_field(line)
            .ok_or_else(|| IndexError::NotAField { line: number, found: line.chars().take(60).collect() })?;
        if self.first_line == 0 {
            self.first_line = number;
        }
        if "PVACSITULomtckq".contains(letter) {
            if self.seen.contains(letter) {
                return Err(IndexError::Twice { line: number, letter });
            }
            self.seen.push(letter);
        }
        let bad = |problem| IndexError::Field { line: number, letter, problem };
        let number_field = || value.parse().map_err(|_| bad(FieldProblem::Number(value.to_owned())));
        let text = || Some(value.to_owned()).filter(|text| !text.is_empty());
        let record = self.record.get_or_insert_with(empty);
        match letter {
            'P' => {
                check_file_name(value).map_err(bad)?;
                self.name = Some(value.to_owned());
            }
            'V' => {
                check_file_name(value).map_err(bad)?;
                self.version = Some((value.to_owned(), number));
            }
            'A' => value.clone_into(&mut record.arch),
            'C' => {
                record.identity = Some(value.parse().map_err(|source| bad(FieldProblem::Identity(source)))?);
            }
            'S' => record.size = number_field()?,
            'I' => record.installed_size = number_field()?,
            'T' => value.clone_into(&mut record.description),
            'U' => value.clone_into(&mut record.url),
            'L' => value.clone_into(&mut record.license),
            'o' => record.origin = text(),
            'm' => record.maintainer = text(),
            't' => record.build_time = Some(number_field()?),
            'c' => record.commit = text(),
            'k' => record.provider_priority = priority(value).map_err(bad)?,
            'q' => record.replaces_priority = priority(value).map_err(bad)?,
            'D' => self.list(number, value, |record| &mut record.depends),
            'i' => self.list(number, value, |record| &mut record.install_if),
            'r' => self.list(number, value, |record| &mut record.replaces),
            'p' => self.list(number, value, |record| &mut record.provides),
            _ => record.unknown.push((letter, value.to_owned())),
        }
        Ok(())
    }

    /// Adds the blank-separated items of `value` to a list of the record.
    fn list<T>(&mut self, line: usize, value: &str, list: impl Fn(&mut Record) -> &mut Vec<T>)
    where
        T: std::str::FromStr<Err = DependencyError> + Taggable,
    {
        let target = list(self.record.get_or_insert_with(empty));
        target.reserve(value.bytes().filter(|byte| *byte == b' ').count() + 1);
        for item in value.split_ascii_whitespace() {
            match item.parse::<T>() {
                Ok(item_read) if item_read.tagged() => {
                    let reason = format!("`{item}` names a repository by tag, which only a wish can");
                    self.unusable.get_or_insert((line, reason));
                }
                Ok(item_read) => target.push(item_read),
                Err(error) => {
                    self.unusable.get_or_insert((line, error.to_string()));
                }
            }
        }
    }

    /// Puts the record into the index.
    fn finish(self, index: &mut Index) -> Result<(), IndexError> {
        let Some(mut record) = self.record else { return Ok(()) };
        let missing = |letter| IndexError::Missing { line: self.first_line, letter };
        let name = self.name.ok_or_else(|| missing('P'))?;
        let (version, version_line) = self.version.ok_or_else(|| missing('V'))?;
        let unusable = |version, line, reason| Unusable { name: name.clone(), version, line, reason };
        match (version.parse(), self.unusable) {
            (Ok(_), Some((line, reason))) => index.unusable.push(unusable(version, line, reason)),
            (Err(error), _) => {
                let error: VersionError = error;
                index.unusable.push(unusable(version, version_line, error.to_string()));
            }
            (Ok(version), None) => {
                record.name = name;
                record.version = version;
                index.packages.push(record);
            }
        }
        Ok(())
    }
}

/// Items of a list that may or may not carry a tag.
trait Taggable {
    fn tagged(&self) -> bool;
}

impl Taggable for crate::Dependency {
    fn tagged(&self) -> bool {
        self.tag.is_some()
    }
}

impl Taggable for crate::Provide {
    fn tagged(&self) -> bool {
        false
    }
}

fn split_field(line: &str) -> Option<(char, &str)> {
    let (letter, value) = line.split_once(':')?;
    let mut letters = letter.chars();
    letters
        .next()
        .filter(|letter| letter.is_ascii_alphanumeric() && letters.next().is_none())
        .map(|l| (l, value))
}

fn empty() -> Record {
    Record::new(String::new(), Version::unread())
}

/// apk's priorities are unsigned; what is too large for one counts as the largest.
fn priority(value: &str) -> Result<u32, FieldProblem> {
    let number: u64 = value.parse().map_err(|_| FieldProblem::Number(value.to_owned()))?;
    Ok(u32::try_from(number).unwrap_or(u32::MAX))
}

/// Name and version together make a file name: nothing in them may lead to another folder.
fn check_file_name(text: &str) -> Result<(), FieldProblem> {
    let plain = |byte: u8| byte.is_ascii_graphic() && byte != b'/' && byte != b'\\';
    if text.is_empty()
        || text.starts_with('.') && text.trim_matches('.').is_empty()
        || !text.bytes().all(plain)
    {
        return Err(FieldProblem::FileName(text.chars().take(100).collect()));
    }
    Ok(())
}

/// Why a text is no index.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IndexError {
    /// More bytes than allowed.
    #[error("the index holds {size} bytes, at most {limit} are allowed")]
    TooLarge {
        /// Bytes found.
        size: u64,
        /// Bytes allowed.
        limit: u64,
    },
    /// A line that is not a letter, a colon and a value.
    #[error("line {line} of the index: expected a letter, a colon and a value, found `{}`", found.escape_debug())]
    NotAField {
        /// The line, from 1.
        line: usize,
        /// What stands there, cut short.
        found: String,
    },
    /// A field whose value can't be read.
    #[error("line {line} of the index, field {letter}: {problem}")]
    Field {
        /// The line, from 1.
        line: usize,
        /// The field.
        letter: char,
        /// What is wrong with the value.
        problem: FieldProblem,
    },
    /// A field twice in one record that can only be there once.
    #[error("line {line} of the index: field {letter} for the second time in one record")]
    Twice {
        /// The line, from 1.
        line: usize,
        /// The field.
        letter: char,
    },
    /// A record without name or version.
    #[error("the record from line {line} of the index on has no field {letter}")]
    Missing {
        /// The record's first line, from 1.
        line: usize,
        /// The field.
        letter: char,
    },
}

/// What is wrong with the value of a field.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FieldProblem {
    /// Not a number.
    #[error("expected a number, found `{}`", .0.escape_debug())]
    Number(String),
    /// Not an identity.
    #[error(transparent)]
    Identity(IdentityError),
    /// Not fit for a file name.
    #[error("`{}` can't be part of a file name", .0.escape_debug())]
    FileName(String),
}

impl Classified for IndexError {
    fn class(&self) -> ErrorClass {
        match self {
            Self::TooLarge { .. } => ErrorClass::Limit,
            _ => ErrorClass::Malformed,
        }
    }
}
