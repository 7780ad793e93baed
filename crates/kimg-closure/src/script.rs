//! The first line of scripts, read as Linux reads it (`fs/binfmt_script.c`), and what `env` makes of its argument.
//! Where the walk goes from there: `script/follow.rs`.

mod follow;

use serde::{Deserialize, Serialize};

/// Linux looks at no more than this of a file (`BINPRM_BUF_SIZE`).
pub(crate) const FIRST_BYTES: usize = 256;

/// The `#!` line of a script.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Script {
    /// The program that runs it, as written.
    pub interpreter: String,
    /// The rest of the line: to Linux it is one argument, blanks and all.
    pub argument: Option<String>,
}

impl Script {
    /// Reads the first bytes of a file; `None` when they are no `#!` line that Linux would follow.
    pub fn parse(first: &[u8]) -> Option<Self> {
        let first = &first[..first.len().min(FIRST_BYTES)];
        let rest = first.strip_prefix(b"#!")?;
        let end = rest.iter().position(|b| *b == b'\n' || *b == 0);
        let line = String::from_utf8_lossy(&rest[..end.unwrap_or(rest.len())]);
        let line = line.trim_matches([' ', '\t']);
        let (interpreter, argument) = match line.split_once([' ', '\t']) {
            Some((interpreter, argument)) => {
                (interpreter, Some(argument.trim_matches([' ', '\t']).to_owned()))
            }
            // A path that goes on behind what Linux looks at is not followed.
            None if end.is_none() && first.len() == FIRST_BYTES => return None,
            None => (line, None),
        };
        let interpreter = (!interpreter.is_empty()).then(|| interpreter.to_owned())?;
        Some(Self { interpreter, argument })
    }

    /// The command that `env` starts, where `env` is the interpreter.
    pub fn env_command(&self) -> Option<&str> {
        if self.interpreter.rsplit('/').next() != Some("env") {
            return None;
        }
        let argument = self.argument.as_deref()?;
        let split = argument.strip_prefix("-S").or_else(|| argument.strip_prefix("--split-string="));
        // Without -S the whole rest of the line is one word.
        let Some(split) = split else { return (!argument.starts_with('-')).then_some(argument) };
        let mut words = split.split_ascii_whitespace();
        while let Some(word) = words.next() {
            match word {
                "-u" | "-C" | "--unset" | "--chdir" => drop(words.next()),
                _ if word.starts_with('-') || word.contains('=') => {}
                _ => return Some(word),
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn script(text: &str) -> Option<(String, Option<String>)> {
        Script::parse(text.as_bytes()).map(|s| (s.interpreter, s.argument))
    }

    #[test]
    fn blanks_before_and_behind_the_interpreter_are_taken_away() {
        assert_eq!(script("#! \t/bin/sh  -e -x \n"), Some(("/bin/sh".into(), Some("-e -x".into()))));
        assert_eq!(script("#!/bin/sh"), Some(("/bin/sh".into(), None)));
        assert_eq!(script("#!\n"), None);
        assert_eq!(script("# !/bin/sh"), None);
    }

    #[test]
    fn an_interpreter_longer_than_linux_looks_is_none() {
        assert_eq!(script(&format!("#!/{}\n", "x".repeat(300))), None);
        assert!(script(&format!("#!/{} {}\n", "x".repeat(200), "y".repeat(300))).is_some());
    }

    #[test]
    fn env_starts_its_first_word_that_is_no_setting() {
        let command =
            |line: &str| Script::parse(line.as_bytes()).and_then(|s| s.env_command().map(str::to_owned));
        assert_eq!(command("#!/usr/bin/env python3\n").as_deref(), Some("python3"));
        assert_eq!(command("#!/usr/bin/env -S -i -u HOME A=b python3 -u\n").as_deref(), Some("python3"));
        assert_eq!(command("#!/usr/bin/env -S\tbash\n").as_deref(), Some("bash"));
        // Linux hands over one word, and no program is called this.
        assert_eq!(command("#!/usr/bin/env bash -x\n").as_deref(), Some("bash -x"));
        assert_eq!(command("#!/bin/sh python3\n"), None);
    }
}
