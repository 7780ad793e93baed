//! From compressed bytes back to the archive.

use std::io::{self, Read};

use crate::LayerError;

/// The largest zstd window that is unpacked: 128 MiB of memory, zstd's own default bound.
const MAX_WINDOW_LOG: u32 = 27;

/// The archive inside a layer blob, as a stream. Nothing is bounded here: a small blob can give any number of bytes.
///
/// # Errors
/// [`LayerError::MediaType`] for anything but tar, plain or with gzip or zstd, in OCI's and Docker's names.
pub fn decode<'a, R: Read + 'a>(blob: R, media_type: &str) -> Result<Box<dyn Read + 'a>, LayerError> {
    match media_type {
        "application/vnd.oci.image.layer.v1.tar" | "application/vnd.docker.image.rootfs.diff.tar" => {
            Ok(Box::new(io::BufReader::new(blob)))
        }
        "application/vnd.oci.image.layer.v1.tar+gzip"
        | "application/vnd.docker.image.rootfs.diff.tar.gzip" => {
            // Several members are one stream (RFC 1952, 2.2): parallel compressors write them so.
            Ok(Box::new(flate2::read::MultiGzDecoder::new(blob)))
        }
        "application/vnd.oci.image.layer.v1.tar+zstd" => {
            let mut decoder = zstd::Decoder::new(blob).map_err(LayerError::Read)?;
            decoder.window_log_max(MAX_WINDOW_LOG).map_err(LayerError::Read)?;
            Ok(Box::new(decoder))
        }
        _ => Err(LayerError::MediaType(media_type.chars().take(200).collect())),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    /// A frame that says it needs this window.
    fn frame(window_log: u32) -> Vec<u8> {
        let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
        encoder.window_log(window_log).unwrap();
        encoder.write_all(b"abc").unwrap();
        // Before the end, so that the encoder can't know how little there is.
        encoder.flush().unwrap();
        encoder.finish().unwrap()
    }

    fn unpack(blob: &[u8], media_type: &str) -> Result<Vec<u8>, LayerError> {
        let mut bytes = Vec::new();
        decode(blob, media_type)?.read_to_end(&mut bytes).map_err(LayerError::Read)?;
        Ok(bytes)
    }

    #[test]
    fn windows_up_to_128_mib_are_unpacked_and_larger_ones_refused() {
        let zstd = "application/vnd.oci.image.layer.v1.tar+zstd";
        // RFC 8878, 3.1.1.1.2: the power of two minus 10 is in the upper five bits of the byte after the descriptor.
        assert_eq!(frame(27)[5], (27 - 10) << 3);
        assert_eq!(unpack(&frame(23), zstd).unwrap(), b"abc");
        assert_eq!(unpack(&frame(27), zstd).unwrap(), b"abc");
        // The bound itself and one step above it: the lower three bits are eighths.
        let mut above = frame(27);
        above[5] |= 1;
        for too_much in [above, frame(28), frame(31)] {
            let error = unpack(&too_much, zstd).unwrap_err();
            assert!(matches!(error, LayerError::Read(_)), "{error:?}");
            assert_eq!(kimg_core::Classified::class(&error), kimg_core::ErrorClass::Malformed);
        }
    }

    #[test]
    fn what_is_no_layer_is_refused() {
        let error = unpack(b"", "application/json").unwrap_err();
        assert!(matches!(error, LayerError::MediaType(_)), "{error:?}");
    }
}
