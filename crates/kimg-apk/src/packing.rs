//! How a signature member has to be packed, so that no byte of it can be changed unnoticed.
//!
//! The signature covers the member behind it, and nothing covers how the signature itself is packed: the time
//! and system fields of its gzip header, the bits behind the end of its last block, and among a run of zeros
//! one distance is as good as another. So one form is asked for, the one that `gzip -n` at its default or
//! best level, zlib and their like write (RFC 1951, RFC 1952), and then each change of a byte shows: in the
//! form, in the CRC, or in the signature.
//!
//! Not here: unpacking. What is looked at here has been unpacked already, and its CRC compared.

/// Bytes that a signature member may unpack to: with a key of 8192 bits one signature takes 1536.
pub(crate) const LARGEST: usize = 16 << 10;

/// A gzip header without name and time, but for its last two bytes (RFC 1952, 2.3).
const HEADER: [u8; 8] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0];
/// How the last two bytes of the header may go on, XFL and OS. They differ in both, so that no single change
/// leads from one to the other.
const PACKERS: [[u8; 2]; 2] = [
    [2, 3],   // gzip, pigz and busybox at their best level
    [0, 255], // zlib's bindings and Go's
];
/// Bytes of CRC and size at the end.
const TRAILER: usize = 8;

/// Says what is wrong with the packed form of a signature member; `unpacked` is what it unpacks to.
pub(crate) fn check(packed: &[u8], unpacked: &[u8]) -> Result<(), &'static str> {
    let header = packed.get(..10).ok_or("it has no whole gzip header")?;
    if header[..8] != HEADER || !PACKERS.iter().any(|packer| header[8..] == *packer) {
        return Err("its gzip header is none that a packer of signatures writes");
    }
    let blocks = packed.get(10..packed.len().saturating_sub(TRAILER)).unwrap_or_default();
    let mut walk = Walk { bits: Bits { bytes: blocks, at: 0 }, unpacked, at: 0 };
    walk.blocks()?;
    if walk.at != unpacked.len() || !walk.bits.rest_is_padding() {
        return Err("there are bits behind its last block");
    }
    Ok(())
}

/// The bits of a deflate stream, from the lowest of each byte on (RFC 1951, 3.1.1).
struct Bits<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Bits<'_> {
    fn bit(&mut self) -> Option<usize> {
        let byte = *self.bytes.get(self.at / 8)?;
        let bit = byte >> (self.at % 8) & 1;
        self.at += 1;
        Some(bit.into())
    }

    /// A number, its lowest bit first.
    fn number(&mut self, bits: usize) -> Option<usize> {
        (0..bits).try_fold(0, |number, place| Some(number | self.bit()? << place))
    }

    /// Goes on with a Huffman code, whose highest bit comes first.
    fn code(&mut self, begun: usize, bits: usize) -> Option<usize> {
        (0..bits).try_fold(begun, |code, _| Some(code << 1 | self.bit()?))
    }

    /// Whether nothing but zeros is left of the last byte, and nothing behind it.
    fn rest_is_padding(&mut self) -> bool {
        self.at.div_ceil(8) == self.bytes.len() && self.number(self.at.wrapping_neg() % 8) == Some(0)
    }
}

/// Goes through the blocks of a stream beside the bytes that it unpacks to.
struct Walk<'a> {
    bits: Bits<'a>,
    unpacked: &'a [u8],
    /// Bytes of `unpacked` that came out so far.
    at: usize,
}

const CUT: &str = "its last block has no end";

