//! Images as plain files: the same file set as in the layers, as one archive or file system for each image, and nothing
//! around it.
//!
//! | output | one file for each image | reads it |
//! | --- | --- | --- |
//! | `rootfs-tar` | `kubelet_1.20.2-cni_arm64.tar` | `tar`, `systemd-nspawn`, `machinectl import-tar` |
//! | `portable` | `kubelet_1.20.2_x86-64.raw` | `portablectl attach`, any mount of squashfs |
//!
//! The name of a portable service is `NAME_VERSION_ARCHITECTURE.raw`, with systemd's word for the architecture: what
//! stands before the first `_` is what the names of its units begin with (`portablectl(1)`), and systemd's folders of
//! versions (`systemd.v(7)`) choose by the rest.

use std::io::{self, BufWriter, Seek, Write};
use std::path::{Path, PathBuf};

use kimg_core::{Digest, Entry, ImagePath, Origin, Platform};
use kimg_layer::{BlobStore, Codec, Entries, Order};
use kimg_rootfs::squashfs;
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

/// Changes whenever other bytes are made of the same entries. It is part of every key in the cache.
const FORMAT: &str = "kimg-rootfs squashfs 1, liblzma 5.8, zstd 1.5.7";

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
            OutputForm::Portable(codec) => portable(build, codec, image, &entries, blobs, &path)?,
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
    let (version, architecture) = match (form, &variant.portable) {
        (OutputForm::Portable(_), Some(portable)) => {
            (file_version(portable, &image.version), systemd_architecture(image.platform))
        }
        _ => {
            let version = image.version.to_string().trim_start_matches('v').to_owned();
            let suffix = variant.tag_suffix.iter().fold(version, |name, suffix| format!("{name}-{suffix}"));
            (suffix, image.platform.short())
        }
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

fn portable(
    build: &Build<'_>,
    codec: squashfs::Codec,
    image: &Selected,
    entries: &Entries,
    blobs: &BlobStore,
    path: &Path,
) -> Result<(Digest, u64), BuildError> {
    let newest = image.packages.iter().filter_map(|p| p.record.build_time).max();
    let made = build.epoch.or(newest).unwrap_or(0);
    let options = squashfs::Options { codec, platform: image.platform, made, epoch: build.epoch };
    let key = key(entries, &options);
    let known = build.cache.record::<Known>("squashfs", &key);
    let known = known.filter(|known| blobs.is_whole(known.digest, known.size));
    let known = if let Some(known) = known {
        known
    } else {
        let scratch =
            tempfile::tempfile_in(build.cache.scratch()).map_err(BuildError::disk("writing squashfs"))?;
        let file = squashfs::write(entries, &options, BufWriter::with_capacity(1 << 20, scratch))?;
        let mut file = file
            .into_inner()
            .map_err(io::IntoInnerError::into_error)
            .map_err(BuildError::disk("writing squashfs"))?;
        file.rewind().map_err(BuildError::disk("reading squashfs"))?;
        let copy = |out: &mut dyn Write| {
            io::copy(&mut file, out).map(|_| ()).map_err(BuildError::disk("keeping squashfs in the cache"))
        };
        let (digest, size) = blobs.put(copy)?;
        let known = Known { digest, size };
        build.cache.keep("squashfs", &key, &known)?;
        known
    };
    to_file(path, |out| Ok(blobs.copy_to(known.digest, known.size, out)?))?;
    Ok((known.digest, known.size))
}

/// Everything that decides the bytes of a squashfs image.
fn key(entries: &Entries, options: &squashfs::Options) -> Digest {
    let of_entries =
        kimg_layer::Options { codec: Codec::Gzip { level: 1 }, epoch: options.epoch, ..Default::default() };
    let squashfs::Options { codec, platform, made, .. } = options;
    let text = format!("{FORMAT}\n{}\n{codec} {platform} {made}", kimg_layer::key(entries, &of_entries));
    Digest::of(text.as_bytes())
}
