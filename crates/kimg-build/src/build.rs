//! The stages in their order.

use std::collections::BTreeMap;

use kimg_apk::Limits;
use kimg_closure::MemoryFacts;
use kimg_core::Platform;
use kimg_image::Tagged;
use kimg_layer::{BlobStore, Options};
use kimg_report::BuildReport;
use kimg_source::lock::{Change, Lock, LockError};
use kimg_source::repository::Reader;
use kimg_source::{Cache, Fetcher};
use rayon::prelude::*;

use crate::aims::{Cut, Decisions};
use crate::error::BuildError;
use crate::events::{Event, Events};
use crate::inputs::{self, Inputs, LockUse};
use crate::outdated::{self, Outdated};
use crate::packing;
use crate::project::{Output, Project};
use crate::select::{self, Selected};
use crate::shared_cache::SharedCache;
use crate::statements::Statement;
use crate::{budget, filesystems, images, layers, report, statements};

/// Everything that a build needs beside the project.
pub struct Build<'a> {
    /// What is built.
    pub project: &'a Project,
    /// Keeps what was fetched and made.
    pub cache: Cache,
    /// Fetches from mirrors.
    pub fetcher: Fetcher,
    /// How the lock takes part.
    pub lock: LockUse,
    /// `SOURCE_DATE_EPOCH`: no time in the images is later. In seconds since 1970.
    pub epoch: Option<u64>,
    /// The folders in which programs like `upx` and `qemu-arm-static` are looked for: `PATH`.
    pub search_path: std::ffi::OsString,
    /// Hears what happens.
    pub events: &'a dyn Events,
}

/// What a build made.
#[derive(Debug)]
pub struct Outcome {
    /// The indexes, in the order of the variants, each with its tags.
    pub tagged: Vec<Tagged>,
    /// For each index, the place of its variant in [`Project::variants`].
    pub variants: Vec<usize>,
    /// The images that were written as plain files: archives of files, portable services.
    pub files: Vec<filesystems::Written>,
    /// What is to be told.
    pub report: BuildReport,
    /// Whether the lock file was written anew.
    pub lock_changed: bool,
    /// What was to be said about the images: see [`Project::statements`].
    pub statements: Vec<Statement>,
}

/// The file sets of all images, before packing.
#[derive(Debug)]
pub struct FileSets {
    /// One for each variant and platform.
    pub images: Vec<Selected>,
    /// What they are made of.
    pub inputs: Inputs,
}

