//! Artifacts under a tag: written only over what was read, of blobs that are sent, taken over or there.

#![expect(clippy::unwrap_used, reason = "a test that can't be set up has failed")]

mod made;

use std::sync::Arc;

use kimg_core::{Classified as _, Digest, ErrorClass};
use kimg_image::{Descriptor, media_type};
use kimg_layer::BlobStore;
use kimg_registry::{How, Reference, RegistryError, Watch};
use kimg_testkit::{DockerRegistry, Misbehaviour, PeerSetup, RegistryPeer, run, tempdir, tool};
use made::{client, hasty, repository};

const KIND: &str = "application/vnd.example.things.v1+json";

fn descriptor(bytes: &[u8]) -> Descriptor {
    Descriptor::of("application/vnd.example.thing", bytes)
}

#[tokio::test]
async fn debians_registry_and_skopeo_take_an_artifact_as_it_was_written() {
    let Some(registry) = DockerRegistry::plain() else { return };
    let (client, folder) = (client(hasty()), tempdir().unwrap());
    let store = BlobStore::open(folder.path()).unwrap();
    let sent = [store.put_bytes(b"a thing").unwrap()];
    let reference: Reference = format!("{}/acme/things:cache", registry.name()).parse().unwrap();
    assert_eq!(client.artifact(&reference).await.unwrap(), None);
    let watch: Arc<dyn Watch> = Arc::new(());
    let upload = client.upload_blobs(reference.repository(), &sent, &store, &[], &watch);
    assert_eq!(upload.await.unwrap(), [How::Sent]);
    let blobs = [descriptor(b"a thing")];
    let written = client.tag_artifact(&reference, KIND, &blobs, None).await.unwrap().unwrap();
    let found = client.artifact(&reference).await.unwrap().unwrap();
    assert_eq!(
        (found.descriptor, &*found.artifact_type, &found.blobs[..]),
        (written.clone(), KIND, &blobs[..])
    );
    assert_eq!(client.small_blob(reference.repository(), &blobs[0]).await.unwrap(), b"a thing");

    let Some(skopeo) = tool("skopeo") else { return };
    let mut inspect = std::process::Command::new(skopeo);
    inspect.args(["inspect", "--raw", "--tls-verify=false"]).arg(format!("docker://{reference}"));
    assert_eq!(Digest::of(run(&mut inspect)), written.digest);
}

#[tokio::test]
async fn a_tag_that_was_set_since_it_was_read_is_left_as_it_is() {
    let peer = RegistryPeer::new(PeerSetup::default());
    let client = client(hasty());
    let to = repository(&peer.name(), "acme/things");
    let reference = to.tagged("cache".parse().unwrap());
    for bytes in [&b"one"[..], b"two"] {
        peer.put_blob("acme/things", Digest::of(bytes), bytes);
    }
    let (one, two) = ([descriptor(b"one")], [descriptor(b"two")]);
    let first = client.tag_artifact(&reference, KIND, &one, None).await.unwrap().unwrap();
    assert_eq!(client.tag_artifact(&reference, KIND, &two, None).await.unwrap(), None);
    assert_eq!(client.head(&reference).await.unwrap(), Some(first.digest));
    let second = client.tag_artifact(&reference, KIND, &two, Some(first.digest)).await.unwrap().unwrap();
    assert_eq!(client.head(&reference).await.unwrap(), Some(second.digest));
    assert!(peer.broken().is_empty(), "{:?}", peer.broken());

    let error = client.tag_artifact(&to.at(first.digest), KIND, &one, None).await.unwrap_err();
    assert_eq!(error.class(), ErrorClass::Usage);
}

#[tokio::test]
async fn an_image_is_no_artifact() {
    let peer = RegistryPeer::new(PeerSetup::default());
    let reference = repository(&peer.name(), "acme/things").tagged("cache".parse().unwrap());
    for bytes in
        [&br#"{"schemaVersion":2,"config":{},"layers":[]}"#[..], br#"{"schemaVersion":1,"artifactType":"x"}"#]
    {
        peer.put_manifest("acme/things", "cache", media_type::MANIFEST, bytes);
        let error = client(hasty()).artifact(&reference).await.unwrap_err();
        assert!(matches!(error, RegistryError::Malformed { .. }), "{error}");
    }
}

#[tokio::test]
async fn one_blob_that_is_wrong_does_not_keep_the_others_and_a_registry_that_is_gone_is_not_asked_for_each() {
    let peer = RegistryPeer::new(PeerSetup::default());
    let from = repository(&peer.name(), "acme/things");
    let blobs: Vec<(Digest, u64)> = ["one", "two", "six"].map(|it| (Digest::of(it), 3)).into();
    peer.put_blob("acme/things", blobs[0].0, b"one");
    peer.put_blob("acme/things", blobs[1].0, b"wto");
    let (client, folder) = (client(kimg_registry::Options { concurrency: 1, ..hasty() }), tempdir().unwrap());
    let store = BlobStore::open(folder.path()).unwrap();
    let watch: Arc<dyn Watch> = Arc::new(());
    let fetched = client.fetch_blobs(&from, &blobs, &store, &watch).await.unwrap();
    assert!(fetched[0].is_ok(), "{fetched:?}");
    assert!(matches!(fetched[1], Err(RegistryError::Mismatch { .. })), "{fetched:?}");
    assert!(matches!(fetched[2], Err(RegistryError::NotFound { .. })), "{fetched:?}");
    assert_eq!(store.list().unwrap(), [blobs[0]]);
    // Of another size is as good as missing.
    let asked = [blobs[0], (blobs[1].0, 4), blobs[2]];
    assert_eq!(client.missing_blobs(&from, &asked).await.unwrap(), [blobs[1].0, blobs[2].0]);

    store.remove(blobs[0].0).unwrap();
    peer.forget();
    peer.from(1, Misbehaviour::Reset);
    let fetched = client.fetch_blobs(&from, &blobs, &store, &watch).await.unwrap();
    assert!(fetched.iter().all(|it| matches!(it, Err(RegistryError::Network { .. }))), "{fetched:?}");
    assert!(
        peer.requests().iter().all(|it| it.path.contains(&blobs[0].0.to_string())),
        "{:?}",
        peer.requests()
    );
}
