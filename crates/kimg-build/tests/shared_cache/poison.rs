//! Caches that somebody spoiled: what is wrong is not used, that is said, and the images are the same as without a cache.

use std::collections::BTreeMap;
use std::sync::Arc;

use kimg_core::{Content, Digest, Entry, MemorySink, Origin};
use kimg_image::{Descriptor, media_type};
use kimg_layer::{BlobStore, Limits, Options};
use kimg_registry::{Client, Reference, Watch};
use kimg_testkit::{DockerRegistry, PeerSetup, RegistryPeer};
use serde_json::{Value, json};

use crate::machine::{Built, Machine, client, reference};

const REPOSITORY: &str = "acme/kubelet";
const GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

/// A registry with a cache of the sample, which can be spoiled.
pub(crate) struct Spoiled {
    pub(crate) peer: RegistryPeer,
    pub(crate) cache: Reference,
    runtime: tokio::runtime::Runtime,
    client: Client,
    /// The index, as it is written.
    pub(crate) index: Value,
    /// What a machine without a cache builds.
    pub(crate) right: Vec<Digest>,
}

impl Spoiled {
    /// What was exported here is the cache.
    pub(crate) fn new(export: impl FnOnce(&Reference) -> Vec<Digest>) -> Self {
        let peer = RegistryPeer::new(PeerSetup::default());
        let cache = reference(&peer.name());
        let right = export(&cache);
        let (runtime, client) = (tokio::runtime::Runtime::new().unwrap(), client());
        let artifact = runtime.block_on(client.artifact(&cache)).unwrap().unwrap();
        let index = client.small_blob(cache.repository(), &artifact.blobs[0]);
        let index = serde_json::from_slice(&runtime.block_on(index).unwrap()).unwrap();
        Self { peer, cache, runtime, client, index, right }
    }

    fn sample() -> Self {
        Self::new(|cache| Machine::sample().export(cache).0.indexes)
    }

    /// The bytes of the blob of an entry.
    pub(crate) fn blob(&self, entry: usize) -> Vec<u8> {
        let folder = kimg_testkit::tempdir().unwrap();
        let store = BlobStore::open(folder.path()).unwrap();
        let entry = &self.index["entries"][entry];
        let (digest, size) =
            (entry["digest"].as_str().unwrap().parse().unwrap(), entry["size"].as_u64().unwrap());
        let watch: Arc<dyn Watch> = Arc::new(());
        let blobs = [(digest, size)];
        let fetching = self.client.fetch_blobs(self.cache.repository(), &blobs, &store, &watch);
        self.runtime.block_on(fetching).unwrap().remove(0).unwrap();
        fs_err::read(store.path(digest)).unwrap()
    }

    /// Puts a blob there under its own name, and lets an entry say that it is its.
    pub(crate) fn put(&mut self, entry: usize, bytes: &[u8]) {
        self.peer.put_blob(REPOSITORY, Digest::of(bytes), bytes);
        self.index["entries"][entry]["digest"] = json!(Digest::of(bytes));
        self.index["entries"][entry]["size"] = json!(bytes.len());
    }

    /// Puts other bytes there under the name of an entry's blob.
    pub(crate) fn put_under_its_name(&self, entry: usize, bytes: &[u8]) {
        let digest = self.index["entries"][entry]["digest"].as_str().unwrap();
        self.peer.put_blob(REPOSITORY, digest.parse().unwrap(), bytes);
    }

    /// Lets the tag name the index as it is now.
    pub(crate) fn write(&self) {
        self.write_index(self.index.to_string().as_bytes());
    }

    fn write_index(&self, index: &[u8]) {
        self.peer.put_blob(REPOSITORY, Digest::of(index), index);
        let bytes = self.peer.manifest(REPOSITORY, "cache").unwrap();
        let mut manifest: Value = serde_json::from_slice(&bytes).unwrap();
        let descriptor = Descriptor::of("application/vnd.kimg.cache.index.v1+json", index);
        manifest["layers"][0] = serde_json::to_value(descriptor).unwrap();
        let bytes = manifest.to_string().into_bytes();
        self.peer.put_manifest(REPOSITORY, "cache", media_type::MANIFEST, &bytes);
    }

