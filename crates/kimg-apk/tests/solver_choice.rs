//! Which package the solver takes, one rule each, on repositories of a few lines.
//!
//! Where nothing else is said, apk 2.12.7 answers the same on the same repositories.

#![expect(clippy::unwrap_used, reason = "a test that can't be set up has failed")]

use std::sync::Arc;

use kimg_apk::{
    Dependency, Index, Limits, Objection, Refusal, Repository, SolveError, Solver, Version, providers, solve,
};
use kimg_core::{Classified, ErrorClass};

/// A repository from lines such as `app 1.2 | D:lib cmd:sh | k:10`.
fn repository(tag: Option<&str>, lines: &str) -> Repository {
    let records: Vec<String> = lines
        .lines()
        .map(|line| line.trim().replacen(' ', "\nV:", 1).replace(" | ", "\n"))
        .map(|record| format!("P:{record}\n"))
        .collect();
    let index = Index::parse(records.join("\n").as_bytes(), &Limits::default()).unwrap();
    let name = tag.unwrap_or("main").to_owned();
    Repository { name, tag: tag.map(str::to_owned), index: Arc::new(index) }
}

fn wishes(world: &str) -> Vec<Dependency> {
    world.split_ascii_whitespace().map(|wish| wish.parse().unwrap()).collect()
}

/// The packages chosen, each with the tag of the repository it comes from.
fn answer(repositories: &[Repository], world: &str, prefer: &str) -> Result<String, SolveError> {
    let prefer: Vec<(String, Version)> = prefer
        .split_ascii_whitespace()
        .map(|package| package.split_once('=').unwrap())
        .map(|(name, version)| (name.to_owned(), version.parse().unwrap()))
        .collect();
    let solution = solve(repositories, &wishes(world), &prefer)?;
    let packages = solution.packages.iter().map(|chosen| match &repositories[chosen.repository].tag {
        None => chosen.record.id(),
        Some(tag) => format!("{}@{tag}", chosen.record.id()),
    });
    Ok(packages.collect::<Vec<_>>().join(" "))
}

#[track_caller]
fn chosen(lines: &str, world: &str) -> String {
    answer(&[repository(None, lines)], world, "").unwrap_or_else(|error| panic!("{error}"))
}

fn refused(lines: &str, world: &str) -> SolveError {
    answer(&[repository(None, lines)], world, "").unwrap_err()
}

#[test]
fn the_newer_version_of_the_wanted_name_wins_whoever_has_it() {
    assert_eq!(chosen("v 1\nv 2", "v"), "v-2");
    assert_eq!(chosen("v 1\nx 1 | p:v=2", "v"), "x-1");
    assert_eq!(chosen("x 1 | p:v=1 | k:5\ny 1 | p:v=2 | k:1", "v"), "y-1");
}

#[test]
fn with_equal_versions_the_higher_priority_wins() {
    assert_eq!(chosen("x 1 | p:v=1\ny 1 | p:v=1 | k:5", "v"), "y-1");
}

#[test]
fn the_newest_of_a_package_stands_for_it_against_others() {
    assert_eq!(chosen("x 1 | p:v=1 | k:5\nx 2 | p:v=1 | k:1\ny 1 | p:v=1 | k:3", "v"), "y-1");
    assert_eq!(chosen("x 1 | p:v=1\nx 2 | p:v=1", "v"), "x-2");
}

#[test]
fn a_name_without_a_version_competes_by_priority() {
    assert_eq!(chosen("x 1 | p:v | k:5\ny 1 | p:v=1", "v"), "x-1");
    assert_eq!(chosen("x 1 | p:v | k:5\ny 1 | p:v=1 | k:6", "v"), "y-1");
    assert_eq!(chosen("x 1 | p:v | k:5\nv 1", "v"), "x-1");
    assert_eq!(chosen("x 1 | p:v\ny 1 | p:v=1", "v"), "y-1");
}

/// Also before the package of that very name, as apk has it.
#[test]
fn at_last_what_the_index_has_first_wins() {
    assert_eq!(chosen("x 1 | p:v=1\nv 1", "v"), "x-1");
    assert_eq!(chosen("v 1\nx 1 | p:v=1", "v"), "v-1");
    assert_eq!(chosen("x 1 | p:v | k:1\ny 1 | p:v=1 | k:1", "v"), "x-1");
    assert_eq!(chosen("y 1 | p:v=1 | k:1\nx 1 | p:v | k:1", "v"), "y-1");
}

