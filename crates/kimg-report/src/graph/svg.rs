//! A graph as a picture that stands alone: no script, no font, no link; readable on light and on dark pages.
//!
//! Widths of words can't be known without a font: text is set in a monospaced one, and `textLength` makes it as wide
//! as its box was made for, whatever font is there (SVG 2, 11.5).

use std::fmt::Write as _;

use super::layers::{Layout, Place, lay_out};
use super::{Graph, Node, NodeKind};
use crate::svg::{escaped, tenth};
use crate::text::clean;

/// Points that a character takes, of the upper line and of the lower one.
const LARGE: f64 = 7.8;
const SMALL: f64 = 6.0;
const BOX_HEIGHT: f64 = 38.0;
const MARGIN: f64 = 16.0;
const LEGEND_HEIGHT: f64 = 40.0;
/// A longer name is cut in its middle, a longer line below it likewise.
const LONGEST: usize = 44;
const LONGEST_SMALL: usize = 64;

/// Boxes bring their own ground, so their words are readable on any page; lines are of a grey that is, too.
const STYLE: &str = "
    text { font-family: ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', monospace; }
    .name { font-size: 13px; fill: #1f2328; }
    .folder { font-size: 10px; fill: #57606a; }
    .box { stroke-width: 1; }
    .program { fill: #ddf4ff; stroke: #0969da; stroke-width: 2; }
    .script { fill: #fbefff; stroke: #8250df; }
    .library { fill: #f6f8fa; stroke: #6e7781; }
    .loader { fill: #dafbe1; stroke: #1a7f37; }
    .data { fill: #fff8c5; stroke: #9a6700; }
    .unresolved { fill: #ffebe9; stroke: #cf222e; stroke-width: 2; stroke-dasharray: 5 3; }
    .edge { fill: none; stroke: #818b98; stroke-width: 1.2; }
    .to-loader { stroke-dasharray: 2 3; }
    .to-unresolved { stroke: #e5534b; stroke-dasharray: 5 3; }
    .tip { fill: #818b98; }
    @media (prefers-color-scheme: dark) {
      .name { fill: #e6edf3; }
      .folder { fill: #9198a1; }
      .program { fill: #0c2d6b; stroke: #58a6ff; }
      .script { fill: #3c1e70; stroke: #bc8cff; }
      .library { fill: #21262d; stroke: #8b949e; }
      .loader { fill: #033a16; stroke: #3fb950; }
      .data { fill: #3b2300; stroke: #d29922; }
      .unresolved { fill: #490202; stroke: #f85149; }
    }
";

impl Graph {
    /// A picture in SVG, with `title` for those who can't see it.
    pub fn to_svg(&self, title: &str) -> String {
        let words: Vec<(String, String)> = self.nodes.iter().map(words).collect();
        let sizes: Vec<(f64, f64)> =
            words.iter().map(|(name, folder)| (width_of(name, folder), BOX_HEIGHT)).collect();
        let edges: Vec<(usize, usize)> = self.edges.iter().map(|edge| (edge.from, edge.to)).collect();
        let layout = lay_out(&sizes, &edges);
        let kinds: Vec<NodeKind> =
            NodeKind::ALL.into_iter().filter(|kind| self.nodes.iter().any(|n| n.kind == *kind)).collect();
        let legend = kinds.iter().map(|kind| width_of(kind.name(), "") + 8.0).sum::<f64>();
        let width = layout.width.max(legend) + 2.0 * MARGIN;
        let height = layout.height + LEGEND_HEIGHT + 2.0 * MARGIN;

        let (title, width, height) = (escaped(title), whole(width), whole(height));
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
             viewBox=\"0 0 {width} {height}\" role=\"img\" aria-label=\"{title}\">\n  <title>{title}</title>\n  \
             <style>{STYLE}  </style>\n  <defs><marker id=\"tip\" viewBox=\"0 0 8 8\" refX=\"7\" refY=\"4\" \
             markerWidth=\"7\" markerHeight=\"7\" orient=\"auto\"><path class=\"tip\" d=\"M0 0L8 4L0 8z\"/></marker></defs>\n"
        );
        self.draw_edges(&mut svg, &layout);
        for ((node, words), place) in self.nodes.iter().zip(&words).zip(&layout.boxes) {
            let place = Place { x: place.x + MARGIN, y: place.y + MARGIN, ..*place };
            draw_box(&mut svg, node.kind, words, place, &tip(node));
        }
        let mut x = MARGIN;
        for kind in kinds {
            let words = (kind.name().to_owned(), String::new());
            let width = width_of(&words.0, "");
            let y = layout.height + MARGIN * 2.0;
            draw_box(&mut svg, kind, &words, Place { x, y, width, height: 24.0 }, "");
            x += width + 8.0;
        }
        svg.push_str("</svg>\n");
        svg
    }

    fn draw_edges(&self, svg: &mut String, layout: &Layout) {
        for (edge, bends) in self.edges.iter().zip(&layout.bends) {
            let (from, to) = (layout.boxes[edge.from], layout.boxes[edge.to]);
            // An edge that closes a loop goes back: from the left side to the right one.
            let back = from.x >= to.x;
            let side = |place: Place, right: bool| {
                (place.x + if right { place.width } else { 0.0 }, place.y + place.height / 2.0)
            };
            let mut points = vec![side(from, !back)];
            points.extend(bends);
            points.push(side(to, back));
            let class = match self.nodes[edge.to].kind {
                NodeKind::Unresolved => "edge to-unresolved",
                NodeKind::Loader => "edge to-loader",
                _ => "edge",
            };
            let title =
                format!("{}: {} → {}", edge.how, self.nodes[edge.from].name, self.nodes[edge.to].name);
            let _ = writeln!(
                svg,
                "  <path class=\"{class}\" marker-end=\"url(#tip)\" d=\"{}\"><title>{}</title></path>",
                curve(&points),
                escaped(&title)
            );
        }
    }
}

/// A line through the points: straight along a layer, an S between two of them.
fn curve(points: &[(f64, f64)]) -> String {
    let mut path = String::new();
    for (index, &(x, y)) in points.iter().enumerate() {
        let (x, y) = (x + MARGIN, y + MARGIN);
        if index == 0 {
            let _ = write!(path, "M{} {}", tenth(x), tenth(y));
            continue;
        }
        let (before_x, before_y) = (points[index - 1].0 + MARGIN, points[index - 1].1 + MARGIN);
        if (before_y - y).abs() < 0.05 {
            let _ = write!(path, "L{} {}", tenth(x), tenth(y));
        } else {
            let middle = f64::midpoint(before_x, x);
            let _ = write!(
                path,
                "C{} {} {} {} {} {}",
                tenth(middle),
                tenth(before_y),
                tenth(middle),
                tenth(y),
                tenth(x),
                tenth(y)
            );
        }
    }
    path
}

fn draw_box(svg: &mut String, kind: NodeKind, words: &(String, String), place: Place, tip: &str) {
    let (name, folder) = words;
    let title = if tip.is_empty() { String::new() } else { format!("<title>{}</title>", escaped(tip)) };
    let _ = writeln!(
        svg,
        "  <g>{title}<rect class=\"box {}\" x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\" rx=\"6\"/>",
        kind.name(),
        tenth(place.x),
        tenth(place.y),
        tenth(place.width),
        tenth(place.height)
    );
    let x = tenth(place.x + 10.0);
    let (upper, lower) = if folder.is_empty() { (place.height / 2.0 + 4.5, 0.0) } else { (17.0, 31.0) };
    for (class, text, y, each) in [("name", name, upper, LARGE), ("folder", folder, lower, SMALL)] {
        if !text.is_empty() {
            let _ = writeln!(
                svg,
                "    <text class=\"{class}\" x=\"{x}\" y=\"{}\" textLength=\"{}\" lengthAdjust=\"spacingAndGlyphs\">{}</text>",
                tenth(place.y + y),
                tenth(length(text, each)),
                escaped(text)
            );
        }
    }
    svg.push_str("  </g>\n");
}

/// The two lines of a box: the file's name, and its folder or what is wrong.
fn words(node: &Node) -> (String, String) {
    let name = clean(&node.name);
    if node.kind == NodeKind::Unresolved {
        let note = format!("unresolved: {}", node.note.as_deref().unwrap_or("not found"));
        return (short(&name, LONGEST), short(&note, LONGEST_SMALL));
    }
    match name.rsplit_once('/') {
        Some((folder, file)) if !file.is_empty() => {
            let folder = if folder.is_empty() { "/" } else { folder };
            (short(file, LONGEST), short(folder, LONGEST_SMALL))
        }
        _ => (short(&name, LONGEST), String::new()),
    }
}

fn tip(node: &Node) -> String {
    let size = node.size.map(|bytes| format!(", {}", crate::size(bytes))).unwrap_or_default();
    let note = node.note.as_ref().map(|note| format!(": {note}")).unwrap_or_default();
    format!("{} ({}{size}){note}", node.name, node.kind.name())
}

fn short(text: &str, longest: usize) -> String {
    crate::outline::cut_in_the_middle(&clean(text), longest)
}

fn width_of(name: &str, folder: &str) -> f64 {
    length(name, LARGE).max(length(folder, SMALL)) + 20.0
}

#[expect(clippy::cast_precision_loss, reason = "a line has at most 64 characters")]
fn length(text: &str, each: f64) -> f64 {
    text.chars().count() as f64 * each
}

fn whole(value: f64) -> String {
    tenth(value.ceil())
}
