//! Versions against apk-tools' own list of cases.

mod real;

use kimg_apk::{Operator, Version};

#[test]
fn every_line_of_apks_own_version_cases_holds() {
    let Some(input) = real::input() else { return };
    let text = fs_err::read_to_string(input.join("apk-version.data")).unwrap();
    let version = |text: &str| text.parse::<Version>().unwrap();
    let is = |a: &str, operator, b: &str| version(a).matches(operator, &version(b));
    let mut lines = 0;
    let mut wrong = Vec::new();
    for line in text.lines() {
        let words: Vec<&str> = line.split('#').next().unwrap_or_default().split_ascii_whitespace().collect();
        let holds = match words[..] {
            [] => continue,
            [a, "<", b] => {
                is(a, Operator::Less, b) && is(b, Operator::Greater, a) && !is(a, Operator::Equal, b)
            }
            [a, "=", b] => {
                is(a, Operator::Equal, b) && is(b, Operator::Equal, a) && !is(a, Operator::Less, b)
            }
            [a, ">", b] => {
                is(a, Operator::Greater, b) && is(b, Operator::Less, a) && !is(a, Operator::Equal, b)
            }
            [a, "~", b] => is(a, Operator::Fuzzy, b),
            [a, "!~", b] => !is(a, Operator::Fuzzy, b),
            [a, "<~", b] => is(a, Operator::LessFuzzy, b),
            [a, ">~", b] => is(a, Operator::GreaterFuzzy, b),
            [text] => match text.strip_prefix('!') {
                Some(invalid) => invalid.is_empty() || !version(invalid).is_valid(),
                None => version(text).is_valid(),
            },
            _ => panic!("a line of a new kind: {line}"),
        };
        lines += 1;
        if !holds {
            wrong.push(line);
        }
    }
    assert_eq!(wrong, Vec::<&str>::new());
    assert!(lines >= 730, "only {lines} cases found");
}
