//! Genuine packages and indexes, with the signatures that Alpine made.

mod real;

use kimg_apk::{ApkError, KeyRing, Limits, Listing, Package, Problem, Record, read_index, read_package};
use kimg_core::{Classified, Digest, ErrorClass, Kind, MemorySink};
use real::SmallOnly;
use std::io::Read;

/// Verifies a package as its repository signs it; the bytes of its files are hashed and let go.
fn read(repository: &real::Repository, bytes: &[u8], record: Option<&Record>) -> Result<Package, ApkError> {
    read_package(bytes, &repository.keys, record, &repository.arch, &Limits::default(), &mut SmallOnly)
}

#[test]
fn every_package_that_alpine_signed_is_verified_to_its_last_file() {
    let Some(repositories) = real::genuine() else { return };
    let mut counts = Vec::new();
    for repository in &repositories {
        for record in &repository.index.packages {
            let bytes = repository.bytes(record);
            let package = read(repository, &bytes, Some(record)).unwrap_or_else(|error| panic!("{error}"));
            assert!(package.signed_by.is_some(), "{} was not verified by its own signature", record.id());
            assert_eq!(package.digest, Digest::of(&bytes));
            // What the index says of a package, the package says of itself.
            assert_eq!(
                (&package.record.depends, &package.record.provides),
                (&record.depends, &record.provides)
            );
            assert_eq!(package.record.identity, record.identity);
            assert_eq!(
                (package.record.size, package.record.installed_size),
                (record.size, record.installed_size)
            );
            // Without the index, the package's own signature is enough.
            let alone = read(repository, &bytes, None);
            assert_eq!(alone.unwrap().entries.len(), package.entries.len());
        }
        counts.push(repository.index.packages.len());
    }
    assert_eq!(counts, [100, 65]);
}

#[test]
fn the_full_indexes_of_alpine_are_verified() {
    let Some(input) = real::input() else { return };
    let keys = real::keys(&input.join("alpine-keys/x86_64"));
    for (repository, at_least) in [("main", 5000), ("community", 15000)] {
        let bytes =
            fs_err::read(input.join("index/v3.19").join(repository).join("x86_64/APKINDEX.tar.gz")).unwrap();
        let index = read_index(&bytes, &keys, &Limits::default()).unwrap();
        assert!(index.packages.len() > at_least, "{repository}: {}", index.packages.len());
    }
}

#[test]
fn a_key_that_is_not_there_is_named_with_those_that_are() {
    let Some(input) = real::input() else { return };
    let bytes = fs_err::read(input.join("signed/v3.13/aarch64/APKINDEX.tar.gz")).unwrap();
    let others = real::keys(&input.join("alpine-keys/armv7"));
    let error = read_index(&bytes, &others, &Limits::default()).unwrap_err();
    assert_eq!(error.class(), ErrorClass::Verification);
    assert_eq!(
        error.to_string(),
        "the index: is signed with `alpine-devel@lists.alpinelinux.org-58199dcc.rsa.pub`, which is not among the trusted keys"
    );
    let hint = error.hint().unwrap();
    assert!(hint.contains("alpine-devel@lists.alpinelinux.org-616adfeb.rsa.pub"), "{hint}");
}

#[test]
fn a_key_with_the_right_bytes_and_another_name_is_not_searched_for() {
    let Some(input) = real::input() else { return };
    let bytes = fs_err::read(input.join("signed/v3.13/aarch64/APKINDEX.tar.gz")).unwrap();
    let pem = fs_err::read_to_string(
        input.join("alpine-keys/aarch64/alpine-devel@lists.alpinelinux.org-58199dcc.rsa.pub"),
    );
    let mut keys = KeyRing::new();
    keys.add("renamed.rsa.pub", &pem.unwrap()).unwrap();
    let error = read_index(&bytes, &keys, &Limits::default()).unwrap_err();
    assert!(matches!(error.problem, Problem::UnknownKey { .. }), "{error}");
}

#[test]
fn another_key_under_the_right_name_is_a_wrong_signature() {
    let Some(input) = real::input() else { return };
    let bytes = fs_err::read(input.join("signed/v3.13/aarch64/APKINDEX.tar.gz")).unwrap();
    let folder = input.join("alpine-keys/aarch64");
    let other =
        fs_err::read_to_string(folder.join("alpine-devel@lists.alpinelinux.org-616ae350.rsa.pub")).unwrap();
    let mut keys = KeyRing::new();
    keys.add("alpine-devel@lists.alpinelinux.org-58199dcc.rsa.pub", &other).unwrap();
    let error = read_index(&bytes, &keys, &Limits::default()).unwrap_err();
    assert!(matches!(error.problem, Problem::WrongSignature { algorithm: "RSA", .. }), "{error}");
}

