//! A release is killed (SIGKILL), and run again: it completes, and hardly anything is sent twice.

#![expect(clippy::unwrap_used, reason = "a test that can't be set up has failed")]

mod made;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use kimg_image::Layout;
use kimg_registry::{Journal, Options, Progress, PushOptions, Release};
use kimg_testkit::{DockerRegistry, Misbehaviour, PeerSetup, RegistryPeer, tempdir};
use made::{blob_bytes, client, everything, hasty, layout};

/// Where the child finds what it pushes, and where to.
const LAYOUT: &str = "KIMG_TEST_LAYOUT";
const REGISTRY: &str = "KIMG_TEST_REGISTRY";

/// After how many bytes the child ends itself without a word.
const ABORT_AT: &str = "KIMG_TEST_ABORT_AT";

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
    let limit = std::env::var(ABORT_AT).map_or(u64::MAX, |text| text.parse().unwrap());
    let moved = Arc::new(Mutex::new(BTreeMap::new()));
    let shared = (Arc::clone(&moved), Path::new(&folder).join("moved"));
    let watch = move |progress: &Progress| {
        if let Progress::Moved { digest, done, .. } = progress {
            let mut moved = shared.0.lock().unwrap();
            let all: &mut (u64, u64) = moved.entry(*digest).or_default();
            // Where a blob begins again, what comes counts again.
            all.0 += if *done > all.1 { done - all.1 } else { *done };
            all.1 = *done;
            let sum: u64 = moved.values().map(|(bytes, _)| bytes).sum();
            if sum >= limit {
                fs_err::write(&shared.1, sum.to_string()).unwrap();
                // As good as a SIGKILL: nothing is cleaned up, nothing is said.
                std::process::abort();
            }
        }
    };
    client(options).push(&release, &options_of_push, Arc::new(watch)).await.unwrap();
    let sum: u64 = moved.lock().unwrap().values().map(|(bytes, _)| bytes).sum();
    fs_err::write(Path::new(&folder).join("moved"), sum.to_string()).unwrap();
}

fn child(folder: &Path, registry: &RegistryPeer) -> Child {
    command(folder, &registry.name()).spawn().unwrap()
}

fn command(folder: &Path, registry: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", "a_child_that_pushes", "--test-threads=1"])
        .env(LAYOUT, folder)
        .env(REGISTRY, registry)
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command
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
fn a_release_into_docker_registry_that_dies_half_way_or_near_its_end_sends_little_twice() {
    let folder = tempdir().unwrap();
    let layout = layout(folder.path(), &["plain", "flannel", "cni", "kubeadm", "kubeadm-cni"], 60_000);
    let all = blob_bytes(&layout);
    let mut shares = Vec::new();
    for percent in [50, 90] {
        let Some(registry) = DockerRegistry::plain() else { return };
        let _ = fs_err::remove_dir_all(folder.path().join("journal"));
        let moved = || fs_err::read_to_string(folder.path().join("moved")).unwrap().parse::<u64>().unwrap();
        let limit = (all * percent / 100).to_string();
        let died = command(folder.path(), &registry.name()).env(ABORT_AT, limit).status().unwrap();
        assert!(!died.success());
        let before = moved();
        assert!(command(folder.path(), &registry.name()).status().unwrap().success());
        let twice = (before + moved()).saturating_sub(all);
        assert!(twice * 100 < all * 15, "died at {percent} %: {twice} of {all} bytes were sent twice");
        shares.push(format!("{percent} %: {} %", twice * 100 / all));
    }
    println!("died at, and sent twice: {}", shares.join(", "));
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
