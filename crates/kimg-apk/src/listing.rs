//! A package without its bytes, to be kept beside a store that has them.

use std::collections::BTreeMap;

use kimg_core::{Content, Digest, Entry, ImagePath, Kind};
use serde::{Deserialize, Serialize};

use crate::package::origin_of;
use crate::pkginfo::PkgInfo;
use crate::{Identity, Limits, Package, Record};

/// Everything about a [`Package`] except the bytes of its files: write it beside a store of contents,
/// and a package need not be unpacked a second time.
///
/// It vouches for nothing by itself: keep it where only kimg writes, under the digest of the `.apk` it was made from,
/// and let the contents be hashed again when they are used ([`Content::copy_to`] does).
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Listing {
    pkginfo: String,
    identity: Option<Identity>,
    /// Bytes of the `.apk`.
    size: u64,
    digest: Digest,
    signed_by: Option<String>,
    scripts: Vec<String>,
    entries: Vec<Line>,
}

/// One path.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    path: ImagePath,
    kind: Shape,
    mode: u32,
    uid: u32,
    gid: u32,
    mtime: u64,
    /// Values in hex.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    xattrs: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sha1: Option<String>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Shape {
    Directory,
    File {
        digest: Digest,
        size: u64,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        inode: Option<ImagePath>,
    },
    Symlink {
        target: String,
    },
}

impl Package {
    /// This package without the bytes of its files.
    pub fn listing(&self) -> Listing {
        let line = |(path, entry): &(ImagePath, Entry)| Line {
            path: path.clone(),
            kind: match &entry.kind {
                Kind::Directory => Shape::Directory,
                Kind::File { content, inode } => {
                    Shape::File { digest: content.digest(), size: content.size(), inode: inode.clone() }
                }
                Kind::Symlink { target } => Shape::Symlink { target: target.clone() },
            },
            mode: entry.mode,
            uid: entry.uid,
            gid: entry.gid,
            mtime: entry.mtime,
            xattrs: entry.xattrs.iter().map(|(name, value)| (name.clone(), hex::encode(value))).collect(),
            sha1: self.checksums.get(path).map(hex::encode),
        };
        Listing {
            pkginfo: self.pkginfo.clone(),
            identity: self.record.identity,
            size: self.record.size,
            digest: self.digest,
            signed_by: self.signed_by.clone(),
            scripts: self.scripts.clone(),
            entries: self.entries.iter().map(line).collect(),
        }
    }
}

impl Listing {
    /// The SHA-256 of the `.apk` that this is the listing of.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// The package again, with its bytes from `open`, which is asked for each content by digest and size.
    ///
    /// `None` when a content can't be had, or when the listing does not hold together: read the package anew then.
    pub fn restore(self, mut open: impl FnMut(Digest, u64) -> Option<Content>) -> Option<Package> {
        let info =
            PkgInfo::parse(&self.pkginfo, &Limits { relations: usize::MAX, ..Limits::default() }).ok()?;
        let record = Record { identity: self.identity, size: self.size, ..info.record };
        let origin = origin_of(&record);
        let mut entries = Vec::with_capacity(self.entries.len());
        let mut checksums = BTreeMap::new();
        for line in self.entries {
            let kind = match line.kind {
                Shape::Directory => Kind::Directory,
                Shape::File { digest, size, inode } => {
                    let content = open(digest, size).filter(|c| c.digest() == digest && c.size() == size)?;
                    Kind::File { content, inode }
                }
                Shape::Symlink { target } => Kind::Symlink { target },
            };
            if let Some(sha1) = line.sha1 {
                let mut raw = [0; 20];
                hex::decode_to_slice(sha1, &mut raw).ok()?;
                checksums.insert(line.path.clone(), raw);
            }
            if line.mode > 0o7777 || line.path.is_root() {
                return None;
            }
            let xattrs = line
                .xattrs
                .into_iter()
                .map(|(name, value)| Some((name, hex::decode(value).ok()?)))
                .collect::<Option<_>>()?;
            let (mode, uid, gid, mtime) = (line.mode, line.uid, line.gid, line.mtime);
            entries.push((line.path, Entry { kind, mode, uid, gid, mtime, xattrs, origin: origin.clone() }));
        }
        Some(Package {
            record,
            entries,
            scripts: self.scripts,
            triggers: info.triggers,
            digest: self.digest,
            signed_by: self.signed_by,
            checksums,
            pkginfo: self.pkginfo,
        })
    }
}
