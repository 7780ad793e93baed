//! Shell scripts as data: words with their reasons, quoted where a shell would read them otherwise.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use serde::Serialize;

/// A word of a command, and why it is there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Word {
    /// As the program gets it.
    pub text: String,
    /// Why, where it is not plain.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// A program and its arguments.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Command {
    /// The program first.
    pub words: Vec<Word>,
}

impl Command {
    /// A command of words that need no reason.
    pub fn new<S: Into<String>>(words: impl IntoIterator<Item = S>) -> Self {
        Self { words: words.into_iter().map(|text| Word { text: text.into(), why: None }).collect() }
    }

    /// Adds a word.
    pub fn word(&mut self, text: impl Into<String>) -> &mut Self {
        self.words.push(Word { text: text.into(), why: None });
        self
    }

    /// Adds a word with its reason.
    pub fn because(&mut self, text: impl Into<String>, why: impl Into<String>) -> &mut Self {
        self.words.push(Word { text: text.into(), why: Some(why.into()) });
        self
    }

    /// The words as the program gets them.
    pub fn argv(&self) -> Vec<&str> {
        self.words.iter().map(|word| word.text.as_str()).collect()
    }

    /// For a shell: on one line where it fits, else with a line for each group of words.
    pub fn to_shell(&self) -> String {
        let words: Vec<String> = self.words.iter().map(|word| quote(&word.text)).collect();
        folded(&words, " \\\n  ")
    }
}

/// Words on one line, or on several of at most 100 characters: each option with its value on a line of its own.
pub(crate) fn folded(words: &[String], fold: &str) -> String {
    let whole = words.join(" ");
    if whole.len() <= 100 {
        return whole;
    }
    let mut text = String::new();
    let mut line = 0;
    let mut before = "";
    for (number, word) in words.iter().enumerate() {
        // `--name=value` is complete; what follows `--name` alone may be its value.
        let begins = word.starts_with("--") || (before.starts_with("--") && before.contains('='));
        if number > 0 && line + word.len() < 96 && (!begins || number < 3) {
            text.push(' ');
            line += 1;
        } else if number > 0 {
            text.push_str(fold);
            line = 2;
        }
        text.push_str(word);
        line += word.len();
        before = word;
    }
    text
}

/// What is done on the machine, one after the other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Step {
    /// A command is run.
    Run {
        /// What for.
        why: String,
        /// The command.
        command: Command,
    },
    /// A file is written.
    Write {
        /// What for.
        why: String,
        /// Where.
        path: String,
        /// Its text; ends in a line feed.
        text: String,
        /// Whether one that is there already stays as it is.
        keep: bool,
    },
}

/// Steps.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Script {
    /// In their order.
    pub steps: Vec<Step>,
}

impl Script {
    pub(crate) fn run(&mut self, why: impl Into<String>, command: Command) {
        self.steps.push(Step::Run { why: why.into(), command });
    }

    /// For a POSIX shell, to be pasted or piped into `sh -e`; with `explain` the reason of
    /// each word stands above the first command that has it.
    pub fn to_shell(&self, explain: bool) -> String {
        let mut text = String::new();
        let mut said = None;
        let mut explained = BTreeSet::new();
        for step in &self.steps {
            let (Step::Run { why, .. } | Step::Write { why, .. }) = step;
            // Commands for one purpose stand together.
            if said.replace(why) != Some(why) {
                text.push_str(if text.is_empty() { "" } else { "\n" });
                comment(&mut text, why);
            }
            match step {
                Step::Run { command, .. } => {
                    if explain {
                        let reasons =
                            command.words.iter().filter_map(|word| Some((word, word.why.as_ref()?)));
                        for (word, why) in reasons.filter(|(word, _)| explained.insert(&word.text)) {
                            comment(&mut text, &format!("  {}: {why}", word.text));
                        }
                    }
                    let _ = writeln!(text, "{}", command.to_shell());
                }
                Step::Write { path, text: content, keep, .. } => {
                    let path = quote(path);
                    let end = delimiter(content);
                    let unless = if *keep { format!("test -e {path} || ") } else { String::new() };
                    let _ = write!(text, "{unless}cat >{path} <<'{end}'\n{content}{end}\n");
                }
            }
        }
        text
    }
}

/// A comment can't end early, whatever is in it.
fn comment(text: &mut String, words: &str) {
    let _ = writeln!(text, "# {}", words.replace(['\n', '\r'], " "));
}

/// A line that is none of the text's.
fn delimiter(text: &str) -> String {
    let mut end = "EOF".to_owned();
    while text.lines().any(|line| line == end) {
        end.push('_');
    }
    end
}

/// A word as a POSIX shell has to read it: as it is, or in single quotes.
///
/// XCU 2.2 (Quoting): in single quotes every character but a single quote stands for itself.
pub fn quote(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,@%+".contains(c);
    // A leading `=` or `~` means something to some shells; an empty word has to be seen.
    if !word.is_empty() && word.chars().all(plain) && !word.starts_with('=') {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_a_shell_reads_as_it_is_stays_unquoted() {
        assert_eq!(
            quote("--volume=/var/lib/kubelet:/var/lib/kubelet:rshared"),
            "--volume=/var/lib/kubelet:/var/lib/kubelet:rshared"
        );
        assert_eq!(quote(""), "''");
        assert_eq!(quote("$(reboot)"), "'$(reboot)'");
        assert_eq!(quote("it's"), r"'it'\''s'");
    }

    #[test]
    fn a_heredoc_does_not_end_inside_its_text() {
        let mut script = Script::default();
        script.steps.push(Step::Write {
            why: "a\nfile".into(),
            path: "/tmp/a file".into(),
            text: "EOF\nEOF_\n".into(),
            keep: true,
        });
        let text = "# a file\ntest -e '/tmp/a file' || cat >'/tmp/a file' <<'EOF__'\nEOF\nEOF_\nEOF__\n";
        assert_eq!(script.to_shell(false), text);
    }

    proptest! {
        #[test]
        fn sh_gives_every_word_back(words in proptest::collection::vec("[^\0]{0,20}", 1..5)) {
            let mut command = Command::new(["printf", r"%s\0"]);
            for word in &words {
                command.word(word.as_str());
            }
            // printf(1) would take a leading dash of its first operand for an option only before the format.
            let output = std::process::Command::new("sh").args(["-c", &command.to_shell()]).output().unwrap();
            let said = String::from_utf8(output.stdout).unwrap();
            prop_assert_eq!(said, words.join("\0") + "\0");
        }
    }
}
