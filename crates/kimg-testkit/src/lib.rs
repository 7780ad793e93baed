//! For tests: wrappers around the outside programs that judge what kimg made, and visible skips.
//!
//! kimg's own tests believe as little as they can of what kimg says about itself. An image is read by
//! `skopeo`, unpacked by `umoci`, its programs are started (foreign ones under `qemu-user`), its libraries are
//! resolved by musl's own loader and by `lddtree`, its package database is read by the real `apk`.
//!
//! | module | holds |
//! | --- | --- |
//! | [`mod@real`] | the repository of real packages, laid out once under `target/real` |
//! | [`layout`] | what `skopeo` and `umoci` make of an OCI layout |
//! | [`root`] | an unpacked root in which programs are started, and what the loaders say of its ELF files |
//! | [`mod@trace`] | what a program of such a root opens, as `strace` sees it |
//! | [`apk`] | the real `apk`, inside Alpine's own minirootfs |
//! | [`debian`] | a root made of Debian packages, for what is linked against glibc |
//! | [`mod@machine`] | namespaces in which a test does what a person does on a machine |
//! | [`broken`] | copies of the real repository with one thing in them changed |
//! | [`systemd`] | a systemd that boots for a test |
//! | [`registry`] | Debian's `docker-registry`, and a registry in this process that misbehaves as it is told |
//! | [`server`] | a folder behind HTTP on the loopback address, with what can go wrong there; a proxy |
//!
//! A judge that is not there is no failure: the test says `SKIPPED: …` on standard error and returns. With
//! `KIMG_REQUIRE_ALL=1`, as in CI, the same is a panic.
//!
//! ```
//! use kimg_testkit::tool;
//!
//! let Some(skopeo) = tool("skopeo") else { return };
//! println!("{} judges", skopeo.display());
//! ```
//!
//! This crate panics with the whole output of a judge where a test would have to do it otherwise; nothing but tests
//! and the benchmark uses it.

#![expect(
    clippy::missing_panics_doc,
    reason = "a panic is how a test fails, and failing tests is what this crate is for"
)]

pub mod apk;
pub mod broken;
pub mod debian;
pub mod layout;
pub mod machine;
pub mod real;
pub mod registry;
pub mod root;
pub mod server;
pub mod systemd;
pub mod trace;

use std::fmt::Display;
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

pub use apk::AlpineRoot;
pub use broken::RepositoryCopy;
pub use debian::debian_root;
pub use kimg_sample as sample;
pub use layout::{Layout, skopeo_copy, skopeo_inspect, umoci_stack, umoci_unpack};
pub use machine::Machine;
pub use real::{Real, debian_plugins, debian_source, real};
pub use registry::{DockerRegistry, Misbehaviour, PeerAuth, PeerRequest, PeerSetup, RegistryPeer};
pub use root::{DynamicElf, Root};
pub use server::{Fault, FolderServer, ForwardProxy};
pub use systemd::in_systemd;
pub use tempfile::{TempDir, tempdir};
pub use trace::Trace;

/// Whether a skip is an error: `KIMG_REQUIRE_ALL=1`.
pub fn everything_is_required() -> bool {
    std::env::var_os("KIMG_REQUIRE_ALL").is_some_and(|v| v == "1")
}

/// Says on standard error why a test does not run. Under `KIMG_REQUIRE_ALL=1` it panics instead.
pub fn skip(why: impl Display) {
    assert!(!everything_is_required(), "KIMG_REQUIRE_ALL=1, but {why}");
    // Past the capture of the test harness: a skip that only a failing test shows is not visible.
    let _ = writeln!(std::io::stderr().lock(), "SKIPPED: {why}");
}

/// An outside program by name, if it is installed; else a visible skip.
pub fn tool(name: &str) -> Option<PathBuf> {
    let found = find_tool(name);
    if found.is_none() {
        skip(format_args!("{name} is not installed; run .ci/setup"));
    }
    found
}

/// The same without a word. What `.ci/setup` fetched lies under `target/tools`.
pub fn find_tool(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let own = workspace().join("target/tools/bin");
    let folders = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/sbin".into(), own]);
    folders.map(|folder| folder.join(name)).find(|file| {
        file.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
    })
}

/// The search path with a Go compiler and zig on it, if both are there; else a visible skip.
pub fn go_path() -> Option<std::ffi::OsString> {
    let (go, zig) = (tool("go")?, tool("zig")?);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = [go, zig].into_iter().filter_map(|file| file.parent().map(Path::to_owned));
    std::env::join_paths(found.chain(std::env::split_paths(&path))).ok()
}

/// Whether this process may `chroot`; else a visible skip.
pub fn superuser() -> bool {
    let root = std::fs::metadata("/proc/self").is_ok_and(|meta| meta.uid() == 0);
    if !root {
        skip("only root may chroot into an unpacked image");
    }
    root
}

/// The folder of the workspace.
pub fn workspace() -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    folder.canonicalize().unwrap_or(folder)
}

/// Runs a program to its end and gives what it printed. Panics with all of it when the program fails.
pub fn run(command: &mut Command) -> String {
    let output = output(command);
    assert!(output.status.success(), "{command:?}: {}\n{}", output.status, both(&output));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Runs a program to its end, whatever that is.
pub fn output(command: &mut Command) -> Output {
    until_it_starts(|| command.output())
        .unwrap_or_else(|error| panic!("{command:?} can't be started: {error}"))
}

/// Starts a program, again if need be: one that was just written may be held open a moment longer by a child that another
/// thread has forked. Until that child goes on, the program is busy (`ETXTBSY`).
pub fn until_it_starts(mut start: impl FnMut() -> io::Result<Output>) -> io::Result<Output> {
    let mut output = start();
    for _ in 0..250 {
        let busy = match &output {
            Ok(output) => String::from_utf8_lossy(&output.stderr).contains("Text file busy"),
            Err(error) => error.kind() == io::ErrorKind::ExecutableFileBusy,
        };
        if !busy {
            break;
        }
        std::thread::sleep(Duration::from_millis(20));
        output = start();
    }
    output
}

/// Both outputs of a program as one text.
pub fn both(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// Bytes that no compressor makes smaller, always the same for a seed.
pub fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}
