//! From arguments to a [`Build`]: settings file, cache, lock, threads and environment.

use std::path::{Path, PathBuf};

use kimg_build::settings::FILE_NAME;
use kimg_build::{Build, Events, LockUse, Overrides, Project, RolledBackPolicy, Settings};
use kimg_core::Platform;
use kimg_core::variant::Contents;
use kimg_layer::BlobStore;
use kimg_source::{Cache, Fetcher};

use crate::args::{AimArgs, ContentsArg, ImageArgs, ProgressMode, RolledBackArg, Selection};
use crate::failure::Failure;

/// What a command works with.
pub(crate) struct Setting {
    pub(crate) project: Project,
    cache: Cache,
    fetcher: Fetcher,
    lock: LockUse,
    epoch: Option<u64>,
    /// Platforms that the project has and this run leaves out.
    pub(crate) other_platforms: Vec<Platform>,
}

/// What a command says about the images that it makes.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Making<'a> {
    pub(crate) aims: Option<&'a AimArgs>,
    pub(crate) images: Option<&'a ImageArgs>,
    pub(crate) outputs: &'a [String],
}

/// What a command that is about the lock does with it.
#[derive(Debug, Clone, Copy)]
pub(crate) enum LockTask<'a> {
    /// Keeps what is locked and pins the rest.
    Pin,
    /// Takes newer versions of these packages, or of all when none is named.
    Update(&'a [String]),
}

/// The settings of this run and the folder that their paths start from.
pub(crate) fn settings(config: Option<&Path>) -> Result<(Settings, PathBuf, bool), Failure> {
    let path = match config {
        Some(path) => path.to_owned(),
        None if Path::new(FILE_NAME).is_file() => FILE_NAME.into(),
        None => return Ok((Settings::default(), PathBuf::new(), false)),
    };
    let settings = Settings::read(&path)?;
    let folder = path.parent().map(Path::to_owned).unwrap_or_default();
    Ok((settings, folder, true))
}

impl Setting {
    pub(crate) fn new(
        selection: &Selection,
        making: Making<'_>,
        task: Option<LockTask<'_>>,
    ) -> Result<Self, Failure> {
        let (settings, folder, in_project) = settings(selection.config.as_deref())?;
        let mut flags = Overrides {
            variants: selection.variants.clone(),
            platforms: selection.architectures.iter().chain(&selection.platforms).copied().collect(),
            repositories: selection.repositories.clone(),
            mirrors: selection.mirrors.clone(),
            keys: selection.keys.clone(),
            rolled_back: selection.rolled_back.map(|policy| match policy {
                RolledBackArg::Refuse => RolledBackPolicy::Refuse,
                RolledBackArg::Warn => RolledBackPolicy::Warn,
            }),
            sample: selection.sample,
            kubernetes: one_version(&selection.kubernetes)?,
            alpine: selection.alpine.clone(),
            contents: selection.contents.map(|c| match c {
                ContentsArg::Minimal => Contents::Minimal,
                ContentsArg::Packages => Contents::Packages,
            }),
            strict: selection.strict,
            ..Overrides::default()
        };
        if let Some(aims) = making.aims {
            flags.pack.clone_from(&aims.pack);
            flags.optimize.clone_from(&aims.optimize);
            flags.layers.clone_from(&aims.layers);
            flags.level.clone_from(&aims.level);
            flags.window.clone_from(&aims.window);
            flags.compression.clone_from(&aims.compression);
        }
        flags.outputs = making.outputs.to_vec();
        if let Some(images) = making.images {
            flags.tags.clone_from(&images.tags);
            flags.labels = images.labels.iter().cloned().collect();
            flags.annotations = images.annotations.iter().cloned().collect();
        }
        let project = Project::new(&settings, &folder, &flags)?;
        let mut other_platforms = Project::known_platforms(&settings)?;
        other_platforms.retain(|platform| !project.platforms.contains(platform));

        let lock_path = selection.lock.clone().unwrap_or_else(|| folder.join("kimg.lock"));
        let lock = match task {
            Some(LockTask::Update(only)) => {
                LockUse::Update { path: lock_path, only: only.iter().cloned().collect() }
            }
            _ if selection.locked => LockUse::Locked(lock_path),
            Some(LockTask::Pin) => LockUse::Follow(lock_path),
            // The sample and one-off builds without a project leave no lock behind.
            None if selection.lock.is_some() || (in_project && !selection.sample) => {
                LockUse::Follow(lock_path)
            }
            None => LockUse::None,
        };
        let fetcher =
            if selection.offline { Fetcher::offline() } else { Fetcher::new(selection.retry_times) };
        if let Some(threads) = selection.threads {
            // A second call in one process would fail; there is none.
            let _ = rayon::ThreadPoolBuilder::new().num_threads(threads).build_global();
        }
        Ok(Self {
            project,
            cache: Cache::open(&cache_folder(selection.cache_dir.as_deref())?)?,
            fetcher,
            lock,
            epoch: epoch()?,
            other_platforms,
        })
    }

