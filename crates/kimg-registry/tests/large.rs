//! A layer larger than memory should be, through a push and a pull, and what was asked of memory for it.

#![expect(clippy::unwrap_used, reason = "a test that can't be set up has failed")]

mod made;

use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use kimg_core::{Digest, Platform};
use kimg_image::{Descriptor, OciPlatform, media_type};
use kimg_layer::{BlobStore, LayerError};
use kimg_registry::{Options, PushOptions, ReadBack, Release};
use kimg_testkit::{PeerSetup, RegistryPeer, run, tempdir};
use made::{client, repository};

const FOLDER: &str = "KIMG_TEST_LARGE_FOLDER";
const REGISTRY: &str = "KIMG_TEST_LARGE_REGISTRY";

/// An image with one layer of so many bytes.
fn image(store: &BlobStore, size: u64) -> Descriptor {
    let piece = kimg_testkit::noise(1, 1 << 20);
    let (layer, layer_size) = store
        .put(|out| {
            for _ in 0..size >> 20 {
                out.write_all(&piece).map_err(LayerError::Output)?;
            }
            Ok::<_, LayerError>(())
        })
        .unwrap();
    let config = format!(
        r#"{{"architecture":"amd64","os":"linux","rootfs":{{"type":"layers","diff_ids":["{layer}"]}}}}"#
    );
    store.put_bytes(config.as_bytes()).unwrap();
    let manifest = serde_json::json!({
        "schemaVersion": 2,
        "mediaType": media_type::MANIFEST,
        "config": Descriptor::of(media_type::CONFIG, config.as_bytes()),
        "layers": [Descriptor::new("application/vnd.oci.image.layer.v1.tar", layer, layer_size)],
    });
    let bytes = manifest.to_string().into_bytes();
    store.put_bytes(&bytes).unwrap();
    let platform = Some(OciPlatform::from(Platform::Amd64));
    Descriptor { platform, ..Descriptor::of(media_type::MANIFEST, &bytes) }
}

/// The most memory that this process ever had, in bytes.
fn peak() -> u64 {
    let status = fs_err::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches("kB").trim().parse::<u64>().unwrap() << 10
}

/// In a process of its own: pushes, reads back as a whole, pulls, verifies, and prints the most memory it had.
#[tokio::test]
async fn a_child_that_pushes_much() {
    let (Ok(folder), Ok(registry)) = (std::env::var(FOLDER), std::env::var(REGISTRY)) else { return };
    let folder = Path::new(&folder);
    let store = BlobStore::at(folder.join("store"));
    let top: Descriptor = serde_json::from_slice(&fs_err::read(folder.join("top.json")).unwrap()).unwrap();
    let to = repository(&registry, "acme/large");
    let client = client(Options { read_back: ReadBack::Whole, ..Options::default() });
    let release = Release::new().add(&store, top, to.clone(), ["v1".parse().unwrap()]);
    client.push(&release, &PushOptions::default(), Arc::new(())).await.unwrap();
    println!("after the push: {} MiB", peak() >> 20);
    let pulled = BlobStore::open(folder.join("pulled")).unwrap();
    let reference = to.tagged("v1".parse().unwrap());
    client.pull(&reference, None, &pulled, Arc::new(())).await.unwrap();
    let verified = client.verify(&reference, Arc::new(())).await.unwrap();
    assert_eq!(verified.findings, []);
    println!("after the pull: {} MiB", peak() >> 20);
    assert!(peak() < 128 << 20, "{} MiB", peak() >> 20);
}

fn pushed_and_pulled(size: u64) {
    let folder = tempdir().unwrap();
    let store = BlobStore::open(folder.path().join("store")).unwrap();
    let top = image(&store, size);
    fs_err::write(folder.path().join("top.json"), serde_json::to_vec(&top).unwrap()).unwrap();
    let peer = RegistryPeer::new(PeerSetup::default());
    let said = run(Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "a_child_that_pushes_much", "--nocapture", "--test-threads=1"])
        .env(FOLDER, folder.path())
        .env(REGISTRY, peer.name()));
    let said: Vec<&str> = said.lines().filter(|line| line.contains("MiB")).collect();
    println!("{} MiB: {}", size >> 20, said.join(", "));
    assert_eq!(said.len(), 2);
    let config: Digest = top.digest;
    assert_eq!(peer.tags("acme/large").values().next(), Some(&config));
}

#[test]
fn a_layer_of_160_mib_goes_through_128_mib_of_memory() {
    pushed_and_pulled(160 << 20);
}

#[test]
#[ignore = "12 GiB of disk, and a minute"]
fn a_layer_of_4_gib_goes_through_128_mib_of_memory() {
    pushed_and_pulled(4 << 30);
}
