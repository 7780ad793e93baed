//! Measures a layer by unpacking it: how long its archive is, which files are in it, and which of its compressed bytes
//! each of them is unpacked from.
//!
//! Compressed bytes are attributed by position. While a layer is unpacked it is noted how far the compressed bytes were
//! read when so much of the archive had come out. A file's pull is what lies between its header and its end, so the
//! files of a layer, and what is no file, add up to the layer. That is exact to a block of the codec: some hundred
//! bytes with gzip; with zstd, which unpacks 128 KiB at once, the files within such a block share it by their sizes.
//! Compressing each file alone would not add up: in a layer, what repeats is stored once, where it first comes.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::io::{self, Read};
use std::sync::Arc;

use kimg_core::{Content, ContentSink, ContentSource, Digest, DigestWriter, ImagePath, ReadSeek};
use kimg_layer::{Entries, LayerError, Limits};
use kimg_report::{MeasuredFile, MeasuredLayer};

use crate::existing::installed::PLACES;

/// The largest database of packages that is read, in bytes.
const MAX_DATABASE: u64 = 64 << 20;
/// A tar archive consists of blocks of this size (POSIX.1, pax, "ustar Interchange Format").
const BLOCK: usize = 512;
/// An archive that is not compressed, for the reader that is given one.
const PLAIN: &str = "application/vnd.oci.image.layer.v1.tar";

/// What was found in a layer.
#[derive(Debug, Clone)]
pub struct Measured {
    /// Its sizes; no file has a package yet.
    pub sizes: MeasuredLayer,
    /// Its entries, for what lies over what.
    pub entries: Entries,
    /// The databases of packages in it.
    pub databases: BTreeMap<ImagePath, Vec<u8>>,
}

/// Unpacks a layer of so many compressed bytes. Gives with it the digest of its archive.
///
/// # Errors
/// As [`kimg_layer::read()`].
pub fn measure(blob: impl Read, size: u64, media_type: &str) -> Result<(Measured, Digest), LayerError> {
    let (read, given) = (Cell::new(0), Cell::new(0));
    let points = RefCell::new(Points(vec![(0, 0)]));
    let archive = Archive {
        inner: kimg_layer::decode(Counted { inner: blob, read: &read }, media_type)?,
        read: &read,
        given: &given,
        points: &points,
        block: [0; BLOCK],
        filled: 0,
        used: 0,
    };
    let mut sink = Sink { given: &given, files: Vec::new(), databases: BTreeMap::new() };
    let (entries, diff_id) = kimg_layer::read(archive, PLAIN, &Limits::default(), &mut sink)?;
    let Sink { files, databases, .. } = sink;
    let points = points.into_inner().ending(given.get(), size);
    let mut sizes = MeasuredLayer { extracted: given.get(), rest: size, files: BTreeMap::new() };
    for file in files {
        let pull = points.blob(file.end) - points.blob(file.start);
        sizes.rest = sizes.rest.saturating_sub(pull);
        let empty = MeasuredFile { size: 0, pull: 0, package: None };
        let sum = sizes.files.entry(file.path.to_string()).or_insert(empty);
        sum.size += file.size;
        sum.pull += pull;
    }
    Ok((Measured { sizes, entries, databases }, diff_id))
}

/// Where in the blob what stands where in the archive: pairs of both places, both growing.
struct Points(Vec<(u64, u64)>);

impl Points {
    /// So much of the archive had come out when so much of the blob was read. Of several places in the archive for one
    /// in the blob the last counts: up to there, all came from the bytes before.
    fn note(&mut self, archive: u64, blob: u64) {
        match self.0.last_mut() {
            Some(last) if last.1 == blob => last.0 = archive,
            _ => self.0.push((archive, blob)),
        }
    }

    /// With the end of both: what the codec wrote behind the last byte belongs to it.
    fn ending(mut self, archive: u64, blob: u64) -> Self {
        self.0.retain(|point| point.0 < archive && point.1 < blob);
        if self.0.is_empty() {
            self.0.push((0, 0));
        }
        self.0.push((archive, blob));
        self
    }

    /// The place in the blob of a place in the archive; between two points in proportion.
    fn blob(&self, archive: u64) -> u64 {
        let next = self.0.partition_point(|point| point.0 < archive).min(self.0.len() - 1);
        let (to, from) = (self.0[next], self.0[next.saturating_sub(1)]);
        let part = u128::from(archive.saturating_sub(from.0).min(to.0 - from.0)) * u128::from(to.1 - from.1);
        let part = part.checked_div(u128::from(to.0 - from.0)).unwrap_or(0);
        // A part of the difference of two 64-bit numbers is one, too.
        from.1 + u64::try_from(part).unwrap_or(0)
    }
}

/// The compressed bytes, in small pieces, counted.
struct Counted<'a, R> {
    inner: R,
    read: &'a Cell<u64>,
}

impl<R: Read> Read for Counted<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        // What a decoder has taken but not used yet would be counted too early.
        let room = buffer.len().min(BLOCK);
        let read = self.inner.read(&mut buffer[..room])?;
        self.read.set(self.read.get() + read as u64);
        Ok(read)
    }
}

/// The archive, given out block by block: nobody who reads it is ahead of the block that he needs.
struct Archive<'a> {
    inner: Box<dyn Read + 'a>,
    read: &'a Cell<u64>,
    given: &'a Cell<u64>,
    points: &'a RefCell<Points>,
    block: [u8; BLOCK],
    filled: usize,
    used: usize,
}

