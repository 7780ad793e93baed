//! Roots that hold packages already: how their database is read, and what is chosen to join them.
//!
//! What the real apk does on such roots is asked in `solver_worlds`.

#![expect(clippy::unwrap_used, reason = "a test that can't be set up has failed")]

mod real;

use std::io::Read;
use std::sync::Arc;

use kimg_apk::{
    Dependency, Index, InstalledDbError, Limits, Repository, SolveError, Solver, Version, read_installed_db,
    read_world,
};
use kimg_core::{Classified, ErrorClass};

/// Records from lines such as `app 1.2 | D:lib cmd:sh | s:edge`.
fn records(lines: &str) -> String {
    let record = |line: &str| format!("P:{}\n\n", line.trim().replacen(' ', "\nV:", 1).replace(" | ", "\n"));
    lines.lines().map(record).collect()
}

fn repository(tag: Option<&str>, lines: &str) -> Repository {
    let index = Index::parse(records(lines).as_bytes(), &Limits::default()).unwrap();
    Repository { name: tag.unwrap_or("main").to_owned(), tag: tag.map(str::to_owned), index: Arc::new(index) }
}

/// What is kept, fetched and gone, such as `lib-1 +app-2 -old-1`.
fn onto(
    repositories: &[Repository],
    installed: &str,
    world: &str,
    prefer: &str,
) -> Result<String, SolveError> {
    let installed = read_installed_db(records(installed).as_bytes(), &Limits::default()).unwrap();
    let world: Vec<Dependency> = read_world(world).unwrap();
    let prefer: Vec<(String, Version)> = prefer
        .split_ascii_whitespace()
        .map(|package| package.split_once('=').unwrap())
        .map(|(name, version)| (name.to_owned(), version.parse().unwrap()))
        .collect();
    let onto = Solver::new(repositories).solve_onto(&installed, &world, &prefer)?;
    let id = |place: usize| installed[place].record.id();
    let kept = onto.kept.iter().map(|kept| id(kept.installed));
    let fetched = onto.fetched.iter().map(|chosen| format!("+{}", chosen.record.id()));
    let gone = onto.gone.iter().map(|place| format!("-{}", id(*place)));
    Ok(kept.chain(fetched).chain(gone).collect::<Vec<_>>().join(" "))
}

