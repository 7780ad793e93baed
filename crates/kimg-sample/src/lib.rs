//! Builds small signed Alpine repositories and ELF programs, and with them the embedded sample.
//!
//! Nothing here comes from outside: packages, indexes, signatures and programs are made in memory
//! when they are asked for, the same bytes every time. That serves two ends.
//!
//! - [`sample()`] is a source for a first `kimg build --sample` where no Alpine mirror can be reached. It
//!   has every package that kimg's own variants name, for three architectures. Its programs do start, but
//!   only print their name and version; it is signed with a [key that is worth nothing](Signer). So it
//!   shows that kimg chooses packages, checks signatures, walks needs and cuts layers. It shows nothing
//!   about Kubernetes, and whatever it makes says "sample".
//! - [`elf`], [`package`] and [`repository`] are the builders it is made with, for tests that need a program,
//!   package or repository of a certain shape, broken ones among them.
//!
//! | module | builds |
//! | --- | --- |
//! | [`elf`] | programs, libraries and a loader, as bytes |
//! | [`package`] | `.apk` files of APK v2 |
//! | [`repository`] | folders of packages with a signed `APKINDEX.tar.gz` |
//!
//! ```
//! let sample = kimg_sample::sample();
//! assert!(sample.files.contains_key("armv7/kubelet-1.34.2-r0.apk"));
//! assert_eq!(sample.keys[0].0, "kimg-sample-worthless.rsa.pub");
//! ```

pub mod elf;
mod error;
pub mod package;
pub mod repository;
mod sample;
mod signer;

pub use error::SampleError;
pub use sample::{KUBERNETES_VERSION, Sample, sample};
pub use signer::Signer;
