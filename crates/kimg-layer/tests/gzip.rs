//! gzip in pieces: the same bytes from any number of threads, whatever else the threads do.

#![expect(clippy::unwrap_used, reason = "a test that panics has failed, as it should")]

mod alike;

use std::io::{self, Read, Write};

use kimg_core::{Content, Entry, ImagePath, Origin};
use kimg_layer::{Codec, Entries, LayerError, LayerInfo, Options, write};
use rayon::prelude::*;

const OPTIONS: Options =
    Options { codec: Codec::Gzip { level: 1 }, order: kimg_layer::Order::Path, epoch: None };

fn layer(size: usize) -> Entries {
    let content = Content::from_bytes(alike::text(size));
    Entries::from([(ImagePath::new("/x").unwrap(), Entry::file(content, 0o644, Origin::generated("test")))])
}

fn written(entries: &Entries) -> (Vec<u8>, LayerInfo) {
    write(entries, &OPTIONS, Vec::new()).unwrap()
}

fn on<T: Send>(threads: usize, run: impl FnOnce() -> T + Send) -> T {
    rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap().install(run)
}

#[test]
fn any_number_of_threads_makes_the_same_bytes() {
    let entries = layer(7 << 20);
    let one = on(1, || written(&entries));
    for threads in [2, 7] {
        assert!(on(threads, || written(&entries)) == one, "{threads} threads");
    }
    // Outside of any pool, too.
    assert!(written(&entries) == one);
}

#[test]
fn many_layers_at_once_on_few_threads_come_to_an_end() {
    let layers: Vec<Entries> = (1..=6).map(|n| layer(n * 600_000)).collect();
    let alone: Vec<_> = layers.iter().map(written).collect();
    for threads in [1, 2] {
        let together: Vec<_> = on(threads, || layers.par_iter().with_max_len(1).map(written).collect());
        assert!(together == alone, "{threads} threads");
    }
}

#[test]
fn all_pieces_are_one_member_for_clients_that_read_no_second_one() {
    // With a header and the end, three blocks of 512 bytes: a whole number of pieces, and a little more.
    let even = (4 << 20) - 3 * 512;
    for entries in [Entries::new(), layer(1), layer(even), layer(even + 1), layer(even + 9_999)] {
        let (blob, info) = written(&entries);
        let mut left = &blob[..];
        let mut hash = kimg_core::DigestWriter::new(io::sink());
        io::copy(&mut flate2::bufread::GzDecoder::new(&mut left), &mut hash).unwrap();
        let (_, digest, size) = hash.finish();
        assert_eq!((digest, size), (info.diff_id, info.tar_size));
        assert!(left.is_empty(), "{} bytes behind the member", left.len());
    }
}

/// Takes this many bytes, no more.
struct Full(usize);

impl Write for Full {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.len() > self.0 {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.0 -= bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_disk_that_is_full_in_the_middle_ends_the_layer() {
    let entries = layer(7 << 20);
    let size = written(&entries).0.len();
    for threads in [1, 7] {
        for room in [0, size / 2, size - 1] {
            let error = on(threads, || write(&entries, &OPTIONS, Full(room)).map(drop).unwrap_err());
            assert!(matches!(error, LayerError::Output(_)), "{error:?}");
        }
    }
}

#[test]
fn damage_in_the_middle_is_noticed() {
    let entries = layer(3 << 20);
    let (blob, info) = written(&entries);
    let mut tar = Vec::new();
    kimg_layer::decode(&blob[..], &info.media_type).unwrap().read_to_end(&mut tar).unwrap();
    assert_eq!(kimg_core::Digest::of(&tar), info.diff_id);
    let mut damaged = blob.clone();
    let middle = damaged.len() / 2;
    damaged[middle] ^= 1;
    let read = kimg_layer::decode(&damaged[..], &info.media_type).unwrap().read_to_end(&mut Vec::new());
    assert!(read.is_err());
}
