//! A machine for tests: a folder with a cache of its own, a project, and what was heard while it built.

use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kimg_build::shared_cache::{Export, Exported, Programs, SharedCache, Tally};
use kimg_build::{Build, Event, Events, LockUse, Outcome, Overrides, Project, Settings};
use kimg_core::{Digest, Platform};
use kimg_registry::{Client, Keychain, Options, Reference, Repository};
use kimg_source::{Cache, Fetcher};
use kimg_testkit::TempDir;

/// The day on which the tests happen.
pub(crate) const TODAY: u32 = 20_000;

/// Keeps what it hears.
#[derive(Debug, Default)]
pub(crate) struct Heard(Mutex<Vec<Event>>);

impl Events for Heard {
    fn event(&self, event: &Event) {
        self.all().push(event.clone());
    }
}

impl Heard {
    fn all(&self) -> MutexGuard<'_, Vec<Event>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn count(&self, test: impl Fn(&Event) -> bool) -> usize {
        self.all().iter().filter(|event| test(event)).count()
    }

    /// Layers that were compressed here.
    pub(crate) fn compressed(&self) -> usize {
        self.count(|event| matches!(event, Event::CompressedLayer { from_cache: false, .. }))
    }

    /// Programs that went through the packer here.
    pub(crate) fn packed(&self) -> usize {
        self.count(|event| matches!(event, Event::PackedProgram { from_cache: false, .. }))
    }

    pub(crate) fn taken_over(&self) -> usize {
        self.count(|event| matches!(event, Event::TakenOver { .. }))
    }

    pub(crate) fn warnings(&self) -> Vec<String> {
        let warned = |event: &Event| match event {
            Event::Warned { message } => Some(message.clone()),
            _ => None,
        };
        self.all().iter().filter_map(warned).collect()
    }
}

/// A machine with an empty cache.
pub(crate) struct Machine {
    pub(crate) folder: TempDir,
    pub(crate) cache: Cache,
    pub(crate) project: Project,
    pub(crate) lock: LockUse,
    /// `PATH`
    pub(crate) path: std::ffi::OsString,
}

/// What a machine built, and how.
pub(crate) struct Built {
    pub(crate) indexes: Vec<Digest>,
    pub(crate) tally: Tally,
    pub(crate) heard: Heard,
}

/// Flags for the sample's variant `cni` for one platform.
pub(crate) fn flags(platform: Platform) -> Overrides {
    Overrides {
        variants: vec!["cni".into()],
        platforms: vec![platform],
        sample: true,
        pack: Some("never".into()),
        ..Overrides::default()
    }
}

impl Machine {
    pub(crate) fn new(settings: &Settings, flags: &Overrides) -> Self {
        Self::in_folder(kimg_testkit::tempdir().unwrap(), settings, flags)
    }

    pub(crate) fn in_folder(folder: TempDir, settings: &Settings, flags: &Overrides) -> Self {
        let out = format!("type=oci,dest={}", folder.path().join("out").display());
        let flags = Overrides { outputs: vec![out], ..flags.clone() };
        let project = Project::new(settings, folder.path(), &flags).unwrap();
        let cache = Cache::open(&folder.path().join("cache")).unwrap();
        Self {
            folder,
            cache,
            project,
            lock: LockUse::None,
            path: std::env::var_os("PATH").unwrap_or_default(),
        }
    }

    /// One that builds the sample for armv7.
    pub(crate) fn sample() -> Self {
        Self::new(&Settings::default(), &flags(Platform::ArmV7))
    }

    fn run(&self, shared: Option<&SharedCache>, heard: &Heard) -> Outcome {
        let build = Build {
            project: &self.project,
            cache: self.cache.clone(),
            fetcher: Fetcher::offline(),
            lock: self.lock.clone(),
            epoch: None,
            search_path: self.path.clone(),
            events: heard,
        };
        build.run_with(shared).unwrap()
    }

    /// Builds by itself.
    pub(crate) fn build_alone(&self) -> Built {
        let heard = Heard::default();
        let outcome = self.run(None, &heard);
        Built { indexes: indexes(&outcome), tally: Tally::default(), heard }
    }

    /// Builds with a cache.
    pub(crate) fn build(&self, shared: &SharedCache) -> Built {
        let heard = Heard::default();
        let outcome = self.run(Some(shared), &heard);
        Built { indexes: indexes(&outcome), tally: shared.tally(), heard }
    }

    pub(crate) fn build_from(&self, from: &[&Reference]) -> Built {
        self.build(&shared(from, Programs::OfTheLock))
    }

    /// Builds and exports.
    pub(crate) fn export(&self, to: &Reference) -> (Built, Exported) {
        let shared = shared(&[], Programs::OfTheLock);
        let built = self.build(&shared);
        let exported = shared.export(to, &self.cache, &export(TODAY), &built.heard).unwrap();
        (built, exported)
    }

    pub(crate) fn file(&self, name: &str) -> std::path::PathBuf {
        Path::new(self.folder.path()).join(name)
    }
}

fn indexes(outcome: &Outcome) -> Vec<Digest> {
    outcome.tagged.iter().map(|tagged| tagged.image.descriptor.digest).collect()
}

pub(crate) fn client() -> Client {
    let options = Options {
        first_wait: Duration::from_millis(1),
        stalled_after: Duration::from_secs(10),
        attempts: 6,
        ..Options::default()
    };
    Client::new(options, Keychain::anonymous()).unwrap()
}

pub(crate) fn shared(from: &[&Reference], programs: Programs) -> SharedCache {
    SharedCache::new(client(), from.iter().map(|it| (*it).clone()).collect(), programs).unwrap()
}

/// How tests export: nobody waits long.
pub(crate) fn export(day: u32) -> Export {
    Export { settle: Duration::from_millis(150), ..Export::on(day) }
}

pub(crate) fn repository(registry: &str) -> Repository {
    format!("{registry}/acme/kubelet").parse().unwrap()
}

/// The tag `cache` in it.
pub(crate) fn reference(registry: &str) -> Reference {
    repository(registry).tagged("cache".parse().unwrap())
}
