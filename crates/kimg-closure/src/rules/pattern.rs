//! What rules and calls match: the programs they hold for, and paths with wildcards.

use globset::{Glob, GlobBuilder, GlobMatcher};
use kimg_core::ImagePath;

/// A program: its own name, or with a slash its whole path.
#[derive(Debug, Clone)]
pub(super) struct Matcher {
    glob: GlobMatcher,
    whole_path: bool,
}

/// Paths of an image, with wildcards or without.
#[derive(Debug, Clone)]
pub(super) struct Pattern {
    /// As written.
    pub(super) text: String,
    /// The folder above the first wildcard; without wildcards the path itself.
    pub(super) folder: ImagePath,
    /// What paths below the folder must look like, if there is a wildcard.
    pub(super) rest: Option<GlobMatcher>,
}

impl Matcher {
    pub(super) fn new(text: &str) -> Result<Self, String> {
        let whole_path = text.contains('/');
        if text.is_empty() || (whole_path && !text.starts_with('/')) {
            return Err(format!("program `{text}` is neither a name nor an absolute path"));
        }
        if text.bytes().all(|b| b"*/?".contains(&b)) {
            return Err(format!("program `{text}` would hold for everything"));
        }
        Ok(Self { glob: glob(text)?.compile_matcher(), whole_path })
    }

    pub(super) fn is_match(&self, path: &ImagePath) -> bool {
        let name = path.file_name().unwrap_or_default();
        self.glob.is_match(if self.whole_path { path.as_str() } else { name })
    }
}

impl Pattern {
    pub(super) fn new(text: &str) -> Result<Self, String> {
        let Some(relative) = text.strip_prefix('/') else {
            return Err(format!("file `{text}` is not an absolute path"));
        };
        let path = |text: &str| ImagePath::new(text).map_err(|error| error.to_string());
        let Some(wildcard) = relative.find(['*', '?', '[', '{', '\\']) else {
            return Ok(Self { text: text.to_owned(), folder: path(relative)?, rest: None });
        };
        let (folder, rest) = relative.split_at(relative[..wildcard].rfind('/').map_or(0, |slash| slash + 1));
        Ok(Self { text: text.to_owned(), folder: path(folder)?, rest: Some(glob(rest)?.compile_matcher()) })
    }
}

fn glob(text: &str) -> Result<Glob, String> {
    GlobBuilder::new(text).literal_separator(true).build().map_err(|error| error.to_string())
}
