//! The way of one program through the gate.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use kimg_core::variant::Probe;
use kimg_core::{Content, ContentSink, Digest, ImagePath, Platform};

use crate::run::write_program;
use crate::start::{WriteError, start_both};
use crate::strip::strip;
use crate::upx::{PACKED, PLAIN};
use crate::{
    Mode, Outcome, PackError, Packing, PlainReason, Runners, Settings, Started, Upx, UpxOptions, elf,
    sections,
};

/// A program that may be packed.
#[derive(Debug, Clone, Copy)]
pub struct Candidate<'a> {
    /// Where it lies in the image.
    pub path: &'a ImagePath,
    /// Its bytes.
    pub content: &'a Content,
    /// What the image is for.
    pub platform: Platform,
    /// What is to be done with it. That is done as a whole, or the program stays plain.
    pub packing: Packing,
    /// Whether it runs for long. UPX doesn't pack such a program.
    pub daemon: bool,
    /// Its permission bits in the image, at most `0o7777`.
    pub mode: u32,
    /// Its extended attributes in the image.
    pub xattrs: &'a BTreeMap<String, Vec<u8>>,
    /// How to see that it starts. Without one UPX doesn't pack it.
    pub probe: Option<&'a Probe>,
    /// What a dynamically linked program needs to start, by the path at which it looks for it, links followed: its
    /// interpreter and libraries. May be empty for a static one.
    pub libraries: &'a [(ImagePath, Content)],
    /// With what programs are started on this machine.
    pub runners: &'a Runners,
}

impl Candidate<'_> {
    /// What of its mode and attributes forbids a decision.
    pub(crate) fn privilege(&self, packing: Packing) -> Option<PlainReason> {
        let signed =
            ["security.ima", "security.evm"].into_iter().find(|name| self.xattrs.contains_key(*name));
        if let Some(attribute) = signed {
            return Some(PlainReason::Signed { attribute: attribute.into() });
        }
        if packing.upx.is_none() {
            None
        } else if self.mode & 0o6000 != 0 {
            Some(PlainReason::Setuid { mode: self.mode })
        } else {
            self.xattrs.contains_key("security.capability").then_some(PlainReason::Capabilities)
        }
    }
}

/// The largest program that is looked at, in bytes: it is held in memory.
const LARGEST: u64 = 512 << 20;

/// Packs a program as it was decided, or says why it stays plain.
///
/// `scratch` is a folder of this machine in which private ones are made, and taken away at the end. The packed
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
    match pass(candidate, By::Upx(upx), settings, scratch, sink)?.0 {
        Ok(packed) => Ok(packed),
        Err(why) if settings.mode == Mode::Require && why.is_failure() => {
            Err(PackError::Required { path: candidate.path.clone(), why })
        }
        Err(why) => Ok(Outcome::Plain { why }),
    }
}

/// Judges a program that another machine packed, as if it had been packed here: all that [`pack`] asks of a result, but
/// for the packing. The packed program goes to `sink`; [`Outcome::Plain`] says why it is not taken.
///
/// UPX unpacks it, and where this machine can it is started. So it is for bytes of whom one trusts that far: that UPX
/// gives the plain program back does not prove what the code in front does that unpacks it at each start. Whoever
/// knows the digest of the right one compares that first.
///
/// # Errors
/// When the bytes can't be had or the disk fails.
pub fn accept(
    candidate: &Candidate<'_>,
    packed: &Content,
    upx: &Upx,
    settings: &Settings,
    scratch: &Path,
    sink: &mut dyn ContentSink,
) -> Result<Outcome, PackError> {
    let verdict = pass(candidate, By::Another(upx, packed), settings, scratch, sink)?.0;
    Ok(verdict.unwrap_or_else(|why| Outcome::Plain { why }))
}

