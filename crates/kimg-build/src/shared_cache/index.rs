//! The index of a cache: which key stands for which blob. JSON, sorted, the same bytes for the same entries.

use std::collections::BTreeMap;

use kimg_core::Digest;
use kimg_image::Descriptor;
use kimg_layer::LayerInfo;
use serde::{Deserialize, Serialize};

/// The `artifactType` of a cache.
pub(super) const ARTIFACT: &str = "application/vnd.kimg.cache.v1+json";

/// The media type of its first blob.
pub(super) const INDEX: &str = "application/vnd.kimg.cache.index.v1+json";

/// The media type of packed and of compiled programs in it.
const PROGRAM: &str = "application/vnd.kimg.cache.program.v1";

/// The most bytes that an index has: 4 MiB, as a manifest.
pub(super) const MAX_SIZE: u64 = 4 << 20;

/// The most entries that are read or written: an index and a manifest of them stay below 4 MiB.
pub(super) const MAX_ENTRIES: usize = 8000;

/// What a key belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Kind {
    Layer,
    Program,
    Compiled,
}

/// What was made of what a key names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Made {
    Layer(LayerInfo),
    Program { digest: Digest, size: u64 },
    Compiled(CompiledInfo),
}

/// A compiled program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CompiledInfo {
    pub(crate) digest: Digest,
    pub(crate) size: u64,
    /// Of several programs in one, how large each is alone, in bytes.
    pub(crate) alone: BTreeMap<String, u64>,
}

impl Made {
    /// Its blob, and the bytes of that.
    pub(super) fn blob(&self) -> (Digest, u64) {
        match self {
            Self::Layer(info) => (info.digest, info.size),
            Self::Program { digest, size } => (*digest, *size),
            Self::Compiled(info) => (info.digest, info.size),
        }
    }

    fn descriptor(&self) -> Descriptor {
        let (digest, size) = self.blob();
        match self {
            Self::Layer(info) => Descriptor::new(&info.media_type, digest, size),
            Self::Program { .. } | Self::Compiled(_) => Descriptor::new(PROGRAM, digest, size),
        }
    }
}

/// One entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) made: Made,
    /// The day on which it was last used, in days since 1970, as who used it counts.
    pub(super) day: u32,
}

