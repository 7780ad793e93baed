//! Whole files, as a package and as an index. Nothing made up is ever taken for signed.
#![no_main]

use kimg_apk::{read_index, read_package, read_unsigned_index};
use kimg_core::MemorySink;
use kimg_fuzz::{LIMITS, keys};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let keys = keys();
    for arch in ["x86_64", "armv7"] {
        if let Ok(package) = read_package(bytes, &keys, None, arch, &LIMITS, &mut MemorySink) {
            assert!(package.signed_by.is_some());
        }
    }
    let _ = read_index(bytes, &keys, &LIMITS);
    let _ = read_unsigned_index(bytes, &LIMITS);
});
