//! The 512-byte ustar header with what goes before it (POSIX.1-1988, "ustar Interchange Format").

use crate::pax::{self, Records};

/// Archives are made of blocks of this many bytes.
pub(crate) const BLOCK: usize = 512;

/// What one entry's header says. Everything is given; nothing is taken from the machine.
#[derive(Debug, Default)]
pub(crate) struct Header<'a> {
    /// As archives write it: relative, folders with a trailing slash.
    pub(crate) name: &'a str,
    /// `0` file, `1` hard link, `2` symbolic link, `5` folder.
    pub(crate) kind: u8,
    pub(crate) mode: u32,
    pub(crate) uid: u64,
    pub(crate) gid: u64,
    pub(crate) size: u64,
    pub(crate) mtime: u64,
    /// The target of a link.
    pub(crate) link: &'a str,
    /// `SCHILY.xattr.` records.
    pub(crate) records: Records,
}

/// The largest number that fits into the 7 octal digits of `uid` and `gid`.
const MAX_7: u64 = 0o777_7777;
/// The largest number that fits into the 11 octal digits of `size` and `mtime`.
const MAX_11: u64 = 0o777_7777_7777;

impl Header<'_> {
    /// The header block; before it, if something doesn't fit into it, a PAX extended header with its records.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut records = self.records.clone();
        let (prefix, name) = split(self.name).unwrap_or_else(|| {
            records.insert("path".into(), self.name.into());
            ("", fallback(self.name))
        });
        let link = if fits(self.link, 100) {
            self.link
        } else {
            records.insert("linkpath".into(), self.link.into());
            fallback(self.link)
        };
        let mut number = |key: &str, value: u64, max: u64| {
            if value <= max {
                return value;
            }
            records.insert(key.into(), value.to_string().into_bytes());
            0
        };
        let uid = number("uid", self.uid, MAX_7);
        let gid = number("gid", self.gid, MAX_7);
        let size = number("size", self.size, MAX_11);
        let mtime = number("mtime", self.mtime, MAX_11);

        let mut bytes = Vec::with_capacity(BLOCK);
        if !records.is_empty() {
            let body = pax::encode(&records);
            // Nobody but a program that knows no PAX sees this name; it is the same for all.
            let extended = Fields {
                name: "././@PaxHeader",
                kind: b'x',
                mode: 0o644,
                size: body.len() as u64,
                ..Fields::default()
            };
            bytes.extend_from_slice(&extended.block());
            bytes.extend_from_slice(&body);
            bytes.resize(bytes.len() + padding(body.len() as u64), 0);
        }
        let fields = Fields { name, prefix, link, kind: self.kind, mode: self.mode, uid, gid, size, mtime };
        bytes.extend_from_slice(&fields.block());
        bytes
    }
}

/// The fields as they go into one block; all of them fit.
#[derive(Default)]
struct Fields<'a> {
    name: &'a str,
    prefix: &'a str,
    link: &'a str,
    kind: u8,
    mode: u32,
    uid: u64,
    gid: u64,
    size: u64,
    mtime: u64,
}

impl Fields<'_> {
    fn block(&self) -> [u8; BLOCK] {
        let mut block = [0; BLOCK];
        let mut put = |at: usize, bytes: &[u8]| block[at..at + bytes.len()].copy_from_slice(bytes);
        put(0, self.name.as_bytes());
        put(100, format!("{:07o}", self.mode).as_bytes());
        put(108, format!("{:07o}", self.uid).as_bytes());
        put(116, format!("{:07o}", self.gid).as_bytes());
        put(124, format!("{:011o}", self.size).as_bytes());
        put(136, format!("{:011o}", self.mtime).as_bytes());
        put(148, b"        ");
        put(156, &[self.kind]);
        put(157, self.link.as_bytes());
        put(257, b"ustar\x0000");
        // 265 and 297, the names of user and group, stay empty: owners are numbers.
        put(329, b"0000000\x000000000");
        put(345, self.prefix.as_bytes());
        let sum: u32 = block.iter().map(|b| u32::from(*b)).sum();
        block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        block
    }
}

/// How many zero bytes fill the last block of this many bytes.
pub(crate) fn padding(size: u64) -> usize {
    // Less than 512, so it fits.
    #[expect(clippy::cast_possible_truncation, reason = "the remainder is below 512")]
    let over = (size % BLOCK as u64) as usize;
    if over == 0 { 0 } else { BLOCK - over }
}

fn fits(text: &str, room: usize) -> bool {
    text.is_ascii() && text.len() <= room
}

/// Cuts a long name into ustar's prefix (155 bytes) and name (100 bytes) at the last slash that allows it.
fn split(name: &str) -> Option<(&str, &str)> {
    if fits(name, 100) {
        return Some(("", name));
    }
    let inner = name.strip_suffix('/').unwrap_or(name);
    let cut = inner.bytes().take(156).rposition(|b| b == b'/')?;
    let (prefix, rest) = (&name[..cut], &name[cut + 1..]);
    (!prefix.is_empty() && fits(prefix, 155) && fits(rest, 100)).then_some((prefix, rest))
}

/// What the header's field says when a PAX record holds the real text: its beginning.
fn fallback(text: &str) -> &str {
    let mut end = text.len().min(100);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].trim_end_matches('/')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name_parts(name: &str) -> (usize, String, String) {
        let bytes = Header { name, kind: b'0', ..Header::default() }.encode();
        let block = &bytes[bytes.len() - BLOCK..];
        let text = |range: std::ops::Range<usize>| {
            String::from_utf8_lossy(&block[range]).trim_end_matches('\0').to_owned()
        };
        (bytes.len() / BLOCK, text(345..500), text(0..100))
    }

    #[test]
    fn a_name_goes_into_the_header_as_long_as_it_fits() {
        let (hundred, long) = ("n".repeat(100), "n".repeat(101));
        let folder = "p".repeat(155);
        assert_eq!(name_parts(&hundred), (1, String::new(), hundred.clone()));
        assert_eq!(name_parts(&format!("{folder}/{hundred}")), (1, folder.clone(), hundred.clone()));
        // One byte more on either side, a folder's slash that takes the last place, and letters that are not ASCII.
        for name in
            [long.clone(), format!("p{folder}/{hundred}"), format!("{folder}/{hundred}/"), "é".to_owned()]
        {
            assert_eq!(name_parts(&name).0, 3, "{name}");
        }
    }

    #[test]
    fn numbers_that_need_more_digits_become_records() {
        let largest = Header {
            name: "x",
            kind: b'0',
            uid: MAX_7,
            gid: MAX_7,
            size: MAX_11,
            mtime: MAX_11,
            ..Header::default()
        };
        assert_eq!(largest.encode().len(), BLOCK);
        let bytes = Header { uid: MAX_7 + 1, mtime: MAX_11 + 1, ..largest }.encode();
        assert_eq!(bytes.len(), 3 * BLOCK);
        assert!(bytes[BLOCK..].starts_with(b"20 mtime=8589934592\n15 uid=2097152\n"));
    }

    #[test]
    fn the_last_block_is_filled_up() {
        assert_eq!([0, 1, 511, 512, 513].map(padding), [0, 511, 1, 0, 511]);
    }
}
