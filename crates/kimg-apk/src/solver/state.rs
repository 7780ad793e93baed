//! What the search knows at one moment: what is in, what is out, what is still wanted, and why.

use std::collections::HashMap;

use super::levels::Levels;
use super::preference::{self, Wanted};
use super::standing::{Candidate, Cause, Clash, Standing, Why, Wish, WishId};
use super::universe::{PackageId, Provider, Universe};
use crate::dependency::Dependency;
use crate::version::Version;

/// All of it. Everything is undone in the opposite order of its doing.
pub(super) struct State<'s, 'a> {
    pub(super) universe: &'s Universe<'a>,
    prefer: &'s [(String, Version)],
    /// The tags that the world asks for, by name.
    pins: Vec<(&'s str, &'s str)>,
    /// Packages that only tagged repositories have and that may be taken nevertheless, and by which tag.
    unmasked: HashMap<PackageId, &'s str>,
    pub(super) standing: Vec<Standing>,
    /// What is no longer open, in the order it came so.
    pub(super) trail: Vec<PackageId>,
    pub(super) wishes: Vec<Wish<'s>>,
    /// The wishes that each package is a candidate for.
    watched: Vec<Vec<WishId>>,
    /// Wishes to look at again.
    pub(super) due: Vec<WishId>,
}

impl<'s, 'a> State<'s, 'a> {
    pub(super) fn new(
        universe: &'s Universe<'a>,
        world: &'s [Dependency],
        prefer: &'s [(String, Version)],
    ) -> Self {
        let count = universe.packages.len();
        let pins = world
            .iter()
            .filter(|wish| !wish.conflict)
            .filter_map(|wish| Some((wish.name.as_str(), wish.tag.as_deref()?)))
            .collect();
        Self {
            universe,
            prefer,
            unmasked: universe.unmasked(world),
            pins,
            standing: vec![Standing::Open; count],
            trail: Vec::new(),
            wishes: Vec::new(),
            watched: vec![Vec::new(); count],
            due: Vec::new(),
        }
    }

    pub(super) fn is_in(&self, package: PackageId) -> bool {
        matches!(self.standing[package], Standing::In { .. })
    }

    pub(super) fn is_open(&self, package: PackageId) -> bool {
        matches!(self.standing[package], Standing::Open)
    }

