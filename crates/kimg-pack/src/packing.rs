//! What is done with one program, as a decision that a lock can hold: `plain`, `strip`, `upx -9`, `strip + upx --best --lzma`.

use std::fmt;
use std::str::FromStr;

use kimg_core::{Classified, ErrorClass};
use serde::{Deserialize, Serialize};

/// What is done with one program. Its text is the canonical form, in which locks hold it.
///
/// ```
/// use kimg_pack::Packing;
/// let packing: Packing = "strip + upx --lzma -9".parse()?;
/// assert_eq!(packing.to_string(), "strip + upx -9 --lzma");
/// assert_eq!("upx --best".parse::<Packing>().unwrap_err().to_string(), "`upx --best` takes too long");
/// # Ok::<(), kimg_pack::PackingError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Packing {
    /// Whether the sections that no segment maps are dropped first: see the [crate's page](crate#what-strip-drops).
    pub strip: bool,
    /// Whether UPX packs what is left, and how.
    pub upx: Option<UpxOptions>,
}

impl Packing {
    /// As the package has it.
    pub const PLAIN: Self = Self { strip: false, upx: None };
    /// Without sections that nothing maps.
    pub const STRIP: Self = Self { strip: true, upx: None };
    /// Packed as small as UPX does in a reasonable time.
    pub const UPX: Self = Self { strip: false, upx: Some(UpxOptions::BEST) };
    /// Both.
    pub const STRIP_UPX: Self = Self { strip: true, upx: Some(UpxOptions::BEST) };
}

/// The decision for a program of which nothing was measured: `upx --best --lzma`.
impl Default for Packing {
    fn default() -> Self {
        Self::UPX
    }
}

/// Options of UPX that are known to end in a minute for the largest programs of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UpxOptions {
    level: Level,
    lzma: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Level {
    /// 1 to 9.
    Number(u8),
    Best,
}

impl UpxOptions {
    /// `--best --lzma`.
    pub const BEST: Self = Self { level: Level::Best, lzma: true };

    /// `-1` to `-9`, with `--lzma` or not. `None` for any other number.
    pub fn level(number: u8, lzma: bool) -> Option<Self> {
        (1..=9).contains(&number).then_some(Self { level: Level::Number(number), lzma })
    }

    /// The words for the command line.
    pub fn words(self) -> Vec<String> {
        self.to_string().split(' ').map(str::to_owned).collect()
    }
}

/// A text that is no [`Packing`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PackingError {
    /// A trap: tries everything, for the better part of an hour.
    #[error("`{0}` takes too long")]
    TooLong(String),
    /// No level, two of them, or an option that kimg doesn't know to be good.
    #[error(
        "`{0}` does not say how to pack: expected `plain`, `strip`, `upx OPTIONS` or `strip + upx OPTIONS`"
    )]
    Unknown(String),
}

impl Classified for PackingError {
    fn class(&self) -> ErrorClass {
        ErrorClass::Usage
    }

    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::TooLong(_) => {
                "write `upx --best --lzma`: without `--lzma`, UPX tries every method (24 minutes for kubeadm)"
                    .into()
            }
            Self::Unknown(_) => "OPTIONS is a level, `-1` to `-9` or `--best`, and perhaps `--lzma`".into(),
        })
    }
}

impl FromStr for Packing {
    type Err = PackingError;

    fn from_str(text: &str) -> Result<Self, PackingError> {
        let parts: Vec<&str> = text.split('+').map(str::trim).collect();
        match parts[..] {
            ["plain"] => Ok(Self::PLAIN),
            ["strip"] => Ok(Self::STRIP),
            ["strip", upx] => Ok(Self { strip: true, upx: Some(options(upx, text)?) }),
            [upx] => Ok(Self { strip: false, upx: Some(options(upx, text)?) }),
            _ => Err(PackingError::Unknown(text.to_owned())),
        }
    }
}

