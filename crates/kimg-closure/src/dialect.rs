//! Whose rules libraries are searched by: a program says it by the loader it names.

use std::fmt;

use kimg_core::Platform;
use serde::{Deserialize, Serialize};

/// A loader's way to find libraries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Dialect {
    /// musl's, as on Alpine: what `musl.rs` says.
    Musl,
    /// glibc's, as on Debian and in distroless roots: what `glibc.rs` says.
    Glibc,
}

impl Dialect {
    /// The dialect of a loader, by its name as `PT_INTERP` has it.
    pub fn of_interpreter(interpreter: &str) -> Self {
        let name = interpreter.rsplit('/').next().unwrap_or_default();
        if name.starts_with("ld-linux") || name.starts_with("ld64.so") { Self::Glibc } else { Self::Musl }
    }

    /// The loader that programs of a platform ask for.
    pub(crate) fn default_interpreter(self, platform: Platform) -> String {
        match (self, platform) {
            (Self::Musl, _) => format!("/lib/ld-musl-{}.so.1", platform.musl()),
            (Self::Glibc, Platform::Amd64) => "/lib64/ld-linux-x86-64.so.2".to_owned(),
            (Self::Glibc, Platform::Arm64) => "/lib/ld-linux-aarch64.so.1".to_owned(),
            (Self::Glibc, Platform::ArmV7 | Platform::ArmV6) => "/lib/ld-linux-armhf.so.3".to_owned(),
        }
    }
}

impl fmt::Display for Dialect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Musl => "musl",
            Self::Glibc => "glibc",
        })
    }
}
