//! Watches a process while it runs: its time, what it writes into its folder, and how much memory it takes.

use std::path::Path;
use std::process::Child;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, WaitId, WaitIdOptions, pidfd_open, waitid};

use crate::run::Limits;

/// How a process was seen to come to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// It ended.
    Itself,
    /// Its time is up; it still runs.
    Time,
    /// It has filled its folder; it still runs.
    Folder,
}

/// The files a folder may hold while a process works in it. No packer and no probe needs as many.
const MOST_FILES: usize = 10_000;
/// How often the folder is looked at.
const LOOK: Duration = Duration::from_millis(40);

/// Waits until the child has ended, and doesn't reap it: its id stays its own. Gives its highest memory in bytes as
/// well, as far as it was seen.
pub(crate) fn wait(
    child: &Child,
    folder: Option<&Path>,
    start: Instant,
    limits: Limits,
) -> (End, Option<u64>) {
    let id = Pid::from_child(child);
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    // Without one (Linux before 5.3) its end is seen a little later.
    let handle = pidfd_open(id, PidfdFlags::empty()).ok();
    let mut peak = None;
    let mut looked = start;
    loop {
        if matches!(waitid(WaitId::Pid(id), options), Ok(Some(_))) {
            return (End::Itself, peak);
        }
        peak = peak.max(memory(id));
        let now = Instant::now();
        if now >= start + limits.time {
            return (End::Time, peak);
        }
        if let Some(folder) = folder.filter(|_| now >= looked + LOOK) {
            looked = now;
            if !holds_at_most(folder, limits.folder, &mut MOST_FILES.clone()).unwrap_or(true) {
                return (End::Folder, peak);
            }
        }
        // Often at first, for programs that take a few milliseconds; then leave the processor to others.
        let step = if now < start + Duration::from_millis(200) { 1 } else { 10 };
        pause(handle.as_ref(), Duration::from_millis(step));
    }
}

/// Sleeps, but not longer than the process lives.
fn pause(handle: Option<&std::os::fd::OwnedFd>, time: Duration) {
    let ended = handle.and_then(|handle| {
        let timeout = Timespec::try_from(time).ok()?;
        poll(&mut [PollFd::new(handle, PollFlags::IN)], Some(&timeout)).ok()
    });
    if ended.is_none() {
        std::thread::sleep(time);
    }
}

/// The most memory that a process had at a time, in bytes: `VmHWM` of proc(5).
fn memory(id: Pid) -> Option<u64> {
    let status = fs_err::read_to_string(format!("/proc/{}/status", id.as_raw_nonzero())).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().strip_suffix(" kB")?.parse::<u64>().ok()? << 10)
}

/// Whether the files of a folder have at most so many bytes on the disk, and are at most so many.
fn holds_at_most(folder: &Path, bytes: u64, files: &mut usize) -> Option<bool> {
    use std::os::unix::fs::MetadataExt;
    let mut total = 0;
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs_err::read_dir(folder).ok()? {
            // What comes and goes while it is looked at is no concern.
            let Ok(found) =
                entry.and_then(|entry| fs_err::symlink_metadata(entry.path()).map(|f| (entry, f)))
            else {
                continue;
            };
            *files = files.saturating_sub(1);
            total += found.1.blocks() * 512;
            if found.1.is_dir() {
                folders.push(found.0.path());
            }
            if total > bytes || *files == 0 {
                return Some(false);
            }
        }
    }
    Some(true)
}