/// Whether another program answers the candidate's probe as the candidate does: as it has to that takes its place. Nothing is
/// packed, and the decision does not matter. The inner error says what differs, or why the candidate can't be compared with
/// anything; [`Started::NotHere`] is that nothing could be started.
///
/// # Errors
/// When the bytes can't be had or the disk fails.
pub fn same_answers(
    candidate: &Candidate<'_>,
    other: &Content,
    settings: &Settings,
    scratch: &Path,
) -> Result<Result<Started, PlainReason>, PackError> {
    let content_error = |source| PackError::Content { path: candidate.path.clone(), source };
    let bytes = candidate.content.read(LARGEST).map_err(content_error)?;
    let dynamic = match look(&bytes) {
        Ok((plain, _)) => plain.kind == elf::Kind::Dynamic,
        Err(why) => return Ok(Err(why)),
    };
    drop(bytes);
    let other = other.read(LARGEST).map_err(content_error)?;
    let folder = private_folder(candidate, scratch)?;
    let verdict = start_both(candidate, dynamic, folder.path(), &other, settings);
    clear(folder);
    verdict
}

/// Who packed a program.
#[derive(Debug, Clone, Copy)]
pub(crate) enum By<'a> {
    /// This machine's UPX, if there is one.
    Upx(Option<&'a Upx>),
    /// Another machine: here UPX only unpacks it.
    Another(&'a Upx, &'a Content),
}

/// Packs it and judges the result. The time is that of stripping and packing alone.
pub(crate) fn pass(
    candidate: &Candidate<'_>,
    by: By<'_>,
    settings: &Settings,
    scratch: &Path,
    sink: &mut dyn ContentSink,
) -> Result<(Result<Outcome, PlainReason>, Duration), PackError> {
    let mut made = Made::default();
    let packed = match made.make(candidate, by, settings, scratch)? {
        Ok(packed) => packed,
        Err(why) => return Ok((Err(why), made.time)),
    };
    // A folder that the packer has not seen: it may have left links in its own, which would lead what is written astray.
    let folder = private_folder(candidate, scratch)?;
    let verdict = start_both(candidate, made.dynamic, folder.path(), &packed, settings);
    clear(folder);
    let started = match verdict? {
        Ok(started) => started,
        Err(why) => return Ok((Err(why), made.time)),
    };
    let content = sink
        .store(candidate.path, &mut packed.as_slice())
        .map_err(|source| PackError::Store { path: candidate.path.clone(), source })?;
    let outcome = Outcome::Packed {
        content,
        packing: candidate.packing,
        plain_size: candidate.content.size(),
        packed_size: packed.len() as u64,
        started,
    };
    Ok((Ok(outcome), made.time))
}

/// What is learned while a program is made.
#[derive(Debug, Default)]
struct Made {
    /// Whether the plain program needs an interpreter.
    dynamic: bool,
    /// How long stripping and packing took.
    time: Duration,
}

impl Made {
    /// Makes the program that was decided on, as far as its headers tell a good one.
    fn make(
        &mut self,
        candidate: &Candidate<'_>,
        by: By<'_>,
        settings: &Settings,
        scratch: &Path,
    ) -> Result<Result<Vec<u8>, PlainReason>, PackError> {
        if let Err(why) = before_reading(candidate, settings) {
            return Ok(Err(why));
        }
        let content_error = |source| PackError::Content { path: candidate.path.clone(), source };
        let mut bytes = candidate.content.read(LARGEST).map_err(content_error)?;
        let (plain, sections) = match look(&bytes) {
            Ok(found) => found,
            Err(why) => return Ok(Err(why)),
        };
        if let Err(why) = elf::check_plain(&plain, &sections, &bytes, candidate.platform, candidate.packing) {
            return Ok(Err(why));
        }
        self.dynamic = plain.kind == elf::Kind::Dynamic;
        let start = Instant::now();
        if candidate.packing.strip {
            match strip(&bytes, &sections) {
                Ok(Some(stripped)) => bytes = stripped,
                Ok(None) if candidate.packing.upx.is_none() => return Ok(Err(PlainReason::NothingToStrip)),
                Ok(None) => {}
                Err(why) => return Ok(Err(why)),
            }
        }
        self.time = start.elapsed();
        let Some(options) = candidate.packing.upx else { return Ok(Ok(bytes)) };
        let (By::Upx(Some(upx)) | By::Another(upx, _)) = by else {
            return Ok(Err(PlainReason::NoPacker));
        };
        let size = bytes.len() as u64;
        let loaded = (sections.loaded_end, Digest::of(&bytes[..sections.loaded_end]));
        let packed = match by {
            By::Another(_, packed) if packed.size() >= size => Err(PlainReason::NotSmaller),
            By::Another(_, packed) => Ok(packed.read(size).map_err(content_error)?),
            By::Upx(_) => self.pack(candidate, upx, bytes, options, settings, scratch)?,
        };
        let packed = packed.and_then(|packed| {
            elf::check_packed(&plain, &packed, candidate.platform, &upx.version).map(|()| packed)
        });
        let packed = match packed {
            Ok(packed) => packed,
            Err(why) => return Ok(Err(why)),
        };
        let folder = private_folder(candidate, scratch)?;
        write_program(&folder.path().join(PACKED), |writer| {
            writer.write_all(&packed).map_err(WriteError::Disk)
        })
        .map_err(|error| error.of(candidate))?;
        let checked = upx.check(folder.path(), size, loaded, settings);
        clear(folder);
        Ok(checked.map(|()| packed))
    }

