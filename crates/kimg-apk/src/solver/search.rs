//! The search: what to decide next, and what to take back when it leads nowhere.

use std::rc::Rc;

use super::explain::SolveError;
use super::levels::Levels;
use super::reasons;
use super::standing::{Cause, Clash, Standing, Why};
use super::state::State;
use super::universe::{PackageId, Provider, Universe};
use crate::dependency::Dependency;
use crate::version::Version;

/// Dead ends after which the search is given up. Real worlds meet none or a handful.
const DEAD_ENDS: usize = 100_000;

/// A choice that was made where there was one.
struct Decision {
    package: PackageId,
    /// How much was known before it.
    trail: usize,
    wishes: usize,
    looked_at: usize,
}

/// One search for one world.
pub(super) struct Search<'s, 'a> {
    state: State<'s, 'a>,
    world: &'s [Dependency],
    decisions: Vec<Decision>,
    /// How far the trail has been looked at for what waits for its packages.
    looked_at: usize,
    dead_ends: usize,
}

impl<'s, 'a> Search<'s, 'a> {
    pub(super) fn new(
        universe: &'s Universe<'a>,
        world: &'s [Dependency],
        prefer: &'s [(String, Version)],
    ) -> Self {
        let state = State::new(universe, world, prefer);
        Self { state, world, decisions: Vec::new(), looked_at: 0, dead_ends: 0 }
    }

    pub(super) fn run(mut self) -> Result<Vec<Picked>, SolveError> {
        if let Err(clash) = self.begin() {
            return Err(SolveError::Refused(Box::new(reasons::tell(&self.state, &clash))));
        }
        loop {
            match self.state.propagate().and_then(|()| self.step()) {
                Ok(true) => {}
                Ok(false) => return Ok(self.picked()),
                Err(clash) => self.go_back(&clash)?,
            }
        }
    }

    /// Puts the world's wishes in place. What it is against comes first: nothing is in yet.
    fn begin(&mut self) -> Result<(), Clash> {
        let nothing = Levels::default();
        self.state.forbid(self.world.iter(), None, &nothing)?;
        for wish in self.world.iter().filter(|wish| !wish.conflict) {
            self.state.want(wish, None, &nothing)?;
        }
        Ok(())
    }

    /// Makes the next decision; false when none is left to make.
    fn step(&mut self) -> Result<bool, Clash> {
        let decision = self
            .next_awaiting(Conditions::Positive)
            .map(|package| (package, Cause::InstallIf))
            .or_else(|| self.next_wish())
            .or_else(|| {
                self.looked_at = 0;
                self.next_awaiting(Conditions::All).map(|package| (package, Cause::InstallIf))
            });
        if let Some((package, cause)) = decision {
            let levels = Levels::of(self.decisions.len());
            let (trail, wishes) = (self.state.trail.len(), self.state.wishes.len());
            self.decisions.push(Decision { package, trail, wishes, looked_at: self.looked_at });
            self.state.take(package, cause, &levels)?;
            return Ok(true);
        }
        self.pick_one().map_or(Ok(false), Err)
    }

    /// The best candidate of the first wish that is not met and has a choice.
    ///
    /// Wishes for a name that packages may share come last: what is taken for others often meets them.
    fn next_wish(&self) -> Option<(PackageId, Cause)> {
        let undecided = |shared: bool| {
            self.state.wishes.iter().enumerate().filter(move |(_, wish)| wish.shared == shared).find_map(
                |(id, wish)| {
                    if wish.candidates.iter().any(|candidate| self.state.is_in(candidate.package)) {
                        return None;
                    }
                    let open = |package| self.state.is_open(package);
                    let best = wish
                        .candidates
                        .iter()
                        .find(|candidate| candidate.selectable && open(candidate.package))?;
                    Some((best.package, Cause::Wish(id)))
                },
            )
        };
        undecided(false).or_else(|| undecided(true))
    }

