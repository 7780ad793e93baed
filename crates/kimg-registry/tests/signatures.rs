//! Signatures beside images: those that hold, those that do not, and cosign as the judge of both.

#![expect(clippy::unwrap_used, reason = "a test that can't be set up has failed")]

mod made;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use fs_err as fs;
use kimg_core::{Classified as _, Digest, ErrorClass};
use kimg_image::{Descriptor, Layout, media_type};
use kimg_registry::{Client, Reference, RegistryError, Repository, Signing};
use kimg_sign::{
    Attached, Kind, Payload, SigningKey, Statement, SystemRandom, VerifyingKey, generate_key_pair,
};
use kimg_testkit::{DockerRegistry, PeerSetup, RegistryPeer, TempDir, both, output, tempdir, tool};
use made::{client, hasty, layout, push, repository};

fn key() -> SigningKey {
    let pair = generate_key_pair(None, &SystemRandom::new()).unwrap();
    SigningKey::from_pem(pair.private.as_bytes(), None).unwrap()
}

/// A registry with one pushed release, and who may sign it.
struct Scene {
    client: Client,
    layout: Layout,
    repository: Repository,
    _folder: TempDir,
}

impl Scene {
    async fn at(registry: &str) -> Self {
        let folder = tempdir().unwrap();
        let layout = layout(folder.path(), &["plain"], 1000);
        let repository = repository(registry, "acme/kubelet");
        let client = client(hasty());
        push(&client, &layout, &repository).await.unwrap();
        Self { client, layout, repository, _folder: folder }
    }

    fn image(&self) -> Reference {
        format!("{}:v1-plain", self.repository).parse().unwrap()
    }

    fn index(&self) -> Digest {
        self.layout.tags()["v1-plain"].digest
    }

    async fn sign(&self, key: &SigningKey) -> Vec<kimg_registry::Signed> {
        let annotations = BTreeMap::new();
        let random = SystemRandom::new();
        let signing = Signing { key, name: None, annotations: &annotations, random: &random };
        self.client.sign(&self.image(), &signing).await.unwrap()
    }

    async fn refused(&self, key: &VerifyingKey) -> RegistryError {
        let error = self.client.verify_signed(&self.image(), key, None).await.unwrap_err();
        assert_eq!(error.class(), ErrorClass::Verification, "{error}");
        error
    }
}

fn peer() -> RegistryPeer {
    RegistryPeer::new(PeerSetup::default())
}

/// Puts a manifest of signatures there by hand.
fn plant(peer: &RegistryPeer, image: Digest, layers: &[(Descriptor, Vec<u8>)]) {
    for (layer, bytes) in layers {
        peer.put_blob("acme/kubelet", layer.digest, bytes);
    }
    let layers: Vec<_> = layers.iter().map(|(layer, _)| layer).collect();
    let config = Descriptor::of(media_type::CONFIG, b"{}");
    let manifest = serde_json::json!({ "schemaVersion": 2, "mediaType": media_type::MANIFEST, "config": config, "layers": layers });
    let tag = Kind::Signatures.tag(image);
    peer.put_manifest("acme/kubelet", &tag, media_type::MANIFEST, manifest.to_string().as_bytes());
}

/// A layer with what `key` says of `image` under the name `name`.
fn layer(key: &SigningKey, name: &str, image: Digest) -> (Descriptor, Vec<u8>) {
    let payload = Payload::new(name, image);
    let mut attached = Attached::nothing();
    attached.add_signature(&payload, &key.sign(payload.bytes(), &SystemRandom::new()).unwrap());
    (attached.layers()[0].clone(), payload.bytes().to_vec())
}

#[tokio::test]
async fn an_index_and_each_of_its_images_are_signed_once_and_found_signed() {
    let peer = peer();
    let scene = Scene::at(&peer.name()).await;
    let key = key();
    let signed = scene.sign(&key).await;
    assert!(signed.iter().all(|one| one.new), "{signed:?}");
    let platforms: Vec<_> = signed.iter().map(|one| one.platform.as_deref()).collect();
    assert_eq!(platforms.iter().flatten().count(), 3);
    assert_eq!((signed[3].digest, platforms[3]), (scene.index(), None));

    let tags = peer.tags("acme/kubelet");
    let tag = format!("sha256-{}.sig", scene.index().hex());
    let before = tags[&tag];
    let again = scene.sign(&key).await;
    assert!(again.iter().all(|one| !one.new), "{again:?}");
    assert_eq!(peer.tags("acme/kubelet")[&tag], before);

    let found = scene.client.verify_signed(&scene.image(), &key.verifying_key(), None).await.unwrap();
    assert_eq!(found.len(), 4);
    for one in found {
        let claim = one.claim.unwrap();
        assert_eq!((claim.digest, claim.reference), (one.digest, scene.repository.to_string()));
        assert_eq!(one.problems, Vec::<String>::new());
    }
}