/// Reads `upx -9 --lzma`; `text` is the whole, for errors.
fn options(upx: &str, text: &str) -> Result<UpxOptions, PackingError> {
    let unknown = || PackingError::Unknown(text.to_owned());
    let mut words = upx.split_ascii_whitespace();
    if words.next() != Some("upx") {
        return Err(unknown());
    }
    let (mut level, mut lzma) = (None, false);
    for word in words {
        match word.as_bytes() {
            b"--lzma" if !lzma => lzma = true,
            b"--best" if level.is_none() => level = Some(Level::Best),
            [b'-', digit @ b'1'..=b'9'] if level.is_none() => level = Some(Level::Number(digit - b'0')),
            b"--brute" | b"--ultra-brute" | b"--all-methods" | b"--all-filters" => {
                return Err(PackingError::TooLong(text.to_owned()));
            }
            _ => return Err(unknown()),
        }
    }
    match level {
        Some(Level::Best) if !lzma => Err(PackingError::TooLong(text.to_owned())),
        Some(level) => Ok(UpxOptions { level, lzma }),
        None => Err(unknown()),
    }
}

impl fmt::Display for Packing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.strip, self.upx) {
            (false, None) => f.pad("plain"),
            (true, None) => f.pad("strip"),
            (false, Some(options)) => f.pad(&format!("upx {options}")),
            (true, Some(options)) => f.pad(&format!("strip + upx {options}")),
        }
    }
}

impl fmt::Display for UpxOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.level {
            Level::Number(number) => write!(f, "-{number}")?,
            Level::Best => f.write_str("--best")?,
        }
        f.write_str(if self.lzma { " --lzma" } else { "" })
    }
}

impl TryFrom<String> for Packing {
    type Error = PackingError;

    fn try_from(text: String) -> Result<Self, PackingError> {
        text.parse()
    }
}

impl From<Packing> for String {
    fn from(packing: Packing) -> Self {
        packing.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_decision_is_read_as_it_is_written() {
        let levels = (1..=9).flat_map(|n| [UpxOptions::level(n, false), UpxOptions::level(n, true)]);
        let options = levels.map(Option::unwrap).chain([UpxOptions::BEST]).map(Some).chain([None]);
        for upx in options {
            for strip in [false, true] {
                let packing = Packing { strip, upx };
                assert_eq!(packing.to_string().parse(), Ok(packing));
                let json = serde_json::to_string(&packing).unwrap();
                assert_eq!(json, format!("\"{packing}\""));
                assert_eq!(serde_json::from_str::<Packing>(&json).unwrap(), packing);
            }
        }
        let texts = [Packing::PLAIN, Packing::STRIP, Packing::UPX, Packing::STRIP_UPX].map(|p| p.to_string());
        assert_eq!(texts, ["plain", "strip", "upx --best --lzma", "strip + upx --best --lzma"]);
        assert_eq!(UpxOptions::level(9, true).unwrap().words(), ["-9", "--lzma"]);
        assert_eq!((UpxOptions::level(0, true), UpxOptions::level(10, false)), (None, None));
    }

    #[test]
    fn what_takes_too_long_is_refused_with_a_hint() {
        for text in ["upx --best", "strip + upx --best", "upx --brute", "upx -9 --ultra-brute"] {
            let error = text.parse::<Packing>().unwrap_err();
            assert_eq!(error, PackingError::TooLong(text.into()));
            assert!(error.hint().unwrap().contains("`upx --best --lzma`"));
            assert_eq!(error.class(), ErrorClass::Usage);
        }
    }

    #[test]
    fn nothing_else_is_a_decision() {
        let others = [
            "",
            "upx",
            "upx --lzma",
            "upx -0",
            "upx -10",
            "upx -9 -8",
            "upx -9 --lzma --lzma",
            "upx -9 -o /etc/passwd",
            "upx -9 --overlay=strip",
            "upx -9 + strip",
            "strip + strip",
            "plain + upx -9",
            "strip + ",
            "gzexe",
            "upx-9",
        ];
        for text in others {
            assert_eq!(text.parse::<Packing>(), Err(PackingError::Unknown(text.into())), "{text}");
        }
    }
}
