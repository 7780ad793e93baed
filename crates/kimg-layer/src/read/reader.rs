//! Entries, one after the other, each with the headers that stand before it.

use std::collections::BTreeMap;

use kimg_core::{ContentSink, Entry, ImagePath, Kind, Origin};

use super::fields::Fields;
use super::sparse::{self, Map, Pieces, Recorded, SparseFile};
use super::stream::{File, Stream};
use super::{Limits, Node, NodeKind, UpperLayer};
use crate::header::{BLOCK, padding};
use crate::pax::{self, Records, XATTR};
use crate::{Entries, LayerError};

/// Reads one entry after the other.
pub(super) struct Reader<'a> {
    stream: Stream<'a>,
    limits: &'a Limits,
    entries: Entries,
    links: BTreeMap<ImagePath, ImagePath>,
    nodes: BTreeMap<ImagePath, Node>,
    count: u64,
}

/// What headers before an entry's own say about it.
#[derive(Default)]
struct Before {
    records: Records,
    long_name: Option<Vec<u8>>,
    long_link: Option<Vec<u8>>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(stream: Stream<'a>, limits: &'a Limits) -> Self {
        let (links, nodes) = (BTreeMap::new(), BTreeMap::new());
        Self { stream, limits, entries: Entries::new(), links, nodes, count: 0 }
    }

    /// What was read, after the last entry.
    pub(super) fn finish(self) -> Result<UpperLayer, LayerError> {
        let diff_id = self.stream.finish()?;
        Ok(UpperLayer { entries: self.entries, links: self.links, nodes: self.nodes, diff_id })
    }

    /// Refuses what needs a layer below, or is no file.
    pub(super) fn stands_alone(&self) -> Result<(), LayerError> {
        if let Some((path, target)) = self.links.first_key_value() {
            let problem = format!("`{path}` is a hard link to `{target}`, which is no file before it");
            return Err(self.stream.malformed(problem));
        }
        match self.nodes.first_key_value() {
            Some((path, node)) => {
                Err(LayerError::Unsupported { path: path.clone(), what: node.kind.to_string() })
            }
            None => Ok(()),
        }
    }

    /// Reads one entry with everything that belongs to it; false at the end of the archive.
    pub(super) fn entry(&mut self, sink: &mut dyn ContentSink) -> Result<bool, LayerError> {
        let mut before = Before::default();
        loop {
            let mut block = [0; BLOCK];
            self.stream.exactly(&mut block)?;
            if block == [0; BLOCK] {
                return Ok(false);
            }
            let fields = Fields::parse(&block).map_err(|problem| self.stream.malformed(problem))?;
            self.count += 1;
            if self.count > self.limits.entries {
                return Err(LayerError::Limit { what: "entries", limit: self.limits.entries });
            }
            match fields.kind {
                b'x' => before.records = self.records(fields.size)?,
                // Global records: only a comment (git writes one) can be passed over safely.
                b'g' => {
                    if self.records(fields.size)?.keys().any(|key| key != "comment") {
                        return Err(self.stream.malformed("a global PAX header that changes other entries"));
                    }
                }
                b'L' => before.long_name = Some(self.text(fields.size)?),
                b'K' => before.long_link = Some(self.text(fields.size)?),
                _ => {
                    let map = if fields.is_old_sparse { Some(self.old_sparse(&block)?) } else { None };
                    self.own(fields, before, map, sink)?;
                    return Ok(true);
                }
            }
        }
    }

    fn records(&mut self, size: u64) -> Result<Records, LayerError> {
        let bytes = self.header_bytes(size)?;
        pax::decode(&bytes).map_err(|problem| self.stream.malformed(problem))
    }

    fn text(&mut self, size: u64) -> Result<Vec<u8>, LayerError> {
        let mut bytes = self.header_bytes(size)?;
        bytes.truncate(bytes.iter().position(|b| *b == 0).unwrap_or(bytes.len()));
        Ok(bytes)
    }

    fn header_bytes(&mut self, size: u64) -> Result<Vec<u8>, LayerError> {
        let limit = self.limits.header_size;
        let length = usize::try_from(size).ok().filter(|_| size <= limit);
        let length = length.ok_or(LayerError::Limit { what: "bytes in one header", limit })?;
        let mut bytes = vec![0; length];
        self.stream.exactly(&mut bytes)?;
        self.stream.skip(padding(size) as u64)?;
        Ok(bytes)
    }

