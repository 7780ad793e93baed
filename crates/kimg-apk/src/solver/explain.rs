//! Why there is no set of packages that fits, told so that a person sees what to change.

use std::fmt;

use kimg_core::{Classified, ErrorClass};

/// There is no answer, or none was found.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SolveError {
    /// What is wanted does not fit together.
    #[error("can't choose packages: {0}")]
    Refused(Box<Refusal>),
    /// There may be an answer, but the search met too many dead ends.
    #[error("can't choose packages: given up after {dead_ends} dead ends, the last one: {last}")]
    GivenUp {
        /// How many.
        dead_ends: usize,
        /// The last of them.
        last: Box<Refusal>,
    },
}

/// A wish as written, and who has it.
type Wanted = (String, Wanter);

/// What stands against a wish.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// No package answers to the name.
    Nobody {
        /// The wish.
        wish: Wanted,
        /// The name in it.
        name: String,
        /// Names that look like it.
        near: Vec<String>,
        /// Packages of the name that stand in an index in a form that can't be read, and why.
        unusable: Vec<String>,
    },
    /// Packages answer to the name, but something stands against each.
    NoneFits {
        /// The wish.
        wish: Wanted,
        /// The first packages, and what stands against each.
        candidates: Vec<(String, Objection)>,
        /// How many more there are.
        more: usize,
    },
    /// A package that has to be there can't be.
    Against {
        /// The package.
        package: Wanter,
        /// What stands against it.
        objection: Objection,
    },
    /// Several packages could stand for a name, and none of them by itself.
    PickOne {
        /// The wish.
        wish: Wanted,
        /// The name in it.
        name: String,
        /// The packages.
        providers: Vec<String>,
    },
}

/// What stands against one package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Objection {
    /// It answers to the name in another version than wanted: its own, or the one given.
    OtherVersion(Option<String>),
    /// Another package owns a name that only one can own.
    Owned {
        /// The name.
        name: String,
        /// The other package.
        by: Wanter,
    },
    /// Somebody else's wish excludes it.
    Wish {
        /// The wish.
        wish: String,
        /// Whose it is.
        by: Wanter,
    },
    /// Only repositories with a tag have it, and nobody asked for that.
    Masked,
    /// It claims a name twice.
    Itself {
        /// The name.
        name: String,
    },
    /// It shares the name without a version and without a priority: a person has to choose it.
    NotByItself,
    /// It was tried, and this came of it.
    Failed(Box<Refusal>),
    /// It was tried, and what came of it would lead too far.
    TriedInVain,
}

/// A package and how it came in: itself, who wanted it, …, `world`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanter(pub Vec<String>);

impl Wanter {
    pub(super) fn world() -> Self {
        Self(vec!["world".to_owned()])
    }
}

impl fmt::Display for Wanter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join(" → "))
    }
}

/// How deep failures inside failures are kept. A search can meet thousands, each made of earlier ones.
const DEPTH: usize = 2;

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.tell(f, 1)
    }
}

impl Refusal {
    /// The same with what would lead too far left out.
    pub(super) fn shortened(self) -> Self {
        self.cut(DEPTH)
    }

    fn cut(self, depth: usize) -> Self {
        let cut = |objection| match objection {
            Objection::Failed(_) if depth == 0 => Objection::TriedInVain,
            Objection::Failed(refusal) => Objection::Failed(Box::new(refusal.cut(depth - 1))),
            other => other,
        };
        match self {
            Self::NoneFits { wish, candidates, more } => {
                let candidates = candidates.into_iter().map(|(package, objection)| (package, cut(objection)));
                Self::NoneFits { wish, candidates: candidates.collect(), more }
            }
            Self::Against { package, objection } => Self::Against { package, objection: cut(objection) },
            other => other,
        }
    }

    fn tell(&self, f: &mut fmt::Formatter<'_>, depth: usize) -> fmt::Result {
        let indent = "  ".repeat(depth);
        match self {
            Self::Nobody { wish: (wish, by), name, unusable, .. } => {
                write!(f, "no package provides `{name}`, wanted by {by}")?;
                if wish != name {
                    write!(f, " as `{wish}`")?;
                }
                unusable.iter().try_for_each(|reason| write!(f, "\n{indent}{reason}"))
            }
            Self::NoneFits { wish: (wish, by), candidates, more } => {
                write!(f, "nothing fits `{wish}`, wanted by {by}")?;
                for (package, objection) in candidates {
                    write!(f, "\n{indent}{package} ")?;
                    objection.tell(f, depth)?;
                }
                if *more > 0 {
                    write!(f, "\n{indent}and {more} more")?;
                }
                Ok(())
            }
            Self::Against { package, objection } => {
                let id = package.0.first().map_or("", String::as_str);
                let by = Wanter(package.0.iter().skip(1).cloned().collect());
                write!(f, "{id}, wanted by {by}, ")?;
                objection.tell(f, depth)
            }
            Self::PickOne { wish: (wish, by), providers, .. } => {
                write!(
                    f,
                    "`{wish}`, wanted by {by}, is not chosen by itself; provided by {}",
                    providers.join(", ")
                )
            }
        }
    }
}

impl Objection {
    fn tell(&self, f: &mut fmt::Formatter<'_>, depth: usize) -> fmt::Result {
        match self {
            Self::OtherVersion(None) => write!(f, "is another version"),
            Self::OtherVersion(Some(provide)) => write!(f, "provides {provide}"),
            Self::Owned { name, by } => {
                write!(f, "can't be beside {}, wanted by {}: both are `{name}`", by.id(), by.rest())
            }
            Self::Wish { wish, by } => write!(f, "is against `{wish}`, wanted by {by}"),
            Self::Masked => write!(f, "is only in repositories with a tag that nothing asks for"),
            Self::Itself { name } => write!(f, "is against itself: it claims `{name}` twice"),
            Self::NotByItself => write!(f, "only shares the name, and is not chosen by itself"),
            Self::TriedInVain => write!(f, "was tried in vain"),
            Self::Failed(refusal) => {
                write!(f, "was tried: ")?;
                refusal.tell(f, depth + 1)
            }
        }
    }
}

impl Wanter {
    fn id(&self) -> &str {
        self.0.first().map_or("", String::as_str)
    }

    fn rest(&self) -> String {
        self.0.iter().skip(1).map(String::as_str).collect::<Vec<_>>().join(" → ")
    }
}

impl Classified for SolveError {
    fn class(&self) -> ErrorClass {
        ErrorClass::Unresolvable
    }

    fn hint(&self) -> Option<String> {
        let (Self::Refused(refusal) | Self::GivenUp { last: refusal, .. }) = self;
        match &**refusal {
            Refusal::Nobody { near, .. } if !near.is_empty() => {
                let near: Vec<String> = near.iter().map(|name| format!("`{name}`")).collect();
                Some(format!("there is {}", near.join(", ")))
            }
            Refusal::Nobody { .. } => Some(
                "a further repository may have it: Alpine keeps most of Kubernetes in community".to_owned(),
            ),
            Refusal::PickOne { providers, .. } => Some(format!("name one of them: {}", providers.join(", "))),
            Refusal::NoneFits { candidates, .. }
                if candidates.iter().any(|(_, objection)| *objection == Objection::Masked) =>
            {
                Some("ask for it with the repository's tag, as name@tag".to_owned())
            }
            _ => None,
        }
    }
}
