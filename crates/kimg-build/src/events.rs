//! What a build tells while it runs. How it is shown is the caller's business.

use kimg_core::Platform;
use kimg_report::Joined;
use serde::Serialize;

/// One step of a build.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "step")]
pub enum Event {
    /// Packages are chosen.
    Resolved {
        /// Images.
        images: usize,
        /// Packages, counted once for each platform.
        packages: usize,
        /// Platforms.
        platforms: usize,
        /// The versions of Kubernetes, each once.
        kubernetes: Vec<String>,
        /// The Alpine branch, if it is known.
        alpine: Option<String>,
    },
    /// Something that is no error, but that a person should know.
    Warned {
        /// What.
        message: String,
    },
    /// How far one file is.
    Transfer {
        /// Its address.
        url: String,
        /// Bytes that are there.
        done: u64,
        /// Bytes of the whole, where the server said so.
        total: Option<u64>,
    },
    /// Packages are about to be fetched.
    Fetching {
        /// Files.
        files: usize,
        /// Bytes.
        bytes: u64,
    },
    /// One package is there and verified.
    FetchedPackage {
        /// `musl-1.2.2-r9`
        id: String,
        /// Its platform.
        platform: Platform,
        /// The size of its file.
        bytes: u64,
        /// Whether it was unpacked in an earlier run.
        from_cache: bool,
    },
    /// All packages are there and verified.
    Fetched {
        /// Files.
        files: usize,
        /// Bytes.
        bytes: u64,
        /// Files unpacked in an earlier run.
        from_cache: usize,
    },
    /// Programs are about to be compiled for a platform.
    Compiling {
        /// Their source and its version.
        what: String,
        /// The platform.
        platform: Platform,
        /// Their names.
        programs: Vec<String>,
    },
    /// The programs of a source are there for a platform.
    Compiled {
        /// Their source and its version.
        what: String,
        /// The platform.
        platform: Platform,
        /// How many there are.
        programs: usize,
        /// The compilers.
        toolchain: String,
        /// How long it took; `None`: all were compiled in an earlier run.
        seconds: Option<u64>,
    },
    /// Programs that were to be one are, or can't be.
    Joined(Joined),
    /// The file set of an image is known.
    Selected {
        /// Variant.
        variant: String,
        /// Platform.
        platform: Platform,
        /// Files in it.
        files: usize,
        /// Files of its packages that are left out.
        left_out: usize,
    },
    /// Programs are about to be packed.
    Packing {
        /// Programs, each counted once.
        programs: usize,
    },
    /// One program is packed, or it is known why not.
    PackedProgram {
        /// Its path and platform.
        program: String,
        /// What was done.
        outcome: String,
        /// Whether it was known from an earlier run.
        from_cache: bool,
    },
    /// Layers are about to be written.
    Compressing {
        /// Layers, each counted once.
        layers: usize,
        /// Bytes in them.
        bytes: u64,
    },
    /// One layer is written.
    CompressedLayer {
        /// Its name and platform.
        layer: String,
        /// Compressed bytes.
        bytes: u64,
        /// Whether it was written in an earlier run.
        from_cache: bool,
    },
    /// A layer or packed program came out of a shared cache, and is what it should be.
    TakenOver {
        /// `layer base for linux/amd64`
        what: String,
        /// Its bytes.
        bytes: u64,
        /// The cache.
        cache: String,
    },
    /// The images are whole.
    Built {
        /// Images.
        images: usize,
        /// Indexes.
        indexes: usize,
    },
    /// Images are about to be written as plain files.
    WritingFiles {
        /// As `--output` has it: `portable`.
        form: String,
        /// Files.
        files: usize,
    },
    /// Something was written.
    Written {
        /// Where.
        destination: String,
    },
}

/// Takes the events of a build, from any thread.
pub trait Events: Sync {
    /// One step was done.
    fn event(&self, event: &Event);
}

/// Listens to nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Events for Silent {
    fn event(&self, _event: &Event) {}
}
