//! Packs programs with UPX, behind a gate: what does not shrink, or does not answer as before, stays plain.
//!
//! UPX makes a program smaller on the disk; the program then unpacks itself into private memory at each
//! start. That suits a program that is started now and then (kubeadm) and not one that runs for long
//! (kubelet), whose pages would otherwise be shared, and dropped when memory is short. So [`pack`] takes
//! one program and gives an [`Outcome`]: packed, or plain with the reason. It is never silent, and a
//! program that can't be packed is no error; only under [`Mode::Require`] is a packer that is missing or
//! broken one.
//!
//! # What a program passes through
//!
//! 1. It is no daemon, not small, an ELF program for the right processor, no shared library, no static
//!    PIE, carries no data behind its ELF part, and has a [probe](kimg_core::variant::Probe): a harmless
//!    way to see that it starts.
//! 2. UPX runs in a process of its own: an empty environment, a private folder, limits on time, memory and
//!    file size. Its result must be a smaller ELF program of the same class and processor, with segments
//!    aligned no less than before (arm64 kernels with pages of 64 KiB), and on 32-bit ARM without an
//!    executable segment of whole pages (it may crash, with every UPX but 4.2.4).
//! 3. Where it can be started on this machine ([`Runners`]), the plain and the packed program are given
//!    the probe and must answer alike: exit code, standard output, standard error. Where it can't be, the
//!    packed one is kept and the outcome says so: the bytes don't depend on what this machine can start,
//!    except where a start here proves the packed one wrong.
//!
//! # Which options
//!
//! [`Settings::default`] asks for `--best --lzma`. Measured with UPX 4.2.2 on amd64, Kubernetes 1.20.2 and CNI
//! plugins 1.1.1 (size; time to pack, one core; median time of 15 starts):
//!
//! | options | kubeadm | packed in | start | bridge | packed in | start |
//! | --- | --- | --- | --- | --- | --- | --- |
//! | none, plain | 42,728,768 | | 41 ms | 2,928,640 | | 2 ms |
//! | `-7` | 11,822,300 | 3 s | 190 ms | 1,204,844 | 0.5 s | 23 ms |
//! | `-9` | 11,567,732 | 13 s | | 1,197,204 | 1.8 s | |
//! | `-9 --lzma` | 8,193,760 | 20 s | 611 ms | 951,788 | 1.6 s | 75 ms |
//! | `--best --lzma` | 8,164,704 | 22 s | 533 ms | 951,788 | 1.6 s | 75 ms |
//!
//! `--best` without `--lzma` tries every method and filter: 24 minutes for 11.33 MB. Without LZMA a packed
//! program is about as big as a gzip layer makes the plain one, so it saves nothing of what a node pulls.
//! LZMA costs half a second for each start of kubeadm, and a CNI plugin is started several times for each
//! pod: whoever minds that, or compresses layers with zstd (all sixteen plugins plain in 6.6 MB, against
//! 14.9 MB packed), leaves plugins plain.
//!
//! # Example
//!
//! ```
//! use kimg_core::{Content, ImagePath, MemorySink, Platform};
//! use kimg_pack::{Candidate, Outcome, Packing, PlainReason, Runners, Settings, pack};
//!
//! let path = ImagePath::new("/usr/bin/kubelet")?;
//! let content = Content::from_bytes(vec![0; 2_000_000]);
//! let candidate = Candidate {
//!     path: &path,
//!     content: &content,
//!     platform: Platform::Amd64,
//!     packing: Packing::default(),
//!     daemon: true,
//!     mode: 0o755,
//!     xattrs: &Default::default(),
//!     probe: None,
//!     libraries: &[],
//!     runners: &Runners::none(),
//! };
//! let outcome = pack(&candidate, None, &Settings::default(), "/tmp".as_ref(), &mut MemorySink)?;
//! assert_eq!(outcome, Outcome::Plain { why: PlainReason::Daemon });
//! assert!(outcome.to_string().starts_with("plain: a daemon's pages"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod elf;
mod error;
mod gate;
mod leftovers;
mod measure;
mod outcome;
mod packing;
mod reason;
mod run;
mod runners;
mod sections;
mod settings;
mod start;
mod strip;
mod upx;
mod watch;

pub use error::PackError;
pub use gate::{Candidate, pack};
pub use measure::{Measured, Starts, measure};
pub use outcome::{Outcome, Started, Times};
pub use packing::{Packing, PackingError, UpxOptions};
pub use reason::{Difference, PlainReason};
pub use runners::Runners;
pub use settings::{Mode, ModeError, Settings, key};
pub use upx::Upx;
