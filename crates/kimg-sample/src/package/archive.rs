//! Tar archives and gzip members, byte for byte the same for the same entries.

use std::collections::BTreeMap;
use std::io::Write as _;

use flate2::{Compression, GzBuilder};
use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use tar::{Builder, EntryType, Header};

/// The time of everything that is built: 2025-01-01, in seconds since 1970.
pub const BUILD_TIME: u64 = 1_735_689_600;

/// The size of a name's field in a tar header (POSIX pax, "ustar Interchange Format").
const NAME_FIELD: usize = 100;
/// What a whole archive ends with.
const CLOSING_ZEROS: usize = 1024;

/// One entry of an archive, its path taken as it is: nothing is checked, so that bad packages can be made too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TarEntry {
    /// Its path, normally without a leading slash.
    pub path: String,
    /// What it is.
    pub kind: TarKind,
    /// Permission bits.
    pub mode: u32,
    /// Numeric owner.
    pub uid: u32,
    /// Numeric group.
    pub gid: u32,
    /// Extended attributes by name, `security.capability`.
    pub xattrs: BTreeMap<String, Vec<u8>>,
    /// A checksum to claim instead of the true one, in hex; the empty text for none at all.
    pub claimed_sha1: Option<String>,
}

/// What an entry is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TarKind {
    /// A folder.
    Directory,
    /// A regular file with these bytes.
    File(Vec<u8>),
    /// A symbolic link with this target.
    Symlink(String),
    /// A hard link to an earlier entry of this path.
    Hardlink(String),
}

impl TarEntry {
    fn new(path: impl Into<String>, kind: TarKind, mode: u32) -> Self {
        Self { path: path.into(), kind, mode, uid: 0, gid: 0, xattrs: BTreeMap::new(), claimed_sha1: None }
    }

    /// A folder, 0755 root.
    pub fn directory(path: impl Into<String>) -> Self {
        Self::new(path, TarKind::Directory, 0o755)
    }

    /// A regular file, 0644 root.
    pub fn file(path: impl Into<String>, bytes: impl Into<Vec<u8>>) -> Self {
        Self::new(path, TarKind::File(bytes.into()), 0o644)
    }

    /// A program: a regular file, 0755 root.
    pub fn program(path: impl Into<String>, bytes: impl Into<Vec<u8>>) -> Self {
        Self::file(path, bytes).mode(0o755)
    }

    /// A symbolic link.
    pub fn symlink(path: impl Into<String>, target: impl Into<String>) -> Self {
        Self::new(path, TarKind::Symlink(target.into()), 0o777)
    }

    /// A hard link; `target` is the path of an earlier entry. Its mode is meant to be the target's.
    pub fn hardlink(path: impl Into<String>, target: impl Into<String>) -> Self {
        Self::new(path, TarKind::Hardlink(target.into()), 0o644)
    }

    /// With these permission bits.
    pub fn mode(mut self, mode: u32) -> Self {
        self.mode = mode;
        self
    }

    /// With this owner and group.
    pub fn owner(mut self, uid: u32, gid: u32) -> Self {
        (self.uid, self.gid) = (uid, gid);
        self
    }

    /// With this extended attribute.
    pub fn xattr(mut self, name: impl Into<String>, value: impl Into<Vec<u8>>) -> Self {
        self.xattrs.insert(name.into(), value.into());
        self
    }

    /// With this checksum instead of the true one, in hex; the empty text for none at all.
    pub fn claimed_sha1(mut self, hex: impl Into<String>) -> Self {
        self.claimed_sha1 = Some(hex.into());
        self
    }

    /// Bytes of content.
    pub fn size(&self) -> u64 {
        match &self.kind {
            TarKind::File(bytes) => bytes.len() as u64,
            _ => 0,
        }
    }

    /// The path as archives hold it: that of a folder ends with a slash.
    fn written_path(&self) -> String {
        if self.kind == TarKind::Directory && !self.path.ends_with('/') {
            format!("{}/", self.path)
        } else {
            self.path.clone()
        }
    }

    /// What apk wants to know of a file or symbolic link: the SHA-1 of its bytes or of its target.
    fn sha1(&self) -> Option<String> {
        let bytes: &[u8] = match (&self.claimed_sha1, &self.kind) {
            (Some(claimed), _) => return (!claimed.is_empty()).then(|| claimed.clone()),
            (None, TarKind::File(bytes)) => bytes,
            (None, TarKind::Symlink(target)) => target.as_bytes(),
            (None, TarKind::Directory | TarKind::Hardlink(_)) => return None,
        };
        Some(hex::encode(digest(&SHA1_FOR_LEGACY_USE_ONLY, bytes)))
    }

    /// What does not fit into a tar header, as pax records.
    fn records(&self, with_checksum: bool) -> Vec<(String, Vec<u8>)> {
        let mut records = Vec::new();
        let path = self.written_path();
        if path.len() > NAME_FIELD {
            records.push(("path".to_owned(), path.into_bytes()));
        }
        if let TarKind::Symlink(target) | TarKind::Hardlink(target) = &self.kind
            && target.len() > NAME_FIELD
        {
            records.push(("linkpath".to_owned(), target.clone().into_bytes()));
        }
        for (name, value) in &self.xattrs {
            records.push((format!("SCHILY.xattr.{name}"), value.clone()));
        }
        if let Some(sha1) = self.sha1().filter(|_| with_checksum) {
            records.push(("APK-TOOLS.checksum.SHA1".to_owned(), sha1.into_bytes()));
        }
        records
    }

