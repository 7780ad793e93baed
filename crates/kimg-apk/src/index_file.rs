//! `APKINDEX.tar.gz`: the signature in front, and the archive around the text of an index.
//!
//! Not here: the text itself. It is read piece by piece while it unpacks: as a whole it would be ten times the file, and
//! taking so much memory from the system costs as much time as reading it.

use std::io::{self, BufRead, Read};

use flate2::bufread::GzDecoder;

use crate::data::only_zeros;
use crate::error::{ApkError, Member, Problem};
use crate::headers::{Header, HeaderKind, Headers, tar_problem};
use crate::index::Parser;
use crate::member::{Limited, gzip_problem, unpack};
use crate::package::{at_most, refuse_version_3};
use crate::signature::{check_packing, signatures, verify};
use crate::{Index, KeyRing, Limits};

/// How much is unpacked at a time.
const PIECE: usize = 64 << 10;

/// Reads and verifies a repository's `APKINDEX.tar.gz`.
///
/// `bytes` are the file as it was fetched. The signature in its first member must be by a key of the ring and
/// fit the compressed bytes of everything after it; then the records are read.
///
/// # Errors
/// Unsigned, signed with an unknown key, or with a signature that does not fit: class `Verification`.
/// Not an index: `Malformed`. Larger than [`Limits::index_size`]: `Limit`.
pub fn read_index(bytes: &[u8], keys: &KeyRing, limits: &Limits) -> Result<Index, ApkError> {
    let subject = "the index";
    at_most(bytes, limits.index_size, "the index file").map_err(|problem| problem.of(subject))?;
    refuse_version_3(bytes).map_err(|problem| problem.of(subject))?;
    let (first, rest) =
        unpack(bytes, Member::Signature, limits.control_size.min(limits.index_size), subject)?;
    let signatures = signatures(&first, limits).map_err(|problem| problem.of(subject))?;
    if signatures.is_empty() {
        return Err(Problem::Unsigned.of(subject));
    }
    check_packing(&first).map_err(|problem| problem.of(subject))?;
    verify(&signatures, rest, keys).map_err(|problem| problem.of(subject))?;
    index_in(rest, limits).map_err(|problem| problem.of(subject))
}

/// Reads an `APKINDEX.tar.gz` that nobody signed, as [`write_index`](crate::write_index) makes it.
///
/// Nothing vouches for what it says: hold every package against a signature of its own, by reading it without an
/// identity to expect ([`read_package`](crate::read_package)). A signature in front is stepped over, not verified.
///
/// # Errors
/// As [`read_index`], but for signatures.
pub fn read_unsigned_index(bytes: &[u8], limits: &Limits) -> Result<Index, ApkError> {
    let subject = "the index";
    at_most(bytes, limits.index_size, "the index file").map_err(|problem| problem.of(subject))?;
    refuse_version_3(bytes).map_err(|problem| problem.of(subject))?;
    // A signature is small; what is not is the index itself.
    let signed = unpack(bytes, Member::Signature, limits.control_size.min(limits.index_size), subject)
        .ok()
        .filter(|(first, _)| signatures(first, limits).is_ok_and(|signatures| !signatures.is_empty()));
    index_in(signed.map_or(bytes, |(_, rest)| rest), limits).map_err(|problem| problem.of(subject))
}

/// The index in the gzip member at the start of `packed`, behind which nothing may follow. It is read as it unpacks.
fn index_in(packed: &[u8], limits: &Limits) -> Result<Index, Problem> {
    let member = Member::Records;
    let mut unpacked = Limited::new(GzDecoder::new(packed), "the unpacked index", limits.index_size);
    // How much of it there will be is not believed beyond what such a text packs to.
    let most = packed.len() as u64 * 16;
    let mut parser = None;
    let mut description = None;
    {
        let mut reader = io::BufReader::with_capacity(PIECE, &mut unpacked);
        // What is no gzip at all is said to be that, and no damaged archive.
        reader.fill_buf().map_err(|error| gzip_problem(member, error))?;
        let mut archive = tar::Archive::new(reader);
        let mut headers = Headers::new(&mut archive, member, limits.header_size)?;
        while let Some((header, mut bytes)) = headers.next()? {
            let twice = |name| Problem::Tar { member, reason: format!("it holds `{name}` twice") };
            match header.path.as_str() {
                _ if header.kind != HeaderKind::File => {}
                "APKINDEX" if parser.is_some() => return Err(twice("APKINDEX")),
                "APKINDEX" => {
                    let parser = parser.insert(Parser::new(limits, header.size.min(most)));
                    in_pieces(&mut bytes, &header, member, |piece| {
                        parser.feed(piece).map_err(Problem::Index)
                    })?;
                }
                "DESCRIPTION" if description.is_some() => return Err(twice("DESCRIPTION")),
                "DESCRIPTION" => {
                    let text = description.insert(Vec::new());
                    in_pieces(&mut bytes, &header, member, |piece| {
                        text.extend_from_slice(piece);
                        Ok(())
                    })?;
                }
                _ => {}
            }
        }
        only_zeros(&mut archive.into_inner(), member)?;
    }
    let left = unpacked.into_inner().into_inner();
    if !left.is_empty() {
        return Err(Problem::Trailing(left.len() as u64));
    }
    let parser = parser.ok_or(Problem::MissingEntry { member, name: "APKINDEX" })?;
    let mut index = parser.finish().map_err(Problem::Index)?;
    if let Some(bytes) = description {
        String::from_utf8_lossy(&bytes).trim().clone_into(&mut index.description);
    }
    Ok(index)
}

/// Hands the bytes of an entry to `each`, as they unpack.
fn in_pieces(
    bytes: &mut dyn Read,
    header: &Header,
    member: Member,
    mut each: impl FnMut(&[u8]) -> Result<(), Problem>,
) -> Result<(), Problem> {
    let mut piece = vec![0; PIECE];
    let mut left = header.size;
    while left > 0 {
        let read = bytes.read(&mut piece).map_err(|error| tar_problem(member, &error))?;
        if read == 0 {
            let reason = "it ends within a file".to_owned();
            return Err(Problem::Tar { member, reason });
        }
        left = left.saturating_sub(read as u64);
        each(&piece[..read])?;
    }
    Ok(())
}
