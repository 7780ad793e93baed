//! The compressing stream: whatever pieces come in, the same bytes go out.

use std::io::{self, Write};

use zstd::zstd_safe::CParameter;

use crate::Codec;
use crate::codec::own_window;
use crate::gzip::Gzip;

/// zstd gets pieces of this size, whatever came in: what it makes of them must not depend on how the contents
/// happened to be read. (gzip's pieces are of a fixed size anyway.)
const PIECE: usize = 128 * 1024;

/// A compressing writer.
pub(crate) enum Encoder<W: Write> {
    Gzip(Gzip<W>),
    Zstd { encoder: zstd::Encoder<'static, W>, piece: Vec<u8> },
}

impl<W: Write> Encoder<W> {
    /// `size` is the exact number of bytes that will come. With it zstd takes no larger window and tables than the
    /// archive has bytes, and a node that unpacks a small layer needs little memory.
    pub(crate) fn new(codec: Codec, size: u64, out: W) -> io::Result<Self> {
        match codec {
            Codec::Gzip { level } => Ok(Self::Gzip(Gzip::new(level, out)?)),
            Codec::Zstd { level, window } => {
                let mut encoder = zstd::Encoder::new(out, level)?;
                encoder.set_pledged_src_size(Some(size))?;
                encoder.include_checksum(true)?;
                encoder.include_contentsize(false)?;
                if let Some(window) = window.map(crate::Window::log) {
                    encoder.window_log(window)?;
                    // Finding far matches by the level's own tables would need tables as large as the window.
                    encoder.long_distance_matching(window > own_window(level))?;
                    if level > 19 && window < own_window(level) {
                        // The tables of levels above 19 grow with the windows of these levels (768 MiB at 22):
                        // a smaller window gets those of the level that has it.
                        encoder.set_parameter(CParameter::ChainLog(window.max(24)))?;
                        encoder.set_parameter(CParameter::HashLog((window - 2).max(22)))?;
                    }
                }
                Ok(Self::Zstd { encoder, piece: Vec::with_capacity(PIECE) })
            }
        }
    }

    pub(crate) fn finish(self) -> io::Result<W> {
        match self {
            Self::Gzip(gzip) => gzip.finish(),
            Self::Zstd { mut encoder, piece } => {
                encoder.write_all(&piece)?;
                encoder.finish()
            }
        }
    }
}

impl<W: Write> Write for Encoder<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Gzip(gzip) => gzip.write(bytes),
            Self::Zstd { encoder, piece } => {
                let taken = bytes.len().min(PIECE - piece.len());
                piece.extend_from_slice(&bytes[..taken]);
                if piece.len() == PIECE {
                    encoder.write_all(piece)?;
                    piece.clear();
                }
                Ok(taken)
            }
        }
    }

    /// Does nothing: a flush in the middle would change the compressed bytes.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn codec(text: &str) -> Codec {
        text.parse().unwrap()
    }

    fn compress(codec: Codec, input: &[u8], cut: usize) -> Vec<u8> {
        let mut encoder = Encoder::new(codec, input.len() as u64, Vec::new()).unwrap();
        for piece in input.chunks(cut) {
            encoder.write_all(piece).unwrap();
            encoder.flush().unwrap();
        }
        encoder.finish().unwrap()
    }

    /// The window that a frame asks for, in bytes (RFC 8878, 3.1.1.1.2).
    fn window(frame: &[u8]) -> u64 {
        let (exponent, mantissa) = (frame[5] >> 3, u64::from(frame[5] & 7));
        let base = 1 << (10 + exponent);
        base + base / 8 * mantissa
    }

    #[test]
    fn the_compressed_bytes_do_not_depend_on_how_the_input_was_cut() {
        let input: Vec<u8> =
            (0..700_000_u32).flat_map(|n| (n.wrapping_mul(2_654_435_761) >> 20).to_le_bytes()).collect();
        for codec in ["gzip:1", "gzip:9", "zstd:3", "zstd:3:window=16MiB"].map(codec) {
            let whole = compress(codec, &input, input.len());
            assert!(whole.len() < input.len());
            for cut in [511, 65_536, PIECE + 1] {
                assert!(compress(codec, &input, cut) == whole, "{codec} cut at {cut}");
            }
        }
    }

    #[test]
    fn a_frame_asks_for_no_larger_window_than_it_has_bytes() {
        let input = vec![7; 3 << 20];
        for text in ["zstd:1", "zstd:19", "zstd:19:window=64MiB", "zstd:22", "zstd:22:window=8MiB"] {
            assert!(window(&compress(codec(text), &input, input.len())) <= 4 << 20, "{text}");
        }
    }

    #[test]
    fn a_long_window_finds_what_lies_far_back() {
        // 9 MiB without any pattern, twice.
        let mut state = 1_u64;
        let mut input: Vec<u8> = std::iter::repeat_with(|| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            state.to_be_bytes()[0]
        })
        .take(9 << 20)
        .collect();
        input.extend_from_within(..);
        let near = compress(codec("zstd:3"), &input, input.len());
        let far = compress(codec("zstd:3:window=16MiB"), &input, input.len());
        assert!(near.len() > 18 << 20 && far.len() < 10 << 20, "{} {}", near.len(), far.len());
        assert_eq!((window(&near), window(&far)), (2 << 20, 16 << 20));
    }
}
