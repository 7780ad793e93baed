//! Errors as people see them: what, where, why, what to do; and the exit code.

use std::error::Error;
use std::fmt::Write as _;

use kimg_build::BuildError;
use kimg_build::error::Place;
use kimg_core::{Classified, ErrorClass};

/// An error on its way to the terminal.
#[derive(Debug)]
pub(crate) struct Failure(Box<Parts>);

#[derive(Debug)]
struct Parts {
    class: ErrorClass,
    lines: Vec<String>,
    place: Option<Place>,
    hint: Option<String>,
    broken_pipe: bool,
}

impl Failure {
    pub(crate) fn new(class: ErrorClass, message: impl Into<String>) -> Self {
        Self(Box::new(Parts {
            class,
            lines: vec![message.into()],
            place: None,
            hint: None,
            broken_pipe: false,
        }))
    }

    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new(ErrorClass::Usage, message)
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.0.hint = Some(hint.into());
        self
    }

    /// The same error, of this file.
    pub(crate) fn about(mut self, what: &str) -> Self {
        if let Some(first) = self.0.lines.first_mut() {
            *first = format!("{what}: {first}");
        }
        self
    }

    pub(crate) fn exit_code(&self) -> u8 {
        self.0.class.exit_code()
    }

    pub(crate) fn is_broken_pipe(&self) -> bool {
        self.0.broken_pipe
    }

    /// ```text
    /// error: what
    ///   --> where
    ///  caused by: why
    ///  help: what to do
    /// ```
    pub(crate) fn to_text(&self, color: bool) -> String {
        let paint = |code: &str, text: &str| {
            if color { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
        };
        let mut text = String::new();
        for (place, line) in self.0.lines.iter().enumerate() {
            let head = if place == 0 { paint("1;31", "error:") } else { paint("1", " caused by:") };
            let _ = writeln!(text, "{head} {line}");
            if place == 0
                && let Some(at) = &self.0.place
            {
                let margin = at.line.to_string().len();
                let arrow = paint("1;34", "-->");
                let _ = writeln!(text, "{:margin$}{arrow} {}:{}:{}", "", at.file, at.line, at.column);
                let _ = writeln!(text, "{} | {}", paint("1;34", &at.line.to_string()), at.text);
                let marks = paint("1;31", &"^".repeat(at.width));
                let _ = writeln!(text, "{:margin$} | {:indent$}{marks}", "", "", indent = at.column - 1);
            }
        }
        if let Some(hint) = &self.0.hint {
            let _ = writeln!(text, "{} {hint}", paint("1;36", " help:"));
        }
        text
    }
}

impl Failure {
    /// As GitHub Actions shows it beside the line that it is about: `::error file=…,line=…::…`.
    pub(crate) fn to_annotation(&self) -> String {
        // "Workflow commands for GitHub Actions": these are the characters that would end a value.
        let value = |text: &str| text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A");
        let property = |text: &str| value(text).replace(':', "%3A").replace(',', "%2C");
        let place = self.0.place.as_ref().map_or_else(String::new, |at| {
            format!(" file={},line={},col={}", property(&at.file), at.line, at.column)
        });
        let mut text = self.0.lines.join(": ");
        if let Some(hint) = &self.0.hint {
            text = format!("{text} ({hint})");
        }
        format!("::error{place}::{}", value(&text))
    }
}

impl From<BuildError> for Failure {
    fn from(error: BuildError) -> Self {
        let mut failure = classified(&error);
        failure.0.place = error.place().cloned();
        failure
    }
}

impl From<kimg_source::SourceError> for Failure {
    fn from(error: kimg_source::SourceError) -> Self {
        classified(&error)
    }
}

impl From<kimg_report::MarkerError> for Failure {
    fn from(error: kimg_report::MarkerError) -> Self {
        classified(&error)
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        let broken_pipe = error.kind() == std::io::ErrorKind::BrokenPipe;
        let mut failure = Self::new(ErrorClass::LocalIo, error.to_string());
        failure.0.broken_pipe = broken_pipe;
        failure
    }
}

pub(crate) fn classified(error: &dyn Classified) -> Failure {
    let mut lines = vec![error.to_string()];
    let mut cause: Option<&dyn Error> = error.source();
    while let Some(why) = cause {
        let line = why.to_string();
        // Some errors repeat their cause in their own words.
        if !lines.iter().any(|said| said.ends_with(&line)) {
            lines.push(line);
        }
        cause = why.source();
    }
    Failure(Box::new(Parts {
        class: error.class(),
        lines,
        place: None,
        hint: error.hint(),
        broken_pipe: false,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_has_one_shape() {
        let error = kimg_build::Settings::parse("kimg.toml", "\nstrikt = true\n").unwrap_err();
        let text = Failure::from(error).to_text(false);
        let lines: Vec<_> = text.lines().collect();
        assert!(lines[0].starts_with("error: kimg.toml: unknown field `strikt`"), "{text}");
        assert_eq!(lines[1..4], [" --> kimg.toml:2:1", "2 | strikt = true", "  | ^^^^^^"]);
    }

    #[test]
    fn an_annotation_is_one_line_at_its_place() {
        let error = kimg_build::Settings::parse("a,b.toml", "\nstrikt = true\n").unwrap_err();
        let text = Failure::from(error).to_annotation();
        assert!(text.starts_with("::error file=a%2Cb.toml,line=2,col=1::") && !text.contains('\n'), "{text}");
    }
}
