//! What decides how a program is packed, and the key under which a packed program may be kept.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use kimg_core::Digest;
use kimg_core::variant::Probe;
use serde::{Deserialize, Serialize};

/// Whether programs are packed: `--pack=auto|require|never`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// Where UPX is found. Without it programs stay plain, and the report says so.
    #[default]
    Auto,
    /// As [`Mode::Auto`], but a packer that is missing or broken is an error.
    Require,
    /// Not at all.
    Never,
}

/// A text that is no [`Mode`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` does not say whether to pack: expected auto, require or never")]
pub struct ModeError(String);

impl FromStr for Mode {
    type Err = ModeError;

    fn from_str(text: &str) -> Result<Self, ModeError> {
        match text {
            "auto" => Ok(Self::Auto),
            "require" => Ok(Self::Require),
            "never" => Ok(Self::Never),
            _ => Err(ModeError(text.to_owned())),
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Auto => "auto",
            Self::Require => "require",
            Self::Never => "never",
        })
    }
}

/// How programs are packed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Whether they are.
    pub mode: Mode,
    /// Smaller programs stay plain; in bytes. 1 MiB when nothing is said.
    pub minimum_size: u64,
    /// Options of UPX. `--best --lzma` when nothing is said: the [crate's page](crate) has the figures.
    pub options: Vec<String>,
    /// How long UPX may work on one program.
    pub time_limit: Duration,
    /// How much memory UPX, or a program that is started to see whether it answers, may take; in bytes.
    pub memory_limit: u64,
    /// How long a program may take to answer its probe.
    pub probe_time_limit: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            mode: Mode::Auto,
            minimum_size: 1 << 20,
            options: vec!["--best".into(), "--lzma".into()],
            time_limit: Duration::from_secs(600),
            memory_limit: 2 << 30,
            probe_time_limit: Duration::from_secs(30),
        }
    }
}

/// The first line of what is hashed. To be changed whenever the gate decides differently.
const KEY: &str = "kimg-pack 1";

/// The key under which an outcome may be kept: a digest of everything that decides the bytes.
///
/// These are the program, the version and options of UPX, the smallest size and the probe. Limits are not
/// among them: an outcome that hit one is not to be kept ([`Outcome::may_be_kept`](crate::Outcome::may_be_kept)).
pub fn key(content: Digest, upx_version: &str, settings: &Settings, probe: Option<&Probe>) -> Digest {
    let mut words = vec![KEY.to_owned(), content.to_string(), upx_version.to_owned()];
    words.push(settings.minimum_size.to_string());
    words.push(settings.options.len().to_string());
    words.extend(settings.options.iter().cloned());
    if let Some(probe) = probe {
        words.push(format!("probe {}", probe.arguments.len()));
        words.extend(probe.arguments.iter().cloned());
        words.extend(probe.environment.iter().flat_map(|(name, value)| [name.clone(), value.clone()]));
    }
    // Each word with its length before it: no two lists of words give one text.
    let text: Vec<String> = words.iter().map(|word| format!("{}:{word}\n", word.len())).collect();
    Digest::of(text.concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mode_is_read_as_it_is_written() {
        for mode in [Mode::Auto, Mode::Require, Mode::Never] {
            assert_eq!(mode.to_string().parse(), Ok(mode));
        }
        assert_eq!("always".parse::<Mode>(), Err(ModeError("always".into())));
    }

    #[test]
    fn whatever_decides_the_bytes_changes_the_key() {
        let settings = Settings::default();
        let probe = Probe { arguments: vec!["version".into()], ..Probe::default() };
        let base = key(Digest::of("a"), "4.2.2", &settings, Some(&probe));
        let options = |words: &[&str]| Settings {
            options: words.iter().map(ToString::to_string).collect(),
            ..settings.clone()
        };
        let environment = [("version".to_owned(), String::new())].into();
        let keys = [
            key(Digest::of("b"), "4.2.2", &settings, Some(&probe)),
            key(Digest::of("a"), "4.2.4", &settings, Some(&probe)),
            key(Digest::of("a"), "4.2.2", &options(&["-9", "--lzma"]), Some(&probe)),
            key(Digest::of("a"), "4.2.2", &options(&["--best --lzma"]), Some(&probe)),
            key(Digest::of("a"), "4.2.2", &Settings { minimum_size: 0, ..settings.clone() }, Some(&probe)),
            key(Digest::of("a"), "4.2.2", &settings, None),
            key(Digest::of("a"), "4.2.2", &settings, Some(&Probe::default())),
            key(Digest::of("a"), "4.2.2", &settings, Some(&Probe { environment, ..Probe::default() })),
        ];
        let distinct: std::collections::BTreeSet<_> = keys.iter().chain([&base]).collect();
        assert_eq!(distinct.len(), keys.len() + 1);
    }

    #[test]
    fn limits_and_mode_leave_the_key_alone() {
        let settings = Settings::default();
        let other =
            Settings { mode: Mode::Require, time_limit: Duration::ZERO, memory_limit: 1, ..settings.clone() };
        assert_eq!(key(Digest::of(""), "4", &settings, None), key(Digest::of(""), "4", &other, None));
    }
}
