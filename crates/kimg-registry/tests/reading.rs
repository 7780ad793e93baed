//! What registries may do and do not have to when something is read: parts, pages, referrers; and what they may not.

#![expect(clippy::unwrap_used, reason = "a test that can't be set up has failed")]

mod made;

use std::sync::Arc;

use kimg_core::{Classified as _, Digest, ErrorClass, Platform};
use kimg_image::media_type;
use kimg_layer::BlobStore;
use kimg_registry::{Artifact, Options, Reference};
use kimg_testkit::{Misbehaviour, PeerRequest, PeerSetup, RegistryPeer, tempdir};
use made::{blob_bytes, client, hasty, layout, push, repository};

fn peer() -> RegistryPeer {
    RegistryPeer::new(PeerSetup::default())
}

fn count(peer: &RegistryPeer, test: impl Fn(&PeerRequest) -> bool) -> usize {
    peer.requests().iter().filter(|request| test(request)).count()
}

#[tokio::test]
async fn a_download_that_breaks_off_goes_on_where_it_ended() {
    let folder = tempdir().unwrap();
    let layout = layout(folder.path(), &["plain"], 300_000);
    for parts in [true, false] {
        let peer = RegistryPeer::new(PeerSetup { parts, ..PeerSetup::default() });
        let client = client(Options { concurrency: 1, ..hasty() });
        let to = repository(&peer.name(), "a");
        push(&client, &layout, &to).await.unwrap();
        let reference = to.tagged("v1-plain".parse().unwrap());
        for nth in 1..=13 {
            peer.at(nth, Misbehaviour::Cut);
            let store = BlobStore::open(folder.path().join(format!("{parts}-{nth}"))).unwrap();
            let pulled = client.pull(&reference, None, &store, Arc::new(())).await.unwrap();
            assert_eq!(pulled.fetched_bytes, blob_bytes(&layout));
            peer.behave();
        }
        let partial = count(&peer, |it| it.headers.contains_key("range") && it.status == 206);
        assert_eq!(partial > 0, parts);
    }
}

#[tokio::test]
async fn what_comes_otherwise_than_it_should_is_refused_and_not_kept() {
    let peer = peer();
    let folder = tempdir().unwrap();
    let layout = layout(folder.path(), &["plain"], 10_000);
    let client = client(Options { concurrency: 1, ..hasty() });
    let to = repository(&peer.name(), "a");
    push(&client, &layout, &to).await.unwrap();
    let reference = to.tagged("v1-plain".parse().unwrap());
    for nth in 1..=13 {
        for fault in [Misbehaviour::Flip, Misbehaviour::WrongDigest] {
            let manifest = nth <= 4;
            let wrong = fault == Misbehaviour::Flip || manifest;
            peer.at(nth, fault);
            let store = BlobStore::open(folder.path().join(format!("pull-{nth}"))).unwrap();
            let result = client.pull(&reference, None, &store, Arc::new(())).await;
            if wrong {
                let class = result.unwrap_err().class();
                assert!(
                    matches!(class, ErrorClass::Verification | ErrorClass::Malformed),
                    "{nth}: {class:?}"
                );
            }
            for (digest, size) in store.list().unwrap() {
                store.copy_to(digest, size, std::io::sink()).unwrap();
            }
            peer.behave();
        }
    }
}

#[tokio::test]
async fn tags_come_in_pages_and_all_of_them_are_read() {
    let peer = RegistryPeer::new(PeerSetup { page: 3, ..PeerSetup::default() });
    let folder = tempdir().unwrap();
    let layout = layout(folder.path(), &["a", "b", "c", "d"], 100);
    let to = repository(&peer.name(), "a");
    let client = client(hasty());
    push(&client, &layout, &to).await.unwrap();
    assert_eq!(client.tags(&to).await.unwrap().len(), 8);
    let missing = client.manifest(&to.tagged("nothing".parse().unwrap())).await.unwrap_err();
    assert!(missing.is_not_found() && missing.class() == ErrorClass::Unresolvable);
}

