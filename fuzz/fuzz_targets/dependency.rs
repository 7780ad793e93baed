//! Wishes, provides and identities, one a line: what is read is the same when it is written and read again.
#![no_main]

use kimg_apk::{Dependency, Identity, Provide};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    for line in text.lines() {
        if let Ok(wish) = line.parse::<Dependency>() {
            let again: Dependency = wish.to_string().parse().expect("what was written can be read");
            assert_eq!(again, wish);
        }
        if let Ok(provide) = line.parse::<Provide>() {
            assert_eq!(provide.to_string(), line);
        }
        if let Ok(identity) = line.parse::<Identity>() {
            assert_eq!(identity.to_string().parse::<Identity>().ok(), Some(identity));
        }
    }
});
