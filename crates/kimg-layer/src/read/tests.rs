//! Archives that nobody should trust.

use std::io;

use super::*;
use crate::header::{BLOCK, Header, padding};
use kimg_core::MemorySink;
use proptest::prelude::*;

const TAR: &str = "application/vnd.oci.image.layer.v1.tar";

fn entry(name: &str, kind: u8, link: &str, body: &[u8]) -> Vec<u8> {
    let header = Header { name, kind, link, size: body.len() as u64, mode: 0o644, ..Header::default() };
    let mut bytes = header.encode();
    bytes.extend_from_slice(body);
    bytes.resize(bytes.len() + padding(body.len() as u64), 0);
    bytes
}

fn archive(entries: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = entries.concat();
    bytes.extend_from_slice(&[0; 2 * BLOCK]);
    bytes
}

fn open(bytes: &[u8]) -> Result<Entries, LayerError> {
    read(bytes, TAR, &Limits::default(), &mut MemorySink).map(|(entries, _)| entries)
}

#[test]
fn names_that_climb_out_are_refused() {
    assert!(matches!(open(&archive(&[entry("../x", b'0', "", b"")])), Err(LayerError::Path(_))));
    assert!(matches!(open(&archive(&[entry("a/../../x", b'5', "", b"")])), Err(LayerError::Path(_))));
    let link = archive(&[entry("x", b'0', "", b""), entry("y", b'1', "../x", b"")]);
    assert!(matches!(open(&link), Err(LayerError::Path(_))));
}

#[test]
fn a_hard_link_needs_a_file_before_it() {
    for target in ["nowhere", "folder", "y"] {
        let bytes = archive(&[entry("folder/", b'5', "", b""), entry("y", b'1', target, b"")]);
        assert!(matches!(open(&bytes), Err(LayerError::Malformed { .. })), "{target}");
    }
}

#[test]
fn a_link_may_have_several_names() {
    let entries = open(&archive(&[entry("link", b'2', "x", b""), entry("y", b'1', "link", b"")])).unwrap();
    assert_eq!(entries["/y"].target(), Some("x"));
}

#[test]
fn of_an_upper_layer_names_of_files_below_and_nodes_are_told_and_what_is_said_last_counts() {
    let bytes = archive(&[
        entry("a", b'1', "bin/below", b""),
        entry("b", b'1', "a", b""),
        entry("null", b'3', "", b""),
        entry("zero", b'1', "null", b""),
        entry("pipe", b'6', "", b""),
        entry("c", b'1', "below", b""),
        entry("c", b'0', "", b"now a file"),
        entry("d", b'0', "", b"a file"),
        entry("d", b'4', "", b""),
    ]);
    let layer = read_upper(&bytes[..], TAR, &Limits::default(), &mut MemorySink).unwrap();
    let links: Vec<String> = layer.links.iter().map(|(at, to)| format!("{at} {to}")).collect();
    assert_eq!(links, ["/a /bin/below", "/b /bin/below"]);
    let nodes: Vec<String> = layer.nodes.iter().map(|(at, node)| format!("{at} {}", node.kind)).collect();
    assert_eq!(nodes, ["/d device", "/null device", "/pipe named pipe", "/zero device"]);
    assert_eq!(layer.entries.keys().map(ImagePath::as_str).collect::<Vec<_>>(), ["/c"]);
    let climbing = archive(&[entry("a", b'1', "../below", b"")]);
    assert!(read_upper(&climbing[..], TAR, &Limits::default(), &mut MemorySink).is_err());
}

#[test]
fn devices_and_pipes_are_named_and_refused() {
    for (kind, word) in [(b'3', "device"), (b'4', "device"), (b'6', "pipe"), (b'S', "'S'")] {
        let error = open(&archive(&[entry("x", kind, "", b"")])).unwrap_err();
        assert!(error.to_string().contains(word), "{error}");
    }
}

