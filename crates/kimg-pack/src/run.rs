//! Starts one program under limits and takes what it answers. What it means is decided elsewhere.

use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{PoisonError, RwLock};
use std::time::{Duration, Instant};

use rustix::fs::MemfdFlags;
use rustix::process::{Pid, Resource, Rlimit, Signal};

use crate::leftovers::Traces;
use crate::watch::{End, wait};

/// The most that is taken of each of the two outputs, in bytes.
pub(crate) const OUTPUT_LIMIT: u64 = 64 << 10;

/// What a program may use.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Time on the wall, after which it is killed.
    pub(crate) time: Duration,
    /// Private writable memory in bytes (`RLIMIT_DATA`: address space that is only reserved, as Go's runtime
    /// and qemu do by the gigabyte, doesn't count).
    pub(crate) memory: u64,
    /// The largest file that it may write, in bytes; its outputs are files too.
    pub(crate) file: u64,
    /// How much may lie in the folder in which it is started, in bytes, with what lay there before.
    pub(crate) folder: u64,
}

/// What a program answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: Vec<u8>,
    pub(crate) time: Duration,
    /// The most memory that it was seen to have, in bytes: at least this.
    pub(crate) memory: Option<u64>,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RunError {
    #[error("it can't be started: {}", .0.kind())]
    Start(#[source] io::Error),
    #[error("it took longer than {} s", .0.as_secs_f32())]
    TimeLimit(Duration),
    #[error("it wrote more than {} KiB", OUTPUT_LIMIT >> 10)]
    OutputLimit,
    #[error("it filled its folder")]
    FolderLimit,
}

/// Held to write by whoever starts a process, to read by whoever has a program open for writing.
///
/// Between fork and exec a child holds all of its parent's open files. Were one of them a program being
/// written on another thread, starting that program would fail with `ETXTBSY`.
static STARTING: RwLock<()> = RwLock::new(());

/// Writes a program to the disk, executable for all. `write` gives the bytes.
pub(crate) fn write_program<E: From<io::Error>>(
    path: &Path,
    write: impl FnOnce(&mut dyn Write) -> Result<(), E>,
) -> Result<(), E> {
    let guard = STARTING.read().unwrap_or_else(PoisonError::into_inner);
    let mut file = fs_err::File::create(path)?;
    write(&mut file)?;
    drop(file);
    drop(guard);
    make_executable(path)?;
    Ok(())
}

/// Lets everybody execute a file.
pub(crate) fn make_executable(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    fs_err::set_permissions(path, std::fs::Permissions::from_mode(0o755))
}

/// Starts a program with nothing on standard input, in a process group of its own, and waits for its end.
///
/// The caller has set arguments, environment and folder; a folder that is set is private. Whatever the program
/// started is ended with it.
pub(crate) fn run(command: &mut Command, limits: Limits) -> Result<Answer, RunError> {
    use std::os::unix::process::CommandExt;
    let (mut stdout, mut stderr) = (memory_file()?, memory_file()?);
    command
        .stdin(Stdio::null())
        .stdout(stdout.try_clone().map_err(RunError::Start)?)
        .stderr(stderr.try_clone().map_err(RunError::Start)?)
        .process_group(0);
    let folder = command.get_current_dir().map(Path::to_owned);
    let traces = Traces { outputs: [link_of(&stdout)?, link_of(&stderr)?], folder: folder.as_deref() };
    let guard = STARTING.write().unwrap_or_else(PoisonError::into_inner);
    let start = Instant::now();
    let child = command.spawn();
    drop(guard);
    let child = Running(child.map_err(RunError::Start)?, traces);
    limit(&child.0, limits)?;
    let (end, memory) = wait(&child.0, folder.as_deref(), start, limits);
    let time = start.elapsed();
    let status = child.end()?;
    match end {
        End::Itself => {
            Ok(Answer { status, stdout: said(&mut stdout)?, stderr: said(&mut stderr)?, time, memory })
        }
        End::Time => Err(RunError::TimeLimit(limits.time)),
        End::Folder => Err(RunError::FolderLimit),
    }
}

/// What a process that has this file as an output is seen to have: a name that no other file has.
fn link_of(file: &File) -> Result<PathBuf, RunError> {
    fs_err::read_link(format!("/proc/self/fd/{}", file.as_raw_fd())).map_err(RunError::Start)
}

/// A file without a name, which the limit on file sizes holds for: a program can't flood it.
fn memory_file() -> Result<File, RunError> {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let name = format!("kimg-output-{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
    let made = rustix::fs::memfd_create(name, MemfdFlags::CLOEXEC);
    made.map(File::from).map_err(|error| RunError::Start(error.into()))
}

/// Sets limits on a process that has just been started. What it took before counts too.
///
/// They can't be set between fork and exec without `unsafe`. So a process that it starts in its very first moment may
/// be without them; UPX starts none, and at its end, or when time is up, the whole group is killed.
fn limit(child: &Child, limits: Limits) -> Result<(), RunError> {
    // Twice the time on the wall: only for the case that kimg is killed and nobody watches the clock.
    let cpu = limits.time.as_secs().saturating_mul(2).saturating_add(1);
    let wanted = [
        (Resource::Core, 0),
        (Resource::Fsize, limits.file.max(OUTPUT_LIMIT + 1)),
        (Resource::Data, limits.memory),
        (Resource::Cpu, cpu),
    ];
    for (resource, most) in wanted {
        let both = Rlimit { current: Some(most), maximum: Some(most) };
        match rustix::process::prlimit(Some(Pid::from_child(child)), resource, both) {
            // It has ended already.
            Ok(_) | Err(rustix::io::Errno::SRCH) => {}
            Err(error) => return Err(RunError::Start(error.into())),
        }
    }
    Ok(())
}

/// A child that has not been reaped. Dropping it ends it and everything in its group, and what left that.
struct Running<'a>(Child, Traces<'a>);

impl Running<'_> {
    fn end(mut self) -> Result<ExitStatus, RunError> {
        self.kill_all();
        self.0.wait().map_err(RunError::Start)
    }

    /// Before the child is reaped: afterwards its number could be another's.
    fn kill_all(&self) {
        // An error means that nobody is left to be killed.
        let _ = rustix::process::kill_process_group(Pid::from_child(&self.0), Signal::KILL);
        self.1.end_all();
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        // Reaped by `end` in all but error paths; the standard library remembers, and `kill` then does nothing.
        if matches!(self.0.try_wait(), Ok(None)) {
            self.kill_all();
            let _ = self.0.wait();
        }
    }
}

