//! Versions of Go: `1.19.8`, `1.24rc1`.

use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};

/// A version of Go, ordered as Go orders its own: a release candidate comes before its release.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct GoVersion {
    major: u32,
    minor: u32,
    patch: u32,
    /// `beta1` < `rc1` < a release.
    stage: Stage,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    Beta(u32),
    Candidate(u32),
    Release,
}

/// A text that is no version of Go.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a version of Go: expected one like 1.24.1")]
pub struct GoVersionError(String);

impl GoVersion {
    /// A release.
    pub const fn new(major: u32, minor: u32, patch: u32) -> Self {
        Self { major, minor, patch, stage: Stage::Release }
    }
}

impl FromStr for GoVersion {
    type Err = GoVersionError;

    /// Takes `1.19.8`, `go1.19.8`, `1.19`, `1.24rc1`; what stands behind a blank or dash (`go1.22.1 X:nocoverageredesign`,
    /// `1.23.4-vendor`) is the builder's own word.
    fn from_str(text: &str) -> Result<Self, GoVersionError> {
        let wrong = || GoVersionError(text.to_owned());
        let first = text.trim().split([' ', '-', '+']).next().unwrap_or_default();
        let number = first.strip_prefix("go").unwrap_or(first);
        let (plain, stage) = if let Some((plain, count)) = number.split_once("rc") {
            (plain, Stage::Candidate(count.parse().map_err(|_| wrong())?))
        } else if let Some((plain, count)) = number.split_once("beta") {
            (plain, Stage::Beta(count.parse().map_err(|_| wrong())?))
        } else {
            (number, Stage::Release)
        };
        let mut parts = plain.split('.').map(str::parse::<u32>);
        let major = parts.next().and_then(Result::ok).ok_or_else(wrong)?;
        let minor = parts.next().and_then(Result::ok).ok_or_else(wrong)?;
        let patch = parts.next().transpose().map_err(|_| wrong())?.unwrap_or(0);
        if parts.next().is_some() { Err(wrong()) } else { Ok(Self { major, minor, patch, stage }) }
    }
}

impl fmt::Display for GoVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)?;
        match self.stage {
            Stage::Beta(count) => write!(f, "beta{count}"),
            Stage::Candidate(count) => write!(f, "rc{count}"),
            Stage::Release if self.patch > 0 => write!(f, ".{}", self.patch),
            Stage::Release => Ok(()),
        }
    }
}

impl Serialize for GoVersion {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_ordered_as_go_orders_them() {
        let ordered = ["1.9", "1.15.5", "1.19", "1.19.8", "1.24beta1", "1.24rc1", "1.24", "1.24.1"];
        let parsed: Vec<GoVersion> = ordered.iter().map(|text| text.parse().unwrap()).collect();
        assert!(parsed.is_sorted(), "{parsed:?}");
        let shown: Vec<_> = parsed.iter().map(ToString::to_string).collect();
        assert_eq!(shown, ordered);
    }

    #[test]
    fn what_builders_write_behind_a_version_is_left_out() {
        for text in ["go1.22.1", "go1.22.1 X:boringcrypto", "1.22.1-vendor", " 1.22.1\n"] {
            assert_eq!(text.parse(), Ok(GoVersion::new(1, 22, 1)), "{text}");
        }
        for text in ["", "devel", "1", "1.x", "1.2.3.4"] {
            assert!(text.parse::<GoVersion>().is_err(), "{text}");
        }
    }
}
