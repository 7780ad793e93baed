//! OCI image layouts (OCI image-spec, image-layout.md): a folder with `oci-layout`, `index.json` and `blobs/`.

mod read;
mod sweep;
mod write;

pub(crate) use read::ConfigFile;
pub use read::{Layout, LayoutImage};
pub use write::{LayoutReport, write_layout};

/// The whole content of `oci-layout`.
pub(crate) const LAYOUT_FILE: &[u8] = br#"{"imageLayoutVersion":"1.0.0"}"#;

/// Configs, manifests and indexes larger than this are not read: 4 MiB, what registries take
/// (OCI distribution-spec, "Pushing Manifests").
pub(crate) const MAX_JSON: u64 = 4 << 20;
