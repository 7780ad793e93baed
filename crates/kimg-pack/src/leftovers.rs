//! Ends what a program left running outside its process group (daemons, `setsid`).
//!
//! A process belongs to a run when one of its first outputs is the run's own, or its root, folder or program lies in
//! the run's private folder, or its environment names that folder. Who gives up all of these on purpose is not found:
//! only a PID namespace would hold it, which takes privileges. It still can't change what is shipped: the packer's
//! result is read once, after its end.

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

/// How often what is found is ended and looked for again: it may start others meanwhile.
const ROUNDS: usize = 100;

/// By what the processes of a run are known.
#[derive(Debug)]
pub(crate) struct Traces<'a> {
    /// What `/proc/ID/fd/1` or `2` leads to.
    pub(crate) outputs: [PathBuf; 2],
    /// The private folder.
    pub(crate) folder: Option<&'a Path>,
}

impl Traces<'_> {
    /// Ends all processes of the run, except this one.
    pub(crate) fn end_all(&self) {
        for _ in 0..ROUNDS {
            if !self.end_some() {
                return;
            }
            std::thread::yield_now();
        }
    }

    /// Whether there were any.
    fn end_some(&self) -> bool {
        let mut found = false;
        for id in processes() {
            if !self.fits(id) {
                continue;
            }
            let Ok(handle) = pidfd_open(id, PidfdFlags::empty()) else { continue };
            // Once more: with the handle open its number can't become another's.
            if self.fits(id) {
                found |= pidfd_send_signal(&handle, Signal::KILL).is_ok();
            }
        }
        found
    }

    fn fits(&self, id: Pid) -> bool {
        let at = |name: &str| PathBuf::from(format!("/proc/{}/{name}", id.as_raw_nonzero()));
        let leads_to = |name: &str| fs_err::read_link(at(name)).ok();
        // Not the others: between fork and exec, what is started on another thread holds all that kimg has open.
        if ["fd/1", "fd/2"].iter().filter_map(|fd| leads_to(fd)).any(|output| self.outputs.contains(&output))
        {
            return true;
        }
        let Some(folder) = self.folder else { return false };
        if ["cwd", "root", "exe"]
            .iter()
            .filter_map(|link| leads_to(link))
            .any(|path| path.starts_with(folder))
        {
            return true;
        }
        let environment = fs_err::read(at("environ")).unwrap_or_default();
        let name = folder.as_os_str().as_bytes();
        environment.split(|byte| *byte == 0).any(|word| word.ends_with(name))
    }
}

/// All other processes.
fn processes() -> Vec<Pid> {
    let own = i32::try_from(std::process::id()).ok();
    let Ok(entries) = fs_err::read_dir("/proc") else { return Vec::new() };
    entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|id| Some(*id) != own)
        .filter_map(Pid::from_raw)
        .collect()
}
