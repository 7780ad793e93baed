//! Entries → a compressed archive, with the digests and sizes of both.

use std::io::Write;

use kimg_core::{Content, Digest, DigestWriter, ImagePath, Kind};
use serde::{Deserialize, Serialize};

use crate::encode::Encoder;
use crate::header::{BLOCK, Header, padding};
use crate::order::in_order;
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
/// gzip's blocks are compressed on the threads of the rayon pool that this is called in, or of the global one
/// (`ThreadPool::install` chooses another); zstd takes only the caller's thread. So layers that are written at once in
/// one pool share its threads, and its size bounds what all of them together take.
///
/// The module documentation says what decides the bytes. On an error, `out` holds a useless beginning.
///
/// # Errors
/// An entry that no archive can hold, a content that can't be read or has changed, an output that takes no more.
pub fn write<W: Write>(entries: &Entries, options: &Options, out: W) -> Result<(W, LayerInfo), LayerError> {
    check(entries)?;
    let planned = in_order(plan(entries, options), options.order)?;
    let encoder =
        Encoder::new(options.codec, size(&planned), DigestWriter::new(out)).map_err(LayerError::Output)?;
    let (encoder, diff_id, tar_size) = archive(&planned, encoder)?;
    let (mut out, digest, size) = encoder.finish().map_err(LayerError::Output)?.finish();
    out.flush().map_err(LayerError::Output)?;
    let media_type = options.codec.media_type().to_owned();
    Ok((out, LayerInfo { media_type, digest, size, diff_id, tar_size }))
}

/// Writes the archive alone, without compressing it; gives its digest and bytes. On an error, `out` holds a useless
/// beginning.
///
/// # Errors
/// As [`write()`].
pub fn write_archive(
    entries: &Entries,
    options: &Options,
    out: impl Write,
) -> Result<(Digest, u64), LayerError> {
    check(entries)?;
    let planned = in_order(plan(entries, options), options.order)?;
    let (mut out, digest, size) = archive(&planned, out)?;
    out.flush().map_err(LayerError::Output)?;
    Ok((digest, size))
}

/// The digest of a layer's archive (OCI image-spec, config.md, "Layer `DiffID`") and its bytes, without compressing it.
///
/// # Errors
/// As [`write()`].
pub fn diff_id(entries: &Entries, options: &Options) -> Result<(Digest, u64), LayerError> {
    check(entries)?;
    let planned = in_order(plan(entries, options), options.order)?;
    let (_, diff_id, tar_size) = archive(&planned, std::io::sink())?;
    Ok((diff_id, tar_size))
}

/// Writes the archive; gives its digest and bytes.
fn archive<W: Write>(planned: &[Planned<'_>], out: W) -> Result<(W, Digest, u64), LayerError> {
    let mut archive = TarWriter::new(DigestWriter::new(out));
    for planned in planned {
        archive.encoded(&header(planned))?;
        if let Some(content) = planned.content() {
            archive.body(planned.path, content.size(), |out| {
                let path = planned.path.clone();
                content.copy_to(out).map_err(|source| LayerError::Content { path, source })
            })?;
        }
    }
    Ok(archive.finish()?.finish())
}

/// The bytes that the archive will have.
fn size(planned: &[Planned<'_>]) -> u64 {
    let entry = |planned: &Planned<'_>| {
        let content = planned.content().map_or(0, Content::size);
        (header(planned).len() + padding(content)) as u64 + content
    };
    planned.iter().map(entry).sum::<u64>() + 2 * BLOCK as u64
}

fn header(planned: &Planned<'_>) -> Vec<u8> {
    let Planned { path, entry, mtime, link } = planned;
    let xattrs = entry.xattrs.iter();
    let records: Records = xattrs.map(|(name, value)| (format!("{XATTR}{name}"), value.clone())).collect();
    let name = name(path, entry.is_directory());
    let (kind, link, size) = match (&entry.kind, link) {
        (Kind::Directory, _) => (b'5', "", 0),
        (Kind::Symlink { target }, _) => (b'2', target.as_str(), 0),
        (Kind::File { .. }, Some(first)) => (b'1', first.relative(), 0),
        (Kind::File { content, .. }, None) => (b'0', "", content.size()),
    };
    Header {
        name: &name,
        kind,
        mode: entry.mode,
        uid: entry.uid.into(),
        gid: entry.gid.into(),
        size,
        mtime: *mtime,
        link,
        records,
    }
    .encode()
}

/// `usr/bin/x`, `usr/`, and `./` for the root.
fn name(path: &ImagePath, directory: bool) -> String {
    match (path.is_root(), directory) {
        (true, _) => "./".to_owned(),
        (false, true) => format!("{}/", path.relative()),
        (false, false) => path.relative().to_owned(),
    }
}
