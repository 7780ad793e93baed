//! Turns what the search knows into words.

use super::explain::{Objection, Refusal, Wanter};
use super::standing::{Cause, Clash, Standing, Why, WishId};
use super::state::State;
use super::universe::PackageId;

/// How many candidates for a wish are told of.
const TOLD: usize = 8;

/// Who wanted a package that is in; sorted.
pub(super) fn because(state: &State<'_, '_>, package: PackageId) -> Vec<String> {
    let mut because: Vec<String> = state
        .met_by(package)
        .map(|wish| match wish.by {
            None => format!("world: {}", wish.dependency),
            Some(by) => format!("{} needs {}", state.universe.packages[by].record.name, wish.dependency),
        })
        .collect();
    if matches!(state.standing[package], Standing::In { cause: Cause::InstallIf, .. }) {
        let conditions = &state.universe.packages[package].record.install_if;
        let conditions: Vec<String> = conditions.iter().map(ToString::to_string).collect();
        because.push(format!("install_if: {}", conditions.join(" ")));
    }
    because.sort();
    because.dedup();
    because
}

/// Tells why it can't go on.
pub(super) fn tell(state: &State<'_, '_>, clash: &Clash) -> Refusal {
    match clash {
        Clash::NoneLeft { wish, .. } => none_left(state, *wish),
        Clash::Against { package, why, .. } => {
            Refusal::Against { package: wanter(state, *package), objection: objection(state, why) }
        }
        Clash::PickOne { wish, .. } => pick_one(state, *wish),
    }
}

/// Nothing is left for a wish but what a person has to choose.
fn pick_one(state: &State<'_, '_>, wish: WishId) -> Refusal {
    let entry = &state.wishes[wish];
    let record = |package: PackageId| state.universe.packages[package].record;
    if entry.candidates.iter().any(|candidate| candidate.selectable) {
        let told = |package| match &state.standing[package] {
            Standing::Out { why, .. } => (record(package).id(), objection(state, why)),
            _ => (record(package).id(), Objection::NotByItself),
        };
        let candidates =
            entry.candidates.iter().take(TOLD).map(|candidate| told(candidate.package)).collect();
        let more = entry.candidates.len().saturating_sub(TOLD);
        return Refusal::NoneFits { wish: wanted(state, wish), candidates, more };
    }
    let mut providers: Vec<String> =
        entry.candidates.iter().map(|candidate| record(candidate.package).name.clone()).collect();
    providers.sort();
    providers.dedup();
    Refusal::PickOne { wish: wanted(state, wish), name: entry.dependency.name.clone(), providers }
}

/// Tells why there is no answer at all: also of what was tried before the last way that was left.
pub(super) fn tell_in_full(state: &State<'_, '_>, clash: &Clash) -> Refusal {
    let mut refusal = tell(state, clash);
    let mut next = match clash {
        Clash::NoneLeft { wish, .. } | Clash::PickOne { wish, .. } => state.wishes[*wish].by,
        Clash::Against { package, .. } => Some(*package),
    };
    while let Some(package) = next {
        let Standing::In { cause: Cause::Wish(id), .. } = state.standing[package] else { break };
        let wish = &state.wishes[id];
        let ruled_out = |other: PackageId| match &state.standing[other] {
            Standing::Out { why, .. } => Some(why),
            _ => None,
        };
        let others = wish.candidates.iter().map(|candidate| candidate.package);
        if others.clone().any(|other| matches!(ruled_out(other), Some(Why::Failed(_)))) {
            let name_of = |package: PackageId| state.universe.packages[package].record.id();
            let told = others.filter_map(|other| Some((name_of(other), objection(state, ruled_out(other)?))));
            let mut candidates: Vec<_> = told.take(TOLD - 1).collect();
            let more = wish.candidates.len() - 1 - candidates.len();
            candidates.push((name_of(package), Objection::Failed(Box::new(refusal))));
            refusal = Refusal::NoneFits { wish: wanted(state, id), candidates, more };
        }
        next = wish.by;
    }
    refusal
}

fn none_left(state: &State<'_, '_>, wish: WishId) -> Refusal {
    let universe = state.universe;
    let entry = &state.wishes[wish];
    let name = &entry.dependency.name;
    let providers = universe.providers(name);
    if providers.is_empty() {
        return Refusal::Nobody {
            wish: wanted(state, wish),
            name: name.clone(),
            near: super::near::names(universe, name),
            unusable: universe.unusable(name),
        };
    }
    let candidates = providers
        .iter()
        .take(TOLD)
        .map(|provider| {
            let package = &universe.packages[provider.package];
            let only_installed = if package.places().next().is_none() { " (installed)" } else { "" };
            let id = format!("{}{only_installed}", package.record.id());
            let met = universe.meets(provider, entry.dependency);
            let why = match &state.standing[provider.package] {
                Standing::Out { why, .. } if met => objection(state, why),
                _ => Objection::OtherVersion(match (provider.own, provider.version) {
                    (true, _) => None,
                    (false, None) => Some(format!("{name} without a version")),
                    (false, Some(version)) => Some(format!("{name}={version}")),
                }),
            };
            (id, why)
        })
        .collect();
    Refusal::NoneFits { wish: wanted(state, wish), candidates, more: providers.len().saturating_sub(TOLD) }
}

fn objection(state: &State<'_, '_>, why: &Why) -> Objection {
    let from = |by: &Option<PackageId>| by.map_or_else(Wanter::world, |by| wanter(state, by));
    match why {
        Why::Owned { by, name } => Objection::Owned { name: name.clone(), by: wanter(state, *by) },
        Why::Conflict { by, wish } | Why::OtherVersion { by, wish } => {
            Objection::Wish { wish: wish.clone(), by: from(by) }
        }
        Why::Masked => Objection::Masked,
        Why::Itself { name } => Objection::Itself { name: name.clone() },
        Why::Failed(refusal) => Objection::Failed(Box::new(Refusal::clone(refusal))),
    }
}

/// A wish with all that led to it.
fn wanted(state: &State<'_, '_>, wish: WishId) -> (String, Wanter) {
    let entry = &state.wishes[wish];
    (entry.dependency.to_string(), entry.by.map_or_else(Wanter::world, |by| wanter(state, by)))
}

/// A package with all that led to it, up to the world.
fn wanter(state: &State<'_, '_>, package: PackageId) -> Wanter {
    let mut chain = Vec::new();
    let mut next = Some(package);
    while let Some(package) = next {
        chain.push(state.universe.packages[package].record.id());
        next = match &state.standing[package] {
            Standing::In { cause: Cause::Wish(wish), .. } => state.wishes[*wish].by,
            Standing::In { cause: Cause::InstallIf, .. } => {
                chain.push("install_if".to_owned());
                return Wanter(chain);
            }
            _ => return Wanter(chain),
        };
    }
    chain.push("world".to_owned());
    Wanter(chain)
}
