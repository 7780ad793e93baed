//! One cache, several processes: they fetch into it at once, die in it, and prune it.

#![expect(clippy::unwrap_used, reason = "a test that can't be set up has failed")]

mod made;

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, SystemTime};

use kimg_source::cache::{CacheKind, PruneOptions, Pruned};
use kimg_source::repository::Reader;
use kimg_source::{Location, Repository};
use kimg_testkit::{Fault, FolderServer, TempDir, tempdir};
use made::{PLATFORM, fetch, index, keys, lay_out, noise, package, program, reader};

const NAMES: [&str; 8] = ["a", "b", "c", "d", "e", "f", "g", "h"];
const SIZE: usize = 200_000;
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

const FOLDER: &str = "KIMG_TEST_FOLDER";
const MIRROR: &str = "KIMG_TEST_MIRROR";

fn mirror() -> (TempDir, FolderServer) {
    let folder = tempdir().unwrap();
    lay_out(folder.path(), 1, NAMES.map(|name| package(name, SIZE)));
    let server = FolderServer::new(folder.path());
    (folder, server)
}

fn repository(server: &FolderServer) -> Repository {
    Repository::at(server.url("").parse().unwrap())
}

/// Fetches every package and reads every byte of them; gives how many were unpacked already.
async fn fetch_all(repository: &Repository, reader: &Reader) -> usize {
    let index = index(repository, reader).await.unwrap().index;
    let mut from_cache = 0;
    for name in NAMES {
        let fetched =
            repository.package(made::record(&index, name), PLATFORM, &keys(), reader).await.unwrap();
        from_cache += usize::from(fetched.from_cache);
        assert_eq!(program(&fetched), noise(name.bytes().map(u64::from).sum(), SIZE));
    }
    from_cache
}

/// In a process that a test started by itself: fetches everything. Gives whether this is such a process.
fn fetched_here() -> bool {
    let (Ok(folder), Ok(url)) = (std::env::var(FOLDER), std::env::var(MIRROR)) else { return false };
    let repository = Repository::at(url.parse::<Location>().unwrap());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(fetch_all(&repository, &reader(Path::new(&folder))));
    true
}

fn elsewhere(test: &str, folder: &Path, server: &FolderServer) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", test, "--test-threads=1"]).env(FOLDER, folder).env(MIRROR, server.url(""));
    command.stdout(Stdio::null()).spawn().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn several_processes_fill_one_cache() {
    if tokio::task::block_in_place(|| std::thread::spawn(fetched_here).join().unwrap()) {
        return;
    }
    let (folder, (_served, server)) = (tempdir().unwrap(), mirror());
    server.always("", Fault::Slow { piece: 50_000, pause: Duration::from_millis(2) });
    let children = [0; 5].map(|_| elsewhere("several_processes_fill_one_cache", folder.path(), &server));
    for mut child in children {
        assert!(child.wait().unwrap().success());
    }
    server.behave();
    let reader = reader(folder.path());
    assert_eq!(fetch_all(&repository(&server), &reader).await, NAMES.len());
    let kinds = reader.cache.info().unwrap().kinds;
    assert_eq!(kinds[&CacheKind::Packages].files, 8);
    assert_eq!(kinds[&CacheKind::Contents].files, 8);
    assert!(!kinds.contains_key(&CacheKind::Partial));
    assert_eq!(fs_err::read_dir(folder.path().join("cache/v1/tmp")).unwrap().count(), 1, "only our own");
}