#[track_caller]
fn joined(offered: &str, installed: &str, world: &str) -> String {
    onto(&[repository(None, offered)], installed, world, "").unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn what_is_installed_stays_in_front_of_newer_versions() {
    assert_eq!(joined("lib 2\napp 1 | D:lib", "lib 1", "app"), "lib-1 +app-1");
    assert_eq!(joined("x 1 | p:v=2\ny 1 | p:v=1", "y 1 | p:v=1", "v"), "y-1");
}

#[test]
fn what_is_needed_newer_takes_the_place_of_what_is_installed() {
    assert_eq!(joined("lib 2\napp 1 | D:lib>1", "lib 1", "app"), "+app-1 +lib-2 -lib-1");
    assert_eq!(joined("x 2 | p:so:a=2\napp 1 | D:so:a>1", "y 1 | p:so:a=1", "app"), "+app-1 +x-2 -y-1");
}

#[test]
fn what_nothing_wants_any_more_goes() {
    assert_eq!(joined("app 1", "app 1 | D:lib\nlib 1\nold 1", "app"), "app-1 lib-1 -old-1");
}

#[test]
fn what_no_repository_offers_any_more_may_stay_and_can_be_needed() {
    assert_eq!(joined("app 1 | D:lib", "lib 1", "app lib"), "lib-1 +app-1");
    let error = onto(&[repository(None, "app 1 | D:lib>1")], "lib 1", "app lib", "").unwrap_err();
    assert_eq!(
        error.to_string(),
        "can't choose packages: nothing fits `lib`, wanted by world\n  \
         lib-1 (installed) is against `lib>1`, wanted by app-1 → world"
    );
}

#[test]
fn what_came_from_a_repository_with_a_tag_stays_without_being_asked_for_with_it() {
    let both = [repository(None, "app 1"), repository(Some("edge"), "app 2\nlib 2")];
    assert_eq!(onto(&both, "lib 2 | s:edge", "lib", "").unwrap(), "lib-2");
    assert_eq!(onto(&both, "app 2 | s:edge", "app@edge", "").unwrap(), "app-2");
    assert_eq!(onto(&both, "app 2 | s:edge", "app", "").unwrap(), "+app-1 -app-2");
}

#[test]
fn what_is_preferred_stands_before_what_is_installed() {
    let main = [repository(None, "lib 2\nlib 3")];
    assert_eq!(onto(&main, "lib 1", "lib", "lib=2").unwrap(), "+lib-2 -lib-1");
}

#[test]
fn the_same_package_installed_and_offered_is_one() {
    let same = "lib 1 | C:Q1EyN5AdpAOBJWKMR89pp/C66o+OE=";
    assert_eq!(joined(same, same, "lib"), "lib-1");
}

#[test]
fn an_install_if_looks_at_what_is_installed_too() {
    assert_eq!(joined("app 1\napp-doc 1 | i:app docs", "docs 1", "docs app"), "docs-1 +app-1 +app-doc-1");
}

#[test]
fn the_database_of_a_genuine_root_is_read_whole() {
    let Some(input) = real::input() else { return };
    for arch in ["x86_64", "aarch64", "armv7"] {
        let path = input.join(format!("minirootfs/alpine-minirootfs-3.15.11-{arch}.tar.gz"));
        let file = flate2::read::GzDecoder::new(fs_err::File::open(path).unwrap());
        let mut archive = tar::Archive::new(file);
        let (mut database, mut world, mut files) =
            (String::new(), String::new(), std::collections::BTreeSet::new());
        for entry in archive.entries().unwrap() {
            let mut entry = entry.unwrap();
            let path = entry.path().unwrap().to_string_lossy().trim_start_matches('.').to_owned();
            match path.as_str() {
                "/lib/apk/db/installed" => drop(entry.read_to_string(&mut database).unwrap()),
                "/etc/apk/world" => drop(entry.read_to_string(&mut world).unwrap()),
                _ => drop(files.insert(path)),
            }
        }
        let installed = read_installed_db(database.as_bytes(), &Limits::default()).unwrap();
        assert_eq!(installed.len(), database.lines().filter(|line| line.starts_with("P:")).count());
        assert!(
            installed
                .iter()
                .all(|package| package.record.identity.is_some() && package.record.unknown.is_empty())
        );
        let listed: Vec<_> = installed.iter().flat_map(|package| &package.files).collect();
        assert_eq!(listed.len(), database.lines().filter(|line| line.starts_with("R:")).count());
        assert!(listed.iter().all(|(_, sha1)| sha1.is_some()));
        let there = listed.iter().filter(|(path, _)| files.contains(path.as_str())).count();
        assert!(there > listed.len() * 9 / 10, "{arch}: {there} of {} listed paths are there", listed.len());
        // Such a root meets its own world, with all that it has.
        let onto =
            Solver::for_arch(&[], arch).solve_onto(&installed, &read_world(&world).unwrap(), &[]).unwrap();
        assert_eq!((onto.kept.len(), onto.fetched.len(), onto.gone.len()), (installed.len(), 0, 0), "{arch}");
    }
}

#[test]
fn a_database_that_can_not_be_meant_is_refused_with_the_package_and_the_reason() {
    let refused = |text: &str| read_installed_db(text.as_bytes(), &Limits::default()).unwrap_err();
    for (text, message) in [
        (
            "P:a\nV:1\nD:b@\n",
            "the installed package a-1 can't be understood: `b@` can't be read: its tag is empty",
        ),
        ("P:a\nV:1\n\nP:a\nV:2\n", "the database of installed packages has `a` twice"),
        ("P:a\nV:1\nR:file\n", "the installed package a-1 lists `file`: it stands before any folder"),
        ("P:a\nV:1\nF:etc\nR:../b\n", "the installed package a-1 lists `../b`: it is no name of a file"),
        ("P:a\nV:1\nF:../etc\n", "the installed package a-1 lists `../etc`: path `/../etc` holds `..`"),
        ("P:a\nV:1\nZ:Q1abc\n", "the installed package a-1 lists `Q1abc`: it is the checksum of no file"),
    ] {
        let error = refused(text);
        assert_eq!(error.to_string(), message);
        assert_eq!(error.class(), ErrorClass::Malformed);
    }
    assert!(matches!(refused("P:a\nV\n"), InstalledDbError::Record(_)));
    let few = Limits { entries: 2, ..Limits::default() };
    let error = read_installed_db(b"P:a\nV:1\nF:etc\nR:a\nR:b\n", &few).unwrap_err();
    assert_eq!((&error, error.class()), (&InstalledDbError::TooManyPaths { limit: 2 }, ErrorClass::Limit));
}