#[test]
fn at_last_the_repository_listed_first_wins() {
    let x = repository(None, "x 1 | p:v=1");
    let y = repository(None, "y 1 | p:v=1");
    assert_eq!(answer(&[x.clone(), y.clone()], "v", "").unwrap(), "x-1");
    assert_eq!(answer(&[y, x], "v", "").unwrap(), "y-1");
}

#[test]
fn the_only_one_that_shares_a_name_is_taken_for_it() {
    assert_eq!(chosen("busybox 1 | p:/bin/sh\napp 1 | D:/bin/sh", "app"), "app-1 busybox-1");
}

#[test]
fn of_several_that_share_a_name_without_priority_a_person_has_to_choose() {
    let lines = "x 1 | p:v\ny 1 | p:v\napp 1 | D:v";
    let error = refused(lines, "app");
    assert_eq!(
        error.to_string(),
        "can't choose packages: `v`, wanted by app-1 → world, is not chosen by itself; provided by x, y"
    );
    assert_eq!(error.hint().as_deref(), Some("name one of them: x, y"));
    assert_eq!(chosen(lines, "app y"), "app-1 y-1");
    assert_eq!(chosen(lines, "app y x"), "app-1 x-1 y-1");
}

#[test]
fn what_is_taken_anyway_meets_a_wish_before_something_new_is_taken_for_it() {
    assert_eq!(chosen("x 1 | p:v | k:9\ny 1 | p:v\napp 1 | D:y", "v app"), "app-1 y-1");
    assert_eq!(chosen("x 2 | p:v=2\ny 1 | p:v=1\napp 1 | D:y", "v app"), "app-1 y-1");
}

#[test]
fn only_one_package_owns_a_name() {
    let error = refused("x 1 | p:v=1\ny 1 | p:v=2", "x y");
    assert_eq!(
        error.to_string(),
        "can't choose packages: nothing fits `y`, wanted by world\n  \
         y-1 can't be beside x-1, wanted by world: both are `v`"
    );
    assert_eq!(error.class(), ErrorClass::Unresolvable);
}

#[test]
fn a_choice_that_leads_nowhere_is_taken_back() {
    let lines = "a 2 | D:lib>1\na 1 | D:lib\nb 1 | D:lib<2\nlib 1\nlib 2";
    assert_eq!(chosen(lines, "a b"), "a-1 b-1 lib-1");
    assert_eq!(chosen("v 2 | D:missing\nv 1", "v"), "v-1");
}

/// The two choices for `z` fail for the version of `x1` that was chosen first of all; the nineteen after it are
/// none of their business, or there would be half a million ways to try.
#[test]
fn it_goes_back_over_choices_that_had_no_part_in_a_failure() {
    let numbers = || 1..=20;
    let versions: Vec<String> = numbers().map(|number| format!("x{number} 1\nx{number} 2")).collect();
    let lines = format!("z 2 | D:p\nz 1 | D:q\np 1 | D:x1=1\nq 1 | D:x1=1\n{}", versions.join("\n"));
    let world: Vec<String> = numbers().map(|number| format!("x{number}")).collect();
    let answer = chosen(&lines, &format!("{} z", world.join(" ")));
    assert!(answer.starts_with("p-1 x1-1 x10-2 ") && answer.ends_with(" x9-2 z-2"), "{answer}");
}

#[test]
fn install_if_pulls_a_package_in_once_all_its_conditions_are_in() {
    let lines =
        "app 1 | D:lib\nlib 1\ndocs 1\napp-doc 1 | i:docs app=1 | D:man\nman 1\nlib-doc 2 | i:docs lib=2";
    assert_eq!(chosen(lines, "app"), "app-1 lib-1");
    assert_eq!(chosen(lines, "app docs"), "app-1 app-doc-1 docs-1 lib-1 man-1");
}

#[test]
fn install_if_is_no_reason_to_fail() {
    assert_eq!(chosen("app 1\ndocs 1\napp-doc 1 | i:docs app | D:missing", "app docs"), "app-1 docs-1");
    assert_eq!(chosen("app 1\ndocs 1\napp-doc 1 | i:docs app", "app docs !app-doc"), "app-1 docs-1");
}

