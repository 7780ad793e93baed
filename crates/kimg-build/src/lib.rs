//! The pipeline: from variants and sources to images. This page explains all of it.
//!
//! ```text
//! variants/*.toml ─► Variant            kimg.toml and flags ─► Project
//!                       │                                        │
//!                       └──────────────┬─────────────────────────┘
//!  wishes     roots of a variant → names for the solver (`cmd:mount`), version of Kubernetes
//!  inputs     indexes read and verified → packages chosen → fetched, verified, unpacked into the cache → Go programs
//!             compiled ([`golang`]) → lock
//!  select     packages laid over each other → roots found → closure, each file with its reason → layers cut
//!  aims       what is to be small (pull, disk, both) → how each program is packed and each layer compressed: the lock's
//!             word, which `tune` measured, or a default
//!  pack       programs → symbols off, and UPX for those that are no daemons, behind its gate; each unique one once
//!  layers     deterministic tar, compressed; each unique one once, kept in the cache under its key
//!  images     config, manifest, index, tags → OCI layout, oci-archive, docker-archive
//!  filesystems  the same files alone, one archive or file system an image: rootfs-tar, portable services
//!  statements what is in the images and what they are made of, as SBOM and provenance, where that is asked for
//!  publish    which repository each index goes to → a release, pushed whole or not at all
//!  report     what was resolved, fetched, left out, packed, and how big it became
//! ```
//! Data flows down this list only, and nothing between `inputs` and `publish` reaches the network but what is asked of
//! shared caches. Each stage is a module with
//! one function that takes what the stage before gave; the crates that do the work know nothing of each other:
//!
//! | stage | crate |
//! | --- | --- |
//! | inputs | `kimg-source` (mirrors, cache, lock), `kimg-apk` (index, signature, solver, package), `kimg-go` (programs that are compiled) |
//! | select | `kimg-apk` (install), `kimg-closure` (ELF needs, scripts, rules, reasons) |
//! | pack | `kimg-pack` |
//! | layers | `kimg-layer` |
//! | images | `kimg-image` |
//! | filesystems | `kimg-rootfs`, `kimg-layer` |
//! | publish; programs and layers of other machines | `kimg-registry` |
//! | statements, report | `kimg-report` |
//!
//! # What is shared, and why nothing is done twice
//!
//! Every file's bytes lie once in the cache under their digest; a tree only names them. What a stage makes is
//! kept there under a key that names everything it follows from: an unpacked package under its identity, a
//! packed program under program, packer and options, a layer under its entries, codec and format. A second run
//! finds all of them and writes nothing but the layout; and so does another machine, by way of [`shared_cache`].
//!
//! # How layers are cut
//!
//! Every root names its layer, and the closure walks the roots in the order of the layers, so a file belongs to
//! the lowest layer whose roots need it. The walk of the first roots is the same whatever roots follow: plain's
//! `base` and `kubelet` are, byte for byte, the lowest layers of every other variant of kubelet. What tells the
//! images apart in any case (the database of installed packages) is a small layer of its own on top, `record`. A program
//! that is several ([`golang`]) has a layer of its own; that of kubelet and kube-proxy is the lowest, and so stored once for both.
//!
//! # Why the same lock gives the same bytes
//!
//! No stage knows the time, the user, the machine or the number of threads: times come from the packages and
//! are clamped to `SOURCE_DATE_EPOCH`, owners are numbers, entries are sorted, the codecs' versions are pinned,
//! and the packer's version and options stand in the lock.
//!
//! # Beside the pipeline
//!
//! [`shared_cache`] lets machines take layers, and packed and compiled programs, over from each other by way of a registry.
//! [`budget`] refuses images that became too large, before any is written, and tells what grew; [`matrix`] measures
//! images that exist. [`existing`] reads images that were made before, by whomever; [`slim`] makes a smaller image out of any of them, or of a
//! folder with a root file system, by the same closure, layers and outputs.
//!
//! `kimg-node` follows from variants alone: a variant says by version and runtime with which words a kubelet starts, and which
//! paths of its machine it works with, and that crate says it in the words of Docker, podman, containerd and systemd.
//!
//! # Example
//!
//! ```
//! use kimg_build::{Build, LockUse, Overrides, Project, Settings, Silent};
//! use kimg_source::{Cache, Fetcher};
//!
//! let folder = tempfile::tempdir()?;
//! let flags = Overrides {
//!     variants: vec!["cni".into()],
//!     platforms: vec!["armv7".parse()?],
//!     sample: true,
//!     pack: Some("never".into()),
//!     outputs: vec![format!("type=oci,dest={}", folder.path().join("out").display())],
//!     ..Overrides::default()
//! };
//! let project = Project::new(&Settings::default(), folder.path(), &flags)?;
//! let build = Build {
//!     project: &project,
//!     cache: Cache::open(&folder.path().join("cache"))?,
//!     fetcher: Fetcher::offline(),
//!     lock: LockUse::None,
//!     epoch: None,
//!     search_path: "/usr/bin".into(),
//!     events: &Silent,
//! };
//! let outcome = build.run()?;
//! assert_eq!(outcome.tagged[0].tags, ["kubelet:v1.34.2-cni-sample", "kubelet:v1.34-cni-sample"]);
//! assert_eq!(outcome.report.images.len(), 1);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod aims;
pub mod audit;
pub mod budget;
pub mod build;
pub mod doctor;
pub mod error;
pub mod events;
pub mod existing;
pub mod filesystems;
mod generated;
pub mod golang;
pub mod images;
pub mod inputs;
pub mod layers;
pub mod matrix;
pub mod outdated;
mod output;
pub mod packing;
pub mod preflight;
pub mod project;
pub mod publish;
mod report;
mod rules;
mod sample;
pub mod select;
pub mod settings;
pub mod shared_cache;
pub mod slim;
pub mod sources;
pub mod statements;
pub mod tune;
pub mod variants;
mod vendor;
pub mod versions;
pub mod wishes;

pub use build::{Build, Outcome, network};
pub use error::BuildError;
pub use events::{Event, Events, Silent};
pub use inputs::LockUse;
pub use project::{Overrides, Project};
pub use settings::{RolledBackPolicy, Settings};
pub use statements::{SbomFormat, Statement, StatementKind, StatementWishes};
