//! Whole layers: written, read back, compared; and what the bytes may and may not depend on.

#![expect(clippy::unwrap_used, reason = "a test that panics has failed, as it should")]

use std::io::{self, Read};
use std::sync::Arc;

use kimg_core::{Content, ContentSource, Digest, Entry, ImagePath, Kind, MemorySink, Origin, ReadSeek};
use kimg_layer::{Codec, Entries, LayerError, LayerInfo, Limits, Options, Order, Window, key, read, write};
use proptest::prelude::*;

const FAST: Options = Options { codec: Codec::Gzip { level: 1 }, order: Order::Alike, epoch: None };

fn path(text: &str) -> ImagePath {
    ImagePath::new(text).unwrap()
}

fn origin() -> Origin {
    Origin::generated("test")
}

fn file(bytes: &str) -> Entry {
    Entry::file(Content::from_bytes(bytes), 0o644, origin())
}

fn hard(bytes: &str, inode: &str) -> Entry {
    let kind = Kind::File { content: Content::from_bytes(bytes), inode: Some(path(inode)) };
    Entry { kind, ..file(bytes) }
}

fn layer(entries: &Entries, options: &Options) -> (Vec<u8>, LayerInfo) {
    write(entries, options, Vec::new()).unwrap()
}

fn names(blob: &[u8]) -> Vec<String> {
    let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(blob));
    let entries = archive.entries().unwrap();
    entries.map(|e| String::from_utf8(e.unwrap().path_bytes().into_owned()).unwrap()).collect()
}

#[test]
fn folders_come_before_what_is_in_them_and_neighbours_may_stand_between() {
    let entries: Entries = ["/a/b", "/a.b", "/a", "/a/b/c", "/a-b"]
        .map(|p| (path(p), if p.len() == 6 { file("c") } else { Entry::directory(origin()) }))
        .into();
    assert_eq!(names(&layer(&entries, &FAST).0), ["a/", "a-b/", "a.b/", "a/b/", "a/b/c"]);
}

#[test]
fn the_info_describes_the_bytes() {
    let entries = Entries::from([(path("/x"), file("abc"))]);
    for (codec, media) in [
        (Codec::Gzip { level: 9 }, "application/vnd.oci.image.layer.v1.tar+gzip"),
        (Codec::Zstd { level: 3, window: None }, "application/vnd.oci.image.layer.v1.tar+zstd"),
    ] {
        let (blob, info) = layer(&entries, &Options { codec, ..Options::default() });
        let mut tar = Vec::new();
        kimg_layer::decode(&blob[..], media).unwrap().read_to_end(&mut tar).unwrap();
        let expected = LayerInfo {
            media_type: media.to_owned(),
            digest: Digest::of(&blob),
            size: blob.len() as u64,
            diff_id: Digest::of(&tar),
            tar_size: tar.len() as u64,
        };
        assert_eq!(info, expected);
        assert_eq!(tar.len(), 4 * 512);
    }
}

#[test]
fn the_gzip_header_holds_no_time_no_name_and_no_operating_system() {
    let (blob, _) = layer(&Entries::new(), &Options::default());
    // RFC 1952, 2.3: magic, deflate, no flags, no time, "slowest algorithm", unknown operating system.
    assert_eq!(blob[..10], [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 2, 255]);
}

#[test]
fn the_bytes_of_a_layer_are_what_they_were_in_the_last_version() {
    // A change here changes every image's digests: the FORMAT number must change with it.
    let mut entries = Entries::from([
        (path("/bin"), Entry::directory(origin())),
        (path("/bin/a"), hard("abc", "/bin/a")),
        (path("/bin/b"), hard("abc", "/bin/a")),
        (path("/bin/sh"), Entry::symlink("a", origin())),
    ]);
    entries.insert(path(&format!("/bin/{}", "é".repeat(60))), file("long"));
    entries.get_mut("/bin/sh").unwrap().mtime = 1_700_000_000;
    let of = |codec: &str| {
        let codec = codec.parse().unwrap();
        layer(&entries, &Options { codec, epoch: Some(1_600_000_000), ..Options::default() }).1
    };
    let (info, zstd) = (of("gzip"), of("zstd"));
    assert_eq!(info.diff_id, zstd.diff_id);
    assert_eq!(
        info.diff_id.to_string(),
        "sha256:cb9c61a1d45d5a0f1c5cecb94ce726d89cb39b32196885acb07e0b2ef55387d0"
    );
    assert_eq!(
        info.digest.to_string(),
        "sha256:644bd38aabc9ea4d47365d9213d6ec680f527a41221702f5985b25175692af70"
    );
    assert_eq!(
        zstd.digest.to_string(),
        "sha256:1b8d9bd364f677f6dd807a861581aa48f09ada6f96fc9e1f996075975047af21"
    );
}

