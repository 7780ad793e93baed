//! Transfers that are cut, refused, redirected and resumed.

#![expect(clippy::unwrap_used, reason = "a test that can't be set up has failed")]

mod made;

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use kimg_core::{Digest, ImagePath};
use kimg_source::fetch::Transfer;
use kimg_source::program::Program;
use kimg_source::repository::Reader;
use kimg_source::{Fetcher, Location, SourceError};
use kimg_testkit::{Fault, FolderServer, TempDir, tempdir};
use made::{fetcher, noise, reader};
use tokio::sync::mpsc::unbounded_channel;

const SIZE: usize = 300_000;
const LIMIT: u64 = 1 << 20;

/// A server with the file `file`, and its bytes.
fn served() -> (TempDir, FolderServer, Vec<u8>) {
    let folder = tempdir().unwrap();
    let bytes = noise(1, SIZE);
    fs_err::write(folder.path().join("file"), &bytes).unwrap();
    let server = FolderServer::new(folder.path());
    (folder, server, bytes)
}

fn range(server: &FolderServer, request: usize) -> (u16, Option<String>) {
    let request = &server.requests()[request];
    (request.status, request.headers.get("range").cloned())
}

#[tokio::test]
async fn a_transfer_that_is_cut_goes_on_where_it_ended() {
    let (_folder, server, bytes) = served();
    server.next("file", Fault::Cut { after: 100_000 });
    server.next("file", Fault::Cut { after: 50_000 });
    assert_eq!(fetcher().get(&server.url("file"), LIMIT).await.unwrap(), bytes);
    assert_eq!(range(&server, 1), (206, Some("bytes=100000-".into())));
    assert_eq!(range(&server, 2), (206, Some("bytes=150000-".into())));
    assert_eq!(server.requests()[2].sent, SIZE - 150_000);
}

#[tokio::test]
async fn a_file_that_changes_in_between_is_never_spliced() {
    let (folder, server, _) = served();
    server.next("file", Fault::Cut { after: 100_000 });
    let new = noise(2, SIZE);
    let (url, fetcher) = (server.url("file"), fetcher().first_wait(Duration::from_millis(300)));
    let getting = tokio::spawn(async move { fetcher.get(&url, LIMIT).await });
    while server.requests().is_empty() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    fs_err::write(folder.path().join("file"), &new).unwrap();
    assert_eq!(getting.await.unwrap().unwrap(), new);
    assert_eq!(range(&server, 1), (200, Some("bytes=100000-".into())));
}

#[tokio::test]
async fn without_parts_or_a_strong_validator_it_starts_over() {
    let (folder, server, bytes) = served();
    // The second answer is from a server that knows no parts.
    server.next("file", Fault::Cut { after: 100_000 });
    server.next("file", Fault::Plain);
    assert_eq!(fetcher().get(&server.url("file"), LIMIT).await.unwrap(), bytes);
    // A weak tag on a file that is as old as the answer vouches for no byte.
    let (slow, piece) = (Duration::from_millis(1), 1000);
    server.forget();
    let now = SystemTime::now() + Duration::from_secs(5);
    fs_err::File::open(folder.path().join("file")).unwrap().set_modified(now).unwrap();
    server.next("file", Fault::WeakTag);
    server.next("file", Fault::Slow { piece, pause: slow });
    assert_eq!(fetcher().get(&server.url("file"), LIMIT).await.unwrap(), bytes);
    assert_eq!(range(&server, 0), (200, None));
}