    /// Lets UPX pack a program that may be stripped already.
    fn pack(
        &mut self,
        candidate: &Candidate<'_>,
        upx: &Upx,
        bytes: Vec<u8>,
        options: UpxOptions,
        settings: &Settings,
        scratch: &Path,
    ) -> Result<Result<Vec<u8>, PlainReason>, PackError> {
        let folder = private_folder(candidate, scratch)?;
        let written = write_program(&folder.path().join(PLAIN), |writer| {
            writer.write_all(&bytes).map_err(WriteError::Disk)
        });
        written.map_err(|error| error.of(candidate))?;
        let size = bytes.len() as u64;
        drop(bytes);
        let start = Instant::now();
        let packed = upx.pack(folder.path(), size, options, settings);
        self.time += start.elapsed();
        clear(folder);
        Ok(packed)
    }
}

/// What the program is.
fn look(bytes: &[u8]) -> Result<(elf::Elf, sections::Sections), PlainReason> {
    if bytes.starts_with(b"#!") {
        return Err(PlainReason::Script);
    }
    let plain = elf::read(bytes).map_err(PlainReason::NotElf)?;
    Ok((plain, sections::read(bytes).map_err(PlainReason::NotElf)?))
}

/// What can be said before a byte is read.
fn before_reading(candidate: &Candidate<'_>, settings: &Settings) -> Result<(), PlainReason> {
    let size = candidate.content.size();
    let packing = candidate.packing;
    if settings.mode == Mode::Never {
        Err(PlainReason::NotWanted)
    } else if packing == Packing::PLAIN {
        Err(PlainReason::Decided)
    } else if packing.upx.is_some() && candidate.daemon {
        Err(PlainReason::Daemon)
    } else if size < settings.minimum_size {
        Err(PlainReason::TooSmall { minimum: settings.minimum_size })
    } else if size > LARGEST {
        Err(PlainReason::TooLarge { maximum: LARGEST })
    } else if packing.upx.is_some() && candidate.probe.is_none() {
        Err(PlainReason::NoProbe)
    } else {
        candidate.privilege(packing).map_or(Ok(()), Err)
    }
}

/// A new folder that only this user may enter, by its real path: so processes in it are known by theirs.
pub(crate) fn private_folder(
    candidate: &Candidate<'_>,
    scratch: &Path,
) -> Result<tempfile::TempDir, PackError> {
    let made = fs_err::canonicalize(scratch)
        .and_then(|scratch| tempfile::Builder::new().prefix("kimg-pack-").tempdir_in(scratch));
    made.map_err(|source| PackError::Scratch { path: candidate.path.clone(), source })
}

/// Takes a folder away, also when a program left folders in it that can't be entered.
pub(crate) fn clear(folder: tempfile::TempDir) {
    use std::os::unix::fs::PermissionsExt;
    let mut todo = vec![folder.path().to_owned()];
    while let Some(here) = todo.pop() {
        let open = std::fs::Permissions::from_mode(0o700);
        if fs_err::set_permissions(&here, open).is_err() {
            continue;
        }
        let inside = fs_err::read_dir(&here).into_iter().flatten().flatten();
        todo.extend(inside.filter(|e| e.file_type().is_ok_and(|t| t.is_dir())).map(|e| e.path()));
    }
    drop(folder);
}
