//! Inodes, and the folders that name them.

use std::collections::BTreeMap;

use kimg_core::{Digest, Entry, ImagePath, Kind};

use super::codec::Codec;
use super::data::Stored;
use super::metadata::{Metadata, Place};
use super::xattrs::{self, Xattrs};
use super::{Times, unwritable};
use crate::{Entries, RootfsError};

/// Kinds of inodes (`SQUASHFS_DIR_TYPE` and so on); the extended form of each is seven further.
const DIRECTORY: u16 = 1;
const FILE: u16 = 2;
const SYMLINK: u16 = 3;
const EXTENDED: u16 = 7;

/// The most names under one header of a folder's listing (`SQUASHFS_DIR_COUNT`).
const NAMES: usize = 256;
/// The longest name (`SQUASHFS_NAME_LEN`, and Linux's `NAME_MAX` is one less).
const NAME: usize = 255;

/// An inode as folders name it.
#[derive(Clone, Copy)]
struct Named {
    number: u32,
    kind: u16,
    place: Place,
}

/// Everything that files must have in common to be one file with several names.
type Identity<'a> = (&'a ImagePath, Digest, u32, u32, u32, u64, &'a BTreeMap<String, Vec<u8>>);

/// What is written of a tree beside the contents.
pub(super) struct Tables<'a> {
    pub(super) inodes: Metadata,
    pub(super) folders: Metadata,
    pub(super) xattrs: Xattrs<'a>,
    pub(super) owners: Vec<u32>,
    pub(super) count: u32,
    pub(super) root: Place,
}

/// Writes the inode of every entry. `entries` has the root and every folder; `stored` says where contents lie.
pub(super) fn write<'a>(
    entries: &'a Entries,
    stored: &BTreeMap<&ImagePath, Stored>,
    codec: Codec,
    times: Times,
) -> Result<Tables<'a>, RootfsError> {
    let numbers = Numbers::new(entries, times);
    let mut tables = Tables {
        inodes: Metadata::new(codec),
        folders: Metadata::new(codec),
        xattrs: Xattrs::new(codec),
        owners: Vec::new(),
        count: numbers.count,
        root: Place { block: 0, offset: 0 },
    };
    let mut below: BTreeMap<ImagePath, Vec<(&ImagePath, Named)>> = BTreeMap::new();
    let mut written: BTreeMap<u32, Named> = BTreeMap::new();
    // Backwards: what lies in a folder comes before the folder, whose listing names the places of its inodes.
    for (path, entry) in entries.iter().rev() {
        let number = numbers.of[path];
        let named = if let Some(named) = written.get(&number) {
            *named
        } else {
            let mut inode = Inode { tables: &mut tables, path, entry, number, times };
            let named = match &entry.kind {
                Kind::Directory => {
                    let mut names = below.remove(path).unwrap_or_default();
                    names.reverse();
                    let parent = path.parent().map_or(numbers.count + 1, |parent| numbers.of[&parent]);
                    inode.directory(&names, parent)?
                }
                Kind::File { content, .. } => {
                    let names = numbers.names.get(&number).copied().unwrap_or(1);
                    inode.file(content.size(), &stored[path], names)?
                }
                Kind::Symlink { target } => inode.symlink(target)?,
            };
            written.insert(number, named);
            named
        };
        match path.parent() {
            Some(parent) => below.entry(parent).or_default().push((path, named)),
            None => tables.root = named.place,
        }
    }
    Ok(tables)
}

/// The number of every inode, in the order of the paths.
struct Numbers<'a> {
    of: BTreeMap<&'a ImagePath, u32>,
    /// How many names a file has, where it has several.
    names: BTreeMap<u32, u32>,
    count: u32,
}

impl<'a> Numbers<'a> {
    fn new(entries: &'a Entries, times: Times) -> Self {
        let mut numbers = Self { of: BTreeMap::new(), names: BTreeMap::new(), count: 0 };
        let mut files: BTreeMap<Identity<'a>, u32> = BTreeMap::new();
        for (path, entry) in entries {
            let next = numbers.count + 1;
            let number = match &entry.kind {
                Kind::File { content, inode: Some(inode) } => {
                    let time = entry.mtime.min(times.latest);
                    let identity =
                        (inode, content.digest(), entry.mode, entry.uid, entry.gid, time, &entry.xattrs);
                    let number = *files.entry(identity).or_insert(next);
                    *numbers.names.entry(number).or_default() += 1;
                    number
                }
                _ => next,
            };
            numbers.count = numbers.count.max(number);
            numbers.of.insert(path, number);
        }
        numbers
    }
}

/// One inode that is being written.
struct Inode<'t, 'a> {
    tables: &'t mut Tables<'a>,
    path: &'a ImagePath,
    entry: &'a Entry,
    number: u32,
    times: Times,
}

impl Inode<'_, '_> {
    /// The place of an owner in their table, which grows with it.
    fn owner(&mut self, id: u32) -> Result<u16, RootfsError> {
        let place = self.tables.owners.iter().position(|known| *known == id).unwrap_or_else(|| {
            self.tables.owners.push(id);
            self.tables.owners.len() - 1
        });
        u16::try_from(place).map_err(|_| unwritable(self.path, "there are too many owners".into()))
    }