    /// The place of the entry with the largest layer.
    fn largest(&self) -> usize {
        let entries = self.index["entries"].as_array().unwrap();
        (0..entries.len()).max_by_key(|place| entries[*place]["size"].as_u64()).unwrap()
    }

    /// Builds on a new machine: `refused` layers are not used for this reason, all others are, and the images are right.
    fn refuses(&self, refused: usize, why: &str) -> Built {
        let built = Machine::sample().build_from(&[&self.cache]);
        assert_eq!(built.indexes, self.right);
        let tally = &built.tally;
        assert_eq!((tally.refused.len(), tally.used), (refused, tally.asked - refused), "{tally:?}");
        assert_eq!((tally.found, built.heard.compressed()), (tally.asked, refused));
        for one in &tally.refused {
            assert!(one.why.contains(why), "{one:?}");
            assert!(one.what.starts_with("layer ") && one.cache == self.cache.to_string(), "{one:?}");
        }
        let warnings = built.heard.warnings();
        assert_eq!(warnings.iter().filter(|it| it.contains(why)).count(), refused, "{warnings:?}");
        built
    }
}

#[test]
fn a_blob_with_other_bytes_and_one_that_is_cut_are_refused() {
    let spoiled = Spoiled::sample();
    let good = spoiled.blob(0);
    let mut other = good.clone();
    *other.last_mut().unwrap() ^= 1;
    spoiled.put_under_its_name(0, &other);
    spoiled.refuses(1, "is not what it should be");
    spoiled.put_under_its_name(0, &good[..good.len() / 2]);
    spoiled.refuses(1, "is not what it should be");
    spoiled.put_under_its_name(0, &good);
    assert_eq!(
        spoiled.refuses(0, "is not what it should be").tally.used,
        spoiled.index["entries"].as_array().unwrap().len()
    );
}

#[test]
fn a_cut_blob_under_a_name_of_its_own_is_refused() {
    let mut spoiled = Spoiled::sample();
    let good = spoiled.blob(0);
    spoiled.put(0, &good[..good.len() - 20]);
    spoiled.write();
    let built = spoiled.refuses(1, "reading the layer");
    assert!(built.tally.fetched_bytes > 0);
}

#[test]
fn a_blob_that_is_missing_is_refused() {
    let mut spoiled = Spoiled::sample();
    spoiled.index["entries"][0]["digest"] = json!(Digest::of("nowhere"));
    spoiled.write();
    spoiled.refuses(1, "there is no");
}

#[test]
fn a_key_that_stands_for_another_layer_is_refused_before_anything_is_fetched() {
    let mut spoiled = Spoiled::sample();
    let entries = spoiled.index["entries"].as_array_mut().unwrap();
    for field in ["digest", "size", "layer"] {
        let (first, second) = (entries[0][field].clone(), entries[1][field].clone());
        (entries[0][field], entries[1][field]) = (second, first);
    }
    spoiled.write();
    spoiled.peer.forget();
    let built = spoiled.refuses(2, "its archive is sha256:");
    let blobs = spoiled.peer.requests().iter().filter(|it| it.path.contains("/blobs/")).count();
    assert_eq!(blobs, 1 + built.tally.used, "the index, and what is used");
}

#[test]
fn another_layers_blob_is_refused_though_the_rest_of_its_entry_is_right() {
    let mut spoiled = Spoiled::sample();
    let entries = spoiled.index["entries"].as_array_mut().unwrap();
    for field in ["digest", "size"] {
        let (first, second) = (entries[0][field].clone(), entries[1][field].clone());
        (entries[0][field], entries[1][field]) = (second, first);
    }
    spoiled.write();
    let built = Machine::sample().build_from(&[&spoiled.cache]);
    assert_eq!(built.indexes, spoiled.right);
    assert_eq!((built.tally.refused.len(), built.heard.compressed()), (2, 2), "{:?}", built.tally);
}

