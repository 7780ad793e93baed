//! Packages: what vouches for them, and what becomes of a cache that was changed.

#![expect(clippy::unwrap_used, reason = "a test that can't be set up has failed")]

mod made;

use std::path::{Path, PathBuf};

use kimg_apk::{Index, KeyRing, Limits, Record, write_index};
use kimg_core::{Classified, ErrorClass};
use kimg_sample::Signer;
use kimg_sample::package::BuiltPackage;
use kimg_source::repository::Fetched;
use kimg_source::{Location, Repository, SourceError};
use kimg_testkit::tempdir;
use made::{Mirror, PLATFORM, fetch, keys, mirrors, noise, offline, package, package_by, program, reader};

/// A folder with these packages under an index that nobody signed.
fn vendored(folder: &Path, packages: &[BuiltPackage]) -> Repository {
    let arch = folder.join("armv7");
    fs_err::create_dir_all(&arch).unwrap();
    let text: String = packages.iter().map(|package| package.record() + "\n").collect();
    let index = Index::parse(text.as_bytes(), &Limits::default()).unwrap();
    let records: Vec<&Record> = index.packages.iter().collect();
    fs_err::write(arch.join("APKINDEX.tar.gz"), write_index("vendored", &records)).unwrap();
    for package in packages {
        fs_err::write(arch.join(package.file_name()), &package.bytes).unwrap();
    }
    Repository { signed: false, ..Repository::at(Location::Path(folder.to_owned())) }
}

/// The package without its signature.
fn unsigned(mut package: BuiltPackage) -> BuiltPackage {
    package.bytes.drain(..package.member_sizes[0]);
    package.member_sizes[0] = 0;
    package.set_field('S', package.bytes.len().to_string());
    package
}

#[tokio::test]
async fn without_a_signed_index_each_package_vouches_for_itself() {
    let folder = tempdir().unwrap();
    let repository = vendored(&folder.path().join("vendor"), &[package("a", 10_000)]);
    let reader = reader(folder.path());
    let fetched = fetch(&repository, "a", &reader).await.unwrap();
    assert_eq!(fetched.package.signed_by.as_deref(), Some(Signer::sample().key_name()));
    assert!(fetch(&repository, "a", &reader).await.unwrap().from_cache);
    let signed = Repository { signed: true, ..repository };
    let error = fetch(&signed, "a", &reader).await.unwrap_err();
    assert!(
        error.class() == ErrorClass::Verification,
        "an unsigned index is not taken for a signed one: {error}"
    );
}

async fn refused(package: BuiltPackage) -> String {
    let folder = tempdir().unwrap();
    let repository = vendored(&folder.path().join("vendor"), &[package]);
    let error = fetch(&repository, "a", &reader(folder.path())).await.unwrap_err();
    assert_eq!(error.class(), ErrorClass::Verification, "{error:?}");
    format!("{error}: {}", std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default())
}

#[tokio::test]
async fn without_a_signed_index_an_unsigned_or_wrongly_signed_package_is_refused() {
    assert!(refused(unsigned(package("a", 100))).await.ends_with("is not signed"));
    let stranger = package_by(&Signer::stranger(), "a", 100);
    assert!(refused(stranger).await.contains("kimg-stranger-worthless.rsa.pub"));
    let claims = Signer::stranger().with_key_name(Signer::sample().key_name());
    assert!(refused(package_by(&claims, "a", 100)).await.contains("does not fit"));
}

#[tokio::test]
async fn a_good_package_that_is_not_the_one_the_index_names_is_refused() {
    let folder = tempdir().unwrap();
    let vendor = folder.path().join("vendor");
    let (listed, mut other) = (package("a", 100), package("a", 100));
    other.bytes.clone_from(
        &kimg_sample::package::PackageBuilder::new("a", "1.0-r0", PLATFORM)
            .entry(kimg_sample::package::TarEntry::program("usr/bin/a", noise(9, 100)))
            .build(&Signer::sample())
            .bytes,
    );
    let mut listed_with_its_size = listed.clone();
    listed_with_its_size.set_field('S', other.bytes.len().to_string());
    let repository = vendored(&vendor, &[listed_with_its_size]);
    fs_err::write(vendor.join("armv7/a-1.0-r0.apk"), &other.bytes).unwrap();
    let error = fetch(&repository, "a", &reader(folder.path())).await.unwrap_err();
    assert!(matches!(error, SourceError::Mismatch { .. }), "{error}");
}

