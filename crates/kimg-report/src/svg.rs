//! What every picture needs: text that can't end an element, and numbers as SVG has them.

use crate::text::clean;

/// A number as SVG has it, with at most one digit behind the point; never `-0`.
pub(crate) fn tenth(value: f64) -> String {
    let rounded = (value * 10.0).round() / 10.0;
    format!("{}", rounded + 0.0)
}

/// For text and attributes (XML 1.0, 2.4). Control characters are in no XML.
pub(crate) fn escaped(text: &str) -> String {
    clean(text).replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