#[test]
fn a_layer_of_which_one_file_was_changed_is_refused_whatever_its_entry_says() {
    let mut spoiled = Spoiled::sample();
    let place = spoiled.largest();
    let blob = spoiled.blob(place);
    let (mut entries, _) = kimg_layer::read(&blob[..], GZIP, &Limits::default(), &mut MemorySink).unwrap();
    let (path, entry) =
        entries.iter().find(|(_, entry)| entry.content().is_some_and(|it| it.size() > 0)).unwrap();
    let mut bytes = entry.content().unwrap().read(1 << 30).unwrap();
    *bytes.last_mut().unwrap() ^= 0x20;
    let mut changed: Entry = entry.clone();
    let kimg_core::Kind::File { content, .. } = &mut changed.kind else { panic!("{path} is no file") };
    *content = Content::from_bytes(bytes);
    let path = path.clone();
    entries.insert(path, changed);
    let (evil, info) = kimg_layer::write(&entries, &Options::default(), Vec::new()).unwrap();

    // The entry still speaks of the right archive.
    spoiled.put(place, &evil);
    spoiled.write();
    let built = spoiled.refuses(1, "the blob is not this layer's");
    assert!(built.tally.refused[0].why.contains("its archive is sha256:"), "{:?}", built.tally);
    // And now of the one that it is.
    spoiled.index["entries"][place]["layer"]["diffId"] = json!(info.diff_id);
    spoiled.index["entries"][place]["layer"]["tarSize"] = json!(info.tar_size);
    spoiled.write();
    spoiled.refuses(1, "its archive is sha256:");
}

#[test]
fn a_wrong_diff_id_and_a_wrong_size_of_the_archive_are_refused() {
    let mut spoiled = Spoiled::sample();
    spoiled.index["entries"][0]["layer"]["diffId"] = json!(Digest::of("another"));
    spoiled.index["entries"][1]["layer"]["tarSize"] = json!(u64::MAX);
    spoiled.write();
    spoiled.refuses(2, "its archive is sha256:");
}

#[test]
fn a_bomb_is_refused() {
    let mut spoiled = Spoiled::sample();
    let place = spoiled.largest();
    // 16 MiB of nothing in some kilobytes: no larger than a layer may be, or it would not even be fetched.
    let zeros = vec![0; 16 << 20];
    let zeros = Entry::file(Content::from_bytes(zeros), 0o644, Origin::generated("test"));
    let entries = BTreeMap::from([("/zeros".parse().unwrap(), zeros)]);
    let (bomb, _) = kimg_layer::write(&entries, &Options::default(), Vec::new()).unwrap();
    spoiled.put(place, &bomb);
    spoiled.write();
    spoiled.refuses(1, "it unpacks to more than");
}

#[test]
fn another_codec_than_the_one_asked_for_is_refused() {
    let mut spoiled = Spoiled::sample();
    let place = spoiled.largest();
    let blob = spoiled.blob(place);
    let (entries, _) = kimg_layer::read(&blob[..], GZIP, &Limits::default(), &mut MemorySink).unwrap();
    let options = Options { codec: "zstd:3".parse().unwrap(), ..Options::default() };
    let (zstd, info) = kimg_layer::write(&entries, &options, Vec::new()).unwrap();
    spoiled.put(place, &zstd);
    spoiled.write();
    spoiled.refuses(1, "reading the layer");
    spoiled.index["entries"][place]["layer"]["mediaType"] = json!(info.media_type);
    spoiled.write();
    spoiled.refuses(1, "not compressed with gzip:9");
    spoiled.index["entries"][place]["layer"]["mediaType"] = json!("\u{1b}[31mred");
    spoiled.write();
    let built = spoiled.refuses(1, "not compressed with gzip:9");
    assert!(!built.tally.refused[0].why.contains('\u{1b}'), "{:?}", built.tally);
}

