//! Compiled programs that were to be one, and how large they are both ways.

use std::fmt;

use kimg_core::Platform;
use serde::Serialize;

use crate::size;

/// Programs of one source that were to be one, which goes by the name it is started by.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Joined {
    /// Their source and its version.
    pub what: String,
    /// What they run on.
    pub platform: Platform,
    /// The programs, each alone.
    pub programs: Vec<Alone>,
    /// The size of the one, in bytes; `None` if there is none, and each is compiled for itself.
    pub size: Option<u64>,
    /// Why there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// A program of several that are one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Alone {
    /// What it is called.
    pub name: String,
    /// Its size when it is compiled for itself, before it is packed, in bytes. `None` where it was not: another machine
    /// compiled the one.
    pub size: Option<u64>,
}

impl Joined {
    /// The sizes of all programs alone, in bytes, if they are known.
    pub fn apart(&self) -> Option<u64> {
        self.programs.iter().map(|program| program.size).sum()
    }
}

/// `kubelet and kubeadm of kubernetes v1.34.2 for linux/arm64 are one program: 60.1 MB instead of 90.2 MB`
impl fmt::Display for Joined {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.programs.iter().map(|program| program.name.as_str()).collect();
        let names = match &names[..] {
            [first @ .., last] if !first.is_empty() && names.len() < 5 => {
                format!("{} and {last}", first.join(", "))
            }
            _ => format!("{} programs", names.len()),
        };
        write!(f, "{names} of {} for {} ", self.what, self.platform)?;
        match (self.size, self.apart()) {
            (Some(one), Some(apart)) => {
                write!(f, "are one program: {} instead of {}", size(one), size(apart))
            }
            (Some(one), None) => write!(f, "are one program: {}", size(one)),
            (None, _) => {
                write!(f, "can't be one program, and are built each for itself")?;
                self.why.as_ref().map_or(Ok(()), |why| write!(f, ": {why}"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways_are_told_as_far_as_they_are_known() {
        let mut joined = Joined {
            what: "kubernetes v1.34.2".into(),
            platform: Platform::Arm64,
            programs: [("kubelet", 60_100_000), ("kubeadm", 30_100_000)]
                .map(|(name, size)| Alone { name: name.into(), size: Some(size) })
                .into(),
            size: Some(65_000_000),
            why: None,
        };
        let begin = "kubelet and kubeadm of kubernetes v1.34.2 for linux/arm64";
        assert_eq!(joined.to_string(), format!("{begin} are one program: 65.0 MB instead of 90.2 MB"));
        joined.programs[1].size = None;
        assert_eq!(joined.to_string(), format!("{begin} are one program: 65.0 MB"));
        (joined.size, joined.why) = (None, Some("both are called main".into()));
        assert_eq!(
            joined.to_string(),
            format!("{begin} can\'t be one program, and are built each for itself: both are called main")
        );
    }
}
