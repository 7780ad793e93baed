//! Where packages and wishes stand in a search, and why.

use std::rc::Rc;

use super::explain::Refusal;
use super::levels::Levels;
use super::universe::PackageId;
use crate::dependency::Dependency;

/// A wish, by its place in [`State::wishes`](super::state::State).
pub(super) type WishId = usize;

/// Where a package stands.
#[derive(Debug, Clone)]
pub(super) enum Standing {
    /// Nothing is said yet.
    Open,
    /// It is taken.
    In { cause: Cause, levels: Levels },
    /// It can't be taken.
    Out { why: Why, levels: Levels },
}

/// What a package is taken for.
#[derive(Debug, Clone, Copy)]
pub(super) enum Cause {
    /// It meets this wish.
    Wish(WishId),
    /// All conditions of its `install_if` are in.
    InstallIf,
}

/// Why a package can't be taken.
#[derive(Debug, Clone)]
pub(super) enum Why {
    /// Another one owns a name that it would own.
    Owned { by: PackageId, name: String },
    /// A `!wish` of a package, or of the world, is against it.
    Conflict { by: Option<PackageId>, wish: String },
    /// A wish needs its name in another version.
    OtherVersion { by: Option<PackageId>, wish: String },
    /// All that have it carry tags that nobody asked for.
    Masked,
    /// It claims a name twice.
    Itself { name: String },
    /// Taking it was tried, and this came of it.
    Failed(Rc<Refusal>),
}

/// Something wanted, by a package that is in or by the world.
pub(super) struct Wish<'s> {
    pub(super) dependency: &'s Dependency,
    pub(super) by: Option<PackageId>,
    /// What meets it, the best first.
    pub(super) candidates: Vec<Candidate>,
    /// Whether some of them only share the name.
    pub(super) shared: bool,
    pub(super) levels: Levels,
}

/// A package that meets a wish.
#[derive(Debug, Clone, Copy)]
pub(super) struct Candidate {
    pub(super) package: PackageId,
    /// Whether it may be taken for this wish alone. What is provided without version and priority may not.
    pub(super) selectable: bool,
}

/// Why it can't go on.
#[derive(Debug)]
pub(super) enum Clash {
    /// Nothing is left to meet this wish.
    NoneLeft { wish: WishId, levels: Levels },
    /// A package that is in can't be.
    Against { package: PackageId, why: Why, levels: Levels },
    /// What would meet this wish has to be chosen by a person.
    PickOne { wish: WishId, levels: Levels },
}

impl Clash {
    /// The decisions it rests on.
    pub(super) fn levels(&self) -> &Levels {
        match self {
            Self::NoneLeft { levels, .. } | Self::Against { levels, .. } | Self::PickOne { levels, .. } => {
                levels
            }
        }
    }
}
