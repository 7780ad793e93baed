//! Which packages to take: from what is wanted and what repositories offer to one set that fits together.
//!
//! The choice is meant to be the one that `apk add` makes on an empty root with the same repositories:
//!
//! 1. What can't be otherwise is taken first: a wish that only one package can meet, all that such a package needs,
//!    and what `install_if` asks for once its conditions are in. An `install_if` that can't be met is let go.
//! 2. Where several packages would do, the best one is tried first: from a repository with the tag that was asked
//!    for, or else from one without a tag; one that the caller prefers (locked, installed); the newer version *of the
//!    wanted name*, whoever has it; the higher `provider_priority`; the package of that very name; the repository
//!    listed first. What has the name without a version competes by priority alone, and comes last without one.
//! 3. What only shares a name (no version) and has no priority is not taken for that name, unless it is the only one
//!    that has it: a person has to choose. It does count once it is in for another reason.
//! 4. A choice that leads nowhere is taken back, together with all later ones that had no part in the failure, and
//!    the next best is tried (conflict-directed backjumping). Some wishes that apk refuses are met so, such as one
//!    for a name whose newest package needs something that nobody has.
//!
//! Where apk 2.12 and its own later cases differ, the cases hold: 2.12 misses an `install_if` whose conditions come in
//! only because others need them, and one with `!name` among its conditions. And 2.12 may decide about a shared name
//! before it knows that another package in the set has it too, and so take one more (`kde-applications-pim` of
//! Alpine 3.19: gnome-keyring beside kwallet5).
//!
//! # Why not a ready-made solver
//! `resolvo` and `pubgrub` were considered. Both know one package per name and an order of its candidates. A name here
//! has packages of other names among its candidates, ordered together; may have one owner and any number of packages
//! beside that share it; some candidates count but may not be chosen (3.); and `install_if` is a wish that holds
//! only as long as it can be met. All but the first could be rebuilt with virtual packages, but the *order* in which
//! names are decided, which decides who yields when two newest versions don't fit, is theirs and not apk's.
//!
//! | file | holds |
//! | --- | --- |
//! | `universe` | packages and names of all repositories, who provides what, what tags allow |
//! | `preference` | which of two candidates is the better one |
//! | `standing`, `state` | what is in, what is out, why; what follows from it |
//! | `search` | what to decide next, and going back |
//! | `levels` | sets of decisions |
//! | `explain`, `reasons`, `near` | [`SolveError`], how it is told, and from what |

mod explain;
mod levels;
mod near;
mod preference;
mod reasons;
mod search;
mod standing;
mod state;
mod universe;

use std::sync::Arc;

pub use explain::{Objection, Refusal, SolveError, Wanter};

use crate::dependency::Dependency;
use crate::index::Index;
use crate::record::Record;
use crate::version::Version;
use search::Search;
use universe::Universe;

/// One repository for one architecture, in the order of preference of its list.
#[derive(Debug, Clone)]
pub struct Repository {
    /// What messages call it.
    pub name: String,
    /// With a tag it serves only what is asked for with this tag, and what that needs.
    pub tag: Option<String>,
    /// What it offers.
    pub index: Arc<Index>,
}

/// A package that was chosen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chosen {
    /// The repository to take it from, by its place in the list given.
    pub repository: usize,
    /// Its place among that repository's packages.
    pub package: usize,
    /// What the index says of it.
    pub record: Record,
    /// Who wanted it, such as `world: cmd:mount` or `util-linux needs so:libmount.so.1`; sorted.
    pub because: Vec<String>,
}

/// A set of packages that fits together.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Solution {
    /// The packages, sorted by name.
    pub packages: Vec<Chosen>,
}

impl Solution {
    /// The chosen package of this name.
    pub fn get(&self, name: &str) -> Option<&Chosen> {
        let place = self.packages.binary_search_by(|chosen| chosen.record.name.as_str().cmp(name));
        place.ok().map(|place| &self.packages[place])
    }
}

/// Repositories made ready for any number of questions.
///
/// ```
/// use std::sync::Arc;
/// use kimg_apk::{Index, Limits, Repository, Solver};
///
/// let index = Index::parse(b"P:app\nV:2-r0\nD:cmd:sh\n\nP:dash\nV:0.5-r0\np:cmd:sh=0.5-r0\n", &Limits::default())?;
/// let repositories = [Repository { name: "main".into(), tag: None, index: Arc::new(index) }];
/// let solution = Solver::new(&repositories).solve(&["app".parse()?], &[])?;
/// assert_eq!(solution.get("dash").map(|dash| dash.because.join(", ")).as_deref(), Some("app needs cmd:sh"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Solver<'a> {
    universe: Universe<'a>,
}

impl<'a> Solver<'a> {
    /// Makes these repositories ready.
    pub fn new(repositories: &'a [Repository]) -> Self {
        Self { universe: Universe::new(repositories, None) }
    }

    /// The same, with packages of other architectures than `arch` (Alpine's name) and `noarch` left aside.
    pub fn for_arch(repositories: &'a [Repository], arch: &'a str) -> Self {
        Self { universe: Universe::new(repositories, Some(arch)) }
    }

    /// The packages that meet `world`, the ones in `prefer` kept wherever that is allowed.
    ///
    /// The same question has the same answer, always.
    ///
    /// # Errors
    /// When there is no such set: who wants what, and who stands against it.
    pub fn solve(&self, world: &[Dependency], prefer: &[(String, Version)]) -> Result<Solution, SolveError> {
        Search::new(&self.universe, world, prefer).run()
    }

    /// Everything that meets `wish`, the best first, with the number of its repository.
    pub fn providers(&self, wish: &Dependency) -> Vec<(usize, &'a Record)> {
        self.universe.providers_in_order(wish)
    }
}

/// [`Solver::solve`] for a single question.
pub fn solve(
    repositories: &[Repository],
    world: &[Dependency],
    prefer: &[(String, Version)],
) -> Result<Solution, SolveError> {
    Solver::new(repositories).solve(world, prefer)
}

/// [`Solver::providers`] for a single question.
pub fn providers<'a>(repositories: &'a [Repository], wish: &Dependency) -> Vec<(usize, &'a Record)> {
    Solver::new(repositories).providers(wish)
}
