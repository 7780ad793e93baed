//! Bytes as people read them: decimal units, as registries show them, with one digit behind the point.

use std::cmp::Ordering;

/// Bytes as text: `999 B`, `61.4 kB`, `26.4 MB`, `1.2 GB`. Decimal units: 1 MB is 1,000,000 bytes.
///
/// ```
/// assert_eq!(kimg_report::size(26_388_279), "26.4 MB");
/// ```
pub fn size(bytes: u64) -> String {
    match unit_of(bytes) {
        (1, unit) => format!("{bytes} {unit}"),
        (factor, unit) => format!("{} {unit}", tenths(bytes, factor)),
    }
}

/// What is pulled and what it takes on disk, in the unit of the larger: `24.4 / 84.9 MB`.
///
/// ```
/// assert_eq!(kimg_report::sizes(24_399_998, 84_879_360), "24.4 / 84.9 MB");
/// ```
pub fn sizes(compressed: u64, extracted: u64) -> String {
    two(compressed, "/", extracted)
}

/// A size before and after, in the unit of the larger: `42.7 → 8.2 MB`.
pub(crate) fn change(before: u64, after: u64) -> String {
    two(before, "→", after)
}

/// What changed of two sizes, in the unit of the larger as it is now: `−0.3 / +0.1`; `±0` where nothing did.
pub(crate) fn deltas(now: (u64, u64), before: (u64, u64)) -> String {
    if now == before {
        return "±0".to_owned();
    }
    let (factor, _) = unit_of(now.0.max(now.1));
    let one = |now: u64, before: u64| {
        let sign = match now.cmp(&before) {
            Ordering::Less => "−",
            Ordering::Equal => return "±0".to_owned(),
            Ordering::Greater => "+",
        };
        let bytes = now.abs_diff(before);
        format!("{sign}{}", if factor == 1 { bytes.to_string() } else { tenths(bytes, factor) })
    };
    format!("{} / {}", one(now.0, before.0), one(now.1, before.1))
}

fn two(first: u64, between: &str, second: u64) -> String {
    match unit_of(first.max(second)) {
        (1, unit) => format!("{first} {between} {second} {unit}"),
        (factor, unit) => format!("{} {between} {} {unit}", tenths(first, factor), tenths(second, factor)),
    }
}

/// The unit in which a number of bytes has at most three digits before the point.
fn unit_of(bytes: u64) -> (u64, &'static str) {
    // The limits lie where rounding to one digit would give 1000.0.
    match bytes {
        0..1_000 => (1, "B"),
        1_000..999_950 => (1_000, "kB"),
        999_950..999_950_000 => (1_000_000, "MB"),
        999_950_000.. => (1_000_000_000, "GB"),
    }
}

/// With one digit behind the point, rounded half up.
fn tenths(bytes: u64, factor: u64) -> String {
    let tenths = bytes.saturating_add(factor / 20) / (factor / 10);
    format!("{}.{}", tenths / 10, tenths % 10)
}

/// How much of a whole, in whole percent: `84 %`, `<1 %`.
pub(crate) fn percent(part: u64, whole: u64) -> String {
    let percent =
        (u128::from(part) * 100 + u128::from(whole) / 2).checked_div(u128::from(whole)).unwrap_or(0);
    if percent == 0 && part > 0 { "<1 %".into() } else { format!("{percent} %") }
}

/// A count with its noun: `1 file`, `1,204 files`.
pub(crate) fn count(number: u64, one: &str, many: &str) -> String {
    format!("{} {}", thousands(number), if number == 1 { one } else { many })
}

/// A number with its thousands apart: `1,204`.
pub fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn sizes_read_as_registries_show_them() {
        let cases = [
            (0, "0 B"),
            (999, "999 B"),
            (1_000, "1.0 kB"),
            (61_440, "61.4 kB"),
            (999_949, "999.9 kB"),
            (999_950, "1.0 MB"),
            (25_504_289, "25.5 MB"),
            (999_949_999, "999.9 MB"),
            (999_950_000, "1.0 GB"),
            (1_234_567_890, "1.2 GB"),
        ];
        for (bytes, text) in cases {
            assert_eq!(size(bytes), text, "{bytes}");
        }
    }

    #[test]
    fn two_sizes_share_the_unit_of_the_larger() {
        assert_eq!(sizes(36_393_111, 94_679_040), "36.4 / 94.7 MB");
        assert_eq!(sizes(3_100, 12_400), "3.1 / 12.4 kB");
        assert_eq!(sizes(320, 512), "320 / 512 B");
    }

    #[test]
    fn changes_have_the_unit_of_what_there_is_now_and_say_when_there_is_none() {
        assert_eq!(deltas((20_700_000, 71_700_000), (21_000_000, 71_600_000)), "−0.3 / +0.1");
        assert_eq!(deltas((20_700_001, 71_700_000), (20_700_000, 71_700_000)), "+0.0 / ±0");
        assert_eq!(deltas((5, 7), (5, 7)), "±0");
        assert_eq!(deltas((320, 512), (300, 600)), "+20 / −88");
    }

    #[test]
    fn a_small_part_is_not_called_nothing() {
        assert_eq!(percent(1, 1_000), "<1 %");
        assert_eq!(percent(0, 1_000), "0 %");
        assert_eq!(percent(841, 1_000), "84 %");
        assert_eq!(percent(5, 0), "<1 %");
    }

    #[test]
    fn counts_have_their_thousands_apart() {
        assert_eq!(count(1, "file", "files"), "1 file");
        assert_eq!(count(1_234_567, "file", "files"), "1,234,567 files");
        assert_eq!(count(120, "file", "files"), "120 files");
    }

    proptest! {
        #[test]
        fn no_number_before_the_point_has_more_than_three_digits(bytes in 0..1_000_000_000_000_u64) {
            let text = size(bytes);
            let whole = text.split(['.', ' ']).next().unwrap();
            prop_assert!(whole.len() <= 3, "{}", text);
        }
    }
}