#[tokio::test]
async fn what_was_unpacked_under_other_keys_is_verified_again() {
    let folder = tempdir().unwrap();
    let repository = vendored(&folder.path().join("vendor"), &[package("a", 100)]);
    let reader = reader(folder.path());
    let index = repository.index(PLATFORM, &keys(), &reader).await.unwrap().index;
    repository.package(&index.packages[0], PLATFORM, &keys(), &reader).await.unwrap();
    let error = repository.package(&index.packages[0], PLATFORM, &KeyRing::new(), &reader).await.unwrap_err();
    assert_eq!(error.class(), ErrorClass::Verification, "{error}");
}

#[tokio::test]
async fn a_signed_index_vouches_for_packages_whose_key_is_gone() {
    let folder = tempdir().unwrap();
    let repo = folder.path().join("repo");
    made::lay_out(&repo, 1, [package_by(&Signer::stranger(), "a", 100)]);
    let repository = Repository::at(Location::Path(repo));
    assert_eq!(fetch(&repository, "a", &reader(folder.path())).await.unwrap().package.signed_by, None);
}

/// The files of the cache in one of its folders.
fn cached(folder: &Path, part: &str) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut folders = vec![folder.join("cache/v1").join(part)];
    while let Some(folder) = folders.pop() {
        for entry in fs_err::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { folders.push(path) } else { files.push(path) }
        }
    }
    files
}

/// Changes every file there in its middle, and leaves its length.
fn spoil(folder: &Path, part: &str) {
    for file in cached(folder, part) {
        let mut bytes = fs_err::read(&file).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs_err::write(file, bytes).unwrap();
    }
}

fn whole(fetched: &Fetched) -> bool {
    program(fetched) == noise(u64::from(b'a'), 300_000)
}

#[tokio::test]
async fn a_content_that_was_changed_is_unpacked_again_even_offline() {
    let folder = tempdir().unwrap();
    let mirror = Mirror::new(1);
    let (repository, reader) = (mirrors([mirror.location()]), reader(folder.path()));
    assert!(whole(&fetch(&repository, "a", &reader).await.unwrap()));
    mirror.server.forget();
    for reader in [reader.clone(), offline(&reader)] {
        assert!(fetch(&repository, "a", &reader).await.unwrap().from_cache);
        spoil(folder.path(), "content");
        let mended = fetch(&repository, "a", &reader).await.unwrap();
        assert!(whole(&mended) && !mended.from_cache);
    }
    assert_eq!(mirror.server.asked(), [made::INDEX; 2], "the package was still in the cache");
}

#[tokio::test]
async fn a_package_that_was_changed_too_is_fetched_again_and_offline_refused() {
    let folder = tempdir().unwrap();
    let mirror = Mirror::new(1);
    let (repository, reader) = (mirrors([mirror.location()]), reader(folder.path()));
    fetch(&repository, "a", &reader).await.unwrap();
    spoil(folder.path(), "content");
    spoil(folder.path(), "apk");
    let error = fetch(&repository, "a", &offline(&reader)).await.unwrap_err();
    assert_eq!(error.class(), ErrorClass::Verification);
    let text = error.to_string();
    assert!(text.contains("\n  the cache: ") && text.ends_with("nothing may be fetched"), "{text}");
    assert!(whole(&fetch(&repository, "a", &reader).await.unwrap()));
    assert!(whole(&fetch(&repository, "a", &offline(&reader)).await.unwrap()));
}

#[tokio::test]
async fn records_that_were_changed_or_name_what_is_gone_are_as_good_as_none() {
    let folder = tempdir().unwrap();
    let mirror = Mirror::new(1);
    let (repository, reader) = (mirrors([mirror.location()]), reader(folder.path()));
    fetch(&repository, "a", &reader).await.unwrap();
    for file in cached(folder.path(), "record/unpacked") {
        fs_err::write(file, "{}").unwrap();
    }
    assert!(!fetch(&repository, "a", &reader).await.unwrap().from_cache);
    fs_err::remove_dir_all(folder.path().join("cache/v1/content")).unwrap();
    let again = made::reader(folder.path());
    assert!(whole(&fetch(&repository, "a", &again).await.unwrap()));
}

#[tokio::test]
async fn offline_without_the_package_it_is_said() {
    let folder = tempdir().unwrap();
    let mirror = Mirror::new(1);
    let (repository, reader) = (mirrors([mirror.location()]), reader(folder.path()));
    made::index(&repository, &reader).await.unwrap();
    let error = fetch(&repository, "a", &offline(&reader)).await.unwrap_err();
    let url = mirror.server.url("armv7/a-1.0-r0.apk");
    assert_eq!(
        error.to_string(),
        format!("the package {url} is not in the cache, and nothing may be fetched")
    );
    assert_eq!(error.hint().as_deref(), Some("run once without `--offline` to fill the cache"));
}
