//! The size matrix: variants down, platforms across.

use std::collections::BTreeSet;

use kimg_core::{Digest, Platform};
use serde::Serialize;

use crate::text::{Paint, wrap};
use crate::{Column, Format, SAMPLE_NOTICE, Table, json, sizes};

/// One image for one platform.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MatrixEntry {
    /// The variant's name: `kubeadm-cni`.
    pub variant: String,
    /// What the variant is, in one line.
    pub description: String,
    /// The tag that names exactly this version and variant: `v1.20.2-cni`.
    pub tag: String,
    /// What it runs on.
    pub platform: Platform,
    /// What a node pulls: the sum of the sizes of its compressed layers, in bytes.
    pub compressed: u64,
    /// What it takes on disk, about: the sum of the sizes of its layers uncompressed (tar archives), in bytes.
    pub extracted: u64,
    /// The digest of its manifest.
    pub digest: Digest,
    /// Whether it was made from the embedded sample.
    pub sample: bool,
}

/// The sizes of all images of a build. Rows and columns come in the order of the entries and of [`Platform`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct SizeMatrix {
    /// One for each image and platform.
    pub entries: Vec<MatrixEntry>,
}

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
        let mut columns = vec![Column::left("Image"), Column::left("Tag")];
        columns.extend(platforms.iter().map(|platform| Column::right(platform.to_string())));
        let mut table = Table::new(columns);
        for (variant, tag) in self.rows() {
            let name =
                if self.is_sample(variant, tag) { format!("{variant} (sample)") } else { variant.to_owned() };
            table.row([name, tag.to_owned()].into_iter().chain(self.cells(variant, tag, &platforms)));
        }
        let mut text = table.to_terminal(width, color);
        text.push_str("\n Sizes: pull / on disk\n");
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
        columns.push(Column::left("holds"));
        let mut table = Table::new(columns);
        for (variant, tag) in self.rows() {
            let mark = if self.is_sample(variant, tag) { " **(sample)**" } else { "" };
            let description =
                self.entry(variant, tag).map(|entry| entry.description.clone()).unwrap_or_default();
            let cells = self.cells(variant, tag, &platforms);
            table.row([format!("`{variant}`{mark}")].into_iter().chain(cells).chain([description]));
        }
        let mut text = table.to_markdown();
        text.push_str("\nWhat a node pulls (compressed) / what it takes on disk (uncompressed); 1 MB is 1,000,000 bytes.\n");
        if self.entries.iter().any(|entry| entry.sample) {
            text.extend(["\n**", SAMPLE_NOTICE, "**\n"]);
        }
        text
    }

    fn to_csv(&self) -> String {
        let heads = ["variant", "platform", "tag", "compressed", "extracted", "digest", "sample"];
        let mut table = Table::new(heads.map(Column::left));
        for entry in &self.entries {
            table.row([
                entry.variant.clone(),
                entry.platform.to_string(),
                entry.tag.clone(),
                entry.compressed.to_string(),
                entry.extracted.to_string(),
                entry.digest.to_string(),
                entry.sample.to_string(),
            ]);
        }
        table.to_csv()
    }

    fn platforms(&self) -> Vec<Platform> {
        let all: BTreeSet<Platform> = self.entries.iter().map(|entry| entry.platform).collect();
        all.into_iter().collect()
    }

    /// The rows: each variant and tag once, in the order in which they come first.
    fn rows(&self) -> Vec<(&str, &str)> {
        let mut rows: Vec<(&str, &str)> = Vec::new();
        for entry in &self.entries {
            let row = (entry.variant.as_str(), entry.tag.as_str());
            if !rows.contains(&row) {
                rows.push(row);
            }
        }
        rows
    }

    fn of_row(&self, variant: &str, tag: &str) -> impl Iterator<Item = &MatrixEntry> {
        self.entries.iter().filter(move |entry| entry.variant == variant && entry.tag == tag)
    }

    fn entry(&self, variant: &str, tag: &str) -> Option<&MatrixEntry> {
        self.of_row(variant, tag).next()
    }

    fn is_sample(&self, variant: &str, tag: &str) -> bool {
        self.of_row(variant, tag).any(|entry| entry.sample)
    }

    fn cells(&self, variant: &str, tag: &str, platforms: &[Platform]) -> Vec<String> {
        let cell = |platform: &Platform| {
            let entry = self.of_row(variant, tag).find(|entry| entry.platform == *platform);
            entry.map_or_else(|| "–".to_owned(), |entry| sizes(entry.compressed, entry.extracted))
        };
        platforms.iter().map(cell).collect()
    }
}
