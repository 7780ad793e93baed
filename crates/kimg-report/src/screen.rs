//! The report at a build's end, on one screen.

use std::collections::{BTreeMap, BTreeSet};

use kimg_core::Platform;

use crate::fates::fates;
use crate::size::{count, percent};
use crate::text::{Paint, clean, few, wrap};
use crate::{BuildReport, Column, Contributor, ImageReport, SAMPLE_NOTICE, Table, size, sizes};

/// How many contributors get a bar of their own.
const BARS: usize = 6;
/// How many things of a list are named.
pub(crate) const NAMED: usize = 4;
/// How many missing things get a line.
const MISSING_LINES: usize = 8;

impl BuildReport {
    /// For a terminal so many characters wide, with or without colours.
    ///
    /// Says what was built and how big it is, where the bytes of the biggest image went, what was packed and what
    /// not and why, what was left out, what is missing, which scripts did not run, and what to do next.
    pub fn to_terminal(&self, width: usize, color: bool) -> String {
        let screen = Screen { report: self, width: width.max(40), paint: Paint(color) };
        let parts = [
            screen.sizes(),
            screen.bars(),
            [
                screen.joined(),
                screen.packed(),
                screen.left_out(),
                screen.missing(),
                screen.not_run(),
                screen.fetched(),
            ]
            .concat(),
            screen.last(),
        ];
        let parts: Vec<String> = parts.into_iter().filter(|part| !part.is_empty()).collect();
        parts.join("\n")
    }

    /// The table of images: variants down, platforms across; and what each row shares with an earlier one.
    fn table(&self) -> (Table, Vec<Option<String>>) {
        let platforms = self.platforms();
        let mut columns = vec![Column::left("Image")];
        columns.extend(platforms.iter().map(|platform| Column::left(platform.to_string())));
        let mut table = Table::new(columns);
        let mut shares = Vec::new();
        for (variant, kubernetes) in self.rows() {
            let image = |platform| {
                self.images
                    .iter()
                    .find(|i| (i.platform, &*i.variant, &*i.kubernetes) == (platform, variant, kubernetes))
            };
            let cells = platforms.iter().map(|platform| {
                image(*platform).map_or_else(|| "–".into(), |image| sizes(image.compressed, image.extracted))
            });
            table.row([self.row_name(variant, kubernetes)].into_iter().chain(cells));
            shares.push(platforms.iter().find_map(|platform| image(*platform)).and_then(|i| self.shares(i)));
        }
        (table, shares)
    }

    fn platforms(&self) -> BTreeSet<Platform> {
        self.images.iter().map(|image| image.platform).collect()
    }

    /// The rows of the table: each variant and version once, in the order in which they come first.
    fn rows(&self) -> Vec<(&str, &str)> {
        let mut rows: Vec<(&str, &str)> = Vec::new();
        for image in &self.images {
            let row = (image.variant.as_str(), image.kubernetes.as_str());
            if !rows.contains(&row) {
                rows.push(row);
            }
        }
        rows
    }

    fn row_name(&self, variant: &str, kubernetes: &str) -> String {
        let version = if self.kubernetes.len() > 1 { format!(" {kubernetes}") } else { String::new() };
        let sample = if self.sample { " (sample)" } else { "" };
        format!("{variant}{version}{sample}")
    }

    /// With which variant of an earlier row an image shares most, and how much of what is pulled.
    fn shares(&self, image: &ImageReport) -> Option<String> {
        let rows = self.rows();
        let own = rows.iter().position(|row| *row == (image.variant.as_str(), image.kubernetes.as_str()))?;
        let mut best: Option<(u64, &str)> = None;
        for (variant, kubernetes) in &rows[..own] {
            let layers =
                image.layers.iter().filter(|layer| layer.shared_with.iter().any(|with| with == variant));
            let bytes = layers.map(|layer| layer.compressed).sum();
            // Several versions of one variant look alike here: only the row of the same version is meant.
            let same_version = *kubernetes == image.kubernetes;
            if bytes > 0 && same_version && best.is_none_or(|(most, _)| bytes > most) {
                best = Some((bytes, variant));
            }
        }
        best.map(|(bytes, variant)| format!("{} with {variant}", size(bytes)))
    }

    /// The image that details are shown of: the one with most to pull, the first of several.
    fn biggest(&self) -> Option<&ImageReport> {
        self.images.iter().rev().max_by_key(|image| image.compressed)
    }
}

/// One report on one terminal.
struct Screen<'a> {
    report: &'a BuildReport,
    width: usize,
    paint: Paint,
}