#[test]
fn times_after_the_epoch_are_clamped_and_earlier_ones_kept() {
    let entries: Entries =
        [("/early", 10), ("/late", 30)].map(|(p, mtime)| (path(p), Entry { mtime, ..file("") })).into();
    let (blob, info) = layer(&entries, &Options { epoch: Some(20), ..FAST });
    let (back, _) = read(&blob[..], &info.media_type, &Limits::default(), &mut MemorySink).unwrap();
    assert_eq!((back["/early"].mtime, back["/late"].mtime), (10, 20));
}

#[test]
fn names_of_one_file_are_written_once_and_linked() {
    let entries = Entries::from([
        (path("/b"), hard("same", "/elsewhere")),
        (path("/c"), hard("same", "/elsewhere")),
        // Not links: another mode, another content, another inode, no inode.
        (path("/d"), Entry { mode: 0o755, ..hard("same", "/elsewhere") }),
        (path("/e"), hard("else", "/elsewhere")),
        (path("/f"), hard("same", "/f")),
        (path("/g"), file("same")),
    ]);
    let (blob, _) = layer(&entries, &FAST);
    let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(&blob[..]));
    let kinds: Vec<_> = archive
        .entries()
        .unwrap()
        .map(|entry| {
            let entry = entry.unwrap();
            (entry.header().entry_type(), entry.link_name().unwrap().map(|l| l.display().to_string()))
        })
        .collect();
    let regular = (tar::EntryType::Regular, None);
    let mut expected = vec![regular; 6];
    expected[1] = (tar::EntryType::Link, Some("b".to_owned()));
    assert_eq!(kinds, expected);
}

#[test]
fn times_that_only_the_clamp_makes_equal_still_make_links() {
    let entries = Entries::from(
        [1, 2].map(|n| (path(&format!("/{n}")), Entry { mtime: 100 + n, ..hard("same", "/1") })),
    );
    let size = |epoch| layer(&entries, &Options { epoch, ..FAST }).1.tar_size;
    assert_eq!(size(Some(100)), size(None) - 512);
}

#[test]
fn a_links_header_repeats_its_files_attributes() {
    // Runtimes chown a link after making it, which drops the shared file's capability.
    let mut entries = Entries::from([(path("/a"), hard("x", "/a")), (path("/b"), hard("x", "/a"))]);
    for entry in entries.values_mut() {
        entry.xattrs.insert("security.capability".into(), vec![1, 0, 0, 2, 0x0a, 4, 0, 0]);
    }
    let (blob, _) = layer(&entries, &FAST);
    let mut tar = Vec::new();
    flate2::read::GzDecoder::new(&blob[..]).read_to_end(&mut tar).unwrap();
    let record = b"SCHILY.xattr.security.capability=\x01\x00\x00\x02\x0a\x04\x00\x00\n";
    assert_eq!(tar.windows(record.len()).filter(|w| w == record).count(), 2);
}

