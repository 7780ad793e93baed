//! The data member of a package: every file checked against its own SHA-1 while it streams into a sink.

use std::collections::{BTreeMap, HashMap};
use std::io::{self, Read};

use flate2::bufread::GzDecoder;
use kimg_core::{ContentSink, Entry, ImagePath, Kind, Origin};
use sha1::{Digest as _, Sha1};

use crate::Limits;
use crate::error::{Member, Problem};
use crate::headers::{Header, HeaderKind, Headers, tar_problem};
use crate::member::{Limited, exceeded, gzip_problem};

/// What a data member holds.
#[derive(Debug, Default)]
pub(crate) struct Data {
    /// Every path in the order of the archive.
    pub(crate) entries: Vec<(ImagePath, Entry)>,
    /// The SHA-1 of each file's bytes and each link's target.
    pub(crate) checksums: BTreeMap<ImagePath, [u8; 20]>,
}

/// Bytes that a data member may unpack to, however small it is packed.
const SMALL: u64 = 64 << 20;

/// Reads the data member, which must be one gzip member and all of `packed`.
pub(crate) fn read(
    packed: &[u8],
    origin: &Origin,
    limits: &Limits,
    sink: &mut dyn ContentSink,
) -> Result<Data, Problem> {
    let by_ratio = limits.ratio.saturating_mul(packed.len() as u64).max(SMALL);
    let limit = limits.unpacked_size.min(by_ratio);
    let mut unpacked = Limited::new(GzDecoder::new(packed), "the unpacked data member", limit);
    let mut data = Data::default();
    {
        // Blocks of 512 bytes are asked for one by one: without a buffer each would be a call into the decoder.
        let mut archive = tar::Archive::new(io::BufReader::with_capacity(1 << 16, &mut unpacked));
        let mut headers = Headers::new(&mut archive, Member::Data, limits.header_size)?;
        let mut places = HashMap::new();
        let mut names = 0_usize;
        while let Some((header, mut bytes)) = headers.next()? {
            if data.entries.len() >= limits.entries {
                return Err(Problem::Limit { what: "the number of paths", limit: limits.entries as u64 });
            }
            let Some(path) = checked_path(&header)? else { continue };
            let no_bytes = [HeaderKind::Directory, HeaderKind::Symlink, HeaderKind::HardLink];
            if no_bytes.contains(&header.kind) && header.size != 0 {
                return Err(Problem::BadEntry { path, reason: "has bytes, but is no file".into() });
            }
            names += header.path.len() + header.target.len();
            names += header.xattrs.iter().map(|(name, value)| name.len() + value.len() + 64).sum::<usize>();
            if names as u64 > limits.names_size {
                let what = "what all paths, link targets and extended attributes take";
                return Err(Problem::Limit { what, limit: limits.names_size });
            }
            let (kind, sha1) = match header.kind {
                HeaderKind::Directory => (Kind::Directory, None),
                HeaderKind::Symlink => symlink(&header, &path)?,
                HeaderKind::File => file(&header, &path, &mut bytes, limits, sink)?,
                HeaderKind::HardLink => {
                    let (entry, sha1) = hard_link(&header, &path, &mut data, &places)?;
                    places.insert(path.clone(), data.entries.len());
                    data.checksums.extend(sha1.map(|sha1| (path.clone(), sha1)));
                    data.entries.push((path, entry));
                    continue;
                }
                HeaderKind::Other(kind) => {
                    return Err(Problem::UnsupportedEntry { path: path.to_string(), kind });
                }
            };
            data.checksums.remove(&path);
            data.checksums.extend(sha1.map(|sha1| (path.clone(), sha1)));
            places.insert(path.clone(), data.entries.len());
            data.entries.push((
                path,
                Entry {
                    kind,
                    mode: header.mode,
                    uid: header.uid,
                    gid: header.gid,
                    mtime: header.mtime,
                    xattrs: header.xattrs,
                    origin: origin.clone(),
                },
            ));
        }
        let mut rest = archive.into_inner();
        only_zeros(&mut rest, Member::Data)?;
    }
    let left = unpacked.into_inner().into_inner();
    if left.is_empty() { Ok(data) } else { Err(Problem::Trailing(left.len() as u64)) }
}

/// What follows the end of the tar: padding, and the CRC of the gzip member is checked at its end.
pub(crate) fn only_zeros(rest: &mut impl Read, member: Member) -> Result<(), Problem> {
    let mut buffer = [0; 8192];
    loop {
        let read = rest.read(&mut buffer).map_err(|error| gzip_problem(member, error))?;
        if read == 0 {
            return Ok(());
        }
        if buffer[..read].iter().any(|byte| *byte != 0) {
            return Err(Problem::Tar { member, reason: "there are bytes after its end".into() });
        }
    }
}

