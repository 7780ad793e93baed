//! A file of rules as written, each text with its place; and the checks that both kinds of entry share.

use std::ops::Range;

use serde::Deserialize;
use toml::Spanned;

use super::call::Importance;
use super::pattern::Matcher;
use crate::Dialect;

/// A text with its place in the file.
pub(super) type Text = Spanned<String>;

/// What is wrong, and where in the file.
pub(super) type Wrong = (Range<usize>, String);

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct File {
    #[serde(default, rename = "rule")]
    pub(super) rules: Vec<Rule>,
    #[serde(default, rename = "call")]
    pub(super) calls: Vec<Call>,
    #[serde(default)]
    pub(super) quiet: Vec<Quiet>,
}

/// `[[quiet]]`
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct Quiet {
    pub(super) name: Text,
    pub(super) program: Spanned<Vec<Text>>,
    pub(super) reason: Text,
    pub(super) source: Option<String>,
}

/// `[[rule]]`
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct Rule {
    pub(super) name: Text,
    pub(super) program: Spanned<Vec<Text>>,
    pub(super) files: Vec<Text>,
    pub(super) loader: Option<Dialect>,
    #[serde(default)]
    pub(super) required: bool,
    pub(super) reason: Text,
    pub(super) source: Option<String>,
}

/// `[[call]]`
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct Call {
    pub(super) name: Text,
    pub(super) program: Spanned<Vec<Text>>,
    pub(super) starts: Vec<Text>,
    pub(super) purpose: Text,
    pub(super) importance: Importance,
    #[serde(default)]
    pub(super) words: Vec<Text>,
    #[serde(default)]
    pub(super) callers: Vec<Text>,
    pub(super) since: Option<Text>,
    pub(super) before: Option<Text>,
    pub(super) source: Option<String>,
}

pub(super) fn one_line(what: &str, text: &Text) -> Result<String, Wrong> {
    let words = text.get_ref();
    if words.trim().is_empty() || words.contains('\n') {
        return Err((text.span(), format!("`{what}` is not one line of words")));
    }
    Ok(words.clone())
}

pub(super) fn programs(texts: &Spanned<Vec<Text>>) -> Result<Vec<Matcher>, Wrong> {
    if texts.get_ref().is_empty() {
        return Err((texts.span(), "`program` is empty: it would hold for nothing".to_owned()));
    }
    each(texts.get_ref(), Matcher::new)
}

/// Checks each text by itself; of a wrong one the place is told.
pub(super) fn each<T>(texts: &[Text], check: impl Fn(&str) -> Result<T, String>) -> Result<Vec<T>, Wrong> {
    texts.iter().map(|text| check(text.get_ref()).map_err(|problem| (text.span(), problem))).collect()
}
