//! The headers of a tar: one [`Header`] a path, with its PAX records and long names applied.
//!
//! The `tar` crate finds and checks the blocks. It is used in its raw mode, and what stands in front of a
//! path (PAX records, GNU long names) is read here, because:
//! - its PAX reader splits records at line ends, while a record is as long as it says it is (POSIX.1-2024,
//!   pax, "pax Extended Header"): `security.capability` is binary and may hold a line end;
//! - it reads such headers into memory without a limit;
//! - it passes over what contradicts itself (a size given twice), and here that is an error.

use std::collections::BTreeMap;
use std::io::Read;

use tar::{Entries, EntryType};

use crate::error::{Member, Problem};
use crate::member::exceeded;

/// The PAX record with the SHA-1 of a file's bytes or of a link's target (apk-tools 2, `apk_tar_parse`).
const CHECKSUM: &[u8] = b"APK-TOOLS.checksum.SHA1";
/// What the name of a PAX record with an extended attribute starts with.
const XATTR: &[u8] = b"SCHILY.xattr.";

/// What a tar says about one path, before its bytes.
#[derive(Debug, Clone, Default)]
pub(crate) struct Header {
    pub(crate) kind: HeaderKind,
    /// As written: not checked yet.
    pub(crate) path: String,
    /// The target of a symbolic or hard link, as written.
    pub(crate) target: String,
    /// Bytes that follow.
    pub(crate) size: u64,
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) mtime: u64,
    pub(crate) xattrs: BTreeMap<String, Vec<u8>>,
    pub(crate) sha1: Option<[u8; 20]>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum HeaderKind {
    #[default]
    File,
    Directory,
    Symlink,
    HardLink,
    /// Something an image can't hold; in words, with its article.
    Other(&'static str),
}

/// What stands in front of a path and changes its header.
#[derive(Debug, Default)]
struct Extended {
    records: BTreeMap<Vec<u8>, Vec<u8>>,
    long_name: Option<Vec<u8>>,
    long_link: Option<Vec<u8>>,
    bytes: u64,
}

/// Reads header after header of one tar.
pub(crate) struct Headers<'a, R: Read> {
    entries: Entries<'a, R>,
    member: Member,
    limit: u64,
}

impl<'a, R: Read> Headers<'a, R> {
    /// `limit`: bytes of all extended headers in front of one path.
    pub(crate) fn new(archive: &'a mut tar::Archive<R>, member: Member, limit: u64) -> Result<Self, Problem> {
        let entries = archive.entries().map_err(|error| tar_problem(member, &error))?.raw(true);
        Ok(Self { entries, member, limit })
    }

    /// The next path and its bytes.
    pub(crate) fn next(&mut self) -> Result<Option<(Header, tar::Entry<'a, R>)>, Problem> {
        let mut extended = Extended::default();
        loop {
            let member = self.member;
            let malformed = |reason: &str| Problem::Tar { member, reason: reason.to_owned() };
            let mut entry = match self.entries.next() {
                Some(Ok(entry)) => entry,
                Some(Err(error)) => return Err(tar_problem(member, &error)),
                None if extended.bytes == 0 => return Ok(None),
                None => return Err(malformed("it ends after an extended header")),
            };
            let kind = entry.header().entry_type();
            let slot = match kind {
                EntryType::GNULongName => &mut extended.long_name,
                EntryType::GNULongLink => &mut extended.long_link,
                EntryType::XHeader | EntryType::XGlobalHeader => &mut None,
                _ => {
                    return self.header(&entry, extended).map(|header| Some((header, entry)));
                }
            };
            extended.bytes = extended.bytes.saturating_add(entry.size().max(1));
            if extended.bytes > self.limit {
                return Err(Problem::Limit { what: "an extended header", limit: self.limit });
            }
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes).map_err(|error| tar_problem(member, &error))?;
            if bytes.len() as u64 != entry.size() {
                return Err(malformed("it ends within an extended header"));
            }
            match kind {
                EntryType::XHeader => {
                    let records = pax_records(&bytes).ok_or_else(|| malformed("a PAX record is damaged"))?;
                    if !extended.records.is_empty() {
                        return Err(malformed("two PAX headers in front of one path"));
                    }
                    extended.records = records;
                }
                // A global header (git archive writes one) says nothing that a package needs: apk passes over it too.
                EntryType::XGlobalHeader => {}
                _ => {
                    while bytes.last() == Some(&0) {
                        bytes.pop();
                    }
                    if slot.replace(bytes).is_some() {
                        return Err(malformed("two long names in front of one path"));
                    }
                }
            }
        }
    }

    fn header(&self, entry: &tar::Entry<'a, R>, extended: Extended) -> Result<Header, Problem> {
        let raw = entry.header();
        let Extended { mut records, long_name, long_link, .. } = extended;
        let malformed = |reason: &str| Problem::Tar { member: self.member, reason: reason.to_owned() };
        let path =
            records.remove(&b"path"[..]).or(long_name).unwrap_or_else(|| raw.path_bytes().into_owned());
        let target = records
            .remove(&b"linkpath"[..])
            .or(long_link)
            .or_else(|| raw.link_name_bytes().map(std::borrow::Cow::into_owned))
            .unwrap_or_default();
        let path = String::from_utf8(path).map_err(|error| Problem::BadPath {
            path: error.into_bytes().escape_ascii().to_string().chars().take(200).collect(),
            source: None,
        })?;
        let text = |what: &str| malformed(&format!("`{}`: {what}", path.escape_debug()));
        let number = |found: std::io::Result<u64>, what: &str| {
            found.map_err(|_| text(&format!("its {what} is no number")))
        };
        let mut header = Header {
            kind: kind(raw.entry_type()),
            target: String::from_utf8(target).map_err(|_| text("its link target is not UTF-8"))?,
            size: entry.size(),
            mode: raw.mode().map_err(|_| text("its mode is no number"))? & 0o7777,
            uid: u32::try_from(number(raw.uid(), "owner")?).map_err(|_| text("its owner is out of range"))?,
            gid: u32::try_from(number(raw.gid(), "group")?).map_err(|_| text("its group is out of range"))?,
            mtime: number(raw.mtime(), "time")?,
            ..Header::default()
        };
        for (key, value) in records {
            Self::apply(&mut header, &key, value).map_err(|reason| text(&reason))?;
        }
        header.path = path;
        Ok(header)
    }

    /// Applies one PAX record to the header it stands in front of.
    fn apply(header: &mut Header, key: &[u8], value: Vec<u8>) -> Result<(), String> {
        let number = || std::str::from_utf8(&value).ok().and_then(|text| text.parse::<u64>().ok());
        match key {
            CHECKSUM => {
                let mut sha1 = [0; 20];
                hex::decode_to_slice(&value, &mut sha1).map_err(|_| "its checksum is not 40 hex digits")?;
                header.sha1 = Some(sha1);
            }
            b"size" if number() != Some(header.size) => return Err("it has two sizes".into()),
            b"uid" => {
                header.uid = number().and_then(|n| n.try_into().ok()).ok_or("its owner is no number")?;
            }
            b"gid" => {
                header.gid = number().and_then(|n| n.try_into().ok()).ok_or("its group is no number")?;
            }
            _ if key.starts_with(b"GNU.sparse.") => header.kind = HeaderKind::Other("a sparse file"),
            _ => {
                if let Some(name) = key.strip_prefix(XATTR) {
                    let name = std::str::from_utf8(name)
                        .map_err(|_| "the name of an extended attribute is not UTF-8")?;
                    header.xattrs.insert(name.to_owned(), value);
                }
            }
        }
        Ok(())
    }
}

