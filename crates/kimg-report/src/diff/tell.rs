//! How differences are told: on a terminal, as Markdown for a pull request, as JSON for programs.

use serde_json::json;

use super::{
    Aspect, Change, DiffReport, FileChange, FileState, ImageDiff, Measured, PackageChange, PackageFate,
};
use crate::size::{change as sizes_of, count};
use crate::text::{Paint, clean};
use crate::{Column, Table, size};

/// In Markdown, more files than that are folded away.
const UNFOLDED: usize = 20;

/// Where a report is read.
#[derive(Clone, Copy)]
enum Place {
    Terminal { width: usize, color: bool },
    Markdown,
}

impl DiffReport {
    /// For a terminal so many characters wide.
    pub fn to_terminal(&self, width: usize, color: bool) -> String {
        self.told(Place::Terminal { width, color })
    }

    /// For a pull request or a release page: GitHub's Markdown.
    pub fn to_markdown(&self) -> String {
        self.told(Place::Markdown)
    }

    /// For programs, with a line feed at the end; sizes are bytes. `equal`, `a`, `b` (as typed), `only_in_a`, `only_in_b`
    /// (`image`, `platform`) and `images`, each with `image`, `platform`, `equal`, `a` and `b` (`digest`, `pull`,
    /// `on_disk`, `files`), `to_pull`, `times`, `packages`, `files`, `settings` and `totals` (`added`, `removed` and
    /// `changed` files, each with `files`, `bytes_before`, `bytes_after`).
    pub fn to_json(&self) -> String {
        let mut value = json!(self);
        value["equal"] = json!(self.is_equal());
        for (image, told) in self.images.iter().zip(value["images"].as_array_mut().into_iter().flatten()) {
            told["equal"] = json!(image.is_equal());
            for (name, change) in
                [("added", Change::Added), ("removed", Change::Removed), ("changed", Change::Changed)]
            {
                let sum = image.sum(change);
                told["totals"][name] =
                    json!({ "files": sum.files, "bytes_before": sum.before, "bytes_after": sum.after });
            }
        }
        crate::json(&value)
    }

    fn told(&self, place: Place) -> String {
        let mut parts = Vec::new();
        // What is alike is one line, however many platforms there are.
        let equal: Vec<&ImageDiff> = self.images.iter().filter(|image| image.is_equal()).collect();
        parts.extend(self.images.iter().filter(|image| !image.is_equal()).map(|image| image.told(place)));
        if !equal.is_empty() {
            let mut names: Vec<String> =
                equal.iter().map(|i| format!("{} for {}", clean(&i.image), i.platform)).collect();
            if let Some(other) = names.last_mut().filter(|_| equal.iter().any(|i| i.a.digest != i.b.digest)) {
                other.push_str(" (the same files; times of manifests, compression or annotations differ)");
            }
            parts.push(place.line("Equal", &names.join(", ")));
        }
        for (one_sided, side) in [(&self.only_in_a, &self.a), (&self.only_in_b, &self.b)] {
            if !one_sided.is_empty() {
                let names: Vec<String> =
                    one_sided.iter().map(|o| format!("{} for {}", clean(&o.image), o.platform)).collect();
                parts.push(place.line(&format!("Only in {}:", clean(side)), &names.join(", ")));
            }
        }
        parts.join("\n")
    }
}

/// Files of one kind of change, summed up.
#[derive(Default)]
struct Sum {
    files: u64,
    before: u64,
    after: u64,
}

impl ImageDiff {
    fn sum(&self, change: Change) -> Sum {
        let size_of = |state: &Option<FileState>| state.as_ref().map_or(0, |s| s.size);
        self.files.iter().filter(|f| f.change == change && !f.is_folder()).fold(Sum::default(), |sum, f| {
            Sum {
                files: sum.files + 1,
                before: sum.before + size_of(&f.before),
                after: sum.after + size_of(&f.after),
            }
        })
    }

    fn told(&self, place: Place) -> String {
        let mut parts = vec![place.head(&format!("{} for {}", clean(&self.image), self.platform))];
        if !self.packages.is_empty() {
            parts.push(place.table(&self.packages_table()));
        }
        if !self.settings.is_empty() {
            let mut table =
                Table::new([Column::left("Setting"), Column::left("Before"), Column::left("After")]);
            for setting in &self.settings {
                let value = |value: &Option<String>| value.clone().unwrap_or_else(|| "–".into());
                table.row([setting.name.clone(), value(&setting.before), value(&setting.after)]);
            }
            parts.push(place.table(&table));
        }
        if !self.files.is_empty() {
            let mut table = Table::new([
                Column::left("File"),
                Column::left("Change"),
                Column::right("Size"),
                Column::left("Package"),
            ]);
            for file in &self.files {
                let package = file.package.clone().unwrap_or_else(|| "–".into());
                table.row([file.path.to_string(), file.words(), file.sizes(), package]);
            }
            let told = place.table(&table);
            parts.push(match place {
                Place::Markdown if self.files.len() > UNFOLDED => {
                    let number = count(self.files.len() as u64, "path", "paths");
                    format!("<details><summary>{number}</summary>\n\n{told}\n</details>\n")
                }
                _ => told,
            });
        }
        parts.push(self.totals(place));
        parts.join("\n")
    }

