//! A blob that others made: whether it holds an archive that is known here, compressed as was asked for.

use std::io::{self, BufRead, Read};

use flate2::bufread::GzDecoder;
use kimg_core::{Digest, DigestWriter};

use crate::codec::own_window;
use crate::{Codec, LayerError};

/// Compares a blob with what it should be: one gzip member or one zstd frame, whose window is no larger than the codec's,
/// with an archive of exactly this digest ([`crate::diff_id`]) and size in it, and nothing behind it. What it unpacks to
/// is never more than one byte beyond `tar_size`.
///
/// That proves the content, and what a node needs to unpack it; not that the codec's level was used, nor that these are
/// the bytes that [`crate::write()`] makes. For that there is no other way than to compress.
///
/// # Errors
/// [`LayerError::OtherBlob`] for anything else; [`LayerError::Read`] for what can't be read or unpacked.
pub fn check(blob: impl BufRead, codec: Codec, diff_id: Digest, tar_size: u64) -> Result<(), LayerError> {
    let mut rest = match codec {
        Codec::Gzip { .. } => {
            let mut decoder = GzDecoder::new(blob);
            compare(&mut decoder, diff_id, tar_size)?;
            decoder.into_inner()
        }
        Codec::Zstd { level, window } => {
            let mut decoder = zstd::Decoder::with_buffer(blob).map_err(LayerError::Read)?.single_frame();
            let window = window.map_or_else(|| own_window(level), crate::Window::log);
            decoder.window_log_max(window).map_err(LayerError::Read)?;
            compare(&mut decoder, diff_id, tar_size)?;
            decoder.finish()
        }
    };
    if rest.fill_buf().map_err(LayerError::Read)?.is_empty() {
        Ok(())
    } else {
        Err(LayerError::OtherBlob { problem: "bytes lie behind its end".into() })
    }
}

fn compare(decoder: &mut impl Read, diff_id: Digest, tar_size: u64) -> Result<(), LayerError> {
    let other = |problem| Err(LayerError::OtherBlob { problem });
    let mut hashed = DigestWriter::new(io::sink());
    io::copy(&mut decoder.take(tar_size.saturating_add(1)), &mut hashed).map_err(LayerError::Read)?;
    let (_, found, size) = hashed.finish();
    if size > tar_size {
        other(format!("it unpacks to more than the {tar_size} bytes of its archive"))
    } else if size < tar_size {
        other(format!("it unpacks to {size} bytes, not to the {tar_size} of its archive"))
    } else if found != diff_id {
        other(format!("its archive is {found}, not {diff_id}"))
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::io::Write as _;

    use kimg_core::{Content, Entry, Origin};

    use super::*;
    use crate::{Entries, Options, diff_id, write};

    fn entries(seed: u8) -> Entries {
        let bytes: Vec<u8> = (0..3_000_000_u32).map(|n| (n / 7).to_le_bytes()[0] ^ seed).collect();
        let file = Entry::file(Content::from_bytes(bytes), 0o755, Origin::generated("test"));
        BTreeMap::from([("/usr/bin/x".parse().unwrap(), file)])
    }

    fn options(codec: &str) -> Options {
        Options { codec: codec.parse().unwrap(), ..Options::default() }
    }

    fn problem(blob: &[u8], codec: &str, entries: &Entries) -> String {
        let (digest, size) = diff_id(entries, &options(codec)).unwrap();
        match check(blob, codec.parse().unwrap(), digest, size) {
            Ok(()) => String::new(),
            Err(LayerError::OtherBlob { problem }) => problem,
            Err(LayerError::Read(error)) => format!("can't be unpacked: {error}"),
            Err(error) => panic!("{error:?}"),
        }
    }

    #[test]
    fn what_was_written_is_what_it_should_be_and_its_diff_id_needs_no_compressing() {
        for codec in ["gzip:1", "gzip:9", "zstd:3", "zstd:19:window=64MiB"] {
            let entries = entries(0);
            let (blob, info) = write(&entries, &options(codec), Vec::new()).unwrap();
            assert_eq!(diff_id(&entries, &options(codec)).unwrap(), (info.diff_id, info.tar_size), "{codec}");
            assert_eq!(problem(&blob, codec, &entries), "", "{codec}");
        }
    }

    #[test]
    fn another_archive_another_codec_a_cut_blob_and_a_longer_one_are_refused() {
        for (codec, other) in [("gzip:1", "zstd:3"), ("zstd:3", "gzip:1")] {
            let known = entries(0);
            let blob = |entries: &Entries| write(entries, &options(codec), Vec::new()).unwrap().0;
            let good = blob(&known);
            assert!(problem(&blob(&entries(1)), codec, &known).starts_with("its archive is sha256:"));
            assert!(problem(&good, other, &known).starts_with("can't be unpacked"), "{codec}");
            assert!(problem(&good[..good.len() - 9], codec, &known).starts_with("can't be unpacked"));
            let behind = [&good[..], b"x"].concat();
            assert_eq!(problem(&behind, codec, &known), "bytes lie behind its end");
            let twice = [&good[..], &good].concat();
            assert_eq!(problem(&twice, codec, &known), "bytes lie behind its end");
        }
    }

    #[test]
    fn a_bomb_is_unpacked_no_further_than_the_archive_is_long() {
        let known = entries(0);
        let zeros = vec![0; 1 << 20];
        let mut bomb = zstd::Encoder::new(Vec::new(), 1).unwrap();
        for _ in 0..1024 {
            bomb.write_all(&zeros).unwrap();
        }
        let bomb = bomb.finish().unwrap();
        assert!(bomb.len() < 200_000);
        assert!(problem(&bomb, "zstd:1", &known).starts_with("it unpacks to more than"));
        let mut bomb = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        bomb.write_all(&zeros.repeat(16)).unwrap();
        assert!(problem(&bomb.finish().unwrap(), "gzip:9", &known).starts_with("it unpacks to more than"));
    }

    #[test]
    fn a_frame_that_wants_more_memory_of_a_node_than_the_codec_is_refused() {
        // Longer than the window of level 3, or the frame would ask for less.
        let bytes: Vec<u8> = (0..9_000_000_u32).map(|n| (n / 3).to_le_bytes()[0]).collect();
        let file = Entry::file(Content::from_bytes(bytes), 0o755, Origin::generated("test"));
        let known = BTreeMap::from([("/x".parse().unwrap(), file)]);
        let (blob, _) = write(&known, &options("zstd:3:window=16MiB"), Vec::new()).unwrap();
        assert_eq!(problem(&blob, "zstd:3:window=16MiB", &known), "");
        assert!(problem(&blob, "zstd:3", &known).starts_with("can't be unpacked"));
    }
}
