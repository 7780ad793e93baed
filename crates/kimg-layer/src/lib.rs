//! Layers: a set of files becomes one compressed tar archive, the same bytes every time, on every machine.
//!
//! A *layer* is what registries store and nodes pull: a tar archive, compressed (OCI image-spec, layer.md).
//! Two digests name it: that of the compressed bytes (what is pulled) and that of the archive inside (the *diff ID*).
//!
//! | function | does |
//! | --- | --- |
//! | [`write()`] | entries → compressed archive ([`Codec`], [`Order`]), streaming, with both digests and sizes |
//! | [`key`] | what decides the bytes, as one digest, without compressing anything: the name in a cache |
//! | [`write_archive`] | the archive alone, not compressed |
//! | [`diff_id`] | what names the archive inside, without compressing anything |
//! | [`check()`] | whether a blob that others made holds that archive, compressed as was asked for |
//! | [`read()`] | archive → entries, bounded, for tests and verification |
//! | [`read_upper`] | the same of a layer that others made, which may need the layers below it |
//! | [`BlobStore`] | a folder of blobs named by their digests |
//! | [`TarWriter`] | the archive writer alone, for image archives |
//!
//! ```
//! use std::collections::BTreeMap;
//! use kimg_core::{Content, Entry, ImagePath, MemorySink, Origin};
//! use kimg_layer::{Codec, Limits, Options};
//!
//! let motd = Entry::file(Content::from_bytes("hello\n"), 0o644, Origin::generated("example"));
//! let entries = BTreeMap::from([
//!     (ImagePath::new("/etc")?, Entry::directory(Origin::generated("example"))),
//!     (ImagePath::new("/etc/motd")?, motd),
//! ]);
//! let options = Options { codec: "gzip:9".parse::<Codec>()?, epoch: Some(0), ..Options::default() };
//! let (bytes, info) = kimg_layer::write(&entries, &options, Vec::new())?;
//! assert_eq!(info.size, bytes.len() as u64);
//!
//! let (again, diff_id) = kimg_layer::read(&bytes[..], &info.media_type, &Limits::default(), &mut MemorySink)?;
//! assert_eq!(again.len(), 2);
//! assert_eq!(diff_id, info.diff_id);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What decides the bytes
//!
//! * **Order**: by the bytes of the paths, or with large programs put together by what they are ([`Order`]). Folders come
//!   before what is in them, and a file's further names after its first one.
//! * **Times** later than [`Options::epoch`] are set to it; whole seconds.
//! * **Owners** are numbers; the name fields are empty.
//! * **Format**: ustar (POSIX.1-1988) where a value fits and is ASCII, else additional PAX records (POSIX.1-2001), sorted by key.
//!   Extended attributes are `SCHILY.xattr.` records, which GNU tar, Go and every container runtime read.
//! * **Hard links**: regular files with the same inode marker, content and metadata are written once, then as links
//!   to the first of them in order. A link's header repeats mode, owner and extended attributes: runtimes
//!   `chown` a link after making it, which takes setuid and capabilities off the file it shares,
//!   and put back what the link's own header says.
//! * **Never**: sparse entries, GNU long-name entries, device nodes, access or change times.
//! * **gzip**: one member. libdeflate compresses pieces of the archive of a fixed size, on as many threads as there are;
//!   no file name, no time, operating system 255 ("unknown") in the header. It makes the same on every processor
//!   (libdeflate's `NEWS.md`, version 0.8).
//! * **zstd**: one frame, one thread, pieces of a fixed size, however the contents were read; a checksum and no content
//!   size in the frame, but parameters that fit the archive's size, so that its window is no larger than it needs.
//! * **Versions** of the compressors are pinned exactly and are part of the [`key`]. The number of threads never is.
//!
//! # Memory and threads
//!
//! A layer of any size takes little memory: in gzip at most 17 pieces of 2 MiB are on their way, and each thread at work
//! takes up to 16 MiB more. zstd has its window and its tables. Peaks of a process that writes 2 GiB: 32 MiB with gzip on two
//! threads, 97 MiB with zstd:19, 185 MiB with zstd:19:window=64MiB, 393 MiB with zstd:22:window=64MiB
//! (`examples/memory_bench.rs`). Levels from 20 on without a chosen window take more, here and on the node.
//! gzip's pieces are compressed on the rayon pool that [`write()`] is called in. So whoever writes layers in parallel, in
//! a pool with `par_iter` or `install`, bounds by the pool's size how much is at work at once, layers and pieces together.
//!
//! The headers are written here and not by the `tar` crate, because it can't promise the bytes: its builder writes
//! sparse entries depending on the file system, writes long names as GNU entries, chooses between ustar and
//! extensions by its own rules that may change, its "deterministic" mode sets a time of its own, and its reader
//! splits PAX records at newlines, which cuts binary attributes apart. It is the second opinion in the tests.

mod blobs;
mod check;
mod codec;
mod decode;
mod deflate;
mod encode;
mod error;
mod gzip;
mod header;
mod order;
mod pax;
mod plan;
mod read;
mod tar;
mod write;

pub use blobs::BlobStore;
pub use check::check;
pub use codec::{Codec, CodecError, Window};
pub use decode::decode;
pub use error::LayerError;
pub use order::{Order, OrderError};
pub use plan::key;
pub use read::{Limits, Node, NodeKind, UpperLayer, read, read_upper};
pub use tar::TarWriter;
pub use write::{LayerInfo, diff_id, write, write_archive};

use std::collections::BTreeMap;

use kimg_core::{Entry, ImagePath};

/// What a layer holds. Written as given: no parent folder is invented (it may lie in a lower layer).
pub type Entries = BTreeMap<ImagePath, Entry>;

/// How a layer is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Options {
    /// The compressor, its level and its window.
    pub codec: Codec,
    /// What is written after what.
    pub order: Order,
    /// Seconds since 1970: times later than this are set to it (`SOURCE_DATE_EPOCH`).
    pub epoch: Option<u64>,
}