    fn packages_table(&self) -> Table {
        let mut table = Table::new([
            Column::left("Package"),
            Column::left("Change"),
            Column::left("Version"),
            Column::right("On disk"),
            Column::left("Files"),
        ]);
        for package in &self.packages {
            let version = match (&package.from, &package.to) {
                (Some(from), Some(to)) if from != to => format!("{from} → {to}"),
                (from, to) => to.as_ref().or(from.as_ref()).cloned().unwrap_or_default(),
            };
            let on_disk = match (package.bytes_before, package.bytes_after) {
                (before, after) if before == after || before == 0 => size(after),
                (before, 0) => size(before),
                (before, after) => sizes_of(before, after),
            };
            table.row([
                package.name.clone(),
                package.change.words().into(),
                version,
                on_disk,
                package.files(),
            ]);
        }
        table
    }

    fn totals(&self, place: Place) -> String {
        let mut text = String::new();
        let (added, removed, changed) =
            (self.sum(Change::Added), self.sum(Change::Removed), self.sum(Change::Changed));
        let mut words = Vec::new();
        if added.files > 0 {
            words.push(format!("{} added ({})", added.files, size(added.after)));
        }
        if removed.files > 0 {
            words.push(format!("{} removed ({})", removed.files, size(removed.before)));
        }
        if changed.files > 0 {
            words.push(format!("{} changed ({})", changed.files, sizes_of(changed.before, changed.after)));
        }
        if self.times > 0 {
            words.push(format!("{} with another time only", self.times));
        }
        if !words.is_empty() {
            text.push_str(&place.line("Files", &words.join(", ")));
        }
        let measure = |name: fn(&Measured) -> u64| {
            let (before, after) = (name(&self.a), name(&self.b));
            if before == after {
                return size(after);
            }
            let sign = if after < before { "−" } else { "+" };
            format!("{} ({sign}{})", sizes_of(before, after), size(before.abs_diff(after)))
        };
        text.push_str(&place.line("On disk", &measure(|m| m.on_disk)));
        let pull =
            format!("{}; a node that has the first fetches {}", measure(|m| m.pull), size(self.to_pull));
        text.push_str(&place.line("Pull", &pull));
        text
    }
}

impl FileChange {
    fn is_folder(&self) -> bool {
        self.after.as_ref().or(self.before.as_ref()).is_some_and(|state| state.kind == "directory")
    }

    fn words(&self) -> String {
        let (Some(before), Some(after)) = (&self.before, &self.after) else {
            let state = self.after.as_ref().or(self.before.as_ref());
            let what = match state {
                Some(FileState { target: Some(target), .. }) => format!(" link → {target}"),
                Some(FileState { kind: "directory", .. }) => " folder".to_owned(),
                _ => String::new(),
            };
            let verb = if self.change == Change::Added { "added" } else { "removed" };
            return format!("{verb}{what}");
        };
        let arrow = |what: &str, one: &str, other: &str| format!("{what} {one} → {other}");
        let target = |state: &FileState| state.target.clone().unwrap_or_default();
        let words: Vec<String> = self
            .differs
            .iter()
            .map(|aspect| match aspect {
                Aspect::Type => arrow("type", before.kind, after.kind),
                Aspect::Content => "content".to_owned(),
                Aspect::Target => arrow("target", &target(before), &target(after)),
                Aspect::Mode => arrow("mode", &before.mode, &after.mode),
                Aspect::Owner => arrow("owner", &before.owner, &after.owner),
                Aspect::Attributes => "attributes".to_owned(),
            })
            .collect();
        words.join(", ")
    }

    fn sizes(&self) -> String {
        let size_of = |state: &Option<FileState>| state.as_ref().filter(|s| s.kind == "file").map(|s| s.size);
        match (size_of(&self.before), size_of(&self.after)) {
            (Some(before), Some(after)) if before != after => sizes_of(before, after),
            (None, None) => String::new(),
            (before, after) => size(after.or(before).unwrap_or(0)),
        }
    }
}

impl PackageFate {
    fn words(self) -> &'static str {
        match self {
            Self::Added => "added",
            Self::Removed => "removed",
            Self::Upgraded => "upgraded",
            Self::Downgraded => "downgraded",
            Self::Rebuilt => "built anew",
            Self::OtherFiles => "other files",
        }
    }
}

impl PackageChange {
    fn files(&self) -> String {
        let words = [(self.added, "added"), (self.removed, "removed"), (self.changed, "changed")];
        let words: Vec<String> =
            words.iter().filter(|(n, _)| *n > 0).map(|(n, verb)| format!("{n} {verb}")).collect();
        if words.is_empty() { "none changed".to_owned() } else { words.join(", ") }
    }
}

impl Place {
    fn head(self, text: &str) -> String {
        match self {
            Self::Terminal { color, .. } => format!(" {}\n", Paint(color).bold(text)),
            Self::Markdown => format!("### {text}\n"),
        }
    }

    fn table(self, table: &Table) -> String {
        match self {
            Self::Terminal { width, color } => table.to_terminal(width, color),
            Self::Markdown => table.to_markdown(),
        }
    }

    fn line(self, head: &str, text: &str) -> String {
        match self {
            Self::Terminal { color, .. } => format!(" {}{text}\n", Paint(color).bold(&format!("{head:<9} "))),
            Self::Markdown => format!("- {head}: {text}\n"),
        }
    }
}
