//! What holds for versions whatever they are.

use std::cmp::Ordering;

use kimg_apk::{Operator, Version};
use proptest::prelude::*;

fn version(text: &str) -> Version {
    text.parse().unwrap_or_else(|error| panic!("{error}"))
}

/// Texts made of the pieces that versions are made of, mostly valid, so that they often share a beginning.
fn likely() -> impl Strategy<Value = Version> {
    let piece = prop::sample::select(vec![
        "0",
        "1",
        "01",
        "10",
        "2",
        ".0",
        ".1",
        ".01",
        ".10",
        ".2",
        "a",
        "b",
        "_alpha",
        "_beta1",
        "_pre",
        "_rc2",
        "_p",
        "_p1",
        "_git20240101",
        "~12ab",
        "~f",
        "-r0",
        "-r1",
        "-r10",
        "x1",
        "..",
        "_foo",
    ]);
    prop::collection::vec(piece, 0..5).prop_map(|pieces| version(&format!("1{}", pieces.concat())))
}

/// Anything that can be a version at all.
fn any_version() -> impl Strategy<Value = Version> {
    prop_oneof![likely(), "[0-9a-z._~+-]{1,8}".prop_filter_map("only dots", |text| text.parse().ok())]
}

proptest! {
    #[test]
    fn turning_a_comparison_round_turns_its_answer_round(a in any_version(), b in any_version()) {
        prop_assert_eq!(a.cmp(&b), b.cmp(&a).reverse());
        prop_assert_eq!(a == b, a.cmp(&b) == Ordering::Equal);
    }

    #[test]
    fn a_version_between_two_others_is_between_them(a in any_version(), b in any_version(), c in any_version()) {
        let mut sorted = [&a, &b, &c];
        sorted.sort();
        prop_assert!(sorted[0] <= sorted[1] && sorted[1] <= sorted[2] && sorted[0] <= sorted[2]);
        if sorted[0] == sorted[1] && sorted[1] == sorted[2] {
            prop_assert!(sorted[0] == sorted[2]);
        }
    }

    #[test]
    fn exactly_one_of_less_equal_and_greater_matches(a in any_version(), b in any_version()) {
        let one = [Operator::Less, Operator::Equal, Operator::Greater].iter().filter(|op| a.matches(**op, &b)).count();
        prop_assert_eq!(one, 1);
        prop_assert_eq!(a.matches(Operator::LessEqual, &b), !a.matches(Operator::Greater, &b));
        prop_assert_eq!(a.matches(Operator::GreaterEqual, &b), !a.matches(Operator::Less, &b));
    }

    #[test]
    fn a_version_has_itself_as_a_prefix(a in any_version()) {
        prop_assert!(a.matches(Operator::Fuzzy, &a));
    }

    #[test]
    fn any_text_is_read_or_refused_without_a_panic(text in ".{0,40}") {
        if let Ok(read) = text.parse::<Version>() {
            prop_assert_eq!(read.as_str(), text.as_str());
            let _ = read.is_valid();
        }
    }
}

#[test]
fn a_text_that_could_lead_a_path_elsewhere_is_no_version() {
    for text in ["", ".", "..", "1/2", "1\\2", "1 2", "1\n", "1=2", "1@edge", "1!", "é"] {
        assert!(text.parse::<Version>().is_err(), "{text:?}");
    }
}

#[test]
fn a_version_against_the_rules_that_alpine_ships_is_kept_and_ordered() {
    let opensmtpd = version("7.4.0p1-r1");
    assert!(!opensmtpd.is_valid());
    assert!(
        opensmtpd > version("7.4.0") && opensmtpd < version("7.4.0p2-r0") && opensmtpd < version("7.4.1")
    );
    assert!(opensmtpd < version("7.4.0p10-r0"));
    assert!(opensmtpd.matches(Operator::Fuzzy, &version("7.4")));
    assert!(version("v2.4") < version("v2.5"));
}

#[test]
fn every_operator_says_the_same_after_being_written_and_read() {
    let two = version("2.1");
    for text in ["=", "<", "<=", ">", ">=", "~", "<~", ">~"] {
        let wish: kimg_apk::Dependency = format!("name{text}2").parse().unwrap();
        assert_eq!(wish.to_string(), format!("name{text}2"));
        let met = wish.constraint.unwrap().allows(&two, None);
        assert_eq!(met, [">", ">=", "~", "<~", ">~"].contains(&text), "2.1 {text} 2");
    }
}
