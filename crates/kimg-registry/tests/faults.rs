//! Every request of a release goes wrong in every way: the release completes, or fails with the error that it should be,
//! and no tag ever names what is not whole.

#![expect(clippy::unwrap_used, reason = "a test that can't be set up has failed")]

mod made;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use kimg_core::{Classified as _, ErrorClass};
use kimg_image::Layout;
use kimg_registry::{
    Client, Credentials, Keychain, Options, PushOptions, Pushed, RegistryError, Release, Secret,
};
use kimg_testkit::{FolderServer, Misbehaviour, PeerAuth, PeerSetup, RegistryPeer, TempDir, tempdir};
use tokio::task::JoinError;

use made::{everything, hasty, layout, repository};

const USER: &str = "kimg";
const PASSWORD: &str = "hunter2-of-the-faults";
const REPOSITORY: &str = "acme/kubelet";

/// A registry that holds nothing, a release for it, and somebody else who listens.
struct Scene {
    peer: RegistryPeer,
    stranger: FolderServer,
    _folder: TempDir,
}

impl Scene {
    fn new() -> Self {
        let auth = PeerAuth::Token(USER.into(), PASSWORD.into());
        let folder = tempdir().unwrap();
        let stranger = FolderServer::new(folder.path());
        Self {
            peer: RegistryPeer::new(PeerSetup { auth, ..PeerSetup::default() }),
            stranger,
            _folder: folder,
        }
    }

    fn client(&self, attempts: u32) -> Client {
        let options = Options {
            // One after the other: the n-th request is the same each time.
            concurrency: 1,
            attempts,
            stalled_after: Duration::from_millis(150),
            chunk_above: 8_000,
            chunk: 5_000,
            ..hasty()
        };
        let credentials = Credentials::Basic { username: USER.into(), password: Secret::new(PASSWORD) };
        Client::new(options, Keychain::anonymous().with(&self.peer.name(), credentials)).unwrap()
    }

    /// Pushes all of a layout into two repositories: blobs are mounted from the first into the second.
    async fn push(&self, layout: &Layout, attempts: u32) -> Result<Pushed, RegistryError> {
        self.release(layout, attempts, false).await
    }

    async fn release(
        &self,
        layout: &Layout,
        attempts: u32,
        move_tags: bool,
    ) -> Result<Pushed, RegistryError> {
        let one = repository(&self.peer.name(), REPOSITORY);
        let other = repository(&self.peer.name(), "acme/other");
        let mut release = Release::of_layout(layout, &one).unwrap();
        let store = kimg_layer::BlobStore::at(layout.dir());
        let (_, top) = layout.tags().into_iter().next().unwrap();
        release = release.add(&store, top.clone(), other, ["v1".parse().unwrap()]);
        let all = everything(layout, REPOSITORY);
        self.peer.require(all);
        let options = PushOptions { move_tags, ..PushOptions::default() };
        self.client(attempts).push(&release, &options, Arc::new(())).await
    }

    /// The same over tags that name something else.
    async fn push_over(&self, layout: &Layout, attempts: u32) -> Result<Pushed, RegistryError> {
        self.release(layout, attempts, true).await
    }

    /// What must be so after every run, however it went.
    fn check(&self, what: &str) {
        assert_eq!(self.peer.broken(), Vec::<String>::new(), "{what}");
        let strange = self.stranger.requests();
        for request in &strange {
            let told = format!("{:?}", request.headers);
            assert!(
                !request.headers.contains_key("authorization") && !told.contains("hunter2"),
                "{what}: {told}"
            );
        }
    }
}

/// What a fault may come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Comes {
    /// The release completes all the same.
    Through,
    /// Where it is felt, the release fails with one of these; or it makes no difference.
    To(&'static [ErrorClass]),
}

