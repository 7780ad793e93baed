//! The vocabulary of kimg: the types that every stage speaks, and nothing that reaches outside.
//!
//! | type | is |
//! | --- | --- |
//! | [`Platform`] | what an image runs on, in OCI's, Alpine's and ELF's words |
//! | [`Digest`] | a SHA-256, as registries write it |
//! | [`KubernetesVersion`] | `v1.20.2`, ordered, and read out of a package's version |
//! | [`ImagePath`] | an absolute, normalised path inside an image; never one on this machine's disk |
//! | [`FileTree`] | every path of a root file system with mode, owner, content digest and origin; never unpacked |
//! | [`Content`] | the bytes of one regular file, named by digest and read only when asked for |
//! | [`Variant`] | what an image is wanted to hold: [as written](variant::written) and [as resolved](variant::Variant) |
//! | [`ErrorClass`] | the kind of an error, and with it the exit code |
//!
//! ```
//! use kimg_core::{Content, Entry, FileTree, ImagePath, Origin, Platform};
//!
//! let platform: Platform = "armv7".parse()?;
//! assert_eq!(platform.to_string(), "linux/arm/v7");
//!
//! let mut tree = FileTree::new();
//! let sh = ImagePath::new("/bin/sh")?;
//! tree.insert(ImagePath::new("/bin/busybox")?, Entry::file(Content::from_bytes("…"), 0o755, Origin::generated("doc")));
//! tree.insert(sh.clone(), Entry::symlink("/bin/busybox", Origin::generated("doc")));
//! tree.add_parents(&Origin::generated("doc"));
//! assert_eq!(tree.resolve(&sh)?.path.as_str(), "/bin/busybox");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod content;
mod digest;
mod error;
mod kubernetes;
mod path;
mod platform;
mod tree;
pub mod variant;

pub use content::{Content, ContentError, ContentSink, ContentSource, MemorySink, ReadSeek};
pub use digest::{Digest, DigestError, DigestWriter};
pub use error::{Classified, ErrorClass};
pub use kubernetes::{KubernetesVersion, KubernetesVersionError};
pub use path::{ImagePath, ImagePathError};
pub use platform::{Platform, PlatformError};
pub use tree::{Entry, FileTree, Kind, Origin, ResolveError, Resolved};
pub use variant::Variant;
