//! Starts the plain and the packed program with the same probe and compares what they answer.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use kimg_core::variant::Probe;

use crate::run::{Answer, Limits, RunError, ending, make_executable, run, write_program};
use crate::runners::Way;
use crate::{Candidate, Difference, PackError, PlainReason, Settings, Started, Times};

/// What comes of starting both.
pub(crate) type Verdict = Result<Started, PlainReason>;

/// Starts both programs, if this machine can. `plain` and `packed` lie on the disk and are moved from there.
pub(crate) fn start_both(
    candidate: &Candidate<'_>,
    probe: &Probe,
    dynamic: bool,
    folder: &Path,
    (plain, packed): (&Path, &Path),
    settings: &Settings,
) -> Result<Verdict, PackError> {
    if dynamic && candidate.libraries.is_empty() {
        return Ok(Ok(Started::NotHere("its interpreter and libraries were not given".into())));
    }
    let ways = match candidate.runners.ways(candidate.platform, dynamic) {
        Ok(ways) => ways,
        Err(why) => return Ok(Ok(Started::NotHere(why))),
    };
    let scratch = |source| PackError::Scratch { path: candidate.path.clone(), source };
    let root = folder.join("root");
    lay_out(candidate, &root)?;
    let stand = Stand {
        inside: candidate.path.as_str(),
        program: root.join(candidate.path.relative()),
        root: &root,
        probe,
        limits: Limits { time: settings.probe_time_limit, memory: settings.memory_limit, file: 0 },
    };
    let mut why_not = String::new();
    for way in &ways {
        let first = match stand.answer_of(plain, way).map_err(scratch)? {
            Ok(answer) => answer,
            Err(why) => {
                why_not = format!("the plain one does not start here either: {why}");
                continue;
            }
        };
        let second = stand.answer_of(packed, way).map_err(scratch)?;
        let Some(difference) = difference(&first, &second) else {
            let times = Times { plain: first.time, packed: second.map_or(first.time, |answer| answer.time) };
            return Ok(Ok(match way {
                Way::Qemu(_) => Started::UnderQemu(times),
                Way::Chroot(_) | Way::Direct => Started::Natively(times),
            }));
        };
        let again = stand.answer_of(plain, way).map_err(scratch)?;
        let steady = again.is_ok_and(|again| alike(&first, &again).is_none());
        return Ok(Err(if steady { PlainReason::OtherAnswer(difference) } else { PlainReason::Unsteady }));
    }
    Ok(Ok(Started::NotHere(why_not)))
}

/// Writes the libraries into the folder that will be the program's root.
///
/// Here paths of an image become paths on the disk: an interpreter is found at its own path or not at all. They
/// hold no `..` ([`kimg_core::ImagePath`]), the folder is new and private, and only folders and regular files
/// are made in it, so none of them leads out.
fn lay_out(candidate: &Candidate<'_>, root: &Path) -> Result<(), PackError> {
    let scratch = |source| PackError::Scratch { path: candidate.path.clone(), source };
    let folder_of = |path: &Path| path.parent().map_or(Ok(()), fs_err::create_dir_all);
    fs_err::create_dir_all(root).map_err(scratch)?;
    for (path, content) in candidate.libraries {
        let target = root.join(path.relative());
        folder_of(&target).map_err(scratch)?;
        write_program(&target, |writer| content.copy_to(writer).map_err(WriteError::Content))
            .map_err(|error| error.of(candidate))?;
    }
    folder_of(&root.join(candidate.path.relative())).map_err(scratch)
}

/// Why a program could not be written to the private folder.
pub(crate) enum WriteError {
    Content(kimg_core::ContentError),
    Disk(io::Error),
}

impl From<io::Error> for WriteError {
    fn from(error: io::Error) -> Self {
        Self::Disk(error)
    }
}

impl WriteError {
    pub(crate) fn of(self, candidate: &Candidate<'_>) -> PackError {
        let path = candidate.path.clone();
        match self {
            Self::Content(source) => PackError::Content { path, source },
            Self::Disk(source) => PackError::Scratch { path, source },
        }
    }
}

/// Where programs are put, one after the other at the same path, and asked the same.
struct Stand<'a> {
    /// The path inside the root.
    inside: &'a str,
    /// The same on the disk.
    program: PathBuf,
    root: &'a Path,
    probe: &'a Probe,
    limits: Limits,
}

impl Stand<'_> {
    /// Puts a program on the stand, asks it, and puts it back. The inner error says in words why it did not answer.
    fn answer_of(&self, program: &Path, way: &Way) -> io::Result<Result<Answer, String>> {
        fs_err::rename(program, &self.program)?;
        make_executable(&self.program)?;
        let answer = run(&mut self.command(way), self.limits);
        fs_err::rename(&self.program, program)?;
        Ok(match answer {
            Ok(answer) => answered(answer, way),
            Err(error @ (RunError::Start(_) | RunError::TimeLimit(_) | RunError::OutputLimit)) => {
                Err(error.to_string())
            }
        })
    }

    fn command(&self, way: &Way) -> Command {
        let mut words: Vec<OsString> = Vec::new();
        match way {
            Way::Direct => words.push(self.program.clone().into()),
            Way::Chroot(before) => {
                words.extend(before.iter().map(Into::into));
                words.extend([self.root.into(), self.inside.into()]);
            }
            Way::Qemu(qemu) => {
                words.extend([qemu.into(), "-L".into(), self.root.into(), self.program.clone().into()]);
            }
        }
        let mut command = Command::new(&words[0]);
        command
            .args(&words[1..])
            .args(&self.probe.arguments)
            .env_clear()
            .envs(&self.probe.environment)
            .current_dir(self.root);
        command
    }
}

/// Whether it was the program that answered, and not what should have started it, and that it did not crash.
fn answered(answer: Answer, way: &Way) -> Result<Answer, String> {
    match answer.status.code() {
        None => Err(ending(answer.status)),
        // chroot: 125 it failed itself, 126 the program can't be started, 127 it or its interpreter is missing.
        Some(code @ 125..=127) if matches!(way, Way::Chroot(_)) => Err(format!("exit code {code} of chroot")),
        // qemu ends by the signal that ended its guest, or says that it can't load it.
        Some(code @ (126 | 127 | 255)) if matches!(way, Way::Qemu(_)) => {
            Err(format!("exit code {code} of qemu"))
        }
        Some(_) => Ok(answer),
    }
}

fn difference(plain: &Answer, packed: &Result<Answer, String>) -> Option<Difference> {
    match packed {
        Err(why) => Some(Difference::Start(why.clone())),
        Ok(packed) => alike(plain, packed),
    }
}

fn alike(plain: &Answer, packed: &Answer) -> Option<Difference> {
    if plain.status != packed.status {
        Some(Difference::End { plain: ending(plain.status), packed: ending(packed.status) })
    } else if plain.stdout != packed.stdout {
        Some(Difference::Output)
    } else if plain.stderr != packed.stderr {
        Some(Difference::ErrorOutput)
    } else {
        None
    }
}