    pub(crate) fn build<'a>(&'a self, events: &'a dyn Events) -> Build<'a> {
        Build {
            project: &self.project,
            cache: self.cache.clone(),
            fetcher: self.fetcher.clone(),
            lock: self.lock.clone(),
            epoch: self.epoch,
            search_path: std::env::var_os("PATH").unwrap_or_default(),
            events,
        }
    }

    /// Where layers and manifests lie between runs.
    pub(crate) fn blobs(&self) -> Result<BlobStore, Failure> {
        Ok(BlobStore::open(self.cache.blobs()).map_err(kimg_registry::RegistryError::from)?)
    }

    pub(crate) fn lock_path(&self) -> Option<&Path> {
        self.lock.path().map(PathBuf::as_path)
    }
}

/// The version of Kubernetes for a command that makes one release.
fn one_version(said: &[String]) -> Result<Option<String>, Failure> {
    match said {
        [] => Ok(None),
        [one] => Ok(Some(one.clone())),
        _ => Err(Failure::usage("several versions of Kubernetes can't be made one release")
            .hint("`kimg build` and `kimg preflight` take several; name one here")),
    }
}

/// `--cache-dir`, else the user's cache folder (XDG Base Directory Specification).
pub(crate) fn cache_folder(said: Option<&Path>) -> Result<PathBuf, Failure> {
    if let Some(folder) = said {
        return Ok(folder.to_owned());
    }
    let variable = |name: &str| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    variable("XDG_CACHE_HOME")
        .filter(|p| p.is_absolute())
        .or_else(|| variable("HOME").map(|home| home.join(".cache")))
        .map(|cache| cache.join("kimg"))
        .ok_or_else(|| Failure::usage("neither HOME nor XDG_CACHE_HOME is set").hint("say `--cache-dir DIR`"))
}

/// `SOURCE_DATE_EPOCH` (reproducible-builds.org): seconds since 1970.
pub(crate) fn epoch() -> Result<Option<u64>, Failure> {
    match std::env::var("SOURCE_DATE_EPOCH") {
        Ok(text) if text.is_empty() => Ok(None),
        Ok(text) => text.parse().map(Some).map_err(|_| {
            Failure::usage(format!("SOURCE_DATE_EPOCH is `{text}`, not a number of seconds since 1970"))
        }),
        Err(std::env::VarError::NotPresent) => Ok(None),
        Err(error) => Err(Failure::usage(format!("SOURCE_DATE_EPOCH: {error}"))),
    }
}

/// How progress is shown where nothing was said.
pub(crate) fn progress_mode(said: ProgressMode, quiet: bool) -> ProgressMode {
    use std::io::IsTerminal;
    match said {
        ProgressMode::Auto if quiet => ProgressMode::Quiet,
        ProgressMode::Auto if std::env::var_os("GITHUB_ACTIONS").is_some() => ProgressMode::Plain,
        ProgressMode::Auto if std::io::stderr().is_terminal() => ProgressMode::Tty,
        ProgressMode::Auto => ProgressMode::Plain,
        other => other,
    }
}
