//! Alpine's own keys and repositories, and the assembled one: whose signature is good for what.

#![expect(clippy::unwrap_used, reason = "a test that can't be set up has failed")]

use std::io::{Read as _, Write as _};
use std::path::Path;

use flate2::Compression;
use flate2::bufread::GzDecoder;
use flate2::write::GzEncoder;
use kimg_apk::{KeyRing, Limits, Problem};
use kimg_core::{Classified, ErrorClass, Platform};
use kimg_sample::Signer;
use kimg_source::repository::Reader;
use kimg_source::{Cache, Fetcher, Location, Repository, SourceError, keys};
use kimg_testkit::{Real, TempDir, real, tempdir};

fn reader() -> (TempDir, Reader) {
    let folder = tempdir().unwrap();
    let cache = Cache::open(folder.path()).unwrap();
    (folder, Reader { fetcher: Fetcher::offline(), cache, limits: Limits::default(), watch: None })
}

fn genuine(real: &Real, branch: &str) -> Repository {
    Repository::at(Location::Path(real.dir().join("signed").join(branch)))
}

fn assembled(real: &Real) -> Repository {
    Repository::at(Location::Path(real.repo()))
}

/// The first word of the name of the signature: `RSA` is over SHA-1, `RSA256` over SHA-256.
fn algorithm(file: &Path) -> String {
    let bytes = fs_err::read(file).unwrap();
    let mut name = [0; 100];
    GzDecoder::new(&bytes[..]).read_exact(&mut name).unwrap();
    let name = String::from_utf8_lossy(&name).into_owned();
    name.strip_prefix(".SIGN.").unwrap().split('.').next().unwrap().to_owned()
}

async fn verified(repository: &Repository, platform: Platform, ring: &KeyRing) -> Result<usize, SourceError> {
    let (_folder, reader) = reader();
    Ok(repository.index(platform, ring, &reader).await?.index.packages.len())
}

#[tokio::test]
async fn alpine_s_keys_verify_the_repositories_of_their_own_architecture_alone() {
    let Some(real) = real() else { return };
    for (branch, platform, packages) in [("v3.19", Platform::Amd64, 100), ("v3.13", Platform::Arm64, 65)] {
        let repository = genuine(&real, branch);
        let own = verified(&repository, platform, &keys::alpine(platform).unwrap()).await;
        assert!(own.unwrap() >= packages);
        for other in Platform::DEFAULT.into_iter().filter(|other| *other != platform) {
            let error = verified(&repository, platform, &keys::alpine(other).unwrap()).await.unwrap_err();
            let SourceError::Apk { source, .. } = &error else { panic!("{error}") };
            assert!(matches!(source.problem, Problem::UnknownKey { .. }), "{platform} by {other}: {error}");
            assert_eq!(error.class(), ErrorClass::Verification);
        }
    }
}

/// The same index, signed by the sample's key over SHA-256 in the place of its own signature.
fn signed_anew(index: &[u8], signer: &Signer) -> Vec<u8> {
    let mut first = GzDecoder::new(index);
    first.read_to_end(&mut Vec::new()).unwrap();
    let signed = first.into_inner();
    let mut tar = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_ustar();
    let signature = signer.sign(signed);
    header.set_size(signature.len() as u64);
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    tar.append_data(&mut header, format!(".SIGN.RSA256.{}", signer.key_name()), &signature[..]).unwrap();
    let mut tar = tar.into_inner().unwrap();
    // Without the two closing blocks: the tar goes on in the next member.
    tar.truncate(tar.len() - 1024);
    let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
    gzip.write_all(&tar).unwrap();
    [gzip.finish().unwrap(), signed.to_vec()].concat()
}

#[tokio::test]
async fn signatures_over_sha_1_and_over_sha_256_are_both_verified() {
    let Some(real) = real() else { return };
    let (signer, copy) = (Signer::sample(), tempdir().unwrap());
    let alpine = real.dir().join("signed/v3.19/x86_64/APKINDEX.tar.gz");
    let anew = copy.path().join("x86_64/APKINDEX.tar.gz");
    fs_err::create_dir(copy.path().join("x86_64")).unwrap();
    fs_err::write(&anew, signed_anew(&fs_err::read(&alpine).unwrap(), &signer)).unwrap();
    assert_eq!((algorithm(&alpine), algorithm(&anew)), ("RSA".into(), "RSA256".into()));

    let mut ring = KeyRing::new();
    ring.add(signer.key_name(), signer.public_pem()).unwrap();
    let (genuine, copied) = (genuine(&real, "v3.19"), Repository::at(Location::Path(copy.path().to_owned())));
    let sha_1 = verified(&genuine, Platform::Amd64, &keys::alpine(Platform::Amd64).unwrap()).await.unwrap();
    let sha_256 = verified(&copied, Platform::Amd64, &ring).await.unwrap();
    assert_eq!(sha_1, sha_256);
    // The signature is over these very bytes.
    let mut bytes = fs_err::read(&anew).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    fs_err::write(&anew, bytes).unwrap();
    let error = verified(&copied, Platform::Amd64, &ring).await.unwrap_err();
    assert_eq!(error.class(), ErrorClass::Verification, "{error}");
}

#[tokio::test]
async fn keys_of_one_s_own_replace_alpine_s_or_stand_beside_them() {
    let Some(real) = real() else { return };
    let (platform, alpine) = (Platform::Amd64, genuine(&real, "v3.19"));
    let mut replaced = KeyRing::new();
    keys::add_from(&mut replaced, &real.keys(), platform).unwrap();
    verified(&assembled(&real), platform, &replaced).await.unwrap();
    assert!(verified(&alpine, platform, &replaced).await.is_err());

    let mut added = keys::alpine(platform).unwrap();
    assert!(verified(&assembled(&real), platform, &added).await.is_err());
    keys::add_from(&mut added, &real.keys(), platform).unwrap();
    verified(&assembled(&real), platform, &added).await.unwrap();
    verified(&alpine, platform, &added).await.unwrap();
}

#[tokio::test]
async fn the_keys_that_are_compiled_in_are_those_that_alpine_installs() {
    let Some(real) = real() else { return };
    for platform in Platform::DEFAULT {
        let mut installed = KeyRing::new();
        keys::add_from(&mut installed, &real.alpine_keys(platform), platform).unwrap();
        assert_eq!(installed.digest(), keys::alpine(platform).unwrap().digest(), "{platform}");
    }
}

#[tokio::test]
async fn alpine_s_packages_vouch_for_themselves_where_the_index_does_not() {
    let Some(real) = real() else { return };
    let platform = Platform::Amd64;
    let repository = Repository { signed: false, ..genuine(&real, "v3.19") };
    let (_folder, reader) = reader();
    let ring = keys::alpine(platform).unwrap();
    let index = repository.index(platform, &ring, &reader).await.unwrap().index;
    let musl = index.packages.iter().find(|record| record.name == "musl").unwrap();
    let fetched = repository.package(musl, platform, &ring, &reader).await.unwrap();
    assert!(fetched.package.signed_by.is_some_and(|key| key.starts_with("alpine-devel@")));
    let other = keys::alpine(Platform::Arm64).unwrap();
    let error = repository.package(musl, platform, &other, &reader).await.unwrap_err();
    assert_eq!(error.class(), ErrorClass::Verification, "{error}");
}