/// Every fault, and what it may come to when it happens once.
fn faults(stranger: &FolderServer) -> Vec<(&'static str, Misbehaviour, Comes)> {
    use Comes::{Through, To};
    use ErrorClass::{Authentication, Malformed, Registry, Verification};
    let foreign = stranger.url("elsewhere");
    let wait = || vec![("Retry-After", "0".to_owned())];
    vec![
        ("reset", Misbehaviour::Reset, Through),
        ("reset midway", Misbehaviour::ResetMidway, Through),
        ("stall", Misbehaviour::Stall, Through),
        ("stall midway", Misbehaviour::StallMidway, Through),
        ("500", Misbehaviour::Status(500, vec![]), Through),
        ("503 with Retry-After", Misbehaviour::Status(503, wait()), Through),
        ("429 with Retry-After", Misbehaviour::Status(429, wait()), Through),
        ("401, tokens void", Misbehaviour::Revoke, Through),
        ("lost answer", Misbehaviour::LostAnswer, Through),
        ("wrong Range", Misbehaviour::WrongRange, Through),
        ("wrong Docker-Content-Digest", Misbehaviour::WrongDigest, To(&[Verification])),
        ("Location on another host", Misbehaviour::ForeignLocation(foreign.clone()), To(&[Registry])),
        ("realm on another host", Misbehaviour::ForeignRealm(foreign.clone()), To(&[Authentication])),
        ("mount refused", Misbehaviour::NoMount, Through),
        ("no referrers", Misbehaviour::NoReferrers, Through),
        ("slow drip", Misbehaviour::Drip(Duration::from_millis(5)), Through),
        ("a bit flipped", Misbehaviour::Flip, To(&[Verification, Malformed, Registry])),
        ("answer cut", Misbehaviour::Cut, Through),
        ("upload forgotten", Misbehaviour::Forget, Through),
        ("blob overlooked", Misbehaviour::Overlook, Through),
        ("redirect to another host", Misbehaviour::Redirect(foreign), To(&[Registry, ErrorClass::Conflict])),
        ("400 that repeats what was sent", Misbehaviour::Tattle, To(&[Registry, Authentication])),
    ]
}

/// How many requests a release makes when nothing goes wrong.
async fn requests(layout: &Layout) -> usize {
    let scene = Scene::new();
    scene.push(layout, 1).await.unwrap();
    scene.check("nothing went wrong");
    assert_eq!(scene.peer.tags(REPOSITORY).len(), layout.tags().len());
    scene.peer.requests().len()
}

/// Makes the `nth` request of a release go wrong; gives whether that was felt.
async fn once(layout: &Layout, nth: usize, which: usize) -> bool {
    let scene = Scene::new();
    let (name, fault, comes) = faults(&scene.stranger).swap_remove(which);
    let what = format!("{name}, request {nth}");
    scene.peer.at(nth, fault);
    let result = scene.push(layout, 4).await;
    scene.check(&what);
    let felt = scene.peer.felt() > 0;
    match (&result, comes) {
        (Ok(_), _) => {
            let expected = layout.tags().into_iter().map(|(tag, top)| (tag.to_owned(), top.digest)).collect();
            assert_eq!(scene.peer.tags(REPOSITORY), expected, "{what}");
        }
        (Err(error), Comes::Through) => panic!("{what}: {error:?}"),
        (Err(error), Comes::To(classes)) => {
            assert!(felt, "{what}: {error}");
            let class = match error {
                RegistryError::HalfDone { source, .. } => source.class(),
                other => other.class(),
            };
            assert!(classes.contains(&class), "{what}: {class:?}: {error:?}");
            let said = format!("{error} {error:?} {:?}", error.hint());
            assert!(!said.contains("hunter2") && !said.contains("worthless-token"), "{what}: {said}");
            // It can be done again.
            scene.peer.behave();
            scene.push(layout, 4).await.unwrap_or_else(|error| panic!("{what}, again: {error:?}"));
            scene.check(&what);
        }
    }
    felt
}

fn panic_text(error: JoinError) -> String {
    match error.into_panic().downcast::<String>() {
        Ok(text) => *text,
        Err(_) => "a panic without words".to_owned(),
    }
}

/// Every `step`-th of all points at which something can go wrong once; gives how many were felt.
async fn slice(first: usize, step: usize) -> usize {
    let folder = tempdir().unwrap();
    let layout = Arc::new(layout(folder.path(), &["plain"], 12_000));
    let requests = requests(&layout).await;
    let kinds = faults(&FolderServer::new(folder.path())).len();
    let points: Vec<(usize, usize)> = (0..kinds)
        .flat_map(|which| (1..=requests).map(move |nth| (which, nth)))
        .skip(first)
        .step_by(step)
        .collect();
    let (mut felt, mut failed) = (BTreeSet::new(), Vec::new());
    for group in points.chunks(8) {
        let runs = group.iter().map(|&(which, nth)| {
            let layout = Arc::clone(&layout);
            tokio::spawn(async move { (which, nth, once(&layout, nth, which).await) })
        });
        for run in runs.collect::<Vec<_>>() {
            match run.await {
                Ok((which, nth, true)) => drop(felt.insert((which, nth))),
                Ok(_) => {}
                // All of them, not only the first.
                Err(error) => failed.push(panic_text(error)),
            }
        }
    }
    assert!(failed.is_empty(), "{} of {} points:\n{}", failed.len(), points.len(), failed.join("\n"));
    println!("{requests} requests, {kinds} faults: {} points tried, {} felt", points.len(), felt.len());
    felt.len()
}

