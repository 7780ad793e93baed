//! Makes deflate streams parts of a longer one: finds the last block, and takes from it that it is the last.
//!
//! libdeflate always ends what it writes. For several of its streams to be one, the last block of each has to lose
//! its mark, which stands at some bit in the middle (RFC 1951, 3.2.3); how long a block is, only walking through its
//! codes tells. Nothing is unpacked here, and nothing relied on: whoever joins, unpacks the result and compares.

/// The end of a stream: an empty block that is the last one.
pub(crate) const END: [u8; 2] = [3, 0];

/// Turns a whole stream into a part that others can follow: its last block is no longer marked so, and an empty stored
/// block fills it up to a whole byte. Fails for bytes that are no deflate stream.
pub(crate) fn open_end(stream: &mut Vec<u8>) -> Option<()> {
    let (last, end) = last_block(stream)?;
    stream[last / 8] &= !(1 << (last % 8));
    // The block's three bits are zero, as are those that fill up to the byte. Its length is zero, then the complement.
    stream.resize((end + 3).div_ceil(8), 0);
    stream.extend_from_slice(&[0, 0, 0xff, 0xff]);
    Some(())
}

/// At which bit the last block begins and ends.
fn last_block(stream: &[u8]) -> Option<(usize, usize)> {
    let mut bits = Bits { bytes: stream, at: 0 };
    loop {
        let begin = bits.at;
        let last = bits.take(1) == 1;
        match bits.take(2) {
            0 => {
                bits.at = bits.at.next_multiple_of(8);
                let length = bits.take(16);
                bits.at += 16 + 8 * usize::from(length);
            }
            1 => walk(&mut bits, &Codes::new(&FIXED_LENGTHS)?, &Codes::new(&[5; 30])?)?,
            2 => {
                let (literals, distances) = codes(&mut bits)?;
                walk(&mut bits, &literals, &distances)?;
            }
            _ => return None,
        }
        if bits.at > 8 * stream.len() {
            return None;
        }
        if last {
            return Some((begin, bits.at));
        }
    }
}

/// RFC 1951, 3.2.6.
const FIXED_LENGTHS: [u8; 288] = {
    let mut lengths = [8; 288];
    let mut symbol = 144;
    while symbol < 280 {
        lengths[symbol] = if symbol < 256 { 9 } else { 7 };
        symbol += 1;
    }
    lengths
};

/// How many bits follow the codes of lengths, from 257 on (RFC 1951, 3.2.5).
const LENGTH_BITS: [u8; 29] =
    [0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0];

/// Passes over literals and matches until the block ends.
fn walk(bits: &mut Bits<'_>, literals: &Codes, distances: &Codes) -> Option<()> {
    loop {
        match literals.next(bits)? {
            0..256 => {}
            256 => return Some(()),
            length => {
                bits.at += usize::from(*LENGTH_BITS.get(usize::from(length) - 257)?);
                let distance = distances.next(bits)?;
                // Two codes without further bits, and from there one more for every two codes.
                bits.at += usize::from((distance / 2).saturating_sub(1));
            }
        }
        if bits.at > 8 * bits.bytes.len() {
            return None;
        }
    }
}

/// The codes that a block brings along (RFC 1951, 3.2.7).
fn codes(bits: &mut Bits<'_>) -> Option<(Codes, Codes)> {
    const ORDER: [usize; 19] = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];
    let literals = 257 + usize::from(bits.take(5));
    let distances = 1 + usize::from(bits.take(5));
    let count = 4 + usize::from(bits.take(4));
    let mut lengths = [0; 19];
    for place in &ORDER[..count] {
        lengths[*place] = u8::try_from(bits.take(3)).ok()?;
    }
    let packed = Codes::new(&lengths)?;
    let mut lengths: Vec<u8> = Vec::with_capacity(literals + distances);
    while lengths.len() < literals + distances {
        let (length, times) = match packed.next(bits)? {
            16 => (*lengths.last()?, 3 + bits.take(2)),
            17 => (0, 3 + bits.take(3)),
            18 => (0, 11 + bits.take(7)),
            length => (u8::try_from(length).ok()?, 1),
        };
        lengths.extend(std::iter::repeat_n(length, times.into()));
    }
    let (literals, distances) = lengths.split_at_checked(literals)?;
    Some((Codes::new(literals)?, Codes::new(distances)?))
}

/// A Huffman code: what the next bits mean.
struct Codes {
    /// For every value that the next `width` bits can have: the symbol, and in the lower four bits the code's length.
    table: Vec<u16>,
    width: u8,
}

impl Codes {
    /// The code with these lengths (RFC 1951, 3.2.2).
    fn new(lengths: &[u8]) -> Option<Self> {
        let width = lengths.iter().copied().max()?;
        let mut table = vec![0; 1 << width];
        let mut code = 0_u32;
        for length in 1..=width {
            for (symbol, _) in lengths.iter().enumerate().filter(|(_, other)| **other == length) {
                if code >> length > 0 {
                    return None;
                }
                // Codes come with their highest bit first.
                let first = usize::try_from(code.reverse_bits() >> (32 - length)).ok()?;
                let entry = u16::try_from(symbol).ok()? << 4 | u16::from(length);
                for at in (first..table.len()).step_by(1 << length) {
                    table[at] = entry;
                }
                code += 1;
            }
            code *= 2;
        }
        Some(Self { table, width })
    }