#[test]
fn an_archive_that_is_cut_off_anywhere_is_noticed() {
    let bytes = archive(&[entry("x", b'0', "", &[7; 700])]);
    assert_eq!(bytes.len(), 5 * BLOCK);
    // One zero block of the two is enough of an end.
    for cut in [0, 100, BLOCK, BLOCK + 300, 2 * BLOCK, 3 * BLOCK - 1, 3 * BLOCK, 4 * BLOCK - 1] {
        assert!(matches!(open(&bytes[..cut]), Err(LayerError::Malformed { .. })), "cut at {cut}");
    }
    assert!(open(&bytes[..4 * BLOCK]).is_ok());
}

#[test]
fn a_header_that_was_changed_is_noticed() {
    let mut bytes = archive(&[entry("x", b'0', "", b"")]);
    bytes[105] ^= 1;
    assert!(open(&bytes).unwrap_err().to_string().contains("checksum"));
}

#[test]
fn each_limit_ends_the_reading() {
    let bytes = archive(&[entry("x", b'0', "", &[7; 700]), entry(&"n/".repeat(200), b'5', "", b"")]);
    let with = |change: fn(&mut Limits)| {
        let mut limits = Limits::default();
        change(&mut limits);
        read(&bytes[..], TAR, &limits, &mut MemorySink)
    };
    for (result, word) in [
        (with(|l| l.entries = 1), "entries"),
        (with(|l| l.tar_size = 1000), "bytes"),
        (with(|l| l.file_size = 699), "bytes in one file"),
        (with(|l| l.header_size = 100), "bytes in one header"),
    ] {
        assert!(
            matches!(&result, Err(LayerError::Limit { what, .. }) if *what == word),
            "{word}: {result:?}"
        );
    }
}

#[test]
fn a_small_blob_that_unpacks_without_end_is_given_up() {
    let bomb = zstd::encode_all(io::repeat(0).take(64 << 20), 1).unwrap();
    assert!(bomb.len() < 10_000);
    let limits = Limits { tar_size: 1 << 20, ..Limits::default() };
    let media = "application/vnd.oci.image.layer.v1.tar+zstd";
    assert!(matches!(read(&bomb[..], media, &limits, &mut MemorySink), Err(LayerError::Limit { .. })));
}

#[test]
fn damaged_compressed_data_is_malformed_and_no_disk_error() {
    use kimg_core::{Classified, ErrorClass};
    for codec in ["gzip:6", "zstd:3"].map(|codec| codec.parse().unwrap()) {
        let options = crate::Options { codec, ..crate::Options::default() };
        let (mut blob, info) = crate::write(&Entries::new(), &options, Vec::new()).unwrap();
        assert!(read(&blob[..], &info.media_type, &Limits::default(), &mut MemorySink).is_ok());
        // The checksum lies at the end, behind the end of the archive.
        let last = blob.len() - if codec == (crate::Codec::Gzip { level: 6 }) { 5 } else { 1 };
        blob[last] ^= 1;
        let error = read(&blob[..], &info.media_type, &Limits::default(), &mut MemorySink).unwrap_err();
        assert_eq!(error.class(), ErrorClass::Malformed, "{codec}: {error:?}");
        let error =
            read(&blob[..last - 4], &info.media_type, &Limits::default(), &mut MemorySink).unwrap_err();
        assert_eq!(error.class(), ErrorClass::Malformed, "{codec}: {error:?}");
    }
}

#[test]
fn a_sink_that_stops_early_is_not_believed() {
    struct Lazy;
    impl ContentSink for Lazy {
        fn store(&mut self, _: &ImagePath, _: &mut dyn Read) -> io::Result<kimg_core::Content> {
            Ok(kimg_core::Content::from_bytes("abc"))
        }
    }
    let bytes = archive(&[entry("x", b'0', "", b"abc")]);
    assert!(matches!(
        read(&bytes[..], TAR, &Limits::default(), &mut Lazy),
        Err(LayerError::Malformed { .. })
    ));
}

#[test]
fn gnu_long_names_are_read() {
    let long = "long/".repeat(40) + "x";
    let bytes = archive(&[
        entry("././@LongLink", b'L', "", format!("{long}\0").as_bytes()),
        entry("long", b'0', "", b"abc"),
        entry("././@LongLink", b'K', "", format!("{long}\0").as_bytes()),
        entry("y", b'1', "long", b""),
    ]);
    let entries = open(&bytes).unwrap();
    assert_eq!(entries["/y"].content(), entries[format!("/{long}").as_str()].content());
}