/// The path of an entry that is to be installed; `None` for names that apk passes over.
///
/// apk (2.12, `apk_db_install_archive_entry`) takes a top-level name with a leading dot for metadata, and a
/// `.keep_…` for a stand-in in an otherwise empty folder. It also passes over anything else that starts with a
/// dot, `./usr/bin/x` for example, and over `..`: here these are errors, as nothing would be installed.
fn checked_path(header: &Header) -> Result<Option<ImagePath>, Problem> {
    let text = header.path.as_str();
    let refused = |source| Problem::BadPath { path: text.chars().take(200).collect(), source };
    let path = ImagePath::new(text).map_err(|error| refused(Some(error)))?;
    let metadata = text.starts_with('.') && !text.contains('/') && text.len() > 1;
    if metadata || (path.is_root() && header.kind == HeaderKind::Directory) {
        return Ok(None);
    }
    if path.is_root() || text.starts_with(['/', '.']) || path.relative() != text.trim_end_matches('/') {
        return Err(refused(None));
    }
    let keep = path.file_name().is_some_and(|name| name.len() > 6 && name.starts_with(".keep_"));
    Ok((!keep || header.kind == HeaderKind::Directory).then_some(path))
}

fn compare(path: &ImagePath, expected: Option<[u8; 20]>, found: &[u8]) -> Result<[u8; 20], Problem> {
    let expected = expected.ok_or_else(|| Problem::NoChecksum(path.clone()))?;
    if expected == *found {
        return Ok(expected);
    }
    Err(Problem::Checksum { path: path.clone(), expected: hex::encode(expected), found: hex::encode(found) })
}

fn symlink(header: &Header, path: &ImagePath) -> Result<(Kind, Option<[u8; 20]>), Problem> {
    if header.target.is_empty()
        || header.target.len() > 4095
        || header.target.contains(|c: char| c.is_ascii_control())
    {
        let reason =
            format!("points to {:?}, which is no path", header.target.chars().take(200).collect::<String>());
        return Err(Problem::BadEntry { path: path.clone(), reason });
    }
    let sha1 = compare(path, header.sha1, &Sha1::digest(header.target.as_bytes()))?;
    Ok((Kind::Symlink { target: header.target.clone() }, Some(sha1)))
}

fn file(
    header: &Header,
    path: &ImagePath,
    bytes: &mut dyn Read,
    limits: &Limits,
    sink: &mut dyn ContentSink,
) -> Result<(Kind, Option<[u8; 20]>), Problem> {
    if header.size > limits.file_size {
        return Err(Problem::Limit { what: "a file", limit: limits.file_size });
    }
    let mut hashing = Hashing { inner: bytes, sha1: Sha1::new(), read: 0, failed: None };
    let stored = sink.store(path, &mut hashing);
    if let Some(error) = hashing.failed {
        // Reading failed, whatever the sink made of it.
        return Err(exceeded(&error).unwrap_or_else(|| gzip_problem(Member::Data, error)));
    }
    let content = stored.map_err(|source| Problem::Store { path: path.clone(), source })?;
    if hashing.read < header.size && content.size() == hashing.read {
        // The sink came to an end before the file did: either the tar is cut short, or the sink stopped by itself.
        let mut one = [0; 1];
        match hashing.inner.read(&mut one) {
            Ok(0) => return Err(tar_problem(Member::Data, &io::Error::other("it ends within a file"))),
            Ok(_) => {}
            Err(error) => return Err(tar_problem(Member::Data, &error)),
        }
    }
    if content.size() != header.size || hashing.read != header.size {
        let source = io::Error::other(format!("{} of {} bytes were kept", content.size(), header.size));
        return Err(Problem::Store { path: path.clone(), source });
    }
    let sha1 = compare(path, header.sha1, &hashing.sha1.finalize())?;
    Ok((Kind::File { content, inode: None }, Some(sha1)))
}

/// A hard link is the entry that it links to, once more: they share an inode, and so owner, mode and time.
fn hard_link(
    header: &Header,
    path: &ImagePath,
    data: &mut Data,
    places: &HashMap<ImagePath, usize>,
) -> Result<(Entry, Option<[u8; 20]>), Problem> {
    let missing =
        || Problem::HardLink { path: path.clone(), target: header.target.chars().take(200).collect() };
    let target = ImagePath::new(&header.target).map_err(|_| missing())?;
    let place = *places.get(&target).ok_or_else(missing)?;
    let entry = &mut data.entries[place].1;
    match &mut entry.kind {
        Kind::Directory => {
            return Err(Problem::BadEntry {
                path: path.clone(),
                reason: format!("is a hard link to the folder `{target}`"),
            });
        }
        Kind::File { inode, .. } => {
            inode.get_or_insert_with(|| target.clone());
        }
        Kind::Symlink { .. } => {}
    }
    let entry = entry.clone();
    let sha1 = data.checksums.get(&target).copied();
    if let (Some(expected), Some(found)) = (header.sha1, sha1) {
        compare(path, Some(expected), &found)?;
    }
    Ok((entry, sha1))
}

/// Computes the SHA-1 of what goes through, and remembers why reading failed.
struct Hashing<'a> {
    inner: &'a mut dyn Read,
    sha1: Sha1,
    read: u64,
    failed: Option<io::Error>,
}

impl Read for Hashing<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.inner.read(buffer) {
            Ok(read) => {
                self.sha1.update(&buffer[..read]);
                self.read += read as u64;
                Ok(read)
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Err(error),
            Err(error) => {
                let copy = io::Error::new(error.kind(), error.to_string());
                self.failed = Some(error);
                Err(copy)
            }
        }
    }
}
