//! Holds answers of the solver against the judge's.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use kimg_apk::{Dependency, InstalledPackage, Limits, Record, Repository, SolveError, Solver, read_index};

use super::judge::{Judge, Packages};
use crate::real;

/// The main and community repositories of Alpine 3.19, whole, and the files they are read from.
pub fn alpine_3_19() -> Option<(Vec<PathBuf>, Vec<Repository>)> {
    let input = real::input()?;
    let keys = real::keys(&input.join("alpine-keys/x86_64"));
    let one = |name: &str| {
        let path = input.join("index/v3.19").join(name).join("x86_64/APKINDEX.tar.gz");
        let index = read_index(&fs_err::read(&path).unwrap(), &keys, &Limits::default()).unwrap();
        assert!(index.packages.len() > 5000 && index.unusable.is_empty());
        (path, Repository { name: name.to_owned(), tag: None, index: Arc::new(index) })
    };
    Some(["main", "community"].map(one).into_iter().unzip())
}

/// A root to add to: what is installed, and what it was made for.
#[derive(Default)]
pub struct Base {
    pub installed: Vec<InstalledPackage>,
    pub world: Vec<Dependency>,
}

/// A package that is there at the end, and who wanted it.
struct There {
    record: Record,
    because: Vec<String>,
}

/// What a comparison came to.
#[derive(Debug, Default)]
pub struct Verdict {
    pub same: usize,
    pub both_refuse: usize,
    /// Worlds where apk 2.12 misses packages with an `install_if`, and takes them itself once it is told to look.
    pub missed_install_if: Vec<String>,
    /// Worlds that apk refuses although there is an answer.
    pub only_apk_refuses: Vec<String>,
    /// Worlds that only the solver refuses.
    pub only_kimg_refuses: Vec<String>,
    /// Everything else: other packages are chosen.
    pub unexplained: Vec<String>,
}

pub fn wishes(world: &str) -> Vec<Dependency> {
    world.split_ascii_whitespace().map(|wish| wish.parse().unwrap()).collect()
}

/// What the solver makes of it.
fn ask(solver: &Solver<'_>, base: &Base, world: &str) -> Result<Vec<There>, SolveError> {
    let added = wishes(world);
    let mut all: Vec<Dependency> = base.world.clone();
    all.retain(|wish| added.iter().all(|other| other.name != wish.name));
    all.extend(added);
    let there = |(record, because): (&Record, &Vec<String>)| There {
        record: record.clone(),
        because: because.clone(),
    };
    if base.installed.is_empty() {
        let solution = solver.solve(&all, &[])?;
        return Ok(solution.packages.iter().map(|chosen| there((&chosen.record, &chosen.because))).collect());
    }
    let onto = solver.solve_onto(&base.installed, &all, &[])?;
    let kept = onto.kept.iter().map(|kept| (&base.installed[kept.installed].record, &kept.because));
    let fetched = onto.fetched.iter().map(|chosen| (&chosen.record, &chosen.because));
    Ok(kept.chain(fetched).map(there).collect())
}

fn packages(there: &[There]) -> Packages {
    there.iter().map(|there| (there.record.name.clone(), there.record.version.to_string())).collect()
}

/// The packages that are only there because of an `install_if`, and what these need.
fn pulled_in(all: &[There]) -> Vec<&Record> {
    let mut wanted: BTreeMap<&str, bool> =
        all.iter().map(|there| (there.record.name.as_str(), false)).collect();
    loop {
        let wants = |reason: &String| match reason.split_once(" needs ") {
            Some((by, _)) => wanted[by],
            None => reason.starts_with("world: "),
        };
        let more: Vec<&str> = all
            .iter()
            .filter(|there| !wanted[there.record.name.as_str()] && there.because.iter().any(wants))
            .map(|there| there.record.name.as_str())
            .collect();
        if more.is_empty() {
            break;
        }
        wanted.extend(more.into_iter().map(|name| (name, true)));
    }
    all.iter().filter(|there| !wanted[there.record.name.as_str()]).map(|there| &there.record).collect()
}