/// All entries, by what they belong to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Index(pub(super) BTreeMap<(Kind, Digest), Entry>);

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    schema: u32,
    entries: Vec<WrittenEntry>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct WrittenEntry {
    kind: Kind,
    key: Digest,
    day: u32,
    digest: Digest,
    size: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    layer: Option<WrittenLayer>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    alone: BTreeMap<String, u64>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct WrittenLayer {
    media_type: String,
    diff_id: Digest,
    tar_size: u64,
}

impl Index {
    /// Reads an index; the error says in words what is wrong with it.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, String> {
        let written: Written = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        if written.schema != 1 {
            return Err(format!("its schema is {}, expected 1", written.schema));
        }
        if written.entries.len() > MAX_ENTRIES {
            return Err(format!("it has {} entries, at most {MAX_ENTRIES} are read", written.entries.len()));
        }
        let mut index = Self::default();
        let mut sizes = BTreeMap::new();
        for WrittenEntry { kind, key, day, digest, size, layer, alone } in written.entries {
            let made = match (kind, layer) {
                (Kind::Layer, Some(WrittenLayer { media_type, diff_id, tar_size })) => {
                    Made::Layer(LayerInfo { media_type, digest, size, diff_id, tar_size })
                }
                (Kind::Program, None) => Made::Program { digest, size },
                (Kind::Compiled, None) => Made::Compiled(CompiledInfo { digest, size, alone }),
                _ => return Err(format!("the entry {key} is neither a layer's nor a program's")),
            };
            if *sizes.entry(digest).or_insert(size) != size {
                return Err(format!("the blob {digest} is said to have two sizes"));
            }
            if index.0.insert((kind, key), Entry { made, day }).is_some() {
                return Err(format!("the key {key} stands there twice"));
            }
        }
        Ok(index)
    }

    /// The blob of a packed program and its bytes.
    pub(super) fn program(&self, key: Digest) -> Option<(Digest, u64)> {
        match self.0.get(&(Kind::Program, key))?.made {
            Made::Program { digest, size } => Some((digest, size)),
            Made::Layer(_) | Made::Compiled(_) => None,
        }
    }

    /// A compiled program.
    pub(super) fn compiled(&self, key: Digest) -> Option<&CompiledInfo> {
        match &self.0.get(&(Kind::Compiled, key))?.made {
            Made::Compiled(info) => Some(info),
            Made::Layer(_) | Made::Program { .. } => None,
        }
    }

    /// As it is stored.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let entries = self.0.iter().map(|((kind, key), Entry { made, day })| {
            let (digest, size) = made.blob();
            let layer = match made {
                Made::Layer(LayerInfo { media_type, diff_id, tar_size, .. }) => Some(WrittenLayer {
                    media_type: media_type.clone(),
                    diff_id: *diff_id,
                    tar_size: *tar_size,
                }),
                Made::Program { .. } | Made::Compiled(_) => None,
            };
            let alone = match made {
                Made::Compiled(info) => info.alone.clone(),
                Made::Layer(_) | Made::Program { .. } => BTreeMap::new(),
            };
            WrittenEntry { kind: *kind, key: *key, day: *day, digest, size, layer, alone }
        });
        let written = Written { schema: 1, entries: entries.collect() };
        serde_json::to_vec(&written).expect("no map in it has other keys than text, and memory takes all")
    }

    /// Its blobs, each once, by their digests.
    pub(super) fn blobs(&self) -> Vec<Descriptor> {
        let all = self.0.values().map(|entry| (entry.made.blob().0, entry.made.descriptor()));
        all.collect::<BTreeMap<_, _>>().into_values().collect()
    }

    /// Adds entries. Of two for one key the added one stays, if they may `replace`; else the one that is there. Either way the
    /// later day counts.
    pub(super) fn add(&mut self, others: &Self, replace: bool) {
        for (key, other) in &others.0 {
            match self.0.get_mut(key) {
                Some(known) => {
                    known.day = known.day.max(other.day);
                    if replace {
                        known.made = other.made.clone();
                    }
                }
                None => drop(self.0.insert(*key, other.clone())),
            }
        }
    }

    /// Drops what was not used for longest until no more than so many entries and bytes of blobs are left. What is larger
    /// than the bound by itself goes first. The result follows from the entries alone, so that several writers agree.
    pub(super) fn bound(&mut self, max_entries: usize, max_bytes: u64) -> usize {
        let before = self.0.len();
        self.0.retain(|_, entry| entry.made.blob().1 <= max_bytes);
        let mut order: Vec<_> =
            self.0.iter().map(|(key, entry)| (entry.day, *key, entry.made.blob())).collect();
        order.sort_by(|a, b| b.0.cmp(&a.0).then(a.1.cmp(&b.1)));
        let (mut blobs, mut bytes) = (std::collections::BTreeSet::new(), 0_u64);
        let kept = order.iter().take(max_entries).take_while(|(_, _, (digest, size))| {
            if blobs.insert(*digest) {
                bytes = bytes.saturating_add(*size);
            }
            bytes <= max_bytes
        });
        let kept: std::collections::BTreeSet<_> = kept.map(|(_, key, _)| *key).collect();
        self.0.retain(|key, _| kept.contains(key));
        before - self.0.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(name: &str, size: u64, day: u32) -> ((Kind, Digest), Entry) {
        let made = Made::Program { digest: Digest::of(name), size };
        ((Kind::Program, Digest::of(format!("key of {name}"))), Entry { made, day })
    }

    fn index(entries: &[(&str, u64, u32)]) -> Index {
        Index(entries.iter().map(|(name, size, day)| entry(name, *size, *day)).collect())
    }

    #[test]
    fn an_index_is_read_as_it_is_written() {
        let mut all = index(&[("a", 1, 5), ("b", 2, 6)]);
        let info = LayerInfo {
            media_type: "application/vnd.oci.image.layer.v1.tar+gzip".into(),
            digest: Digest::of("layer"),
            size: 5,
            diff_id: Digest::of("tar"),
            tar_size: 1024,
        };
        all.0.insert((Kind::Layer, Digest::of("key")), Entry { made: Made::Layer(info), day: 7 });
        let alone = BTreeMap::from([("kubelet".to_owned(), 3), ("kubeadm".to_owned(), 2)]);
        let compiled = CompiledInfo { digest: Digest::of("one"), size: 4, alone };
        all.0.insert((Kind::Compiled, Digest::of("key")), Entry { made: Made::Compiled(compiled), day: 7 });
        assert_eq!(Index::parse(&all.to_bytes()).unwrap(), all);
        assert_eq!(all.blobs().len(), 4);
        let text = String::from_utf8(all.to_bytes()).unwrap();
        assert!(text.starts_with(r#"{"schema":1,"entries":[{"kind":"layer","key":"sha256:"#), "{text}");
    }

    #[test]
    fn what_contradicts_itself_is_no_index() {
        let good = String::from_utf8(index(&[("a", 1, 5)]).to_bytes()).unwrap();
        let entry = good.split_once('[').unwrap().1.trim_end_matches("]}").to_owned();
        let with = |entries: &str| format!(r#"{{"schema":1,"entries":[{entries}]}}"#);
        assert!(Index::parse(with(&entry).as_bytes()).is_ok());
        for (text, problem) in [
            (good.replace("\"schema\":1", "\"schema\":2"), "schema is 2"),
            (good.replace("program", "layer"), "neither a layer's nor a program's"),
            (good.replace("\"day\"", "\"days\""), "unknown field"),
            (with(&format!("{entry},{entry}")), "twice"),
            (
                with(&format!(
                    "{entry},{}",
                    entry
                        .replace(&Digest::of("key of a").to_string(), &Digest::of("other").to_string())
                        .replace("\"size\":1", "\"size\":2")
                )),
                "two sizes",
            ),
            (good[..good.len() - 1].to_owned(), "EOF"),
            (good.replace("sha256:", "md5:"), "digest"),
        ] {
            let found = Index::parse(text.as_bytes()).unwrap_err();
            assert!(found.contains(problem), "{problem}: {found}");
        }
        let many = Index((0..=MAX_ENTRIES).map(|n| self::entry(&n.to_string(), 1, 1)).collect());
        assert!(Index::parse(&many.to_bytes()).unwrap_err().contains("8001 entries"));
        let most = Index(many.0.into_iter().take(MAX_ENTRIES).collect());
        assert!((most.to_bytes().len() as u64) < MAX_SIZE);
    }

    #[test]
    fn what_was_not_used_for_longest_is_dropped_and_what_is_too_large_before_that() {
        let all = [("old", 10, 1), ("new", 10, 9), ("mid", 10, 5), ("giant", 1000, 9)];
        let mut bounded = index(&all);
        assert_eq!(bounded.bound(10, 25), 2);
        assert_eq!(bounded, index(&[("new", 10, 9), ("mid", 10, 5)]));
        assert_eq!(bounded.bound(1, 25), 1);
        assert_eq!(bounded, index(&[("new", 10, 9)]));
        // Two keys of one blob: it is counted once.
        let mut shared = index(&[("a", 10, 2)]);
        let made = Made::Program { digest: Digest::of("a"), size: 10 };
        shared.0.insert((Kind::Program, Digest::of("other key")), Entry { made, day: 1 });
        assert_eq!(shared.bound(10, 10), 0);
        assert_eq!(shared.blobs().len(), 1);
    }

    #[test]
    fn whoever_adds_first_or_last_the_bounded_index_is_the_same() {
        let (a, b) = (index(&[("a", 10, 9), ("c", 10, 9)]), index(&[("b", 10, 9), ("old", 10, 1)]));
        let merged = |first: &Index, second: &Index| {
            let mut all = first.clone();
            all.add(second, false);
            all.bound(10, 20);
            all
        };
        assert_eq!(merged(&a, &b), merged(&b, &a));
        assert_eq!(merged(&merged(&a, &b), &a), merged(&a, &b));
    }

    #[test]
    fn what_is_added_again_is_young_again_and_replaces_only_if_it_may() {
        let mut known = index(&[("a", 1, 1)]);
        let other = Index(known.0.keys().map(|key| (*key, entry("b", 2, 3).1)).collect());
        known.add(&other, false);
        assert_eq!(known.0.values().next().unwrap(), &Entry { day: 3, ..entry("a", 1, 3).1 });
        known.add(&other, true);
        assert_eq!(known, other);
    }
}
