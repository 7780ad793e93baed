//! What `kimg slim` tells people: before and after, what went, what was not known.

use std::fmt::Write as _;

use kimg_build::slim::{Amount, SlimReport, SlimmedImage, Unknown, What};
use kimg_report::{size, sizes};

/// How many of a kind are named; the rest is counted.
const NAMED: usize = 8;
/// The width of the words in front.
const WORD: usize = 10;

/// The report, in lines of at most this many columns where words allow it.
pub(super) fn report(report: &SlimReport, width: usize, color: bool) -> String {
    let mut out = Lines { text: String::new(), width, color };
    for image in &report.images {
        out.image(image);
    }
    if !report.left_out.is_empty() {
        out.line("Left out", "33", &format!("platforms: {}", report.left_out.join(", ")));
    }
    out.line("Names", "1", &format!("{} ({})", report.tags.join(", "), report.digest));
    out.text
}

struct Lines {
    text: String,
    width: usize,
    color: bool,
}

impl Lines {
    fn image(&mut self, image: &SlimmedImage) {
        let (before, after) = (image.before, image.after);
        self.line("Slimmed", "1;32", &format!("{} for {}", names(image), image.platform));
        self.line("Before", "1", &amount(before));
        let pull = sizes(image.pull, after.bytes);
        self.line("After", "1", &format!("{}, {pull} pull / on disk", files(after.files)));
        let folders: Vec<String> = image
            .gone_by_folder
            .iter()
            .map(|folder| format!("{} {}", folder.folder, size(folder.amount.bytes)))
            .collect();
        if image.gone.files > 0 {
            self.line("Went", "1", &format!("{}: {}", amount(image.gone), some(&folders, "folders")));
        }
        for problem in &image.unresolved {
            self.line("Missing", "1;31", problem);
        }
        self.unknown(&image.unknown);
        let passed: Vec<String> =
            image.passed_over.iter().map(|over| format!("{} ({})", over.path, over.why)).collect();
        if !passed.is_empty() {
            self.line("Passed", "33", &format!("over: {}", some(&passed, "paths")));
        }
        for note in &image.notes {
            self.line("Note", "33", note);
        }
        self.text.push('\n');
    }

    fn unknown(&mut self, unknown: &[Unknown]) {
        let all = |wanted: fn(&What) -> bool| -> Vec<String> {
            unknown.iter().filter(|one| wanted(&one.what)).map(|one| one.path.to_string()).collect()
        };
        let kinds: [(Vec<String>, &str); 6] = [
            (all(|what| matches!(what, What::Loads { .. })), "which libraries are loaded later (dlopen) by"),
            (all(|what| matches!(what, What::Starts { .. })), "which programs are started by"),
            (all(|what| matches!(what, What::Go)), "which programs are started by Go's"),
            (all(|what| matches!(what, What::Script)), "which programs are started by the script"),
            (all(|what| matches!(what, What::Static)), "anything at all of the statically linked"),
            (all(|what| matches!(what, What::Unreadable { .. })), "the broken symbol tables of"),
        ];
        for (paths, words) in kinds.into_iter().filter(|(paths, _)| !paths.is_empty()) {
            self.line("Unknown", "1;33", &format!("{words} {}", some(&paths, "files")));
        }
    }

    /// A word in front and a text beside it, broken at spaces.
    fn line(&mut self, word: &str, paint: &str, text: &str) {
        let head = format!("{word:<WORD$}");
        let head = if self.color { format!("\x1b[{paint}m{head}\x1b[0m") } else { head };
        let mut column = WORD + 1;
        let _ = write!(self.text, " {head}");
        for (place, piece) in text.split(' ').enumerate() {
            let length = piece.chars().count();
            if place > 0 && column + 1 + length > self.width {
                let _ = write!(self.text, "\n {:WORD$}", "");
                column = WORD + 1;
            } else if place > 0 {
                self.text.push(' ');
                column += 1;
            }
            self.text.push_str(piece);
            column += length;
        }
        self.text.push('\n');
    }
}

fn names(image: &SlimmedImage) -> String {
    let roots: Vec<String> = image.roots.iter().map(|root| root.path.to_string()).collect();
    some(&roots, "paths")
}

/// The first few, and how many more.
fn some(all: &[String], what: &str) -> String {
    let named = all.iter().take(NAMED).cloned().collect::<Vec<_>>().join(", ");
    match all.len().saturating_sub(NAMED) {
        0 => named,
        more => format!("{named} and {more} more {what}"),
    }
}

fn amount(amount: Amount) -> String {
    format!("{}, {}", files(amount.files), size(amount.bytes))
}

fn files(number: u64) -> String {
    format!("{number} {}", if number == 1 { "file" } else { "files" })
}
