//! Entries → a compressed archive, with the digests and sizes of both.

use std::io::Write;

use kimg_core::{Digest, DigestWriter, ImagePath, Kind};
use serde::{Deserialize, Serialize};

use crate::codec::Encoder;
use crate::header::Header;
use crate::pax::{Records, XATTR};
use crate::plan::{Planned, check, plan};
use crate::{Entries, LayerError, Options, TarWriter};

/// What a written layer is: everything that configs and manifests say about it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct LayerInfo {
    /// The media type of the blob, which names the compression.
    pub media_type: String,
    /// The digest of the blob, as it is stored and pulled.
    pub digest: Digest,
    /// Bytes of the blob.
    pub size: u64,
    /// The digest of the uncompressed archive (OCI image-spec, config.md, "Layer `DiffID`").
    pub diff_id: Digest,
    /// Bytes of the uncompressed archive.
    pub tar_size: u64,
}

/// Writes a layer. Contents are streamed and verified on the way; memory stays bounded by the compressor's.
///
/// The module documentation says what decides the bytes. On an error, `out` holds a useless beginning.
///
/// # Errors
/// An entry that no archive can hold, a content that can't be read or has changed, an output that takes no more.
pub fn write<W: Write>(entries: &Entries, options: &Options, out: W) -> Result<(W, LayerInfo), LayerError> {
    check(entries)?;
    let encoder = Encoder::new(options.codec, DigestWriter::new(out)).map_err(LayerError::Output)?;
    let mut archive = TarWriter::new(DigestWriter::new(encoder));
    for planned in plan(entries, options) {
        write_entry(&mut archive, &planned)?;
    }
    let (encoder, diff_id, tar_size) = archive.finish()?.finish();
    let (mut out, digest, size) = encoder.finish().map_err(LayerError::Output)?.finish();
    out.flush().map_err(LayerError::Output)?;
    let media_type = options.codec.media_type().to_owned();
    Ok((out, LayerInfo { media_type, digest, size, diff_id, tar_size }))
}

fn write_entry<W: Write>(archive: &mut TarWriter<W>, planned: &Planned<'_>) -> Result<(), LayerError> {
    let Planned { path, entry, mtime, link } = planned;
    let xattrs = entry.xattrs.iter();
    let records: Records = xattrs.map(|(name, value)| (format!("{XATTR}{name}"), value.clone())).collect();
    let name = name(path, entry.is_directory());
    let header = Header {
        name: &name,
        mode: entry.mode,
        uid: entry.uid.into(),
        gid: entry.gid.into(),
        mtime: *mtime,
        records,
        ..Header::default()
    };
    match (&entry.kind, link) {
        (Kind::Directory, _) => archive.header(&Header { kind: b'5', ..header }),
        (Kind::Symlink { target }, _) => archive.header(&Header { kind: b'2', link: target, ..header }),
        (Kind::File { .. }, Some(first)) => {
            archive.header(&Header { kind: b'1', link: first.relative(), ..header })
        }
        (Kind::File { content, .. }, None) => {
            archive.header(&Header { kind: b'0', size: content.size(), ..header })?;
            archive.body(path, content.size(), |out| {
                content.copy_to(out).map_err(|source| LayerError::Content { path: (*path).clone(), source })
            })
        }
    }
}

/// `usr/bin/x`, `usr/`, and `./` for the root.
fn name(path: &ImagePath, directory: bool) -> String {
    match (path.is_root(), directory) {
        (true, _) => "./".to_owned(),
        (false, true) => format!("{}/", path.relative()),
        (false, false) => path.relative().to_owned(),
    }
}
