//! The tar of a signature member in front of an index and of a package, and the text of a key.
#![no_main]

use kimg_apk::{KeyRing, Problem, read_index, read_package};
use kimg_core::MemorySink;
use kimg_fuzz::{LIMITS, gzip, keys, sum_up_all};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let mut tar = bytes.to_vec();
    sum_up_all(&mut tar);
    let signed = [gzip(&tar), gzip(b"nothing that the key has signed")].concat();
    let index = read_index(&signed, &keys(), &LIMITS);
    let error = index.expect_err("nobody signed that");
    assert!(!matches!(error.problem, Problem::Index(_)), "the signature was taken for good");
    assert!(read_package(&signed, &keys(), None, "x86_64", &LIMITS, &mut MemorySink).is_err());

    if let Ok(pem) = std::str::from_utf8(bytes) {
        let mut ring = KeyRing::new();
        if ring.add("a.rsa.pub", pem).is_ok() {
            assert!(read_index(&signed, &ring, &LIMITS).is_err());
        }
    }
});