    /// The pieces of a sparse file of the old form, and its size.
    fn old_sparse(&mut self, header: &[u8; BLOCK]) -> Result<(Pieces, u64), LayerError> {
        let (mut pieces, mut more, size) =
            sparse::in_header(header).map_err(|problem| self.stream.malformed(problem))?;
        let limit = self.limits.header_size;
        for number in 1_u64.. {
            if !more {
                break;
            }
            if number * BLOCK as u64 > limit {
                return Err(LayerError::Limit { what: "bytes in one header", limit });
            }
            let mut block = [0; BLOCK];
            self.stream.exactly(&mut block)?;
            let (further, goes_on) =
                sparse::in_block(&block).map_err(|problem| self.stream.malformed(problem))?;
            pieces.extend(further);
            more = goes_on;
        }
        Ok((pieces, size))
    }

    fn own(
        &mut self,
        fields: Fields,
        before: Before,
        old_sparse: Option<(Pieces, u64)>,
        sink: &mut dyn ContentSink,
    ) -> Result<(), LayerError> {
        let Before { mut records, long_name, long_link } = before;
        let recorded = sparse::recorded(&mut records).map_err(|problem| self.stream.malformed(problem))?;
        let recorded = old_sparse.map(|(pieces, size)| Recorded::Pieces(pieces, size)).or(recorded);
        let name = records.remove("path").or(long_name).unwrap_or(fields.name);
        let path = ImagePath::new(&self.utf8(name)?)?;
        let link = self.utf8(records.remove("linkpath").or(long_link).unwrap_or(fields.link))?;
        let uid = self.number(&mut records, "uid", fields.uid)?;
        let gid = self.number(&mut records, "gid", fields.gid)?;
        let size = self.number(&mut records, "size", fields.size)?;
        let mtime = self.number(&mut records, "mtime", fields.mtime)?;
        let too_large =
            |what| self.stream.malformed(format!("`{path}` has the {what} number {}", uid.max(gid)));
        let entry = Entry {
            kind: Kind::Directory,
            mode: fields.mode & 0o7777,
            uid: u32::try_from(uid).map_err(|_| too_large("user"))?,
            gid: u32::try_from(gid).map_err(|_| too_large("group"))?,
            mtime,
            xattrs: records
                .into_iter()
                .filter_map(|(key, value)| Some((key.strip_prefix(XATTR)?.to_owned(), value)))
                .collect::<BTreeMap<_, _>>(),
            origin: Origin::generated("read from a layer"),
        };
        let directory = fields.kind == b'5' || path.is_root();
        let is_file = matches!(fields.kind, b'0' | b'\0' | b'7') || fields.is_old_sparse;
        let regular = is_file && !directory;
        if !regular && size != 0 {
            // Readers disagree on whether these bytes are there.
            return Err(self.stream.malformed(format!("`{path}` is no file and has {size} bytes")));
        }
        let kind = match fields.kind {
            _ if regular => self.file(&path, size, recorded, sink)?,
            _ if directory => Kind::Directory,
            b'1' => return self.link(path, &link),
            b'2' => Kind::Symlink { target: link },
            b'3' | b'4' | b'6' => {
                let (major, minor) = fields.device;
                let kind = match fields.kind {
                    b'3' => NodeKind::Character(major, minor),
                    b'4' => NodeKind::Block(major, minor),
                    _ => NodeKind::Pipe,
                };
                let node = Node { kind, mode: entry.mode, uid: entry.uid, gid: entry.gid };
                self.forget(&path);
                self.nodes.insert(path, node);
                return Ok(());
            }
            other => {
                let what = format!("entry of the kind {:?}", char::from(other));
                return Err(LayerError::Unsupported { path, what });
            }
        };
        self.forget(&path);
        self.entries.insert(path, Entry { kind, ..entry });
        Ok(())
    }

    /// What was said of a name before counts no more.
    fn forget(&mut self, path: &ImagePath) {
        self.entries.remove(path);
        self.links.remove(path);
        self.nodes.remove(path);
    }