impl Screen<'_> {
    /// The table; what images share is its last column, or stands below it where the terminal is too narrow.
    fn sizes(&self) -> String {
        let (table, shares) = self.report.table();
        let shares_of =
            |share: &Option<String>| share.as_ref().map_or_else(String::new, |s| format!("shares {s}"));
        let wide = table.clone().with_column(Column::left("pull / on disk"), shares.iter().map(shares_of));
        if wide.natural_width() <= self.width {
            return wide.to_terminal(self.width, self.paint.0);
        }
        let rows = self.report.rows().into_iter().zip(&shares);
        let shared: Vec<String> = rows
            .filter_map(|((variant, kubernetes), share)| {
                share.as_ref().map(|share| format!("{} {share}", self.report.row_name(variant, kubernetes)))
            })
            .collect();
        let mut text = table.to_terminal(self.width, self.paint.0);
        text.push('\n');
        text.push_str(&self.item("Sizes", "pull / on disk"));
        if !shared.is_empty() {
            text.push_str(&self.item("Shared", &clean(&shared.join(", "))));
        }
        text
    }

    /// Where the bytes of the biggest image went, a bar for each of the largest contributors.
    fn bars(&self) -> String {
        let Some(image) = self.report.biggest().filter(|image| !image.contributors.is_empty()) else {
            return String::new();
        };
        let mut all: Vec<&Contributor> = image.contributors.iter().collect();
        all.sort_by(|a, b| b.extracted.cmp(&a.extracted).then_with(|| a.name.cmp(&b.name)));
        let whole: u64 = all.iter().map(|c| c.extracted).sum();
        // A rest of one would take the line that it takes by itself.
        let shown = if all.len() == BARS + 1 { all.len() } else { all.len().min(BARS) };
        let mut lines: Vec<(String, u64)> =
            all[..shown].iter().map(|c| (clean(&c.name), c.extracted)).collect();
        let rest = &all[shown..];
        if !rest.is_empty() {
            lines.push((format!("{} more packages", rest.len()), rest.iter().map(|c| c.extracted).sum()));
        }
        let name_width = lines.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0).min(24);
        let bar_width = self.width.saturating_sub(name_width + 24).clamp(8, 24);
        let row = self.report.row_name(&image.variant, &image.kubernetes);
        let head = format!("Where the bytes went ({row}, {}, on disk)", image.platform);
        let mut text = format!(" {}\n", self.paint.bold(&clean(&head)));
        for (name, bytes) in lines {
            let name = shorten(&name, name_width);
            let bar = self.paint.bar(&bar(bytes, whole, bar_width));
            let line =
                format!("   {name:name_width$}  {bar}  {:>8}  {:>5}\n", size(bytes), percent(bytes, whole));
            text.push_str(&line);
        }
        text
    }

    fn left_out(&self) -> String {
        let Some(image) = self.report.biggest().filter(|image| image.left_out.files > 0) else {
            return String::new();
        };
        let out = &image.left_out;
        let mut by_size: Vec<_> = out.by_package.iter().collect();
        by_size.sort_by(|a, b| b.bytes.cmp(&a.bytes).then_with(|| a.package.cmp(&b.package)));
        let names: Vec<String> =
            by_size.iter().map(|of| format!("{} {}", clean(&of.package), size(of.bytes))).collect();
        let list = if names.is_empty() { String::new() } else { format!(" ({})", few(&names, NAMED)) };
        let sentence = format!(
            "{}, {} of {} that {} {} does not need{list}",
            count(out.files, "file", "files"),
            size(out.bytes),
            count(out.by_package.len() as u64, "package", "packages"),
            clean(&image.variant),
            image.platform
        );
        self.item("Left out", &sentence)
    }

    /// What is missing, with the images that miss it where it is not all of them.
    fn missing(&self) -> String {
        let mut all: BTreeMap<(&str, &str), Vec<&ImageReport>> = BTreeMap::new();
        for image in &self.report.images {
            for missing in &image.missing {
                all.entry((&missing.what, &missing.reason)).or_default().push(image);
            }
        }
        let mut text = String::new();
        for ((what, reason), images) in all.iter().take(MISSING_LINES) {
            let sentence = format!("{what}{}: {reason}", self.only_from(images));
            text.push_str(&self.loud_item("Missing", &clean(&sentence)));
        }
        if all.len() > MISSING_LINES {
            let rest = count((all.len() - MISSING_LINES) as u64, "thing", "things");
            text.push_str(&self.loud_item("Missing", &format!("{rest} more: see the report as JSON")));
        }
        text
    }

    /// ` (from cni on linux/arm/v7)`, or nothing where it is from every image.
    fn only_from(&self, images: &[&ImageReport]) -> String {
        if images.len() >= self.report.images.len() {
            return String::new();
        }
        let variants: BTreeSet<&str> = images.iter().map(|image| image.variant.as_str()).collect();
        let platforms: BTreeSet<Platform> = images.iter().map(|image| image.platform).collect();
        let variants = variants.into_iter().collect::<Vec<_>>().join(", ");
        let on = if platforms == self.report.platforms() {
            String::new()
        } else {
            format!(" on {}", list(&platforms))
        };
        format!(" (from {variants}{on})")
    }

    fn not_run(&self) -> String {
        let all: BTreeSet<(&str, &str)> = self
            .report
            .images
            .iter()
            .flat_map(|image| &image.not_run)
            .map(|script| (script.package.as_str(), script.script.as_str()))
            .collect();
        if all.is_empty() {
            return String::new();
        }
        let mut by_package: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for (package, script) in &all {
            by_package.entry(package).or_default().push(script);
        }
        let names: Vec<String> = by_package
            .iter()
            .map(|(package, scripts)| clean(&format!("{package} {}", scripts.join("+"))))
            .collect();
        let sentence =
            format!("{} of packages: {}", count(all.len() as u64, "script", "scripts"), few(&names, NAMED));
        self.item("Not run", &sentence)
    }

    fn fetched(&self) -> String {
        let fetched = &self.report.fetched;
        if fetched.files == 0 {
            return String::new();
        }
        let sentence = format!(
            "{}, {} ({} from the cache)",
            count(fetched.files, "file", "files"),
            size(fetched.bytes),
            fetched.from_cache
        );
        self.item("Fetched", &sentence)
    }

    /// What to do next; and behind everything, where nobody misses it, that it is a sample.
    fn last(&self) -> String {
        let mut text =
            self.report.next.as_ref().map_or_else(String::new, |next| self.item("Next", &clean(next)));
        if self.report.sample {
            for line in wrap(SAMPLE_NOTICE, self.width - 1) {
                text.extend([" ", &self.paint.loud(&line), "\n"]);
            }
        }
        text
    }

    /// Programs that are one, on the platform of the biggest image; and any that can't be.
    fn joined(&self) -> String {
        let shown = self.report.biggest().map(|image| image.platform);
        let all = self.report.joined.iter();
        all.map(|joined| match joined.size {
            Some(_) if Some(joined.platform) != shown => String::new(),
            Some(_) => self.item("Joined", &clean(&joined.to_string())),
            None => self.loud_item("Apart", &clean(&joined.to_string())),
        })
        .collect()
    }

    /// What was packed, and what not and why, of all images; the biggest first: the sizes shown are its program's.
    fn packed(&self) -> String {
        let lines = fates(self.report.biggest().into_iter().chain(&self.report.images));
        lines.iter().map(|line| self.item(line.head, &clean(&line.sentence))).collect()
    }

    fn item(&self, head: &str, sentence: &str) -> String {
        self.labelled(head, sentence, Paint::bold)
    }

    fn loud_item(&self, head: &str, sentence: &str) -> String {
        self.labelled(head, sentence, Paint::loud)
    }

    /// A head of at most eight characters, and a sentence beside it that is broken to the width.
    fn labelled(&self, head: &str, sentence: &str, paint: impl Fn(Paint, &str) -> String) -> String {
        let mut text = String::new();
        for (number, line) in wrap(sentence, self.width - 11).into_iter().enumerate() {
            let head = if number == 0 { head } else { "" };
            let space = " ".repeat(10_usize.saturating_sub(head.chars().count()));
            text.extend([" ", &paint(self.paint, head), &space, &line, "\n"]);
        }
        text
    }
}

/// Platforms as a list.
pub(crate) fn list(platforms: &BTreeSet<Platform>) -> String {
    platforms.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// The name, or its beginning.
fn shorten(name: &str, width: usize) -> String {
    if name.chars().count() <= width {
        name.to_owned()
    } else {
        name.chars().take(width.saturating_sub(1)).chain(['…']).collect()
    }
}

/// A bar of so many characters, filled to the part.
fn bar(part: u64, whole: u64, width: usize) -> String {
    let cells = u128::from(part) * width as u128 * 2;
    let filled = (cells + u128::from(whole)).checked_div(u128::from(whole) * 2).unwrap_or(0);
    let filled = usize::try_from(filled).unwrap_or(width).min(width);
    format!("{}{}", "█".repeat(filled), "░".repeat(width - filled))
}