#[tokio::test]
async fn what_passes_is_tried_again_and_what_lasts_is_not() {
    let (_folder, server, bytes) = served();
    let url = server.url("file");
    for status in [503, 429, 408] {
        server.next("file", Fault::Status(status, vec![("Retry-After", "0".into())]));
        assert_eq!(fetcher().get(&url, LIMIT).await.unwrap(), bytes);
    }
    server.forget();
    for status in [403, 404, 410] {
        server.next("file", Fault::Status(status, vec![]));
        let error = fetcher().get(&url, LIMIT).await.unwrap_err();
        assert!(matches!(error, SourceError::Status { status: s, .. } if s == status), "{error}");
    }
    assert_eq!(server.asked().len(), 3, "each was asked for once");
    server.always("file", Fault::Status(500, vec![]));
    let error = fetcher().get(&url, LIMIT).await.unwrap_err();
    assert_eq!(error.to_string(), format!("{url} answered 500"));
    assert_eq!(server.asked().len(), 6);
}

#[tokio::test]
async fn a_redirect_is_followed_and_one_without_end_is_asked_for_once() {
    let (_folder, server, bytes) = served();
    server.next("moved", Fault::Redirect(server.url("file")));
    assert_eq!(fetcher().get(&server.url("moved"), LIMIT).await.unwrap(), bytes);
    server.forget();
    server.always("round", Fault::Redirect(server.url("round")));
    let error = fetcher().get(&server.url("round"), LIMIT).await.unwrap_err();
    assert!(matches!(error, SourceError::Network { attempts: 1, .. }), "{error}");
    assert_eq!(server.asked().len(), 11, "ten redirects, no second attempt");
}

#[tokio::test]
async fn name_and_password_go_to_the_host_and_into_no_error() {
    let (_folder, server, bytes) = served();
    let url = server.url("file").replace("http://", "http://me:hunter2@");
    assert_eq!(fetcher().get(&url, LIMIT).await.unwrap(), bytes);
    assert_eq!(server.requests()[0].headers["authorization"], "Basic bWU6aHVudGVyMg==");
    server.always("file", Fault::Hangup);
    let network = fetcher().get(&url, LIMIT).await.unwrap_err();
    server.always("file", Fault::Status(401, vec![]));
    let status = fetcher().get(&url, LIMIT).await.unwrap_err();
    server.behave();
    let limit = fetcher().get(&url, 10).await.unwrap_err();
    let offline = Fetcher::offline().get(&url, LIMIT).await.unwrap_err();
    for error in [network, status, limit, offline] {
        assert!(error.to_string().contains("http://***@127.0.0.1"), "{error}");
        assert!(!format!("{error} {error:?}").contains("hunter2"), "{error:?}");
    }
}

fn program(server: &FolderServer, bytes: &[u8]) -> Program {
    Program {
        name: "crictl".into(),
        location: server.url("file").parse::<Location>().unwrap(),
        sha256: Some(Digest::of(bytes)),
        member: None,
        install: ImagePath::new("/usr/bin/crictl").unwrap(),
    }
}

/// Begins the transfer of a program in a run that gives up after 100 kB; gives what it left.
async fn begun(folder: &TempDir, server: &FolderServer, bytes: &[u8]) -> PathBuf {
    server.next("file", Fault::Cut { after: 100_000 });
    let impatient = Reader { fetcher: Fetcher::new(1), ..reader(folder.path()) };
    program(server, bytes).load(&impatient).await.unwrap_err();
    server.forget();
    let partial = folder.path().join("cache/v1/partial");
    let files = fs_err::read_dir(partial).unwrap().map(|entry| entry.unwrap().path());
    let partial = files.into_iter().find(|path| path.extension().is_none()).unwrap();
    assert_eq!(fs_err::metadata(&partial).unwrap().len(), 100_000);
    partial
}

async fn load(folder: &TempDir, server: &FolderServer, bytes: &[u8]) {
    let (content, _) = program(server, bytes).load(&reader(folder.path())).await.unwrap();
    assert_eq!(content.read(LIMIT).unwrap(), bytes);
    let left = fs_err::read_dir(folder.path().join("cache/v1/partial")).unwrap().count();
    assert_eq!(left, 0, "nothing of it is left");
}

