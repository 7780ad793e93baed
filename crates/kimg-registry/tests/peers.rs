//! What registries may do and do not have to when something is pushed: mounting, chunks, waits.

#![expect(clippy::unwrap_used, reason = "a test that can't be set up has failed")]

mod made;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use kimg_core::{Classified as _, Digest, ErrorClass, Platform};
use kimg_image::media_type;
use kimg_layer::BlobStore;
use kimg_registry::{
    Client, Credentials, Journal, Keychain, Options, Progress, PushOptions, RegistryError, Release, Secret,
    Tally,
};
use kimg_testkit::{Misbehaviour, PeerAuth, PeerRequest, PeerSetup, RegistryPeer, tempdir};
use made::{blob_bytes, client, hasty, layout, push, repository};

fn peer() -> RegistryPeer {
    RegistryPeer::new(PeerSetup::default())
}

fn count(peer: &RegistryPeer, test: impl Fn(&PeerRequest) -> bool) -> usize {
    peer.requests().iter().filter(|request| test(request)).count()
}

#[tokio::test]
async fn of_five_variants_each_shared_blob_is_sent_once() {
    let peer = peer();
    let folder = tempdir().unwrap();
    let layout = layout(folder.path(), &["plain", "flannel", "cni", "kubeadm", "kubeadm-cni"], 20_000);
    let to = repository(&peer.name(), "acme/kubelet");
    let tally = Arc::new(Mutex::new(Tally::default()));
    let (shared, events) = (Arc::clone(&tally), Arc::new(Mutex::new(Vec::new())));
    let seen = Arc::clone(&events);
    let watch = Arc::new(move |progress: &Progress| {
        shared.lock().unwrap().take(progress);
        seen.lock().unwrap().push(progress.clone());
    });
    let release = Release::of_layout(&layout, &to).unwrap();
    let pushed = client(hasty()).push(&release, &PushOptions::default(), watch).await.unwrap();
    assert_eq!((pushed.sent, pushed.manifests, pushed.moved), (3 + 15 + 15, 15 + 5, 10));
    for (digest, _) in BlobStore::at(layout.dir()).list().unwrap() {
        assert!(peer.came(digest) <= 1, "{digest} came {} times", peer.came(digest));
    }
    assert_eq!(peer.received(), blob_bytes(&layout));
    let tally = tally.lock().unwrap();
    assert_eq!((tally.done(), tally.total), (blob_bytes(&layout), blob_bytes(&layout)));
    let events = events.lock().unwrap();
    let place = |test: &dyn Fn(&Progress) -> bool| {
        let found = events.iter().enumerate().filter(|(_, event)| test(event)).map(|(n, _)| n);
        found.fold((usize::MAX, 0), |(first, last), n| (first.min(n), last.max(n)))
    };
    let blobs = place(&|it| matches!(it, Progress::Blob { .. }));
    let manifests = place(&|it| matches!(it, Progress::Manifest(_)));
    let compared = place(&|it| matches!(it, Progress::Compared { .. }));
    let tags = place(&|it| matches!(it, Progress::Tagged { .. }));
    assert!(blobs.1 < manifests.0 && manifests.1 < compared.0 && compared.1 < tags.0);
}

#[tokio::test]
async fn a_mount_names_its_source_in_the_scope_and_a_refused_one_is_used_as_an_upload() {
    let auth = PeerAuth::Token("kimg".into(), "hunter2-of-mounts".into());
    for mounts in [true, false] {
        let peer = RegistryPeer::new(PeerSetup { auth: auth.clone(), mounts, ..PeerSetup::default() });
        let credentials =
            Credentials::Basic { username: "kimg".into(), password: Secret::new("hunter2-of-mounts") };
        let client = Client::new(hasty(), Keychain::anonymous().with(&peer.name(), credentials)).unwrap();
        let folder = tempdir().unwrap();
        let layout = layout(folder.path(), &["plain"], 5000);
        let one = repository(&peer.name(), "acme/kubelet");
        let journal = Journal::open(folder.path().join("journal")).unwrap();
        let options = PushOptions { journal: Some(&journal), ..PushOptions::default() };
        client.push(&Release::of_layout(&layout, &one).unwrap(), &options, Arc::new(())).await.unwrap();
        peer.forget();
        // That the first one has the blobs is in the journal.
        let two = repository(&peer.name(), "other/kubelet");
        let pushed =
            client.push(&Release::of_layout(&layout, &two).unwrap(), &options, Arc::new(())).await.unwrap();
        let posts = count(&peer, |it| it.method == "POST" && it.path.ends_with("/uploads/"));
        assert_eq!((pushed.mounted, pushed.sent, posts), if mounts { (9, 0, 9) } else { (0, 9, 9) });
        let token = peer.requests().into_iter().find(|it| it.path == "/token" && it.query.len() > 2).unwrap();
        let scopes: Vec<&str> =
            token.query.iter().filter(|(key, _)| key == "scope").map(|(_, value)| value.as_str()).collect();
        assert_eq!(scopes, ["repository:other/kubelet:pull,push", "repository:acme/kubelet:pull"]);
    }
}

