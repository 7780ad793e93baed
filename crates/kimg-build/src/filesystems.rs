//! Images as plain files: the same file set as in the layers, as one archive or file system for each image, and nothing
//! around it.
//!
//! | output | one file for each image | reads it |
//! | --- | --- | --- |
//! | `rootfs-tar` | `kubelet_1.20.2-cni_arm64.tar` | `tar`, `systemd-nspawn`, `machinectl import-tar` |
//! | `erofs` | `kubelet_1.20.2-cni_arm64.erofs` | any mount of EROFS (Linux 5.4) |
//! | `portable` | `kubelet_1.20.2_x86-64.raw` | `portablectl attach`, any mount of squashfs |
//!
//! The name of a portable service is `NAME_VERSION_ARCHITECTURE.raw`, with systemd's word for the architecture: what
//! stands before the first `_` is what the names of its units begin with (`portablectl(1)`), and systemd's folders of
//! versions (`systemd.v(7)`) choose by the rest.

use std::io::{self, BufWriter};
use std::path::{Path, PathBuf};

use fs_err as fs;
use kimg_core::{Digest, DigestWriter, Entry, ImagePath, Origin, Platform};
use kimg_layer::{BlobStore, Codec, Entries, Order};
use kimg_rootfs::{erofs, squashfs};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::build::Build;
use crate::error::BuildError;
use crate::events::Event;
use crate::generated::file_version;
use crate::images::to_file;
use crate::layers;
use crate::project::{Output, OutputForm};
use crate::select::Selected;

/// An image that was written as one file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Written {
    /// The variant.
    pub variant: String,
    /// The platform.
    pub platform: Platform,
    /// The file; `-` is standard output.
    pub path: PathBuf,
    /// The digest of its bytes.
    pub digest: Digest,
    /// Its bytes.
    pub size: u64,
}

/// What a file system was when it was written before.
#[derive(Serialize, Deserialize)]
struct Known {
    digest: Digest,
    size: u64,
}

/// Refuses, before anything is built, what can't be written here.
pub(crate) fn check(build: &Build<'_>) -> Result<(), BuildError> {
    if build.project.outputs.iter().any(|output| output.form == OutputForm::Erofs) {
        erofs::find(&build.search_path)?;
    }
    Ok(())
}

/// Writes every image to one place, each whole or not at all.
pub(crate) fn write(
    build: &Build<'_>,
    output: &Output,
    images: &[Selected],
    blobs: &BlobStore,
) -> Result<Vec<Written>, BuildError> {
    let form = output.form.word().to_owned();
    build.events.event(&Event::WritingFiles { form, files: images.len() });
    let write = |image: &Selected| {
        let path = if output.is_one_file() {
            output.destination.clone()
        } else {
            output.destination.join(file_name(build, output.form, image))
        };
        let entries = file_set(image);
        let (digest, size) = match output.form {
            OutputForm::Portable(codec) => {
                let options = squashfs::Options {
                    codec,
                    platform: image.platform,
                    made: made(build, image),
                    epoch: build.epoch,
                };
                let key = squashfs_key(&entries, &options);
                let write = |file: &Path| {
                    let file = fs::OpenOptions::new().write(true).create_new(true).open(file);
                    let file =
                        BufWriter::with_capacity(1 << 20, file.map_err(BuildError::disk("a scratch file"))?);
                    Ok(squashfs::write(&entries, &options, file).map(|_| ())?)
                };
                once(build, "squashfs", &key, blobs, &path, write)?
            }
            OutputForm::Erofs => {
                let program = erofs::find(&build.search_path)?;
                let name = entries_key(&entries, build.epoch);
                let options = erofs::Options { made: made(build, image), name };
                let scratch = build.cache.scratch();
                let write = |file: &Path| Ok(erofs::write(&entries, &options, &program, &scratch, file)?);
                whole(&path, build, write)?
            }
            _ => tar(&entries, build.epoch, &path)?,
        };
        build.events.event(&Event::Written { destination: path.display().to_string() });
        let variant = build.project.variants[image.variant].name.clone();
        Ok(Written { variant, platform: image.platform, path, digest, size })
    };
    images.par_iter().with_max_len(1).map(write).collect()
}

/// What a person may want to type next.
pub(crate) fn next(files: &[Written]) -> Option<String> {
    let portable = files.iter().find(|file| file.path.extension().is_some_and(|e| e == "raw"))?;
    // A bare name would be looked for where systemd keeps its images.
    let here = if portable.path.parent().is_some_and(|p| p.as_os_str().is_empty()) { "./" } else { "" };
    Some(format!("portablectl attach --profile=trusted --enable --now {here}{}", portable.path.display()))
}

