//! Packs programs, behind a gate: what does not shrink, or does not answer as before, stays plain.
//!
//! Two things make a program smaller on the disk. It can be stripped of what no segment maps, which changes nothing
//! while it runs; and UPX can pack it, which then unpacks itself into private memory at each start. That suits a
//! program that is started now and then (kubeadm) and not one that runs for long (kubelet), whose pages would
//! otherwise be shared, and dropped when memory is short. What is done is a decision for each program, a [`Packing`].
//! [`pack`] follows it and gives an [`Outcome`]: packed, or plain with the reason. It is never silent, and a
//! program that can't be packed is no error; only under [`Mode::Require`] is a packer that is missing or
//! broken one. [`accept`] judges a program that another machine packed, [`same_answers`] one that takes another's place in
//! another way. [`measure`] tries several decisions and says what each gives; it decides nothing.
//!
//! # What a program passes through
//!
//! 1. It is not small, an ELF program for the right processor, not packed already, carries no data that no header
//!    knows of (self-extractors, archives), and its bytes are not signed in an attribute. Kernel modules and object
//!    files stay as they are. For UPX it is also no daemon, no shared library, no static PIE (those of musl break), has
//!    no setuid or setgid bit and no capabilities (no start here would show that it keeps them), no section of its own
//!    kind that is not mapped (it may read it in its file), and has a [probe](kimg_core::variant::Probe): a harmless
//!    way to see that it starts.
//! 2. It is stripped, by code of this crate, if that was decided.
//! 3. UPX runs in a process of its own: an empty environment, a private folder, limits on time, memory, sizes of files
//!    and of the folder, and an end for everything that it started. Its result is read once; it must be a smaller
//!    ELF program of the same class and processor with segments that a kernel maps, aligned no less than before (arm64
//!    kernels with pages of 64 KiB, arm with 32 KiB), and on 32-bit ARM without an executable segment of whole pages
//!    (it may crash, with every UPX but 4.2.4). `upx -d` must give back what went in.
//! 4. Where it can be started on this machine ([`Runners`]), in a folder that UPX has not seen, the plain and the packed
//!    program are each given the probe twice and must answer alike: exit code, standard output, standard error,
//!    byte for byte. A program whose own answers differ (a time, a process id) can't be compared and stays plain:
//!    nothing is masked. Where it can't be started, the packed one is kept and the outcome says so: the bytes don't
//!    depend on what this machine can start, except where a start here proves the packed one wrong.
//!
//! Limits are set on a process right after its start, since between fork and exec it takes unsafe code: what it
//! starts in its very first moment may be without them. A process that gives up its group, outputs, folder and
//! environment on purpose outlives its end; and a packer, which runs with the rights of who runs kimg, can write
//! wherever that user can. None of this reaches an image.
//!
//! # What strip drops
//!
//! Sections that are not mapped and hold symbols, debug information, or the compiler's name (`.symtab` with its
//! `.strtab`, `.debug_*`, `.zdebug_*`, `.gdb_index`, `.gnu_debuglink`, `.comment`). Notes and all that is unknown are
//! kept, with a new table of sections. What is mapped stays byte for byte: Go's `.gopclntab`, and so the traces of
//! panics, and `.go.buildinfo`. Debuggers, and probes on functions by name, lose the names. Nothing is dropped of a
//! program that holds code to read symbols, as Go's `debug/elf`: it may be for its own.
//!
//! On the real packages (`cargo run -p kimg-pack --example pack_bench strip`), in bytes:
//!
//! | file | platform | plain | stripped | gzip -9 of plain | of stripped |
//! | --- | --- | ---: | ---: | ---: | ---: |
//! | kubelet | linux/amd64 | 67,082,048 | 57,742,864 | 18,690,378 | 17,585,259 |
//! | kubelet | linux/arm64 | 64,832,856 | 55,493,168 | 16,758,844 | 15,683,383 |
//! | kubelet | linux/arm/v7 | 63,158,452 | 54,247,136 | 17,884,634 | 16,457,329 |
//! | kubeadm | linux/amd64 | 42,728,768 | 36,566,448 | 11,808,832 | 11,085,554 |
//! | kubeadm | linux/arm64 | 41,495,368 | 35,333,136 | 10,587,158 | 9,882,448 |
//! | kubeadm | linux/arm/v7 | 40,635,072 | 34,637,976 | 11,370,670 | 10,317,780 |
//! | kube-proxy | linux/amd64 | 42,805,480 | 36,733,968 | 11,816,674 | 11,094,440 |
//! | kube-proxy | linux/arm64 | 41,532,416 | 35,460,720 | 10,573,793 | 9,870,712 |
//! | kube-proxy | linux/arm/v7 | 40,712,092 | 34,812,160 | 11,393,526 | 10,342,941 |
//!
//! All other files of the packages were stripped by whoever made them, but for `.comment` and the like.
//!
//! # Which decision
//!
//! [`Packing::default`] is `upx --best --lzma`. Measured with UPX 4.2.2 on amd64, Kubernetes 1.20.2 and CNI plugins
//! 1.1.1 by `cargo run -p kimg-pack --example pack_bench` (sizes in bytes, memory in MB, median of 15 starts). Other
//! work kept the machine busy ten times over, and unevenly: its times say little, those of an idle one are below:
//!
//! | program | decision | size | gzip -9 | packed in | start | memory |
//! | --- | --- | ---: | ---: | ---: | ---: | ---: |
//! | kubeadm | `plain` | 42,728,768 | 11,808,832 | | 188 ms | 38.0 |
//! | kubeadm | `strip` | 36,566,448 | 11,085,554 | 0.1 s | 162 ms | 37.4 |
//! | kubeadm | `upx -7` | 11,822,300 | 11,388,692 | 34 s | 692 ms | 47.6 |
//! | kubeadm | `upx -9` | 11,567,732 | 11,144,441 | 179 s | 593 ms | 47.2 |
//! | kubeadm | `upx -9 --lzma` | 8,193,760 | 8,195,073 | 104 s | 4131 ms | 47.1 |
//! | kubeadm | `upx --best --lzma` | 8,164,704 | 8,166,001 | 193 s | 2814 ms | 47.5 |
//! | kubeadm | `strip + upx -9` | 10,722,324 | 10,368,996 | 150 s | 530 ms | 47.3 |
//! | kubeadm | `strip + upx --best --lzma` | 7,630,848 | 7,631,963 | 149 s | 4155 ms | 47.4 |
//! | bridge | `plain` | 2,928,640 | 1,231,354 | | 17.9 ms | 3.5 |
//! | bridge | `upx -7` | 1,204,844 | 1,179,838 | 4.4 s | 176.1 ms | 4.1 |
//! | bridge | `upx -9` | 1,197,204 | 1,173,458 | 25.7 s | 67.3 ms | 4.1 |
//! | bridge | `upx -9 --lzma` | 951,788 | 950,841 | 8.2 s | 178.5 ms | 3.9 |
//! | bridge | `upx --best --lzma` | 951,788 | 950,841 | 18.6 s | 406.7 ms | 3.9 |
//!
//! With nothing else to do, a machine starts kubeadm in 34 ms plain, 158 ms packed and 515 ms packed with LZMA, and
//! bridge in 4, 20 and 68 ms. UPX then takes 3 s for `-7`, 13 s for `-9` and 22 s for `--best --lzma` of kubeadm.
//!
//! `--best` without `--lzma` tries every method and filter: 24 minutes for 11.33 MB; it is no [`Packing`]. Without
//! LZMA a packed program is about as big as a gzip layer makes the plain one, so it saves nothing of what a node pulls.
//! LZMA costs half a second for each start of kubeadm, and a CNI plugin is started several times for each
//! pod: whoever minds that, or compresses layers with zstd (all sixteen plugins plain in 6.6 MB, against
//! 14.9 MB packed), leaves plugins plain. Stripping costs nothing and saves for daemons too.
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
pub use gate::{Candidate, accept, pack, same_answers};
pub use measure::{Measured, Starts, measure};
pub use outcome::{Outcome, Started, Times};
pub use packing::{Packing, PackingError, UpxOptions};
pub use reason::{Difference, PlainReason};
pub use runners::Runners;
pub use settings::{Mode, ModeError, Settings, key};
pub use upx::Upx;
