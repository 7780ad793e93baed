//! Which of several candidates for a wanted name is the best one.

use std::cmp::Ordering;
use std::collections::HashSet;

use super::universe::{Provider, Universe};
use crate::version::Version;

/// What a name is wanted with, besides what any candidate must meet.
#[derive(Clone, Copy)]
pub(super) struct Wanted<'w> {
    /// The tag of the wish.
    pub(super) tag: Option<&'w str>,
    /// Packages to keep where that is allowed.
    pub(super) prefer: &'w [(String, Version)],
}

/// Puts the best candidate first. A package is there once, with its best answer to the name.
///
/// The best one is found as apk finds it: in the order in which the candidates were read, each beside the
/// best so far, which stays where neither is better. That matters, because apk's order can go round in a
/// circle: where one of two has the name without a version, the versions don't count. The second is the best
/// of those left, and so on.
pub(super) fn sort<'a>(universe: &Universe<'a>, candidates: &mut Vec<Provider<'a>>, wanted: &Wanted<'_>) {
    if candidates.len() < 2 {
        return;
    }
    let mut left: Vec<Ranked<'a>> =
        candidates.drain(..).map(|candidate| Ranked::new(universe, candidate, wanted)).collect();
    let mut seen = HashSet::with_capacity(left.len());
    while !left.is_empty() {
        let better = |best: usize, place: usize| match left[place].cmp_to(&left[best]) {
            Ordering::Greater => place,
            _ => best,
        };
        let best = (1..left.len()).fold(0, better);
        let best = left.remove(best).provider;
        if seen.insert(best.package) {
            candidates.push(best);
        }
    }
}

/// A candidate with all that its order depends on. Greater is better.
struct Ranked<'a> {
    provider: Provider<'a>,
    rank: Rank,
    name: &'a str,
    version: &'a Version,
    priority: u32,
    /// The first repository that has it; none for what is only installed.
    repository: Option<usize>,
}

/// What comes before all else, one after the other: that it may be taken for the name at all; that it is from the
/// repository asked for by tag; from one without a tag; to be kept; installed.
type Rank = [bool; 5];

impl<'a> Ranked<'a> {
    fn new(universe: &Universe<'a>, provider: Provider<'a>, wanted: &Wanted<'_>) -> Self {
        let package = &universe.packages[provider.package];
        let record = package.record;
        let same = |(name, version): &(String, Version)| {
            *name == record.name && version.as_str() == record.version.as_str()
        };
        let by_itself = provider.version.is_some() || record.provider_priority > 0;
        let tagged = wanted.tag.is_some_and(|tag| universe.has_tag(provider.package, tag));
        let preferred = wanted.prefer.iter().any(same);
        Self {
            provider,
            rank: [by_itself, tagged, package.untagged, preferred, package.installed.is_some()],
            name: &record.name,
            version: &record.version,
            priority: record.provider_priority,
            repository: package.places().next().map(|(repository, _)| repository),
        }
    }

    fn cmp_to(&self, other: &Self) -> Ordering {
        let of_the_name = || match (self.provider.version, other.provider.version) {
            (Some(own), Some(theirs)) => own.cmp(theirs),
            _ => Ordering::Equal,
        };
        let of_the_package = || {
            if self.name == other.name { self.version.cmp(other.version) } else { Ordering::Equal }
        };
        self.rank
            .cmp(&other.rank)
            .then_with(of_the_name)
            .then_with(of_the_package)
            .then_with(|| self.priority.cmp(&other.priority))
            .then_with(|| other.repository.cmp(&self.repository))
    }
}
