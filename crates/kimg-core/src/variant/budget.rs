//! Size budgets: how large an image may become, as written in TOML and as asked for one platform.
//!
//! ```toml
//! [budget]
//! compressed = "41 MB"            # what a node pulls
//! extracted = "95 MB"             # what it takes on disk
//! armv7 = { compressed = "33 MB" }  # or a table of its own: [budget.armv7]
//! ```

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::de::{Error as _, MapAccess, Visitor};
use serde::ser::SerializeMap as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::{Platform, PlatformError};

/// A number of bytes as a person writes it: `41 MB` is 41,000,000 bytes, `41 MiB` 42,991,616.
///
/// A number, perhaps with a decimal point, perhaps a space, and one of B, kB, MB, GB, KiB, MiB and GiB, spelt so. It has
/// to come to a whole number of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ByteSize(pub u64);

/// A text that is no [`ByteSize`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a size: {problem}")]
pub struct ByteSizeError {
    text: String,
    problem: &'static str,
}

/// The units, and their bytes.
const UNITS: [(&str, u64); 7] = [
    ("B", 1),
    ("kB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
];

impl FromStr for ByteSize {
    type Err = ByteSizeError;

    fn from_str(text: &str) -> Result<Self, ByteSizeError> {
        let wrong = |problem| ByteSizeError { text: text.chars().take(60).collect(), problem };
        let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
        let (number, unit) = text.split_at(end);
        let unit = unit.strip_prefix(' ').unwrap_or(unit);
        let factor =
            UNITS.iter().find(|(name, _)| *name == unit).map(|(_, factor)| *factor).ok_or_else(|| {
                wrong("write a number and one of B, kB, MB, GB, KiB, MiB and GiB, as \"41 MB\" or \"41 MiB\"")
            })?;
        let (whole, fraction) = number.split_once('.').map_or((number, None), |(w, f)| (w, Some(f)));
        let digits = |text: &str| -> Result<u128, ByteSizeError> {
            if text.is_empty() || text.len() > 20 || text.contains('.') {
                return Err(wrong("its number is not one: write 41 or 41.5"));
            }
            // 20 digits fit into 128 bits.
            text.parse().map_err(|_| wrong("its number is not one: write 41 or 41.5"))
        };
        let mut bytes = digits(whole)? * u128::from(factor);
        if let Some(fraction) = fraction {
            let part = digits(fraction)? * u128::from(factor);
            // At most 20 digits: so many tens fit into 128 bits.
            let tens = 10_u128.pow(u32::try_from(fraction.len()).unwrap_or(20));
            if part % tens != 0 {
                return Err(wrong("it does not come to a whole number of bytes"));
            }
            bytes += part / tens;
        }
        u64::try_from(bytes).map(Self).map_err(|_| wrong("it is more than 64 bits can count"))
    }
}

/// In the largest unit of thousands in which it is written exactly with three digits behind the point or fewer.
impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let decimal = UNITS[..4].iter().rev().find(|(_, factor)| {
            self.0 >= *factor && (*factor < 1_000 || self.0.is_multiple_of(factor / 1_000))
        });
        let (name, factor) = decimal.copied().unwrap_or(UNITS[0]);
        let (whole, rest) = (self.0 / factor, self.0 % factor);
        let fraction = if rest == 0 { String::new() } else { format!(".{:03}", rest * 1_000 / factor) };
        f.pad(&format!("{whole}{} {name}", fraction.trim_end_matches('0')))
    }
}

impl Serialize for ByteSize {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ByteSize {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

/// What may not be exceeded; a size that is not said may be anything.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct SizeLimits {
    /// The sum of the compressed layers: what a node pulls.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub compressed: Option<ByteSize>,
    /// The sum of the layers uncompressed (tar archives): about what they take on disk.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub extracted: Option<ByteSize>,
}

/// The budget of a variant: limits for every platform, and others for some.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Budget {
    /// What holds where a platform has no limit of its own.
    pub every: SizeLimits,
    /// What holds for one platform.
    pub platforms: BTreeMap<Platform, SizeLimits>,
}

impl Budget {
    /// The limits for a platform: each its own where it has one, else that of every platform.
    pub fn limits(&self, platform: Platform) -> SizeLimits {
        let own = self.platforms.get(&platform).copied().unwrap_or_default();
        SizeLimits {
            compressed: own.compressed.or(self.every.compressed),
            extracted: own.extracted.or(self.every.extracted),
        }
    }
}

impl Serialize for Budget {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (key, size) in [("compressed", self.every.compressed), ("extracted", self.every.extracted)] {
            if let Some(size) = size {
                map.serialize_entry(key, &size)?;
            }
        }
        for (platform, limits) in &self.platforms {
            map.serialize_entry(platform.short(), limits)?;
        }
        map.end()
    }
}

