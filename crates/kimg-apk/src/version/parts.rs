//! The parts that versions are made of: how a text is cut into them, and how two compare.

use std::cmp::Ordering;

/// The suffixes that make a version older than the same one without, oldest first.
const BEFORE: [&str; 4] = ["alpha", "beta", "pre", "rc"];
/// The suffixes that make a version newer than the same one without, oldest first.
const AFTER: [&str; 5] = ["cvs", "svn", "git", "hg", "p"];

/// One part of a version, borrowed from its text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part<'a> {
    /// The digits that a version begins with.
    First(&'a str),
    /// Digits behind a full stop.
    Number(&'a str),
    Letter(u8),
    /// A suffix, as its place among [`BEFORE`] (negative) or [`AFTER`] (from 1).
    Suffix(i8),
    SuffixNumber(&'a str),
    Hash(&'a str),
    Revision(&'a str),
    End,
    /// What is left where the rules end.
    Unknown(&'a str),
}

impl Part<'_> {
    /// Which of two parts at the same place makes its version the newer one.
    pub(super) fn order(self, other: Self) -> Ordering {
        match (self, other) {
            (Part::Number(a), Part::Number(b)) if a.starts_with('0') || b.starts_with('0') => a.cmp(b),
            (Part::First(a), Part::First(b))
            | (Part::Number(a), Part::Number(b))
            | (Part::SuffixNumber(a), Part::SuffixNumber(b))
            | (Part::Revision(a), Part::Revision(b)) => numeric(a, b),
            (Part::Letter(a), Part::Letter(b)) => a.cmp(&b),
            (Part::Suffix(a), Part::Suffix(b)) => a.cmp(&b),
            (Part::Hash(a), Part::Hash(b)) | (Part::Unknown(a), Part::Unknown(b)) => a.cmp(b),
            (a, b) => a.rank().cmp(&b.rank()),
        }
    }

    /// How new a version is that has a part of this kind where the other has one of another kind.
    fn rank(self) -> u8 {
        match self {
            Part::First(_) => 9,
            Part::Number(_) => 8,
            Part::Letter(_) => 7,
            Part::Suffix(0..) => 6,
            Part::SuffixNumber(_) => 5,
            Part::Hash(_) => 4,
            Part::Revision(_) => 3,
            Part::End => 2,
            Part::Unknown(_) => 1,
            Part::Suffix(_) => 0,
        }
    }
}

/// Compares two runs of digits as numbers, however long.
fn numeric(a: &str, b: &str) -> Ordering {
    let (a, b) = (a.trim_start_matches('0'), b.trim_start_matches('0'));
    a.len().cmp(&b.len()).then_with(|| a.cmp(b))
}

/// What a version may go on with: parts come in this order only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    Start,
    Numbers,
    Letter,
    Suffix,
    SuffixNumber,
    Hash,
    Revision,
    Stopped,
}

/// Cuts a text into parts. After `End` or `Unknown` it stays there.
pub(super) struct Parts<'a> {
    rest: &'a str,
    stage: Stage,
    /// Whether a part came that is understood but against the rules: a number behind the letter, as in `7.4p1`.
    pub(super) odd: bool,
}

impl<'a> Parts<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { rest: text, stage: Stage::Start, odd: false }
    }

    pub(super) fn next_part(&mut self) -> Part<'a> {
        self.cut().unwrap_or_else(|| {
            self.stage = Stage::Stopped;
            Part::Unknown(self.rest)
        })
    }

    fn cut(&mut self) -> Option<Part<'a>> {
        if self.stage == Stage::Stopped {
            return None;
        }
        let Some(first) = self.rest.bytes().next() else {
            return (self.stage > Stage::Start).then_some(Part::End);
        };
        match first {
            b'0'..=b'9' if self.stage == Stage::Start => {
                self.stage = Stage::Numbers;
                Some(Part::First(self.digits(0)?))
            }
            b'.' if self.stage == Stage::Numbers => Some(Part::Number(self.digits(1)?)),
            b'a'..=b'z' if self.stage == Stage::Numbers => {
                self.stage = Stage::Letter;
                self.rest = &self.rest[1..];
                Some(Part::Letter(first))
            }
            b'_' if (Stage::Numbers..=Stage::SuffixNumber).contains(&self.stage) => {
                let name = self.run(1, u8::is_ascii_lowercase);
                let suffix = suffix(name)?;
                self.stage = Stage::Suffix;
                self.rest = &self.rest[1 + name.len()..];
                Some(Part::Suffix(suffix))
            }
            b'0'..=b'9' if matches!(self.stage, Stage::Letter | Stage::Suffix) => {
                self.odd |= self.stage == Stage::Letter;
                self.stage = Stage::SuffixNumber;
                Some(Part::SuffixNumber(self.digits(0)?))
            }
            b'~' if (Stage::Numbers..=Stage::SuffixNumber).contains(&self.stage) => {
                let hash = self.run(1, |byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
                self.stage = Stage::Hash;
                if hash.is_empty() {
                    return None;
                }
                self.rest = &self.rest[1 + hash.len()..];
                Some(Part::Hash(hash))
            }
            b'-' if (Stage::Numbers..=Stage::Hash).contains(&self.stage) && self.rest.starts_with("-r") => {
                self.stage = Stage::Revision;
                Some(Part::Revision(self.digits(2)?))
            }
            _ => None,
        }
    }

    /// The bytes from `from` on that `wanted` holds for.
    fn run(&self, from: usize, wanted: impl Fn(&u8) -> bool) -> &'a str {
        let length = self.rest.bytes().skip(from).take_while(wanted).count();
        &self.rest[from..from + length]
    }

    /// Takes the digits behind the first `skip` bytes; there must be one.
    fn digits(&mut self, skip: usize) -> Option<&'a str> {
        let digits = self.run(skip, u8::is_ascii_digit);
        if digits.is_empty() {
            return None;
        }
        self.rest = &self.rest[skip + digits.len()..];
        Some(digits)
    }
}

fn suffix(name: &str) -> Option<i8> {
    let place = |list: &[&str]| list.iter().position(|known| *known == name);
    if let Some(place) = place(&BEFORE) {
        return i8::try_from(place).ok().map(|place| place - 4);
    }
    place(&AFTER).and_then(|place| i8::try_from(place).ok()).map(|place| place + 1)
}
