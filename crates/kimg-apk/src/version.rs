//! Package versions: what is one, how two compare, and what a constraint asks of one.
//!
//! The form is `number{.number}…{letter}{_suffix{number}}…{~hash}{-r#}`, from apk-tools' manual page
//! apk-package(5), "package names and versions". How two versions compare is held against
//! apk-tools' own list of cases (`tests/version_data.rs`).

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use kimg_core::{Classified, ErrorClass};

/// The suffixes that make a version older than the same one without, oldest first.
const BEFORE: [&str; 4] = ["alpha", "beta", "pre", "rc"];
/// The suffixes that make a version newer than the same one without, oldest first.
const AFTER: [&str; 5] = ["cvs", "svn", "git", "hg", "p"];

/// A package version, kept as it was written.
///
/// Repositories carry versions that apk's rules don't know, such as `7.4.0p1-r1` or a provide's `v2.4`, and apk
/// installs them; so any run of visible characters that can't lead elsewhere is one, and
/// [`is_valid`](Self::is_valid) says whether it follows the rules. Where it doesn't, it is compared up to there, and
/// then as text.
///
/// Equality is apk's too, so `6` equals `006`: a version is no key for a hash map, its text is.
///
/// ```
/// use kimg_apk::{Operator, Version};
///
/// let kubelet: Version = "1.28.4-r3".parse()?;
/// assert!(kubelet < "1.28.10-r0".parse()?);
/// assert!("1.28_rc1".parse::<Version>()? < "1.28".parse()?);
/// assert!(kubelet.matches(Operator::Fuzzy, &"1.28".parse()?));
/// # Ok::<(), kimg_apk::VersionError>(())
/// ```
#[derive(Debug, Clone)]
pub struct Version(String);

impl Version {
    /// Stands where a version is still to be read.
    pub(crate) fn unread() -> Self {
        Self(String::new())
    }

    /// The version as it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it follows apk's rules for versions.
    pub fn is_valid(&self) -> bool {
        let mut parts = Parts::new(&self.0);
        loop {
            match parts.next_part() {
                Part::End => return !parts.odd,
                Part::Unknown(_) => return false,
                _ => {}
            }
        }
    }

    /// Whether this version is what `operator` and `wanted` ask for: `self operator wanted`.
    pub fn matches(&self, operator: Operator, wanted: &Version) -> bool {
        let (text, wanted) = (self.0.as_str(), wanted.0.as_str());
        let order = || compare(text, wanted);
        match operator {
            Operator::Equal => order().is_eq(),
            Operator::Less => order().is_lt(),
            Operator::LessEqual => order().is_le(),
            Operator::Greater => order().is_gt(),
            Operator::GreaterEqual => order().is_ge(),
            Operator::Fuzzy => starts_with(text, wanted),
            Operator::LessFuzzy => order().is_lt() || starts_with(text, wanted),
            Operator::GreaterFuzzy => order().is_gt() || starts_with(text, wanted),
        }
    }
}

/// Compares two versions part by part, up to the first that differs or can't be read.
fn compare(left: &str, right: &str) -> Ordering {
    if left == right {
        return Ordering::Equal;
    }
    let (mut left, mut right) = (Parts::new(left), Parts::new(right));
    loop {
        let (a, b) = (left.next_part(), right.next_part());
        let order = a.order(b);
        if order.is_ne() || matches!(a, Part::End | Part::Unknown(_)) {
            return order;
        }
    }
}

/// Whether the parts of `prefix` are the first parts of `text`.
fn starts_with(text: &str, prefix: &str) -> bool {
    let (mut parts, mut wanted) = (Parts::new(text), Parts::new(prefix));
    loop {
        let part = wanted.next_part();
        if part == Part::End {
            return true;
        }
        if parts.next_part().order(part).is_ne() {
            return false;
        }
        if matches!(part, Part::Unknown(_)) {
            return true;
        }
    }
}

impl FromStr for Version {
    type Err = VersionError;

    fn from_str(text: &str) -> Result<Self, VersionError> {
        // A version is part of a file name, and stands behind an operator and before a blank.
        let plain = |byte: u8| byte.is_ascii_graphic() && !b"/\\<>=!@".contains(&byte);
        let dots = text.bytes().all(|byte| byte == b'.');
        if dots || !text.bytes().all(plain) {
            return Err(VersionError { text: text.chars().take(100).collect() });
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl Ord for Version {
    fn cmp(&self, other: &Self) -> Ordering {
        compare(&self.0, &other.0)
    }
}

impl PartialOrd for Version {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Version {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Version {}

/// A text that can't be a version.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{}` can't be a package version", text.escape_debug())]
pub struct VersionError {
    text: String,
}

impl Classified for VersionError {
    fn class(&self) -> ErrorClass {
        ErrorClass::Malformed
    }

    fn hint(&self) -> Option<String> {
        Some("a version looks like 1.28.4_rc1-r3".to_owned())
    }
}

/// How a version must stand to the one a dependency names.
///
/// apk builds these from the characters `<`, `=`, `>`, `~` in any order; `~` counts for `~=` and `=~`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Operator {
    /// `=`
    Equal,
    /// `<`
    Less,
    /// `<=`
    LessEqual,
    /// `>`
    Greater,
    /// `>=`
    GreaterEqual,
    /// `~`: the named version, or one that goes on where it ends.
    Fuzzy,
    /// `<~`: less, or as with `~`.
    LessFuzzy,
    /// `>~`: greater, or as with `~`.
    GreaterFuzzy,
}

impl Operator {
    /// The operator as apk writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Equal => "=",
            Self::Less => "<",
            Self::LessEqual => "<=",
            Self::Greater => ">",
            Self::GreaterEqual => ">=",
            Self::Fuzzy => "~",
            Self::LessFuzzy => "<~",
            Self::GreaterFuzzy => ">~",
        }
    }

    /// Reads a run of `<`, `=`, `>` and `~`; `None` when it says nothing about versions.
    pub(crate) fn from_run(run: &str) -> Option<Self> {
        let has = |sign| run.contains(sign);
        match (has('<'), has('>'), has('~'), has('=')) {
            (false, false, false, true) => Some(Self::Equal),
            (false, false, true, _) => Some(Self::Fuzzy),
            (true, false, false, equal) => Some(if equal { Self::LessEqual } else { Self::Less }),
            (false, true, false, equal) => Some(if equal { Self::GreaterEqual } else { Self::Greater }),
            (true, false, true, _) => Some(Self::LessFuzzy),
            (false, true, true, _) => Some(Self::GreaterFuzzy),
            _ => None,
        }
    }
}

impl fmt::Display for Operator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One part of a version, borrowed from its text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part<'a> {
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
    fn order(self, other: Self) -> Ordering {
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
struct Parts<'a> {
    rest: &'a str,
    stage: Stage,
    /// Whether a part came that is understood but against the rules: a number behind the letter, as in `7.4p1`.
    odd: bool,
}

impl<'a> Parts<'a> {
    fn new(text: &'a str) -> Self {
        Self { rest: text, stage: Stage::Start, odd: false }
    }

    fn next_part(&mut self) -> Part<'a> {
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
                let name = self.run(1, |byte| byte.is_ascii_lowercase());
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
