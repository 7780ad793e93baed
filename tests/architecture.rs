//! The crates of the workspace depend on each other in one direction only.

use cargo_metadata::{DependencyKind, MetadataCommand};

/// From the program down to the vocabulary: a crate may name only crates that stand behind it.
const ORDER: [&str; 16] = [
    "kimg",
    "kimg-build",
    "kimg-report",
    "kimg-node",
    "kimg-registry",
    "kimg-sign",
    "kimg-source",
    "kimg-image",
    "kimg-layer",
    "kimg-rootfs",
    "kimg-go",
    "kimg-pack",
    "kimg-closure",
    "kimg-apk",
    "kimg-sample",
    "kimg-core",
];

/// Wrappers of judges: for tests, so only a dev-dependency may name it.
const TESTKIT: &str = "kimg-testkit";

fn place(name: &str) -> Option<usize> {
    ORDER.iter().position(|crate_name| *crate_name == name)
}

/// What is wrong with one dependency, if anything is.
fn wrong(from: &str, to: &str, kind: DependencyKind) -> Option<String> {
    if to == TESTKIT {
        return (kind != DependencyKind::Development)
            .then(|| format!("{from} needs {to} outside of its tests"));
    }
    if from == TESTKIT {
        return None;
    }
    match (place(from), place(to)) {
        (Some(from_place), Some(to_place)) if from_place < to_place => None,
        (Some(_), Some(_)) => Some(format!("{from} → {to} points up")),
        _ => Some(format!("{from} → {to}: one of them has no place in the order")),
    }
}

#[test]
fn no_arrow_between_crates_points_up() {
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
    let metadata = MetadataCommand::new().manifest_path(manifest).no_deps().exec().unwrap();
    let names: Vec<&str> = metadata.packages.iter().map(|p| p.name.as_str()).collect();
    let mut found = Vec::new();
    let mut arrows = 0;
    for package in &metadata.packages {
        for dependency in package.dependencies.iter().filter(|d| names.contains(&d.name.as_str())) {
            arrows += 1;
            found.extend(wrong(&package.name, &dependency.name, dependency.kind));
        }
    }
    assert!(names.len() >= 12 && arrows > 20, "{arrows} arrows between {names:?}");
    assert!(found.is_empty(), "{found:#?}");
    let unplaced: Vec<_> = names.iter().filter(|name| place(name).is_none() && **name != TESTKIT).collect();
    assert!(unplaced.is_empty(), "crates without a place in the order: {unplaced:?}");
}

#[test]
fn an_arrow_up_and_the_testkit_in_a_program_would_be_noticed() {
    assert!(wrong("kimg-core", "kimg-apk", DependencyKind::Normal).unwrap().contains("points up"));
    assert!(wrong("kimg-layer", "kimg-image", DependencyKind::Build).is_some());
    assert!(wrong("kimg", TESTKIT, DependencyKind::Normal).is_some());
    assert!(wrong("kimg-new", "kimg-core", DependencyKind::Normal).is_some());
    assert!(wrong("kimg", "kimg-core", DependencyKind::Normal).is_none());
}
