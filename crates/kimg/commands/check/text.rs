//! What was found, as people read it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use kimg_report::{Column, Table};

use super::found::Checked;

/// What was found, the strong first, each with all that it was found in.
fn by_finding(checked: &[Checked]) -> BTreeMap<(bool, String), Vec<&str>> {
    let mut all: BTreeMap<(bool, String), Vec<&str>> = BTreeMap::new();
    for one in checked {
        for (strong, sentence) in one.told() {
            all.entry((!strong, sentence)).or_default().push(&one.what);
        }
    }
    all
}

pub(crate) fn list(checked: &[Checked]) -> String {
    let mut text = String::new();
    for ((weak, sentence), places) in by_finding(checked) {
        let _ = writeln!(text, " {} {sentence}", if weak { "·" } else { "✗" });
        if checked.len() > 1 {
            let _ = writeln!(text, "   in {}", places.join(", "));
        }
    }
    let _ = writeln!(text, " {}", summary(checked));
    text
}

pub(super) fn markdown(checked: &[Checked]) -> String {
    let mut table = Table::new(["Finding", "Strong", "In"].map(Column::left));
    for ((weak, sentence), places) in by_finding(checked) {
        table.row([sentence.as_str(), if weak { "no" } else { "yes" }, &places.join(", ")]);
    }
    let table = if table.is_empty() { String::new() } else { table.to_markdown() + "\n" };
    format!("{table}{}\n", summary(checked))
}

/// `no findings: 12 images, 1034 objects and 61234 symbols looked at`
fn summary(checked: &[Checked]) -> String {
    let what = match checked {
        [one] => one.what.clone(),
        several => format!("{} images", several.len()),
    };
    let objects: usize = checked.iter().map(|c| c.objects).sum();
    let symbols: usize = checked.iter().map(|c| c.symbols).sum();
    let distinct: BTreeSet<&str> =
        checked.iter().flat_map(|c| &c.findings).map(|found| found.message.as_str()).collect();
    let found = match distinct.len() {
        0 => "no findings".to_owned(),
        1 => "1 finding".to_owned(),
        more => format!("{more} findings"),
    };
    format!("{found}: {what}, {objects} objects and {symbols} symbols looked at")
}
