//! What will be written: hard links found, times clamped. The bytes and the cache key both come from it.

use std::collections::BTreeMap;
use std::io::{self, Write};

use kimg_core::{Content, Digest, DigestWriter, Entry, ImagePath, Kind};

use crate::{Entries, LayerError, Options};

/// Changes whenever the writer makes other bytes of the same entries. It is part of every [`key`].
pub(crate) const FORMAT: u32 = 2;

/// One entry as it will be written.
pub(crate) struct Planned<'a> {
    pub(crate) path: &'a ImagePath,
    pub(crate) entry: &'a Entry,
    /// Clamped.
    pub(crate) mtime: u64,
    /// For a further name of a file: the first one.
    pub(crate) link: Option<&'a ImagePath>,
}

impl<'a> Planned<'a> {
    /// The bytes that follow the header.
    pub(crate) fn content(&self) -> Option<&'a Content> {
        match (&self.entry.kind, self.link) {
            (Kind::File { content, .. }, None) => Some(content),
            _ => None,
        }
    }
}

/// Everything that files must have in common to be one file with several names.
type Identity<'a> = (&'a ImagePath, Digest, u32, u32, u32, u64, &'a BTreeMap<String, Vec<u8>>);

/// Every entry, in the order of the paths.
pub(crate) fn plan<'a>(entries: &'a Entries, options: &Options) -> Vec<Planned<'a>> {
    let mut first: BTreeMap<Identity<'a>, &'a ImagePath> = BTreeMap::new();
    let clamp = |time: u64| options.epoch.map_or(time, |epoch| time.min(epoch));
    entries
        .iter()
        .map(|(path, entry)| {
            let mtime = clamp(entry.mtime);
            let mut link = None;
            if let Kind::File { content, inode: Some(inode) } = &entry.kind {
                let identity =
                    (inode, content.digest(), entry.mode, entry.uid, entry.gid, mtime, &entry.xattrs);
                let at = *first.entry(identity).or_insert(path);
                link = (at != path).then_some(at);
            }
            Planned { path, entry, mtime, link }
        })
        .collect()
}

/// Refuses entries that would make an archive which can't be unpacked as it is meant.
pub(crate) fn check(entries: &Entries) -> Result<(), LayerError> {
    for (path, entry) in entries {
        if let Some(problem) = problem(entries, path, entry) {
            return Err(LayerError::Unwritable { path: path.clone(), problem });
        }
    }
    Ok(())
}

fn problem(entries: &Entries, path: &ImagePath, entry: &Entry) -> Option<String> {
    if path.is_root() && !entry.is_directory() {
        return Some("the root must be a folder".into());
    }
    // OCI image-spec, layer.md, "Whiteouts": such a name would delete a file of a lower layer.
    if path.names().any(|name| name.starts_with(".wh.")) {
        return Some("names that begin with `.wh.` are reserved for whiteouts".into());
    }
    if entry.mode > 0o7777 {
        return Some(format!("its mode {:o} has more than the permission bits", entry.mode));
    }
    if let Some(target) = entry.target()
        && (target.is_empty() || target.len() > 4095 || target.contains('\0'))
    {
        return Some(format!("its target {target:?} is no path"));
    }
    if let Some(name) = entry.xattrs.keys().find(|name| name.is_empty() || name.contains(['=', '\0', '\n'])) {
        return Some(format!("PAX can't hold an attribute named {name:?}"));
    }
    for parent in path.ancestors() {
        if entries.get(&parent).is_some_and(|above| !above.is_directory()) {
            return Some(format!("it lies below `{parent}`, which is no folder"));
        }
    }
    None
}

/// Everything that decides a layer's bytes, as one digest: each header field and content digest, the codec with
/// its level and pinned version, the order, and the version of this writer. The same key means the same bytes;
/// nothing is read or compressed for it.
pub fn key(entries: &Entries, options: &Options) -> Digest {
    let mut out = Description(DigestWriter::new(io::sink()));
    out.text("kimg-layer");
    out.number(FORMAT.into());
    out.text(&options.codec.to_string());
    out.text(options.codec.version());
    out.text(&options.order.to_string());
    for Planned { path, entry, mtime, link } in plan(entries, options) {
        out.text(path.as_str());
        for number in [entry.mode.into(), entry.uid.into(), entry.gid.into(), mtime] {
            out.number(number);
        }
        out.number(entry.xattrs.len() as u64);
        for (name, value) in &entry.xattrs {
            out.text(name);
            out.bytes(value);
        }
        match (&entry.kind, link) {
            (Kind::Directory, _) => out.text("directory"),
            (Kind::Symlink { target }, _) => {
                out.text("symlink");
                out.text(target);
            }
            (Kind::File { .. }, Some(first)) => {
                out.text("link");
                out.text(first.as_str());
            }
            (Kind::File { content, .. }, None) => {
                out.text("file");
                out.number(content.size());
                out.bytes(content.digest().as_raw());
            }
        }
    }
    out.0.finish().1
}

/// Hashes values, each with its length before it, so that no two descriptions run into the same bytes.
struct Description(DigestWriter<io::Sink>);

impl Description {
    fn number(&mut self, number: u64) {
        self.0.write_all(&number.to_le_bytes()).expect("hashing into a sink can't fail");
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        self.0.write_all(bytes).expect("hashing into a sink can't fail");
    }

    fn text(&mut self, text: &str) {
        self.bytes(text.as_bytes());
    }
}
