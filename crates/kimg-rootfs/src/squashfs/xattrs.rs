//! Extended attributes: names and values in one stream, and a table that says which of them an inode has.

use std::collections::BTreeMap;

use kimg_core::{Entry, ImagePath};

use super::codec::Codec;
use super::metadata::Metadata;
use crate::RootfsError;

/// Instead of a set's number (`SQUASHFS_INVALID_XATTR`).
pub(super) const NONE: u32 = u32::MAX;
/// The families that squashfs knows, by their numbers (`fs/squashfs/xattr.c`).
const FAMILIES: [(&str, u16); 3] = [("user.", 0), ("trusted.", 1), ("security.", 2)];

/// Sets of attributes; each unique one once.
pub(super) struct Xattrs<'a> {
    codec: Codec,
    pairs: Metadata,
    sets: Vec<(u64, u32, u32)>,
    known: BTreeMap<&'a BTreeMap<String, Vec<u8>>, u32>,
}

impl<'a> Xattrs<'a> {
    pub(super) fn new(codec: Codec) -> Self {
        Self { codec, pairs: Metadata::new(codec), sets: Vec::new(), known: BTreeMap::new() }
    }

    /// The number of an entry's set, or [`NONE`].
    pub(super) fn of(&mut self, path: &ImagePath, entry: &'a Entry) -> Result<u32, RootfsError> {
        if entry.xattrs.is_empty() {
            return Ok(NONE);
        }
        if let Some(known) = self.known.get(&entry.xattrs) {
            return Ok(*known);
        }
        let place = self.pairs.place();
        let mut size = 0;
        for (name, value) in &entry.xattrs {
            let unwritable = |problem: String| super::unwritable(path, problem);
            let family = FAMILIES.iter().find_map(|(f, number)| Some((name.strip_prefix(f)?, *number)));
            let Some((rest, family)) = family else {
                return Err(unwritable(format!("an attribute named {name:?} has no place in it")));
            };
            let (Ok(length), Ok(bytes)) = (u16::try_from(rest.len()), u32::try_from(value.len())) else {
                return Err(unwritable(format!("its attribute {name:?} is too long")));
            };
            let mut pair = Vec::new();
            pair.extend(family.to_le_bytes());
            pair.extend(length.to_le_bytes());
            pair.extend(rest.as_bytes());
            pair.extend(bytes.to_le_bytes());
            pair.extend(value);
            size += u32::try_from(pair.len()).unwrap_or(u32::MAX);
            self.pairs.write(&pair)?;
        }
        let number = u32::try_from(self.sets.len()).unwrap_or(NONE);
        let count = u32::try_from(entry.xattrs.len()).unwrap_or(u32::MAX);
        self.sets.push((place.reference(), count, size));
        self.known.insert(&entry.xattrs, number);
        Ok(number)
    }

    /// The bytes of both tables, if they stand at `start`, and where their header begins. `None` without attributes.
    pub(super) fn finish(self, start: u64) -> Result<Option<(Vec<u8>, u64)>, RootfsError> {
        if self.sets.is_empty() {
            return Ok(None);
        }
        let count = u32::try_from(self.sets.len()).unwrap_or(NONE);
        let mut bytes = self.pairs.finish()?;
        let mut table = Metadata::new(self.codec);
        for (reference, count, size) in self.sets {
            table.write(&reference.to_le_bytes())?;
            table.write(&count.to_le_bytes())?;
            table.write(&size.to_le_bytes())?;
        }
        let (table, index) = table.finish_table(start + bytes.len() as u64)?;
        // Between the table and its index stands where the pairs begin, and how many sets there are.
        let blocks = usize::try_from(index - start).unwrap_or_default() - bytes.len();
        bytes.extend_from_slice(&table[..blocks]);
        bytes.extend(start.to_le_bytes());
        bytes.extend(count.to_le_bytes());
        bytes.extend(0_u32.to_le_bytes());
        bytes.extend_from_slice(&table[blocks..]);
        Ok(Some((bytes, index)))
    }
}
