//! A file tree as one file system in a file: squashfs, or EROFS.
//!
//! Owners, modes, links and extended attributes come from the tree. Nothing is unpacked, so no path of a package is ever a
//! path on this machine's disk, and no right of root is needed.
//!
//! # Why squashfs is written here
//!
//! Looked at first were `mksquashfs` of squashfs-tools 4.5.1 (Debian 12) and the crate backhand 0.25:
//!
//! | | same bytes every time | links, capabilities | threads | needs |
//! | --- | --- | --- | --- | --- |
//! | `mksquashfs - -tar` | no: the root folder gets the time of the day, and mode 0777, whatever `-root-time` and `-root-mode` say | yes | yes | a program, whose version decides the bytes |
//! | backhand | yes; but up to 0.25.0, the last for our Rust, two files whose first blocks are equal become one | neither | one | |
//! | here | yes, with any number of threads | both | all | |
//!
//! In size they do not differ: the programs of such an image for amd64, a tree of 222.9 MB, in blocks of 1 MiB, came to
//! 61,755,392 bytes with zstd at level 22 by `mksquashfs` and 61,698,048 by backhand, and with xz to 56,467,456 and
//! 56,627,200; with xz and the filter for machine code of x86 to 53,653,504 by `mksquashfs`, and in blocks of 128 KiB, its
//! default, to 60,952,576.
//!
//! Here the image of kubelet 1.20.2 with containerd, a tree of 215.4 MB for amd64, comes to 52,035,584 bytes with xz and the
//! filter and to 59,502,592 with zstd: so XZ is the default. `examples/squashfs_bench.rs` measures both, beside
//! `mksquashfs`.
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

pub mod erofs;
pub mod squashfs;

mod error;

use std::collections::BTreeMap;

use kimg_core::{Entry, ImagePath};

pub use error::RootfsError;

/// What a file system holds, every folder included.
pub type Entries = BTreeMap<ImagePath, Entry>;
