//! What there is to know before it is decided how a program is packed. Nothing is decided here.

use std::path::Path;
use std::time::Duration;

use kimg_core::{Content, ContentSink};
use tempfile::TempDir;

use crate::gate::{By, clear, pass, private_folder};
use crate::run::write_program;
use crate::runners::Way;
use crate::start::{Stand, WriteError};
use crate::{Candidate, Outcome, PackError, Packing, PlainReason, Settings, Upx, elf};

/// What one decision makes of a program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Measured {
    /// The decision.
    pub packing: Packing,
    /// What the gate says.
    pub outcome: Outcome,
    /// The program that would be shipped: its size is what it takes on the disk, and its bytes can be compressed as a
    /// layer's are.
    pub content: Content,
    /// How long stripping and packing took.
    pub pack_time: Duration,
    /// How it starts; or why it can't be started here, or is not started: it stays plain.
    pub starts: Result<Starts, String>,
}

/// Several starts of a program with its probe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Starts {
    /// Whether qemu's user emulation started it: then times say little about a real machine.
    pub under_qemu: bool,
    /// How many starts were measured.
    pub count: usize,
    /// The median of their times.
    pub median: Duration,
    /// The most memory that any of them was seen to have, in bytes. It is looked up once a millisecond, so a program
    /// that ends sooner may have had more. Under qemu it is qemu's as well.
    pub peak_memory: Option<u64>,
}

/// Tries decisions on one program, whose own decision is not heeded, in the order in which they are given.
///
/// Put [`Packing::PLAIN`] among them to have something to compare with. Each is packed and judged as
/// [`pack`](crate::pack) does, with the same limits, and then started `starts` times more (none with 0). Whatever is
/// packed goes to `sink`. The mode of the settings is not heeded.
///
/// # Errors
/// When the bytes can't be had or the disk fails. A packer that fails is an outcome.
pub fn measure(
    candidate: &Candidate<'_>,
    decisions: &[Packing],
    upx: Option<&Upx>,
    settings: &Settings,
    starts: usize,
    scratch: &Path,
    sink: &mut dyn ContentSink,
) -> Result<Vec<Measured>, PackError> {
    let settings = Settings { mode: crate::Mode::Auto, ..settings.clone() };
    decisions
        .iter()
        .map(|packing| {
            let candidate = Candidate { packing: *packing, ..*candidate };
            let (verdict, pack_time) = pass(&candidate, By::Upx(upx), &settings, scratch, sink)?;
            let outcome = verdict.unwrap_or_else(|why| Outcome::Plain { why });
            let content = match &outcome {
                Outcome::Packed { content, .. } => content.clone(),
                Outcome::Plain { .. } => candidate.content.clone(),
            };
            let starts = match &outcome {
                Outcome::Plain { why } if *why != PlainReason::Decided => Err("it stays plain".into()),
                _ => start(&candidate, &content, &settings, starts, scratch)?,
            };
            Ok(Measured { packing: *packing, outcome, content, pack_time, starts })
        })
        .collect()
}

/// Starts a program several times. The inner error says in words why that can't be done.
fn start(
    candidate: &Candidate<'_>,
    content: &Content,
    settings: &Settings,
    count: usize,
    scratch: &Path,
) -> Result<Result<Starts, String>, PackError> {
    let content_error = |source| PackError::Content { path: candidate.path.clone(), source };
    // Whether it needs an interpreter is the plain program's to say: a packed one may hide it.
    let plain = candidate.content.read(candidate.content.size()).map_err(content_error)?;
    let dynamic = match elf::read(&plain) {
        Ok(elf) => elf.kind == elf::Kind::Dynamic,
        Err(what) => return Ok(Err(what)),
    };
    drop(plain);
    let folder = private_folder(candidate, scratch)?;
    let starts = start_in(&folder, candidate, dynamic, content, settings, count);
    clear(folder);
    starts
}

fn start_in(
    folder: &TempDir,
    candidate: &Candidate<'_>,
    dynamic: bool,
    content: &Content,
    settings: &Settings,
    count: usize,
) -> Result<Result<Starts, String>, PackError> {
    let disk = |source| PackError::Scratch { path: candidate.path.clone(), source };
    let stand = match Stand::new(candidate, dynamic, folder.path(), settings)? {
        Ok(stand) => stand,
        Err(why) => return Ok(Err(why)),
    };
    let program = folder.path().join("program");
    write_program(&program, |writer| content.copy_to(writer).map_err(WriteError::Content))
        .map_err(|error| error.of(candidate))?;
    let mut why_not = String::from("no start was asked for");
    for way in stand.ways.iter().filter(|_| count > 0) {
        let answers = (0..count).map(|_| stand.answer_of(&program, way));
        let answers: Result<Vec<_>, String> =
            answers.collect::<Result<Vec<_>, _>>().map_err(disk)?.into_iter().collect();
        match answers {
            Ok(answers) => {
                let mut times: Vec<Duration> = answers.iter().map(|answer| answer.time).collect();
                times.sort_unstable();
                return Ok(Ok(Starts {
                    under_qemu: matches!(way, Way::Qemu(_)),
                    count,
                    median: times[count / 2],
                    peak_memory: answers.iter().filter_map(|answer| answer.memory).max(),
                }));
            }
            Err(why) => why_not = why,
        }
    }
    Ok(Err(why_not))
}
