//! What an image runs on.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// An operating system and processor that images are built for. The operating system is always Linux.
///
/// Reads every way people write one: `armv7`, `arm/v7`, `linux/arm/v7`, `arm32v7`, `x86_64`, `aarch64`, …;
/// prints the canonical OCI form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Platform {
    /// 64-bit x86, `linux/amd64`.
    Amd64,
    /// 64-bit ARM, `linux/arm64` (variant v8).
    Arm64,
    /// 32-bit ARM with hardware floating point, `linux/arm/v7`.
    ArmV7,
    /// 32-bit ARM of the first Raspberry Pi, `linux/arm/v6`.
    ArmV6,
}

/// A text that names no platform.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a platform: expected amd64, arm64, armv7 or armv6, or a form like linux/arm/v7")]
pub struct PlatformError {
    text: String,
}

impl Platform {
    /// The platforms that images are built for when nothing is said.
    pub const DEFAULT: [Self; 3] = [Self::Amd64, Self::Arm64, Self::ArmV7];

    /// The `architecture` of OCI's platform object (GOARCH).
    pub fn oci_architecture(self) -> &'static str {
        match self {
            Self::Amd64 => "amd64",
            Self::Arm64 => "arm64",
            Self::ArmV7 | Self::ArmV6 => "arm",
        }
    }

    /// The `variant` of OCI's platform object (image-spec, image-index.md, "Platform Variants").
    pub fn oci_variant(self) -> Option<&'static str> {
        match self {
            Self::Amd64 => None,
            Self::Arm64 => Some("v8"),
            Self::ArmV7 => Some("v7"),
            Self::ArmV6 => Some("v6"),
        }
    }

    /// Alpine's name of the architecture: the folder in a repository and `A:` in its index.
    pub fn alpine(self) -> &'static str {
        match self {
            Self::Amd64 => "x86_64",
            Self::Arm64 => "aarch64",
            Self::ArmV7 => "armv7",
            Self::ArmV6 => "armhf",
        }
    }

    /// The platform of an Alpine architecture.
    pub fn from_alpine(arch: &str) -> Option<Self> {
        [Self::Amd64, Self::Arm64, Self::ArmV7, Self::ArmV6].into_iter().find(|p| p.alpine() == arch)
    }

    /// The `<arch>` in musl's loader `/lib/ld-musl-<arch>.so.1` and its `/etc/ld-musl-<arch>.path`.
    pub fn musl(self) -> &'static str {
        match self {
            Self::Amd64 => "x86_64",
            Self::Arm64 => "aarch64",
            Self::ArmV7 | Self::ArmV6 => "armhf",
        }
    }

    /// The program of Debian's qemu-user-static that runs programs of this platform.
    pub fn qemu(self) -> &'static str {
        match self {
            Self::Amd64 => "qemu-x86_64-static",
            Self::Arm64 => "qemu-aarch64-static",
            Self::ArmV7 | Self::ArmV6 => "qemu-arm-static",
        }
    }

    /// A short name without slashes, for file names and table heads: `amd64`, `arm64`, `armv7`, `armv6`.
    pub fn short(self) -> &'static str {
        match self {
            Self::Amd64 => "amd64",
            Self::Arm64 => "arm64",
            Self::ArmV7 => "armv7",
            Self::ArmV6 => "armv6",
        }
    }

    /// `e_machine` of ELF files for this platform (System V ABI, "ELF Header").
    pub fn elf_machine(self) -> u16 {
        match self {
            Self::Amd64 => 62,
            Self::Arm64 => 183,
            Self::ArmV7 | Self::ArmV6 => 40,
        }
    }

    /// Whether ELF files for this platform are 64-bit ones.
    pub fn elf_is_64(self) -> bool {
        matches!(self, Self::Amd64 | Self::Arm64)
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Amd64 => "linux/amd64",
            Self::Arm64 => "linux/arm64",
            Self::ArmV7 => "linux/arm/v7",
            Self::ArmV6 => "linux/arm/v6",
        })
    }
}

impl FromStr for Platform {
    type Err = PlatformError;

    fn from_str(text: &str) -> Result<Self, PlatformError> {
        let name = text.trim().to_ascii_lowercase();
        match name.strip_prefix("linux/").unwrap_or(&name) {
            "amd64" | "x86_64" | "x86-64" => Ok(Self::Amd64),
            "arm64" | "arm64/v8" | "aarch64" | "arm64v8" => Ok(Self::Arm64),
            "arm/v7" | "armv7" | "armv7l" | "arm32v7" | "arm" => Ok(Self::ArmV7),
            "arm/v6" | "armv6" | "armv6l" | "arm32v6" | "armhf" => Ok(Self::ArmV6),
            _ => Err(PlatformError { text: text.to_owned() }),
        }
    }
}

impl Serialize for Platform {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Platform {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_four_ways_people_write_armv7_are_one_platform() {
        for text in ["armv7", "arm/v7", "linux/arm/v7", "arm32v7", "LINUX/ARM/V7"] {
            assert_eq!(text.parse(), Ok(Platform::ArmV7), "{text}");
        }
    }

    #[test]
    fn what_is_printed_is_read_back() {
        for platform in Platform::DEFAULT {
            assert_eq!(platform.to_string().parse(), Ok(platform));
            assert_eq!(platform.short().parse(), Ok(platform));
            assert_eq!(Platform::from_alpine(platform.alpine()), Some(platform));
        }
        assert!("riscv64".parse::<Platform>().is_err());
        assert!("windows/amd64".parse::<Platform>().is_err());
    }
}
