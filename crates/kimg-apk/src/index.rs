//! The text of an index, `APKINDEX`: records parted by an empty line, one letter a field.
//!
//! Not here: the archive and the signature around it. The letters are those of apk-package(5).

mod error;

use crate::Limits;
use crate::dependency::DependencyError;
use crate::record::Record;
use crate::version::{Version, VersionError};

pub use error::{FieldProblem, IndexError};

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
    /// Bytes beyond `limits.index_size`, more records or names than allowed; a line that is no field; a record without name or version, or with a
    /// number, an identity or a single-valued field that can't be meant; a name that could lead a path elsewhere.
    pub fn parse(text: &[u8], limits: &Limits) -> Result<Index, IndexError> {
        let mut parser = Parser::new(limits, text.len() as u64);
        parser.feed(text)?;
        parser.finish()
    }
}

/// Reads the text of an index piece by piece: the whole of it is never in memory.
pub(crate) struct Parser {
    index: Index,
    draft: Draft,
    room: Room,
    /// The last line read, from 1.
    line: usize,
    /// The beginning of a line whose end has not been seen.
    begun: Vec<u8>,
    /// Bytes so far, as UTF-8.
    size: u64,
    size_limit: u64,
    packages_limit: usize,
}

impl Parser {
    /// `expected`: about how many bytes will come. It is believed only as far as `limits` allow.
    pub(crate) fn new(limits: &Limits, expected: u64) -> Self {
        let records = usize::try_from(expected.min(limits.index_size)).unwrap_or(0) / USUAL_RECORD;
        let packages = Vec::with_capacity(limits.packages.min(records));
        Self {
            index: Index { packages, ..Index::default() },
            draft: Draft::default(),
            room: Room { limit: limits.relations, left: limits.relations },
            line: 0,
            begun: Vec::new(),
            size: 0,
            size_limit: limits.index_size,
            packages_limit: limits.packages,
        }
    }

    /// Reads on. A piece may end anywhere.
    pub(crate) fn feed(&mut self, mut piece: &[u8]) -> Result<(), IndexError> {
        if !self.begun.is_empty() {
            let end = piece.iter().position(|byte| *byte == b'\n').map_or(piece.len(), |end| end + 1);
            let (line, rest) = piece.split_at(end);
            self.begun.extend_from_slice(line);
            piece = rest;
            if self.begun.ends_with(b"\n") {
                let line = std::mem::take(&mut self.begun);
                self.lines(&line)?;
            } else if self.begun.len() > LONGEST_LINE {
                return Err(self.line_too_long());
            }
        }
        let whole = piece.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        let (lines, begun) = piece.split_at(whole);
        self.begun.extend_from_slice(begun);
        self.lines(lines)
    }

    /// The index, when the text has come to its end.
    pub(crate) fn finish(mut self) -> Result<Index, IndexError> {
        let last = std::mem::take(&mut self.begun);
        self.lines(&last)?;
        self.draft.finish(&mut self.index)?;
        self.index.packages.shrink_to_fit();
        Ok(self.index)
    }

    /// Reads whole lines.
    fn lines(&mut self, bytes: &[u8]) -> Result<(), IndexError> {
        // All bytes at once: line by line it would take several times as long.
        let text = String::from_utf8_lossy(bytes);
        self.size += text.len() as u64;
        if self.size > self.size_limit {
            return Err(IndexError::TooLarge { size: self.size, limit: self.size_limit });
        }
        for line in lines(&text) {
            self.line += 1;
            if line.is_empty() {
                if self.draft.first_line > 0 {
                    std::mem::take(&mut self.draft).finish(&mut self.index)?;
                }
                continue;
            }
            if line.len() > LONGEST_LINE {
                return Err(self.line_too_long());
            }
            let records = self.index.packages.len() + self.index.unusable.len();
            if self.draft.first_line == 0 && records >= self.packages_limit {
                let (what, limit) = ("the number of records", self.packages_limit);
                return Err(IndexError::Limit { line: self.line, what, limit });
            }
            self.draft.line(self.line, line, &mut self.room)?;
        }
        Ok(())
    }

