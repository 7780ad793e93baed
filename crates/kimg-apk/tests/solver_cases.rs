//! The solver against apk-tools' own cases: the packages that are there at the end, and what is refused.
//!
//! A case is a command on a root with packages. Here it becomes a question: the world after the command, and as
//! packages to prefer those installed that the command leaves alone. Installed packages that no repository has any
//! more are offered by one more repository, behind all others.

#![expect(clippy::unwrap_used, reason = "a test that can't be set up has failed")]

mod real;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use kimg_apk::{Dependency, Index, Limits, Repository, Solver, Version};

/// Cases of commands and options that an assembler of images has no use for, with what they are about.
const OUT_OF_SCOPE: &[(&str, &str)] = &[
    ("basic10", "--force-broken-world"),
    ("basic11", "--force-broken-world"),
    ("basic12", "upgrade --latest refuses to keep what is installed"),
    ("basic13", "upgrade --latest refuses to keep what is installed"),
    ("basic21", "--prune"),
    ("basic8", "packages made up on the command line"),
    ("basic9", "packages made up on the command line"),
    ("error6", "packages made up on the command line"),
    ("error7", "packages made up on the command line"),
    ("pinning14", "packages made up on the command line"),
    ("selfupgrade1", "apk upgrading itself first"),
    ("selfupgrade2", "apk upgrading itself first"),
    ("selfupgrade3", "apk upgrading itself first"),
    ("selfupgrade4", "apk upgrading itself first"),
    ("selfupgrade5", "apk upgrading itself first"),
    ("selfupgrade6", "apk upgrading itself first"),
    ("selfupgrade7", "apk upgrading itself first"),
    ("selfupgrade8", "apk upgrading itself first"),
    ("upgrade4", "--prune"),
];

/// Cases that are not met yet. The list may only get shorter.
const NOT_YET: &[&str] = &[];

/// A case as its file says it.
#[derive(Default)]
struct Case {
    options: Vec<String>,
    command: String,
    words: Vec<String>,
    repositories: Vec<Repository>,
    installed: Index,
    world: Vec<String>,
    expected: Vec<String>,
}

fn index(folder: &Path, file: &str) -> Index {
    let text = fs_err::read(folder.join(file)).unwrap();
    // What an installed database has besides an index: the files, of which the cases need nothing.
    let kept =
        |line: &&[u8]| ![b"F:", b"R:", b"Z:", b"M:", b"a:"].iter().any(|field| line.starts_with(*field));
    let lines: Vec<&[u8]> = text.split(|byte| *byte == b'\n').filter(kept).collect();
    Index::parse(&lines.join(&b'\n'), &Limits::default()).unwrap_or_else(|error| panic!("{file}: {error}"))
}

fn read(folder: &Path, file: &Path) -> Case {
    let mut case = Case::default();
    let text = fs_err::read_to_string(file).unwrap();
    let mut lines = text.lines();
    for line in lines.by_ref() {
        let mut words = line.split_ascii_whitespace();
        match words.next() {
            Some("@ARGS") => {
                for word in words {
                    if word.starts_with('-') {
                        case.options.push(word.to_owned());
                    } else if case.command.is_empty() {
                        word.clone_into(&mut case.command);
                    } else {
                        case.words.push(word.to_owned());
                    }
                }
            }
            Some(kind @ ("@REPO" | "@CACHE")) => {
                let words: Vec<&str> = words.collect();
                let (tag, file) = match words[..] {
                    [tag, file] => (tag.strip_prefix('@').map(str::to_owned), file),
                    [file] => (None, file),
                    _ => panic!("a line of a new kind: {line}"),
                };
                let index = Arc::new(index(folder, file));
                let name = if kind == "@CACHE" { format!("cache/{file}") } else { file.to_owned() };
                case.repositories.push(Repository { name, tag, index });
            }
            Some("@INSTALLED") => case.installed = index(folder, words.next().unwrap()),
            Some("@WORLD") => case.world.extend(words.map(str::to_owned)),
            Some("@EXPECT") => break,
            _ => panic!("a line of a new kind: {line}"),
        }
    }
    case.expected = lines.map(str::to_owned).collect();
    case
}

impl Case {
    fn has(&self, option: &str) -> bool {
        self.options.iter().any(|given| given == option)
    }

    /// The world after the command, or the first word that is no wish.
    fn world_after(&self) -> Result<Vec<Dependency>, String> {
        let parse = |word: &String| word.parse::<Dependency>().map_err(|error| error.to_string());
        let mut world: Vec<Dependency> = self.world.iter().map(parse).collect::<Result<_, _>>()?;
        if self.command == "upgrade" || self.command == "fix" {
            return Ok(world);
        }
        for word in &self.words {
            let wish = parse(word)?;
            world.retain(|other| other.name != wish.name);
            if self.command == "add" {
                world.push(wish);
            }
        }
        Ok(world)
    }

    /// The installed packages that the command leaves alone.
    fn kept(&self) -> Vec<(String, Version)> {
        let installed = self.installed.packages.iter();
        let all = installed.map(|record| (record.name.clone(), record.version.clone()));
        let named = |name: &String| self.words.contains(name);
        let upgrades = self.has("--upgrade") || self.has("--latest");
        match self.command.as_str() {
            "upgrade" if self.has("--ignore") => all.filter(|(name, _)| named(name)).collect(),
            "upgrade" if self.words.is_empty() => Vec::new(),
            "add" | "fix" if upgrades && (self.command == "add" || self.has("--depends")) => Vec::new(),
            "fix" if !upgrades => all.collect(),
            "upgrade" | "fix" | "del" => all.filter(|(name, _)| !named(name)).collect(),
            _ => all.collect(),
        }
    }

