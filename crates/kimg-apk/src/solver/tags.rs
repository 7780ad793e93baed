//! Which packages of repositories with a tag may be taken.

use std::collections::{HashMap, HashSet};

use super::universe::{NameId, PackageId, Universe};
use crate::dependency::Dependency;

impl Universe<'_> {
    /// The packages that only tagged repositories have and that a tag in `world` opens, and by which tag: what is asked
    /// for with the tag, what that may need, and what the `install_if` of all these may pull in.
    pub(super) fn unmasked<'w>(&self, world: &'w [Dependency]) -> HashMap<PackageId, &'w str> {
        let mut unmasked = HashMap::new();
        for (wish, tag) in world.iter().filter_map(|wish| Some((wish, wish.tag.as_deref()?))) {
            let mut reach = Reach { universe: self, tag, names: HashSet::new(), packages: HashSet::new() };
            let mut next: Vec<NameId> = self.name(&wish.name).into_iter().collect();
            while let Some(name) = next.pop() {
                for package in self.providers_of(name).iter().map(|provider| provider.package) {
                    next.extend(reach.step(package));
                }
            }
            let opened = reach.packages.into_iter().filter(|package| !self.packages[*package].untagged);
            for package in opened {
                unmasked.entry(package).or_insert(tag);
            }
        }
        unmasked
    }
}

/// What one tag opens.
struct Reach<'u, 'a> {
    universe: &'u Universe<'a>,
    tag: &'u str,
    /// The names that the packages answer to.
    names: HashSet<NameId>,
    packages: HashSet<PackageId>,
}

impl Reach<'_, '_> {
    /// Adds a package, if the tag allows it; the names that come into question through it.
    fn step(&mut self, package: PackageId) -> Vec<NameId> {
        let universe = self.universe;
        let allowed = universe.unmasked_anyway(package) || universe.has_tag(package, self.tag);
        if !allowed || !self.packages.insert(package) {
            return Vec::new();
        }
        let record = universe.packages[package].record;
        let needs = record.depends.iter().filter(|wish| !wish.conflict);
        let mut next: Vec<NameId> = needs.filter_map(|wish| universe.name(&wish.name)).collect();
        // What waits for a package waits for any of its names.
        let new: Vec<NameId> = universe.names_of(package).filter(|name| self.names.insert(*name)).collect();
        for waiting in new.into_iter().flat_map(|name| universe.awaited_by(name)) {
            let record = universe.packages[*waiting].record;
            if record.install_if.iter().all(|condition| condition.conflict || self.may_hold(condition)) {
                next.extend(universe.name(&record.name));
            }
        }
        next
    }

    fn may_hold(&self, condition: &Dependency) -> bool {
        let anyway = || {
            let mut providers = self.universe.providers(&condition.name).iter();
            providers.any(|provider| self.universe.unmasked_anyway(provider.package))
        };
        self.universe.name(&condition.name).is_some_and(|name| self.names.contains(&name)) || anyway()
    }
}