    fn line_too_long(&self) -> IndexError {
        IndexError::Limit { line: self.line.max(1), what: "the line", limit: LONGEST_LINE }
    }
}

/// Bytes of one line: what Alpine's longest records list in one is some 30 000.
const LONGEST_LINE: usize = 1 << 20;

/// Bytes of one record, a little less than Alpine's have on average.
const USUAL_RECORD: usize = 350;

/// How many more names an index may list.
struct Room {
    limit: usize,
    left: usize,
}

impl Room {
    fn take(&mut self, line: usize) -> Result<(), IndexError> {
        let what = "the number of dependencies, provides and unknown fields";
        self.left = self.left.checked_sub(1).ok_or(IndexError::Limit { line, what, limit: self.limit })?;
        Ok(())
    }
}

/// A record on its way: what has been read of it.
struct Draft {
    /// The line it begins at; 0 while nothing has been read.
    first_line: usize,
    name: Option<String>,
    /// The version as written, and its line.
    version: Option<(String, usize)>,
    /// The single-valued fields read so far.
    seen: Letters,
    record: Record,
    unusable: Option<(usize, String)>,
}

impl Default for Draft {
    fn default() -> Self {
        let record = Record::new(String::new(), Version::unread());
        Self { first_line: 0, name: None, version: None, seen: Letters::default(), record, unusable: None }
    }
}

/// A set of ASCII letters, a bit each.
#[derive(Default, Clone, Copy)]
struct Letters(u128);

impl Letters {
    const fn of(letters: &[u8]) -> Self {
        let mut bits = 0;
        let mut place = 0;
        while place < letters.len() {
            bits |= 1 << letters[place];
            place += 1;
        }
        Self(bits)
    }

    fn has(self, letter: u8) -> bool {
        self.0 & Self::of(&[letter]).0 != 0
    }

    /// Adds a letter; `false` if it was there.
    fn add(&mut self, letter: u8) -> bool {
        let new = !self.has(letter);
        self.0 |= Self::of(&[letter]).0;
        new
    }
}

/// The fields that a record has once at most.
const SINGLE: Letters = Letters::of(b"PVACSITULomtckq");

impl Draft {
    fn line(&mut self, number: usize, line: &str, room: &mut Room) -> Result<(), IndexError> {
        let (letter, value) = split_field(line)
            .ok_or_else(|| IndexError::NotAField { line: number, found: line.chars().take(60).collect() })?;
        if self.first_line == 0 {
            self.first_line = number;
        }
        let sign = char::from(letter);
        if SINGLE.has(letter) && !self.seen.add(letter) {
            return Err(IndexError::Twice { line: number, letter: sign });
        }
        let bad = |problem| IndexError::Field { line: number, letter: sign, problem };
        let number_field = || value.parse().map_err(|_| bad(FieldProblem::Number(short(value))));
        let text = || Some(value.to_owned()).filter(|text| !text.is_empty());
        let record = &mut self.record;
        match letter {
            b'P' => {
                check_file_name(value).map_err(bad)?;
                self.name = Some(value.to_owned());
            }
            b'V' => {
                check_file_name(value).map_err(bad)?;
                self.version = Some((value.to_owned(), number));
            }
            b'A' => record.arch = String::from(value),
            b'C' => {
                record.identity = Some(value.parse().map_err(|source| bad(FieldProblem::Identity(source)))?);
            }
            b'S' => record.size = number_field()?,
            b'I' => record.installed_size = number_field()?,
            b'T' => record.description = String::from(value),
            b'U' => record.url = String::from(value),
            b'L' => record.license = String::from(value),
            b'o' => record.origin = text(),
            b'm' => record.maintainer = text(),
            b't' => record.build_time = Some(number_field()?),
            b'c' => record.commit = text(),
            b'k' => record.provider_priority = priority(value).map_err(bad)?,
            b'q' => record.replaces_priority = priority(value).map_err(bad)?,
            b'D' => list(&mut record.depends, number, value, room, &mut self.unusable)?,
            b'i' => list(&mut record.install_if, number, value, room, &mut self.unusable)?,
            b'r' => list(&mut record.replaces, number, value, room, &mut self.unusable)?,
            b'p' => list(&mut record.provides, number, value, room, &mut self.unusable)?,
            _ => {
                room.take(number)?;
                record.unknown.push((sign, value.to_owned()));
            }
        }
        Ok(())
    }