#[tokio::test]
async fn a_registry_that_takes_no_chunks_or_only_one_gets_the_whole() {
    let folder = tempdir().unwrap();
    let layout = layout(folder.path(), &["plain"], 50_000);
    for chunks in [0, 1] {
        let peer = RegistryPeer::new(PeerSetup { chunks, ..PeerSetup::default() });
        let options = Options { chunk_above: 10_000, chunk: 20_000, attempts: 1, ..hasty() };
        push(&client(options), &layout, &repository(&peer.name(), "a")).await.unwrap();
        assert_eq!(count(&peer, |it| it.method == "PATCH"), 6 * (usize::try_from(chunks).unwrap() + 1));
        assert_eq!(peer.broken(), Vec::<String>::new());
    }
}

#[tokio::test]
async fn chunks_are_as_large_as_the_registry_asks_for() {
    let peer = RegistryPeer::new(PeerSetup { smallest_chunk: 30_000, ..PeerSetup::default() });
    let folder = tempdir().unwrap();
    let layout = layout(folder.path(), &["plain"], 50_000);
    let options = Options { chunk_above: 10_000, chunk: 5_000, ..hasty() };
    push(&client(options), &layout, &repository(&peer.name(), "a")).await.unwrap();
    let sizes: Vec<u64> =
        peer.requests().into_iter().filter(|it| it.method == "PATCH").map(|it| it.body).collect();
    assert_eq!(sizes.len(), 12, "six layers in two chunks each");
    assert!(sizes.iter().filter(|size| **size == 30_000).count() == 6, "{sizes:?}");
}

#[tokio::test]
async fn an_upload_that_breaks_off_goes_on_where_the_registry_has_it() {
    let folder = tempdir().unwrap();
    let layout = layout(folder.path(), &["plain"], 200_000);
    let all = blob_bytes(&layout);
    for keeps_partial in [true, false] {
        let peer = RegistryPeer::new(PeerSetup { keeps_partial, ..PeerSetup::default() });
        let options = Options { chunk_above: 10_000, chunk: 50_000, concurrency: 1, ..hasty() };
        let client = client(options);
        let to = repository(&peer.name(), "a");
        client.head(&to.tagged("x".parse().unwrap())).await.unwrap();
        // Past the questions, into the second chunk of the second blob.
        let before = 2 + 4 + 9 + 1 + 7 + 2;
        peer.at(before, Misbehaviour::ResetMidway);
        push(&client, &layout, &to).await.unwrap();
        assert_eq!(peer.felt(), 1);
        let again = peer.received() - all;
        if keeps_partial {
            assert_eq!(again, 0, "every byte came once");
        } else {
            assert!(again > 0 && again < 120_000, "one blob began again: {again}");
        }
    }
}

#[tokio::test]
async fn what_a_registry_says_about_waiting_comes_before_ones_own_idea_of_it() {
    let peer = peer();
    let folder = tempdir().unwrap();
    let layout = layout(folder.path(), &["plain"], 1000);
    for (nth, status) in [(3, 429), (12, 503), (30, 429)] {
        peer.at(nth, Misbehaviour::Status(status, vec![("Retry-After", "0".to_owned())]));
    }
    // Left to itself, it would wait for an hour.
    let options = Options { first_wait: Duration::from_secs(3600), ..hasty() };
    push(&client(options), &layout, &repository(&peer.name(), "a")).await.unwrap();
    assert_eq!(peer.felt(), 3);
}