#[tokio::test]
async fn a_later_run_goes_on_with_what_an_earlier_one_left() {
    let folder = tempdir().unwrap();
    let (_served, server, bytes) = served();
    begun(&folder, &server, &bytes).await;
    load(&folder, &server, &bytes).await;
    assert_eq!(range(&server, 0), (206, Some("bytes=100000-".into())));
    assert_eq!(server.asked().len(), 1);
}

#[tokio::test]
async fn a_later_run_starts_over_when_the_file_is_another_one() {
    let folder = tempdir().unwrap();
    let (served, server, bytes) = served();
    begun(&folder, &server, &bytes).await;
    let new = noise(2, SIZE);
    fs_err::write(served.path().join("file"), &new).unwrap();
    load(&folder, &server, &new).await;
    assert_eq!(range(&server, 0), (200, Some("bytes=100000-".into())));
}

#[tokio::test]
async fn what_is_wrong_with_a_beginning_is_mended_by_fetching_the_whole() {
    let folder = tempdir().unwrap();
    let (_served, server, bytes) = served();
    let partial = begun(&folder, &server, &bytes).await;
    fs_err::write(partial, noise(3, 100_000)).unwrap();
    load(&folder, &server, &bytes).await;
    assert_eq!(range(&server, 0), (206, Some("bytes=100000-".into())));
    assert_eq!(range(&server, 1), (200, None));
}

#[tokio::test]
async fn what_came_whole_but_was_never_looked_at_is_not_fetched_again() {
    let folder = tempdir().unwrap();
    let (_served, server, bytes) = served();
    let partial = begun(&folder, &server, &bytes).await;
    fs_err::write(partial, &bytes).unwrap();
    load(&folder, &server, &bytes).await;
    assert_eq!((server.requests()[0].status, server.requests()[0].sent), (416, 0));
    assert_eq!(server.asked().len(), 1);
}

#[tokio::test]
async fn a_note_that_is_missing_or_broken_makes_it_start_over() {
    let folder = tempdir().unwrap();
    let (_served, server, bytes) = served();
    let partial = begun(&folder, &server, &bytes).await;
    fs_err::write(partial.with_extension("json"), "{").unwrap();
    load(&folder, &server, &bytes).await;
    assert_eq!(range(&server, 0), (200, None));
}

#[tokio::test]
async fn two_at_the_same_file_do_not_disturb_each_other() {
    let folder = tempdir().unwrap();
    let (_served, server, bytes) = served();
    server.always("file", Fault::Slow { piece: 30_000, pause: Duration::from_millis(10) });
    let load = |folder: PathBuf| {
        let program = program(&server, &bytes);
        tokio::spawn(async move { program.load(&reader(&folder)).await.unwrap().0.read(LIMIT).unwrap() })
    };
    let all = [0; 4].map(|_| load(folder.path().to_owned()));
    for loaded in all {
        assert_eq!(loaded.await.unwrap(), bytes);
    }
}

#[tokio::test]
async fn who_watches_hears_of_the_begin_and_the_end_and_never_goes_back() {
    let folder = tempdir().unwrap();
    let (_served, server, bytes) = served();
    server.next("file", Fault::Slow { piece: 10_000, pause: Duration::from_millis(20) });
    let (sender, mut receiver) = unbounded_channel();
    let watched = Reader { watch: Some(sender), ..reader(folder.path()) };
    program(&server, &bytes).load(&watched).await.unwrap();
    drop(watched);
    let mut heard = Vec::new();
    while let Some(transfer) = receiver.recv().await {
        heard.push(transfer);
    }
    let (url, total) = (server.url("file"), Some(SIZE as u64));
    assert_eq!(heard[0], Transfer { url: url.clone(), done: 0, total: None });
    assert_eq!(heard.last().unwrap(), &Transfer { url, done: SIZE as u64, total });
    assert!(heard.is_sorted_by_key(|transfer| transfer.done), "{heard:?}");
    assert!(heard.len() > 2, "something in between was heard: {heard:?}");
}