fn said(file: &mut File) -> Result<Vec<u8>, RunError> {
    let mut bytes = Vec::new();
    file.rewind().map_err(RunError::Start)?;
    file.take(OUTPUT_LIMIT + 1).read_to_end(&mut bytes).map_err(RunError::Start)?;
    if bytes.len() as u64 > OUTPUT_LIMIT { Err(RunError::OutputLimit) } else { Ok(bytes) }
}

/// How a program ended, in words: `exit code 1`, `signal 11`. Those of the limits are said as such.
pub(crate) fn ending(status: ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt;
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) if signal == Signal::XFSZ.as_raw() => "it wrote too large a file".into(),
        (None, Some(signal)) if signal == Signal::XCPU.as_raw() => {
            "it took too much time of the processor".into()
        }
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => "no exit code".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits =
        Limits { time: Duration::from_secs(20), memory: 256 << 20, file: 1 << 20, folder: 4 << 20 };

    fn shell(script: &str) -> Command {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script]).env_clear();
        command
    }

    #[test]
    fn an_answer_has_exit_code_and_both_outputs() {
        let answer = run(&mut shell("echo out; echo err >&2; exit 3"), LIMITS).unwrap();
        assert_eq!(
            (answer.status.code(), &*answer.stdout, &*answer.stderr),
            (Some(3), &b"out\n"[..], &b"err\n"[..])
        );
        assert_eq!(ending(answer.status), "exit code 3");
    }

    #[test]
    fn what_takes_too_long_is_ended_with_all_it_started() {
        let folder = tempfile::tempdir().unwrap();
        let mark = folder.path().join("mark");
        let script = format!("(sleep 1; echo late > {}) & sleep 60", mark.display());
        let started = Instant::now();
        let result = run(&mut shell(&script), Limits { time: Duration::from_millis(200), ..LIMITS });
        assert!(matches!(result, Err(RunError::TimeLimit(_))), "{result:?}");
        assert!(started.elapsed() < Duration::from_secs(10));
        std::thread::sleep(Duration::from_millis(1300));
        assert!(!mark.exists(), "the background process was left running");
    }

    #[test]
    fn a_flood_of_output_is_cut_and_said() {
        let result =
            run(&mut shell("while echo 0123456789012345678901234567890123456789; do :; done"), LIMITS);
        assert!(matches!(result, Err(RunError::OutputLimit)), "{result:?}");
    }

    #[test]
    fn what_takes_too_much_memory_does_not_get_it() {
        // tail keeps the only line, which never ends. The limits have come before tail, however busy the machine.
        let tail = "sleep 1; head -c 600000000 /dev/zero | tail -n 1 | wc -c";
        let answer = run(&mut shell(tail), LIMITS).unwrap();
        assert_ne!(answer.stdout.trim_ascii(), b"600000000", "{answer:?}");
    }

    #[test]
    fn the_end_by_a_signal_is_said() {
        let answer = run(&mut shell("kill -SEGV $$"), LIMITS).unwrap();
        assert_eq!(ending(answer.status), "signal 11");
    }

    #[test]
    fn a_program_that_is_not_there_is_an_error() {
        let result = run(&mut Command::new("/nonexistent/program"), LIMITS);
        assert!(matches!(result, Err(RunError::Start(_))), "{result:?}");
    }
}