/// A file of 64 MiB and three bytes, of which three are there, in GNU tar's newest form.
fn sparse() -> Vec<u8> {
    let records = [("major", "1"), ("minor", "0"), ("name", "x"), ("realsize", "67108867")];
    let records = records.map(|(key, value)| (format!("GNU.sparse.{key}"), value.into()));
    let size = BLOCK as u64 + 3;
    let header =
        Header { name: "GNUSparseFile.1/x", kind: b'0', size, records: records.into(), ..Header::default() };
    let mut bytes = header.encode();
    let list = bytes.len();
    bytes.extend_from_slice(b"1\n67108864\n3\n");
    bytes.resize(list + BLOCK, 0);
    bytes.extend_from_slice(b"abc");
    bytes.resize(list + 2 * BLOCK, 0);
    bytes
}

#[test]
fn the_zeros_of_a_sparse_file_count_and_are_given_up_at_the_limit() {
    struct Counts(u64);
    impl ContentSink for Counts {
        fn store(&mut self, _: &ImagePath, reader: &mut dyn Read) -> io::Result<kimg_core::Content> {
            self.0 = io::copy(&mut reader.take(u64::MAX), &mut io::sink())?;
            Ok(kimg_core::Content::new(Digest::from_raw([0; 32]), self.0, std::sync::Arc::new(Gone)))
        }
    }
    #[derive(Debug)]
    struct Gone;
    impl kimg_core::ContentSource for Gone {
        fn open(&self) -> io::Result<Box<dyn kimg_core::ReadSeek>> {
            Err(io::ErrorKind::Unsupported.into())
        }
    }
    let bytes = archive(&[sparse(), entry("y", b'0', "", b"behind")]);
    let mut counts = Counts(0);
    let (entries, _) = read(&bytes[..], TAR, &Limits::default(), &mut counts).unwrap();
    assert_eq!((entries["/x"].size(), entries.len(), counts.0), ((1 << 26) + 3, 2, 6));
    for limits in [
        Limits { file_size: 1 << 26, ..Limits::default() },
        Limits { tar_size: 1 << 26, ..Limits::default() },
        Limits { header_size: 100, ..Limits::default() },
    ] {
        let error = read(&bytes[..], TAR, &limits, &mut Counts(0)).unwrap_err();
        assert!(matches!(error, LayerError::Limit { .. }), "{error}");
    }
}

proptest! {
    #[test]
    fn a_sparse_file_whose_list_is_changed_is_read_or_refused(at in 0_usize..2600, byte in any::<u8>()) {
        let limits = Limits { file_size: 1 << 20, ..Limits::default() };
        let mut bytes = String::from_utf8_lossy(&archive(&[sparse()])).replace("67108867", "00001027");
        bytes = bytes.replace("67108864", "00001024");
        let mut bytes = bytes.into_bytes();
        prop_assert!(read(&bytes[..], TAR, &limits, &mut MemorySink).is_ok());
        let at = at % bytes.len();
        bytes[at] = byte;
        let _ = read(&bytes[..], TAR, &limits, &mut MemorySink);
    }

    #[test]
    fn any_bytes_are_an_archive_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..1500)) {
        let _ = open(&bytes);
    }

    #[test]
    fn an_archive_with_one_changed_byte_is_read_or_refused(at in 0_usize..3000, byte in any::<u8>(), fix in any::<bool>()) {
        let mut bytes = archive(&[
            entry(&"n/".repeat(150), b'5', "", b""),
            entry("x", b'0', "", b"abc"),
            entry("y", b'1', "x", b""),
        ]);
        let at = at % bytes.len();
        bytes[at] = byte;
        if fix {
            // Past the checksum, to what lies behind it.
            let block = &mut bytes[at / BLOCK * BLOCK..][..BLOCK];
            block[148..156].fill(b' ');
            let sum: u32 = block.iter().map(|b| u32::from(*b)).sum();
            block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        }
        let _ = open(&bytes);
    }
}
