//! Which packages to take: from what is wanted and what repositories offer to one set that fits together.
//!
//! The choice is the one that `apk add` makes with the same repositories, on an empty root
//! ([`Solver::solve`]) or on one that holds packages ([`Solver::solve_onto`]):
//!
//! 1. What can't be otherwise is taken first: a wish that only one package can meet, all that such a package needs,
//!    and what `install_if` asks for once its conditions are in. An `install_if` that can't be met is let go.
//! 2. Where several packages would do, the best one is tried first: from a repository with the tag that was asked
//!    for, or else from one without a tag; one that the caller prefers (locked), then one that is installed; the newer
//!    version *of the wanted name*, whoever has it; the newer version of the same package; the higher
//!    `provider_priority`; the repository listed first; what stands first in its index. Where one of two has the name
//!    without a version, versions don't count between them.
//! 3. What only shares a name (no version) and has no priority is not taken for that name, unless it is the only one
//!    that has it: a person has to choose. It does count once it is in for another reason.
//! 4. A choice that leads nowhere is taken back, together with all later ones that had no part in the failure, and
//!    the next best is tried (conflict-directed backjumping).
//!
//! # How that is held against apk
//! By apk-tools' own cases, which are those of apk 3 (`tests/solver_cases.rs`), and by the real apk 2.12.7
//! over worlds drawn by lot: thousands over Alpine's own indexes, hundreds on roots with packages, thousands
//! over made repositories (`tests/solver_worlds.rs`). What differs from 2.12.7, by name:
//!
//! - **A missed `install_if`** (apk 3's cases `installif6`, `installif8`, `installif10`): 2.12 looks at an `install_if`
//!   only if something *names* one of its conditions, and not when they come in as `so:…` or `cmd:…`; and never at one
//!   with `!name` among its conditions, or one that a package of another name meets. `alsa-plugins-pulse`,
//!   `qt5-qtwayland` or `libcanberra-alsa` of Alpine 3.19 are missed so in one world of twenty. Told to look, by the
//!   conditions or the package in the world, 2.12 takes them too.
//! - **A refusal without need**: neither apk takes a choice back (4.). Of the worlds over Alpine none is such
//!   a case: it takes a newest package that needs what nobody has, or a package that needs another version of
//!   itself.
//! - **A shared name decided too early**: 2.12 may take one more package for a shared name that another package in
//!   the set has too (gnome-keyring beside kwallet5 in `kde-applications-pim` of Alpine 3.19). One drawn world of two
//!   thousand is such a case.
//! - **Another one yields**: where the newest versions of two wishes don't fit beside each other, the one decided about
//!   first stays. apk 2.12 begins with the longest chain of dependencies, apk 3 with what it found last, and this with
//!   the first wish. No drawn world over Alpine is such a case; of those over made repositories a few are.
//! - **A sole provider with an `install_if`** is not taken for a shared name (`provides14`), and **a package
//!   that excludes a name and has it itself** is not against itself (`provides19`): as in apk 3.
//! - **An installed provider that doesn't yield** to a package that the world names (`conflict3`, `provides18`).
//!
//! From apk 3 two things are left out: it doesn't take the sole provider of a shared name either (Alpine 3.19
//! was made for an apk that does), and a package of installed size 0 needs no tag there.
//!
//! # Why not a ready-made solver
//! `resolvo` and `pubgrub` were considered. Both know one package per name and an order of its candidates. A
//! name here has packages of other names among its candidates, ordered together, in an order that is not
//! transitive; may have one owner and any number of packages beside that share it; some candidates count but
//! may not be chosen (3.); and `install_if` is a wish that holds only as long as it can be met. All but the
//! first could be rebuilt with virtual packages, but the *order* in which names are decided, which decides
//! who yields when two newest versions don't fit, is theirs and not apk's. Nor is apk's own way taken, which
//! decides name after name and never goes back: its answers are the same, and its refusals say less.
//!
//! | file | holds |
//! | --- | --- |
//! | `universe` | packages and names of all repositories, who provides what |
//! | `tags` | what a tag in the world opens |
//! | `preference` | which of two candidates is the better one |
//! | `standing`, `state` | what is in, what is out, why; what follows from it |
//! | `search` | what to decide next, and going back |
//! | `levels` | sets of decisions |
//! | `onto` | the answer for a root with packages |
//! | `explain`, `reasons`, `near` | [`SolveError`], how it is told, and from what |