#[tokio::test]
async fn a_large_upload_may_take_long_as_long_as_it_moves() {
    let peer = peer();
    let folder = tempdir().unwrap();
    let layout = layout(folder.path(), &["plain"], 1000);
    peer.from(1, Misbehaviour::Drip(Duration::from_millis(2)));
    let options = Options { stalled_after: Duration::from_millis(200), attempts: 1, ..hasty() };
    push(&client(options), &layout, &repository(&peer.name(), "a")).await.unwrap();
}

#[tokio::test]
async fn formats_that_are_mixed_are_not_pushed() {
    let peer = peer();
    let folder = tempdir().unwrap();
    let store = BlobStore::open(folder.path()).unwrap();
    let config = br#"{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]}}"#;
    store.put_bytes(config).unwrap();
    let manifest = serde_json::json!({
        "schemaVersion": 2, "mediaType": media_type::MANIFEST, "layers": [],
        "config": {
            "mediaType": "application/vnd.docker.container.image.v1+json",
            "digest": Digest::of(config).to_string(), "size": config.len(),
        },
    });
    let bytes = manifest.to_string().into_bytes();
    store.put_bytes(&bytes).unwrap();
    let top = kimg_image::Descriptor::of(media_type::MANIFEST, &bytes);
    let release = Release::new().add(&store, top, repository(&peer.name(), "a"), ["v1".parse().unwrap()]);
    let error = client(hasty()).push(&release, &PushOptions::default(), Arc::new(())).await.unwrap_err();
    assert!(matches!(error, RegistryError::Release(_)), "{error}");
    assert!(peer.requests().iter().all(|it| it.method != "PUT"));
}

#[tokio::test]
async fn a_layout_that_is_damaged_is_noticed_before_a_tag_moves() {
    let folder = tempdir().unwrap();
    let layout = layout(folder.path(), &["plain"], 10_000);
    let image = layout.image("v1-plain", Platform::Amd64).unwrap();
    let blob = BlobStore::at(layout.dir()).path(image.layers[1].digest);
    let good = fs_err::read(&blob).unwrap();
    let mut flipped = good.clone();
    flipped[4000] ^= 1;
    for bytes in [&flipped[..], &good[1..]] {
        fs_err::write(&blob, bytes).unwrap();
        let peer = peer();
        let error = push(&client(hasty()), &layout, &repository(&peer.name(), "a")).await.unwrap_err();
        assert_eq!(error.class(), ErrorClass::Verification, "{error}");
        assert!(error.to_string().contains("damaged"), "{error}");
        assert!(peer.tags("a").is_empty());
    }
}

#[tokio::test]
async fn two_names_in_a_layout_go_to_two_repositories_or_one_of_them_does() {
    let peer = peer();
    let folder = tempdir().unwrap();
    let made = layout(&folder.path().join("made"), &["plain"], 100);
    let store = BlobStore::at(made.dir());
    let images = Platform::DEFAULT.map(|platform| {
        let image = made.image("v1-plain", platform).unwrap();
        kimg_image::Image {
            platform,
            config: made.read_blob(&image.config, 1 << 20).unwrap(),
            config_descriptor: image.config,
            manifest: made.read_blob(&image.descriptor, 1 << 20).unwrap(),
            descriptor: image.descriptor,
            layers: image.layers,
        }
    });
    let image = kimg_image::join(images.to_vec(), [].into()).unwrap();
    let tags = vec!["kubelet:v1".to_owned(), "kubelet:v1.2".to_owned(), "kube-proxy:v1".to_owned()];
    let out = folder.path().join("both");
    kimg_image::write_layout(&out, &[kimg_image::Tagged { tags, image }], &store).unwrap();
    let both = kimg_image::Layout::open(&out).unwrap();
    let above = repository(&peer.name(), "acme");
    let release = Release::below(&both, &above).unwrap();
    let names: Vec<String> = release.references().iter().map(ToString::to_string).collect();
    let expected = ["kube-proxy:v1", "kubelet:v1", "kubelet:v1.2"].map(|name| format!("{above}/{name}"));
    assert_eq!(names, expected);
    let pushed = client(hasty()).push(&release, &PushOptions::default(), Arc::new(())).await.unwrap();
    assert_eq!((pushed.sent, pushed.mounted), (9, 9), "each blob is sent once, and taken over once");
    let one = Release::of_layout(&both, &repository(&peer.name(), "me/kubelet")).unwrap();
    assert_eq!(one.references().len(), 2, "the other name is not the repository's");
    assert_eq!(one.without_tags().references().len(), 1);
}
