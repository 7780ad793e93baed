//! Writes an index of packages: what `apk index` makes, before anybody signs it.

use std::io;

use flate2::Compression;
use flate2::write::GzEncoder;

use crate::Record;
use crate::installed_db::fields;

/// The bytes of an unsigned `APKINDEX.tar.gz` that lists these packages, in their order.
///
/// The same records give the same bytes: no time, no owner. apk reads it with `--allow-untrusted`; this crate with
/// [`read_unsigned_index`](crate::read_unsigned_index). Unknown fields of a record are not written.
///
/// ```
/// use kimg_apk::{Limits, Record, read_unsigned_index, write_index};
///
/// let musl = Record::new("musl", "1.2.5-r0".parse()?);
/// let index = read_unsigned_index(&write_index("mine", &[&musl]), &Limits::default())?;
/// assert_eq!((index.description.as_str(), index.packages[0].id().as_str()), ("mine", "musl-1.2.5-r0"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn write_index(description: &str, records: &[&Record]) -> Vec<u8> {
    let mut text = String::new();
    for record in records {
        fields(&mut text, record);
        text.push('\n');
    }
    // Writing into memory does not fail.
    archive(description.as_bytes(), text.as_bytes()).unwrap_or_default()
}

fn archive(description: &[u8], records: &[u8]) -> io::Result<Vec<u8>> {
    let mut tar = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::best()));
    for (name, bytes) in [("DESCRIPTION", description), ("APKINDEX", records)] {
        let mut header = tar::Header::new_ustar();
        header.set_size(bytes.len() as u64);
        header.set_entry_type(tar::EntryType::Regular);
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        tar.append_data(&mut header, name, bytes)?;
    }
    tar.into_inner()?.finish()
}
