//! What to build out of a source, in words that a key can be made of.

use std::collections::BTreeMap;

use kimg_core::Platform;
use serde::Serialize;

/// What decides the bytes of a program, beside source, platform and toolchain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Recipe {
    /// What is built, for messages: `kubernetes v1.34.2`.
    pub what: String,
    /// How the source lies.
    pub layout: Layout,
    /// The commands.
    pub commands: Vec<Command>,
    /// Build tags.
    pub tags: Vec<String>,
    /// Variables that the linker sets (`-X`), by their full names. `{module}` in a name stands for the source's module.
    pub variables: BTreeMap<String, String>,
    /// Whether C parts are compiled too.
    pub cgo: bool,
    /// Against what programs with C parts are linked.
    pub link: Link,
    /// Where modules come from that the source does not hold.
    pub modules: Modules,
}

/// One program.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Command {
    /// What it is called.
    pub name: String,
    /// Its package in the source, as a relative path: `cmd/kubelet`, or `.`.
    pub package: String,
}

/// How a source lies.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Layout {
    /// As modules: with a `vendor/` folder, as a workspace, or neither.
    Modules,
    /// As part of a `GOPATH`, under its import path: `GO111MODULE=off`. What its go.mod says when not given.
    Gopath(Option<String>),
}

/// Against what a program with C parts is linked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Link {
    /// musl's `libc.so`, which the image has.
    Dynamic,
    /// Nothing: musl is inside.
    Static,
}

/// Where modules come from that the source does not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Modules {
    /// From nowhere.
    Vendored,
    /// From the proxy that go is set up for, each held against the source's go.sum.
    Download,
}

impl Recipe {
    /// What follows from the recipe for these commands, as text: the same recipe, the same text. The order of tags does not
    /// matter, nor which commands are built beside them.
    pub fn key_of(&self, commands: &[Command]) -> String {
        let mut one = self.clone();
        one.what.clear();
        one.commands = commands.to_vec();
        one.tags.sort();
        one.tags.dedup();
        serde_json::to_string(&one).unwrap_or_default()
    }
}

/// The words in which Go and zig name a platform.
pub(crate) trait Target {
    /// `GOARCH`.
    fn goarch(&self) -> &'static str;
    /// `GOARM`, where there is one.
    fn goarm(&self) -> Option<&'static str>;
    /// zig's `-target`.
    fn zig(&self) -> &'static str;
}

impl Target for Platform {
    fn goarch(&self) -> &'static str {
        self.oci_architecture()
    }

    fn goarm(&self) -> Option<&'static str> {
        match self {
            Self::ArmV7 => Some("7"),
            Self::ArmV6 => Some("6"),
            Self::Amd64 | Self::Arm64 => None,
        }
    }

    fn zig(&self) -> &'static str {
        match self {
            Self::Amd64 => "x86_64-linux-musl",
            Self::Arm64 => "aarch64-linux-musl",
            Self::ArmV7 | Self::ArmV6 => "arm-linux-musleabihf",
        }
    }
}
