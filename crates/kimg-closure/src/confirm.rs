//! Which calls a program really holds: the catalogue says what may be started, the program's bytes confirm it.
//!
//! Two things are looked for, in one pass over the bytes, with a window of bounded size:
//!
//! - **The function that starts it.** Go keeps the name of every function that is linked in, for stack traces, in a
//!   table that stripping leaves alone: names end with a zero byte there (`runtime.funcnametab`). What the linker left
//!   out, since nothing reaches it, has no name there either.
//! - **The word**, mostly the name of what is started. Go's strings do not end with a zero byte: the linker lays all of
//!   them out one behind the other, the shorter before the longer. That of Go 1.19 has those of one length in the order
//!   of their bytes: `…configmapconnectedconntrackcontainercontinued…`. So a word is seen to be a whole string when the
//!   pieces of its own length before and behind it are in order; inside a longer string, or in code, they are not. That
//!   of Go 1.22 keeps the lengths together but not the order: a word can't be told from a part of another string then,
//!   and is only [seen](Word::Seen).
//!
//! Both together are certain. A whole string alone is told as likely, for functions get other names from version to
//! version; but not a short one, nor one that only stands for what is started (`nfs` for `mount.nfs`).

use std::io::{self, Write};

use aho_corasick::{AhoCorasick, AhoCorasickKind};
use kimg_core::{Content, ContentError};
use serde::Serialize;

use crate::rules::{Call, MAX_SOUGHT};

/// How many bytes around a match are looked at, at most: the largest `required_run` times its length.
const MARGIN: usize = 8 * MAX_SOUGHT;

/// How many bytes are searched at once.
const CHUNK: usize = 1 << 20;

/// Words shorter than this are everywhere: without the function that starts it, such a one confirms nothing.
const SHORT: usize = 4;

/// How a call is confirmed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Evidence {
    /// How sure it is.
    pub confidence: Confidence,
    /// The function that starts it, if that is linked in.
    pub caller: Option<String>,
    /// The word that was found.
    pub word: String,
    /// How it was found.
    pub seen: Word,
}

/// How sure it is that a program can make a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Confidence {
    /// The function that starts it is linked in, and the word is one of the program's strings.
    Certain,
    /// Only one of the two; or the word is there, and can't be told from a part of a longer string.
    Likely,
}

/// How a word was found in a program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Word {
    /// Its letters are there: by themselves, or inside something longer.
    Seen,
    /// It is a whole string.
    Whole,
}

/// The calls that a program's bytes confirm, in the order given, each with what confirms it.
///
/// The bytes are read once, and compared with their digest.
///
/// # Errors
/// When the bytes can't be read, or are not those that were stored.
pub fn confirm<'c>(calls: &[&'c Call], program: &Content) -> Result<Vec<(&'c Call, Evidence)>, ContentError> {
    let mut search = Search::new(calls);
    program.copy_to(&mut search)?;
    search.finish();
    let confirmed = calls.iter().filter_map(|call| Some((*call, search.evidence(call)?)));
    Ok(confirmed.collect())
}

/// Go's own functions: what every program of it has, and what every way to start another one leads to.
const GO: (&str, &str) = ("runtime.main", "os.StartProcess");

/// Whether a Go program can start others at all: whether anything in it leads to `os.StartProcess`. `None` of what is no
/// Go program, or has lost its table of functions.
///
/// # Errors
/// As [`confirm`].
pub fn starts_programs(program: &Content) -> Result<Option<bool>, ContentError> {
    let (main, start) = (Sought::Function(GO.0.to_owned()), Sought::Function(GO.1.to_owned()));
    let mut search = Search::of(vec![main.clone(), start.clone()]);
    program.copy_to(&mut search)?;
    search.finish();
    Ok(search.get(&main).map(|_| search.get(&start).is_some()))
}

/// Something to look for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Sought {
    Function(String),
    Word(String),
}

/// The search: bytes are written to it.
struct Search {
    sought: Vec<Sought>,
    found: Vec<Option<Word>>,
    automaton: AhoCorasick,
    /// The bytes that are looked at: first those that are kept as what stands before a match.
    window: Vec<u8>,
    /// Up to where in the window matches have been judged.
    judged: usize,
}

impl Search {
    fn new(calls: &[&Call]) -> Self {
        let functions = calls.iter().flat_map(|call| call.callers()).cloned().map(Sought::Function);
        let words = calls.iter().flat_map(|call| call.words()).cloned().map(Sought::Word);
        Self::of(functions.chain(words).collect())
    }

