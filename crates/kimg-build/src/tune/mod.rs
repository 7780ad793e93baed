//! `kimg tune`: measures the ways to pack programs and to compress layers on these very bytes, chooses by the objective,
//! and pins the choice in the lock. A build then follows the lock and measures nothing.
//!
//! What is measured of a program is its size on the disk, what it adds to what is pulled, and how long it takes to start,
//! here or under qemu. Under gzip, which looks back 32 KiB, a program adds what it compresses to by itself, and
//! each is decided alone. Under zstd the programs of a layer repeat each other, so those of one layer that are used
//! alike (often or seldom) are decided together, and what they add is measured with the whole layer.

mod layers;
mod programs;

use std::time::Duration;

use kimg_core::{ImagePath, Platform};
use kimg_layer::Codec;
use kimg_pack::{Mode, Packing, Upx};
use kimg_source::lock::{LockedLayer, LockedPacking};
use serde::Serialize;

use crate::aims::Cut;
use crate::build::{Build, FileSets};
use crate::error::BuildError;
use crate::inputs;

/// What was measured and chosen.
#[derive(Debug, Serialize)]
pub struct Tuned {
    /// What the choice was made for: `balanced gzip shared`.
    pub aims: String,
    /// Programs that are decided together.
    pub programs: Vec<TunedPrograms>,
    /// Layers.
    pub layers: Vec<TunedLayer>,
    /// Whether the lock file was written anew.
    pub lock_changed: bool,
}

/// Programs of a layer that are decided together, and the ways to pack them.
#[derive(Debug, Serialize)]
pub struct TunedPrograms {
    /// Their platform.
    pub platform: Platform,
    /// Their layer.
    pub layer: String,
    /// The programs.
    pub programs: Vec<ImagePath>,
    /// Whether they are started often.
    pub often: bool,
    /// The ways, in the order in which they were tried.
    pub ways: Vec<Way>,
    /// The place of the chosen one.
    pub chosen: usize,
}

/// A way to pack programs, measured.
#[derive(Debug, Serialize)]
pub struct Way {
    /// `upx --best --lzma`
    pub packing: Packing,
    /// What the programs add to what is pulled (gzip), or what their layer comes to (zstd), in bytes.
    pub pulled: u64,
    /// What the programs take on the disk, in bytes.
    pub disk: u64,
    /// How long one start of each takes together; `None` when none could be started.
    pub start: Option<Duration>,
    /// Whether that was under qemu.
    pub under_qemu: bool,
    /// How long packing them took.
    pub pack_time: Duration,
    /// Programs that stay plain though, and why.
    pub plain: Vec<(ImagePath, String)>,
    /// What it costs by the objective, in bytes or what counts as much.
    pub cost: u64,
}

/// A layer and the ways to compress it.
#[derive(Debug, Serialize)]
pub struct TunedLayer {
    /// Its platform.
    pub platform: Platform,
    /// The variants that have it.
    pub variants: Vec<String>,
    /// Its name.
    pub layer: String,
    /// Its bytes uncompressed.
    pub extracted: u64,
    /// The codecs that were tried: the codec, compressed bytes, and the time that one core took.
    pub codecs: Vec<TriedCodec>,
    /// The place of the chosen one.
    pub chosen: usize,
}

/// A codec that was tried on a layer.
#[derive(Debug, Clone, Serialize)]
pub struct TriedCodec {
    /// The codec.
    pub codec: Codec,
    /// Compressed bytes.
    pub size: u64,
    /// How long it took.
    pub time: Duration,
}

impl Build<'_> {
    /// Measures, chooses and pins the choice in the lock.
    ///
    /// # Errors
    /// As a build's; and when UPX is not there though programs are to be packed.
    pub fn tune(&self) -> Result<Tuned, BuildError> {
        let FileSets { mut images, mut inputs } = self.file_sets()?;
        if self.project.aims.cut == Cut::Single {
            images.iter_mut().for_each(crate::select::Selected::join_layers);
        }
        let upx = match self.project.pack {
            Mode::Never => None,
            Mode::Auto | Mode::Require => Some(Upx::find(&self.search_path)?.ok_or(BuildError::NoPacker)?),
        };
        let (programs, pins) = match &upx {
            Some(upx) => programs::tune(self, &mut images, upx)?,
            None => (Vec::new(), Vec::new()),
        };
        let layers = layers::tune(self, &images)?;

        let aims = self.project.aims.to_string();
        inputs.lock.packer = upx.map(|upx| format!("upx {}", upx.version));
        inputs.lock.packings = pins
            .into_iter()
            .map(|pin| LockedPacking {
                aims: aims.clone(),
                platform: pin.platform,
                program: pin.path.to_string(),
                sha256: pin.program,
                packing: pin.packing.to_string(),
                result: Some(pin.result).filter(|result| *result != pin.program),
            })
            .collect();
        for layer in layers.iter().filter(|_| self.project.aims.codec.is_none()) {
            let variants = self.project.variants.iter().filter(|v| layer.variants.contains(&v.name));
            inputs.lock.layers.extend(variants.map(|variant| LockedLayer {
                aims: aims.clone(),
                platform: layer.platform,
                image: variant.image.clone(),
                variant: self.project.aims.own_layer(variant),
                layer: layer.layer.clone(),
                codec: layer.codecs[layer.chosen].codec.to_string(),
            }));
        }
        inputs.lock.layers.sort();
        inputs.lock.layers.dedup();
        let lock_changed = inputs::write_lock(&self.lock, &inputs.lock)?;
        Ok(Tuned { aims, programs, layers, lock_changed })
    }
}
