//! What becomes of a root that holds packages already.

use super::search::Picked;
use super::universe::Universe;
use super::{Chosen, chosen};

/// What to do to a root with packages so that it has what is wanted. All sorted by name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Onto {
    /// What is installed and stays.
    pub kept: Vec<Kept>,
    /// What is to be fetched: what is new, and what takes the place of another version that is installed.
    pub fetched: Vec<Chosen>,
    /// What is installed and goes, by its place in the list given: nothing wants it any more, or something else
    /// takes its place.
    pub gone: Vec<usize>,
}

/// An installed package that stays.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// Its place in the list given.
    pub installed: usize,
    /// Who wants it, as in [`Chosen::because`].
    pub because: Vec<String>,
}

impl Onto {
    pub(super) fn of(universe: &Universe<'_>, picked: Vec<Picked>) -> Self {
        let mut onto = Self::default();
        for picked in picked {
            match universe.packages[picked.package].installed {
                Some(installed) => onto.kept.push(Kept { installed, because: picked.because }),
                None => onto.fetched.extend(chosen(universe, picked)),
            }
        }
        let kept: std::collections::HashSet<usize> = onto.kept.iter().map(|kept| kept.installed).collect();
        onto.gone = (0..universe.installed.len()).filter(|place| !kept.contains(place)).collect();
        onto.gone.sort_by(|a, b| universe.installed[*a].record.name.cmp(&universe.installed[*b].record.name));
        onto
    }
}
