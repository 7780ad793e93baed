//! Packages and indexes that are signed, part by part: each part can be made wrong.

use std::io::Write;

use flate2::{Compression, GzBuilder};
use kimg_apk::{Identity, KeyRing, Record};
use kimg_sample::Signer;
use ring::digest::{SHA256, digest};
use tar::EntryType;

use super::{entry, gzip, sha1};

/// The ring with the sample's key.
pub fn ring() -> KeyRing {
    let signer = Signer::sample();
    let mut keys = KeyRing::new();
    keys.add(signer.key_name(), signer.public_pem()).unwrap();
    keys
}

/// A gzip member as packers of signatures write it.
pub fn gzip_best(bytes: &[u8]) -> Vec<u8> {
    let mut member = GzBuilder::new().operating_system(3).write(Vec::new(), Compression::best());
    member.write_all(bytes).unwrap();
    member.finish().unwrap()
}

/// The header and bytes of a file in a signature or control member.
pub fn plain(name: &str, bytes: &[u8]) -> Vec<u8> {
    entry(EntryType::Regular, name, "", 0o644, b"", bytes)
}

/// The name of a signature's entry.
pub fn sign_entry(kind: &str, signer: &Signer) -> String {
    format!(".SIGN.{kind}.{}", signer.key_name())
}

/// A signature member with one right signature.
pub fn signature(signed: &[u8]) -> Vec<u8> {
    let signer = Signer::sample();
    gzip_best(&plain(&sign_entry("RSA256", &signer), &signer.sign(signed)))
}

/// A `.PKGINFO` but for `datahash`.
pub const INFO: &str = "pkgname = x\npkgver = 1.0-r0\narch = x86_64\n";

pub fn datahash(data: &[u8]) -> String {
    format!("datahash = {}\n", hex::encode(digest(&SHA256, data)))
}

/// A control member with this `.PKGINFO`, as it is.
pub fn control(pkginfo: &[u8]) -> Vec<u8> {
    gzip_best(&plain(".PKGINFO", pkginfo))
}

/// A whole data member: its tar gets the closing zeros.
pub fn data(tar: &[u8]) -> Vec<u8> {
    gzip(&[tar, &[0; 1024]].concat())
}

/// A file with its checksum, as data members hold it.
pub fn file(path: &str, bytes: &[u8]) -> Vec<u8> {
    entry(EntryType::Regular, path, "", 0o644, &checksum(bytes), bytes)
}

pub fn link(path: &str, target: &str) -> Vec<u8> {
    entry(EntryType::Symlink, path, target, 0o777, &checksum(target.as_bytes()), b"")
}

pub fn checksum(bytes: &[u8]) -> Vec<u8> {
    super::pax_record("APK-TOOLS.checksum.SHA1", hex::encode(sha1(bytes)).as_bytes())
}

/// Writes the checksum of a tar header anew, after a change to it.
pub fn sum_up(header: &mut [u8]) {
    header[148..156].fill(b' ');
    let sum: u32 = header[..512].iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
}

/// A package signed with the sample's key.
pub fn signed_package(control: &[u8], data: &[u8]) -> Vec<u8> {
    [&signature(control)[..], control, data].concat()
}

/// What an index says of a package of this control member and size.
pub fn record(control: &[u8], size: usize) -> Record {
    let mut record = Record::new("x", "1.0-r0".parse().unwrap());
    record.identity = Some(Identity::from_raw(sha1(control)));
    record.size = size as u64;
    record
}

/// A signed index whose second member holds this tar.
pub fn signed_index(tar: &[u8]) -> Vec<u8> {
    let records = gzip_best(tar);
    [signature(&records), records].concat()
}

/// The tar of an index with this text.
pub fn index_tar(text: &[u8]) -> Vec<u8> {
    [plain("DESCRIPTION", b"made by a test"), plain("APKINDEX", text), vec![0; 1024]].concat()
}