#[tokio::test]
async fn signatures_of_others_stay_and_each_key_finds_its_own() {
    let peer = peer();
    let scene = Scene::at(&peer.name()).await;
    let (one, two) = (key(), key());
    scene.sign(&one).await;
    scene.sign(&two).await;
    assert_eq!(scene.client.signatures(&scene.image()).await.unwrap().len(), 2);
    for key in [&one, &two] {
        scene.client.verify_signed(&scene.image(), &key.verifying_key(), None).await.unwrap();
    }
    let stranger = scene.refused(&key().verifying_key()).await;
    assert!(stranger.to_string().contains("another key made it"), "{stranger}");
}

#[tokio::test]
async fn an_image_without_a_signature_is_refused_in_words() {
    let peer = peer();
    let scene = Scene::at(&peer.name()).await;
    let error = scene.refused(&key().verifying_key()).await;
    assert!(error.to_string().ends_with("is not signed by this key: it has no signature"), "{error}");
    assert!(error.to_string().contains(&scene.index().to_string()), "{error}");
}

#[tokio::test]
async fn a_good_signature_of_another_image_or_repository_is_none_of_this_one() {
    let peer = peer();
    let scene = Scene::at(&peer.name()).await;
    let key = key();
    let name = scene.repository.to_string();
    for (said, planted) in [
        ("is for sha256:", layer(&key, &name, Digest::of("an old image"))),
        ("is for an image of ghcr.io/evil/kubelet", layer(&key, "ghcr.io/evil/kubelet", scene.index())),
    ] {
        plant(&peer, scene.index(), &[planted]);
        let error = scene.refused(&key.verifying_key()).await;
        assert!(error.to_string().contains(said), "{error}");
    }
    // A copy of an image keeps the name it was signed with, and whoever says so finds it good.
    let origin: Repository = "ghcr.io/acme/origin".parse().unwrap();
    plant(&peer, scene.index(), &[layer(&key, "ghcr.io/acme/origin", scene.index())]);
    scene.refused(&key.verifying_key()).await;
    let found =
        scene.client.verify_signed(&scene.image(), &key.verifying_key(), Some(&origin)).await.unwrap();
    assert_eq!(found.iter().filter(|one| one.claim.is_some()).count(), 1, "only the index was signed");
}

#[tokio::test]
async fn what_was_tampered_with_does_not_hold_and_does_not_hide_a_good_one() {
    let peer = peer();
    let scene = Scene::at(&peer.name()).await;
    let key = key();
    let name = scene.repository.to_string();
    let good = layer(&key, &name, scene.index());
    let annotation = "dev.cosignproject.cosign/signature";

    // The payload of the good one for another image, with its signature.
    let payload = Payload::new(&name, Digest::of("evil")).bytes().to_vec();
    let mut tampered = (Descriptor::of(&good.0.media_type, &payload), payload);
    tampered.0.annotations.clone_from(&good.0.annotations);
    let mut truncated = good.clone();
    truncated.0.annotations.get_mut(annotation).unwrap().truncate(40);
    let mut without = good.clone();
    without.0.annotations.clear();
    let mut lying = good.clone();
    lying.0.size += 1;
    let mut endless = good.clone();
    endless.0.size = 1 << 40;
    let mut missing = good.clone();
    missing.0.digest = Digest::of("never sent");
    let foreign = (Descriptor { media_type: "text/plain".into(), ..good.0.clone() }, good.1.clone());
    let bad = [tampered, truncated, without, lying, endless, foreign];
    for one in &bad {
        plant(&peer, scene.index(), std::slice::from_ref(one));
        scene.refused(&key.verifying_key()).await;
    }
    let tag = Kind::Signatures.tag(scene.index());
    let config = Descriptor::of(media_type::CONFIG, b"{}");
    let lost = serde_json::json!({ "schemaVersion": 2, "mediaType": media_type::MANIFEST, "config": config, "layers": [missing.0] });
    peer.put_manifest("acme/kubelet", &tag, media_type::MANIFEST, lost.to_string().as_bytes());
    scene.refused(&key.verifying_key()).await;

    let all: Vec<_> = bad.into_iter().chain([good.clone(), good.clone(), good]).collect();
    plant(&peer, scene.index(), &all);
    let found = scene.client.verify_signed(&scene.image(), &key.verifying_key(), None).await.unwrap();
    assert!(found.last().unwrap().claim.is_some());
    peer.forget();
    scene.client.signatures(&scene.image()).await.unwrap();
    let fetched = peer.requests().iter().filter(|it| it.path.contains("/blobs/")).count();
    assert!(fetched <= 4, "one signature listed three times is fetched once: {fetched}");
}

