//! The order of entries in a layer.

#![expect(clippy::unwrap_used, reason = "a test that panics has failed, as it should")]

use kimg_core::{Content, Entry, ImagePath, Kind, MemorySink, Origin};
use kimg_layer::{Codec, Entries, LayerError, LayerInfo, Limits, Options, Order, read, write};
use proptest::prelude::*;

const LARGE: usize = 256 * 1024;

/// What stands at the beginning of a file.
const ELF: &[u8] = b"\x7fELF\x02\x01\x01\0";
const GO: &[u8] = b"\x7fELF\x02\x01\x01\0....\x04\0\0\0\x53\0\0\0\x04\0\0\0Go\0\0build";
const PACKED: &[u8] = b"\x7fELF\x02\x01\x01\0....\x04\0\0\0\x53\0\0\0\x04\0\0\0Go\0\0....UPX!";
const TEXT: &[u8] = b"some text";

fn path(text: &str) -> ImagePath {
    ImagePath::new(text).unwrap()
}

fn file(beginning: &[u8], size: usize) -> Entry {
    let mut bytes = beginning.to_vec();
    bytes.resize(size, b'.');
    Entry::file(Content::from_bytes(bytes), 0o755, Origin::generated("test"))
}

fn hard(entry: Entry, inode: &str) -> Entry {
    let content = entry.content().unwrap().clone();
    Entry { kind: Kind::File { content, inode: Some(path(inode)) }, ..entry }
}

fn layer(entries: &Entries, order: Order) -> (Vec<u8>, LayerInfo) {
    write(entries, &Options { codec: Codec::Gzip { level: 1 }, order, epoch: None }, Vec::new()).unwrap()
}

fn names(blob: &[u8]) -> Vec<String> {
    let mut archive = tar::Archive::new(flate2::read::MultiGzDecoder::new(blob));
    let entries = archive.entries().unwrap();
    entries
        .map(|e| format!("/{}", String::from_utf8_lossy(&e.unwrap().path_bytes()).trim_end_matches('/')))
        .collect()
}

#[test]
fn alike_programs_stand_together_and_the_largest_first() {
    let entries: Entries = [
        ("/bin", Entry::directory(Origin::generated("test"))),
        ("/bin/a-go", file(GO, LARGE + 1)),
        ("/bin/b-c", file(ELF, LARGE)),
        ("/bin/c-go", file(GO, LARGE + 2)),
        ("/bin/d-small-go", file(GO, LARGE - 1)),
        ("/bin/e-packed", file(PACKED, 2 * LARGE)),
        ("/bin/f-c", file(ELF, LARGE + 1)),
        ("/bin/g-go", file(GO, LARGE + 1)),
        ("/etc", Entry::directory(Origin::generated("test"))),
        ("/etc/table", file(TEXT, 3 * LARGE)),
        ("/etc/words", file(TEXT, 4 * LARGE)),
        ("/etc/zone", file(TEXT, 5)),
    ]
    .map(|(name, entry)| (path(name), entry))
    .into();
    let alike = [
        "/bin",
        "/bin/d-small-go",
        "/etc",
        "/etc/zone",
        "/etc/table",
        "/etc/words",
        "/bin/f-c",
        "/bin/b-c",
        "/bin/c-go",
        "/bin/a-go",
        "/bin/g-go",
        "/bin/e-packed",
    ];
    assert_eq!(names(&layer(&entries, Order::Alike).0), alike);
    let by_path: Vec<String> = entries.keys().map(|path| path.as_str().to_owned()).collect();
    assert_eq!(names(&layer(&entries, Order::Path).0), by_path);
}

#[test]
fn very_large_programs_come_last_and_the_smallest_of_them_first() {
    let entries: Entries =
        [("/a", 17 << 20), ("/b", 3 << 20), ("/c", 16 << 20), ("/d", (16 << 20) - 1), ("/e", 4 << 20)]
            .map(|(name, size)| (path(name), file(GO, size)))
            .into();
    assert_eq!(names(&layer(&entries, Order::Alike).0), ["/d", "/e", "/b", "/c", "/a"]);
}

#[test]
fn further_names_come_after_the_first_one_of_a_file() {
    let large = |n| hard(file(ELF, LARGE), n);
    let entries: Entries = [
        ("/a", large("/a")),
        ("/b", large("/a")),
        ("/c", hard(file(TEXT, 9), "/c")),
        ("/d", hard(file(TEXT, 9), "/c")),
        ("/e", file(TEXT, 8)),
    ]
    .map(|(name, entry)| (path(name), entry))
    .into();
    let (blob, info) = layer(&entries, Order::Alike);
    assert_eq!(names(&blob), ["/c", "/d", "/e", "/a", "/b"]);
    let (back, _) = read(&blob[..], &info.media_type, &Limits::default(), &mut MemorySink).unwrap();
    assert_eq!(back["/b"].content(), entries["/a"].content());
    assert!(info.tar_size < 2 * LARGE as u64);
}

#[test]
fn a_content_whose_beginning_can_not_be_read_is_named() {
    #[derive(Debug)]
    struct Gone;
    impl kimg_core::ContentSource for Gone {
        fn open(&self) -> std::io::Result<Box<dyn kimg_core::ReadSeek>> {
            Err(std::io::ErrorKind::NotFound.into())
        }
    }
    let content = Content::new(kimg_core::Digest::of(""), LARGE as u64, std::sync::Arc::new(Gone));
    let entries = Entries::from([(path("/x"), Entry::file(content, 0o644, Origin::generated("test")))]);
    let error = write(&entries, &Options::default(), std::io::sink()).map(drop).unwrap_err();
    assert!(matches!(&error, LayerError::Content { path, .. } if path.as_str() == "/x"), "{error:?}");
}

/// A few files, some of them large, some with several names.
fn any_files() -> impl Strategy<Value = Entries> {
    let beginning = prop::sample::select(vec![ELF, GO, PACKED, TEXT]);
    let size = prop_oneof![0..2_000_usize, LARGE - 1..LARGE + 3];
    let one = ("[a-d]/[a-d]{1,2}", beginning, size, prop::option::of(0..2_u8));
    prop::collection::vec(one, 0..8).prop_map(|files| {
        let mut entries = Entries::new();
        for (name, beginning, size, inode) in files {
            let path = path(&name);
            for folder in path.ancestors().into_iter().filter(|folder| !folder.is_root()) {
                entries.insert(folder, Entry::directory(Origin::generated("test")));
            }
            let entry = file(beginning, size);
            entries.insert(path, inode.map_or(entry.clone(), |n| hard(entry, &format!("/{n}"))));
        }
        entries
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn both_orders_hold_the_same_and_can_be_unpacked(entries in any_files()) {
        let [(by_path, path_info), (alike, info)] = [Order::Path, Order::Alike].map(|order| layer(&entries, order));
        prop_assert_eq!(path_info.tar_size, info.tar_size);
        let order = names(&alike);
        for (at, name) in order.iter().enumerate() {
            for folder in path(name).ancestors().iter().filter(|folder| !folder.is_root()) {
                prop_assert!(order[..at].contains(&folder.as_str().to_owned()), "{} before its folder", name);
            }
        }
        // Reading refuses hard links to what isn't there yet.
        let of = |blob: &[u8]| read(blob, &info.media_type, &Limits::default(), &mut MemorySink).unwrap().0;
        prop_assert_eq!(of(&by_path), of(&alike));
        prop_assert_eq!(layer(&entries, Order::Alike).1, info);
    }
}