    fn next(&self, bits: &mut Bits<'_>) -> Option<u16> {
        let entry = *self.table.get(usize::from(bits.look(self.width)))?;
        // No code has no bits.
        let length = usize::from(entry & 15);
        bits.at += length;
        (length > 0).then_some(entry >> 4)
    }
}

/// Bits, the lowest of a byte first. Behind the end are zeros: who reads on has to look how far it is.
struct Bits<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Bits<'_> {
    /// The next bits, at most 16.
    fn look(&self, count: u8) -> u16 {
        let rest = self.bytes.get(self.at / 8..).unwrap_or_default();
        let mut word = [0; 4];
        if let Some(bytes) = rest.first_chunk() {
            word = *bytes;
        } else {
            word[..rest.len()].copy_from_slice(rest);
        }
        let bits = u32::from_le_bytes(word) >> (self.at % 8) & ((1 << count) - 1);
        u16::try_from(bits).unwrap_or(0)
    }

    fn take(&mut self, count: u8) -> u16 {
        let bits = self.look(count);
        self.at += usize::from(count);
        bits
    }
}

#[cfg(test)]
mod tests {
    use libdeflater::{CompressionLvl, Compressor};
    use proptest::prelude::*;

    use super::*;

    fn deflated(level: i32, bytes: &[u8]) -> Vec<u8> {
        let mut compressor = Compressor::new(CompressionLvl::new(level).unwrap());
        let mut out = vec![0; compressor.deflate_compress_bound(bytes.len())];
        let size = compressor.deflate_compress(bytes, &mut out).unwrap();
        out.truncate(size);
        out
    }

    fn inflated(stream: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        std::io::Read::read_to_end(&mut flate2::bufread::DeflateDecoder::new(stream), &mut out).unwrap();
        out
    }

    fn joined(pieces: &[(i32, Vec<u8>)]) -> Vec<u8> {
        let mut stream = Vec::new();
        for (level, piece) in pieces {
            let mut part = deflated(*level, piece);
            open_end(&mut part).unwrap();
            stream.extend_from_slice(&part);
        }
        stream.extend_from_slice(&END);
        stream
    }

    #[test]
    fn blocks_of_all_three_kinds_can_be_followed() {
        let noise: Vec<u8> =
            (0_u32..70_000).map(|n| n.wrapping_mul(2_654_435_761).to_be_bytes()[0]).collect();
        // Stored by level 0, with a fixed code because it is short, and with codes of its own.
        let kinds = [(0, noise.clone()), (9, b"abcd".repeat(20)), (9, noise), (1, Vec::new())];
        // The first block's kind: two bits after the first.
        let found = kinds.each_ref().map(|(level, piece)| deflated(*level, piece)[0] >> 1 & 3);
        assert_eq!(found, [0, 1, 2, 0]);
        let whole: Vec<u8> = kinds.iter().flat_map(|(_, piece)| piece.clone()).collect();
        assert_eq!(inflated(&joined(&kinds)), whole);
    }

    #[test]
    fn codes_of_every_length_are_walked_through() {
        // Every byte half as often as the one before it: the rarest get the longest codes, 15 bits.
        let mut state = 1_u64;
        let mut byte = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 20).trailing_zeros().to_le_bytes()[0]
        };
        let piece: Vec<u8> = std::iter::repeat_with(&mut byte).take(600_000).collect();
        for level in 1..=12 {
            let pieces = [(level, piece.clone()), (level, piece[..9_999].to_vec())];
            assert!(inflated(&joined(&pieces)) == [&piece[..], &piece[..9_999]].concat(), "level {level}");
        }
    }

    #[test]
    fn an_empty_stream_can_be_followed() {
        assert_eq!(inflated(&END), b"");
        let mut end = END.to_vec();
        open_end(&mut end).unwrap();
        // The bit that says "last" is gone, and an empty stored block is there.
        assert_eq!(end, [2, 0, 0, 0, 0xff, 0xff]);
    }

    fn any_piece() -> impl Strategy<Value = (i32, Vec<u8>)> {
        let byte = prop_oneof![9 => 0..4_u8, 1 => any::<u8>()];
        (
            0..=12,
            prop_oneof![
                prop::collection::vec(byte, 0..40_000),
                prop::collection::vec(any::<u8>(), 0..40_000),
                (any::<u8>(), 0..400_000_usize).prop_map(|(byte, count)| vec![byte; count]),
            ],
        )
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn any_pieces_become_one_stream(pieces in prop::collection::vec(any_piece(), 0..5)) {
            let whole: Vec<u8> = pieces.iter().flat_map(|(_, piece)| piece.clone()).collect();
            prop_assert!(inflated(&joined(&pieces)) == whole);
        }

        #[test]
        fn any_bytes_are_a_stream_or_not(mut bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = open_end(&mut bytes);
        }
    }
}
