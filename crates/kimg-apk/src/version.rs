//! Package versions: what is one, how two compare, and what a constraint asks of one.
//!
//! The form is `number{.number}…{letter}{_suffix{number}}…{~hash}{-r#}`, from apk-tools' manual page
//! apk-package(5), "package names and versions". How two versions compare is held against
//! apk-tools' own list of cases (`tests/version_data.rs`).

mod parts;

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use kimg_core::{Classified, ErrorClass};

use parts::{Part, Parts};

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
        let plain = |byte: u8| {
            byte.is_ascii_graphic() && !matches!(byte, b'/' | b'\\' | b'<' | b'>' | b'=' | b'!' | b'@')
        };
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