    fn of(mut sought: Vec<Sought>) -> Self {
        sought.sort();
        sought.dedup();
        let patterns = sought.iter().map(|sought| match sought {
            Sought::Function(name) => [name.as_bytes(), b"\0"].concat(),
            Sought::Word(word) => word.clone().into_bytes(),
        });
        let automaton = AhoCorasick::builder().kind(Some(AhoCorasickKind::ContiguousNFA)).build(patterns);
        Self {
            found: vec![None; sought.len()],
            automaton: automaton.expect("some hundred patterns of at most 200 bytes fit"),
            sought,
            window: Vec::with_capacity(CHUNK + 2 * MARGIN),
            judged: 0,
        }
    }

    /// Judges the matches that begin before `until`, and lets go of what no later match looks back at.
    fn judge(&mut self, until: usize) {
        for found in self.automaton.find_overlapping_iter(&self.window[self.judged..]) {
            let (at, index) = (self.judged + found.start(), found.pattern().as_usize());
            if at >= until || self.found[index] == Some(Word::Whole) {
                continue;
            }
            self.found[index] = Some(match &self.sought[index] {
                Sought::Word(word) if !is_whole(&self.window, at, word.len()) => Word::Seen,
                Sought::Word(_) | Sought::Function(_) => Word::Whole,
            });
        }
        let kept = until.saturating_sub(MARGIN);
        self.window.drain(..kept);
        self.judged = until - kept;
    }

    fn finish(&mut self) {
        self.judge(self.window.len());
    }

    fn get(&self, sought: &Sought) -> Option<Word> {
        self.sought.binary_search(sought).ok().and_then(|index| self.found[index])
    }

    fn evidence(&self, call: &Call) -> Option<Evidence> {
        let is_linked = |caller: &&String| self.get(&Sought::Function((*caller).clone())).is_some();
        let caller = call.callers().iter().find(is_linked).cloned();
        let seen = |word: &String| Some((self.get(&Sought::Word(word.clone()))?, word.clone()));
        let (seen, word) = call.words().iter().filter_map(seen).max_by_key(|(seen, _)| *seen)?;
        let confidence = match (&caller, seen) {
            (Some(_), Word::Whole) => Confidence::Certain,
            (Some(_), Word::Seen) => Confidence::Likely,
            (None, Word::Whole) if word.len() >= SHORT && call.words_are_names() => Confidence::Likely,
            (None, _) => return None,
        };
        Some(Evidence { confidence, caller, word, seen })
    }
}

