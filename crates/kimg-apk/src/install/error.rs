//! Why packages can't stand in one root.

use kimg_core::{Classified, ContentError, ErrorClass, ImagePath};

/// Why packages can't be laid over each other.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InstallError {
    /// Two packages of one name.
    #[error("{first} and {second} are two packages of one name")]
    Twice {
        /// Name and version.
        first: String,
        /// Name and version.
        second: String,
    },
    /// Two packages ship the same path, and neither replaces the other.
    #[error("{first} and {second} both ship `{path}`, and neither replaces the other")]
    Conflict {
        /// The path.
        path: ImagePath,
        /// Name and version of the one.
        first: String,
        /// Name and version of the other.
        second: String,
    },
    /// A file or link stands where a folder would have to be.
    #[error(
        "{wanted_by} needs `{path}` to be a folder, but {of} has it as a file or a link that leads to none"
    )]
    NotAFolder {
        /// The path.
        path: ImagePath,
        /// Whose file it is.
        of: String,
        /// Who ships something below it.
        wanted_by: String,
    },
    /// Symbolic links that lead in a circle, or to what is no path, on the way to a path that is shipped.
    #[error(
        "`{path}` can't be put anywhere: the symbolic link `{link}` to {target:?} is on its way, and leads nowhere"
    )]
    Link {
        /// What was to be put somewhere.
        path: ImagePath,
        /// The link at which it ended.
        link: ImagePath,
        /// Where that points to.
        target: String,
    },
    /// Links in place of folders that move each other around without end.
    #[error("symbolic links in place of folders move each other around without end")]
    Unsettled,
    /// The bytes of a file can't be had.
    #[error("reading `{path}`")]
    Content {
        /// The file.
        path: ImagePath,
        /// Why.
        #[source]
        source: ContentError,
    },
    /// A list of applets names what is no path.
    #[error("`{list}` names {line:?}, which is no path")]
    AppletPath {
        /// The list.
        list: ImagePath,
        /// The line.
        line: String,
    },
}

impl Classified for InstallError {
    fn class(&self) -> ErrorClass {
        match self {
            Self::Twice { .. } | Self::Conflict { .. } | Self::NotAFolder { .. } => ErrorClass::Unresolvable,
            Self::Link { .. } | Self::Unsettled | Self::AppletPath { .. } => ErrorClass::Malformed,
            Self::Content { source, .. } => source.class(),
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Twice { .. } | Self::Conflict { .. } | Self::NotAFolder { .. } => {
                Some("leave one of the two packages out".into())
            }
            _ => None,
        }
    }
}