#[test]
fn install_if_with_a_condition_against_something_waits_until_nothing_more_comes() {
    let lines = "bar 1\nbaz 1\nfoo 1 | i:bar !baz\nlate 1 | i:bar | D:baz";
    assert_eq!(chosen(lines, "bar !late"), "bar-1 foo-1");
    assert_eq!(chosen(lines, "bar"), "bar-1 baz-1 late-1");
}

#[test]
fn what_is_preferred_is_kept_where_that_is_allowed() {
    let repositories = [repository(None, "a 1 | D:lib\na 2 | D:lib\nlib 1\nlib 2\nx 1 | p:v=1\ny 1 | p:v=2")];
    assert_eq!(answer(&repositories, "a v", "lib=1 x=1").unwrap(), "a-2 lib-1 x-1");
    assert_eq!(answer(&repositories, "a lib>1 v", "lib=1 gone=7").unwrap(), "a-2 lib-2 y-1");
}

#[test]
fn a_tagged_repository_serves_what_is_asked_for_with_its_tag_and_what_that_needs() {
    let main = repository(None, "b 1\nc 1 | D:b");
    let edge = repository(Some("edge"), "a 2 | D:b>=2\nb 2\nc 2 | D:b>=2");
    let both = [main, edge];
    assert_eq!(answer(&both, "a@edge", "").unwrap(), "a-2@edge b-2@edge");
    assert_eq!(answer(&both, "c a@edge", "").unwrap(), "a-2@edge b-2@edge c-1");
    assert_eq!(answer(&both, "c@edge", "").unwrap(), "b-2@edge c-2@edge");
    assert_eq!(answer(&both, "c b@edge", "").unwrap(), "b-2@edge c-1");
    assert!(answer(&both, "a@edge b=1", "").is_err());
    let masked = answer(&both, "c>1 b@edge", "").unwrap_err();
    assert_eq!(masked.hint().as_deref(), Some("ask for it with the repository's tag, as name@tag"));
}

#[test]
fn a_tag_is_preferred_and_no_condition() {
    let both = [repository(None, "a 3\nonly 1"), repository(Some("edge"), "a 2")];
    assert_eq!(answer(&both, "a@edge", "").unwrap(), "a-2@edge");
    assert_eq!(answer(&both, "a@edge>2", "").unwrap(), "a-3");
    assert_eq!(answer(&both, "only@edge", "").unwrap(), "only-1");
}

#[test]
fn a_tag_reaches_what_the_wanted_package_needs_by_another_name() {
    let both = [repository(None, "x 1 | D:v"), repository(Some("edge"), "y 1 | p:v=1 | k:10\nz 1 | p:v=2")];
    assert_eq!(answer(&both, "x@edge", "").unwrap(), "x-1 z-1@edge");
    assert_eq!(answer(&both, "y@edge x", "").unwrap(), "x-1 y-1@edge");
    assert!(answer(&both, "x", "").is_err());
}

#[test]
fn a_tag_reaches_an_install_if_that_waits_for_a_package_by_another_of_its_names() {
    let both = [
        repository(None, "base 1"),
        repository(Some("edge"), "app 1 | D:so:lib\nlib 1 | p:so:lib=1\nlib-base 1 | i:lib base"),
    ];
    assert_eq!(answer(&both, "app@edge base", "").unwrap(), "app-1@edge base-1 lib-1@edge lib-base-1@edge");
}

#[test]
fn every_chosen_package_says_who_wanted_it() {
    let index = "app 1 | D:cmd:sh lib>0\nsh 1 | p:cmd:sh=1 | D:lib\nlib 1\ndocs 1\napp-doc 1 | i:docs app";
    let repositories = [repository(None, index)];
    let solution = solve(&repositories, &wishes("app docs cmd:sh"), &[]).unwrap();
    let because = |name| solution.get(name).map(|chosen| chosen.because.join("; ")).unwrap();
    assert_eq!(because("app"), "world: app");
    assert_eq!(because("sh"), "app needs cmd:sh; world: cmd:sh");
    assert_eq!(because("lib"), "app needs lib>0; sh needs lib");
    assert_eq!(because("app-doc"), "install_if: docs app");
    let app = solution.get("app").unwrap();
    assert_eq!(repositories[app.repository].index.packages[app.package], app.record);
}