    fn header(&self) -> Header {
        let mut header = Header::new_ustar();
        // The fields are filled by hand: the setters refuse paths that bad packages hold.
        copy_text(&mut header.as_old_mut().name, &self.written_path());
        if let TarKind::Symlink(target) | TarKind::Hardlink(target) = &self.kind {
            copy_text(&mut header.as_old_mut().linkname, target);
        }
        header.set_entry_type(match self.kind {
            TarKind::Directory => EntryType::Directory,
            TarKind::File(_) => EntryType::Regular,
            TarKind::Symlink(_) => EntryType::Symlink,
            TarKind::Hardlink(_) => EntryType::Link,
        });
        header.set_mode(self.mode);
        header.set_uid(self.uid.into());
        header.set_gid(self.gid.into());
        header.set_mtime(BUILD_TIME);
        header.set_size(self.size());
        header.set_cksum();
        header
    }
}

fn copy_text(field: &mut [u8; NAME_FIELD], text: &str) {
    let length = text.len().min(NAME_FIELD);
    field[..length].copy_from_slice(&text.as_bytes()[..length]);
}

/// `length name=value\n`, where the length counts its own digits (POSIX pax, "pax Extended Header").
fn pax_record(name: &str, value: &[u8]) -> Vec<u8> {
    let rest = " =\n".len() + name.len() + value.len();
    let mut length = rest + 1;
    while rest + length.to_string().len() != length {
        length = rest + length.to_string().len();
    }
    [format!("{length} {name}=").as_bytes(), value, b"\n"].concat()
}

/// The header of pax records. It has a name because apk takes one without for the end of the archive.
fn pax_header(size: u64) -> Header {
    let mut header = Header::new_ustar();
    copy_text(&mut header.as_old_mut().name, "././@PaxHeader");
    header.set_entry_type(EntryType::XHeader);
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(BUILD_TIME);
    header.set_size(size);
    header.set_cksum();
    header
}

/// An archive with its closing zeros; with or without apk's checksums of files.
pub(crate) fn whole_tar<'a>(entries: impl IntoIterator<Item = &'a TarEntry>, checksums: bool) -> Vec<u8> {
    const IN_MEMORY: &str = "writing to memory does not fail";
    let mut archive = Builder::new(Vec::new());
    for entry in entries {
        let records: Vec<u8> =
            entry.records(checksums).iter().flat_map(|(name, value)| pax_record(name, value)).collect();
        if !records.is_empty() {
            archive.append(&pax_header(records.len() as u64), records.as_slice()).expect(IN_MEMORY);
        }
        let bytes: &[u8] = if let TarKind::File(bytes) = &entry.kind { bytes } else { &[] };
        archive.append(&entry.header(), bytes).expect(IN_MEMORY);
    }
    archive.into_inner().expect(IN_MEMORY)
}

/// An archive without its closing zeros, so that another one can follow.
pub(crate) fn cut_tar<'a>(entries: impl IntoIterator<Item = &'a TarEntry>) -> Vec<u8> {
    let mut bytes = whole_tar(entries, false);
    bytes.truncate(bytes.len() - CLOSING_ZEROS);
    bytes
}

/// One gzip member as abuild's `gzip -n -9` writes its header: without a name, time 0, made on Unix.
pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    const IN_MEMORY: &str = "writing to memory does not fail";
    const UNIX: u8 = 3; // RFC 1952, 2.3.1
    let mut member = GzBuilder::new().mtime(0).operating_system(UNIX).write(Vec::new(), Compression::best());
    member.write_all(bytes).expect(IN_MEMORY);
    member.finish().expect(IN_MEMORY)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pax_record_counts_the_digits_of_its_own_length() {
        for size in 0..2000 {
            let record = pax_record("name", &vec![b'x'; size]);
            let claimed: String =
                record.iter().map(|b| char::from(*b)).take_while(char::is_ascii_digit).collect();
            assert_eq!(claimed, record.len().to_string());
        }
    }

    #[test]
    fn a_path_that_leaves_the_root_is_written_as_it_is() {
        let long = format!("../{}", "x".repeat(200));
        let archive =
            whole_tar(&[TarEntry::file("../../etc/passwd", ""), TarEntry::file(long.as_str(), "")], true);
        let paths: Vec<_> = tar::Archive::new(archive.as_slice())
            .entries()
            .unwrap()
            .map(|entry| String::from_utf8(entry.unwrap().path_bytes().into_owned()).unwrap())
            .collect();
        assert_eq!(paths, ["../../etc/passwd", &long]);
    }

    #[test]
    fn a_false_checksum_is_written_and_none_when_none_is_claimed() {
        let text = |entry: TarEntry| String::from_utf8_lossy(&whole_tar(&[entry], true)).into_owned();
        let file = || TarEntry::file("a", "bytes");
        assert!(text(file().claimed_sha1("00")).contains("APK-TOOLS.checksum.SHA1=00\n"));
        assert!(!text(file().claimed_sha1("")).contains("APK-TOOLS"));
        // The SHA-1 of "bytes", by sha1sum.
        assert!(text(file()).contains("APK-TOOLS.checksum.SHA1=daf529a73101c2be626b99fc6938163e7a27620b\n"));
    }
}
