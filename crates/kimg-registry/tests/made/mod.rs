//! Layouts made for tests, clients in a hurry, and where things go.

#![allow(dead_code, reason = "no test file needs all of it")]

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use kimg_core::{Content, Digest, Entry, ImagePath, Origin, Platform};
use kimg_image::{ImageLayer, ImageSpec, Layout, RunConfig, Tagged, assemble, join, write_layout};
use kimg_layer::{BlobStore, Codec, Options as LayerOptions};
use kimg_registry::{Client, Keychain, Options, PushOptions, Pushed, RegistryError, Release, Repository};

/// A layout with these variants, each for three platforms: every image has a base layer of its platform, which all
/// variants share, and a layer of its own. A layer has about `size` bytes.
pub(crate) fn layout(folder: &Path, variants: &[&str], size: usize) -> Layout {
    let store = BlobStore::open(folder.join("store")).unwrap();
    let layer = |seed: u64, name: &str| {
        let content = Content::from_bytes(kimg_testkit::noise(seed, size));
        let entry = Entry::file(content, 0o755, Origin::generated("made"));
        let entries = BTreeMap::from([(ImagePath::new(&format!("/{name}")).unwrap(), entry)]);
        let options = LayerOptions { codec: Codec::Gzip { level: 1 }, ..LayerOptions::default() };
        let info = store.put_layer(&entries, &options).unwrap();
        ImageLayer { info, created_by: name.to_owned(), comment: None }
    };
    let mut tagged = Vec::new();
    for (number, variant) in variants.iter().enumerate() {
        let images = Platform::DEFAULT.iter().zip(1..).map(|(platform, n)| {
            let own = 1000 * (number as u64 + 1) + n;
            assemble(&ImageSpec {
                platform: *platform,
                created: Some(0),
                author: None,
                config: RunConfig { entrypoint: vec!["/own".into()], ..RunConfig::default() },
                layers: vec![layer(n, "base"), layer(own, "own")],
                annotations: BTreeMap::new(),
            })
            .unwrap()
        });
        let image = join(images.collect(), BTreeMap::new()).unwrap();
        tagged.push(Tagged { tags: vec![format!("v1-{variant}"), format!("v1.2-{variant}")], image });
    }
    write_layout(&folder.join("out"), &tagged, &store).unwrap();
    Layout::open(folder.join("out")).unwrap()
}

/// Everything that a layout's tags need, manifests and blobs, with the repository they shall be in.
pub(crate) fn everything(layout: &Layout, repository: &str) -> Vec<(String, Digest)> {
    let blobs = BlobStore::at(layout.dir()).list().unwrap();
    blobs.into_iter().map(|(digest, _)| (repository.to_owned(), digest)).collect()
}

/// The bytes of all blobs that are no manifests or indexes.
pub(crate) fn blob_bytes(layout: &Layout) -> u64 {
    let mut blobs = BTreeMap::new();
    for (tag, _) in layout.tags() {
        for platform in layout.platforms(tag).unwrap() {
            let image = layout.image(tag, platform).unwrap();
            blobs.extend(image.layers.iter().chain([&image.config]).map(|blob| (blob.digest, blob.size)));
        }
    }
    blobs.values().sum()
}

/// Settings for tests: nothing waits long.
pub(crate) fn hasty() -> Options {
    Options {
        first_wait: Duration::from_millis(1),
        stalled_after: Duration::from_secs(5),
        concurrency: 2,
        ..Options::default()
    }
}

pub(crate) fn client(options: Options) -> Client {
    Client::new(options, Keychain::anonymous()).unwrap()
}

pub(crate) fn repository(registry: &str, path: &str) -> Repository {
    format!("{registry}/{path}").parse().unwrap()
}

/// Pushes all of a layout into a repository.
pub(crate) async fn push(client: &Client, layout: &Layout, to: &Repository) -> Result<Pushed, RegistryError> {
    let release = Release::of_layout(layout, to).unwrap();
    client.push(&release, &PushOptions::default(), Arc::new(())).await
}
