//! The text of a `.PKGINFO`, in a package whose hashes fit.
#![no_main]

use kimg_fuzz::control_around;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Some(package) = control_around(text) {
        assert!(!package.record.file_name().contains('/'));
        let again = package.listing().restore(|_, _| None).expect("a listing of no files is restored");
        assert_eq!(again.record, package.record);
    }
});
