//! Starts one program under a time limit, with everything it says in a log. What it means is decided elsewhere.

use std::collections::VecDeque;
use std::ffi::OsStr;
use std::io::{self, BufRead as _, BufReader, Read, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use fs_err as fs;
use rustix::process::{Pid, Signal, kill_process_group};

/// So many lines of what a program said last are kept for its error.
const LAST_LINES: usize = 12;
/// The most of one line that is kept, in bytes.
const LINE_LIMIT: u64 = 4096;
/// How often it is looked whether a program has ended.
const LOOK: Duration = Duration::from_millis(20);

/// Ends the group when whoever started it is gone, however that came: the other end of standard input is then closed.
/// Nothing else would: between fork and exec nothing can be asked of the kernel without `unsafe`.
const WITH_ITS_PARENT: &str =
    r#"exec 3<&0; { cat <&3 >/dev/null; kill -KILL 0; } & exec "$@" 3<&- </dev/null"#;

/// How a program ended.
#[derive(Debug)]
pub struct Ended {
    /// Its exit code or signal; `None`: it was ended when its time was up.
    pub status: Option<ExitStatus>,
    /// What it said last, in lines.
    pub last: Vec<String>,
    /// How long it took.
    pub time: Duration,
}

/// A program and its arguments, to be started by [`run`]: with an empty environment.
pub fn command(program: &Path, arguments: &[String]) -> Command {
    let mut command = Command::new("/bin/sh");
    command.args(["-c", WITH_ITS_PARENT, "kimg"]).arg(program).args(arguments).env_clear();
    command
}

/// Starts what [`command`] made, in a process group of its own, writes both outputs into `log`, and waits.
///
/// Whatever it started is ended with it; and all of it ends when this process does.
///
/// # Errors
/// It can't be started. A log that can't be written is none: on a full disk the last lines are all there is.
pub fn run(command: &mut Command, limit: Duration, log: &Path) -> io::Result<Ended> {
    let (reader, writer) = io::pipe()?;
    let start = Instant::now();
    let child =
        command.stdin(Stdio::piped()).stdout(writer.try_clone()?).stderr(writer).process_group(0).spawn();
    // The ends of the pipe that the child was given are still in the command: without them the log has an end.
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = Group(child?);
    let file = fs::File::create(log).ok();
    let said = std::thread::spawn(move || write_log(reader, file));
    let status = loop {
        if let Some(status) = child.0.try_wait()? {
            break Some(status);
        }
        if start.elapsed() >= limit {
            break None;
        }
        std::thread::sleep(LOOK);
    };
    child.end();
    let last = said.join().unwrap_or_default();
    Ok(Ended { status, last, time: start.elapsed() })
}

/// What a program prints on standard output, if it ends well within a few seconds: for versions.
pub fn answer(program: &Path, arguments: &[&str], environment: &[(&str, &OsStr)]) -> Option<String> {
    const LIMIT: Duration = Duration::from_secs(20);
    const MOST: u64 = 64 << 10;
    let mut command = Command::new(program);
    command.args(arguments).env_clear().envs(environment.iter().copied());
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).process_group(0);
    let mut child = Group(command.spawn().ok()?);
    let output = child.0.stdout.take()?;
    let said = std::thread::spawn(move || {
        let mut text = String::new();
        output.take(MOST).read_to_string(&mut text).ok().map(|_| text)
    });
    let start = Instant::now();
    let status = loop {
        match child.0.try_wait() {
            Ok(Some(status)) => break Some(status),
            Ok(None) if start.elapsed() < LIMIT => std::thread::sleep(Duration::from_millis(2)),
            Ok(None) | Err(_) => break None,
        }
    };
    child.end();
    let text = said.join().ok().flatten()?;
    status.is_some_and(|status| status.success()).then_some(text)
}

/// Writes what comes into the log as far as that goes, and gives the last lines.
fn write_log(reader: impl Read, mut log: Option<fs::File>) -> Vec<String> {
    let mut last = VecDeque::with_capacity(LAST_LINES);
    let mut reader = BufReader::new(reader);
    loop {
        let mut line = Vec::new();
        match reader.by_ref().take(LINE_LIMIT).read_until(b'\n', &mut line) {
            Ok(0) | Err(_) => return last.into(),
            Ok(_) => {}
        }
        if log.as_mut().is_some_and(|log| log.write_all(&line).is_err()) {
            log = None;
        }
        let text = String::from_utf8_lossy(&line);
        let text = text.trim_end();
        if !text.is_empty() {
            if last.len() == LAST_LINES {
                last.pop_front();
            }
            last.push_back(text.chars().filter(|c| !c.is_control() || *c == '\t').collect());
        }
    }
}

/// A child and everything in its process group, which ends with it.
struct Group(Child);

impl Group {
    fn end(&mut self) {
        // The group stays the child's own as long as somebody is in it; an error means that nobody is.
        let _ = kill_process_group(Pid::from_child(&self.0), Signal::KILL);
        let _ = self.0.wait();
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.end();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        command(Path::new("/bin/sh"), &["-c".into(), script.into()])
    }

    #[test]
    fn what_a_program_says_is_in_the_log_and_its_last_lines_at_hand() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        let script = "i=0; while [ $i -lt 50 ]; do echo line $i; i=$((i+1)); done; echo bad >&2; exit 3";
        let ended = run(&mut shell(script), Duration::from_secs(20), &log).unwrap();
        assert_eq!(ended.status.and_then(|status| status.code()), Some(3));
        assert_eq!(ended.last.len(), LAST_LINES);
        assert_eq!(ended.last.last().map(String::as_str), Some("bad"));
        let all = fs::read_to_string(log).unwrap();
        assert!(all.starts_with("line 0\n") && all.ends_with("bad\n"), "{all}");
    }

    #[test]
    fn what_takes_too_long_is_ended_with_all_it_started() {
        let folder = tempfile::tempdir().unwrap();
        let mark = folder.path().join("mark");
        let script = format!("(sleep 1; echo late > {}) & sleep 60", mark.display());
        let started = Instant::now();
        let ended = run(&mut shell(&script), Duration::from_millis(200), &folder.path().join("log")).unwrap();
        assert!(ended.status.is_none() && started.elapsed() < Duration::from_secs(10), "{ended:?}");
        std::thread::sleep(Duration::from_millis(1300));
        assert!(!mark.exists(), "the background process was left running");
    }

    #[test]
    fn what_was_started_ends_when_the_one_who_started_it_is_gone() {
        let folder = tempfile::tempdir().unwrap();
        let mark = folder.path().join("mark");
        let script = format!("sleep 1; echo late > {}", mark.display());
        let mut command = shell(&script);
        let mut child = command.stdin(Stdio::piped()).process_group(0).spawn().unwrap();
        // As when this process is killed: the kernel closes its end of the pipe.
        drop(child.stdin.take());
        let status = child.wait().unwrap();
        assert!(!status.success(), "{status}");
        std::thread::sleep(Duration::from_millis(1300));
        assert!(!mark.exists(), "it went on alone");
    }

    #[test]
    fn a_program_that_does_not_answer_has_no_version() {
        assert_eq!(answer(Path::new("/bin/sh"), &["-c", "echo 1.2"], &[]).as_deref(), Some("1.2\n"));
        assert_eq!(answer(Path::new("/bin/sh"), &["-c", "echo 1.2; exit 1"], &[]), None);
        assert_eq!(answer(Path::new("/nonexistent/go"), &["version"], &[]), None);
    }
}
