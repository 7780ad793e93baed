//! Reads signed Alpine packages and repositories, chooses packages, and lays them out as a file tree.
//!
//! Alpine Linux ships software as packages (`.apk`, here those of apk-tools 2) in repositories: a folder of packages for each architecture,
//! and a signed index of them, `APKINDEX.tar.gz`. This crate does what `apk add --root` does, without a disk, root or scripts:
//!
//! | step | is |
//! | --- | --- |
//! | whom to trust | [`KeyRing`] |
//! | what a repository has | [`read_index`] gives an [`Index`] of [`Record`]s |
//! | what to take | [`Solver`], from [`Dependency`] to [`Solution`] |
//! | what is in it | [`read_package`] gives a [`Package`], every byte of it verified; [`Listing`] keeps it without its bytes |
//! | what a root would look like | [`install`] gives a [`kimg_core::FileTree`]; [`link_applets`] adds what busybox's script would |
//! | what scanners read | [`installed_db`], [`world_file`] |
//! | what a root has already | [`read_installed_db`], [`read_world`], [`Solver::solve_onto`] |
//!
//! # Trust
//! A key vouches for an index by its signature, the index for a package by size and SHA-1 of its control member, the control member for the
//! data by a SHA-256, and the data for each file by a SHA-1. Every link is compared, and nothing is unpacked further than [`Limits`] allow.
//! SHA-1 is what the format has; whoever wants more pins [`Package::digest`], the SHA-256 of the whole file.
//!
//! # Example
//! From bytes to a root file system, wherever the bytes come from:
//!
//! ```
//! use std::{error::Error, sync::Arc};
//! use kimg_apk::{Applets, KeyRing, Limits, Repository, Solver, install, link_applets, read_index, read_package};
//! use kimg_core::{FileTree, MemorySink};
//!
//! fn root(wish: &str, keys: &KeyRing, fetch: impl Fn(&str) -> Vec<u8>) -> Result<FileTree, Box<dyn Error>> {
//!     let limits = Limits::default();
//!     let index = read_index(&fetch("APKINDEX.tar.gz"), keys, &limits)?;
//!     let main = [Repository { name: "main".into(), tag: None, index: Arc::new(index) }];
//!     let mut packages = Vec::new();
//!     for chosen in Solver::for_arch(&main, "x86_64").solve(&[wish.parse()?], &[])?.packages {
//!         let bytes = fetch(&chosen.record.file_name());
//!         packages.push(read_package(&bytes, keys, Some(&chosen.record), "x86_64", &limits, &mut MemorySink)?);
//!     }
//!     let mut tree = install(&packages)?.tree;
//!     link_applets(&mut tree, Applets::All)?;
//!     Ok(tree)
//! }
//!
//! let error = root("kubelet", &KeyRing::new(), |_| b"<html>not found</html>".to_vec()).unwrap_err();
//! assert_eq!(error.to_string(), "the index: its signature member can't be unpacked");
//! ```

mod data;
mod dependency;
mod error;
mod headers;
mod index;
mod index_file;
mod index_writer;
mod install;
mod installed_db;
mod installed_package;
mod keys;
mod limits;
mod listing;
mod member;
mod package;
mod packing;
mod pkginfo;
mod record;
mod signature;
mod solver;
mod version;

pub use dependency::{Constraint, Dependency, DependencyError, Identity, IdentityError, Provide};
pub use error::{ApkError, Member, Problem};
pub use index::{FieldProblem, Index, IndexError, Unusable};
pub use index_file::{read_index, read_unsigned_index};
pub use index_writer::write_index;
pub use install::{Applets, InstallError, Installation, NotRun, Replaced, install, link_applets};
pub use installed_db::{installed_db, installed_db_with, sha1_of, world_file};
pub use installed_package::{InstalledDbError, InstalledPackage, read_installed_db, read_world};
pub use keys::{KeyError, KeyProblem, KeyRing};
pub use limits::Limits;
pub use listing::Listing;
pub use package::{Package, read_package};
pub use record::Record;
pub use solver::{
    Chosen, Kept, Objection, Onto, Refusal, Repository, Solution, SolveError, Solver, Wanter, providers,
    solve,
};
pub use version::{Operator, Version, VersionError};