mod explain;
mod levels;
mod near;
mod onto;
mod preference;
mod reasons;
mod search;
mod standing;
mod state;
mod tags;
mod universe;

use std::sync::Arc;

pub use explain::{Objection, Refusal, SolveError, Wanter};
pub use onto::{Kept, Onto};

use crate::dependency::Dependency;
use crate::index::Index;
use crate::installed_package::InstalledPackage;
use crate::record::Record;
use crate::version::Version;
use search::{Picked, Search};
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
    repositories: &'a [Repository],
    arch: Option<&'a str>,
    universe: Universe<'a>,
}

impl<'a> Solver<'a> {
    /// Makes these repositories ready.
    pub fn new(repositories: &'a [Repository]) -> Self {
        Self { repositories, arch: None, universe: Universe::new(repositories, None, &[]) }
    }

    /// The same, with packages of other architectures than `arch` (Alpine's name) and `noarch` left aside.
    pub fn for_arch(repositories: &'a [Repository], arch: &'a str) -> Self {
        Self { repositories, arch: Some(arch), universe: Universe::new(repositories, Some(arch), &[]) }
    }

    /// The packages that meet `world`, the ones in `prefer` kept wherever that is allowed.
    ///
    /// The same question has the same answer, always.
    ///
    /// # Errors
    /// When there is no such set: who wants what, and who stands against it.
    pub fn solve(&self, world: &[Dependency], prefer: &[(String, Version)]) -> Result<Solution, SolveError> {
        let picked = Search::new(&self.universe, world, prefer).run()?;
        Ok(Solution {
            packages: picked.into_iter().filter_map(|picked| chosen(&self.universe, picked)).collect(),
        })
    }

    /// What to do to a root with these packages so that it meets `world`, as `apk add` does it there.
    ///
    /// What is installed stays wherever that is allowed, in front of newer versions of it, but behind what is in
    /// `prefer`; it may be what no repository offers any more. `world` is all that the root is to meet, also what it
    /// was made for ([`read_world`](crate::read_world) of its `etc/apk/world`): what nothing in it needs goes.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use kimg_apk::{Index, Limits, Repository, Solver, read_installed_db};
    ///
    /// let installed = read_installed_db(b"P:musl\nV:1.2.3-r0\n\nP:left\nV:1-r0\n", &Limits::default())?;
    /// let index = Index::parse(b"P:musl\nV:1.2.4-r0\n\nP:app\nV:2-r0\nD:musl\n", &Limits::default())?;
    /// let repositories = [Repository { name: "main".into(), tag: None, index: Arc::new(index) }];
    /// let onto = Solver::new(&repositories).solve_onto(&installed, &["app".parse()?], &[])?;
    /// assert_eq!(installed[onto.kept[0].installed].record.id(), "musl-1.2.3-r0");
    /// assert_eq!(onto.fetched[0].record.id(), "app-2-r0");
    /// assert_eq!(installed[onto.gone[0]].record.id(), "left-1-r0");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// When there is no such set: who wants what, and who stands against it.
    pub fn solve_onto(
        &self,
        installed: &[InstalledPackage],
        world: &[Dependency],
        prefer: &[(String, Version)],
    ) -> Result<Onto, SolveError> {
        let universe = Universe::new(self.repositories, self.arch, installed);
        let picked = Search::new(&universe, world, prefer).run()?;
        Ok(Onto::of(&universe, picked))
    }

    /// Everything that meets `wish`, the best first, with the number of its repository.
    pub fn providers(&self, wish: &Dependency) -> Vec<(usize, &'a Record)> {
        self.universe.providers_in_order(wish)
    }
}

/// A package of the answer, if a repository has it.
fn chosen(universe: &Universe<'_>, picked: Picked) -> Option<Chosen> {
    let (repository, package) = picked.place?;
    let record = universe.packages[picked.package].record.clone();
    Some(Chosen { repository, package, record, because: picked.because })
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
