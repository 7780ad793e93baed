//! Whose signatures are trusted.
//!
//! Without settings these are Alpine's own public keys, as Alpine's package `alpine-keys` installs them for
//! each architecture; they are compiled in, so that the default source can be verified on a machine that has
//! never seen Alpine. A folder of keys replaces them.

use std::path::Path;

use fs_err as fs;
use kimg_apk::KeyRing;
use kimg_core::Platform;

use crate::SourceError;

/// A public key is a few hundred bytes: what is larger is none.
const KEY_LIMIT: u64 = 64 * 1024;

const X86_64: [(&str, &str); 3] = [
    (
        "alpine-devel@lists.alpinelinux.org-4a6a0840.rsa.pub",
        include_str!("../alpine-keys/x86_64/alpine-devel@lists.alpinelinux.org-4a6a0840.rsa.pub"),
    ),
    (
        "alpine-devel@lists.alpinelinux.org-5261cecb.rsa.pub",
        include_str!("../alpine-keys/x86_64/alpine-devel@lists.alpinelinux.org-5261cecb.rsa.pub"),
    ),
    (
        "alpine-devel@lists.alpinelinux.org-6165ee59.rsa.pub",
        include_str!("../alpine-keys/x86_64/alpine-devel@lists.alpinelinux.org-6165ee59.rsa.pub"),
    ),
];

const AARCH64: [(&str, &str); 2] = [
    (
        "alpine-devel@lists.alpinelinux.org-58199dcc.rsa.pub",
        include_str!("../alpine-keys/aarch64/alpine-devel@lists.alpinelinux.org-58199dcc.rsa.pub"),
    ),
    (
        "alpine-devel@lists.alpinelinux.org-616ae350.rsa.pub",
        include_str!("../alpine-keys/aarch64/alpine-devel@lists.alpinelinux.org-616ae350.rsa.pub"),
    ),
];

const ARMV7: [(&str, &str); 2] = [
    (
        "alpine-devel@lists.alpinelinux.org-524d27bb.rsa.pub",
        include_str!("../alpine-keys/armv7/alpine-devel@lists.alpinelinux.org-524d27bb.rsa.pub"),
    ),
    (
        "alpine-devel@lists.alpinelinux.org-616adfeb.rsa.pub",
        include_str!("../alpine-keys/armv7/alpine-devel@lists.alpinelinux.org-616adfeb.rsa.pub"),
    ),
];

/// The keys that Alpine signs this architecture's repositories with. None are known for arm/v6.
pub fn alpine(platform: Platform) -> Result<KeyRing, SourceError> {
    let mut ring = KeyRing::new();
    for (name, pem) in alpine_files(platform) {
        add(&mut ring, name, pem)?;
    }
    Ok(ring)
}

/// The same keys as files: names, by which signatures call them, and contents.
pub fn alpine_files(platform: Platform) -> &'static [(&'static str, &'static str)] {
    match platform {
        Platform::Amd64 => &X86_64,
        Platform::Arm64 => &AARCH64,
        Platform::ArmV7 => &ARMV7,
        Platform::ArmV6 => &[],
    }
}

fn add(ring: &mut KeyRing, name: &str, pem: &str) -> Result<(), SourceError> {
    ring.add(name, pem).map_err(|source| SourceError::Key { what: format!("key {name}"), source })
}

/// Adds the keys at a path: one `*.pub` file, or every `*.pub` in a folder and in its subfolder named after
/// the architecture (as `/usr/share/apk/keys` has them). A key is known by its file name.
pub fn add_from(ring: &mut KeyRing, path: &Path, platform: Platform) -> Result<(), SourceError> {
    for (name, pem) in files_at(path, platform)? {
        add(ring, &name, &pem)?;
    }
    Ok(())
}

/// The key files that [`add_from`] would take: names and contents.
pub fn files_at(path: &Path, platform: Platform) -> Result<Vec<(String, String)>, SourceError> {
    if path.is_file() {
        return Ok(vec![key_file(path)?]);
    }
    let mut found = Vec::new();
    for folder in [path.to_owned(), path.join(platform.alpine())] {
        if !folder.is_dir() {
            continue;
        }
        let what = format!("reading the keys in {}", folder.display());
        let mut files = Vec::new();
        for item in fs::read_dir(&folder).map_err(SourceError::disk(what.clone()))? {
            files.push(item.map_err(SourceError::disk(what.clone()))?.path());
        }
        files.sort();
        for file in files.iter().filter(|f| f.extension().is_some_and(|e| e == "pub") && f.is_file()) {
            found.push(key_file(file)?);
        }
    }
    if found.is_empty() {
        return Err(SourceError::Missing {
            what: "a public key (*.pub)".into(),
            path: path.display().to_string(),
        });
    }
    Ok(found)
}

fn key_file(path: &Path) -> Result<(String, String), SourceError> {
    let what = format!("reading the key {}", path.display());
    let size = fs::metadata(path).map_err(SourceError::disk(what.clone()))?.len();
    if size > KEY_LIMIT {
        return Err(SourceError::TooLarge { what: format!("the key {}", path.display()), limit: KEY_LIMIT });
    }
    let pem = fs::read_to_string(path).map_err(SourceError::disk(what))?;
    let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    Ok((name, pem))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_keys_that_are_compiled_in_can_be_read() {
        for platform in Platform::DEFAULT {
            assert!(alpine(platform).unwrap().names().count() >= 2, "{platform}");
        }
    }

    #[test]
    fn a_folder_without_keys_is_said() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("README"), "no key").unwrap();
        let error = add_from(&mut KeyRing::new(), folder.path(), Platform::Amd64).unwrap_err();
        assert!(matches!(error, SourceError::Missing { .. }), "{error}");
    }
}