/// The world with the conditions of what apk missed named in it, so that apk looks at them; where one is `!name`, or met
/// by a package of another name, which it never looks at, with the package itself.
///
/// None unless all that it missed came by an `install_if` alone.
fn told_to_look(world: &str, ours: &[There], theirs: &Packages, tag: Option<&String>) -> Option<String> {
    let mine = packages(ours);
    let pulled_in = pulled_in(ours);
    let more: Vec<&String> = mine.keys().filter(|name| !theirs.contains_key(*name)).collect();
    let subset = theirs.iter().all(|(name, version)| mine.get(name) == Some(version));
    let explained = more.iter().all(|name| pulled_in.iter().any(|record| record.name == **name));
    if !subset || !explained {
        return None;
    }
    let mut told = wishes(world);
    for record in pulled_in.iter().filter(|record| more.contains(&&record.name)) {
        let itself = [Dependency::any(&record.name)];
        let provided = |name: &String| ours.iter().all(|there| there.record.name != *name);
        let blind = record.install_if.iter().any(|condition| condition.conflict || provided(&condition.name));
        for name in if blind { &itself[..] } else { &record.install_if } {
            if told.iter().all(|wish| wish.name != name.name) {
                told.push(Dependency { tag: tag.cloned(), ..name.clone() });
            }
        }
    }
    Some(told.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "))
}

/// Compares what the solver and apk make of these worlds.
pub fn compare(
    judge: &Judge,
    repositories: &[Repository],
    base: &Base,
    worlds: &[impl AsRef<str> + Sync],
) -> Verdict {
    let solver = Solver::for_arch(repositories, "x86_64");
    // What only a repository with a tag has is named with the tag.
    let tag = repositories.iter().find_map(|repository| repository.tag.as_ref());
    let mut verdict = Verdict::default();
    let mut once_more = Vec::new();
    for (world, theirs) in worlds.iter().zip(judge.answers(worlds)) {
        let world = world.as_ref();
        match (ask(&solver, base, world), theirs) {
            (Ok(ours), Some(theirs)) if packages(&ours) == theirs => verdict.same += 1,
            (Err(_), None) => verdict.both_refuse += 1,
            (Ok(ours), None) => {
                verdict.only_apk_refuses.push(format!("{world}\n  kimg {:?}", packages(&ours)));
            }
            (Ok(ours), Some(theirs)) => match told_to_look(world, &ours, &theirs, tag) {
                Some(told) => once_more.push((world, told, packages(&ours), theirs)),
                None => verdict.unexplained.push(differ(world, &packages(&ours), &theirs)),
            },
            (Err(error), Some(theirs)) => {
                verdict.only_kimg_refuses.push(format!("{world}\n  apk {theirs:?}\n  kimg {error}"));
            }
        }
    }
    let told: Vec<&String> = once_more.iter().map(|(_, told, ..)| told).collect();
    for ((world, told, ours, theirs), after) in once_more.iter().zip(judge.answers(&told)) {
        if after.as_ref() == Some(ours) {
            verdict.missed_install_if.push((*world).to_owned());
        } else {
            let then = after.map(|after| differ(told, ours, &after));
            verdict.unexplained.push(format!("{}\n  once more: {then:?}", differ(world, ours, theirs)));
        }
    }
    verdict
}

fn differ(world: &str, ours: &Packages, theirs: &Packages) -> String {
    let without = |one: &Packages, other: &Packages| -> Vec<String> {
        one.iter()
            .filter(|(name, version)| other.get(*name) != Some(version))
            .map(|(n, v)| format!("{n}-{v}"))
            .collect()
    };
    format!("{world}\n  only apk  {:?}\n  only kimg {:?}", without(theirs, ours), without(ours, theirs))
}
