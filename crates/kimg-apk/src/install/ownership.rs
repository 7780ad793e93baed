//! Which of two packages keeps a path that both ship.

use crate::Record;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Keeps {
    First,
    Second,
    Neither,
}

/// Decides as apk does (`apk_pkg_replaces_file`): whoever replaces the other with the higher priority keeps the path;
/// with the same priority on both sides, or within one source package, the second keeps it.
///
/// apk takes for the second one whichever it happens to unpack later. Here it is the later one by name, so that the result
/// hangs on nothing else. apk 2.12 asks for the source package first: of `ca-certificates` and `ca-certificates-bundle` the one
/// that is unpacked later has the bundle there, whatever `replaces` says. The newer apk is followed here.
pub(super) fn keeper(first: &Record, second: &Record) -> Keeps {
    match (priority_over(first, second), priority_over(second, first)) {
        (Some(first), Some(second)) if first > second => Keeps::First,
        (Some(_), None) => Keeps::First,
        (_, Some(_)) => Keeps::Second,
        (None, None) if first.origin.is_some() && first.origin == second.origin => Keeps::Second,
        (None, None) => Keeps::Neither,
    }
}

/// The `replaces_priority` of a package that says it replaces this other one. `None`: it does not say so.
///
/// Only the other package's own name counts, not what it provides (`apk_dep_is_materialized`).
fn priority_over(one: &Record, other: &Record) -> Option<u32> {
    let replaces = one.replaces.iter().any(|dependency| {
        let fits = dependency.constraint.as_ref().is_none_or(|c| c.allows(&other.version, other.identity));
        dependency.name == other.name && fits != dependency.conflict
    });
    replaces.then_some(one.replaces_priority)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(name: &str, replaces: &[&str], priority: u32) -> Record {
        let mut record = Record::new(name, "1.0-r0".parse().unwrap());
        record.replaces = replaces.iter().map(|text| text.parse().unwrap()).collect();
        record.replaces_priority = priority;
        record
    }

    #[test]
    fn who_replaces_the_other_keeps_the_path_in_whichever_order() {
        let (plain, taker) = (record("a", &[], 0), record("b", &["a"], 0));
        assert_eq!(keeper(&plain, &taker), Keeps::Second);
        assert_eq!(keeper(&taker, &plain), Keeps::First);
    }

    #[test]
    fn of_two_that_replace_each_other_the_higher_priority_keeps_it() {
        let (low, high) = (record("a", &["b"], 1), record("b", &["a"], 5));
        assert_eq!(keeper(&low, &high), Keeps::Second);
        assert_eq!(keeper(&high, &low), Keeps::First);
        assert_eq!(keeper(&record("a", &["b"], 2), &record("b", &["a"], 2)), Keeps::Second);
    }

    #[test]
    fn a_version_that_is_not_meant_is_not_replaced() {
        assert_eq!(keeper(&record("a", &[], 0), &record("b", &["a<1.0"], 9)), Keeps::Neither);
        assert_eq!(keeper(&record("a", &[], 0), &record("b", &["a<1.1"], 9)), Keeps::Second);
    }

    #[test]
    fn strangers_never_share_a_path_and_siblings_may() {
        let (mut one, mut other) = (record("a", &[], 0), record("b", &[], 0));
        assert_eq!(keeper(&one, &other), Keeps::Neither);
        one.origin = Some("source".into());
        other.origin = Some("source".into());
        assert_eq!(keeper(&one, &other), Keeps::Second);
    }
}
