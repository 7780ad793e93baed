//! Who uses the cache right now: locks on its files, and a scratch folder for each process.
//!
//! The system takes a lock back when its process ends, however it ends. So a scratch folder that nobody holds
//! was left by a process that is dead, and a cache that only one process holds may be cleared out freely.
//!
//! | file | locked |
//! | --- | --- |
//! | `in-use.lock` | shared by each process as long as it uses the cache; alone by one that prunes |
//! | `tmp.lock` | alone, while a scratch folder is made or dead ones are removed |
//! | `tmp/run-…` | alone, by the process whose scratch folder it is |
//! | `<name>.lock` | alone, while something is read and written back |

use std::io;
use std::path::{Path, PathBuf};

use fs_err as fs;
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

/// This process's part in the cache: its lock and its scratch folder, which goes when this is dropped.
#[derive(Debug)]
pub(super) struct Presence {
    scratch: PathBuf,
    _scratch_lock: fs::File,
    in_use: fs::File,
}

impl Presence {
    pub(super) fn open(root: &Path) -> io::Result<Self> {
        let in_use = lock_file(root, "in-use")?;
        wait_for(&in_use, FlockOperation::LockShared)?;
        let _gate = exclusive(root, "tmp")?;
        remove_dead(root)?;
        let scratch = tempfile::Builder::new().prefix("run-").tempdir_in(root.join("tmp"))?;
        let scratch_lock = fs::File::open(scratch.path())?;
        try_alone(&scratch_lock);
        Ok(Self { scratch: scratch.keep(), _scratch_lock: scratch_lock, in_use })
    }

    pub(super) fn scratch(&self) -> &Path {
        &self.scratch
    }

    /// Runs `work` and tells it whether no other process uses the cache, nor begins to before it is done.
    pub(super) fn perhaps_alone<T>(&self, work: impl FnOnce(bool) -> T) -> io::Result<T> {
        let alone = try_alone(&self.in_use);
        let result = work(alone);
        // The attempt gave the shared lock up, whether it succeeded or not (flock(2)).
        wait_for(&self.in_use, FlockOperation::LockShared)?;
        Ok(result)
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        // What can't be removed now is removed by the next process.
        let _ = fs::remove_dir_all(&self.scratch);
    }
}

/// A lock that is held until the file is dropped.
pub(super) fn exclusive(root: &Path, name: &str) -> io::Result<fs::File> {
    let file = lock_file(root, name)?;
    wait_for(&file, FlockOperation::LockExclusive)?;
    Ok(file)
}

/// Whether this open file is now locked for its holder alone. Where the file system has no locks it never is: who
/// wants to remove something then leaves it.
pub(super) fn try_alone(file: &fs::File) -> bool {
    flock(file, FlockOperation::NonBlockingLockExclusive).is_ok()
}

/// Removes the scratch folders of dead processes; gives their files and bytes. Who calls it holds `tmp.lock`.
pub(super) fn remove_dead(root: &Path) -> io::Result<(u64, u64)> {
    let mut removed = (0, 0);
    for entry in fs::read_dir(root.join("tmp"))? {
        let path = entry?.path();
        let Ok(folder) = fs::symlink_metadata(&path).and_then(|found| {
            if found.is_dir() { fs::File::open(&path) } else { Err(io::Error::other("no folder")) }
        }) else {
            continue;
        };
        if try_alone(&folder) {
            let (files, bytes) = super::usage::size_of(&path);
            if fs::remove_dir_all(&path).is_ok() {
                removed = (removed.0 + files, removed.1 + bytes);
            }
        }
    }
    Ok(removed)
}

fn lock_file(root: &Path, name: &str) -> io::Result<fs::File> {
    let path = root.join(format!("{name}.lock"));
    fs::OpenOptions::new().create(true).truncate(false).write(true).open(path)
}

fn wait_for(file: &fs::File, operation: FlockOperation) -> io::Result<()> {
    loop {
        match flock(file, operation) {
            Err(Errno::INTR) => {}
            // Without locks, several processes still never see half a file; only pruning is more careful.
            Ok(()) | Err(Errno::NOTSUP | Errno::NOSYS | Errno::NOLCK) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
    }
}
