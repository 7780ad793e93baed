//! Licences: SPDX expressions where they are some, and else what the package says, word for word.

use kimg_core::Digest;
use spdx::{Expression, LicenseItem, ParseMode};

/// What a package says about its licence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Licence {
    /// Nothing.
    Unsaid,
    /// A valid expression (SPDX 2.3, annex D), and the licences of no list that it names.
    Expression(String, Vec<String>),
    /// Something else.
    Text(String),
}

impl Licence {
    pub(super) fn of(text: &str) -> Self {
        let text = text.trim();
        if text.is_empty() {
            return Self::Unsaid;
        }
        // Older identifiers, such as `GPL-2.0`, are still on SPDX's list.
        let mode = ParseMode { allow_deprecated: true, allow_postfix_plus_on_gpl: true, ..ParseMode::STRICT };
        let Ok(expression) = Expression::parse_mode(text, mode) else { return Self::Text(text.to_owned()) };
        let mut own = Vec::new();
        for requirement in expression.requirements() {
            if let LicenseItem::Other(_) = &requirement.req.license {
                own.push(requirement.req.license.to_string());
            }
        }
        // What stands in another document can't be looked up there.
        if own.iter().any(|name| !name.starts_with("LicenseRef-")) {
            return Self::Text(text.to_owned());
        }
        own.sort();
        own.dedup();
        Self::Expression(text.to_owned(), own)
    }

    /// The expression that stands for it in SPDX.
    pub(super) fn spdx(&self) -> String {
        match self {
            Self::Unsaid => "NOASSERTION".to_owned(),
            Self::Expression(text, _) => text.clone(),
            Self::Text(text) => reference(text),
        }
    }

    /// The licences of no list that have to be explained in the document, each with its text.
    pub(super) fn explained(&self) -> Vec<(String, String)> {
        match self {
            Self::Unsaid => Vec::new(),
            Self::Expression(_, own) => own
                .iter()
                .map(|name| {
                    (name.clone(), format!("The package names the licence {name} and has no text of it."))
                })
                .collect(),
            Self::Text(text) => {
                vec![(reference(text), format!("The package says of its licence: {text}"))]
            }
        }
    }
}

/// A name of its own for a text, of letters, digits, `.` and `-` (SPDX 2.3, 10.1).
fn reference(text: &str) -> String {
    let words: String =
        text.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).take(40).collect();
    format!("LicenseRef-{}-{}", words.trim_matches('-'), &Digest::of(text).hex()[..8])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_expression_stays_as_it_is_and_anything_else_gets_a_name() {
        for text in ["MIT", "MPL-2.0 AND MIT", "ISC AND (BSD-3-Clause OR MIT)", "GPL-2.0", "LGPL-2.1+"] {
            assert_eq!(Licence::of(text), Licence::Expression(text.to_owned(), vec![]));
        }
        let text = "GPL-2.0-or-later AND LicenseRef-Public-Domain";
        assert_eq!(Licence::of(text).spdx(), text);
        assert_eq!(Licence::of(text).explained()[0].0, "LicenseRef-Public-Domain");
        for text in [
            "MIT BSD GPL2+",
            "custom",
            "GPL-2.0-only WITH no-such-exception",
            "mit and",
            "DocumentRef-a:LicenseRef-b",
        ] {
            let licence = Licence::of(text);
            assert_eq!(licence, Licence::Text(text.to_owned()));
            assert!(licence.spdx().starts_with("LicenseRef-"), "{}", licence.spdx());
            assert!(licence.explained()[0].1.contains(text));
        }
        assert_eq!(
            (Licence::of(" ").spdx(), Licence::of("").explained()),
            ("NOASSERTION".to_owned(), vec![])
        );
        assert_ne!(reference("a b"), reference("a-b"));
    }
}