impl Archive<'_> {
    fn fill(&mut self) -> io::Result<()> {
        (self.filled, self.used) = (0, 0);
        while self.filled < BLOCK {
            match self.inner.read(&mut self.block[self.filled..]) {
                Ok(0) => break,
                Ok(read) => self.filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.points.borrow_mut().note(self.given.get() + self.filled as u64, self.read.get());
        Ok(())
    }
}

impl Read for Archive<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.used == self.filled {
            self.fill()?;
        }
        let room = buffer.len().min(self.filled - self.used);
        buffer[..room].copy_from_slice(&self.block[self.used..self.used + room]);
        self.used += room;
        self.given.set(self.given.get() + room as u64);
        Ok(room)
    }
}

/// A file, and where it stands in the archive: its header's first byte, and the first byte behind it.
struct Found {
    path: ImagePath,
    size: u64,
    start: u64,
    end: u64,
}

/// Notes where files stand, and forgets what is in them, but for databases of packages.
struct Sink<'a> {
    given: &'a Cell<u64>,
    files: Vec<Found>,
    databases: BTreeMap<ImagePath, Vec<u8>>,
}

impl ContentSink for Sink<'_> {
    fn store(&mut self, path: &ImagePath, reader: &mut dyn Read) -> io::Result<Content> {
        let start = self.given.get().saturating_sub(BLOCK as u64);
        let content = if PLACES.contains(&path.as_str()) {
            let mut bytes = Vec::new();
            reader.take(MAX_DATABASE).read_to_end(&mut bytes)?;
            self.databases.insert(path.clone(), bytes.clone());
            Content::from_bytes(bytes)
        } else {
            let mut writer = DigestWriter::new(io::sink());
            io::copy(reader, &mut writer)?;
            let (_, digest, size) = writer.finish();
            Content::new(digest, size, Arc::new(Forgotten))
        };
        self.files.push(Found { path: path.clone(), size: content.size(), start, end: self.given.get() });
        Ok(content)
    }
}

/// The bytes of a file of which only the size was wanted.
#[derive(Debug)]
struct Forgotten;

impl ContentSource for Forgotten {
    fn open(&self) -> io::Result<Box<dyn ReadSeek>> {
        Err(io::Error::new(io::ErrorKind::Unsupported, "only the size of this file was kept"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kimg_core::{Entry, Origin};
    use kimg_layer::{Codec, Options};

    /// Bytes that no codec makes smaller, of each length others, the same every time.
    fn noise(length: usize) -> Vec<u8> {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64 ^ length as u64;
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()[3]
        };
        (0..length).map(|_| next()).collect()
    }

    fn layer(files: &[(&str, Vec<u8>)], codec: &str) -> (Vec<u8>, kimg_layer::LayerInfo) {
        let entry = |bytes: &Vec<u8>| {
            Entry::file(Content::from_bytes(bytes.clone()), 0o644, Origin::generated("test"))
        };
        let mut entries: Entries =
            files.iter().map(|(path, bytes)| (ImagePath::new(path).unwrap(), entry(bytes))).collect();
        let link = Entry::symlink("a", Origin::generated("test"));
        entries.insert(ImagePath::new("/link").unwrap(), link);
        let options =
            Options { codec: codec.parse::<Codec>().unwrap(), epoch: Some(0), ..Options::default() };
        kimg_layer::write(&entries, &options, Vec::new()).unwrap()
    }

    #[test]
    fn every_compressed_byte_is_told_once_and_stands_where_it_is_needed() {
        let files =
            [("/a", noise(400_000)), ("/b", vec![0; 3_000_000]), ("/c", noise(700_001)), ("/d", Vec::new())];
        for codec in ["gzip:9", "gzip:1", "zstd:3", "zstd:19"] {
            let (blob, info) = layer(&files, codec);
            let (measured, diff_id) = measure(&blob[..], info.size, &info.media_type).unwrap();
            assert_eq!((diff_id, measured.sizes.extracted), (info.diff_id, info.tar_size), "{codec}");
            let sum: u64 = measured.sizes.files.values().map(|file| file.pull).sum();
            assert_eq!(sum + measured.sizes.rest, info.size, "{codec}");
            for (path, bytes) in &files {
                assert_eq!(measured.sizes.files[*path].size, bytes.len() as u64, "{codec} {path}");
            }
            // These files have nothing in common: in one layer each costs what it does alone, but for a block of the codec
            // that straddles two of them, and the links and the end that a layer of its own has.
            let block = if codec.starts_with("zstd") { 132_000 } else { 2_000 };
            for (path, bytes) in &files {
                let alone = layer(&[(path, bytes.clone())], codec).1.size;
                let pull = measured.sizes.files[*path].pull;
                assert!(pull.abs_diff(alone) <= block, "{codec} {path}: {pull}, alone {alone}");
            }
        }
    }

    #[test]
    fn a_layer_that_is_not_compressed_costs_what_it_is() {
        let files = [("/a", noise(1_000)), ("/b", noise(513))];
        let (blob, info) = layer(&files, "gzip:1");
        let mut tar = Vec::new();
        kimg_layer::decode(&blob[..], &info.media_type).unwrap().read_to_end(&mut tar).unwrap();
        let (measured, _) = measure(&tar[..], info.tar_size, PLAIN).unwrap();
        // A header and whole blocks each.
        let pulls: Vec<u64> = measured.sizes.files.values().map(|file| file.pull).collect();
        assert_eq!(pulls, [512 + 1_024, 512 + 1_024]);
        assert_eq!(measured.sizes.rest, info.tar_size - 2 * 1_536);
    }
}
