//! A file tree as one file system in a file: squashfs.
//!
//! Owners, modes, links and extended attributes come from the tree. Nothing is unpacked, so no path of a package is ever a
//! path on this machine's disk, and no right of root is needed.
//!
//! ```
//! use std::collections::BTreeMap;
//! use std::io::Cursor;
//!
//! use kimg_core::{Content, Entry, ImagePath, Origin, Platform};
//! use kimg_rootfs::squashfs;
//!
//! let motd = Entry::file(Content::from_bytes("hello\n"), 0o644, Origin::generated("example"));
//! let entries = BTreeMap::from([(ImagePath::new("/motd")?, motd)]);
//! let options = squashfs::Options {
//!     codec: "zstd:3".parse()?,
//!     platform: Platform::Amd64,
//!     made: 0,
//!     epoch: Some(0),
//! };
//! let image = squashfs::write(&entries, &options, Cursor::new(Vec::new()))?.into_inner();
//! assert_eq!(&image[..4], b"hsqs");
//! assert_eq!(image.len(), 4096);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
pub mod squashfs;

mod error;

use std::collections::BTreeMap;

use kimg_core::{Entry, ImagePath};

pub use error::RootfsError;

/// What a file system holds, every folder included.
pub type Entries = BTreeMap<ImagePath, Entry>;