#[test]
fn a_package_is_refused_when_it_is_not_the_one_that_the_index_means() {
    let Some(repositories) = real::genuine() else { return };
    let repository = &repositories[0];
    let newest = repository.newest();
    let busybox = newest["busybox"];
    let bytes = repository.bytes(busybox);
    let read = |record: &kimg_apk::Record, arch: &str, limits: &Limits| {
        read_package(&bytes, &repository.keys, Some(record), arch, limits, &mut MemorySink).unwrap_err()
    };
    let limits = Limits::default();

    let error = read(newest["musl"], "x86_64", &limits);
    assert!(
        matches!(error.problem, Problem::Size { .. }) && error.class() == ErrorClass::Verification,
        "{error}"
    );

    let mut same_size = newest["musl"].clone();
    same_size.size = busybox.size;
    let error = read(&same_size, "x86_64", &limits);
    assert!(
        matches!(error.problem, Problem::Identity { .. }) && error.class() == ErrorClass::Verification,
        "{error}"
    );

    let mut no_identity = same_size.clone();
    no_identity.identity = None;
    let error = read(&no_identity, "x86_64", &limits);
    assert!(
        matches!(error.problem, Problem::Name { .. }) && error.class() == ErrorClass::Verification,
        "{error}"
    );
    assert!(error.to_string().contains("is busybox-1.36.1-r15 where the index says musl-"), "{error}");

    let error = read(busybox, "aarch64", &limits);
    assert_eq!(error.to_string(), "package busybox-1.36.1-r15: is made for x86_64, not for aarch64");

    for limits in [
        Limits { package_size: 1000, ..limits },
        Limits { unpacked_size: 1000, ..limits },
        Limits { file_size: 1000, ..limits },
        Limits { entries: 3, ..limits },
        Limits { control_size: 100, ..limits },
        Limits { header_size: 10, ..limits },
    ] {
        let error = read(busybox, "x86_64", &limits);
        assert_eq!(error.class(), ErrorClass::Limit, "{error}: {limits:?}");
    }
}

#[test]
fn a_flipped_byte_anywhere_is_noticed() {
    let Some(repositories) = real::genuine() else { return };
    let repository = &repositories[1];
    let record = repository.newest()["bridge"];
    let good = repository.bytes(record);
    let keys = &repository.keys;
    let limits = Limits::default();
    let signatures = |bytes: &[u8]| {
        let mut decoder = flate2::bufread::GzDecoder::new(bytes);
        let mut unpacked = Vec::new();
        decoder.read_to_end(&mut unpacked).unwrap();
        let rest = decoder.into_inner().len();
        (unpacked, bytes.len() - rest)
    };
    let (unpacked, first) = signatures(&good);
    // Every byte of the small package, once through the index and once by its own signature.
    for at in 0..good.len() {
        let mut bytes = good.clone();
        bytes[at] ^= 1 << (at % 8);
        for expected in [Some(record), None] {
            let found = read_package(&bytes, keys, expected, "aarch64", &limits, &mut SmallOnly);
            if at >= first {
                assert!(found.is_err(), "a change at byte {at} went unnoticed");
            } else if let Ok(package) = found {
                // Nothing signs how the signature itself is packed (the time in its gzip header, say):
                // the signature must then be the same, and the digest of the whole shows the change.
                assert_eq!(signatures(&bytes).0, unpacked, "the signature was changed at byte {at}");
                assert_ne!(package.digest, Digest::of(&good));
            }
        }
    }
}

#[test]
fn a_package_cut_short_anywhere_is_noticed() {
    let Some(repositories) = real::genuine() else { return };
    let repository = &repositories[1];
    let record = repository.newest()["bridge"];
    let good = repository.bytes(record);
    for length in 0..good.len() {
        let found = read_package(
            &good[..length],
            &repository.keys,
            None,
            "aarch64",
            &Limits::default(),
            &mut SmallOnly,
        );
        assert!(found.is_err(), "{length} of {} bytes were taken for a package", good.len());
    }
    let longer = [&good[..], b"\0"].concat();
    let found = read_package(&longer, &repository.keys, None, "aarch64", &Limits::default(), &mut SmallOnly);
    assert!(matches!(found.unwrap_err().problem, Problem::DataHash { .. }));
}

#[test]
fn a_listing_gives_the_same_package_back() {
    let Some(repositories) = real::genuine() else { return };
    let repository = &repositories[0];
    for name in ["busybox", "alpine-baselayout", "doas"] {
        let record = repository.newest()[name];
        let bytes = repository.bytes(record);
        let package = read_package(
            &bytes,
            &repository.keys,
            Some(record),
            "x86_64",
            &Limits::default(),
            &mut MemorySink,
        )
        .unwrap();
        let text = serde_json::to_string(&package.listing()).unwrap();
        let listing: Listing = serde_json::from_str(&text).unwrap();
        let contents: std::collections::HashMap<_, _> = package
            .entries
            .iter()
            .filter_map(|(_, entry)| entry.content().map(|content| (content.digest(), content.clone())))
            .collect();
        let again = listing.clone().restore(|digest, _| contents.get(&digest).cloned()).unwrap();
        assert_eq!(again.entries, package.entries);
        assert_eq!(
            (&again.record, &again.scripts, &again.triggers),
            (&package.record, &package.scripts, &package.triggers)
        );
        assert_eq!((again.digest, &again.signed_by), (package.digest, &package.signed_by));
        assert!(listing.restore(|_, _| None).is_none(), "contents that can't be had");
    }
}

#[test]
fn hard_links_share_their_inode_and_bytes_with_the_first_of_them() {
    let Some(repositories) = real::genuine() else { return };
    let mut links = 0;
    for repository in &repositories {
        for record in &repository.index.packages {
            let bytes = repository.bytes(record);
            let package = read(repository, &bytes, Some(record)).unwrap();
            for (path, entry) in &package.entries {
                let Kind::File { content, inode: Some(first) } = &entry.kind else { continue };
                let (_, leader) = package.entries.iter().find(|(p, _)| p == first).unwrap();
                assert_eq!(leader.content(), Some(content));
                links += usize::from(first != path);
            }
        }
    }
    assert_eq!(links, 909, "the genuine packages hold that many hard links");
}