#[tokio::test]
async fn a_manifest_of_signatures_that_is_huge_or_none_is_refused() {
    let peer = peer();
    let scene = Scene::at(&peer.name()).await;
    let key = key().verifying_key();
    let tag = Kind::Signatures.tag(scene.index());
    let one = layer(&self::key(), "a", scene.index()).0;
    let config = Descriptor::of(media_type::CONFIG, b"{}");
    let manifest = |layers: Vec<&Descriptor>, padding: usize| {
        serde_json::json!({
            "schemaVersion": 2, "mediaType": media_type::MANIFEST, "config": config, "layers": layers,
            "annotations": { "padding": "x".repeat(padding) },
        })
        .to_string()
    };
    peer.put_manifest("acme/kubelet", &tag, media_type::MANIFEST, manifest(vec![&one; 1001], 0).as_bytes());
    let error = scene.refused(&key).await;
    assert!(error.to_string().contains("more than 1000 layers"), "{error}");
    peer.put_manifest("acme/kubelet", &tag, media_type::MANIFEST, manifest(vec![], 5 << 20).as_bytes());
    let error = scene.client.verify_signed(&scene.image(), &key, None).await.unwrap_err();
    assert_eq!(error.class(), ErrorClass::Limit, "{error}");
}

#[tokio::test]
async fn two_who_sign_at_once_both_stay() {
    let peer = peer();
    let scene = Scene::at(&peer.name()).await;
    let (one, two) = (key(), key());
    tokio::join!(scene.sign(&one), scene.sign(&two));
    for key in [&one, &two] {
        scene.client.verify_signed(&scene.image(), &key.verifying_key(), None).await.unwrap();
    }
}

#[tokio::test]
async fn a_statement_is_put_there_once_and_believed_only_from_its_signer() {
    let peer = peer();
    let scene = Scene::at(&peer.name()).await;
    let (key, annotations, random) = (key(), BTreeMap::new(), SystemRandom::new());
    let signing = Signing { key: &key, name: None, annotations: &annotations, random: &random };
    let say = |digest| {
        let predicate = serde_json::json!({ "spdxVersion": "SPDX-2.3" });
        Statement::new(&scene.repository.to_string(), digest, "https://spdx.dev/Document", predicate)
            .to_json()
    };
    let statement = say(scene.index());
    assert!(scene.client.attest(&scene.image(), &statement, &signing).await.unwrap());
    assert!(!scene.client.attest(&scene.image(), &statement, &signing).await.unwrap());
    let known = scene.client.attestations(&scene.image(), &key.verifying_key()).await.unwrap();
    assert_eq!(known.iter().map(|it| &it.bytes).collect::<Vec<_>>(), [&statement]);
    let stranger = self::key().verifying_key();
    assert_eq!(scene.client.attestations(&scene.image(), &stranger).await.unwrap(), []);
    let error = scene.client.attest(&scene.image(), &say(Digest::of("x")), &signing).await.unwrap_err();
    assert_eq!(error.class(), ErrorClass::Verification, "{error}");
}

/// Cosign, with a home of its own and nothing to ask for on a terminal.
fn cosign(folder: &Path) -> Option<impl Fn(&[&str]) -> Result<String, String>> {
    let cosign = tool("cosign")?;
    let folder = folder.to_owned();
    Some(move |arguments: &[&str]| {
        let mut command = Command::new(&cosign);
        command
            .current_dir(&folder)
            .env("HOME", &folder)
            .env("COSIGN_PASSWORD", "a password")
            .args(arguments);
        let done = output(&mut command);
        if done.status.success() { Ok(both(&done)) } else { Err(both(&done)) }
    })
}

const LOCAL: [&str; 3] = ["--allow-insecure-registry", "--allow-http-registry", "--key"];