    /// The repositories, and behind them what is installed and offered nowhere else.
    fn all_repositories(&self) -> Vec<Repository> {
        let mut repositories = self.repositories.clone();
        if self.has("-a") {
            return repositories;
        }
        if self.has("--no-network") {
            repositories.retain(|repository| repository.name.starts_with("cache/"));
        }
        let mut left = self.installed.clone();
        // An installed package from a repository with a tag says so (`s:`), and is only offered there.
        let offered = |identity| {
            let mut packages = repositories.iter().flat_map(|repository| &repository.index.packages);
            packages.any(|record| record.identity == identity)
        };
        let tagged = |fields: &[(char, String)]| fields.iter().any(|(letter, _)| *letter == 's');
        left.packages.retain(|record| !tagged(&record.unknown) || !offered(record.identity));
        repositories.push(Repository { name: "installed".to_owned(), tag: None, index: Arc::new(left) });
        repositories
    }

    /// The packages and versions that are there at the end; names with a tag where apk shows one.
    fn expected_packages(&self) -> BTreeMap<String, (String, Option<String>)> {
        let installed = self.installed.packages.iter();
        let mut packages: BTreeMap<String, (String, Option<String>)> =
            installed.map(|record| (record.name.clone(), (record.version.to_string(), None))).collect();
        for line in &self.expected {
            let words: Vec<&str> = line.split([' ', '(', ')']).filter(|word| !word.is_empty()).collect();
            let ([_, "Installing" | "Purging" | "Reinstalling", name, version]
            | [_, "Upgrading" | "Downgrading" | "Replacing", name, _, "->", version]
            | [_, "Updating", "pinning", name, version]) = words[..]
            else {
                continue;
            };
            let (name, tag) = match name.split_once('@') {
                Some((name, tag)) => (name, Some(tag.to_owned())),
                None => (name, None),
            };
            if words[1] == "Purging" {
                packages.remove(name);
            } else {
                packages.insert(name.to_owned(), (version.to_owned(), tag));
            }
        }
        packages
    }

    /// The names that apk's own message is about.
    fn expected_names(&self) -> Vec<&str> {
        let about =
            |line: &&String| line.starts_with("  ") && !line.starts_with("   ") && line.ends_with(':');
        let name =
            |line: &'_ String| line.trim().trim_end_matches(':').split(' ').next().unwrap_or_default().len();
        self.expected.iter().filter(about).map(|line| &line.trim()[..name(line)]).collect()
    }

    fn check(&self) -> Result<(), String> {
        let refused = self.expected.iter().any(|line| line.starts_with("ERROR:"));
        let world = match self.world_after() {
            Err(_) if refused => return Ok(()),
            world => world?,
        };
        let repositories = self.all_repositories();
        let solution = match Solver::for_arch(&repositories, "x86_64").solve(&world, &self.kept()) {
            Err(error) if refused => {
                let message = error.to_string();
                let names = self.expected_names();
                if names.iter().any(|name| message.contains(name)) {
                    return Ok(());
                }
                return Err(format!("expected a word about {names:?}, found: {message}"));
            }
            Err(error) => return Err(error.to_string()),
            Ok(solution) => solution,
        };
        let expected = self.expected_packages();
        let found: BTreeMap<String, (String, Option<String>)> = solution
            .packages
            .iter()
            .map(|chosen| {
                let name = chosen.record.name.clone();
                let wanted_tag = expected.get(&name).and_then(|(_, tag)| tag.as_ref());
                let tag = wanted_tag.and_then(|_| repositories[chosen.repository].tag.clone());
                (name, (chosen.record.version.to_string(), tag))
            })
            .collect();
        match refused {
            true => Err(format!("expected a refusal, found {found:?}")),
            false if found != expected => Err(format!("expected {expected:?}\n    found    {found:?}")),
            false => Ok(()),
        }
    }
}

#[test]
fn apks_own_cases_end_with_the_same_packages() {
    let Some(input) = real::input() else { return };
    let folder = input.join("apk-solver");
    let mut files: Vec<PathBuf> =
        fs_err::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "test"));
    files.sort();
    assert!(files.len() >= 119, "only {} cases found", files.len());
    let mut failed = BTreeMap::new();
    let mut seen = BTreeSet::new();
    for file in &files {
        let name = file.file_stem().unwrap().to_string_lossy().into_owned();
        seen.insert(name.clone());
        if OUT_OF_SCOPE.iter().any(|(case, _)| *case == name) {
            continue;
        }
        if let Err(difference) = read(&folder, file).check() {
            failed.insert(name, difference);
        }
    }
    let expected: BTreeSet<&str> = NOT_YET.iter().copied().collect();
    let found: BTreeSet<&str> = failed.keys().map(String::as_str).collect();
    let told: Vec<String> = failed.iter().map(|(name, difference)| format!("{name}: {difference}")).collect();
    assert_eq!(found, expected, "\n{}", told.join("\n"));
    assert!(
        OUT_OF_SCOPE.iter().all(|(case, _)| seen.contains(*case)),
        "a case of the list is no longer there"
    );
}
