//! Small images to write, shared by the tests.

use std::collections::{BTreeMap, BTreeSet};

use kimg_core::{Content, Entry, ImagePath, Kind, Origin, Platform};
use kimg_image::{Image, ImageLayer, ImageSpec, MultiArch, RunConfig, Tagged, assemble, join};
use kimg_layer::{BlobStore, Codec, Entries, Options};

pub(crate) const CREATED: u64 = 1_700_000_000;

pub(crate) fn path(text: &str) -> ImagePath {
    ImagePath::new(text).unwrap()
}

pub(crate) fn file(bytes: &str, mode: u32) -> Entry {
    Entry::file(Content::from_bytes(bytes), mode, Origin::generated("test"))
}

fn base() -> Entries {
    let hard = |bytes: &str| {
        let kind = Kind::File { content: Content::from_bytes(bytes), inode: Some(path("/bin/a")) };
        Entry { kind, ..file(bytes, 0o755) }
    };
    Entries::from([
        (path("/bin"), Entry::directory(Origin::generated("test"))),
        (path("/bin/a"), hard("a")),
        (path("/bin/b"), hard("a")),
        (path("/bin/su"), file("su", 0o4755)),
        (path("/bin/sh"), Entry::symlink("a", Origin::generated("test"))),
        (path(&format!("/{}", "é".repeat(60))), file("long", 0o644)),
    ])
}

pub(crate) fn layer(blobs: &BlobStore, codec: Codec, entries: &Entries) -> ImageLayer {
    let info =
        blobs.put_layer(entries, &Options { codec, epoch: Some(CREATED), ..Options::default() }).unwrap();
    ImageLayer { info, created_by: "kimg: test".into(), comment: Some("a layer".into()) }
}

/// A spec with two layers: one that all platforms share, and one with this text.
pub(crate) fn spec(blobs: &BlobStore, codec: Codec, platform: Platform, text: &str) -> ImageSpec {
    let own = Entries::from([(path("/text"), file(&format!("{text} for {platform}"), 0o644))]);
    let map =
        |pairs: &[(&str, &str)]| pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    ImageSpec {
        platform,
        created: Some(CREATED),
        author: Some("kimg".into()),
        config: RunConfig {
            entrypoint: vec!["/bin/a".into(), "--flag".into()],
            command: vec!["run".into()],
            environment: map(&[("PATH", "/bin"), ("A", "1=2")]),
            labels: map(&[("org.opencontainers.image.version", "1"), ("io.kimg.test", "yes")]),
            working_dir: Some("/bin".into()),
            user: Some("0:0".into()),
            volumes: BTreeSet::from(["/var/lib/kubelet".to_owned()]),
            stop_signal: Some("SIGTERM".into()),
        },
        layers: vec![layer(blobs, codec, &base()), layer(blobs, codec, &own)],
        annotations: map(&[("org.opencontainers.image.title", "test")]),
    }
}

pub(crate) fn image(blobs: &BlobStore, codec: Codec, platform: Platform, text: &str) -> Image {
    assemble(&spec(blobs, codec, platform, text)).unwrap()
}

pub(crate) fn multi(blobs: &BlobStore, codec: Codec, text: &str) -> MultiArch {
    let images = Platform::DEFAULT.map(|platform| image(blobs, codec, platform, text));
    join(images.into(), BTreeMap::from([("io.kimg.index".to_owned(), "yes".to_owned())])).unwrap()
}

pub(crate) fn tagged(blobs: &BlobStore, text: &str, tags: &[&str]) -> Tagged {
    let image = multi(blobs, Codec::Gzip { level: 6 }, text);
    Tagged { tags: tags.iter().map(|&tag| tag.to_owned()).collect(), image }
}

pub(crate) fn store() -> (tempfile::TempDir, BlobStore) {
    let dir = tempfile::tempdir().unwrap();
    let blobs = BlobStore::open(dir.path().join("store")).unwrap();
    (dir, blobs)
}
