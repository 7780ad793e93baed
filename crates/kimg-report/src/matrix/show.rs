//! The matrix as a table, Markdown, JSON and CSV.

use kimg_core::Platform;

use super::{MatrixEntry, SizeMatrix};
use crate::size::deltas;
use crate::text::{Paint, wrap};
use crate::{Column, Format, SAMPLE_NOTICE, Table, json, sizes};

/// Stands behind a size that is not what a registry would have.
const STORED_PLAIN: &str = "layers lie uncompressed where they were read: from a registry a node pulls less";

impl SizeMatrix {
    /// The matrix in a format. Table and Markdown have a row for each variant, JSON and CSV a record for each entry.
    ///
    /// Ends with a line feed. What was made from the sample is marked in its row and by a last line.
    pub fn render(&self, format: Format) -> String {
        match format {
            Format::Table => self.to_terminal(100, false),
            Format::Markdown => self.to_markdown(),
            Format::Json => json(self),
            Format::Csv => self.to_csv(),
        }
    }

    /// For a terminal so many characters wide.
    pub fn to_terminal(&self, width: usize, color: bool) -> String {
        let platforms = self.platforms();
        let table = |with_tags: bool| {
            let mut columns = vec![Column::left("Image")];
            columns.extend(with_tags.then(|| Column::left("Tag")));
            columns.extend(platforms.iter().map(|platform| Column::right(platform.to_string())));
            let mut table = Table::new(columns);
            for (variant, tag) in self.rows() {
                let sample = if self.is_sample(variant, tag) { " (sample)" } else { "" };
                let name = if with_tags { variant.to_owned() } else { self.row_name(variant, tag) };
                let words = [name + sample].into_iter().chain(with_tags.then(|| tag.to_owned()));
                table.row(words.chain(self.cells(variant, tag, &platforms)));
            }
            table
        };
        // Changes take room: tags are what can be done without.
        let with_tags = self.since.is_none() || table(true).natural_width() <= width;
        let mut text = table(with_tags).to_terminal(width, color);
        let notes = [vec!["Sizes: pull / on disk".to_owned()], self.notes()].concat();
        text.push('\n');
        for line in notes.iter().flat_map(|note| wrap(note, width.saturating_sub(1))) {
            text.extend([" ", &line, "\n"]);
        }
        if self.entries.iter().any(|entry| entry.sample) {
            for line in wrap(SAMPLE_NOTICE, width.saturating_sub(1)) {
                text.extend([" ", &Paint(color).loud(&line), "\n"]);
            }
        }
        text
    }

    /// A table for a README with a line below it that says what the numbers are.
    fn to_markdown(&self) -> String {
        let platforms = self.platforms();
        let mut columns = vec![Column::left("image")];
        columns.extend(platforms.iter().map(|platform| Column::right(platform.to_string())));
        let described = self.entries.iter().any(|entry| !entry.description.is_empty());
        columns.extend(described.then(|| Column::left("holds")));
        let mut table = Table::new(columns);
        for (variant, tag) in self.rows() {
            let mark = if self.is_sample(variant, tag) { " **(sample)**" } else { "" };
            let name = self.row_name(variant, tag);
            let entry = self.of_row(variant, tag).next();
            let description = entry.map(|entry| entry.description.clone()).unwrap_or_default();
            let cells = self.cells(variant, tag, &platforms);
            table.row([format!("`{name}`{mark}")].into_iter().chain(cells).chain([description]));
        }
        let mut text = table.to_markdown();
        text.push_str("\nWhat a node pulls (compressed) / what it takes on disk (uncompressed); 1 MB is 1,000,000 bytes.\n");
        for note in self.notes() {
            text.extend([&note, "\n"]);
        }
        if self.entries.iter().any(|entry| entry.sample) {
            text.extend(["\n**", SAMPLE_NOTICE, "**\n"]);
        }
        text
    }

    fn to_csv(&self) -> String {
        let heads = ["variant", "platform", "tag", "compressed", "extracted", "digest", "sample"];
        let since = ["compressed_before", "extracted_before"].iter().filter(|_| self.since.is_some());
        let mut table = Table::new(heads.iter().chain(since).map(|head| Column::left(*head)));
        for entry in &self.entries {
            let before = |size: fn(&super::Before) -> u64| {
                entry.before.as_ref().map_or_else(String::new, |before| size(before).to_string())
            };
            table.row([
                entry.variant.clone(),
                entry.platform.to_string(),
                entry.tag.clone(),
                entry.compressed.to_string(),
                entry.extracted.to_string(),
                entry.digest.to_string(),
                entry.sample.to_string(),
                before(|before| before.compressed),
                before(|before| before.extracted),
            ]);
        }
        table.to_csv()
    }

    fn is_sample(&self, variant: &str, tag: &str) -> bool {
        self.of_row(variant, tag).any(|entry| entry.sample)
    }

    fn cells(&self, variant: &str, tag: &str, platforms: &[Platform]) -> Vec<String> {
        let cell = |platform: &Platform| {
            let entry = self.of_row(variant, tag).find(|entry| entry.platform == *platform);
            entry.map_or_else(|| "–".to_owned(), |entry| self.cell(entry))
        };
        platforms.iter().map(cell).collect()
    }

    /// `20.7 / 71.7 MB`, with `(−0.3 / +0.1)` or `(new)` behind it where an earlier matrix is known.
    fn cell(&self, entry: &MatrixEntry) -> String {
        let now = (entry.compressed, entry.extracted);
        let mark = if entry.stored_plain { " *" } else { "" };
        let change = match (&entry.before, &self.since) {
            (Some(before), _) => format!(" ({})", deltas(now, (before.compressed, before.extracted))),
            (None, Some(_)) => " (new)".to_owned(),
            (None, None) => String::new(),
        };
        format!("{}{mark}{change}", sizes(now.0, now.1))
    }

    /// What has to be said below the table.
    fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        if self.entries.iter().any(|entry| entry.stored_plain) {
            notes.push(format!("* {STORED_PLAIN}."));
        }
        if let Some(since) = &self.since {
            // A tag tells a reader more than the name of a file.
            let tag = self.entries.iter().find_map(|entry| entry.before.as_ref()).map(|before| &before.tag);
            let since = tag.filter(|tag| !tag.is_empty()).unwrap_or(since);
            notes.push(format!("In brackets: the change since {since}."));
        }
        if !self.gone.is_empty() {
            let mut gone: Vec<String> = Vec::new();
            for (variant, platform) in &self.gone {
                let wholly = self.entries.iter().all(|entry| entry.variant != *variant);
                let name = if wholly { variant.clone() } else { format!("{variant} for {platform}") };
                if gone.last() != Some(&name) {
                    gone.push(name);
                }
            }
            notes.push(format!("No more there: {}.", gone.join(", ")));
        }
        notes
    }
}