/// Everything that the layers of an image hold, and the root.
pub(crate) fn file_set(image: &Selected) -> Entries {
    let mut all: Entries = (0..image.layers.len()).flat_map(|layer| layers::entries(image, layer)).collect();
    all.insert(ImagePath::root(), Entry::directory(Origin::generated("the root")));
    all
}

/// What the file of an image is called, in a folder of several.
fn file_name(build: &Build<'_>, form: OutputForm, image: &Selected) -> String {
    let variant = &build.project.variants[image.variant];
    let sample = if build.project.is_sample() { "-sample" } else { "" };
    let (version, architecture) = if let (OutputForm::Portable(_), Some(portable)) = (form, &variant.portable)
    {
        (file_version(portable, &image.version), systemd_architecture(image.platform))
    } else {
        let version = image.version.to_string().trim_start_matches('v').to_owned();
        let suffix = variant.tag_suffix.iter().fold(version, |name, suffix| format!("{name}-{suffix}"));
        (suffix, image.platform.short())
    };
    let extension = form.extension().unwrap_or_default();
    format!("{}_{version}{sample}_{architecture}.{extension}", variant.image)
}

/// `ConditionArchitecture=` of systemd.unit(5).
fn systemd_architecture(platform: Platform) -> &'static str {
    match platform {
        Platform::Amd64 => "x86-64",
        Platform::Arm64 => "arm64",
        Platform::ArmV7 | Platform::ArmV6 => "arm",
    }
}

fn tar(entries: &Entries, epoch: Option<u64>, path: &Path) -> Result<(Digest, u64), BuildError> {
    let options = kimg_layer::Options { epoch, order: Order::Path, ..kimg_layer::Options::default() };
    let mut written = None;
    to_file(path, |out| {
        written = Some(kimg_layer::write_archive(entries, &options, out)?);
        Ok(())
    })?;
    written.ok_or_else(|| BuildError::settings(format!("{} was not written", path.display())))
}

/// When an image was made: `SOURCE_DATE_EPOCH`, else when the newest of its packages was.
fn made(build: &Build<'_>, image: &Selected) -> u64 {
    let newest = image.packages.iter().filter_map(|p| p.record.build_time).max();
    build.epoch.or(newest).unwrap_or(0)
}

/// Has a file written in the cache's scratch folder, and puts a copy of it in its place.
fn whole(
    path: &Path,
    build: &Build<'_>,
    write: impl FnOnce(&Path) -> Result<(), BuildError>,
) -> Result<(Digest, u64), BuildError> {
    let what = || format!("writing {}", path.display());
    let scratch = tempfile::tempdir_in(build.cache.scratch()).map_err(BuildError::disk(what()))?;
    let file = scratch.path().join("file");
    write(&file)?;
    let mut file = fs::File::open(file).map_err(BuildError::disk(what()))?;
    let mut of = None;
    to_file(path, |out| {
        let mut out = DigestWriter::new(out);
        io::copy(&mut file, &mut out).map_err(BuildError::disk(what()))?;
        let (_, digest, size) = out.finish();
        of = Some((digest, size));
        Ok(())
    })?;
    of.ok_or_else(|| BuildError::settings(what()))
}

/// Puts what is in the cache under this key in its place; it is written where the cache has it not.
fn once(
    build: &Build<'_>,
    kind: &str,
    key: &Digest,
    blobs: &BlobStore,
    path: &Path,
    write: impl FnOnce(&Path) -> Result<(), BuildError>,
) -> Result<(Digest, u64), BuildError> {
    let known = build.cache.record::<Known>(kind, key);
    if let Some(known) = known.filter(|known| blobs.is_whole(known.digest, known.size)) {
        to_file(path, |out| Ok(blobs.copy_to(known.digest, known.size, out)?))?;
        return Ok((known.digest, known.size));
    }
    let (digest, size) = whole(path, build, write)?;
    let mut file = fs::File::open(path).map_err(BuildError::disk("reading the file system"))?;
    blobs.put(|out| {
        io::copy(&mut file, out).map(|_| ()).map_err(BuildError::disk("keeping it in the cache"))
    })?;
    build.cache.keep(kind, key, &Known { digest, size })?;
    Ok((digest, size))
}

/// Everything that decides the bytes of a squashfs image.
fn squashfs_key(entries: &Entries, options: &squashfs::Options) -> Digest {
    let squashfs::Options { codec, platform, made, epoch } = options;
    let of_entries = entries_key(entries, *epoch);
    Digest::of(format!("{}\n{of_entries}\n{codec} {platform} {made}", squashfs::FORMAT).as_bytes())
}

/// What names a file set, with every content, mode, owner and time.
fn entries_key(entries: &Entries, epoch: Option<u64>) -> Digest {
    let options = kimg_layer::Options { codec: Codec::Gzip { level: 1 }, epoch, order: Order::Path };
    kimg_layer::key(entries, &options)
}
