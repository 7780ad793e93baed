//! What can go wrong in the pipeline, stage by stage, with its class and what to do about it.

use std::io;

use kimg_core::variant::VariantError;
use kimg_core::{Classified, ErrorClass, ImagePath, Platform};

use crate::budget::Over;
use crate::existing::ReadError;

/// A place in a settings file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The file.
    pub file: String,
    /// The line, from 1 on.
    pub line: usize,
    /// The column, from 1 on.
    pub column: usize,
    /// The line's text.
    pub text: String,
    /// How many characters are meant.
    pub width: usize,
}

/// An error of the pipeline.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// A settings file that can't be read as what it should be.
    #[error("{message}")]
    Settings {
        /// What is wrong.
        message: String,
        /// Where.
        place: Option<Place>,
        /// What to do.
        hint: Option<String>,
    },
    /// The local disk.
    #[error("{what}")]
    Disk {
        /// What was being done.
        what: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A variant.
    #[error(transparent)]
    Variant(#[from] VariantError),
    /// A source, the cache or the network.
    #[error(transparent)]
    Source(#[from] kimg_source::SourceError),
    /// The bytes of a file that lies in the cache.
    #[error(transparent)]
    Content(#[from] kimg_core::ContentError),
    /// The lock.
    #[error(transparent)]
    Lock(#[from] kimg_source::lock::LockError),
    /// An index that is older than one that was seen before.
    #[error(
        "the index of {repository} for {platform} was rolled back: its newest package is of {}, one of {} was seen before",
        date(*found), date(*seen)
    )]
    RolledBack {
        /// The repository.
        repository: String,
        /// The platform.
        platform: Platform,
        /// When the newest package of the newest index that was seen was built, in seconds since 1970.
        seen: u64,
        /// The same of the index that came now.
        found: u64,
    },
    /// A root that no package and no program has.
    #[error("nothing provides `{root}`, which {variant} wants for {platform}: {reason}")]
    NoProvider {
        /// The command or path.
        root: String,
        /// The variant.
        variant: String,
        /// The platform.
        platform: Platform,
        /// Why the variant wants it.
        reason: String,
        /// What to do.
        hint: String,
    },
    /// The version of Kubernetes could not be told.
    #[error("{variant}: the version of Kubernetes can't be told from `{from}`: {why}")]
    NoVersion {
        /// The variant.
        variant: String,
        /// The command whose package should say it.
        from: String,
        /// Why.
        why: String,
    },
    /// The images of one variant would carry different versions of Kubernetes.
    #[error("{variant}: the repositories have {found}, and one tag can't name them all")]
    MixedVersions {
        /// The variant.
        variant: String,
        /// Versions and platforms.
        found: String,
    },
    /// Packages that can't be had together.
    #[error("{variant} for {platform}: {source}")]
    Solve {
        /// The variant.
        variant: String,
        /// The platform.
        platform: Platform,
        /// The conflict.
        source: Box<kimg_apk::SolveError>,
    },
    /// Packages that can't lie in one tree.
    #[error("{variant} for {platform}")]
    Install {
        /// The variant.
        variant: String,
        /// The platform.
        platform: Platform,
        /// The conflict.
        #[source]
        source: kimg_apk::InstallError,
    },
    /// A file set that is not closed.
    #[error("{variant} for {platform}")]
    Closure {
        /// The variant.
        variant: String,
        /// The platform.
        platform: Platform,
        /// What is missing, and who needs it.
        #[source]
        source: kimg_closure::ClosureError,
    },
    /// A program that can't be put where the variant wants it.
    #[error("`{from}` can't be installed as `{to}`: {why}")]
    Relocate {
        /// Where the package has it.
        from: ImagePath,
        /// Where it should stand.
        to: ImagePath,
        /// Why not.
        why: String,
    },
    /// The packer.
    #[error(transparent)]
    Pack(#[from] kimg_pack::PackError),
    /// `--pack require` without a packer.
    #[error("upx is not installed, and `--pack require` asks for it")]
    NoPacker,
    /// A program that is compiled.
    #[error(transparent)]
    Go(#[from] kimg_go::GoError),
    /// A layer.
    #[error(transparent)]
    Layer(#[from] kimg_layer::LayerError),
    /// A file system.
    #[error(transparent)]
    Rootfs(#[from] kimg_rootfs::RootfsError),
    /// An image or layout.
    #[error(transparent)]
    Image(#[from] kimg_image::ImageError),
    /// Something optional is missing, and `--strict` asks for everything.
    #[error("optional parts are missing:{}", missing.iter().fold(String::new(), |all, m| format!("{all}\n  {m}")))]
    Strict {
        /// What, where and why.
        missing: Vec<String>,
    },
    /// Images larger than their budgets.
    #[error(
        "{} over budget, and nothing was written:{}",
        match images.len() { 1 => "1 image is".to_owned(), many => format!("{many} images are") },
        images.iter().fold(String::new(), |all, image| format!("{all}\n  {image}"))
    )]
    OverBudget {
        /// Each of them.
        images: Vec<Over>,
    },
    /// An image that exists already.
    #[error(transparent)]
    Existing(#[from] ReadError),
    /// What should be a size matrix.
    #[error(transparent)]
    Matrix(#[from] kimg_report::RecordError),
    /// A registry that is used as cache.
    #[error(transparent)]
    Registry(Box<kimg_registry::RegistryError>),
}

impl From<kimg_registry::RegistryError> for BuildError {
    fn from(error: kimg_registry::RegistryError) -> Self {
        Self::Registry(Box::new(error))
    }
}

/// A time in seconds since 1970 as a person reads it.
fn date(seconds: u64) -> String {
    i64::try_from(seconds)
        .ok()
        .and_then(|seconds| jiff::Timestamp::from_second(seconds).ok())
        .map_or_else(|| format!("second {seconds}"), |time| time.strftime("%Y-%m-%d %H:%M UTC").to_string())
}

impl BuildError {
    pub(crate) fn disk(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |source| Self::Disk { what, source }
    }

    pub(crate) fn settings(message: impl Into<String>) -> Self {
        Self::Settings { message: message.into(), place: None, hint: None }
    }

    pub(crate) fn settings_hint(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::Settings { message: message.into(), place: None, hint: Some(hint.into()) }
    }

    pub(crate) fn toml(file: &str, text: &str, error: &toml::de::Error) -> Self {
        Self::at(file, text, error.span(), error.message())
    }

    /// An error about a place in a file, given as bytes of its text.
    pub(crate) fn at(file: &str, text: &str, span: Option<std::ops::Range<usize>>, message: &str) -> Self {
        let place = span.map(|span| {
            let start = span.start.min(text.len());
            let before = text.get(..start).unwrap_or("");
            let line_start = before.rfind('\n').map_or(0, |at| at + 1);
            let line_text = text.get(line_start..).unwrap_or("").lines().next().unwrap_or("");
            let column = before.get(line_start..).unwrap_or("").chars().count();
            let rest = line_text.chars().count().saturating_sub(column).max(1);
            Place {
                file: file.to_owned(),
                line: before.matches('\n').count() + 1,
                column: column + 1,
                text: line_text.to_owned(),
                width: span.len().clamp(1, rest),
            }
        });
        Self::Settings { message: format!("{file}: {message}"), place, hint: None }
    }

    /// The place in a settings file that the error is about, if it is about one.
    pub fn place(&self) -> Option<&Place> {
        match self {
            Self::Settings { place, .. } => place.as_ref(),
            _ => None,
        }
    }
}

impl Classified for BuildError {
    fn class(&self) -> ErrorClass {
        match self {
            Self::Settings { .. } => ErrorClass::Usage,
            Self::Disk { .. } => ErrorClass::LocalIo,
            Self::Variant(e) => e.class(),
            Self::Source(e) => e.class(),
            Self::Content(e) => e.class(),
            Self::Lock(e) => e.class(),
            Self::RolledBack { .. } => ErrorClass::Verification,
            Self::NoProvider { .. }
            | Self::NoVersion { .. }
            | Self::MixedVersions { .. }
            | Self::Strict { .. }
            | Self::Relocate { .. } => ErrorClass::Unresolvable,
            Self::Solve { source, .. } => source.class(),
            Self::Install { source, .. } => source.class(),
            Self::Closure { source, .. } => source.class(),
            Self::Pack(e) => e.class(),
            Self::NoPacker => ErrorClass::External,
            Self::Go(e) => e.class(),
            Self::Layer(e) => e.class(),
            Self::Rootfs(e) => e.class(),
            Self::Image(e) => e.class(),
            Self::OverBudget { .. } => ErrorClass::OverBudget,
            Self::Existing(e) => e.class(),
            Self::Matrix(e) => e.class(),
            Self::Registry(e) => e.class(),
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Settings { hint, .. } => hint.clone(),
            Self::Variant(e) => e.hint(),
            Self::Source(e) => e.hint(),
            Self::Content(e) => e.hint(),
            Self::Lock(e) => e.hint(),
            Self::RolledBack { .. } => Some(
                "a mirror that lags behind catches up: try again later, or another `--mirror`; `--rolled-back warn` goes on"
                    .into(),
            ),
            Self::NoProvider { hint, .. } => Some(hint.clone()),
            Self::NoVersion { .. } => {
                Some("a program of one's own says its version: [[program]] version = \"1.34.2\"".into())
            }
            Self::Solve { source, .. } => source.hint(),
            Self::Install { source, .. } => source.hint(),
            Self::Closure { source, .. } => source.hint(),
            Self::Pack(e) => e.hint(),
            Self::NoPacker => Some("Debian has it as upx-ucl; `--pack auto` goes on without".into()),
            Self::Go(e) => e.hint(),
            Self::Layer(e) => e.hint(),
            Self::Rootfs(e) => e.hint(),
            Self::Image(e) => e.hint(),
            Self::Strict { .. } => {
                Some("add a repository or a [[program]] that has them, or build without `--strict`".into())
            }
            Self::OverBudget { .. } => Some(
                "leave something out (`kimg files --tree` and `kimg why` tell what is there, and why), or raise the \
                 `budget` of the variant or in kimg.toml"
                    .into(),
            ),
            Self::Existing(e) => e.hint(),
            Self::Matrix(e) => e.hint(),
            Self::Registry(e) => e.hint(),
            _ => None,
        }
    }
}
