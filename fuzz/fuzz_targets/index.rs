//! The text of an index: read or refused; what was read stays the same when it is written and read again.
#![no_main]

use kimg_apk::{Index, read_unsigned_index, write_index};
use kimg_fuzz::LIMITS;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &[u8]| {
    let Ok(index) = Index::parse(text, &LIMITS) else { return };
    for record in &index.packages {
        assert!(!record.file_name().contains('/') && !record.name.is_empty());
    }
    let records: Vec<_> = index.packages.iter().collect();
    if let Ok(again) = read_unsigned_index(&write_index("", &records), &LIMITS) {
        assert_eq!(again.packages.len(), index.packages.len());
    }
});