/// A word before an equals sign.
enum Key {
    Compressed,
    Extracted,
    Platform(Platform),
}

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Ok(match text.as_str() {
            "compressed" => Self::Compressed,
            "extracted" => Self::Extracted,
            other => Self::Platform(other.parse().map_err(|_: PlatformError| {
                D::Error::custom(format!(
                    "unknown field `{other}`, expected `compressed`, `extracted` or an architecture \
                     (amd64, arm64, armv7, armv6)"
                ))
            })?),
        })
    }
}

impl<'de> Deserialize<'de> for Budget {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(BudgetVisitor)
    }
}

struct BudgetVisitor;

impl<'de> Visitor<'de> for BudgetVisitor {
    type Value = Budget;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a table, as { compressed = \"41 MB\", extracted = \"95 MB\" }")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Budget, M::Error> {
        let mut budget = Budget::default();
        while let Some(key) = map.next_key::<Key>()? {
            match key {
                Key::Compressed => budget.every.compressed = Some(map.next_value()?),
                Key::Extracted => budget.every.extracted = Some(map.next_value()?),
                Key::Platform(platform) => {
                    if budget.platforms.insert(platform, map.next_value()?).is_some() {
                        return Err(M::Error::custom(format!("{platform} is there twice")));
                    }
                }
            }
        }
        let every = [&budget.every].into_iter().chain(budget.platforms.values());
        if every.into_iter().all(|limits| *limits == SizeLimits::default()) {
            return Err(M::Error::custom("a budget has `compressed`, `extracted` or both"));
        }
        Ok(budget)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn bytes(text: &str) -> u64 {
        text.parse::<ByteSize>().unwrap().0
    }

    #[test]
    fn thousands_and_powers_of_two_are_told_apart() {
        assert_eq!((bytes("41 MB"), bytes("41 MiB")), (41_000_000, 42_991_616));
        assert_eq!(
            (bytes("1 kB"), bytes("1KiB"), bytes("2GB"), bytes("7 B")),
            (1_000, 1_024, 2_000_000_000, 7)
        );
        assert_eq!((bytes("41.5 MB"), bytes("0.5 KiB"), bytes("1.000001 MB")), (41_500_000, 512, 1_000_001));
    }

    #[test]
    fn what_could_be_meant_in_two_ways_is_refused() {
        for text in [
            "",
            "41",
            "MB",
            "41 M",
            "41 mb",
            "41 Mb",
            "41 KB",
            "41  MB",
            " 41 MB",
            "41 MB ",
            "-41 MB",
            "+41 MB",
            "4_1 MB",
            "41, MB",
            "4.1.2 MB",
            "41. MB",
            ".5 MB",
            "0.5 B",
            "1.0000001 MB",
            "99999999999 GB",
            "123456789012345678901 B",
            "٤١ MB",
        ] {
            assert!(text.parse::<ByteSize>().is_err(), "{text}");
        }
    }

    #[test]
    fn limits_of_a_platform_take_the_place_of_those_of_every_one() {
        let text = "compressed = '41 MB'\nextracted = '95 MB'\n[armv7]\ncompressed = '33 MB'\n";
        let budget: Budget = toml::from_str(text).unwrap();
        let sizes = |platform| {
            let limits = budget.limits(platform);
            (limits.compressed.map(|size| size.0), limits.extracted.map(|size| size.0))
        };
        assert_eq!(sizes(Platform::Amd64), (Some(41_000_000), Some(95_000_000)));
        assert_eq!(sizes(Platform::ArmV7), (Some(33_000_000), Some(95_000_000)));
        let inline = "compressed = '41 MB'\nextracted = '95 MB'\n\"arm/v7\" = { compressed = '33 MB' }\n";
        assert_eq!(toml::from_str::<Budget>(inline).unwrap(), budget);
        assert_eq!(toml::from_str::<Budget>(&toml::to_string(&budget).unwrap()).unwrap(), budget);
    }

    #[test]
    fn errors_point_at_the_word_that_is_wrong() {
        for (text, at, said) in [
            ("compressed = '41 Mb'", "'41 Mb'", "`41 Mb` is not a size"),
            ("compresed = '41 MB'", "compresed", "unknown field `compresed`"),
            ("compressed = 41", "41", "expected a string"),
            ("armv7 = { compressed = '1 MB', extract = '2 MB' }", "extract", "unknown field `extract`"),
            ("armv7 = { compressed = '1 MB' }\narm32v7 = { compressed = '1 MB' }", "", "there twice"),
            ("", "", "`compressed`, `extracted` or both"),
        ] {
            let error = toml::from_str::<Budget>(text).unwrap_err();
            assert!(error.message().contains(said), "{text}: {error}");
            if !at.is_empty() {
                assert_eq!(error.span().map(|span| &text[span]), Some(at), "{text}");
            }
        }
    }

    proptest! {
        #[test]
        fn a_size_is_read_as_it_is_written(bytes in any::<u64>()) {
            prop_assert_eq!(ByteSize(bytes).to_string().parse(), Ok(ByteSize(bytes)));
        }
    }
}