    fn file(
        &mut self,
        path: &ImagePath,
        stored: u64,
        recorded: Option<Recorded>,
        sink: &mut dyn ContentSink,
    ) -> Result<Kind, LayerError> {
        let map = recorded.map(|recorded| self.map(recorded, stored)).transpose()?;
        let (size, rest) = map.as_ref().map_or((stored, stored), |(map, rest)| (map.size(), *rest));
        if size > self.limits.file_size {
            return Err(LayerError::Limit { what: "bytes in one file", limit: self.limits.file_size });
        }
        self.stream.count_holes(size.saturating_sub(rest))?;
        let mut file = File::new(&mut self.stream, rest);
        let taken = match &map {
            Some((map, _)) => sink.store(path, &mut SparseFile::new(&mut file, map)),
            None => sink.store(path, &mut file),
        };
        let left = file.left();
        if let Some(problem) = self.stream.take_problem() {
            return Err(problem);
        }
        let content = taken.map_err(LayerError::Disk)?;
        if left > 0 || content.size() != size {
            let problem = format!("`{path}` has {rest} bytes, of which {} were taken", rest - left);
            return Err(self.stream.malformed(problem));
        }
        self.stream.skip(padding(stored) as u64)?;
        Ok(Kind::File { content, inode: None })
    }

    /// Which bytes of a sparse file follow, and how many they are.
    fn map(&mut self, recorded: Recorded, stored: u64) -> Result<(Map, u64), LayerError> {
        let (pieces, size, rest) = match recorded {
            Recorded::Pieces(pieces, size) => (pieces, size, stored),
            Recorded::BeforeTheBytes(size) => {
                let (pieces, taken) = sparse::listed(&mut self.stream, stored, self.limits.header_size)?;
                (pieces, size, stored - taken)
            }
        };
        let map = Map::new(pieces, size, rest).map_err(|problem| {
            self.stream.malformed(format!("a sparse file is not what its list says: {problem}"))
        })?;
        Ok((map, rest))
    }

    /// A further name of a file: what it is comes from the file, whatever the link's own header says. What is not here may
    /// be in a layer below.
    fn link(&mut self, path: ImagePath, target: &str) -> Result<(), LayerError> {
        let target = ImagePath::new(target)?;
        if path == target {
            return match self.entries.get(&path) {
                Some(entry) if entry.content().is_some() => Ok(()),
                _ => Err(self.stream.malformed(format!("`{path}` is a hard link to itself"))),
            };
        }
        if let Some(further) = self.links.get(&target).cloned() {
            self.forget(&path);
            self.links.insert(path, further);
        } else if let Some(node) = self.nodes.get(&target).copied() {
            self.forget(&path);
            self.nodes.insert(path, node);
        } else if let Some(entry) = self.entries.get_mut(&target) {
            match &mut entry.kind {
                Kind::File { inode, .. } => {
                    inode.get_or_insert_with(|| target.clone());
                }
                // Links have several names too.
                Kind::Symlink { .. } => {}
                Kind::Directory => {
                    let problem = format!("`{path}` is a hard link to `{target}`, which is a folder");
                    return Err(self.stream.malformed(problem));
                }
            }
            let entry = entry.clone();
            self.forget(&path);
            self.entries.insert(path, entry);
        } else {
            self.forget(&path);
            self.links.insert(path, target);
        }
        Ok(())
    }

    fn utf8(&self, bytes: Vec<u8>) -> Result<String, LayerError> {
        String::from_utf8(bytes).map_err(|error| {
            self.stream
                .malformed(format!("the name {:?} is not UTF-8", String::from_utf8_lossy(error.as_bytes())))
        })
    }

    /// A number's record, which counts more than the header's field. Fractions are cut off; what is below zero is 0.
    fn number(&self, records: &mut Records, key: &str, field: u64) -> Result<u64, LayerError> {
        let Some(value) = records.remove(key) else { return Ok(field) };
        let text = String::from_utf8_lossy(&value);
        let whole = text.split('.').next().unwrap_or_default();
        let number = if key == "mtime" && whole.starts_with('-') { Some(0) } else { whole.parse().ok() };
        number.ok_or_else(|| self.stream.malformed(format!("the PAX record {key}={text:?} is no number")))
    }
}