impl Walk<'_> {
    fn blocks(&mut self) -> Result<(), &'static str> {
        loop {
            let last = self.bits.bit().ok_or(CUT)? == 1;
            match self.bits.number(2).ok_or(CUT)? {
                0 => self.stored()?,
                1 => while self.symbol()? {},
                // Codes of its own are longer than what they save on a signature, and leave room for changes.
                _ => return Err("it is packed with codes of its own"),
            }
            if last {
                return Ok(());
            }
        }
    }

    /// A block that is not compressed (RFC 1951, 3.2.4).
    fn stored(&mut self) -> Result<(), &'static str> {
        let padding = self.bits.at.wrapping_neg() % 8;
        if self.bits.number(padding).ok_or(CUT)? != 0 {
            return Err("there are bits between its blocks");
        }
        let length = self.bits.number(16).ok_or(CUT)?;
        self.bits.at += 16 + 8 * length;
        self.at += length;
        Ok(())
    }

    /// A byte, or a match, with the fixed codes (RFC 1951, 3.2.5 and 3.2.6); false at the end of the block.
    fn symbol(&mut self) -> Result<bool, &'static str> {
        let short = self.bits.code(0, 7).ok_or(CUT)?;
        let symbol = if short < 0b001_1000 {
            256 + short
        } else {
            let code = self.bits.code(short, 1).ok_or(CUT)?;
            match code {
                0b0011_0000..=0b1011_1111 => code - 0b0011_0000,
                0b1100_0000..=0b1100_0111 => 280 + code - 0b1100_0000,
                _ => 144 + self.bits.code(code, 1).ok_or(CUT)? - 0b1_1001_0000,
            }
        };
        match symbol {
            0..256 => self.at += 1,
            256 => return Ok(false),
            _ => self.matched(symbol - 257)?,
        }
        Ok(true)
    }

    /// Bytes that came before: they must not come nearer as well.
    fn matched(&mut self, length: usize) -> Result<(), &'static str> {
        let length = match length {
            0..8 => 3 + length,
            28.. => 258,
            _ => 3 + ((4 + length % 4) << (length / 4 - 1)) + self.bits.number(length / 4 - 1).ok_or(CUT)?,
        };
        let distance = match self.bits.code(0, 5).ok_or(CUT)? {
            code @ 0..4 => 1 + code,
            code => 1 + ((2 + code % 2) << (code / 2 - 1)) + self.bits.number(code / 2 - 1).ok_or(CUT)?,
        };
        let (from, to) = (self.at, self.at + length);
        let bytes = self.unpacked.get(from..to).ok_or(CUT)?;
        let nearer = |distance: usize| {
            let before = from.checked_sub(distance).map(|from| &self.unpacked[from..from + length]);
            before == Some(bytes)
        };
        if (1..distance.min(from)).any(nearer) {
            return Err("it repeats bytes from further away than it has to");
        }
        self.at = to;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use flate2::{Compression, GzBuilder};
    use proptest::prelude::*;

    use super::*;

    fn packed(bytes: &[u8], level: u32) -> Vec<u8> {
        let mut member = GzBuilder::new().operating_system(3).write(Vec::new(), Compression::new(level));
        member.write_all(bytes).unwrap();
        let mut packed = member.finish().unwrap();
        packed[8] = 2;
        packed
    }

    fn unpacked(packed: &[u8]) -> Option<Vec<u8>> {
        let mut decoder = flate2::bufread::GzDecoder::new(packed);
        let mut bytes = Vec::new();
        std::io::Read::read_to_end(&mut decoder, &mut bytes).ok()?;
        decoder.into_inner().is_empty().then_some(bytes)
    }

    /// Like a signature member: a tar header and bytes that look random.
    fn like_a_signature(seed: u8, size: usize) -> Vec<u8> {
        let mut header = tar::Header::new_gnu();
        header.set_path(format!(".SIGN.RSA.somebody@example.org-{seed:08x}.rsa.pub")).unwrap();
        header.set_mode(0o644);
        header.set_size(size as u64);
        header.set_cksum();
        let digests = (0..).flat_map(|n: u32| {
            ring::digest::digest(&ring::digest::SHA256, &[&[seed], &n.to_be_bytes()[..]].concat())
                .as_ref()
                .to_vec()
        });
        header.as_bytes().iter().copied().chain(digests.take(size)).collect()
    }

    #[test]
    fn no_byte_can_be_changed_unnoticed() {
        for (seed, size) in [(1, 256), (2, 512)] {
            let bytes = like_a_signature(seed, size);
            let good = packed(&bytes, 9);
            assert_eq!(check(&good, &bytes), Ok(()));
            for at in 0..good.len() {
                for change in 1..=255 {
                    let mut changed = good.clone();
                    changed[at] ^= change;
                    let found = unpacked(&changed);
                    let same = found.is_some_and(|found| check(&changed, &found).is_ok());
                    assert!(!same, "byte {at} of {} changed by {change:#x}", good.len());
                }
            }
        }
    }

    #[test]
    fn the_default_and_better_levels_of_this_packer_are_taken() {
        for seed in 0..40 {
            let bytes = like_a_signature(seed, if seed % 2 == 0 { 256 } else { 512 });
            for level in [0, 6, 7, 8, 9] {
                assert_eq!(check(&packed(&bytes, level), &bytes), Ok(()), "level {level}, {seed}");
            }
        }
    }

    #[test]
    fn lengths_and_distances_are_read_as_they_are_written() {
        let once: Vec<u8> = like_a_signature(9, 3000).split_off(512);
        for distance in [1, 4, 5, 30, 200, 1000, 3000] {
            for length in [3, 10, 11, 35, 130, 257, 258, 600] {
                let bytes: Vec<u8> = (0..distance + length).map(|at| once[at % distance]).collect();
                // Longer ones may be packed with codes of their own, which are refused by that name.
                let result = check(&packed(&bytes, 9), &bytes);
                assert!(
                    result.is_ok() || result == Err("it is packed with codes of its own"),
                    "{distance} {length}: {result:?}"
                );
            }
        }
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(packed in prop::collection::vec(any::<u8>(), 0..80), unpacked in prop::collection::vec(any::<u8>(), 0..80)) {
            let _ = check(&packed, &unpacked);
            let _ = check(&[&[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 2, 3], &packed[..]].concat(), &unpacked);
        }
    }
}
