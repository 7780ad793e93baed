//! Sparse files: an archive has only pieces of their bytes, and zeros lie between (GNU tar's manual, "Storing Sparse
//! Files").
//!
//! | form | the list of pieces is in |
//! | --- | --- |
//! | old GNU | the header, which says its kind is `S`, and in blocks behind it |
//! | PAX 0.0, 0.1 | the records of the extended header; 0.0 says one key again and again ([`pax::decode`](crate::pax::decode)) |
//! | PAX 1.0 | lines of digits before the bytes, filled up to a whole block |

use std::io::{self, Read};

use super::stream::{File, Stream};
use crate::LayerError;
use crate::header::BLOCK;
use crate::pax::{PIECES, Records};

/// Pieces in one header of the old form, and in each block behind it.
const IN_HEADER: usize = 4;
const IN_BLOCK: usize = 21;
/// The bytes of one piece's offset and length there, in octal digits.
const PIECE: usize = 24;

/// Offset and length of each piece, in bytes.
pub(super) type Pieces = Vec<(u64, u64)>;

/// Which bytes of a file an archive has.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Map {
    /// Offset and length, in order.
    pieces: Pieces,
    /// The bytes of the file, zeros among them.
    size: u64,
}

impl Map {
    /// A list of pieces that lie one behind the other in a file, and come to what the archive has of it.
    pub(super) fn new(pieces: Pieces, size: u64, stored: u64) -> Result<Self, String> {
        let (mut end, mut all) = (0_u64, 0_u64);
        for (offset, length) in &pieces {
            let next = offset.checked_add(*length).filter(|next| *offset >= end && *next <= size);
            end = next.ok_or_else(|| {
                format!("{length} bytes at {offset} are no piece of {size} bytes, behind {end}")
            })?;
            all += length;
        }
        if all != stored {
            return Err(format!("its pieces come to {all} bytes, and {stored} are there"));
        }
        Ok(Self { pieces, size })
    }

    pub(super) fn size(&self) -> u64 {
        self.size
    }
}

/// What the records of an extended header say of a sparse file.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Recorded {
    /// Its pieces and size.
    Pieces(Pieces, u64),
    /// Its size: the pieces are listed before the bytes.
    BeforeTheBytes(u64),
}

/// Takes what says that a file is sparse out of the records, its real name put where names stand; `None` if it is not.
pub(super) fn recorded(records: &mut Records) -> Result<Option<Recorded>, String> {
    let mut said = Records::new();
    records.retain(|key, value| {
        let ours = key.starts_with("GNU.sparse.");
        if ours {
            said.insert(key["GNU.sparse.".len()..].to_owned(), std::mem::take(value));
        }
        !ours
    });
    if said.is_empty() {
        return Ok(None);
    }
    if let Some(name) = said.remove("name") {
        records.insert("path".into(), name);
    }
    let number = |key: &str| said.get(key).map(|value| decimal(value)).transpose();
    let of = |key: &str| number(key)?.ok_or_else(|| format!("a sparse file without its {key}"));
    match (number("major")?, number("minor")?) {
        (Some(1), Some(0)) => Ok(Some(Recorded::BeforeTheBytes(of("realsize")?))),
        (None | Some(0), _) => {
            let list = said.get(&PIECES["GNU.sparse.".len()..]).map(Vec::as_slice).unwrap_or_default();
            let numbers = list.split(|b| *b == b',').filter(|number| !number.is_empty());
            let pieces = paired(&numbers.map(decimal).collect::<Result<Vec<_>, _>>()?)?;
            let said = of("numblocks")?;
            if said != pieces.len() as u64 {
                return Err(format!("a sparse file of {said} pieces, of which {} are listed", pieces.len()));
            }
            Ok(Some(Recorded::Pieces(pieces, of("size")?)))
        }
        (major, minor) => Err(format!("a sparse file of an unknown form: {major:?}, {minor:?}")),
    }
}

/// Reads the list that stands before the bytes, of which there are `stored` with it; gives how many of them it took.
/// `limit` is in bytes.
pub(super) fn listed(stream: &mut Stream<'_>, stored: u64, limit: u64) -> Result<(Pieces, u64), LayerError> {
    let (mut numbers, mut digits, mut taken) = (Vec::new(), Vec::new(), 0);
    loop {
        taken += BLOCK as u64;
        if taken > stored {
            return Err(stream.malformed("a sparse file whose list of pieces has no end"));
        }
        if taken > limit {
            return Err(LayerError::Limit { what: "bytes in one header", limit });
        }
        let mut block = [0; BLOCK];
        stream.exactly(&mut block)?;
        for byte in block {
            if byte != b'\n' {
                digits.push(byte);
                continue;
            }
            numbers.push(decimal(&digits).map_err(|problem| stream.malformed(problem))?);
            digits.clear();
            // The first says how many pieces there are.
            if numbers[0].checked_mul(2).and_then(|n| n.checked_add(1)) == Some(numbers.len() as u64) {
                let pieces = paired(&numbers[1..]).map_err(|problem| stream.malformed(problem))?;
                return Ok((pieces, taken));
            }
        }
    }
}