    /// A package whose `install_if` holds: the best one of its name.
    fn next_awaiting(&mut self, conditions: Conditions) -> Option<PackageId> {
        let universe = self.state.universe;
        while let Some(&package) = self.state.trail.get(self.looked_at) {
            if self.state.is_in(package) {
                let record = universe.packages[package].record;
                let provided = record.provides.iter().map(|provide| provide.name.as_str());
                let names = std::iter::once(record.name.as_str()).chain(provided);
                for name in names.filter_map(|name| universe.name(name)) {
                    let mut awaiting = universe.awaited_by(name).iter().copied();
                    let due = awaiting.find(|awaiting| self.is_due(*awaiting, conditions));
                    if let Some(due) = due {
                        return Some(self.best_of_its_name(due, conditions));
                    }
                }
            }
            self.looked_at += 1;
        }
        None
    }

    fn is_due(&self, package: PackageId, conditions: Conditions) -> bool {
        let wishes = &self.state.universe.packages[package].record.install_if;
        self.state.is_open(package)
            && self.state.unfit(package).is_none()
            && wishes.iter().all(|wish| {
                // What has to be absent is only known to be once nothing more comes.
                self.state.is_met(wish) != wish.conflict && (!wish.conflict || conditions == Conditions::All)
            })
    }

    fn best_of_its_name(&self, package: PackageId, conditions: Conditions) -> PackageId {
        let universe = self.state.universe;
        let name = universe.packages[package].record.name.as_str();
        let providers = universe.providers(name).iter();
        let mut due: Vec<Provider<'a>> = providers
            .filter(|provider| provider.own && self.is_due(provider.package, conditions))
            .copied()
            .collect();
        self.state.sort(name, &mut due);
        due.first().map_or(package, |best| best.package)
    }

    /// A wish that only what nobody chose could meet.
    fn pick_one(&self) -> Option<Clash> {
        let wanted = |package| {
            let mut candidates = self.state.met_by(package).flat_map(|wish| &wish.candidates);
            candidates.any(|candidate| candidate.package == package && candidate.selectable)
        };
        let id = self.state.wishes.iter().position(|wish| {
            let mut taken = wish.candidates.iter().filter(|candidate| self.state.is_in(candidate.package));
            !taken.any(|candidate| match &self.state.standing[candidate.package] {
                // What came by `install_if` alone is no choice of a person either.
                Standing::In { cause: Cause::InstallIf, .. } => {
                    candidate.selectable || wanted(candidate.package)
                }
                _ => true,
            })
        })?;
        Some(Clash::PickOne { wish: id, levels: self.state.wishes[id].levels.clone() })
    }

    /// Takes back the latest decision that had a part in the clash, and rules out what it took.
    fn go_back(&mut self, clash: &Clash) -> Result<(), SolveError> {
        let mut levels = clash.levels().clone();
        let Some(level) = levels.pop_latest() else {
            let refusal = reasons::tell_in_full(&self.state, clash).shortened();
            return Err(SolveError::Refused(Box::new(refusal)));
        };
        let refusal = reasons::tell(&self.state, clash).shortened();
        self.dead_ends += 1;
        if self.dead_ends > DEAD_ENDS {
            return Err(SolveError::GivenUp { dead_ends: DEAD_ENDS, last: Box::new(refusal) });
        }
        let decision = &self.decisions[level];
        let package = decision.package;
        self.looked_at = decision.looked_at;
        self.state.undo(decision.trail, decision.wishes);
        self.decisions.truncate(level);
        let why = Why::Failed(Rc::new(refusal));
        // It was open before the decision, so ruling it out can't clash.
        let _open = self.state.rule_out(package, || why, &levels);
        Ok(())
    }

    /// What is in, sorted by name.
    fn picked(self) -> Vec<Picked> {
        let mut picked: Vec<Picked> = self
            .state
            .trail
            .iter()
            .filter(|package| self.state.is_in(**package))
            .map(|&package| Picked {
                package,
                place: self.state.place(package),
                because: reasons::because(&self.state, package),
            })
            .collect();
        let name = |package: PackageId| &self.state.universe.packages[package].record.name;
        picked.sort_by(|a, b| name(a.package).cmp(name(b.package)));
        picked
    }
}

/// A package of the answer.
pub(super) struct Picked {
    pub(super) package: PackageId,
    /// Where to take it from: the repository, and its place there.
    pub(super) place: Option<(usize, usize)>,
    /// Who wanted it.
    pub(super) because: Vec<String>,
}

/// Which conditions of an `install_if` are looked at: those that only more packages can make true, or also those
/// that only hold once nothing more comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Conditions {
    Positive,
    All,
}
