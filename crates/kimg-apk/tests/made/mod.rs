//! Small packages made for a test. They are unsigned: an identity from an index vouches for them.
#![allow(dead_code, unreachable_pub, reason = "each test program uses its own part of this")]
#![allow(clippy::unwrap_used, clippy::missing_panics_doc, reason = "a test that can't be set up has failed")]

pub mod signed;

use std::io::Write;

use flate2::{Compression, write::GzEncoder};
use kimg_apk::{ApkError, Identity, KeyRing, Limits, Package, Record, read_package};
use kimg_core::MemorySink;
use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, SHA256, digest};
use tar::{EntryType, Header};

/// A package in the making.
#[derive(Clone)]
pub struct Made {
    pub name: String,
    info: String,
    scripts: Vec<String>,
    data: Vec<u8>,
}

pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

pub fn sha1(bytes: &[u8]) -> [u8; 20] {
    digest(&SHA1_FOR_LEGACY_USE_ONLY, bytes).as_ref().try_into().unwrap()
}

/// One PAX record; its length counts itself.
pub fn pax_record(key: &str, value: &[u8]) -> Vec<u8> {
    let rest = key.len() + value.len() + 3;
    let length = (1..10).map(|digits| rest + digits).find(|n| n.to_string().len() + rest == *n).unwrap();
    [format!("{length} {key}=").as_bytes(), value, b"\n"].concat()
}

/// Header and bytes of one entry.
pub fn entry(kind: EntryType, path: &str, target: &str, mode: u32, pax: &[u8], bytes: &[u8]) -> Vec<u8> {
    let mut all = Vec::new();
    if !pax.is_empty() {
        all.extend(entry(EntryType::XHeader, "PaxHeader", "", 0o644, b"", pax));
    }
    let mut header = Header::new_ustar();
    header.as_mut_bytes()[..path.len()].copy_from_slice(path.as_bytes());
    header.as_mut_bytes()[157..157 + target.len()].copy_from_slice(target.as_bytes());
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(1_600_000_000);
    header.set_size(bytes.len() as u64);
    header.set_cksum();
    all.extend(header.as_bytes());
    all.extend(bytes);
    all.resize(all.len().next_multiple_of(512), 0);
    all
}

impl Made {
    pub fn new(name: &str) -> Self {
        let info = format!("pkgname = {name}\npkgver = 1.0-r0\narch = x86_64\n");
        Self { name: name.to_owned(), info, scripts: Vec::new(), data: Vec::new() }
    }

    /// A line of `.PKGINFO`.
    pub fn info(mut self, line: &str) -> Self {
        self.info += line;
        self.info += "\n";
        self
    }

    pub fn script(mut self, name: &str) -> Self {
        self.scripts.push(name.to_owned());
        self
    }

    pub fn raw(mut self, bytes: &[u8]) -> Self {
        self.data.extend(bytes);
        self
    }

    pub fn folder(self, path: &str, mode: u32) -> Self {
        self.raw(&entry(EntryType::Directory, path, "", mode, b"", b""))
    }

    pub fn file(self, path: &str, bytes: &str) -> Self {
        self.file_with(path, 0o644, &[], bytes.as_bytes())
    }

    /// A file with more PAX records.
    pub fn file_with(self, path: &str, mode: u32, pax: &[u8], bytes: &[u8]) -> Self {
        let checksum = pax_record("APK-TOOLS.checksum.SHA1", hex::encode(sha1(bytes)).as_bytes());
        self.raw(&entry(EntryType::Regular, path, "", mode, &[&checksum, pax].concat(), bytes))
    }

    pub fn link(self, path: &str, target: &str) -> Self {
        let checksum = pax_record("APK-TOOLS.checksum.SHA1", hex::encode(sha1(target.as_bytes())).as_bytes());
        self.raw(&entry(EntryType::Symlink, path, target, 0o777, &checksum, b""))
    }

    pub fn hard_link(self, path: &str, target: &str) -> Self {
        self.raw(&entry(EntryType::Link, path, target, 0o644, b"", b""))
    }

    /// The package file and the record of an index that vouches for it.
    pub fn build(&self) -> (Vec<u8>, Record) {
        let data = gzip(&[&self.data[..], &[0; 1024]].concat());
        let hash = hex::encode(digest(&SHA256, &data));
        let info = format!("{}datahash = {hash}\n", self.info);
        let mut control = entry(EntryType::Regular, ".PKGINFO", "", 0o644, b"", info.as_bytes());
        for script in &self.scripts {
            control.extend(entry(EntryType::Regular, script, "", 0o755, b"", b"#!/bin/sh\n"));
        }
        let control = gzip(&control);
        let bytes = [&control[..], &data].concat();
        let mut record = Record::new(self.name.clone(), "1.0-r0".parse().unwrap());
        record.identity = Some(Identity::from_raw(sha1(&control)));
        record.size = bytes.len() as u64;
        (bytes, record)
    }

    pub fn read(&self) -> Result<Package, ApkError> {
        let (bytes, record) = self.build();
        read_package(&bytes, &KeyRing::new(), Some(&record), "x86_64", &Limits::default(), &mut MemorySink)
    }

    pub fn package(&self) -> Package {
        self.read().unwrap()
    }
}
