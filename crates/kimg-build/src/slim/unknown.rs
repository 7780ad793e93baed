//! What the files of an image do not say: which libraries a program loads by itself, and which programs it starts.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read as _;

use kimg_closure::{Closure, FileType, Finding, Reason, read_symbols};
use kimg_core::{Content, ImagePath};
use kimg_layer::Entries;
use serde::Serialize;

/// How a library is loaded by hand (dlopen(3)).
const LOADS: [&str; 2] = ["dlopen", "dlmopen"];
/// How a program is started (exec(3), `posix_spawn(3)`, system(3), popen(3), wordexp(3)).
const STARTS: [&str; 14] = [
    "execl",
    "execle",
    "execlp",
    "execv",
    "execve",
    "execveat",
    "execvp",
    "execvpe",
    "fexecve",
    "popen",
    "posix_spawn",
    "posix_spawnp",
    "system",
    "wordexp",
];

/// What stands before the versions that Go notes in a program (Go, `debug/buildinfo`), aligned to as many bytes as given.
const GO: (&[u8], usize) = (b"\xff Go buildinf:", 16);

/// A file with needs that its headers do not say.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Unknown {
    /// The file.
    pub path: ImagePath,
    /// What is not known.
    #[serde(flatten)]
    pub what: What,
}

/// What is not known of a file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case", tag = "unknown")]
#[non_exhaustive]
pub enum What {
    /// It loads libraries whose names it makes or reads, and no rule or note says which.
    Loads {
        /// The functions by which it does.
        functions: Vec<String>,
    },
    /// It starts other programs.
    Starts {
        /// The functions by which it does.
        functions: Vec<String>,
    },
    /// It is a script: only its interpreter is known.
    Script,
    /// It is linked statically: nothing in it says what it loads or starts.
    Static,
    /// It is a Go program, which starts others without any function of the C library.
    Go,
    /// Its symbols can't be read.
    Unreadable {
        /// Why.
        problem: String,
    },
}

/// Everything of a closed set that its files do not say, in the order of the paths.
pub(super) fn unknown(closure: &Closure, entries: &Entries) -> Vec<Unknown> {
    let told = Told::of(closure);
    let mut found = Vec::new();
    for visit in closure.visits() {
        let what = match visit.what {
            FileType::Script => What::Script,
            FileType::Program if entries.get(&visit.file).and_then(|e| e.content()).is_some_and(is_go) => {
                What::Go
            }
            FileType::StaticProgram if !told.by_rule.contains(&visit.file) => What::Static,
            _ => continue,
        };
        found.push(Unknown { path: visit.file.clone(), what });
    }
    let loaders: BTreeSet<&ImagePath> = closure.visits().iter().filter_map(|v| v.loader.as_ref()).collect();
    for (path, entry) in entries {
        let Some(content) = entry.content().filter(|_| !loaders.contains(path)) else { continue };
        let symbols = match read_symbols(content) {
            Ok(Some(symbols)) => symbols,
            Ok(None) => continue,
            Err(error) => {
                let problem = error.to_string();
                found.push(Unknown { path: path.clone(), what: What::Unreadable { problem } });
                continue;
            }
        };
        let asked = |names: &[&str]| -> Vec<String> {
            let asked: BTreeSet<&str> = symbols.undefined.iter().map(|symbol| symbol.name.as_str()).collect();
            names.iter().filter(|name| asked.contains(**name)).map(|name| (*name).to_owned()).collect()
        };
        let functions = asked(&LOADS);
        if !functions.is_empty() && !told.what_loads(path) {
            found.push(Unknown { path: path.clone(), what: What::Loads { functions } });
        }
        let functions = asked(&STARTS);
        if !functions.is_empty() {
            found.push(Unknown { path: path.clone(), what: What::Starts { functions } });
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path).then_with(|| a.what.cmp(&b.what)));
    found
}

/// Whether a program was made by Go's compiler. One that can't be read is not told of here.
fn is_go(content: &Content) -> bool {
    let (magic, alignment) = GO;
    let Ok(mut opened) = content.open() else { return false };
    let mut block = Vec::with_capacity(1 << 20);
    loop {
        block.clear();
        match opened.by_ref().take(1 << 20).read_to_end(&mut block) {
            Ok(0) | Err(_) => return false,
            Ok(_) if block.chunks(alignment).any(|chunk| chunk.starts_with(magic)) => return true,
            Ok(_) => {}
        }
    }
}

/// Of which files rules and notes say what they load.
struct Told<'a> {
    by_rule: BTreeSet<&'a ImagePath>,
    by_note: BTreeSet<&'a ImagePath>,
    /// The programs that load a library.
    programs: BTreeMap<&'a ImagePath, BTreeSet<&'a ImagePath>>,
}

impl<'a> Told<'a> {
    fn of(closure: &'a Closure) -> Self {
        let mut told = Self { by_rule: BTreeSet::new(), by_note: BTreeSet::new(), programs: BTreeMap::new() };
        for visit in closure.visits() {
            for need in &visit.needs {
                match &need.reason {
                    Reason::Rule { of, .. } => told.by_rule.insert(of),
                    Reason::Dlopen { of, .. } => told.by_note.insert(of),
                    _ => false,
                };
            }
            if visit.what == FileType::Program {
                for object in &visit.objects {
                    told.programs.entry(&object.path).or_default().insert(&visit.file);
                }
            }
        }
        // What a rule or note names and is not there is told as well.
        for finding in closure.findings() {
            match finding {
                Finding::RuleFilesMissing { of, .. } => told.by_rule.insert(of),
                Finding::DlopenMissing { of, .. } => told.by_note.insert(of),
                _ => false,
            };
        }
        told
    }

    /// A rule names programs: a library is told of when it is so for each program that loads it.
    fn what_loads(&self, path: &ImagePath) -> bool {
        if self.by_rule.contains(path) || self.by_note.contains(path) {
            return true;
        }
        let programs = self.programs.get(path);
        programs.is_some_and(|programs| programs.iter().all(|program| self.by_rule.contains(program)))
    }
}
