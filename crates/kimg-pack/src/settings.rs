//! What decides how a program is packed, and the key under which a packed program may be kept.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use kimg_core::Digest;
use serde::{Deserialize, Serialize};

use crate::Candidate;

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

/// Under which limits programs are packed. How each is packed, its [`Packing`](crate::Packing) says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Whether they are.
    pub mode: Mode,
    /// Smaller programs stay plain; in bytes. 1 MiB when nothing is said.
    pub minimum_size: u64,
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
            time_limit: Duration::from_secs(600),
            memory_limit: 2 << 30,
            probe_time_limit: Duration::from_secs(30),
        }
    }
}

/// The first line of what is hashed. To be changed whenever the gate decides differently.
const KEY: &str = "kimg-pack 2";

/// The key under which an outcome may be kept: a digest of everything that decides the bytes.
///
/// These are the program with its platform, decision, probe and privileges, whether it is a daemon, the smallest size,
/// and, where UPX packs it, UPX's version. Limits are not among them: an outcome that hit one is not to be kept
/// ([`Outcome::may_be_kept`](crate::Outcome::may_be_kept)). What the candidate may be started with is not either.
pub fn key(candidate: &Candidate<'_>, upx_version: Option<&str>, settings: &Settings) -> Digest {
    let mut words =
        vec![KEY.to_owned(), candidate.content.digest().to_string(), candidate.packing.to_string()];
    words.push(candidate.platform.to_string());
    words.push(settings.minimum_size.to_string());
    if candidate.packing.upx.is_some() {
        words.push(upx_version.unwrap_or("none").to_owned());
        words.push(candidate.daemon.to_string());
    }
    words.push(candidate.privilege(candidate.packing).map_or(String::new(), |why| why.to_string()));
    if let Some(probe) = candidate.probe {
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
    use std::collections::{BTreeMap, BTreeSet};

    use kimg_core::variant::Probe;
    use kimg_core::{Content, Platform};

    use super::*;
    use crate::{Packing, Runners};

    #[test]
    fn a_mode_is_read_as_it_is_written() {
        for mode in [Mode::Auto, Mode::Require, Mode::Never] {
            assert_eq!(mode.to_string().parse(), Ok(mode));
        }
        assert_eq!("always".parse::<Mode>(), Err(ModeError("always".into())));
    }

    fn with_a_candidate(test: impl FnOnce(Candidate<'_>)) {
        let probe = Probe { arguments: vec!["version".into()], ..Probe::default() };
        test(Candidate {
            path: &"/p".parse().unwrap(),
            content: &Content::from_bytes("a"),
            platform: Platform::Amd64,
            packing: Packing::UPX,
            daemon: false,
            mode: 0o755,
            xattrs: &BTreeMap::new(),
            probe: Some(&probe),
            libraries: &[],
            runners: &Runners::none(),
        });
    }

    #[test]
    fn whatever_decides_the_bytes_changes_the_key() {
        let settings = Settings::default();
        let xattrs = |name: &str| BTreeMap::from([(name.to_owned(), vec![1])]);
        let (capable, signed) = (xattrs("security.capability"), xattrs("security.ima"));
        let environment = [("version".to_owned(), String::new())].into();
        let (empty, only_environment) = (Probe::default(), Probe { environment, ..Probe::default() });
        with_a_candidate(|base| {
            let candidates = [
                base,
                Candidate { content: &Content::from_bytes("b"), ..base },
                Candidate { packing: Packing::STRIP_UPX, ..base },
                Candidate { packing: "upx -9 --lzma".parse().unwrap(), ..base },
                Candidate { platform: Platform::Arm64, ..base },
                Candidate { daemon: true, ..base },
                Candidate { mode: 0o4755, ..base },
                Candidate { xattrs: &capable, ..base },
                Candidate { xattrs: &signed, ..base },
                Candidate { probe: None, ..base },
                Candidate { probe: Some(&empty), ..base },
                Candidate { probe: Some(&only_environment), ..base },
            ];
            let mut keys = candidates.map(|candidate| key(&candidate, Some("4.2.2"), &settings)).to_vec();
            keys.push(key(&base, Some("4.2.4"), &settings));
            keys.push(key(&base, None, &settings));
            keys.push(key(&base, Some("4.2.2"), &Settings { minimum_size: 0, ..settings.clone() }));
            let distinct: BTreeSet<_> = keys.iter().collect();
            assert_eq!(distinct.len(), keys.len());
        });
    }

    #[test]
    fn what_decides_no_bytes_leaves_the_key_alone() {
        let settings = Settings::default();
        let other =
            Settings { mode: Mode::Require, time_limit: Duration::ZERO, memory_limit: 1, ..settings.clone() };
        with_a_candidate(|base| {
            assert_eq!(key(&base, Some("4"), &settings), key(&base, Some("4"), &other));
            let private = Candidate { mode: 0o700, ..base };
            assert_eq!(key(&base, Some("4"), &settings), key(&private, Some("4"), &settings));
            // What is only stripped doesn't meet UPX.
            let strip = Candidate { packing: Packing::STRIP, ..base };
            assert_eq!(key(&strip, None, &settings), key(&strip, Some("4"), &settings));
        });
    }
}