#[test]
fn entries_that_could_not_be_unpacked_are_refused() {
    let wrong = |entries: Vec<(&str, Entry)>| {
        let entries = entries.into_iter().map(|(p, e)| (path(p), e)).collect();
        match write(&entries, &FAST, io::sink()) {
            Err(LayerError::Unwritable { problem, .. }) => problem,
            other => panic!("{other:?}"),
        }
    };
    assert!(wrong(vec![("/", file(""))]).contains("root"));
    assert!(wrong(vec![("/a/.wh.b/c", file(""))]).contains("whiteout"));
    assert!(wrong(vec![("/a", Entry { mode: 0o100_644, ..file("") })]).contains("100644"));
    assert!(wrong(vec![("/a", Entry::symlink("", origin()))]).contains("target"));
    assert!(wrong(vec![("/a", Entry::symlink("b\0c", origin()))]).contains("target"));
    assert!(wrong(vec![("/a", Entry::symlink("b", origin())), ("/a/c/d", file(""))]).contains("`/a`"));
    let mut entry = file("");
    entry.xattrs.insert("user.a=b".into(), vec![]);
    assert!(wrong(vec![("/a", entry)]).contains("attribute"));
}

#[derive(Debug)]
struct Source(&'static [u8]);

impl ContentSource for Source {
    fn open(&self) -> io::Result<Box<dyn ReadSeek>> {
        Ok(Box::new(io::Cursor::new(self.0)))
    }
}

#[test]
fn changed_and_mismeasured_contents_are_noticed() {
    let good = Content::from_bytes("abc");
    let with = |size, bytes| {
        let content = Content::new(good.digest(), size, Arc::new(Source(bytes)));
        write(&Entries::from([(path("/x"), Entry::file(content, 0o644, origin()))]), &FAST, io::sink())
    };
    assert!(with(3, b"abc").is_ok());
    assert!(matches!(with(3, b"abd"), Err(LayerError::Content { .. })));
    assert!(matches!(with(4, b"abc"), Err(LayerError::ContentSize { expected: 4, found: 3, .. })));
}

fn any_entry() -> impl Strategy<Value = Entry> {
    let kind = prop_oneof![
        Just(Entry::directory(origin())),
        "[a-z/.é]{1,150}".prop_map(|target| Entry::symlink(target, origin())),
        prop::collection::vec(any::<u8>(), 0..1200).prop_map(|bytes| Entry::file(
            Content::from_bytes(bytes),
            0,
            origin()
        )),
    ];
    let id = prop_oneof![Just(0_u32), any::<u32>()];
    let time = prop_oneof![0_u64..2_000_000_000, any::<u64>()];
    let xattrs = prop::collection::btree_map(
        "[a-z]{1,8}\\.[a-z]{1,20}",
        prop::collection::vec(any::<u8>(), 0..40),
        0..3,
    );
    (kind, 0_u32..=0o7777, id.clone(), id, time, xattrs)
        .prop_map(|(entry, mode, uid, gid, mtime, xattrs)| Entry { mode, uid, gid, mtime, xattrs, ..entry })
}

fn any_codec() -> impl Strategy<Value = Codec> {
    let window = prop::option::of(prop::sample::select(&Window::ALL));
    prop_oneof![
        (1_u32..=12).prop_map(|level| Codec::Gzip { level }),
        (1..=22, window).prop_map(|(level, window)| Codec::Zstd { level, window }),
    ]
}

fn any_order() -> impl Strategy<Value = Order> {
    prop::sample::select(vec![Order::Path, Order::Alike])
}

/// Entries with names of every length. Only folders hold other entries.
fn any_entries() -> impl Strategy<Value = Vec<(ImagePath, Entry)>> {
    let name = prop_oneof!["[a-c.]{1,3}", "[a-zé]{90,120}"].prop_filter("a name", |n| n != "." && n != "..");
    prop::collection::vec((prop::collection::vec(name, 1..5), any_entry()), 0..12).prop_map(|all| {
        let mut entries = Entries::new();
        for (names, entry) in all {
            let path = path(&names.join("/"));
            let fits =
                path.ancestors().iter().all(|p| entries.get(p).is_none_or(|e: &Entry| e.is_directory()))
                    && (entry.is_directory() || entries.keys().all(|p: &ImagePath| !p.is_below(&path)));
            if fits {
                entries.insert(path, entry);
            }
        }
        entries.into_iter().collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_written_is_read_back(entries in any_entries(), codec in any_codec(), order in any_order()) {
        let mut entries: Entries = entries.into_iter().collect();
        let (blob, info) = layer(&entries, &Options { codec, order, epoch: None });
        let (mut back, diff_id) = read(&blob[..], &info.media_type, &Limits::default(), &mut MemorySink).unwrap();
        prop_assert_eq!(diff_id, info.diff_id);
        for entry in back.values_mut().chain(entries.values_mut()) {
            entry.origin = origin();
        }
        prop_assert_eq!(back, entries);
    }

    #[test]
    fn the_tar_crate_reads_the_same(entries in any_entries()) {
        let mut entries: Entries = entries.into_iter().collect();
        for entry in entries.values_mut() {
            // Its reader takes every newline for the end of a record.
            entry.xattrs.retain(|_, value| !value.contains(&b'\n'));
        }
        let (blob, _) = layer(&entries, &FAST);
        let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(&blob[..]));
        let mut count = 0;
        for (found, (path, entry)) in archive.entries().unwrap().zip(&entries) {
            let mut found = found.unwrap();
            count += 1;
            prop_assert_eq!(&ImagePath::new(std::str::from_utf8(&found.path_bytes()).unwrap()).unwrap(), path);
            prop_assert_eq!(found.header().mode().unwrap(), entry.mode);
            prop_assert_eq!(found.header().entry_type().is_dir(), entry.is_directory());
            let target = found.link_name_bytes().map(|l| String::from_utf8(l.into_owned()).unwrap());
            prop_assert_eq!(target.as_deref(), entry.target());
            if let Some(content) = entry.content() {
                let mut bytes = Vec::new();
                found.read_to_end(&mut bytes).unwrap();
                prop_assert_eq!(Digest::of(bytes), content.digest());
            }
        }
        prop_assert_eq!(count, entries.len());
    }

    #[test]
    fn the_order_of_insertion_changes_nothing(
        (sorted, shuffled) in any_entries().prop_flat_map(|e| (Just(e.clone()), Just(e).prop_shuffle()))
    ) {
        let (sorted, shuffled) = (sorted.into_iter().collect(), shuffled.into_iter().collect());
        prop_assert_eq!(layer(&sorted, &FAST), layer(&shuffled, &FAST));
        prop_assert_eq!(key(&sorted, &FAST), key(&shuffled, &FAST));
    }

    #[test]
    fn the_key_differs_exactly_when_the_archive_does(
        entries in any_entries(), at in any::<prop::sample::Index>(), other in any_entry(), field in 0..7
    ) {
        let before: Entries = entries.into_iter().collect();
        prop_assume!(!before.is_empty());
        let path = at.get(&before.keys().cloned().collect::<Vec<_>>()).clone();
        let mut after = before.clone();
        let entry = after.get_mut(&path).unwrap();
        match field {
            0 => entry.mode = other.mode,
            1 => entry.uid = other.uid,
            2 => entry.gid = other.gid,
            3 => entry.mtime = other.mtime,
            4 => entry.xattrs = other.xattrs,
            5 if !entry.is_directory() => entry.kind = other.kind,
            // Where an entry came from is written nowhere.
            _ => entry.origin = Origin::generated("another"),
        }
        prop_assume!(write(&after, &FAST, io::sink()).is_ok());
        let same = layer(&before, &FAST).1 == layer(&after, &FAST).1;
        prop_assert_eq!(key(&before, &FAST) == key(&after, &FAST), same);
    }
}

#[test]
fn the_codec_its_level_its_window_and_the_order_are_part_of_the_key() {
    let entries = Entries::from([(path("/x"), file("abc"))]);
    let of =
        |codec: &str, order| key(&entries, &Options { codec: codec.parse().unwrap(), order, epoch: None });
    assert_eq!(of("gzip", Order::Path), of("gzip:9", Order::Path));
    let mut keys: Vec<Digest> = ["gzip:8", "gzip:9", "zstd:9", "zstd:10", "zstd:10:window=64MiB"]
        .iter()
        .flat_map(|codec| [of(codec, Order::Path), of(codec, Order::Alike)])
        .collect();
    keys.sort();
    keys.dedup();
    assert_eq!(keys.len(), 10);
}