    /// The tag that the world asks for this name with.
    pub(super) fn pin(&self, name: &str) -> Option<&'s str> {
        self.pins.iter().find(|(pinned, _)| *pinned == name).map(|(_, tag)| *tag)
    }

    /// Where to take a package from; none for what is only installed.
    pub(super) fn place(&self, package: PackageId) -> Option<(usize, usize)> {
        let record = self.universe.packages[package].record;
        let tag = self.pin(&record.name).or_else(|| self.unmasked.get(&package).copied());
        self.universe.place(package, tag)
    }

    /// Puts the best candidate for `name` first.
    pub(super) fn sort(&self, name: &str, candidates: &mut Vec<Provider<'a>>) {
        preference::sort(self.universe, candidates, &Wanted { tag: self.pin(name), prefer: self.prefer });
    }

    /// Takes a package, with all that follows at once.
    pub(super) fn take(&mut self, package: PackageId, cause: Cause, levels: &Levels) -> Result<(), Clash> {
        self.standing[package] = Standing::In { cause, levels: levels.clone() };
        self.trail.push(package);
        let universe = self.universe;
        let record = universe.packages[package].record;
        for name in universe.owned(package) {
            for other in universe.providers_of(name) {
                if other.version.is_some() && other.package != package {
                    let why = || Why::Owned { by: package, name: universe.name_of(name).to_owned() };
                    self.rule_out(other.package, why, levels)?;
                }
            }
        }
        if matches!(cause, Cause::InstallIf) {
            self.forbid(record.install_if.iter(), Some(package), levels)?;
        }
        self.forbid(record.depends.iter(), Some(package), levels)?;
        for wish in record.depends.iter().filter(|wish| !wish.conflict) {
            self.want(wish, Some(package), levels)?;
        }
        Ok(())
    }

    /// Rules out what the conflicts among `wishes` are against.
    pub(super) fn forbid(
        &mut self,
        wishes: impl Iterator<Item = &'s Dependency>,
        by: Option<PackageId>,
        levels: &Levels,
    ) -> Result<(), Clash> {
        let universe = self.universe;
        for wish in wishes.filter(|wish| wish.conflict) {
            for provider in universe.providers(&wish.name) {
                if Some(provider.package) != by && universe.meets(provider, wish) {
                    let why = || Why::Conflict { by, wish: wish.to_string() };
                    self.rule_out(provider.package, why, levels)?;
                }
            }
        }
        Ok(())
    }

    /// Adds a wish, and rules out the versions of its name that can't be beside what meets it.
    pub(super) fn want(
        &mut self,
        wish: &'s Dependency,
        by: Option<PackageId>,
        levels: &Levels,
    ) -> Result<(), Clash> {
        let universe = self.universe;
        let providers = universe.providers(&wish.name);
        let mut found: Vec<Provider<'a>> =
            providers.iter().filter(|provider| universe.meets(provider, wish)).copied().collect();
        self.sort(&wish.name, &mut found);
        for provider in &found {
            if let Some(why) = self.unfit(provider.package) {
                self.rule_out(provider.package, || why, &Levels::default())?;
            }
        }
        let selectable = |provider: &Provider<'_>| {
            let record = universe.packages[provider.package].record;
            // A name with a single provider leaves nothing to choose: up to Alpine 3.16 busybox alone has /bin/sh.
            // What says itself when it wants to come (`install_if`) waits for that.
            let only = universe.only_provider(&wish.name) && record.install_if.is_empty();
            provider.version.is_some() || only || record.provider_priority > 0
        };
        let candidates: Vec<Candidate> = found
            .iter()
            .map(|provider| Candidate { package: provider.package, selectable: selectable(provider) })
            .collect();
        let id = self.wishes.len();
        for candidate in &candidates {
            self.watched[candidate.package].push(id);
        }
        let shared = found.iter().any(|provider| provider.version.is_none());
        self.wishes.push(Wish { dependency: wish, by, candidates, shared, levels: levels.clone() });
        self.due.push(id);
        if wish.constraint.is_some() {
            for provider in providers {
                if provider.version.is_some() && !found.iter().any(|other| other.package == provider.package)
                {
                    let why = || Why::OtherVersion { by, wish: wish.to_string() };
                    self.rule_out(provider.package, why, levels)?;
                }
            }
        }
        Ok(())
    }

    /// Why a package could never be taken, whatever else is.
    pub(super) fn unfit(&self, package: PackageId) -> Option<Why> {
        if !self.is_open(package) {
            return None;
        }
        if !self.universe.unmasked_anyway(package) && !self.unmasked.contains_key(&package) {
            return Some(Why::Masked);
        }
        self.universe.claimed_twice(package).map(|name| Why::Itself { name: name.to_owned() })
    }

    /// Says that a package can't be taken.
    pub(super) fn rule_out(
        &mut self,
        package: PackageId,
        why: impl FnOnce() -> Why,
        levels: &Levels,
    ) -> Result<(), Clash> {
        match &self.standing[package] {
            Standing::Out { .. } => Ok(()),
            Standing::In { levels: taken, .. } => {
                let mut levels = levels.clone();
                levels.add(taken);
                Err(Clash::Against { package, why: why(), levels })
            }
            Standing::Open => {
                self.standing[package] = Standing::Out { why: why(), levels: levels.clone() };
                self.trail.push(package);
                self.due.extend_from_slice(&self.watched[package]);
                Ok(())
            }
        }
    }

    /// Follows what can't be otherwise, until nothing more follows.
    pub(super) fn propagate(&mut self) -> Result<(), Clash> {
        let mut next = 0;
        while let Some(&wish) = self.due.get(next) {
            next += 1;
            if let Some((package, levels)) = self.only_way(wish)? {
                self.take(package, Cause::Wish(wish), &levels)?;
            }
        }
        self.due.clear();
        Ok(())
    }

    /// The one package left that meets a wish, if it is not met and only one is left.
    fn only_way(&self, id: WishId) -> Result<Option<(PackageId, Levels)>, Clash> {
        let wish = &self.wishes[id];
        let mut levels = wish.levels.clone();
        let mut open = None;
        for candidate in &wish.candidates {
            match &self.standing[candidate.package] {
                Standing::Open if open.is_none() => open = Some(candidate),
                Standing::In { .. } | Standing::Open => return Ok(None),
                Standing::Out { levels: out, .. } => levels.add(out),
            }
        }
        match open {
            None => Err(Clash::NoneLeft { wish: id, levels }),
            Some(candidate) if candidate.selectable => Ok(Some((candidate.package, levels))),
            Some(_) => Ok(None),
        }
    }

    /// Goes back to when the trail and the wishes had these lengths.
    pub(super) fn undo(&mut self, trail: usize, wishes: usize) {
        for package in self.trail.drain(trail..) {
            self.standing[package] = Standing::Open;
        }
        while self.wishes.len() > wishes {
            for candidate in self.wishes.pop().map(|wish| wish.candidates).unwrap_or_default() {
                self.watched[candidate.package].pop();
            }
        }
        self.due.clear();
    }

    /// The wishes that a package meets.
    pub(super) fn met_by(&self, package: PackageId) -> impl Iterator<Item = &Wish<'s>> {
        self.watched[package].iter().map(|wish| &self.wishes[*wish])
    }

    /// Whether packages that are in meet this wish (its `!` left aside).
    pub(super) fn is_met(&self, wish: &Dependency) -> bool {
        let providers = self.universe.providers(&wish.name);
        providers.iter().any(|provider| self.is_in(provider.package) && self.universe.meets(provider, wish))
    }
}
