//! One package file: the chain of trust from its first byte to its last file, and what it holds.

use std::collections::BTreeMap;

use kimg_core::{ContentSink, Digest, Entry, ImagePath, Origin};
use sha1::{Digest as _, Sha1};

use crate::error::{ApkError, Member, Problem};
use crate::member::{Unpacked, small_files, unpack};
use crate::pkginfo::PkgInfo;
use crate::signature::{check_packing, signatures, verify};
use crate::{Identity, KeyRing, Limits, Record, data};

/// A package whose every byte was checked.
#[derive(Debug, Clone)]
pub struct Package {
    /// What its `.PKGINFO` says, with its identity and the size of the file.
    pub record: Record,
    /// Its paths in the order of the archive, each with the package as its origin. A path may come twice: the later one counts.
    pub entries: Vec<(ImagePath, Entry)>,
    /// The scripts it would have run, by name: `.post-install`, `.trigger`, …
    pub scripts: Vec<String>,
    /// The folders whose change its `.trigger` waits for, as written, with their wildcards.
    pub triggers: Vec<String>,
    /// The SHA-256 of the whole `.apk`.
    pub digest: Digest,
    /// The file name of the key whose signature was verified; `None` when only the index vouched for it.
    pub signed_by: Option<String>,
    /// SHA-1 of every file's bytes and every link's target, for `lib/apk/db/installed`.
    pub(crate) checksums: BTreeMap<ImagePath, [u8; 20]>,
    /// `.PKGINFO` as it was.
    pub(crate) pkginfo: String,
}

/// The scripts that apk knows (apk-tools 2, `apk_script_type`).
const SCRIPTS: [&str; 7] = [
    ".pre-install",
    ".post-install",
    ".pre-upgrade",
    ".post-upgrade",
    ".pre-deinstall",
    ".post-deinstall",
    ".trigger",
];

/// Reads and verifies one `.apk`, and streams its files into `sink`.
///
/// `expected` is the record of the signed index that this file was fetched for, `arch` Alpine's name of the
/// architecture it is wanted for (`noarch` packages fit every one). Each link of the chain is compared:
///
/// 1. the size of the file with `S:`, the SHA-1 of the compressed control member with `C:`;
/// 2. the signature with the compressed control member;
/// 3. name, version and architecture in `.PKGINFO` with the record and with `arch`;
/// 4. the SHA-256 of the compressed data member with `datahash`;
/// 5. each file and symbolic link with its own SHA-1.
///
/// When `expected` carries an identity, the signed index has vouched for the control member, and as in apk that is
/// enough: the package may be unsigned or signed with a key that is not in the ring (Alpine's builders change keys while old
/// packages stay). But a signature by a key of the ring must fit in any case. Without an identity, a fitting signature by a
/// key of the ring is required.
///
/// Nothing signs how the signature itself is packed, so one form of it is taken, the one that abuild's packers write: a
/// package in which any single byte was changed is refused.
///
/// # Errors
/// Whatever does not compare: class `Verification`. What is not a package, or holds what an image can't:
/// `Malformed`. Larger than a limit: `Limit`. What `sink` can't keep: `LocalIo`. On an error, some files may be in the sink.
pub fn read_package(
    bytes: &[u8],
    keys: &KeyRing,
    expected: Option<&Record>,
    arch: &str,
    limits: &Limits,
    sink: &mut dyn ContentSink,
) -> Result<Package, ApkError> {
    let subject = match expected {
        Some(record) => format!("package {}", record.id()),
        None => "the package".to_owned(),
    };
    let fail = |problem: Problem| problem.of(subject.as_str());
    if let Some(record) = expected
        && record.size != bytes.len() as u64
    {
        return Err(fail(Problem::Size { expected: record.size, found: bytes.len() as u64 }));
    }
    at_most(bytes, limits.package_size, "the package file").map_err(fail)?;
    refuse_version_3(bytes).map_err(fail)?;

    let (first, rest) = unpack(bytes, Member::Signature, limits.control_size, &subject)?;
    let signatures = signatures(&first, limits).map_err(fail)?;
    let (second, packed_data);
    let control = if signatures.is_empty() {
        packed_data = rest;
        &first
    } else {
        check_packing(&first).map_err(fail)?;
        (second, packed_data) = unpack(rest, Member::Control, limits.control_size, &subject)?;
        &second
    };
    let identity = identity_of(control.packed);
    let vouched = expected.and_then(|record| record.identity);
    if let Some(expected) = vouched
        && expected != identity
    {
        return Err(fail(Problem::Identity { expected, found: identity }));
    }
    let signed_by = match verify(&signatures, control.packed, keys) {
        Ok(key) => Some(key),
        Err(Problem::Unsigned | Problem::UnknownKey { .. }) if vouched.is_some() => None,
        Err(problem) => return Err(fail(problem)),
    };

    let (pkginfo, scripts) = control_files(control, limits).map_err(fail)?;
    let info = PkgInfo::parse(&pkginfo, limits).map_err(fail)?;
    let found = info.record.id();
    if let Some(record) = expected {
        // As written: `1.0` and `1.00` are the same version, but not the same package.
        let differs =
            record.name != info.record.name || record.version.as_str() != info.record.version.as_str();
        if differs {
            let expected = record.id();
            return Err(fail(Problem::Name { expected, found }));
        }
    }
    let subject = format!("package {found}");
    let fail = |problem: Problem| problem.of(subject.as_str());
    if info.record.arch != arch && info.record.arch != "noarch" {
        return Err(fail(Problem::Architecture { expected: arch.to_owned(), found: info.record.arch }));
    }
    let datahash = Digest::of(packed_data);
    if datahash != info.datahash {
        return Err(fail(Problem::DataHash { expected: info.datahash, found: datahash }));
    }
    let origin = origin_of(&info.record);
    let data = data::read(packed_data, &origin, limits, sink).map_err(fail)?;
    let size = bytes.len() as u64;
    Ok(Package {
        record: Record { identity: Some(identity), size, ..info.record },
        entries: data.entries,
        scripts,
        triggers: info.triggers,
        digest: Digest::of(bytes),
        signed_by,
        checksums: data.checksums,
        pkginfo,
    })
}

