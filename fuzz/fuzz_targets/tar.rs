//! The data tar of a package whose hashes fit: no path leaves the root, whatever the headers say.
#![no_main]

use kimg_apk::{Applets, install, link_applets};
use kimg_fuzz::{package_around, sum_up_all};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|tar: &[u8]| {
    let mut tar = tar.to_vec();
    sum_up_all(&mut tar);
    let Some(package) = package_around(&tar) else { return };
    for (path, entry) in &package.entries {
        assert!(!path.is_root() && path.names().all(|name| name != ".." && name != "."));
        assert!(entry.mode <= 0o7777);
    }
    if let Ok(mut installation) = install(&[package]) {
        let _ = link_applets(&mut installation.tree, Applets::All);
    }
});
