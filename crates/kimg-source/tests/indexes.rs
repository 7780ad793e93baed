//! Indexes: sent only when they have changed, never older than before without a word.

#![expect(clippy::unwrap_used, reason = "a test that can't be set up has failed")]

mod made;

use kimg_source::repository::{IndexOrigin, Reader};
use kimg_source::{Location, SourceError};
use kimg_testkit::{Fault, tempdir};
use made::{INDEX, Mirror, index, lay_out, mirrors, offline, package, reader};

#[tokio::test]
async fn an_index_that_is_still_the_same_is_not_sent_again() {
    let folder = tempdir().unwrap();
    let mirror = Mirror::new(1);
    let (repository, reader) = (mirrors([mirror.location()]), reader(folder.path()));
    let first = index(&repository, &reader).await.unwrap();
    assert_eq!(first.origin, IndexOrigin::Fetched);
    let second = index(&repository, &reader).await.unwrap();
    assert_eq!((second.origin, second.index), (IndexOrigin::NotModified, first.index));
    let requests = mirror.server.requests();
    assert_eq!((requests[1].status, requests[1].sent), (304, 0));

    lay_out(mirror.folder.path(), 2, [package("c", 10)]);
    let third = index(&repository, &reader).await.unwrap();
    assert_eq!((third.origin, third.index.packages.len()), (IndexOrigin::Fetched, 1));
}

#[tokio::test]
async fn a_cached_index_that_was_changed_is_not_asked_about_but_fetched() {
    let folder = tempdir().unwrap();
    let mirror = Mirror::new(1);
    let (repository, reader) = (mirrors([mirror.location()]), reader(folder.path()));
    index(&repository, &reader).await.unwrap();
    for entry in fs_err::read_dir(folder.path().join("cache/v1/index")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|e| e == "gz") {
            let mut bytes = fs_err::read(&path).unwrap();
            let last = bytes.len() - 1;
            bytes[last] ^= 1;
            fs_err::write(&path, bytes).unwrap();
        }
    }
    let error = index(&repository, &offline(&reader)).await.unwrap_err();
    assert!(matches!(error, SourceError::Apk { .. }), "{error}");
    assert_eq!(index(&repository, &reader).await.unwrap().origin, IndexOrigin::Fetched);
    assert_eq!(index(&repository, &offline(&reader)).await.unwrap().origin, IndexOrigin::Cache);
}

#[tokio::test]
async fn an_index_from_the_cache_is_verified_with_today_s_keys() {
    let folder = tempdir().unwrap();
    let mirror = Mirror::new(1);
    let (repository, reader) = (mirrors([mirror.location()]), reader(folder.path()));
    index(&repository, &reader).await.unwrap();
    let none = kimg_apk::KeyRing::new();
    for reader in [reader.clone(), offline(&reader)] {
        let error = repository.index(made::PLATFORM, &none, &reader).await.unwrap_err();
        assert!(matches!(error, SourceError::Apk { .. }), "{error}");
    }
}

#[tokio::test]
async fn a_mirror_without_validators_sends_the_index_each_time() {
    let folder = tempdir().unwrap();
    let mirror = Mirror::new(1);
    mirror.server.always("", Fault::Plain);
    let (repository, reader) = (mirrors([mirror.location()]), reader(folder.path()));
    for _ in 0..2 {
        assert_eq!(index(&repository, &reader).await.unwrap().origin, IndexOrigin::Fetched);
    }
}

#[tokio::test]
async fn offline_the_cached_index_serves_and_without_one_it_is_said() {
    let folder = tempdir().unwrap();
    let mirror = Mirror::new(1);
    let (repository, reader) = (mirrors([mirror.location()]), reader(folder.path()));
    let error = index(&repository, &offline(&reader)).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("the index {} is not in the cache, and nothing may be fetched", mirror.server.url(INDEX))
    );
    index(&repository, &reader).await.unwrap();
    mirror.server.forget();
    assert_eq!(index(&repository, &offline(&reader)).await.unwrap().origin, IndexOrigin::Cache);
    assert!(mirror.server.asked().is_empty());
}

/// When the index that is there was built, and what is known of a newer one.
async fn times(locations: &[&Location], reader: &Reader) -> (u64, Option<(u64, u64)>) {
    let found = index(&mirrors(locations.iter().map(|l| (*l).clone())), reader).await.unwrap();
    let newest = found.index.packages.iter().filter_map(|record| record.build_time).max().unwrap();
    (newest, found.rolled_back.map(|rolled| (rolled.seen.newest, rolled.now.newest)))
}

#[tokio::test]
async fn an_older_index_is_told_again_and_again_and_takes_no_newer_one_s_place() {
    let folder = tempdir().unwrap();
    let mirror = Mirror::new(20);
    let (location, reader) = (mirror.location(), reader(folder.path()));
    assert_eq!(times(&[&location], &reader).await, (20, None));
    lay_out(mirror.folder.path(), 10, [package("a", 10)]);
    for _ in 0..2 {
        assert_eq!(times(&[&location], &reader).await, (10, Some((20, 10))));
    }
    assert_eq!(
        times(&[&location], &offline(&reader)).await,
        (20, None),
        "the newer one is still in the cache"
    );
    let found = index(&mirrors([location.clone()]), &reader).await.unwrap();
    let rolled_back = found.rolled_back.unwrap();
    assert_eq!(rolled_back.seen.description, "state of 20");
    assert_eq!(rolled_back.now.description, "state of 10");
    lay_out(mirror.folder.path(), 30, [package("a", 10)]);
    assert_eq!(times(&[&location], &reader).await, (30, None));
}

#[tokio::test]
async fn a_mirror_that_lags_behind_is_passed_over_for_one_that_is_up_to_date() {
    let folder = tempdir().unwrap();
    let (lagging, current) = (Mirror::new(10), Mirror::new(20));
    let reader = reader(folder.path());
    let both = [&lagging.location(), &current.location()];
    // Nothing newer is known yet: the first one is good.
    assert_eq!(times(&both, &reader).await, (10, None));
    assert_eq!(times(&[both[1], both[0]], &reader).await, (20, None));
    assert_eq!(times(&both, &reader).await, (20, None));
}

#[tokio::test]
async fn when_every_mirror_is_older_the_newest_of_them_comes_back() {
    let folder = tempdir().unwrap();
    let (older, old) = (Mirror::new(30), Mirror::new(30));
    let reader = reader(folder.path());
    let both = [&older.location(), &old.location()];
    times(&both, &reader).await;
    lay_out(older.folder.path(), 10, [package("a", 10)]);
    lay_out(old.folder.path(), 20, [package("a", 10)]);
    assert_eq!(times(&both, &reader).await, (20, Some((30, 20))));
    // Another mirror that nobody has heard of does not help to forget.
    let stranger = Mirror::new(5);
    assert_eq!(times(&[&stranger.location(), both[0]], &reader).await, (10, Some((30, 10))));
}

#[tokio::test]
async fn a_folder_that_is_rolled_back_is_told_too() {
    let folder = tempdir().unwrap();
    let repo = folder.path().join("repo");
    let (location, reader) = (Location::Path(repo.clone()), reader(folder.path()));
    lay_out(&repo, 20, [package("a", 10)]);
    assert_eq!(times(&[&location], &reader).await, (20, None));
    lay_out(&repo, 10, [package("a", 10)]);
    assert_eq!(times(&[&location], &reader).await, (10, Some((20, 10))));
}
