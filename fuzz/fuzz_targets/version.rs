//! Versions, one a line: each two stand to each other as an order has it, and as operators say.
#![no_main]

use std::cmp::Ordering;

use kimg_apk::{Operator, Version};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let versions: Vec<Version> = text.lines().take(4).filter_map(|line| line.parse().ok()).collect();
    for a in &versions {
        assert_eq!(a.as_str().parse::<Version>().expect("it was one before").as_str(), a.as_str());
        assert!(a.matches(Operator::Equal, a) && a.matches(Operator::Fuzzy, a));
        let _ = a.is_valid();
        for b in &versions {
            let order = a.cmp(b);
            assert_eq!(order, b.cmp(a).reverse(), "{a} {b}");
            assert_eq!(a.matches(Operator::Less, b), order == Ordering::Less);
            assert_eq!(a.matches(Operator::GreaterEqual, b), order != Ordering::Less);
            for c in versions.iter().filter(|version| version.is_valid()) {
                if a.is_valid() && b.is_valid() && order == b.cmp(c) {
                    assert_eq!(a.cmp(c), order, "{a} {b} {c}");
                }
            }
        }
    }
});