#[test]
fn a_name_that_nobody_has_is_told_with_the_way_to_it_and_what_may_be_meant() {
    let error = refused("app 1 | D:tool\ntool 1 | D:so:libfo.so.1\nlib 1 | p:so:libfoo.so.1=1", "app");
    assert_eq!(
        error.to_string(),
        "can't choose packages: no package provides `so:libfo.so.1`, wanted by tool-1 → app-1 → world"
    );
    assert_eq!(error.hint().as_deref(), Some("there is `so:libfoo.so.1`"));
    assert_eq!(refused("mount 1", "cmd:mount").hint().as_deref(), Some("there is `mount`"));
}

#[test]
fn two_wishes_that_collide_are_both_told_with_the_way_to_each() {
    let error = refused("a 1 | D:b lib>1\nb 1 | D:lib<2\nlib 1\nlib 2", "a");
    assert_eq!(
        error.to_string(),
        "can't choose packages: nothing fits `lib>1`, wanted by a-1 → world\n  \
         lib-1 is another version\n  \
         lib-2 is against `lib<2`, wanted by b-1 → a-1 → world"
    );
}

#[test]
fn a_package_for_another_architecture_is_not_taken_and_named() {
    let repositories = [repository(None, "a 1 | A:armv7\nb 1 | A:noarch\nc 1 | A:x86_64")];
    let solver = Solver::for_arch(&repositories, "x86_64");
    assert_eq!(solver.solve(&wishes("b c"), &[]).unwrap().packages.len(), 2);
    let error = solver.solve(&wishes("a"), &[]).unwrap_err();
    assert!(error.to_string().ends_with("a-1 of main is for armv7"), "{error}");
}

#[test]
fn a_package_that_claims_a_name_twice_is_against_itself() {
    for lines in ["x 1 | p:v=1 v=2", "x 1 | p:x=1", "x 1 | p:x"] {
        let SolveError::Refused(refusal) = refused(lines, "x") else { panic!("{lines}") };
        let Refusal::NoneFits { candidates, .. } = *refusal else { panic!("{lines}: {refusal}") };
        assert!(matches!(candidates[0].1, Objection::Itself { .. }), "{lines}");
    }
}

#[test]
fn the_same_package_in_two_repositories_is_one() {
    let lines = "a 1 | C:Q1EyN5AdpAOBJWKMR89pp/C66o+OE=";
    let both = [repository(None, lines), repository(None, lines)];
    assert_eq!(providers(&both, &"a".parse().unwrap()).len(), 1);
    assert_eq!(solve(&both, &wishes("a"), &[]).unwrap().packages[0].repository, 0);
}

#[test]
fn providers_come_in_the_order_of_preference_and_with_their_repository() {
    let repositories = [
        repository(None, "x 1 | p:v=1\nz 1 | p:v"),
        repository(None, "y 1 | p:v=2\ny 1.5 | p:v=1"),
        repository(Some("edge"), "w 1 | p:v=9"),
    ];
    let found = |wish: &str| -> Vec<String> {
        let found = providers(&repositories, &wish.parse().unwrap());
        found.iter().map(|(repository, record)| format!("{repository}:{}", record.id())).collect()
    };
    assert_eq!(found("v"), ["1:y-1", "0:x-1", "1:y-1.5", "0:z-1"]);
    assert_eq!(found("v<2"), ["0:x-1", "1:y-1.5"]);
    assert_eq!(found("v@edge"), ["2:w-1", "1:y-1", "0:x-1", "1:y-1.5", "0:z-1"]);
    assert_eq!(found("nobody"), Vec::<String>::new());
}

/// Eleven pigeons for ten holes: the classic that going back cleverly does not help with.
#[test]
fn a_search_without_end_is_given_up_in_reasonable_time() {
    let pigeons = 1..=11;
    let needs: Vec<String> = pigeons.clone().map(|pigeon| format!("pigeon{pigeon}")).collect();
    let lines: Vec<String> = pigeons
        .flat_map(|pigeon| {
            (1..=10).map(move |hole| format!("p{pigeon}h{hole} 1 | p:pigeon{pigeon}=1 hole{hole}=1"))
        })
        .collect();
    let error = refused(&lines.join("\n"), &needs.join(" "));
    assert!(matches!(error, SolveError::GivenUp { .. }), "{error}");
    assert!(error.to_string().len() < 20_000);
}