fn kind(kind: EntryType) -> HeaderKind {
    match kind {
        EntryType::Regular => HeaderKind::File,
        EntryType::Directory => HeaderKind::Directory,
        EntryType::Symlink => HeaderKind::Symlink,
        EntryType::Link => HeaderKind::HardLink,
        EntryType::Char => HeaderKind::Other("a character device"),
        EntryType::Block => HeaderKind::Other("a block device"),
        EntryType::Fifo => HeaderKind::Other("a named pipe"),
        EntryType::GNUSparse => HeaderKind::Other("a sparse file"),
        EntryType::Continuous => HeaderKind::Other("a contiguous file"),
        _ => HeaderKind::Other("of an unknown kind"),
    }
}

/// The error of reading a tar.
pub(crate) fn tar_problem(member: Member, error: &std::io::Error) -> Problem {
    // The `tar` crate repeats what it found, whatever bytes that are.
    let reason = || error.to_string().chars().take(200).flat_map(char::escape_debug).collect();
    exceeded(error).unwrap_or_else(|| Problem::Tar { member, reason: reason() })
}

/// `<length> <key>=<value>\n`, one after the other; the length counts all of it.
fn pax_records(mut bytes: &[u8]) -> Option<BTreeMap<Vec<u8>, Vec<u8>>> {
    let mut records = BTreeMap::new();
    while !bytes.is_empty() {
        let space = bytes.iter().position(|b| *b == b' ')?;
        let length: usize = std::str::from_utf8(&bytes[..space]).ok()?.parse().ok()?;
        let record = bytes.get(space + 1..length)?.strip_suffix(b"\n")?;
        let equals = record.iter().position(|b| *b == b'=')?;
        records.insert(record[..equals].to_vec(), record[equals + 1..].to_vec());
        bytes = &bytes[length..];
    }
    Some(records)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_binary_value_with_line_ends_is_kept_whole() {
        let records = pax_records(b"12 a=\n\n\x00\xff \n\n7 b=xy\n").unwrap();
        assert_eq!(records[&b"a"[..]], b"\n\n\x00\xff \n");
        assert_eq!(records[&b"b"[..]], b"xy");
    }

    #[test]
    fn records_that_lie_about_their_length_are_refused() {
        for bytes in [
            &b"9 a=b\n"[..],
            b"5 a=b\n",
            b"0 a=b\n",
            b"1 ",
            b"x a=b\n",
            b"99999999999999999999 a\n",
            b"6 ab\n",
        ] {
            assert_eq!(pax_records(bytes), None, "{}", bytes.escape_ascii());
        }
    }

    proptest! {
        #[test]
        fn arbitrary_records_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            let _ = pax_records(&bytes);
        }
    }
}
