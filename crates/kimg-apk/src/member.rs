//! Gzip members: where each ends, how far it may unpack, and the files of those that are small.
//!
//! A package is gzip members one after the other, and what is hashed and signed is the *compressed*
//! bytes of one of them. So the exact bounds matter: [`flate2::bufread::GzDecoder`] over a slice
//! takes exactly the bytes of one member, checks its CRC, and leaves the rest.

use std::io::{self, Read};

use flate2::bufread::GzDecoder;

use crate::Limits;
use crate::error::{ApkError, Member, Problem};
use crate::headers::{HeaderKind, Headers};

/// A reader that stops with an error, not with an end, once more than a limit was read.
#[derive(Debug)]
pub(crate) struct Limited<R> {
    inner: R,
    what: &'static str,
    limit: u64,
    left: u64,
}

/// What [`Limited`] puts into its [`io::Error`].
#[derive(Debug, thiserror::Error)]
#[error("{what} is larger than the limit of {limit}")]
struct Exceeded {
    what: &'static str,
    limit: u64,
}

impl<R> Limited<R> {
    pub(crate) fn new(inner: R, what: &'static str, limit: u64) -> Self {
        Self { inner, what, limit, left: limit }
    }

    pub(crate) fn into_inner(self) -> R {
        self.inner
    }
}

impl<R: Read> Read for Limited<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.left = self
            .left
            .checked_sub(read as u64)
            .ok_or_else(|| io::Error::other(Exceeded { what: self.what, limit: self.limit }))?;
        Ok(read)
    }
}

/// The limit that a [`Limited`] below ran into, if that is what this error is.
pub(crate) fn exceeded(error: &io::Error) -> Option<Problem> {
    let found = error.get_ref()?.downcast_ref::<Exceeded>()?;
    Some(Problem::Limit { what: found.what, limit: found.limit })
}

/// The error of reading a gzip member.
pub(crate) fn gzip_problem(member: Member, error: io::Error) -> Problem {
    exceeded(&error).unwrap_or(Problem::Gzip { member, source: error })
}

/// One gzip member: its compressed bytes, and what they unpack to.
#[derive(Debug)]
pub(crate) struct Unpacked<'a> {
    pub(crate) packed: &'a [u8],
    pub(crate) bytes: Vec<u8>,
}

/// Unpacks the gzip member at the start of `bytes`, and gives the bytes after it.
pub(crate) fn unpack<'a>(
    bytes: &'a [u8],
    member: Member,
    limit: u64,
    subject: &str,
) -> Result<(Unpacked<'a>, &'a [u8]), ApkError> {
    let what = match member {
        Member::Signature => "the unpacked signature member",
        Member::Control => "the unpacked control member",
        Member::Data => "the unpacked data member",
        Member::Records => "the unpacked index",
    };
    let mut reader = Limited::new(GzDecoder::new(bytes), what, limit);
    let mut unpacked = Vec::new();
    reader.read_to_end(&mut unpacked).map_err(|error| gzip_problem(member, error).of(subject))?;
    let rest = reader.into_inner().into_inner();
    let packed = &bytes[..bytes.len() - rest.len()];
    Ok((Unpacked { packed, bytes: unpacked }, rest))
}

/// Hands every file of the tar in a small member to `each`, with its name.
pub(crate) fn small_files<'a>(
    member: &'a Unpacked<'_>,
    kind: Member,
    limits: &Limits,
    mut each: impl FnMut(&str, &'a [u8]) -> Result<(), Problem>,
) -> Result<(), Problem> {
    let malformed = |reason: &str| Problem::Tar { member: kind, reason: reason.to_owned() };
    let mut archive = tar::Archive::new(&member.bytes[..]);
    let mut headers = Headers::new(&mut archive, kind, limits.header_size)?;
    while let Some((header, entry)) = headers.next()? {
        if header.kind != HeaderKind::File {
            continue;
        }
        let start = usize::try_from(entry.raw_file_position()).ok();
        let content = start
            .zip(usize::try_from(header.size).ok())
            .and_then(|(start, size)| member.bytes.get(start..start.checked_add(size)?));
        each(&header.path, content.ok_or_else(|| malformed("it ends within a file"))?)?;
    }
    // What stands behind the end is read by some programs and passed over by others.
    if archive.into_inner().iter().any(|byte| *byte != 0) {
        return Err(malformed("there are bytes after its end"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::{Compression, write::GzEncoder};
    use proptest::prelude::*;

    use super::*;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn a_bomb_stops_at_the_limit() {
        let bomb = gzip(&vec![0; 1 << 20]);
        let error = unpack(&bomb, Member::Control, 1000, "x").unwrap_err();
        assert!(matches!(error.problem, Problem::Limit { limit: 1000, .. }), "{error}");
        assert!(unpack(&bomb, Member::Control, 1 << 20, "x").is_ok());
    }

    proptest! {
        #[test]
        fn a_member_ends_exactly_where_the_next_one_starts(parts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..2000), 1..4)) {
            let members: Vec<_> = parts.iter().map(|p| gzip(p)).collect();
            let all = members.concat();
            let mut rest = &all[..];
            for (part, member) in parts.iter().zip(&members) {
                let (unpacked, after) = unpack(rest, Member::Data, 1 << 20, "x").unwrap();
                prop_assert_eq!(unpacked.packed, &member[..]);
                prop_assert_eq!(&unpacked.bytes, part);
                rest = after;
            }
            prop_assert!(rest.is_empty());
        }
    }
}