#[test]
fn what_a_killed_process_began_is_cleared_away_or_gone_on_with() {
    if fetched_here() {
        return;
    }
    let (folder, (_served, server)) = (tempdir().unwrap(), mirror());
    server.always("armv7/c-1.0-r0.apk", Fault::Slow { piece: 20_000, pause: Duration::from_millis(100) });
    let this = "what_a_killed_process_began_is_cleared_away_or_gone_on_with";
    let mut child = elsewhere(this, folder.path(), &server);
    let partial = folder.path().join("cache/v1/partial");
    // The packages come one after the other: once this one was asked for, the only beginning is its own.
    let begun = || {
        let asked = server.asked().iter().any(|path| path.contains("c-1.0"));
        let files = fs_err::read_dir(&partial).ok().filter(|_| asked)?;
        files.flatten().find(|file| file.metadata().is_ok_and(|found| found.len() >= 40_000))
    };
    while begun().is_none() {
        assert!(child.try_wait().unwrap().is_none(), "it ended too early");
        std::thread::sleep(Duration::from_millis(5));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    server.behave();
    server.forget();
    let tmp = folder.path().join("cache/v1/tmp");
    assert_eq!(fs_err::read_dir(&tmp).unwrap().count(), 1, "the dead one's");
    assert!(elsewhere(this, folder.path(), &server).wait().unwrap().success());
    let third = server.requests().into_iter().find(|request| request.path.contains("c-1.0")).unwrap();
    assert_eq!(third.status, 206, "only the rest was asked for");
    assert_eq!(fs_err::read_dir(&tmp).unwrap().count(), 0);
}

fn options(now: SystemTime) -> PruneOptions {
    PruneOptions { older_than: None, keep_bytes: None, all: false, now }
}

fn files(pruned: &Pruned, kind: CacheKind) -> u64 {
    pruned.kinds.get(&kind).map_or(0, |tally| tally.files)
}

/// Makes every record and package of the cache as if they had been used last at this time.
fn age(folder: &Path, part: &str, used: SystemTime) {
    for entry in fs_err::read_dir(folder.join("cache/v1").join(part)).unwrap() {
        fs_err::File::open(entry.unwrap().path()).unwrap().set_modified(used).unwrap();
    }
}

#[tokio::test]
async fn pruning_by_age_takes_what_was_not_used_and_the_contents_that_nothing_else_names() {
    let (folder, (_served, server)) = (tempdir().unwrap(), mirror());
    let (reader, repository) = (reader(folder.path()), repository(&server));
    fetch_all(&repository, &reader).await;
    let now = SystemTime::now();
    for part in ["record/unpacked", "apk", "index"] {
        age(folder.path(), part, now - 10 * DAY);
    }
    // Two are used, which makes them and the index young again.
    for name in ["a", "b"] {
        assert!(fetch(&repository, name, &reader).await.unwrap().from_cache);
    }
    let pruned = reader.cache.prune(&PruneOptions { older_than: Some(5 * DAY), ..options(now) }).unwrap();
    assert!(!pruned.in_use);
    assert_eq!(files(&pruned, CacheKind::Records), 6);
    assert_eq!(files(&pruned, CacheKind::Contents), 6);
    assert_eq!(files(&pruned, CacheKind::Packages), 8, "an unpacked package's file is not used again");
    assert_eq!(files(&pruned, CacheKind::Indexes), 0);
    assert_eq!(fetch_all(&repository, &reader).await, 2);
}

#[tokio::test]
async fn pruning_to_a_size_keeps_what_was_used_last_and_without_limits_only_rubbish_goes() {
    let (folder, (_served, server)) = (tempdir().unwrap(), mirror());
    let (reader, repository) = (reader(folder.path()), repository(&server));
    fetch_all(&repository, &reader).await;
    let now = SystemTime::now();
    assert_eq!(reader.cache.prune(&options(now)).unwrap(), Pruned::default());
    age(folder.path(), "apk", now - 10 * DAY);
    let limit = 3 * SIZE as u64 + SIZE as u64 / 2;
    let pruned = reader.cache.prune(&PruneOptions { keep_bytes: Some(limit), ..options(now) }).unwrap();
    assert_eq!((files(&pruned, CacheKind::Packages), files(&pruned, CacheKind::Contents)), (8, 5));
    assert!(reader.cache.info().unwrap().total().bytes <= limit);
    assert_eq!(fetch_all(&repository, &reader).await, 3);
}

#[tokio::test]
async fn pruning_everything_leaves_a_cache_that_works() {
    let (folder, (_served, server)) = (tempdir().unwrap(), mirror());
    let (reader, repository) = (reader(folder.path()), repository(&server));
    fetch_all(&repository, &reader).await;
    let before = reader.cache.info().unwrap().total();
    let pruned = reader.cache.prune(&PruneOptions { all: true, ..options(SystemTime::now()) }).unwrap();
    assert_eq!(pruned.total(), (before.files, before.bytes));
    assert_eq!(reader.cache.info().unwrap().total().files, 0);
    assert_eq!(fetch_all(&repository, &reader).await, 0);
}

#[tokio::test]
async fn how_new_an_index_was_is_only_forgotten_with_everything() {
    let (folder, served) = (tempdir().unwrap(), tempdir().unwrap());
    let reader = reader(folder.path());
    lay_out(served.path(), 20, [package("a", 10)]);
    let repository = Repository::at(Location::Path(served.path().to_owned()));
    index(&repository, &reader).await.unwrap();
    lay_out(served.path(), 10, [package("a", 10)]);
    let later = SystemTime::now() + 1000 * DAY;
    let gently = PruneOptions { older_than: Some(DAY), keep_bytes: Some(0), ..options(later) };
    reader.cache.prune(&gently).unwrap();
    assert!(index(&repository, &reader).await.unwrap().rolled_back.is_some());
    reader.cache.prune(&PruneOptions { all: true, ..options(later) }).unwrap();
    assert!(index(&repository, &reader).await.unwrap().rolled_back.is_none());
}

#[tokio::test]
async fn while_others_use_the_cache_what_was_used_lately_stays() {
    let (folder, (_served, server)) = (tempdir().unwrap(), mirror());
    let (reader, other) = (reader(folder.path()), made::reader(folder.path()));
    let repository = repository(&server);
    fetch_all(&repository, &reader).await;
    let everything = |now| PruneOptions { all: true, ..options(now) };
    let pruned = reader.cache.prune(&everything(SystemTime::now())).unwrap();
    assert_eq!(pruned, Pruned { in_use: true, ..Pruned::default() });
    assert_eq!(fetch_all(&repository, &other).await, NAMES.len());
    let pruned = reader.cache.prune(&everything(SystemTime::now() + 3 * DAY)).unwrap();
    assert!(pruned.in_use && pruned.total().0 > 0);
    drop(other);
    let pruned = reader.cache.prune(&everything(SystemTime::now())).unwrap();
    assert!(!pruned.in_use);
    assert_eq!(reader.cache.info().unwrap().total().files, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn builds_survive_pruning_at_the_same_time() {
    let (folder, (_served, server)) = (tempdir().unwrap(), mirror());
    let path = folder.path().to_owned();
    let building = tokio::spawn({
        let (path, repository) = (path.clone(), repository(&server));
        async move {
            for _ in 0..20 {
                fetch_all(&repository, &reader(&path)).await;
            }
        }
    });
    let mut prunings = 0;
    while !building.is_finished() || prunings == 0 {
        let cache = reader(&path).cache;
        let all = PruneOptions { all: true, ..options(SystemTime::now()) };
        tokio::task::spawn_blocking(move || cache.prune(&all).unwrap()).await.unwrap();
        prunings += 1;
    }
    building.await.unwrap();
}

#[tokio::test]
async fn pruning_follows_no_symbolic_link_out_of_the_cache() {
    let folder = tempdir().unwrap();
    let reader = reader(folder.path());
    let outside = folder.path().join("outside");
    fs_err::create_dir_all(outside.join("below")).unwrap();
    for file in ["precious", "below/precious"] {
        fs_err::write(outside.join(file), "precious").unwrap();
    }
    let root = folder.path().join("cache/v1");
    for link in ["apk/link", "content/sha256/ab", "record/kind", "tmp/run-link", "sample"] {
        std::os::unix::fs::symlink(&outside, root.join(link)).unwrap();
    }
    fs_err::create_dir_all(root.join("blobs/blobs")).unwrap();
    std::os::unix::fs::symlink(&outside, root.join("blobs/blobs/sha256")).unwrap();
    reader.cache.prune(&PruneOptions { all: true, ..options(SystemTime::now() + 9 * DAY) }).unwrap();
    drop(reader);
    made::reader(folder.path());
    for file in ["precious", "below/precious"] {
        assert_eq!(fs_err::read_to_string(outside.join(file)).unwrap(), "precious");
    }
}