/// The part of the list that a header of the old form has; whether blocks with more of it follow; the file's size.
pub(super) fn in_header(block: &[u8; BLOCK]) -> Result<(Pieces, bool, u64), String> {
    let pieces = octal_pieces(&block[386..386 + IN_HEADER * PIECE])?;
    Ok((pieces, block[482] != 0, super::fields::number(&block[483..495], "real size")?))
}

/// The part that one block behind it has; whether another one follows.
pub(super) fn in_block(block: &[u8; BLOCK]) -> Result<(Pieces, bool), String> {
    Ok((octal_pieces(&block[..IN_BLOCK * PIECE])?, block[IN_BLOCK * PIECE] != 0))
}

fn octal_pieces(list: &[u8]) -> Result<Pieces, String> {
    let number = |field: &[u8]| super::fields::number(field, "piece");
    // An empty place ends the list.
    let pieces = list.chunks_exact(PIECE).take_while(|piece| piece[0] != 0);
    pieces.map(|piece| Ok((number(&piece[..PIECE / 2])?, number(&piece[PIECE / 2..])?))).collect()
}

fn paired(numbers: &[u64]) -> Result<Pieces, String> {
    let (pairs, rest) = numbers.as_chunks::<2>();
    if !rest.is_empty() {
        return Err("a piece of a sparse file without its length".to_owned());
    }
    Ok(pairs.iter().map(|[offset, length]| (*offset, *length)).collect())
}

fn decimal(text: &[u8]) -> Result<u64, String> {
    let number = std::str::from_utf8(text).ok().filter(|t| t.bytes().all(|b| b.is_ascii_digit()));
    let wrong = || format!("{:?} in a sparse file's list is no number", String::from_utf8_lossy(text));
    number.and_then(|text| text.parse().ok()).ok_or_else(wrong)
}

/// The bytes of a sparse file, zeros put between its pieces.
pub(super) struct SparseFile<'a, 'b, 'c> {
    file: &'a mut File<'b, 'c>,
    map: &'a Map,
    /// The piece that is read, or comes next.
    piece: usize,
    at: u64,
}

impl<'a, 'b, 'c> SparseFile<'a, 'b, 'c> {
    pub(super) fn new(file: &'a mut File<'b, 'c>, map: &'a Map) -> Self {
        Self { file, map, piece: 0, at: 0 }
    }
}

impl Read for SparseFile<'_, '_, '_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let (start, length) = self.map.pieces.get(self.piece).copied().unwrap_or((self.map.size, 0));
            let room = |count: u64| usize::try_from(count).unwrap_or(usize::MAX).min(buffer.len());
            if self.at < start {
                let zeros = room(start - self.at);
                buffer[..zeros].fill(0);
                self.at += zeros as u64;
                return Ok(zeros);
            }
            let left = start + length - self.at;
            if left > 0 {
                let piece = room(left);
                let read = self.file.read(&mut buffer[..piece])?;
                self.at += read as u64;
                return Ok(read);
            }
            if self.piece >= self.map.pieces.len() {
                return Ok(0);
            }
            self.piece += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_lie_in_order_inside_the_file_and_come_to_what_is_there() {
        assert!(Map::new(vec![(0, 2), (4, 3), (10, 0)], 10, 5).is_ok());
        assert!(Map::new(vec![], 10, 0).is_ok());
        for (pieces, size, stored) in [
            (vec![(4, 3), (0, 2)], 10, 5),
            (vec![(0, 5), (4, 1)], 10, 6),
            (vec![(8, 3)], 10, 3),
            (vec![(u64::MAX, 1)], 10, 1),
            (vec![(0, 2)], 10, 3),
            (vec![(0, 4)], 10, 3),
        ] {
            assert!(Map::new(pieces.clone(), size, stored).is_err(), "{pieces:?}");
        }
    }

    #[test]
    fn a_list_before_the_bytes_may_go_on_in_further_blocks_and_is_bounded() {
        let lines = (0..100).map(|n| format!("{}\n1", n * 10_000)).collect::<Vec<_>>().join("\n");
        let mut text = format!("100\n{lines}\n").into_bytes();
        text.resize(text.len().next_multiple_of(BLOCK), 0);
        let length = text.len() as u64;
        let read = |bytes: &[u8], stored, limit| {
            let padded = [bytes, &[0; BLOCK]].concat();
            listed(&mut Stream::new(Box::new(io::Cursor::new(padded)), 1 << 20), stored, limit)
        };
        let (pieces, taken) = read(&text, length + 100, 1 << 20).unwrap();
        assert_eq!((pieces.len(), pieces[99], taken), (100, (990_000, 1), length));
        assert!(matches!(read(&text, length, 512), Err(LayerError::Limit { .. })));
        assert!(matches!(read(&text, length - 1, 1 << 20), Err(LayerError::Malformed { .. })));
        for bad in ["x\n", "-1\n", "1\n\n", "99999999999999999999999\n", ""] {
            let read = read(bad.as_bytes(), BLOCK as u64, 4096);
            assert!(matches!(read, Err(LayerError::Malformed { .. })), "{bad:?}");
        }
    }
}