impl Build<'_> {
    /// Resolves, fetches and verifies what the images are made of, and pins it in the lock.
    pub fn gather(&self) -> Result<Inputs, BuildError> {
        self.gather_with(None)
    }

    fn gather_with(&self, shared: Option<&SharedCache>) -> Result<Inputs, BuildError> {
        let reader = self.reader();
        let others = (shared, self.events);
        network()?.block_on(inputs::gather(self.project, &reader, &self.lock, &self.search_path, others))
    }

    /// What the lock has fallen behind. `upstream` is the address at which Kubernetes names its newest versions; when
    /// it does not answer, that is told as a warning, and the answer has what the repositories say.
    pub fn outdated(&self, upstream: Option<&str>) -> Result<Outdated, BuildError> {
        let path = self.lock.path().cloned().unwrap_or_else(|| "kimg.lock".into());
        let missing = || LockError::Missing(path.display().to_string());
        let lock = Lock::read(&path)?.ok_or_else(missing)?;
        network()?.block_on(async {
            let platforms =
                inputs::platform::open(self.project, &self.reader(), Some(&lock), self.events).await?;
            let mut outdated = outdated::behind(&lock, &platforms);
            if let Some(upstream) = upstream
                && let Err(error) = outdated::ask_upstream(&mut outdated, upstream, &self.fetcher).await
            {
                self.events.event(&Event::Warned { message: error.to_string() });
            }
            Ok(outdated)
        })
    }

    /// What each platform's packages are chosen from: the verified indexes of the repositories.
    pub fn indexes(&self) -> Result<BTreeMap<Platform, Vec<kimg_apk::Repository>>, BuildError> {
        let reader = self.reader();
        let work = inputs::platform::open(self.project, &reader, None, self.events);
        let platforms = network()?.block_on(work)?;
        Ok(platforms.into_iter().map(|(platform, inputs)| (platform, inputs.indexes)).collect())
    }

    pub(crate) fn reader(&self) -> Reader {
        Reader {
            fetcher: self.fetcher.clone(),
            cache: self.cache.clone(),
            limits: Limits::default(),
            watch: None,
        }
    }

    /// The stages up to the file sets: what `kimg why` and `kimg files` look at.
    pub fn file_sets(&self) -> Result<FileSets, BuildError> {
        self.file_sets_with(None)
    }

    fn file_sets_with(&self, shared: Option<&SharedCache>) -> Result<FileSets, BuildError> {
        let inputs = self.gather_with(shared)?;
        self.events.event(&Event::Fetched {
            files: inputs.fetched.files,
            bytes: inputs.fetched.bytes,
            from_cache: inputs.fetched.from_cache,
        });
        let facts = MemoryFacts::default();
        let images: Result<Vec<_>, BuildError> = inputs
            .images
            .par_iter()
            .map(|image| {
                let selected = select::select(self.project, image, &self.project.rules, &facts)?;
                self.events.event(&Event::Selected {
                    variant: self.project.variants[image.variant].name.clone(),
                    platform: image.platform,
                    files: selected.files.len(),
                    left_out: selected.left_out().values().map(|(files, _)| files).sum(),
                });
                Ok(selected)
            })
            .collect();
        let images = images?;
        if self.project.strict {
            refuse_missing(self.project, &images)?;
        }
        Ok(FileSets { images, inputs })
    }

    /// Builds every image and writes them to every output.
    pub fn run(&self) -> Result<Outcome, BuildError> {
        self.run_with(None)
    }

    /// As [`Build::run`]; what the local cache does not have is taken over from shared caches where they have it.
    pub fn run_with(&self, shared: Option<&SharedCache>) -> Result<Outcome, BuildError> {
        filesystems::check(self)?;
        let FileSets { mut images, mut inputs } = self.file_sets_with(shared)?;
        let alpine = inputs.alpine.clone();
        let decisions = self.decisions()?;
        let packed = packing::pack(self, &mut images, &decisions, shared)?;
        inputs.lock.packer.clone_from(&packed.packer);
        self.refuse_another_packer(&inputs, &packed)?;
        for image in &mut images {
            let variant = &self.project.variants[image.variant];
            select::record(image, variant, alpine.as_deref(), &self.cache)?;
            if self.project.aims.cut == Cut::Single {
                image.join_layers();
            }
        }

        let blobs = BlobStore::open(self.cache.blobs())?;
        let options = |image: &Selected, layer: &str| Options {
            codec: decisions.codec(image.platform, &self.project.variants[image.variant], layer),
            epoch: self.epoch,
            ..Options::default()
        };
        let written = layers::write_layers(&images, &options, &self.cache, &blobs, shared, self.events)?;

        budget::keep(self.project, &images, &written, &blobs)?;
        let mut built = Vec::new();
        for (selected, layers) in images.iter().zip(&written) {
            built.push(images::assemble(self.project, selected, layers, alpine.as_deref(), self.epoch)?);
        }
        let joined = images::join(self.project, built, &images, alpine.as_deref())?;
        self.events.event(&Event::Built { images: images.len(), indexes: joined.len() });
        let mut report = report::report(self.project, &images, &written, &joined, &packed, &inputs);
        let statements = statements::of(self, &images, &joined, &packed, &inputs)?;
        let (variants, tagged): (Vec<usize>, Vec<Tagged>) = joined.into_iter().unzip();
        let mut files = Vec::new();
        for output in &self.project.outputs {
            if output.form.is_files() {
                files.extend(filesystems::write(self, output, &images, &blobs)?);
            } else {
                self.write(output, &tagged, &blobs)?;
            }
        }
        report.next = report.next.or_else(|| filesystems::next(&files));
        let lock_changed = inputs::write_lock(&self.lock, &inputs.lock)?;
        Ok(Outcome { tagged, variants, files, report, lock_changed, statements })
    }

    fn write(&self, output: &Output, tagged: &[Tagged], blobs: &BlobStore) -> Result<(), BuildError> {
        images::write(output, tagged, blobs)?;
        self.events.event(&Event::Written { destination: output.destination.display().to_string() });
        Ok(())
    }

    /// How programs are packed and layers compressed.
    pub(crate) fn decisions(&self) -> Result<Decisions, BuildError> {
        let lock = self.lock.path().map(|path| Lock::read(path)).transpose()?.flatten();
        let path = self.lock.path().map(|path| path.display().to_string()).unwrap_or_default();
        Decisions::new(self.project.aims, lock.as_ref(), &path)
    }

    /// What was packed into other bytes than the lock says is an error with `--locked`, and else a warning.
    fn refuse_another_packer(&self, inputs: &Inputs, packed: &packing::Packed) -> Result<(), BuildError> {
        let others = packed.others.iter();
        let others: Vec<_> =
            others.map(|(platform, path)| Change::Packed(*platform, path.to_string())).collect();
        if self.project.pack != kimg_pack::Mode::Never {
            if matches!(self.lock, LockUse::Locked(_)) {
                inputs::refuse_changes(&others)?;
            }
            for other in &others {
                self.events.event(&Event::Warned { message: format!("{other}: `kimg tune` pins it anew") });
            }
        }
        let LockUse::Locked(path) = &self.lock else { return Ok(()) };
        let Some(locked) = kimg_source::Lock::read(path)? else { return Ok(()) };
        let mut changes = locked.compare(&inputs.lock);
        if let (Some(old), None) = (&locked.packer, &inputs.lock.packer)
            && self.project.pack != kimg_pack::Mode::Never
        {
            changes.push(kimg_source::lock::Change::Packer(old.clone(), "none".into()));
        }
        inputs::refuse_changes(&changes)
    }
}

fn refuse_missing(project: &Project, images: &[Selected]) -> Result<(), BuildError> {
    let mut missing = Vec::new();
    for image in images {
        let name = &project.variants[image.variant].name;
        for part in &image.missing {
            missing.push(format!("{name} for {}: {}: {}", image.platform, part.what, part.reason));
        }
    }
    if missing.is_empty() { Ok(()) } else { Err(BuildError::Strict { missing }) }
}

/// Where fetching and pushing happen: two threads are enough to wait.
///
/// # Errors
/// A system that has no room for further threads.
pub fn network() -> Result<tokio::runtime::Runtime, BuildError> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(BuildError::disk("starting the network's threads"))
}