    /// What every inode begins with.
    fn header(&mut self, kind: u16) -> Result<Vec<u8>, RootfsError> {
        let mode = u16::try_from(self.entry.mode).ok().filter(|mode| *mode <= 0o7777);
        let mode = mode.ok_or_else(|| {
            unwritable(self.path, format!("its mode {:o} has more than the permission bits", self.entry.mode))
        })?;
        let mut bytes = Vec::new();
        bytes.extend(kind.to_le_bytes());
        bytes.extend(mode.to_le_bytes());
        bytes.extend(self.owner(self.entry.uid)?.to_le_bytes());
        bytes.extend(self.owner(self.entry.gid)?.to_le_bytes());
        let time = u32::try_from(self.entry.mtime.min(self.times.latest)).unwrap_or(u32::MAX);
        bytes.extend(time.to_le_bytes());
        bytes.extend(self.number.to_le_bytes());
        Ok(bytes)
    }

    /// Writes the inode; `kind` is its short form, as folders name it.
    fn put(&mut self, kind: u16, bytes: &[u8]) -> Result<Named, RootfsError> {
        let place = self.tables.inodes.place();
        self.tables.inodes.write(bytes)?;
        Ok(Named { number: self.number, kind, place })
    }

    fn file(&mut self, size: u64, stored: &Stored, names: u32) -> Result<Named, RootfsError> {
        let xattrs = self.tables.xattrs.of(self.path, self.entry)?;
        let short = (u32::try_from(stored.start), u32::try_from(size));
        let mut bytes;
        if let ((Ok(start), Ok(size)), 1, xattrs::NONE) = (short, names, xattrs) {
            bytes = self.header(FILE)?;
            for value in [start, stored.fragment, stored.offset, size] {
                bytes.extend(value.to_le_bytes());
            }
        } else {
            bytes = self.header(FILE + EXTENDED)?;
            for value in [stored.start, size, 0] {
                bytes.extend(value.to_le_bytes());
            }
            for value in [names, stored.fragment, stored.offset, xattrs] {
                bytes.extend(value.to_le_bytes());
            }
        }
        stored.blocks.iter().for_each(|block| bytes.extend(block.to_le_bytes()));
        self.put(FILE, &bytes)
    }

    fn symlink(&mut self, target: &str) -> Result<Named, RootfsError> {
        let size = u32::try_from(target.len()).ok().filter(|size| (1..4096).contains(size));
        let Some(size) = size.filter(|_| !target.contains('\0')) else {
            return Err(unwritable(self.path, format!("its target {target:?} is no path")));
        };
        let xattrs = self.tables.xattrs.of(self.path, self.entry)?;
        let extended = if xattrs == xattrs::NONE { 0 } else { EXTENDED };
        let mut bytes = self.header(SYMLINK + extended)?;
        bytes.extend(1_u32.to_le_bytes());
        bytes.extend(size.to_le_bytes());
        bytes.extend(target.as_bytes());
        if extended > 0 {
            bytes.extend(xattrs.to_le_bytes());
        }
        self.put(SYMLINK, &bytes)
    }

    fn directory(&mut self, names: &[(&ImagePath, Named)], parent: u32) -> Result<Named, RootfsError> {
        let xattrs = self.tables.xattrs.of(self.path, self.entry)?;
        let listing = self.tables.folders.place();
        // Three bytes more than it has: `.` and `..`, which it does not have.
        let size = self.list(names)? + 3;
        let folders = names.iter().filter(|(_, named)| named.kind == DIRECTORY).count();
        let links = u32::try_from(folders).unwrap_or(u32::MAX).saturating_add(2);
        let mut bytes;
        if let (Ok(size), xattrs::NONE) = (u16::try_from(size), xattrs) {
            bytes = self.header(DIRECTORY)?;
            bytes.extend(listing.block.to_le_bytes());
            bytes.extend(links.to_le_bytes());
            bytes.extend(size.to_le_bytes());
            bytes.extend(listing.offset.to_le_bytes());
            bytes.extend(parent.to_le_bytes());
        } else {
            bytes = self.header(DIRECTORY + EXTENDED)?;
            for value in [links, size, listing.block, parent] {
                bytes.extend(value.to_le_bytes());
            }
            // No index: the kernel then reads the listing from its start.
            bytes.extend(0_u16.to_le_bytes());
            bytes.extend(listing.offset.to_le_bytes());
            bytes.extend(xattrs.to_le_bytes());
        }
        self.put(DIRECTORY, &bytes)
    }

    /// Writes the names of a folder, sorted as they come, in groups whose inodes lie near each other. Gives the bytes.
    fn list(&mut self, names: &[(&ImagePath, Named)]) -> Result<u32, RootfsError> {
        let mut rest = names;
        let mut size = 0;
        while let Some((_, first)) = rest.first() {
            let near = |named: &Named| {
                let distance = i64::from(named.number) - i64::from(first.number);
                i16::try_from(distance).ok().filter(|_| named.place.block == first.place.block)
            };
            let group = rest.iter().take(NAMES).take_while(|(_, named)| near(named).is_some()).count();
            let mut bytes = Vec::new();
            for value in [u32::try_from(group - 1).unwrap_or_default(), first.place.block, first.number] {
                bytes.extend(value.to_le_bytes());
            }
            for (path, named) in &rest[..group] {
                let name = path.file_name().unwrap_or_default().as_bytes();
                let length =
                    u16::try_from(name.len()).ok().filter(|length| (1..=NAME).contains(&(*length).into()));
                let length = length.ok_or_else(|| unwritable(path, "its name is too long".into()))?;
                bytes.extend(named.place.offset.to_le_bytes());
                bytes.extend(near(named).unwrap_or_default().to_le_bytes());
                bytes.extend(named.kind.to_le_bytes());
                bytes.extend((length - 1).to_le_bytes());
                bytes.extend(name);
            }
            size += u32::try_from(bytes.len()).unwrap_or(u32::MAX);
            self.tables.folders.write(&bytes)?;
            rest = &rest[group..];
        }
        Ok(size)
    }
}
