//! The matrix as a picture that stands alone: no script, no font, no link; readable on light and on dark pages.
//!
//! Bars lie, since names are words and there may be many of them: for each variant a group, in it for each platform two
//! bars, pull above on disk. Colours follow the page where the viewer says which it is (Media Queries 5,
//! `prefers-color-scheme`); those for viewers that don't are readable on both.

use std::fmt::Write as _;

use super::{MatrixEntry, SizeMatrix};
use crate::svg::escaped;
use crate::{SAMPLE_NOTICE, size, sizes};

const WIDTH: u64 = 760;
const MARGIN: u64 = 16;
/// Where the first bar begins, from above.
const TOP: u64 = 72;
const BAR: u64 = 9;
/// From one platform to the next.
const ROW: u64 = 26;
/// Between two variants, beside.
const GAP: u64 = 10;
/// For the size behind a bar.
const BEHIND: u64 = 70;
/// What a character of the names takes, at most and about.
const LETTER: u64 = 8;

const STYLE: &str = "
    text { font: 12px system-ui, -apple-system, 'Segoe UI', Helvetica, Arial, sans-serif; fill: #768390; }
    .title { font-size: 15px; font-weight: 600; }
    .image { font-size: 13px; font-weight: 600; }
    .size { font-size: 10px; }
    .end { text-anchor: end; }
    .middle { text-anchor: middle; }
    .pull { fill: #2f81f7; }
    .disk { fill: #9db8d9; }
    .line { stroke: #8b949e; stroke-opacity: 0.35; }
    @media (prefers-color-scheme: light) {
      text { fill: #57606a; }
      .title, .image { fill: #1f2328; }
      .pull { fill: #0969da; }
      .disk { fill: #b6d4f5; }
    }
    @media (prefers-color-scheme: dark) {
      text { fill: #9198a1; }
      .title, .image { fill: #e6edf3; }
      .pull { fill: #58a6ff; }
      .disk { fill: #1f4a7d; }
    }
";

impl SizeMatrix {
    /// The matrix as SVG: of the same sizes always the same bytes.
    pub fn to_svg(&self) -> String {
        let rows: Vec<(String, Vec<&MatrixEntry>)> = self
            .rows()
            .iter()
            .map(|(variant, tag)| (self.row_name(variant, tag), self.of_row(variant, tag).collect()))
            .collect();
        let letters = |text: &str| text.chars().count() as u64;
        let names = rows.iter().map(|(name, _)| letters(name) * LETTER).max().unwrap_or(0);
        let platforms = self.platforms().iter().map(|p| letters(&p.to_string()) * 7).max().unwrap_or(0);
        let left = MARGIN + (names + GAP).min(WIDTH / 3) + platforms + GAP;
        let count: u64 = rows.iter().map(|(_, entries)| entries.len() as u64).sum();
        let bottom = TOP + count * ROW + rows.len() as u64 * GAP;
        let most = self.entries.iter().map(|entry| entry.extracted.max(entry.compressed)).max().unwrap_or(0);
        let scale = Scale { left, width: WIDTH - left - BEHIND, step: step(most), most: most.max(1) };

        let mut svg = self.head(bottom + 44);
        scale.draw(&mut svg, TOP - 8, bottom);
        let mut y = TOP;
        for (name, entries) in &rows {
            let _ = writeln!(
                svg,
                "  <text class=\"image\" x=\"{MARGIN}\" y=\"{}\">{}</text>",
                y + 13,
                escaped(name)
            );
            for entry in entries {
                scale.bars(&mut svg, name, entry, y);
                y += ROW;
            }
            y += GAP;
        }
        svg.push_str("</svg>\n");
        svg
    }

    /// Everything up to the first bar: what those are told who can't see the picture, colours, title and legend.
    fn head(&self, height: u64) -> String {
        let told = self.entries.iter().map(|entry| {
            let name = self.row_name(&entry.variant, &entry.tag);
            format!("{name} for {}: {}", entry.platform, sizes(entry.compressed, entry.extracted))
        });
        let sample = if self.entries.iter().any(|entry| entry.sample) { SAMPLE_NOTICE } else { "" };
        let desc = format!("{} {sample}", told.collect::<Vec<_>>().join("; "));
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" \
             viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-labelledby=\"title desc\">\n  \
             <title id=\"title\">Image sizes: what a node pulls, and what it takes on disk</title>\n  \
             <desc id=\"desc\">{}</desc>\n  <style>{STYLE}  </style>\n",
            escaped(desc.trim_end())
        );
        let heading = if sample.is_empty() { "Image sizes" } else { "Image sizes (SAMPLE: no real images)" };
        let _ = writeln!(svg, "  <text class=\"title\" x=\"{MARGIN}\" y=\"28\">{heading}</text>");
        for (x, class, text) in
            [(MARGIN, "pull", "pull (compressed)"), (MARGIN + 130, "disk", "on disk (uncompressed)")]
        {
            let _ = writeln!(
                svg,
                "  <rect class=\"{class}\" x=\"{x}\" y=\"41\" width=\"10\" height=\"10\" rx=\"2\"/>\n  \
                 <text x=\"{}\" y=\"50\">{text}</text>",
                x + 15
            );
        }
        svg
    }
}

/// From bytes to points.
struct Scale {
    left: u64,
    width: u64,
    /// The bytes between two lines.
    step: u64,
    /// The bytes of the longest bar.
    most: u64,
}

impl Scale {
    /// The length of a bar in points, with one digit behind the point.
    fn length(&self, bytes: u64) -> String {
        let tenths = u128::from(bytes) * u128::from(self.width) * 10 / u128::from(self.most);
        format!("{}.{}", tenths / 10, tenths % 10)
    }

    /// Lines across, and what they stand for below.
    fn draw(&self, svg: &mut String, top: u64, bottom: u64) {
        let mut bytes = 0;
        while self.step > 0 && bytes <= self.most {
            let x = self.left
                + u64::try_from(u128::from(bytes) * u128::from(self.width) / u128::from(self.most))
                    .unwrap_or(0);
            let (y, text) =
                (bottom + 14, if bytes == 0 { "0".to_owned() } else { size(bytes).replace(".0 ", " ") });
            let _ = writeln!(
                svg,
                "  <path class=\"line\" d=\"M{x}.5 {top}V{bottom}\"/>\n  \
                 <text class=\"size middle\" x=\"{x}\" y=\"{y}\">{text}</text>"
            );
            bytes += self.step;
        }
    }

    /// The two bars of an image.
    fn bars(&self, svg: &mut String, name: &str, entry: &MatrixEntry, y: u64) {
        let told = format!(
            "{name} for {}: {} to pull, {} on disk",
            entry.platform,
            size(entry.compressed),
            size(entry.extracted)
        );
        let _ = writeln!(
            svg,
            "  <g><title>{}</title>\n    <text class=\"end\" x=\"{}\" y=\"{}\">{}</text>",
            escaped(&told),
            self.left - GAP,
            y + 13,
            entry.platform
        );
        for (class, bytes, y) in [("pull", entry.compressed, y), ("disk", entry.extracted, y + BAR + 1)] {
            let length = self.length(bytes);
            let _ = writeln!(
                svg,
                "    <rect class=\"{class}\" x=\"{}\" y=\"{y}\" width=\"{length}\" height=\"{BAR}\" rx=\"2\"/>\n    \
                 <text class=\"size\" x=\"{}\" dx=\"{length}\" y=\"{}\">{}</text>",
                self.left,
                self.left + 5,
                y + 8,
                size(bytes)
            );
        }
        svg.push_str("  </g>\n");
    }
}

/// The bytes between two lines: 1, 2 or 5 with zeros, so that there are at most six of them.
fn step(most: u64) -> u64 {
    let mut step = 1;
    for factor in [2, 5, 10].iter().cycle() {
        if most / step <= 5 || step > u64::MAX / 20 {
            break;
        }
        let power = 10_u64.pow(step.ilog10());
        step = power * factor;
    }
    step
}
