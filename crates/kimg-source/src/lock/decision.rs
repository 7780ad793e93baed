//! What was measured and decided, and is followed by every build: how programs are packed and layers compressed.

use kimg_core::{Digest, Platform};
use serde::{Deserialize, Serialize};

/// `[[packing]]`: how a program is packed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LockedPacking {
    /// What images were to be when it was measured: `balanced gzip shared`. For other aims it says nothing.
    pub aims: String,
    /// The platform of the program.
    pub platform: Platform,
    /// Where it stands in images. For people: the digest tells which program it is.
    pub program: String,
    /// The SHA-256 of the program as its package has it.
    pub sha256: Digest,
    /// `plain`, `strip`, `upx --best --lzma`.
    pub packing: String,
    /// The SHA-256 of what that makes of it, if it is not plain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<Digest>,
}

/// `[[layer]]`: how a layer is compressed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LockedLayer {
    /// As of [`LockedPacking::aims`].
    pub aims: String,
    /// The platform of the layer.
    pub platform: Platform,
    /// The image whose variants share it: `kubelet`.
    pub image: String,
    /// The variant, where each has its own: with a single layer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
    /// Its name.
    pub layer: String,
    /// `zstd:19:window=64MiB`
    pub codec: String,
}
