//! A release is killed (SIGKILL), and run again: it completes, and hardly anything is sent twice.

#![expect(clippy::unwrap_used, reason = "a test that can't be set up has failed")]

mod made;

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use kimg_image::Layout;
use kimg_registry::{Journal, Options, PushOptions, Release};
use kimg_testkit::{Misbehaviour, PeerSetup, RegistryPeer, tempdir};
use made::{blob_bytes, client, everything, hasty, layout};

/// Where the child finds what it pushes, and where to.
const LAYOUT: &str = "KIMG_TEST_LAYOUT";
const REGISTRY: &str = "KIMG_TEST_REGISTRY";

/// The repository of every push.
const REPOSITORY: &str = "acme/kubelet";

/// In a process that this test started by itself: pushes, and ends.
#[tokio::test]
async fn a_child_that_pushes() {
    let (Ok(folder), Ok(registry)) = (std::env::var(LAYOUT), std::env::var(REGISTRY)) else { return };
    let options = Options {
        chunk_above: 10_000,
        chunk: 15_000,
        concurrency: 2,
        stalled_after: Duration::from_secs(60),
        ..hasty()
    };
    let layout = Layout::open(Path::new(&folder).join("out")).unwrap();
    let to = made::repository(&registry, REPOSITORY);
    let journal = Journal::open(Path::new(&folder).join("journal")).unwrap();
    let options_of_push = PushOptions { journal: Some(&journal), ..PushOptions::default() };
    let release = Release::of_layout(&layout, &to).unwrap();
    client(options).push(&release, &options_of_push, Arc::new(())).await.unwrap();
}

fn child(folder: &Path, registry: &RegistryPeer) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "a_child_that_pushes", "--test-threads=1"])
        .env(LAYOUT, folder)
        .env(REGISTRY, registry.name())
        .stdout(Stdio::null())
        .stderr(Stdio::inherit())
        .spawn()
        .unwrap()
}

/// Kills a push in the middle of the `nth` request, and runs it again; gives which part of all bytes was sent twice.
fn killed_at(nth: usize, folder: &Path, layout: &Layout) -> f64 {
    let _ = fs_err::remove_dir_all(folder.join("journal"));
    // Some registries keep what came of a chunk, and some forget the whole upload.
    let keeps_partial = nth.is_multiple_of(2);
    let peer = RegistryPeer::new(PeerSetup { keeps_partial, ..PeerSetup::default() });
    peer.require(everything(layout, REPOSITORY));
    peer.at(nth, Misbehaviour::StallMidway);
    let mut first = child(folder, &peer);
    assert!(peer.wait_for_stall(1), "request {nth} never came");
    first.kill().unwrap();
    first.wait().unwrap();
    peer.behave();
    assert_eq!(peer.broken(), Vec::<String>::new(), "killed at {nth}");
    assert!(child(folder, &peer).wait().unwrap().success(), "killed at {nth}");
    assert_eq!(peer.broken(), Vec::<String>::new(), "killed at {nth}");
    let expected = layout.tags().into_iter().map(|(tag, top)| (tag.to_owned(), top.digest)).collect();
    assert_eq!(peer.tags(REPOSITORY), expected, "killed at {nth}");
    let all = blob_bytes(layout);
    #[expect(clippy::cast_precision_loss, reason = "a share, to a few places")]
    let share = (peer.received().saturating_sub(all)) as f64 / all as f64;
    assert!(share < 0.15, "killed at {nth}: {} bytes came for {all}", peer.received());
    share
}

/// So many kills, spread over all requests of a release.
fn kills(count: usize) {
    let folder = tempdir().unwrap();
    let layout = layout(folder.path(), &["plain", "flannel", "cni", "kubeadm", "kubeadm-cni"], 40_000);
    let peer = RegistryPeer::new(PeerSetup::default());
    assert!(child(folder.path(), &peer).wait().unwrap().success());
    let requests = peer.requests().len();
    assert_eq!(peer.received(), blob_bytes(&layout), "each byte once");
    let mut worst = 0.0_f64;
    for n in 0..count {
        let nth = 1 + n * (requests - 1) / count;
        worst = worst.max(killed_at(nth, folder.path(), &layout));
    }
    println!(
        "killed at {count} of {requests} requests: at most {:.1} % of the bytes sent twice",
        worst * 100.0
    );
}

#[test]
fn a_killed_release_goes_on_where_it_was() {
    kills(5);
}

#[test]
#[ignore = "two hundred pushes: a minute"]
fn a_release_killed_anywhere_goes_on_where_it_was() {
    kills(100);
}