/// The origin that every entry of this package carries.
pub(crate) fn origin_of(record: &Record) -> Origin {
    Origin::Package { name: record.name.clone(), version: record.version.to_string() }
}

pub(crate) fn at_most(bytes: &[u8], limit: u64, what: &'static str) -> Result<(), Problem> {
    if bytes.len() as u64 > limit { Err(Problem::Limit { what, limit }) } else { Ok(()) }
}

/// `ADB.` plain, `ADBd` deflated, `ADBc` with another codec (apk-tools 3, `adb.h`).
pub(crate) fn refuse_version_3(bytes: &[u8]) -> Result<(), Problem> {
    if bytes.starts_with(b"ADB") { Err(Problem::Version3) } else { Ok(()) }
}

/// `C:` of the index: the SHA-1 of the control member as compressed.
fn identity_of(packed: &[u8]) -> Identity {
    Identity::from_raw(Sha1::digest(packed).into())
}

/// `.PKGINFO` and the names of the scripts.
fn control_files(control: &Unpacked<'_>, limits: &Limits) -> Result<(String, Vec<String>), Problem> {
    let mut pkginfo = None;
    let mut scripts = Vec::new();
    small_files(control, Member::Control, limits, |name, bytes| {
        if name == ".PKGINFO" {
            once(&mut pkginfo, bytes, Member::Control, name)?;
        } else if SCRIPTS.contains(&name) {
            scripts.push(name.to_owned());
        }
        Ok(())
    })?;
    let missing = Problem::MissingEntry { member: Member::Control, name: ".PKGINFO" };
    let pkginfo = std::str::from_utf8(pkginfo.ok_or(missing)?)
        .map_err(|_| Problem::Tar { member: Member::Control, reason: ".PKGINFO is not UTF-8".into() })?;
    Ok((pkginfo.to_owned(), scripts))
}

/// Keeps the bytes of an entry that decides what a package is: of two, two readers could each take another.
fn once<'a>(slot: &mut Option<&'a [u8]>, bytes: &'a [u8], member: Member, name: &str) -> Result<(), Problem> {
    match slot.replace(bytes) {
        Some(_) => Err(Problem::Tar { member, reason: format!("it holds `{name}` twice") }),
        None => Ok(()),
    }
}