#[tokio::test]
async fn referrers_are_noted_by_the_registry_or_by_a_tag() {
    let folder = tempdir().unwrap();
    let layout = layout(folder.path(), &["plain"], 100);
    for referrers in [true, false] {
        let peer = RegistryPeer::new(PeerSetup { referrers, ..PeerSetup::default() });
        let to = repository(&peer.name(), "a");
        let client = client(hasty());
        push(&client, &layout, &to).await.unwrap();
        let image = to.tagged("v1-plain".parse().unwrap());
        let artifact = Artifact { artifact_type: "text/x-note".into(), ..Artifact::default() };
        let pushed = client.push_referrer(&image, &artifact).await.unwrap();
        let listed = client.referrers(&image).await.unwrap();
        assert_eq!(listed.iter().map(|it| it.digest).collect::<Vec<_>>(), [pushed.digest]);
        assert_eq!(listed[0].other["artifactType"], "text/x-note");
        let tag = format!("sha256-{}", layout.tags()["v1-plain"].digest.hex());
        assert_eq!(peer.tags("a").contains_key(&tag), !referrers);
        let again = client.manifest(&to.at(pushed.digest)).await.unwrap();
        let again: serde_json::Value = serde_json::from_slice(&again.bytes).unwrap();
        assert_eq!(again["subject"]["digest"], layout.tags()["v1-plain"].digest.to_string());
    }
}

#[tokio::test]
async fn verifying_finds_what_is_wrong_within_an_image() {
    let folder = tempdir().unwrap();
    let layout = layout(folder.path(), &["plain"], 10_000);
    let client = client(hasty());
    let name: fn(&RegistryPeer) -> Reference =
        |peer| repository(&peer.name(), "a").tagged("v1-plain".parse().unwrap());
    let image = layout.image("v1-plain", Platform::ArmV7).unwrap();
    let findings = async |spoil: &dyn Fn(&RegistryPeer)| {
        let peer = peer();
        push(&client, &layout, &repository(&peer.name(), "a")).await.unwrap();
        spoil(&peer);
        let verified = client.verify(&name(&peer), Arc::new(())).await.unwrap();
        verified.findings.into_iter().map(|it| format!("{} {}", it.digest, it.problem)).collect::<Vec<_>>()
    };
    assert_eq!(findings(&|_| ()).await, Vec::<String>::new());
    let layer = image.layers[1].clone();
    let bytes = layout.read_blob(&layer, 1 << 20).unwrap();
    let mut other = bytes.clone();
    other[5000] ^= 1;
    let found = findings(&|peer| peer.put_blob("a", layer.digest, &other)).await;
    assert!(found.len() == 1 && found[0].contains("its bytes have the digest"), "{found:?}");
    let found = findings(&|peer| peer.put_blob("a", layer.digest, &bytes[1..])).await;
    assert!(found.len() == 1 && found[0].contains("expected"), "{found:?}");
    // A manifest that names the layers the wrong way round: every digest is good, and the image is not.
    let swapped = |peer: &RegistryPeer| {
        let text =
            String::from_utf8(peer.manifest("a", &image.descriptor.digest.to_string()).unwrap()).unwrap();
        let mut value: serde_json::Value = serde_json::from_str(&text).unwrap();
        value["layers"].as_array_mut().unwrap().reverse();
        let bytes = value.to_string().into_bytes();
        let digest = peer.put_manifest("a", &Digest::of(&bytes).to_string(), media_type::MANIFEST, &bytes);
        let index = serde_json::json!({ "schemaVersion": 2, "mediaType": media_type::INDEX, "manifests": [{
            "mediaType": media_type::MANIFEST, "digest": digest.to_string(), "size": bytes.len(),
            "platform": { "os": "linux", "architecture": "amd64" },
        }] });
        peer.put_manifest("a", "v1-plain", media_type::INDEX, index.to_string().as_bytes());
    };
    let found = findings(&swapped).await;
    assert_eq!(found.len(), 3, "{found:?}");
    assert_eq!(found.iter().filter(|it| it.contains("and its config says")).count(), 2, "{found:?}");
    assert!(
        found.iter().any(|it| it.contains("its index says linux/amd64, its config linux/arm/v7")),
        "{found:?}"
    );
}
