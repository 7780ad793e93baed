//! What holds for every answer of the solver, over small random repositories, with brute force as the judge.

#![expect(clippy::unwrap_used, reason = "a test that can't be set up has failed")]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use kimg_apk::{
    Dependency, Index, InstalledPackage, Limits, Record, Repository, Solution, SolveError, Solver,
};
use proptest::prelude::*;

/// What a random package is made of; names are few, so that they meet.
#[derive(Debug, Clone)]
struct Sketch {
    name: u8,
    version: u8,
    priority: u8,
    depends: Vec<String>,
    provides: Vec<String>,
    install_if: Vec<String>,
}

fn wish() -> impl Strategy<Value = String> {
    let name = prop::sample::select(vec!["a", "b", "c", "d", "v", "w"]);
    let constraint = prop::sample::select(vec!["", "", "", "=1", "=2", ">1", "<2", "~1"]);
    (prop::bool::weighted(0.15), name, constraint)
        .prop_map(|(not, name, constraint)| format!("{}{name}{constraint}", if not { "!" } else { "" }))
}

fn sketch(shared_names: bool, install_if: bool) -> impl Strategy<Value = Sketch> {
    let provides = if shared_names {
        vec!["v", "w", "v=1", "v=2", "w=1", "a=2"]
    } else {
        vec!["v=1", "v=2", "w=1", "a=2"]
    };
    let provides = prop::collection::vec(prop::sample::select(provides).prop_map(str::to_owned), 0..2);
    let conditions = prop::collection::vec(wish(), if install_if { 0..3 } else { 0..1 });
    (0..4_u8, 1..3_u8, 0..3_u8, prop::collection::vec(wish(), 0..3), provides, conditions).prop_map(
        |(name, version, priority, depends, provides, install_if)| Sketch {
            name: b'a' + name,
            version,
            priority,
            depends,
            provides,
            install_if,
        },
    )
}

fn repositories(sketches: &[Sketch]) -> Vec<Repository> {
    let mut text = String::new();
    for sketch in sketches {
        let (name, version, priority) = (char::from(sketch.name), sketch.version, sketch.priority);
        let [depends, provides, install_if] =
            [&sketch.depends, &sketch.provides, &sketch.install_if].map(|list| list.join(" "));
        writeln!(text, "P:{name}\nV:{version}\nk:{priority}\nD:{depends}\np:{provides}\ni:{install_if}\n")
            .unwrap();
    }
    let index = Index::parse(text.as_bytes(), &Limits::default()).unwrap();
    vec![Repository { name: "random".to_owned(), tag: None, index: Arc::new(index) }]
}

/// Whether a package meets a wish, its `!` left aside.
fn meets(record: &Record, wish: &Dependency) -> bool {
    let own = (&record.name, Some(&record.version));
    let provided = record.provides.iter().map(|provide| (&provide.name, provide.version.as_ref()));
    std::iter::once(own).chain(provided).any(|(name, version)| {
        *name == wish.name
            && wish.constraint.as_ref().is_none_or(|constraint| {
                version.is_some_and(|version| constraint.allows(version, record.identity))
            })
    })
}

/// What is wrong with a set of packages; nothing if it fits together and with the world.
fn problems(packages: &[&Record], world: &[Dependency]) -> Vec<String> {
    let mut problems = Vec::new();
    for wish in world {
        if packages.iter().any(|record| meets(record, wish)) == wish.conflict {
            problems.push(format!("world: {wish}"));
        }
    }
    let mut owners: BTreeMap<&str, usize> = BTreeMap::new();
    for (place, record) in packages.iter().enumerate() {
        for wish in &record.depends {
            let others = packages.iter().enumerate().filter(|(other, _)| !wish.conflict || *other != place);
            if others.map(|(_, other)| other).any(|other| meets(other, wish)) == wish.conflict {
                problems.push(format!("{}: {wish}", record.id()));
            }
        }
        let provided = record.provides.iter().filter(|provide| provide.version.is_some());
        for name in std::iter::once(&record.name).chain(provided.map(|provide| &provide.name)) {
            *owners.entry(name).or_default() += 1;
        }
    }
    problems
        .extend(owners.iter().filter(|(_, owners)| **owners > 1).map(|(name, _)| format!("two own {name}")));
    problems
}

fn records(solution: &Solution) -> Vec<&Record> {
    solution.packages.iter().map(|chosen| &chosen.record).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_500))]

    #[test]
    fn what_is_chosen_fits_together(
        sketches in prop::collection::vec(sketch(true, true), 1..9),
        world in prop::collection::vec(wish(), 1..4),
    ) {
        let repositories = repositories(&sketches);
        let world: Vec<Dependency> = world.iter().map(|wish| wish.parse().unwrap()).collect();
        match Solver::new(&repositories).solve(&world, &[]) {
            Ok(solution) => {
                prop_assert_eq!(problems(&records(&solution), &world), Vec::<String>::new());
                prop_assert!(solution.packages.iter().all(|chosen| !chosen.because.is_empty()));
            }
            Err(error) => prop_assert!(matches!(error, SolveError::Refused(_)), "{}", error),
        }
    }

    #[test]
    fn what_brute_force_can_put_together_the_solver_can(
        sketches in prop::collection::vec(sketch(false, false), 1..9),
        world in prop::collection::vec(wish(), 1..4),
    ) {
        let repositories = repositories(&sketches);
        let world: Vec<Dependency> = world.iter().map(|wish| wish.parse().unwrap()).collect();
        let packages = &repositories[0].index.packages;
        let possible = (0..1_u32 << packages.len()).any(|set| {
            let chosen: Vec<&Record> =
                packages.iter().enumerate().filter(|(place, _)| set >> place & 1 == 1).map(|(_, record)| record).collect();
            problems(&chosen, &world).is_empty()
        });
        let solution = Solver::new(&repositories).solve(&world, &[]);
        prop_assert_eq!(solution.is_ok(), possible, "{:?}", solution);
    }

    #[test]
    fn the_same_question_has_the_same_answer(
        sketches in prop::collection::vec(sketch(true, true), 1..9),
        world in prop::collection::vec(wish(), 1..4),
    ) {
        let mut sketches = sketches;
        sketches.sort_by_key(|sketch| (sketch.name, sketch.version));
        sketches.dedup_by_key(|sketch| (sketch.name, sketch.version));
        let repositories = repositories(&sketches);
        let world: Vec<Dependency> = world.iter().map(|wish| wish.parse().unwrap()).collect();
        let solver = Solver::new(&repositories);
        let first = solver.solve(&world, &[]);
        prop_assert_eq!(&first, &kimg_apk::solve(&repositories, &world, &[]));
        if let Ok(solution) = first {
            // What was chosen once and is now preferred is all that is needed again: a lock holds.
            let prefer: Vec<_> =
                records(&solution).iter().map(|record| (record.name.clone(), record.version.clone())).collect();
            let again = solver.solve(&world, &prefer).unwrap();
            prop_assert!(records(&again).iter().all(|record| records(&solution).contains(record)));
            // And a root that has it is left as it is.
            let installed: Vec<InstalledPackage> =
                records(&solution).into_iter().cloned().map(InstalledPackage::new).collect();
            let onto = solver.solve_onto(&installed, &world, &[]).unwrap();
            prop_assert!(onto.fetched.is_empty(), "{:?}", onto);
        }
    }
}