/// From the `nth` request on, everything goes wrong: the release fails as it should, no tag moves unless it says so, and
/// later it completes.
async fn for_good(old: &Layout, new: &Layout, nth: usize, which: usize) {
    let kinds = [
        (Misbehaviour::Reset, ErrorClass::Network),
        (Misbehaviour::Stall, ErrorClass::Network),
        (Misbehaviour::LostAnswer, ErrorClass::Network),
        (Misbehaviour::Status(503, vec![]), ErrorClass::Network),
        (Misbehaviour::Status(403, vec![]), ErrorClass::Authentication),
        (Misbehaviour::Revoke, ErrorClass::Authentication),
        (Misbehaviour::Status(400, vec![]), ErrorClass::Registry),
    ];
    let (fault, expected) = kinds[which % kinds.len()].clone();
    let what = format!("{fault:?} from request {nth} on");
    let scene = Scene::new();
    scene.push(old, 1).await.unwrap();
    let before = scene.peer.tags(REPOSITORY);
    scene.peer.from(nth, fault);
    let error = scene.push_over(new, 2).await.expect_err(&what);
    let after = scene.peer.tags(REPOSITORY);
    scene.check(&what);
    let class = match &error {
        RegistryError::HalfDone { source, moved, left } => {
            assert_eq!(error.class(), ErrorClass::HalfDone);
            assert!(!moved.is_empty() && moved.len() + left.len() <= 3, "{what}: {error:?}");
            for tag in moved.iter().filter(|tag| tag.repository().path() == REPOSITORY) {
                let tag = tag.tag().unwrap().as_str();
                assert_eq!(after[tag], new.tags()[tag].digest, "{what}");
            }
            source.class()
        }
        other => {
            // What was asked last may have been done, if the answer to it was lost.
            let moved = after.iter().filter(|(tag, digest)| before[*tag] != **digest).count();
            let may = usize::from(what.starts_with("LostAnswer"));
            assert!(moved <= may, "{what}: {error:?}");
            other.class()
        }
    };
    // A token service that refuses says who may not come in, whatever the status.
    let at_the_door = class == ErrorClass::Authentication && expected == ErrorClass::Registry;
    assert!(class == expected || at_the_door, "{what}: {class:?} {error:?}");
    scene.peer.behave();
    scene.push_over(new, 2).await.unwrap_or_else(|error| panic!("{what}, later: {error:?}"));
    scene.check(&what);
    let wanted = new.tags().into_iter().map(|(tag, top)| (tag.to_owned(), top.digest)).collect();
    assert_eq!(scene.peer.tags(REPOSITORY), wanted, "{what}");
}

async fn everywhere_for_good(first: usize, step: usize) -> usize {
    let folder = tempdir().unwrap();
    let old = Arc::new(layout(&folder.path().join("old"), &["plain"], 11_000));
    let new = Arc::new(layout(&folder.path().join("new"), &["plain"], 12_000));
    let requests = requests(&new).await;
    let points: Vec<usize> = (first..7 * (requests - 2)).step_by(step).collect();
    for group in points.chunks(8) {
        let runs = group.iter().map(|point| {
            let (old, new, point) = (Arc::clone(&old), Arc::clone(&new), *point);
            tokio::spawn(async move { for_good(&old, &new, 1 + point / 7, point).await })
        });
        for run in runs.collect::<Vec<_>>() {
            run.await.unwrap();
        }
    }
    println!("{requests} requests: {} points from which on everything went wrong", points.len());
    points.len()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_goes_wrong_for_good_fails_a_release_and_leaves_its_tags_alone() {
    assert!(everywhere_for_good(3, 29).await > 20);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "hundreds of releases: a minute"]
async fn what_goes_wrong_for_good_from_any_request_on() {
    assert!(everywhere_for_good(0, 1).await > 500);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_goes_wrong_once_a_release_completes_or_says_why_not() {
    assert!(slice(7, 13).await > 100);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "thousands of releases: minutes"]
async fn whatever_goes_wrong_once_at_any_request() {
    assert!(slice(0, 1).await >= 500);
}
