//! A smaller image out of any image or root folder: what the named programs need, and nothing else.
//!
//! ```text
//! Input      oci:, oci-archive:, docker-archive:, a layout's folder ─► layers laid over each other ─┐
//!            a folder with a root file system ─► listed, nothing opened ───────────────────────────┤
//!                                                                                                   ▼
//! roots      programs, --keep, what the config names ─► kimg-closure ─► the entries that stay ─► one layer
//! image      config and annotations as they were, one line of history ─► index ─► the outputs
//! unknown    what the files do not say: who loads or starts what by itself
//! ```
//!
//! The result follows from the input alone: the same input and the same wishes give the same digest.

mod after;
mod before;
mod error;
mod folder;
mod image;
mod report;
mod roots;
mod unknown;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use kimg_closure::Rules;
use kimg_core::Platform;
use kimg_image::{Image, Tagged};
use kimg_layer::{BlobStore, Codec};
use serde_json::Value;

use self::roots::Asked;
use crate::existing::{Input, Place};
use crate::images;
use crate::project::{Output, OutputForm};

pub use self::error::SlimError;
pub use self::report::{Amount, Folder, KeptPath, PassedOver, SlimReport, SlimmedImage, WantedPath};
pub use self::unknown::{Unknown, What};

/// The name of an image that comes from a folder, or from an archive without names.
const NAMELESS: &str = "slim:latest";

/// What is to be made, of what, and where it goes.
#[derive(Debug, Clone)]
pub struct Slim {
    /// What is made smaller.
    pub input: Input,
    /// The programs, as paths or as names; none: what the image's config runs.
    pub programs: Vec<String>,
    /// Further paths and patterns, each with all that these files need.
    pub keep: Vec<String>,
    /// Only these platforms; none: all. Of a folder: what its files are for, where that can't be seen.
    pub platforms: Vec<Platform>,
    /// Its names; none: those of the input.
    pub tags: Vec<String>,
    /// Where it goes.
    pub outputs: Vec<Output>,
    /// How its layer is compressed.
    pub codec: Codec,
    /// What comes with programs though no header says so.
    pub rules: Rules,
    /// Whether it is made although something is missing in it, as it was before.
    pub allow_unresolved: bool,
    /// `SOURCE_DATE_EPOCH`: no time in it is later. In seconds since 1970.
    pub epoch: Option<u64>,
}

impl Slim {
    /// Makes the smaller image and writes it. `scratch` is a folder with room for everything that the layers of one
    /// platform hold; nothing stays there.
    ///
    /// # Errors
    /// What [`SlimError`] names. Nothing is written then.
    pub fn run(&self, scratch: &Path) -> Result<SlimReport, SlimError> {
        let room = tempfile::tempdir_in(scratch).map_err(SlimError::disk("making room for the image"))?;
        let blobs = BlobStore::open(room.path()).map_err(crate::BuildError::from)?;
        let mut left_out = Vec::new();
        let (tags, made) = match &self.input {
            Input::Folder(folder) => {
                let asked = self.asked(&Value::Null, None);
                let before = before::of_folder(folder, &self.platforms, &asked)?;
                (self.names(Vec::new()), vec![self.one(&before, &blobs)?])
            }
            Input::Image(place) => {
                let group = place.group()?;
                let (images, others) = group.chosen(place, &self.platforms)?;
                left_out = others;
                let tag = place.tag().map(|tag| vec![tag.to_owned()]);
                let tags = self.names(tag.unwrap_or_else(|| group.tags.clone()));
                self.keep_the_input(place, &tags)?;
                self.refuse_several(images.len())?;
                // One after the other: each needs room for all its files.
                let made = images
                    .into_iter()
                    .map(|image| self.one(&before::of_image(place, image, scratch)?, &blobs));
                (tags, made.collect::<Result<_, _>>()?)
            }
        };
        let (images, reports): (Vec<Image>, Vec<SlimmedImage>) = made.into_iter().unzip();
        let index = kimg_image::join(images, BTreeMap::new()).map_err(crate::BuildError::from)?;
        let tagged = [Tagged { tags, image: index }];
        for output in &self.outputs {
            images::write(output, &tagged, &blobs)?;
        }
        let [Tagged { tags, image }] = tagged;
        let digest = image.descriptor.digest;
        Ok(SlimReport { from: self.from(), tags, digest, images: reports, left_out })
    }

    /// The names that it gets.
    fn names(&self, own: Vec<String>) -> Vec<String> {
        match (&self.tags[..], own) {
            ([], own) if own.is_empty() => vec![NAMELESS.to_owned()],
            ([], own) => own,
            (said, _) => said.to_vec(),
        }
    }

    /// Refuses, before anything is written, what one of the outputs can't hold.
    fn refuse_several(&self, platforms: usize) -> Result<(), SlimError> {
        if platforms > 1 && self.outputs.iter().any(|output| output.form == OutputForm::DockerArchive) {
            let hint = "choose it with `--arch`, or write type=oci-archive";
            return Err(SlimError::asked("a docker-archive holds one platform", hint));
        }
        Ok(())
    }

    fn from(&self) -> String {
        match &self.input {
            Input::Image(place) => place.to_string(),
            Input::Folder(folder) => folder.display().to_string(),
        }
    }

    fn asked<'a>(&'a self, settings: &'a Value, platform: Option<Platform>) -> Asked<'a> {
        Asked {
            programs: &self.programs,
            keep: &self.keep,
            settings,
            platform,
            allow_unresolved: self.allow_unresolved,
        }
    }

    /// The command, for the history: nothing in it depends on where it was typed.
    fn words(&self) -> String {
        let programs = self.programs.iter().map(|program| format!(" --root {program}"));
        let keep = self.keep.iter().map(|pattern| format!(" --keep {pattern}"));
        let allowed = self.allow_unresolved.then(|| " --allow-unresolved".to_owned());
        ["kimg slim".to_owned()].into_iter().chain(programs).chain(keep).chain(allowed).collect()
    }

    /// Refuses to put the smaller image under the name of the one it comes from.
    fn keep_the_input(&self, place: &Place, tags: &[String]) -> Result<(), SlimError> {
        let same = |a: &Path, b: &Path| Some(fs_err::canonicalize(a).ok()? == fs_err::canonicalize(b).ok()?);
        let onto = self.outputs.iter().find(|output| same(&output.destination, place.path()) == Some(true));
        let Some(onto) = onto else { return Ok(()) };
        let there: BTreeSet<String> = place.all_groups()?.into_iter().flat_map(|group| group.tags).collect();
        if onto.form == OutputForm::Oci && !tags.iter().any(|tag| there.contains(tag)) {
            return Ok(());
        }
        Err(SlimError::asked(
            format!(
                "`{}` is where the image comes from, and it would take its place",
                place.path().display()
            ),
            "write it elsewhere, or into the layout under another name: `--tag NAME:TAG`",
        ))
    }
}