    /// Puts the record into the index.
    fn finish(self, index: &mut Index) -> Result<(), IndexError> {
        if self.first_line == 0 {
            return Ok(());
        }
        let missing = |letter| IndexError::Missing { line: self.first_line, letter };
        let name = self.name.ok_or_else(|| missing('P'))?;
        let (version, version_line) = self.version.ok_or_else(|| missing('V'))?;
        match (version.parse(), self.unusable) {
            (Ok(_), Some((line, reason))) => index.unusable.push(Unusable { name, version, line, reason }),
            (Err(error), _) => {
                let error: VersionError = error;
                let (line, reason) = (version_line, error.to_string());
                index.unusable.push(Unusable { name, version, line, reason });
            }
            (Ok(version), None) => index.packages.push(Record { name, version, ..self.record }),
        }
        Ok(())
    }
}

/// Adds the blank-separated items of `value` to a list of a record.
fn list<T>(
    target: &mut Vec<T>,
    line: usize,
    value: &str,
    room: &mut Room,
    unusable: &mut Option<(usize, String)>,
) -> Result<(), IndexError>
where
    T: std::str::FromStr<Err = DependencyError> + Taggable,
{
    let most = value.bytes().filter(|byte| *byte == b' ').count() + 1;
    target.reserve_exact(most.min(room.left));
    for item in value.split_ascii_whitespace() {
        room.take(line)?;
        match item.parse::<T>() {
            Ok(item_read) if item_read.tagged() => {
                let reason = format!(
                    "`{}` names a repository by tag, which only a wish can",
                    short(item).escape_debug()
                );
                unusable.get_or_insert((line, reason));
            }
            Ok(item_read) => target.push(item_read),
            Err(error) => {
                unusable.get_or_insert_with(|| (line, error.to_string()));
            }
        }
    }
    target.shrink_to_fit();
    Ok(())
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

/// The lines of a text, without what ends them. Most are a few bytes long, and `str::split` is made for long ones.
fn lines(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let end = rest.bytes().position(|byte| byte == b'\n');
        let (line, after) = end.map_or((rest, ""), |end| (&rest[..end], &rest[end + 1..]));
        rest = after;
        Some(line.strip_suffix('\r').unwrap_or(line))
    })
}

/// The letter of a line, and what stands behind its colon.
fn split_field(line: &str) -> Option<(u8, &str)> {
    match line.as_bytes() {
        [letter, b':', ..] if letter.is_ascii_alphanumeric() => Some((*letter, &line[2..])),
        _ => None,
    }
}

/// apk's priorities are unsigned; what is too large for one counts as the largest.
fn priority(value: &str) -> Result<u32, FieldProblem> {
    let number: u64 = value.parse().map_err(|_| FieldProblem::Number(short(value)))?;
    Ok(u32::try_from(number).unwrap_or(u32::MAX))
}

/// Name and version together make a file name: nothing in them may lead to another folder.
fn check_file_name(text: &str) -> Result<(), FieldProblem> {
    let plain = |byte: u8| byte.is_ascii_graphic() && byte != b'/' && byte != b'\\';
    if text.is_empty()
        || text.starts_with('.') && text.trim_matches('.').is_empty()
        || !text.bytes().all(plain)
    {
        return Err(FieldProblem::FileName(short(text)));
    }
    Ok(())
}

/// As much of a text as fits into a message.
fn short(text: &str) -> String {
    text.chars().take(100).collect()
}