#[test]
fn a_blob_that_is_said_to_be_huge_is_not_fetched() {
    let mut spoiled = Spoiled::sample();
    spoiled.index["entries"][0]["size"] = json!(1_u64 << 50);
    spoiled.write();
    spoiled.refuses(1, "more than its archive");
}

#[test]
fn an_index_that_is_huge_or_none_is_not_used_and_the_next_export_writes_it_anew() {
    let spoiled = Spoiled::sample();
    let padded = format!("{}{}", spoiled.index, " ".repeat(5 << 20));
    for (index, why) in
        [(padded.as_str(), "at most 4194304 are read"), ("7", "invalid type"), ("{\"schema\":1", "EOF")]
    {
        spoiled.write_index(index.as_bytes());
        let built = Machine::sample().build_from(&[&spoiled.cache]);
        assert_eq!(built.indexes, spoiled.right);
        assert_eq!((built.tally.used, built.heard.compressed()), (0, built.tally.asked));
        assert_eq!(built.tally.unusable.len(), 1);
        assert!(built.tally.unusable[0].why.contains(why), "{:?}", built.tally);
        assert_eq!(built.heard.warnings().len(), 1);
    }
    let (built, exported) = Machine::sample().export(&spoiled.cache);
    assert!(built.heard.warnings().iter().any(|it| it.contains("is written anew")));
    assert_eq!(exported.added, exported.entries);
    spoiled.refuses(0, "");
}

#[test]
fn who_finds_something_wrong_and_exports_makes_it_right_for_the_others() {
    let mut spoiled = Spoiled::sample();
    let good = spoiled.blob(0);
    spoiled.put(0, &good[..good.len() - 20]);
    spoiled.write();
    spoiled.refuses(1, "reading the layer");
    let (_, exported) = Machine::sample().export(&spoiled.cache);
    assert_eq!(exported.added, 1);
    spoiled.refuses(0, "");
}

#[test]
fn another_cache_gives_what_the_spoiled_one_could_not() {
    let mut spoiled = Spoiled::sample();
    let good = RegistryPeer::new(PeerSetup::default());
    let good = (reference(&good.name()), good);
    Machine::sample().export(&good.0);
    spoiled.index["entries"][0]["layer"]["diffId"] = json!(Digest::of("another"));
    spoiled.write();
    let built = Machine::sample().build_from(&[&spoiled.cache, &good.0]);
    assert_eq!((built.indexes, built.heard.compressed()), (spoiled.right.clone(), 0));
    assert_eq!((built.tally.refused.len(), built.tally.used), (1, built.tally.asked));
}

#[test]
fn what_was_changed_on_the_disk_of_debians_registry_is_refused() {
    let Some(registry) = DockerRegistry::plain() else { return };
    let cache = reference(&registry.name());
    let (alone, exported) = Machine::sample().export(&cache);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let artifact = runtime.block_on(client().artifact(&cache)).unwrap().unwrap();
    let [_, other, cut, ..] = &artifact.blobs[..] else { panic!("{artifact:?}") };
    let mut bytes = fs_err::read(registry.blob(other.digest)).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs_err::write(registry.blob(other.digest), bytes).unwrap();
    let bytes = fs_err::read(registry.blob(cut.digest)).unwrap();
    fs_err::write(registry.blob(cut.digest), &bytes[..bytes.len() / 2]).unwrap();

    let built = Machine::sample().build_from(&[&cache]);
    assert_eq!((built.indexes, built.heard.compressed()), (alone.indexes, 2));
    assert_eq!((built.tally.refused.len(), built.tally.used), (2, exported.entries - 2), "{:?}", built.tally);
}
