//! Where inputs come from: folders and mirrors of Alpine packages, programs of one's own, the cache
//! that keeps what was fetched and unpacked, and the lock that pins all of it.
//!
//! | module | holds |
//! | --- | --- |
//! | [`cache`] | the folder that keeps contents, packages and records between runs |
//! | [`location`] | a folder, `file://` or `https://` address, as people write it |
//! | [`fetch`] | HTTP with limits, time-outs, retries and resumption |
//! | [`repository`] | one Alpine repository at its mirrors: its index, its packages, verified |
//! | [`keys`] | whose signatures are trusted: Alpine's own keys, or those in a folder |
//! | [`lock`] | `kimg.lock` |
//! | [`program`] | programs that come from a path, an address or an archive instead of a package |
//!
//! What a mirror or a package says never decides where something is written: every name in the cache is
//! a digest that was computed here.
//!
//! ```
//! use kimg_source::location::Location;
//!
//! let mirror: Location = "https://dl-cdn.alpinelinux.org/alpine/v3.22/main".parse()?;
//! assert!(mirror.is_remote());
//! let folder: Location = "file:///srv/alpine/main".parse()?;
//! assert_eq!(folder.to_string(), "/srv/alpine/main");
//! # Ok::<(), kimg_source::location::LocationError>(())
//! ```

pub mod cache;
mod error;
pub mod fetch;
pub mod keys;
pub mod location;
pub mod lock;
pub mod program;
pub mod repository;
pub mod vendor;

pub use cache::Cache;
pub use error::SourceError;
pub use fetch::Fetcher;
pub use location::Location;
pub use lock::Lock;
pub use repository::Repository;

/// Alpine's own mirror, by way of its content network.
pub const ALPINE_MIRROR: &str = "https://dl-cdn.alpinelinux.org/alpine";
