//! What people see of a build: sizes, tables, the size matrix of a README, and the report at a build's end.
//!
//! Data go in, text comes out; nothing outside is reached, and the same data give the same text. Whoever calls
//! says how wide the terminal is and whether it shows colours.
//!
//! | item | is |
//! | --- | --- |
//! | [`size()`], [`sizes`] | bytes as people read them: `26.4 MB`, `24.4 / 84.9 MB` |
//! | [`Table`] | rows and columns, [rendered](Table::render) for a [`Format`] |
//! | [`SizeMatrix`] | variants down, platforms across: a table, a picture, and how it differs from an earlier one |
//! | [`Parts`], [`Moves`], [`Growth`] | what is behind a cell: packages, what a move pulls, what grew |
//! | [`replace_between_markers`] | puts the matrix into a README |
//! | [`BuildReport`] | all that a build has to say when it is done |
//! | [`DiffReport`] | what differs between two images, and which packages explain it |
//! | [`FileTreeReport`] | the files of an image by folder or by reason |
//! | [`mod@sbom`] | what is in an image, as SPDX and as CycloneDX |
//! | [`mod@provenance`] | what images were made of and by what, as in-toto and SLSA have it |
//! | [`Graph`] | which file needs which: as a tree, for Graphviz, as a picture |
//!
//! Two sizes stand in every table: **pull**, the bytes of the compressed layers, which a node fetches; and **on
//! disk**, the bytes of the same layers uncompressed (tar archives), which is about what they take when unpacked.
//!
//! ```
//! use kimg_core::{Digest, Platform};
//! use kimg_report::{Format, MatrixEntry, SizeMatrix};
//!
//! let matrix = SizeMatrix {
//!     entries: vec![MatrixEntry {
//!         variant: "plain".into(),
//!         description: "kubelet alone".into(),
//!         tag: "v1.20.2".into(),
//!         platform: Platform::Amd64,
//!         compressed: 25_504_289,
//!         extracted: 83_343_360,
//!         digest: Digest::of("its manifest"),
//!         sample: false,
//!         stored_plain: false,
//!         layers: Vec::new(),
//!         before: None,
//!     }],
//!     ..SizeMatrix::default()
//! };
//! assert!(matrix.render(Format::Markdown).contains("| `plain` | 25.5 / 83.3 MB | kubelet alone |"));
//! assert!(matrix.render(Format::Csv).starts_with("variant,platform,tag,compressed,extracted,digest,sample\n"));
//! ```

mod diff;
mod fates;
mod file_tree;
mod format;
mod graph;
mod joined;
mod markers;
mod matrix;
mod outline;
pub mod provenance;
mod report;
pub mod sbom;
mod screen;
mod size;
mod svg;
mod table;
mod text;

pub use diff::{
    Aspect, Change, DiffReport, FileChange, FileState, ImageContents, ImageDiff, InstalledPackage, Measured,
    OneSided, PackageChange, PackageFate, SettingChange,
};
pub use file_tree::{Depth, FileTreeReport, ListedFile};
pub use format::{Format, FormatError};
pub use graph::{Graph, Node, NodeKind};
pub use joined::{Alone, Joined};
pub use markers::{BEGIN_MARKER, END_MARKER, MarkerError, differing_lines, replace_between_markers};
pub use matrix::{
    Basis, Before, EntryLayer, Grown, Growth, MatrixEntry, MeasuredFile, MeasuredLayer, Move, Moves,
    MovesBefore, Part, Parts, RecordError, SizeMatrix,
};
pub use report::{
    BuildReport, Contributor, Fetched, ImageReport, LayerReport, LeftOut, LeftOutOf, Missing, NotRun,
    PackReport,
};
pub use size::{size, sizes, thousands};
pub use table::{Align, Column, Table};

/// What is said wherever something made from the embedded sample is shown.
pub const SAMPLE_NOTICE: &str =
    "SAMPLE: made from the sample built into kimg, not from real packages; no node can run it.";

/// A time in seconds since 1970 as RFC 3339 has it, in UTC. What is no such time is the first one.
fn rfc3339(seconds: u64) -> String {
    let time = i64::try_from(seconds).ok().and_then(|seconds| jiff::Timestamp::from_second(seconds).ok());
    time.unwrap_or_default().to_string()
}

/// Any of this crate's structs as JSON, indented, with a line feed at the end.
fn json(value: &impl serde::Serialize) -> String {
    // Structs of strings, numbers and lists can always be written: an error would be a mistake in this crate.
    serde_json::to_string_pretty(value).unwrap_or_else(|error| unreachable!("{error}")) + "\n"
}
