//! The way of one program through the gate.

use std::path::Path;

use kimg_core::variant::Probe;
use kimg_core::{Content, ContentSink, ImagePath, Platform};

use crate::run::write_program;
use crate::start::{WriteError, start_both};
use crate::upx::{PACKED, PLAIN};
use crate::{Mode, Outcome, PackError, PlainReason, Runners, Settings, Upx, elf};

/// A program that may be packed.
#[derive(Debug, Clone, Copy)]
pub struct Candidate<'a> {
    /// Where it lies in the image.
    pub path: &'a ImagePath,
    /// Its bytes.
    pub content: &'a Content,
    /// What the image is for.
    pub platform: Platform,
    /// Whether it runs for long. Such a program stays plain.
    pub daemon: bool,
    /// How to see that it starts. Without one it stays plain.
    pub probe: Option<&'a Probe>,
    /// What a dynamically linked program needs to start, by the path at which it looks for it, links followed: its
    /// interpreter and libraries. May be empty for a static one.
    pub libraries: &'a [(ImagePath, Content)],
    /// With what programs are started on this machine.
    pub runners: &'a Runners,
}

/// The largest program that is looked at, in bytes: it is held in memory.
const LARGEST: u64 = 512 << 20;

/// Packs a program, or says why it stays plain.
///
/// `scratch` is a folder of this machine in which a private one is made, and taken away at the end. The packed
/// program goes to `sink`. Slow: half a minute for a program of 40 MB; [`key`](crate::key) says when it
/// need not be done again. May be called on many threads at a time.
///
/// # Errors
/// When the bytes can't be had or the disk fails; under [`Mode::Require`] also when the packer is missing or broken.
pub fn pack(
    candidate: &Candidate<'_>,
    upx: Option<&Upx>,
    settings: &Settings,
    scratch: &Path,
    sink: &mut dyn ContentSink,
) -> Result<Outcome, PackError> {
    match pass(candidate, upx, settings, scratch, sink)? {
        Ok(packed) => Ok(packed),
        Err(why) if settings.mode == Mode::Require && why.is_failure() => {
            Err(PackError::Required { path: candidate.path.clone(), why })
        }
        Err(why) => Ok(Outcome::Plain { why }),
    }
}

fn pass(
    candidate: &Candidate<'_>,
    upx: Option<&Upx>,
    settings: &Settings,
    scratch: &Path,
    sink: &mut dyn ContentSink,
) -> Result<Result<Outcome, PlainReason>, PackError> {
    let probe = match before_reading(candidate, settings) {
        Ok(probe) => probe,
        Err(why) => return Ok(Err(why)),
    };
    let content_error = |source| PackError::Content { path: candidate.path.clone(), source };
    let bytes = candidate.content.read(LARGEST).map_err(content_error)?;
    let plain = match elf::read(&bytes).map_err(PlainReason::NotElf) {
        Ok(plain) => plain,
        Err(why) => return Ok(Err(why)),
    };
    if let Err(why) = elf::check_plain(&plain, &bytes, candidate.platform) {
        return Ok(Err(why));
    }
    let Some(upx) = upx else { return Ok(Err(PlainReason::NoPacker)) };

    let scratch_error = |source| PackError::Scratch { path: candidate.path.clone(), source };
    let folder = private_folder(scratch).map_err(scratch_error)?;
    let (plain_file, packed_file) = (folder.path().join(PLAIN), folder.path().join(PACKED));
    write_program(&plain_file, |writer| writer.write_all(&bytes).map_err(WriteError::Disk))
        .map_err(|error| error.of(candidate))?;
    drop(bytes);

    if let Err(why) = upx.pack(folder.path(), candidate.content.size(), settings) {
        return Ok(Err(why));
    }
    let packed = match result(&packed_file, candidate.content.size()).map_err(scratch_error)? {
        Ok(packed) => packed,
        Err(why) => return Ok(Err(why)),
    };
    if let Err(why) = elf::check_packed(&plain, &packed, candidate.platform, &upx.version) {
        return Ok(Err(why));
    }
    // The packer has seen the plain program: only what is written anew is known to be the plain one still.
    write_program(&plain_file, |writer| candidate.content.copy_to(writer).map_err(WriteError::Content))
        .map_err(|error| error.of(candidate))?;
    let dynamic = plain.kind == elf::Kind::Dynamic;
    let files = (plain_file.as_path(), packed_file.as_path());
    let started = match start_both(candidate, probe, dynamic, folder.path(), files, settings)? {
        Ok(started) => started,
        Err(why) => return Ok(Err(why)),
    };
    let content = sink
        .store(candidate.path, &mut packed.as_slice())
        .map_err(|source| PackError::Store { path: candidate.path.clone(), source })?;
    Ok(Ok(Outcome::Packed {
        content,
        plain_size: candidate.content.size(),
        packed_size: packed.len() as u64,
        started,
    }))
}

/// What can be said before a byte is read.
fn before_reading<'a>(candidate: &Candidate<'a>, settings: &Settings) -> Result<&'a Probe, PlainReason> {
    let size = candidate.content.size();
    if settings.mode == Mode::Never {
        Err(PlainReason::NotWanted)
    } else if candidate.daemon {
        Err(PlainReason::Daemon)
    } else if size < settings.minimum_size {
        Err(PlainReason::TooSmall { minimum: settings.minimum_size })
    } else if size > LARGEST {
        Err(PlainReason::TooLarge { maximum: LARGEST })
    } else {
        candidate.probe.ok_or(PlainReason::NoProbe)
    }
}

/// A new folder that only this user may enter.
fn private_folder(scratch: &Path) -> std::io::Result<tempfile::TempDir> {
    tempfile::Builder::new().prefix("kimg-pack-").tempdir_in(scratch)
}

/// What the packer wrote, if it is a regular file smaller than the plain program.
fn result(packed: &Path, plain_size: u64) -> std::io::Result<Result<Vec<u8>, PlainReason>> {
    let found = match fs_err::symlink_metadata(packed) {
        Ok(found) => found,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Ok(Err(PlainReason::PackerFailed("it wrote nothing".into())));
        }
        Err(error) => return Err(error),
    };
    if !found.is_file() {
        return Ok(Err(PlainReason::PackerFailed("its result is not a regular file".into())));
    }
    if found.len() >= plain_size {
        return Ok(Err(PlainReason::NotSmaller));
    }
    fs_err::read(packed).map(Ok)
}
