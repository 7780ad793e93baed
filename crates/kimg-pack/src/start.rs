//! Starts the plain and the packed program with the same probe and compares what they answer.
//!
//! Each is started twice, in turn at the same path of the same root, with the same environment. Compared are exit
//! code, standard output and standard error, byte for byte: nothing is masked, so no wrong answer can hide behind what
//! looks like a time or a process id. A program whose plain answers differ from each other (a time, an id, a random
//! order, a file that the first start left) can't be compared with anything and is [`PlainReason::Unsteady`]; and
//! before a difference is held against the packed program, the plain one is started once more, later than the
//! packed one, so that an answer that changes by the minute or the day is not taken for the packer's fault. Such a
//! program wants another probe.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use kimg_core::variant::Probe;

use crate::run::{Answer, Limits, RunError, ending, run, write_program};
use crate::runners::Way;
use crate::{Candidate, Difference, PackError, PlainReason, Settings, Started, Times};

/// What comes of starting both.
pub(crate) type Verdict = Result<Started, PlainReason>;

/// Starts both programs, if this machine can. `folder` is new and private, and no packer has seen it.
pub(crate) fn start_both(
    candidate: &Candidate<'_>,
    dynamic: bool,
    folder: &Path,
    packed: &[u8],
    settings: &Settings,
) -> Result<Verdict, PackError> {
    let stand = match Stand::new(candidate, dynamic, folder, settings)? {
        Ok(stand) => stand,
        Err(why) => return Ok(Ok(Started::NotHere(why))),
    };
    let scratch = |source| PackError::Scratch { path: candidate.path.clone(), source };
    let (plain_file, packed_file) = (folder.join("plain"), folder.join("packed"));
    write_program(&plain_file, |writer| candidate.content.copy_to(writer).map_err(WriteError::Content))
        .and_then(|()| {
            write_program(&packed_file, |writer| writer.write_all(packed).map_err(WriteError::Disk))
        })
        .map_err(|error| error.of(candidate))?;
    let mut why_not = String::new();
    for way in &stand.ways {
        let ask = |program: &Path| stand.answer_of(program, way).map_err(scratch);
        let first = match ask(&plain_file)? {
            Ok(answer) => answer,
            Err(why) => {
                why_not = format!("the plain one does not start here either: {why}");
                continue;
            }
        };
        let second = ask(&plain_file)?;
        if difference(&first, &second).is_some() {
            return Ok(Err(PlainReason::Unsteady));
        }
        let mut times = Times { plain: first.time, packed: settings.probe_time_limit };
        for _ in 0..2 {
            let answer = ask(&packed_file)?;
            if let Some(difference) = difference(&first, &answer) {
                let steady = self::difference(&first, &ask(&plain_file)?).is_none();
                let why = if steady { PlainReason::OtherAnswer(difference) } else { PlainReason::Unsteady };
                return Ok(Err(why));
            }
            times.packed = answer.map_or(times.packed, |answer| times.packed.min(answer.time));
        }
        times.plain = second.map_or(times.plain, |answer| times.plain.min(answer.time));
        return Ok(Ok(match way {
            Way::Qemu(_) => Started::UnderQemu(times),
            Way::Chroot(_) | Way::Direct => Started::Natively(times),
        }));
    }
    Ok(Ok(Started::NotHere(why_not)))
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
pub(crate) struct Stand<'a> {
    /// The path inside the root.
    inside: &'a str,
    /// The same on the disk.
    program: PathBuf,
    root: PathBuf,
    probe: &'a Probe,
    limits: Limits,
    /// How to start them, the best way first.
    pub(crate) ways: Vec<Way>,
}

impl<'a> Stand<'a> {
    /// Lays out a root in the folder. The inner error says in words why nothing can be started here.
    pub(crate) fn new(
        candidate: &Candidate<'a>,
        dynamic: bool,
        folder: &Path,
        settings: &Settings,
    ) -> Result<Result<Self, String>, PackError> {
        let Some(probe) = candidate.probe else { return Ok(Err("it has no probe".into())) };
        if dynamic && candidate.libraries.is_empty() {
            return Ok(Err("its interpreter and libraries were not given".into()));
        }
        let ways = match candidate.runners.ways(candidate.platform, dynamic) {
            Ok(ways) => ways,
            Err(why) => return Ok(Err(why)),
        };
        let root = folder.join("root");
        lay_out(candidate, &root)?;
        let laid_out: u64 = candidate.libraries.iter().map(|(_, content)| content.size()).sum();
        let limits = Limits {
            time: settings.probe_time_limit,
            memory: settings.memory_limit,
            file: 0,
            folder: (laid_out + candidate.content.size()).saturating_mul(2).saturating_add(16 << 20),
        };
        let (inside, program) = (candidate.path.as_str(), root.join(candidate.path.relative()));
        Ok(Ok(Self { inside, program, root, probe, limits, ways }))
    }

    /// Puts a program on the stand, asks it, and puts it back. The inner error says in words why it did not answer.
    pub(crate) fn answer_of(&self, program: &Path, way: &Way) -> io::Result<Result<Answer, String>> {
        fs_err::rename(program, &self.program)?;
        let answer = run(&mut self.command(way), self.limits);
        fs_err::rename(&self.program, program)?;
        Ok(match answer {
            Ok(answer) => answered(answer, way),
            Err(
                error @ (RunError::Start(_)
                | RunError::TimeLimit(_)
                | RunError::OutputLimit
                | RunError::FolderLimit),
            ) => Err(error.to_string()),
        })
    }

    fn command(&self, way: &Way) -> Command {
        let mut words: Vec<OsString> = Vec::new();
        match way {
            Way::Direct => words.push(self.program.clone().into()),
            Way::Chroot(before) => {
                words.extend(before.iter().map(Into::into));
                words.extend([self.root.clone().into(), self.inside.into()]);
            }
            Way::Qemu(qemu) => {
                words.extend([
                    qemu.into(),
                    "-L".into(),
                    self.root.clone().into(),
                    self.program.clone().into(),
                ]);
            }
        }
        let mut command = Command::new(&words[0]);
        command
            .args(&words[1..])
            .args(&self.probe.arguments)
            .env_clear()
            .envs(&self.probe.environment)
            .current_dir(&self.root);
        command
    }
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
