//! The bundle of certificates that the trigger of `ca-certificates` would have built.

use std::collections::BTreeSet;

use kimg_core::{Content, Entry, FileTree, ImagePath, Origin};

use super::{InstallError, Landing};

/// Where `ca-certificates` puts each certificate, and where an administrator may add some.
const FOLDERS: [&str; 2] = ["/usr/share/ca-certificates", "/usr/local/share/ca-certificates"];
/// What programs read.
const BUNDLE: &str = "/etc/ssl/certs/ca-certificates.crt";
/// One line a certificate, relative to the first folder; `!` in front leaves it out (`update-ca-certificates(8)`).
const SETTINGS: &str = "/etc/ca-certificates.conf";
/// Bytes of one certificate, at most. Those of Mozilla have about 2 000.
const LARGEST: u64 = 1 << 20;

/// Joins all certificates, sorted by path, if there are some and no package ships the bundle.
pub(super) fn bundle(tree: &mut FileTree) -> Result<(), InstallError> {
    let fixed = |text: &str| ImagePath::new(text).expect("a constant path is valid");
    let landing = Landing::in_tree(tree);
    let place = landing.of(&fixed(BUNDLE), false)?;
    if tree.get(&place).is_some() {
        return Ok(());
    }
    let left_out = left_out(tree, &fixed(SETTINGS))?;
    let mut joined = Vec::new();
    let mut mtime = 0;
    for folder in FOLDERS.map(fixed) {
        for (path, entry) in tree.below(&folder).filter(|(path, _)| is_certificate(path)) {
            let Some(content) = entry.content().filter(|_| !left_out.contains(path)) else { continue };
            joined.extend(
                content
                    .read(LARGEST)
                    .map_err(|source| InstallError::Content { path: path.clone(), source })?,
            );
            if joined.last() != Some(&b'\n') {
                joined.push(b'\n');
            }
            mtime = mtime.max(entry.mtime);
        }
    }
    if joined.is_empty() {
        return Ok(());
    }
    let origin = Origin::generated("the bundle of /usr/share/ca-certificates");
    let entry = Entry { mtime, ..Entry::file(Content::from_bytes(joined), 0o644, origin.clone()) };
    tree.insert(place, entry);
    tree.add_parents(&origin);
    Ok(())
}

/// By its name, in lower case: so does the script.
fn is_certificate(path: &ImagePath) -> bool {
    path.as_str().strip_suffix(".crt").is_some()
}

fn left_out(tree: &FileTree, settings: &ImagePath) -> Result<BTreeSet<ImagePath>, InstallError> {
    let Some(content) = tree.get(settings).and_then(Entry::content) else { return Ok(BTreeSet::new()) };
    let bytes =
        content.read(LARGEST).map_err(|source| InstallError::Content { path: settings.clone(), source })?;
    let text = String::from_utf8_lossy(&bytes);
    let lines = text.lines().filter_map(|line| line.trim().strip_prefix('!'));
    Ok(lines.filter_map(|name| ImagePath::new(&format!("{}/{name}", FOLDERS[0])).ok()).collect())
}
