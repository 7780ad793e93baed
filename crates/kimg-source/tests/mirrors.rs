//! Several mirrors of one repository: asked in order, and passed over one by one.

#![expect(clippy::unwrap_used, reason = "a test that can't be set up has failed")]

mod made;

use kimg_core::{Classified, ErrorClass};
use kimg_source::{Location, SourceError};
use kimg_testkit::{Fault, tempdir};
use made::{INDEX, Mirror, dead, fetch, index, mirrors, noise, program, reader, record};

#[tokio::test]
async fn the_first_mirror_that_answers_is_taken_and_the_others_are_not_asked() {
    let folder = tempdir().unwrap();
    let (one, two) = (Mirror::new(1), Mirror::new(1));
    let repository = mirrors([one.location(), two.location()]);
    let fetched = fetch(&repository, "a", &reader(folder.path())).await.unwrap();
    assert_eq!(program(&fetched).len(), 300_000);
    assert_eq!(one.server.asked(), [INDEX, "armv7/a-1.0-r0.apk"]);
    assert!(two.server.asked().is_empty());
}

#[tokio::test]
async fn a_dead_mirror_is_asked_for_the_first_file_only() {
    let folder = tempdir().unwrap();
    let (dying, living) = (Mirror::new(1), Mirror::new(1));
    dying.server.always("", Fault::Hangup);
    let repository = mirrors([dying.location(), living.location()]);
    let reader = reader(folder.path());
    let found = index(&repository, &reader).await.unwrap();
    assert_eq!(found.from, living.location());
    for name in ["a", "b"] {
        let record = record(&found.index, name);
        repository.package(record, made::PLATFORM, &made::keys(), &reader).await.unwrap();
    }
    assert_eq!(dying.server.asked(), [INDEX; 3], "three attempts, and then never again");
    assert_eq!(living.server.asked().len(), 3);
}

#[tokio::test]
async fn folders_and_mirrors_stand_in_for_each_other() {
    let folder = tempdir().unwrap();
    let mirror = Mirror::new(1);
    let local = Location::Path(mirror.folder.path().to_owned());
    let nowhere = Location::Path(folder.path().join("nowhere"));
    for (order, first) in [
        (vec![nowhere.clone(), dead(), mirror.location()], mirror.location()),
        (vec![dead(), local.clone(), mirror.location()], local.clone()),
    ] {
        let reader = reader(&folder.path().join(first.to_string().replace('/', "_")));
        let repository = mirrors(order);
        assert_eq!(index(&repository, &reader).await.unwrap().from, first);
        assert_eq!(program(&fetch(&repository, "b", &reader).await.unwrap()).len(), 10_000);
    }
}

#[tokio::test]
async fn a_mirror_with_wrong_bytes_or_without_the_package_is_passed_over_for_that_package_alone() {
    let folder = tempdir().unwrap();
    let (changed, lacking, good) = (Mirror::new(1), Mirror::new(1), Mirror::new(1));
    let size = fs_err::read(changed.folder.path().join("armv7/a-1.0-r0.apk")).unwrap().len();
    changed.server.always("armv7/a-1.0-r0.apk", Fault::Bytes(noise(7, size)));
    fs_err::remove_file(lacking.folder.path().join("armv7/a-1.0-r0.apk")).unwrap();
    let repository = mirrors([changed.location(), lacking.location(), good.location()]);
    let reader = reader(folder.path());
    let fetched = fetch(&repository, "a", &reader).await.unwrap();
    assert_eq!(program(&fetched).len(), 300_000);
    assert_eq!(good.server.asked(), ["armv7/a-1.0-r0.apk"]);
    fetch(&repository, "b", &reader).await.unwrap();
    assert!(changed.server.asked().contains(&"armv7/b-1.0-r0.apk".to_owned()));
}

#[tokio::test]
async fn an_index_with_a_bad_signature_leads_to_the_next_mirror_and_does_not_stay_in_the_cache() {
    let folder = tempdir().unwrap();
    let (bad, good) = (Mirror::new(1), Mirror::new(1));
    let mut bytes = fs_err::read(bad.folder.path().join(INDEX)).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    fs_err::write(bad.folder.path().join(INDEX), bytes).unwrap();
    let reader = reader(folder.path());
    let repository = mirrors([bad.location(), good.location()]);
    assert_eq!(index(&repository, &reader).await.unwrap().from, good.location());
    let alone = mirrors([bad.location()]);
    let error = index(&alone, &made::offline(&reader)).await.unwrap_err();
    assert!(matches!(error, SourceError::Offline { .. }), "{error}");
}

#[tokio::test]
async fn when_all_fail_each_mirror_is_named_with_its_failure() {
    let folder = tempdir().unwrap();
    let (refusing, changed) = (Mirror::new(1), Mirror::new(1));
    refusing.server.always("", Fault::Status(403, vec![]));
    changed.server.always(INDEX, Fault::Bytes(noise(7, 1000)));
    let secret: Location = dead().to_string().replace("http://", "http://me:hunter2@").parse().unwrap();
    let nowhere = Location::Path("/nowhere".into());
    let repository = mirrors([refusing.location(), secret.clone(), changed.location(), nowhere]);
    let error = index(&repository, &reader(folder.path())).await.unwrap_err();
    let text = error.to_string();
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines[0], "no mirror has a good index for linux/arm/v7:");
    assert_eq!(lines[1], format!("  {} answered 403", refusing.server.url(INDEX)));
    assert!(lines[2].starts_with(&format!("  fetching {secret}/{INDEX} failed 3 times: ")), "{text}");
    assert!(lines[3].starts_with(&format!("  index {}: the index: ", changed.server.url(INDEX))), "{text}");
    assert_eq!(lines[4], "  the index does not exist: /nowhere/armv7/APKINDEX.tar.gz");
    assert!(!format!("{text} {error:?}").contains("hunter2"), "{error:?}");
    assert_eq!(error.class(), ErrorClass::Network);
}

#[tokio::test]
async fn one_mirror_alone_fails_with_its_own_error() {
    let folder = tempdir().unwrap();
    let error = index(&mirrors([dead()]), &reader(folder.path())).await.unwrap_err();
    assert!(matches!(error, SourceError::Network { attempts: 3, .. }), "{error}");
}