impl Write for Search {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = bytes.len().min(CHUNK);
        self.window.extend_from_slice(&bytes[..taken]);
        if self.window.len() >= CHUNK {
            self.judge(self.window.len() - MARGIN);
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Whether the piece at `at` is a whole string among strings of its length: whether it stands in a run of such pieces
/// that are in the order of their bytes.
fn is_whole(window: &[u8], at: usize, length: usize) -> bool {
    let piece = |start: usize| window.get(start..start + length).filter(|piece| is_text(piece));
    let mut run = 1;
    let mut first = at;
    while let Some(start) = first.checked_sub(length)
        && run < required_run(length)
        && let (Some(before), Some(piece)) = (piece(start), piece(first))
        && before < piece
    {
        (first, run) = (start, run + 1);
    }
    let mut last = at;
    while run < required_run(length)
        && let (Some(piece), Some(behind)) = (piece(last), piece(last + length))
        && piece < behind
    {
        (last, run) = (last + length, run + 1);
    }
    run >= required_run(length)
}

/// How many pieces have to be in order. Of so many pieces that follow each other by chance, one in this number's
/// factorial is; and the shorter a word, the more often its letters are somewhere.
fn required_run(length: usize) -> usize {
    match length {
        0..SHORT => 13,
        SHORT..12 => 9,
        12..32 => 6,
        _ => 5,
    }
}

/// Zero bytes fill gaps between what is no string.
fn is_text(piece: &[u8]) -> bool {
    !piece.contains(&0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Rules;

    /// Strings as Go 1.19 laid them out in kubelet 1.20.2, those of length two and nine.
    const TWO: &str = "dldodsdtdueeemeqfdgegogtidifinioipivjskBkblelo";
    /// Strings of length seven.
    const SEVEN: [&str; 10] = [
        "network", "nodeIPs", "nowhere", "nsenter", "ntilde;", "numeric", "objects", "offline", "reached",
        "rebound",
    ];
    const NINE: &str =
        "avalancheauxiliarybandwidthclientsetconditionconfigMapconfigmapconnectedconntrackcontainercontinued";
    const CALLER: &[u8] = b"\0k8s.io/kubernetes/vendor/example.org/ct.Exec\0";

    fn rules(starts: &str) -> Rules {
        let text = format!(
            "[[call]]\nname = 'c'\nprogram = ['p']\nstarts = ['{starts}']\nimportance = 'feature'\npurpose = 'x'\n\
             callers = ['example.org/ct.Exec']\n"
        );
        Rules::parse("test", &text).unwrap()
    }

    fn evidence(starts: &str, program: &[u8]) -> Option<Evidence> {
        let rules = rules(starts);
        let calls: Vec<&Call> = rules.calls().collect();
        let mut found = confirm(&calls, &Content::from_bytes(program)).unwrap();
        found.pop().map(|(_, evidence)| evidence)
    }

    #[test]
    fn function_and_whole_string_together_are_certain() {
        let found = evidence("conntrack", &[NINE.as_bytes(), CALLER].concat()).unwrap();
        assert_eq!((found.confidence, found.seen), (Confidence::Certain, Word::Whole));
        assert_eq!(found.caller.as_deref(), Some("example.org/ct.Exec"));
        let short = evidence("ip", &[TWO.as_bytes(), CALLER].concat()).unwrap();
        assert_eq!(short.confidence, Confidence::Certain);
    }

    #[test]
    fn one_of_the_two_is_only_likely_and_a_short_word_alone_is_nothing() {
        let whole = evidence("conntrack", NINE.as_bytes()).unwrap();
        assert_eq!((whole.confidence, whole.caller), (Confidence::Likely, None));
        let seen = evidence("conntrack", &[b"the conntrack table", CALLER].concat()).unwrap();
        assert_eq!((seen.confidence, seen.seen), (Confidence::Likely, Word::Seen));
        assert_eq!(evidence("ip", TWO.as_bytes()), None);
    }

    #[test]
    fn letters_inside_something_longer_are_no_string_and_a_function_without_the_word_is_no_call() {
        assert_eq!(evidence("conntrack", b"failed to run conntrack: exit status; see conntrack(8)"), None);
        assert_eq!(evidence("ip", "shipping lists of zip and tip scripts ".repeat(9).as_bytes()), None);
        assert_eq!(evidence("conntrack", CALLER), None);
        assert_eq!(evidence("conntrack", b"conntrack example.org/ct.Execute"), None);
        assert_eq!(evidence("conntrack", b""), None);
    }

    #[test]
    fn the_first_and_the_last_string_of_a_length_are_whole_too() {
        for word in [SEVEN[0], SEVEN[3], SEVEN[9]] {
            // The strings of length six and eight beside them are in no order with these.
            let program = format!("signalunlock{}abortingabsolute", SEVEN.concat());
            assert_eq!(evidence(word, program.as_bytes()).map(|e| e.seen), Some(Word::Whole), "{word}");
        }
    }

    #[test]
    fn what_lies_across_the_border_of_two_windows_is_found() {
        for shift in [0, 1, NINE.len() / 2, NINE.len(), MARGIN] {
            let mut program = vec![b'.'; 2 * CHUNK - MARGIN - shift];
            program.extend_from_slice(NINE.as_bytes());
            program.resize(3 * CHUNK - 20 - shift, 0xff);
            program.extend_from_slice(CALLER);
            let found = evidence("conntrack", &program).unwrap_or_else(|| panic!("{shift}"));
            assert_eq!(found.confidence, Confidence::Certain, "{shift}");
        }
    }

    #[test]
    fn a_go_program_that_nothing_starts_others_in_is_told_from_one_that_can_not_be_seen_into() {
        let starts = |program: &[u8]| starts_programs(&Content::from_bytes(program)).unwrap();
        assert_eq!(starts(b"\0runtime.main\0main.main\0"), Some(false));
        assert_eq!(starts(b"\0os.StartProcess\0runtime.main\0"), Some(true));
        assert_eq!(starts(b"\0runtime.main.func1\0UPX!"), None);
    }

    #[test]
    fn the_window_stays_small() {
        let rules = rules("conntrack");
        let mut search = Search::new(&rules.calls().collect::<Vec<_>>());
        for _ in 0..40 {
            search.write_all(&vec![b'c'; 300_000]).unwrap();
            assert!(search.window.len() <= CHUNK + MARGIN + 300_000, "{}", search.window.len());
        }
    }
}
