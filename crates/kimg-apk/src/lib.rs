//! Reads signed Alpine packages and repositories, chooses packages, and lays them out as a file tree.

mod data;
mod dependency;
mod error;
mod headers;
mod index;
mod install;
mod installed_db;
mod keys;
mod limits;
mod listing;
mod member;
mod package;
mod pkginfo;
mod record;
mod solver;
mod version;

pub use dependency::{Constraint, Dependency, DependencyError, Identity, IdentityError, Provide};
pub use error::{ApkError, Member, Problem};
pub use index::{FieldProblem, Index, IndexError, Unusable};
pub use install::{Applets, InstallError, Installation, NotRun, Replaced, install, link_applets};
pub use installed_db::{installed_db, world_file};
pub use keys::{KeyError, KeyProblem, KeyRing};
pub use limits::Limits;
pub use listing::Listing;
pub use package::{Package, read_index, read_package};
pub use record::Record;
pub use solver::{
    Chosen, Objection, Refusal, Repository, Solution, SolveError, Solver, Wanter, providers, solve,
};
pub use version::{Operator, Version, VersionError};
