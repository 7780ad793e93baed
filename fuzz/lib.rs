//! What the fuzz targets share: bytes that a fuzzer made up, wrapped so that the parser behind hashes and
//! signatures is reached.
//!
//! A fuzzer never guesses a SHA-256. So [`package_around`] packs its bytes as the data of a package whose hashes
//! fit, and [`control_around`] as its `.PKGINFO`.

use std::io::Write as _;

use flate2::{Compression, GzBuilder};
use kimg_apk::{Identity, KeyRing, Limits, Package, Record, read_package};
use kimg_core::MemorySink;
use kimg_sample::Signer;
use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, SHA256, digest};

/// Small ones: what goes beyond a limit is as well found at a small one, and sooner.
pub const LIMITS: Limits = Limits {
    package_size: 1 << 20,
    unpacked_size: 1 << 20,
    ratio: 100,
    file_size: 1 << 18,
    entries: 1000,
    names_size: 1 << 16,
    control_size: 1 << 18,
    index_size: 1 << 20,
    packages: 1000,
    relations: 10_000,
    header_size: 1 << 14,
};

/// The ring with the sample's worthless key.
pub fn keys() -> KeyRing {
    let signer = Signer::sample();
    let mut keys = KeyRing::new();
    keys.add(signer.key_name(), signer.public_pem()).expect("the sample's key is one");
    keys
}

/// One gzip member as packers of signatures write it.
pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    packed(bytes, Compression::best())
}

fn packed(bytes: &[u8], level: Compression) -> Vec<u8> {
    const IN_MEMORY: &str = "writing to memory does not fail";
    let mut member = GzBuilder::new().operating_system(3).write(Vec::new(), level);
    member.write_all(bytes).expect(IN_MEMORY);
    member.finish().expect(IN_MEMORY)
}

/// The header of one file and its bytes, padded.
pub fn tar_file(name: &str, bytes: &[u8]) -> Vec<u8> {
    let mut header = [0_u8; 512];
    header[..name.len()].copy_from_slice(name.as_bytes());
    header[100..108].copy_from_slice(b"0000644\0");
    header[108..116].copy_from_slice(b"0000000\0");
    header[116..124].copy_from_slice(b"0000000\0");
    header[124..136].copy_from_slice(format!("{:011o}\0", bytes.len()).as_bytes());
    header[136..148].copy_from_slice(b"00000000000\0");
    header[156] = b'0';
    header[257..265].copy_from_slice(b"ustar\x0000");
    sum_up(&mut header);
    let mut all = [&header[..], bytes].concat();
    all.resize(all.len().next_multiple_of(512), 0);
    all
}

/// Writes the checksum of a tar header (POSIX pax, "ustar Interchange Format").
pub fn sum_up(header: &mut [u8]) {
    header[148..156].fill(b' ');
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
}

/// Puts right the checksum of each header that stands where one is read, so that a fuzzer need not guess them.
pub fn sum_up_all(tar: &mut [u8]) {
    let mut at = 0;
    while let Some(header) = tar.get_mut(at..at + 512) {
        if header.iter().all(|byte| *byte == 0) {
            return;
        }
        sum_up(header);
        let digits = String::from_utf8_lossy(&header[124..136]).trim_matches(['\0', ' ']).to_owned();
        let size = usize::from_str_radix(&digits, 8).unwrap_or(0);
        at = at.saturating_add(512).saturating_add(size.div_ceil(512) * 512);
    }
}

/// Reads a package with this data tar, all its hashes right.
pub fn package_around(data_tar: &[u8]) -> Option<Package> {
    let data = packed(data_tar, Compression::none());
    let hash = hex::encode(digest(&SHA256, &data));
    read_unsigned(&format!("pkgname = x\npkgver = 1.0-r0\narch = x86_64\ndatahash = {hash}\n"), &data)
}

/// Reads a package whose `.PKGINFO` starts with this text.
pub fn control_around(pkginfo: &str) -> Option<Package> {
    let data = packed(&[0; 1024], Compression::none());
    let hash = hex::encode(digest(&SHA256, &data));
    read_unsigned(&format!("{pkginfo}\ndatahash = {hash}\n"), &data)
}

fn read_unsigned(pkginfo: &str, data: &[u8]) -> Option<Package> {
    let control = packed(&tar_file(".PKGINFO", pkginfo.as_bytes()), Compression::none());
    let bytes = [&control[..], data].concat();
    let field = |key: &str| {
        let line = pkginfo.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(" = "));
        line.unwrap_or_default().trim().to_owned()
    };
    let mut record = Record::new(field("pkgname"), field("pkgver").parse().ok()?);
    let sha1 = digest(&SHA1_FOR_LEGACY_USE_ONLY, &control);
    record.identity = Some(Identity::from_raw(sha1.as_ref().try_into().ok()?));
    record.size = bytes.len() as u64;
    read_package(&bytes, &KeyRing::new(), Some(&record), "x86_64", &LIMITS, &mut MemorySink).ok()
}