#[tokio::test]
async fn cosign_verifies_what_kimg_signed_and_nothing_else() {
    let Some(registry) = DockerRegistry::plain() else { return };
    let folder = tempdir().unwrap();
    let Some(cosign) = cosign(folder.path()) else { return };
    let scene = Scene::at(&registry.name()).await;
    let (key, other) = (key(), key());
    fs::write(folder.path().join("kimg.pub"), key.verifying_key().to_pem()).unwrap();
    fs::write(folder.path().join("stranger.pub"), self::key().verifying_key().to_pem()).unwrap();
    let verify = |public: &str, digest: Digest, more: &[&str]| {
        let image = format!("{}@{digest}", scene.repository);
        let begin = ["verify", "--insecure-ignore-tlog=true"];
        cosign(&[&begin, &LOCAL[..], &[public], more, &[image.as_str()]].concat())
    };
    let said = verify("kimg.pub", scene.index(), &[]).unwrap_err();
    assert!(said.contains("no signatures found"), "{said}");
    scene.sign(&other).await;
    verify("kimg.pub", scene.index(), &[]).unwrap_err();

    let annotations = BTreeMap::from([("git".to_owned(), "abc".to_owned())]);
    let random = SystemRandom::new();
    let signing = Signing { key: &key, name: None, annotations: &annotations, random: &random };
    let signed = scene.client.sign(&scene.image(), &signing).await.unwrap();
    assert_eq!(signed.len(), 4);
    for one in signed {
        let said = verify("kimg.pub", one.digest, &["-a", "git=abc"]).unwrap();
        assert!(said.contains(&format!(r#""docker-manifest-digest":"{}""#, one.digest)), "{said}");
        verify("kimg.pub", one.digest, &["-a", "git=abd"]).unwrap_err();
        verify("stranger.pub", one.digest, &[]).unwrap_err();
    }
}

#[tokio::test]
async fn cosign_believes_the_statements_that_kimg_signed() {
    let Some(registry) = DockerRegistry::plain() else { return };
    let folder = tempdir().unwrap();
    let Some(cosign) = cosign(folder.path()) else { return };
    let scene = Scene::at(&registry.name()).await;
    let (key, annotations, random) = (key(), BTreeMap::new(), SystemRandom::new());
    fs::write(folder.path().join("kimg.pub"), key.verifying_key().to_pem()).unwrap();
    let signing = Signing { key: &key, name: None, annotations: &annotations, random: &random };
    for (kind, short) in
        [("https://spdx.dev/Document", "spdxjson"), ("https://slsa.dev/provenance/v1", "slsaprovenance1")]
    {
        let predicate = serde_json::json!({ "spdxVersion": "SPDX-2.3" });
        let statement = Statement::new(&scene.repository.to_string(), scene.index(), kind, predicate);
        scene.client.attest(&scene.image(), &statement.to_json(), &signing).await.unwrap();
        let image = format!("{}@{}", scene.repository, scene.index());
        let begin = ["verify-attestation", "--insecure-ignore-tlog=true", "--type", short];
        let verify = |public: &str| cosign(&[&begin, &LOCAL[..], &[public, image.as_str()]].concat());
        verify("kimg.pub").unwrap();
        fs::write(folder.path().join("stranger.pub"), self::key().verifying_key().to_pem()).unwrap();
        verify("stranger.pub").unwrap_err();
    }
}

#[tokio::test]
async fn keys_and_signatures_go_to_cosign_and_come_from_it() {
    let Some(registry) = DockerRegistry::plain() else { return };
    let folder = tempdir().unwrap();
    let Some(cosign) = cosign(folder.path()) else { return };
    let scene = Scene::at(&registry.name()).await;
    let image = format!("{}@{}", scene.repository, scene.index());

    // A key that cosign made, for signatures by either.
    cosign(&["generate-key-pair"]).unwrap();
    let private = fs::read(folder.path().join("cosign.key")).unwrap();
    let public = fs::read(folder.path().join("cosign.pub")).unwrap();
    let theirs = SigningKey::from_pem(&private, Some(b"a password")).unwrap();
    assert_eq!(theirs.verifying_key(), VerifyingKey::from_pem(&public).unwrap());
    assert_eq!(theirs.verifying_key().to_pem().as_bytes(), public);
    let mut sign = vec!["sign", "--yes", "--tlog-upload=false", "--recursive"];
    // From version 3 on, cosign writes another format by itself, and has to be told not to.
    if cosign(&["sign", "--help"]).unwrap().contains("--use-signing-config") {
        sign.extend(["--use-signing-config=false", "--new-bundle-format=false"]);
    }
    cosign(&[&sign[..], &LOCAL[..], &["cosign.key", image.as_str()]].concat()).unwrap();
    let found = scene.client.verify_signed(&scene.image(), &theirs.verifying_key(), None).await.unwrap();
    assert!(found.len() == 4 && found.iter().all(|one| one.claim.is_some()), "{found:?}");
    // What cosign has signed is byte for byte what kimg would have signed.
    assert!(scene.sign(&theirs).await.iter().all(|one| !one.new));

    // A key that kimg made.
    let pair = generate_key_pair(Some(b"a password"), &SystemRandom::new()).unwrap();
    fs::write(folder.path().join("kimg.key"), &*pair.private).unwrap();
    cosign(&[&sign[..], &LOCAL[..], &["kimg.key", image.as_str()]].concat()).unwrap();
    let ours = VerifyingKey::from_pem(pair.public.as_bytes()).unwrap();
    for key in [&ours, &theirs.verifying_key()] {
        scene.client.verify_signed(&scene.image(), key, None).await.unwrap();
    }
    assert_eq!(scene.client.signatures(&scene.image()).await.unwrap().len(), 2);
}
