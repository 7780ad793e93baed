//! Which of several candidates for a wanted name is the best one.

use std::cmp::{Ordering, Reverse};
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
/// apk compares two at a time, by priority where one of them has the name without a version and by version where both
/// have one; with three that can go round in a circle. Here the order is always the same one: those with a version
/// and those without are ordered apart, and the two rows are joined by priority. In the same way the versions of one
/// package are compared among themselves, and only the newest of them with other packages.
pub(super) fn sort<'a>(universe: &Universe<'a>, candidates: &mut Vec<Provider<'a>>, wanted: &Wanted<'_>) {
    if candidates.len() < 2 {
        return;
    }
    let (mut versioned, mut shared): (Vec<Ranked<'a>>, Vec<Ranked<'a>>) = candidates
        .iter()
        .map(|candidate| Ranked::new(universe, *candidate, wanted))
        .partition(|ranked| ranked.provider.version.is_some());
    order(&mut versioned);
    order(&mut shared);
    candidates.clear();
    let mut seen = HashSet::with_capacity(versioned.len() + shared.len());
    let (mut versioned, mut shared) = (versioned.iter().peekable(), shared.iter().peekable());
    while let Some(best) = match (versioned.peek(), shared.peek()) {
        (Some(a), Some(b)) if (b.rank, b.priority) > (a.rank, a.priority) => shared.next(),
        (Some(_), _) => versioned.next(),
        (None, _) => shared.next(),
    } {
        if seen.insert(best.provider.package) {
            candidates.push(best.provider);
        }
    }
}

/// Puts the best first, among candidates that all have a version or all have none.
fn order(row: &mut [Ranked<'_>]) {
    let within = |a: &Ranked<'_>, b: &Ranked<'_>| {
        b.version.cmp(a.version).then_with(|| b.standing().cmp(&a.standing()))
    };
    let class = |a: &Ranked<'_>, b: &Ranked<'_>| b.class().cmp(&a.class());
    row.sort_by(|a, b| class(a, b).then_with(|| a.name.cmp(b.name)).then_with(|| within(a, b)));
    let mut newest = 0;
    for place in 0..row.len() {
        if class(&row[newest], &row[place]) != Ordering::Equal || row[newest].name != row[place].name {
            newest = place;
        }
        row[place].group = row[newest].standing();
    }
    row.sort_by(|a, b| {
        let groups = || b.group.cmp(&a.group).then_with(|| a.name.cmp(b.name));
        class(a, b).then_with(groups).then_with(|| within(a, b))
    });
}

/// A candidate with all that its order depends on. Greater is better.
struct Ranked<'a> {
    provider: Provider<'a>,
    rank: Rank,
    name: &'a str,
    version: &'a Version,
    priority: u32,
    place: (usize, usize),
    group: Standing,
}

/// What comes before all else: from the repository asked for by tag, or from one without a tag, or to be kept.
type Rank = (bool, bool, bool);

/// How a package stands to those of other names: its priority, whether the name is its own, the place it comes from.
type Standing = (u32, bool, Reverse<(usize, usize)>);

impl<'a> Ranked<'a> {
    fn new(universe: &Universe<'a>, provider: Provider<'a>, wanted: &Wanted<'_>) -> Self {
        let package = &universe.packages[provider.package];
        let record = package.record;
        let same = |(name, version): &(String, Version)| {
            *name == record.name && version.as_str() == record.version.as_str()
        };
        let tagged = wanted.tag.is_some_and(|tag| universe.has_tag(provider.package, tag));
        let mut ranked = Self {
            provider,
            rank: (tagged, package.untagged, wanted.prefer.iter().any(same)),
            name: &record.name,
            version: &record.version,
            priority: record.provider_priority,
            place: package.places[0],
            group: Standing::default(),
        };
        ranked.group = ranked.standing();
        ranked
    }

    /// What decides between any two candidates of a row, whatever their names.
    fn class(&self) -> (Rank, Option<&'a Version>) {
        (self.rank, self.provider.version)
    }

    fn standing(&self) -> Standing {
        (self.priority, self.provider.own, Reverse(self.place))
    }
}
